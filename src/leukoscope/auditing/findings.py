"""From the audit's tables to sentences: each finding, how serious it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ..datasets.labels import label_counts, label_warning, merge_setting, same_labels, subject_alike_note
from ..text import interval, join, percent, plural, type_name
from .result import LEVELS, Audit, Finding

RARE = 20
"""Fewer cells of a class than this are a warning."""
UNEVEN = 10.0
"""A larger ratio of the largest class to the smallest is a warning."""
BORDER_LIFT, COLOUR_LIFT, SOURCE_LIFT = 0.25, 0.6, 0.5
"""A larger `Shortcut.lift` is a warning. Colour belongs partly to the cells themselves, so more is allowed."""
EXPLAINED = 0.5
HINTS = {
    ("label", "border"): "the background reveals the class, perhaps because classes were photographed or stained "
                         "separately. Crop to the cell, augment colour, and test on another source",
    ("label", "colour"): "colour belongs partly to the cells; augment brightness and hue, and test on another source",
    ("source", "border"): "sources look different: a class that comes mostly from one source can be guessed from it",
    ("source", "colour"): "sources look different: a class that comes mostly from one source can be guessed from it",
}


def find_all(audit: Audit, by: str) -> tuple[Finding, ...]:
    """Every finding, the worst first. by: `source` or `subject`, or "" where there is only one."""
    findings = [*_damaged(audit), *_pairs(audit), *_labels(audit), *_subjects(audit), *_balance(audit),
                *_outliers(audit), *_sources(audit, by), *_shortcuts(audit), *_attributes(audit)]
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def _damaged(audit: Audit) -> Iterator[Finding]:
    if audit.damaged:
        first = audit.damaged[0]
        yield Finding("damaged", "problem", f"{_of(len(audit.damaged), audit.manifest.height)} cells cannot be decoded "
                      f"(first: {first.image}: {first.reason})", "download or export these files again, or train with "
                      "--skip-damaged")
    elif audit.measures.height:
        yield Finding("damaged", "fine", f"all {audit.manifest.height:,} cells can be decoded")


def _pairs(audit: Audit) -> Iterator[Finding]:
    counts = audit.pair_counts
    if not counts["all"]:
        text = "no two images show the same cell" if audit.measures.height else "no two files are identical"
        yield Finding("duplicates", "fine", text)
        return
    kinds = [f"{counts[kind]:,} {words}" for kind, words in (
        ("identical", "identical"), ("near", "nearly identical"), ("augmented", "turned or mirrored")) if counts[kind]]
    across = [f"{counts[key]:,} across {key.removeprefix('across ')}" for key in counts
              if key.startswith("across ") and key != "across labels" and counts[key]]
    text = (f"{plural(counts['all'], 'pair')} of images show the same cell ({', '.join(kinds)})"
            + (f"; {', '.join(across)}" if across else ""))
    yield Finding("duplicates", "warning", text, "train with split.by = 'group' (the default), which keeps both images "
                  "in one part; with a split by image, or by subject only, they leak from training into the test")
    if counts.get("across labels"):
        row = audit.pairs.filter(pl.col("other_label")).row(0, named=True)
        yield Finding("contradictions", "problem", f"{plural(counts['across labels'], 'pair')} of images of the same "
                      f"cell have different labels ('{row['first']}' {row['label']}, '{row['second']}' "
                      f"{row['label_second']})", "look at them: at most one label is correct")


def _labels(audit: Audit) -> Iterator[Finding]:
    missing = audit.manifest.filter(pl.col("label").is_null() | (pl.col("label") == "")).height
    if missing:
        yield Finding("unlabelled", "warning", f"{_of(missing, audit.manifest.height)} cells have no label",
                      "they are left out of training")
    counts = label_counts(audit.manifest["label"].replace("", None))
    if alike := same_labels(counts):
        text, _, _ = label_warning(counts).partition("; if they are one class")
        yield Finding("labels", "warning", text, f"if they are one class, train with {merge_setting(alike)}")


def _subjects(audit: Audit) -> Iterator[Finding]:
    cells = audit.manifest.height
    unknown = audit.manifest["subject"].null_count()
    grouped = audit.manifest.filter(pl.col("subject").is_null() & pl.col("group").is_not_null()).height
    if unknown:
        instead = f"; {_of(grouped, unknown)} of these have a group instead" if grouped else ""
        of = "any cell" if unknown == cells else f"{_of(unknown, cells)} cells"
        yield Finding("subjects", "warning", f"no subject is known for {of}{instead}: cells of one person may be in "
                      "training and in test, and the results are then too good",
                      "add the subject or slide to the manifest if it is known; if not, say so beside every result")
    if audit.subjects.is_empty():
        return
    for alike in subject_alike_note(audit.manifest["subject"]):
        text, _, mend = alike.partition("; if they are")
        yield Finding("subject names", "warning", text, f"if they are{mend}")
    per = audit.subjects.group_by("subject").agg(pl.col("len").sum(), pl.col("label").drop_nulls().n_unique())
    largest = per.sort("len", "subject", descending=[True, False]).row(0, named=True)
    text = (f"{plural(per.height, 'subject')}; the largest, '{largest['subject']}', has {largest['len']:,} cells "
            f"({100 * largest['len'] / per['len'].sum():.0f} %)")
    single = per.filter(pl.col("label") == 1).height
    if single and audit.balance.filter(pl.col("label") != "").height > 1:
        text += f"; {_of(single, per.height)} have cells of one class only"
    yield Finding("subjects", "note", text)


def _attributes(audit: Audit) -> Iterator[Finding]:
    for attribute in audit.attributes:
        for group in attribute.alike:
            yield Finding("attributes", "warning", f"attribute {attribute.name}: {join(repr(v) for v in group)} differ "
                          "only in case, blanks or Unicode form", "write one of them in all rows")
    if audit.attributes:
        least = min(audit.attributes, key=lambda attribute: attribute.known)
        text = plural(len(audit.attributes), "attribute")
        if least.known < audit.manifest.height:
            text += f"; {least.name} is known of {_of(least.known, audit.manifest.height)} cells"
        yield Finding("attributes", "note", f"{text}: a report says which of them go with the errors")


def _balance(audit: Audit) -> Iterator[Finding]:
    table = audit.balance.filter(pl.col("label") != "")
    if table.height < 2:
        yield Finding("balance", "problem", "there is one class only" if table.height else "no cell has a label",
                      "a classifier needs cells of at least two classes")
        return
    large, small = table.row(0, named=True), table.row(-1, named=True)
    ratio = large["cells"] / small["cells"]
    text = (f"{table.height} classes, from {small['cells']:,} ({type_name(small['label'])}) to {large['cells']:,} "
            f"({type_name(large['label'])}) cells, {ratio:.1f} to 1" if ratio > 1 else
            f"{table.height} classes of {plural(small['cells'], 'cell')} each")
    few = [type_name(row["label"]) for row in table.iter_rows(named=True) if row["cells"] < RARE]
    if few:
        yield Finding("balance", "warning", f"{text}; fewer than {RARE} of {', '.join(few)}",
                      "merge rare classes (data.merge) or leave them out (data.classes); use few folds")
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
        cells = _of(audit.outliers["cell_id"].n_unique(), audit.measures.height)
        yield Finding("outliers", "note", f"{cells} cells are outliers ({words})",
                      "look at them: cells that are blurred, cut off or wrongly cropped do not help in training")
    else:
        yield Finding("outliers", "fine", "no cell is an outlier in size, sharpness or brightness")


def _sources(audit: Audit, by: str) -> Iterator[Finding]:
    if not audit.explained:
        return
    most = max(audit.explained, key=lambda name: audit.explained[name])
    share = audit.explained[most]
    words = {"density": "stain density", "hue": "stain hue"}
    text = f"{100 * share:.0f} % of the variation in {words.get(most, most)} is between {by}s"
    if share > EXPLAINED:
        yield Finding("stain", "warning", text, f"test on a {by} that was not trained on; augment brightness and hue")
    else:
        yield Finding("stain", "fine", text)


def _shortcuts(audit: Audit) -> Iterator[Finding]:
    lifts = {(shortcut.target, shortcut.features): shortcut.lift for shortcut in audit.shortcuts}
    for shortcut in audit.shortcuts:
        key = shortcut.target, shortcut.features
        if key == ("source", "colour") and lifts["source", "border"] > SOURCE_LIFT:
            continue  # one sentence about sources is enough
        where = "the border of the image" if shortcut.features == "border" else "the colours of the whole image"
        text = (f"the {shortcut.target} can be guessed from {where} alone for {interval(shortcut.accuracy)} of cells; "
                f"always guessing the most frequent {shortcut.target} is correct for {percent(shortcut.majority, 0)}")
        limit = SOURCE_LIFT if shortcut.target == "source" else (
            BORDER_LIFT if shortcut.features == "border" else COLOUR_LIFT)
        if shortcut.lift > limit:
            yield Finding("shortcut", "warning", text, HINTS[key])
        else:
            yield Finding("shortcut", "note" if shortcut.lift > limit / 2 else "fine", text)


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,}"
