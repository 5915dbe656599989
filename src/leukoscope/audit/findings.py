"""From the audit's tables to sentences: what was found, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from .result import LEVELS, Audit, Finding

RARE = 20
"""Fewer cells of a class than this are a warning."""
UNEVEN = 10.0
"""More cells of the largest class than this for one of the smallest are a warning."""
BORDER_LIFT, COLOUR_LIFT, SOURCE_LIFT = 0.25, 0.6, 0.5
"""Told this much of what the majority leaves open: a warning. Colour is partly the cells' own, so it may tell more."""
EXPLAINED = 0.5


def find_all(audit: Audit, by: str) -> tuple[Finding, ...]:
    """Every finding, worst first."""
    found = [*_damaged(audit), *_pairs(audit), *_labels(audit), *_subjects(audit), *_balance(audit), *_outliers(audit),
             *_sources(audit, by), *_shortcuts(audit)]
    return tuple(sorted(found, key=lambda finding: LEVELS.index(finding.level)))


def _damaged(audit: Audit) -> Iterator[Finding]:
    if audit.damaged:
        first = audit.damaged[0]
        yield Finding("damaged", "problem", f"{_of(len(audit.damaged), audit.manifest.height)} cells cannot be decoded "
                      f"(first: {first.image}: {first.reason})", "fetch these files anew, or train with --skip-damaged")
    elif audit.measures.height:
        yield Finding("damaged", "fine", f"all {audit.manifest.height:,} cells can be decoded")


def _pairs(audit: Audit) -> Iterator[Finding]:
    counts = audit.pair_counts
    if not counts["all"]:
        seen = "no two cells show the same" if audit.measures.height else "no two files are identical"
        yield Finding("duplicates", "fine", seen)
        return
    kinds = [f"{counts[kind]:,} {words}" for kind, words in (
        ("identical", "identical"), ("near", "nearly identical"), ("augmented", "turned or mirrored")) if counts[kind]]
    text = f"{_plural(counts['all'], 'pair')} of cells show the same ({', '.join(kinds)})"
    across = [f"{counts[key]:,} across {key.removeprefix('across ')}" for key in counts
              if key.startswith("across ") and key != "across labels" and counts[key]]
    text += f"; {', '.join(across)}" if across else ""
    yield Finding("duplicates", "warning", text, "train with split.by = 'group' (the default), which keeps them in one "
                  "part; split by image, or by subject alone, they leak from training into the test")
    if counts.get("across labels"):
        row = audit.pairs.filter(pl.col("other_label")).row(0, named=True)
        yield Finding("contradictions", "problem", f"{_plural(counts['across labels'], 'pair')} of the same cell carry "
                      f"different labels ('{row['first']}' {row['label']}, '{row['second']}' {row['label_second']})",
                      "look at them: at most one label is right")


def _labels(audit: Audit) -> Iterator[Finding]:
    missing = audit.manifest.filter(pl.col("label").is_null() | (pl.col("label") == "")).height
    if missing:
        yield Finding("unlabelled", "warning", f"{_of(missing, audit.manifest.height)} cells have no label",
                      "they are left out of training")


def _subjects(audit: Audit) -> Iterator[Finding]:
    cells = audit.manifest.height
    unknown = audit.manifest["subject"].null_count()
    grouped = audit.manifest.filter(pl.col("subject").is_null() & pl.col("group").is_not_null()).height
    if unknown:
        stands = f"; for {_of(grouped, unknown)} of these a group stands in" if grouped else ""
        of = "any cell" if unknown == cells else f"{_of(unknown, cells)} cells"
        yield Finding("subjects", "warning", f"no subject is known for {of}{stands}: cells of "
                      "one person may stand in training and test, and figures come out too good",
                      "add subject or slide to the manifest if anyone knows it; say so beside every figure if not")
    if audit.subjects.is_empty():
        return
    per = audit.subjects.group_by("subject").agg(pl.col("len").sum(), pl.col("label").drop_nulls().n_unique())
    classes = audit.balance.filter(pl.col("label") != "").height
    largest = per.sort("len", "subject", descending=[True, False]).row(0, named=True)
    text = (f"{_plural(per.height, 'subject')}; the largest, '{largest['subject']}', has {largest['len']:,} cells "
            f"({100 * largest['len'] / per['len'].sum():.0f} %)")
    one = per.filter(pl.col("label") == 1).height
    text += f"; {_of(one, per.height)} have cells of one class only" if classes > 1 and one else ""
    yield Finding("subjects", "note", text)


def _balance(audit: Audit) -> Iterator[Finding]:
    table = audit.balance.filter(pl.col("label") != "")
    if table.height < 2:
        yield Finding("balance", "problem", "there is one class only" if table.height else "no cell has a label",
                      "a classifier needs cells of two classes or more")
        return
    large, small = table.row(0, named=True), table.row(-1, named=True)
    ratio = large["cells"] / small["cells"]
    text = (f"{table.height} classes, from {small['cells']:,} ({small['label']}) to {large['cells']:,} "
            f"({large['label']}) cells, {ratio:.1f} to 1" if ratio > 1 else
            f"{table.height} classes of {_plural(small['cells'], 'cell')} each")
    few = [row["label"] for row in table.iter_rows(named=True) if row["cells"] < RARE]
    if few:
        yield Finding("balance", "warning", f"{text}; fewer than {RARE} of {', '.join(few)}",
                      "merge rare classes (data.merge) or leave them out (data.classes); take few folds")
    elif ratio > UNEVEN:
        yield Finding("balance", "warning", text, "set training.balance, and read balanced accuracy, not accuracy")
    else:
        yield Finding("balance", "fine", text)


def _outliers(audit: Audit) -> Iterator[Finding]:
    if audit.measures.is_empty():
        return
    counts = dict(audit.outliers.group_by("what").len().sort("what").iter_rows())
    if counts:
        words = ", ".join(f"{count:,} by {what}" for what, count in counts.items())
        odd = _of(audit.outliers["cell_id"].n_unique(), audit.measures.height)
        yield Finding("outliers", "note", f"{odd} cells stand far from the others ({words})",
                      "look at them: blurred, cut or wrongly cropped cells teach nothing")
    else:
        yield Finding("outliers", "fine", "no cell stands far from the others in size, sharpness or brightness")


def _sources(audit: Audit, by: str) -> Iterator[Finding]:
    if not audit.explained:
        return
    most = max(audit.explained, key=lambda name: audit.explained[name])
    share = audit.explained[most]
    text = f"{100 * share:.0f} % of the variation in {WORDS[most]} lies between {by}s"
    if share > EXPLAINED:
        yield Finding("stain", "warning", text, f"test on a {by} that was not trained on; augment brightness and hue")
    else:
        yield Finding("stain", "fine", text)


def _shortcuts(audit: Audit) -> Iterator[Finding]:
    told = {(shortcut.target, shortcut.features): shortcut.lift for shortcut in audit.shortcuts}
    for shortcut in audit.shortcuts:
        if shortcut.target == "source" and shortcut.features == "colour" and told["source", "border"] > SOURCE_LIFT:
            continue  # one sentence is enough for sources
        accuracy = shortcut.accuracy
        where = "the border of the image" if shortcut.features == "border" else "colours of the whole image"
        interval = f" [{100 * accuracy.low:.0f}, {100 * accuracy.high:.0f}]" if (
            accuracy.low is not None and accuracy.high is not None) else ""
        text = (f"the {shortcut.target} is told from {where} alone in {100 * (accuracy.value or 0):.0f} %{interval} of "
                f"cells; always saying the most frequent one is right in {100 * shortcut.majority:.0f} %")
        limit = SOURCE_LIFT if shortcut.target == "source" else (
            BORDER_LIFT if shortcut.features == "border" else COLOUR_LIFT)
        if shortcut.lift > limit:
            yield Finding("shortcut", "warning", text, MENDS[shortcut.target, shortcut.features])
        else:
            yield Finding("shortcut", "note" if shortcut.lift > limit / 2 else "fine", text)


WORDS = {"brightness": "brightness", "density": "stain density", "hue": "stain hue", "sharpness": "sharpness"}
MENDS = {
    ("label", "border"): "the background knows the class: classes were photographed or stained apart. Crop to the "
                         "cell, augment colour, and test on another source",
    ("label", "colour"): "colour is partly the cells' own; augment brightness and hue, and test on another source",
    ("source", "border"): "sources look different: a class that comes from one source mostly can be told by it",
    ("source", "colour"): "sources look different: a class that comes from one source mostly can be told by it",
}


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,}"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"
