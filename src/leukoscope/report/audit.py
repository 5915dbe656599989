"""The page of an audit: audit.html, one self-contained file, and audit.json beside it.

Shows the result of an audit; checks nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from markupsafe import Markup

from .. import __version__
from ..auditing.result import LISTED, Audit
from ..errors import LeukoscopeError
from ..figures.audit import (
    balance_figure,
    picture_map,
    places_on_map,
    scatter_figure,
    shortcut_figure,
    subjects_figure,
)
from ..figures.palette import colours_of
from ..figures.svg import image_uri, svg
from ..files import write_json, write_text
from ..images.read import read_cell
from ..manifest import BOX
from ..tables import Row
from ..text import count, number, percent, plain, plural, type_name
from .html import render

PAIRS_SHOWN, OUTLIERS_SHOWN, DAMAGED_SHOWN, SOURCES_SHOWN = 24, 12, 50, 30
SIDE = 200
KIND_WORDS = {"identical": "identical", "near": "nearly identical", "augmented": "turned or mirrored"}
OUTLIER_WORDS = {"side": "size", "aspect": "shape of the image", "sharpness": "sharpness", "brightness": "brightness"}


def write_audit(audit: Audit, folder: Path | str) -> Path:
    """Write audit.json and audit.html into `folder`; return the path of the page. Reads the images on the page."""
    folder = Path(folder)
    html = render("audit.html", **_context(audit))
    write_json(folder / "audit.json", audit.to_dict())
    write_text(folder / "audit.html", html)
    return folder / "audit.html"


def _context(audit: Audit) -> dict[str, object]:
    shown = _chosen_pairs(audit.pairs)
    outliers = _chosen_outliers(audit.outliers)
    cells = _cells(audit.manifest, {*shown["first"], *shown["second"], *(row["cell_id"] for row in outliers)})
    return {
        "version": __version__, "cards": _cards(audit), "subtitle": _subtitle(audit),
        **{name: [finding for finding in audit.findings if finding.level == level] for name, level in (
            ("problems", "problem"), ("warnings", "warning"), ("notes", "note"), ("fine", "fine"))},
        "not_done": audit.not_done, "balance": audit.balance.to_dicts(),
        "balance_figure": svg(balance_figure(audit.balance)),
        "subjects_figure": "" if audit.subjects.is_empty() else svg(subjects_figure(audit.subjects)),
        "pair_counts": audit.pair_counts, "pairs": [_pair(row, cells) for row in shown.iter_rows(named=True)],
        "kinds": _kinds(audit.pair_counts), "listed_most": LISTED,
        "damaged": audit.damaged[:DAMAGED_SHOWN], "damaged_count": len(audit.damaged),
        "scatters": _scatters(audit), "measured": audit.measures.height,
        "outliers": [_outlier(row, cells) for row in outliers],
        "attributes": audit.attributes, "outlier_count": audit.outliers["cell_id"].n_unique(),
        "sources": audit.sources.head(SOURCES_SHOWN).to_dicts() if audit.measures.height else [],
        "source_count": audit.sources.height, "explained": audit.explained,
        "shortcut_figure": svg(shortcut_figure(audit.shortcuts)) if audit.shortcuts else "",
    }


def _subtitle(audit: Audit) -> str:
    classes = audit.balance.filter(pl.col("label") != "").height
    subjects = audit.manifest["subject"].drop_nulls().n_unique()
    sources = audit.manifest["source"].drop_nulls().n_unique()
    known = f"of {plural(subjects, 'subject')}" if subjects else "of unknown subjects"
    several = f" from {plural(sources, 'source')}" if sources > 1 else ""
    return (f"{plural(audit.manifest.height, 'cell')} in {plural(classes, 'class', 'classes')}, {known}{several}: what "
            "to check before training a classifier on them.")


def _cards(audit: Audit) -> list[dict[str, str]]:
    levels = [finding.level for finding in audit.findings]
    counts = audit.pair_counts
    classes = audit.balance.filter(pl.col("label") != "")
    ratio = f"{classes['cells'][0] / classes['cells'][-1]:.1f} : 1" if classes.height > 1 else "—"
    decoded = bool(audit.measures.height or audit.damaged)
    return [
        {"name": "problems and warnings", "value": str(levels.count("problem") + levels.count("warning")),
         "more": f"{plural(levels.count('problem'), 'problem')}, {plural(levels.count('warning'), 'warning')}"},
        {"name": "pairs of images of the same cell", "value": count(counts["all"]), "more": _kinds(counts) or "none"},
        {"name": "damaged cells", "value": count(len(audit.damaged)) if decoded else "—",
         "more": f"of {count(audit.manifest.height)}" if decoded else "the images do not exist here"},
        {"name": "largest class to smallest", "value": ratio, "more": plural(classes.height, "class", "classes")},
    ]


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count(counts[kind])} {words}" for kind, words in KIND_WORDS.items() if counts[kind])


@dataclass(frozen=True)
class Scatter:
    """Cells by two measures: a drawing, and pictures of cells at their places (a data URI, "" where none can be read).
    colours: (class or source, colour) of the frames."""

    title: str
    words: tuple[str, str]
    drawing: Markup
    pictures: str
    colours: tuple[tuple[str, str], ...]


def _scatters(audit: Audit) -> list[Scatter]:
    """Those of which some cell has both measures."""
    if audit.measures.is_empty():
        return []
    facts = audit.manifest.select("cell_id", "image", *BOX, "mask", pl.col("label").fill_null("(no label)"), "source")
    table = audit.measures.drop("width", "height").join(facts, on="cell_id")
    by = "source" if audit.manifest["source"].drop_nulls().n_unique() > 1 else "label"
    drawn = []
    for x, y, kind, title, words in (
            ("sharpness", "brightness", "label", "Sharpness and brightness",
             ("sharpness, log₁₀ of the variance of the Laplacian", "brightness, mean luminance")),
            ("hue", "density", by, f"Stain by {'source' if by == 'source' else 'class'}",
             ("hue of absorption, degrees (60 blue, 120 magenta)", "optical density of stained pixels"))):
        known = table.with_columns(pl.col(kind).fill_null("(unknown)")).filter(
            pl.col(x).is_finite() & pl.col(y).is_finite())
        if known.height:
            figure = scatter_figure(known, x, y, kind, title, words)
            pictures, colours = _pictures_at(known, x, y, kind)
            drawn.append(Scatter(title, words, svg(figure), pictures, colours))
    return drawn


def _pictures_at(table: pl.DataFrame, x: str, y: str, by: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The map of pictures as a data URI, "" where no cell can be read; and what the colours of its frames mean."""
    names = table.group_by(by).len().sort("len", by, descending=[True, False])[by].to_list()
    colours, cells, used = colours_of(names), {}, set()
    for place, row in places_on_map(table[x].to_numpy(), table[y].to_numpy()).items():
        cell = table.row(row, named=True)
        try:
            cells[place] = read_cell(cell), colours[cell[by]]
        except LeukoscopeError:
            continue
        used.add(cell[by])
    shown = tuple((name, colours[name]) for name in names if name in used)
    return (image_uri(picture_map(cells)) if cells else "", shown)


def _chosen_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs across labels first, then across subjects; then each kind in turn, so that all kinds are shown."""
    worst = [pl.col(name) for name in ("other_label", "other_subject") if name in pairs.columns]
    turn = pl.int_range(pl.len()).over("kind").alias("_turn")
    order = [*worst, "_turn", "kind"]
    return pairs.with_columns(turn).sort(order, descending=[*[True] * len(worst), False, True]).head(
        PAIRS_SHOWN).drop("_turn")


def _chosen_outliers(outliers: pl.DataFrame) -> Sequence[Row]:
    turn = pl.int_range(pl.len()).over("what").alias("_turn")
    return outliers.unique("cell_id", keep="first", maintain_order=True).with_columns(turn).sort(
        "_turn", "score", descending=[False, True]).head(OUTLIERS_SHOWN).to_dicts()


def _cells(manifest: pl.DataFrame, wanted: set[str]) -> dict[str, dict[str, str]]:
    """cell_id -> what the page shows of it: its id, its label, and its picture as a data URI ("" if unreadable)."""
    cells = {}
    for row in manifest.filter(pl.col("cell_id").is_in(list(wanted))).iter_rows(named=True):
        try:
            picture = image_uri(read_cell(row), side=SIDE)
        except LeukoscopeError:
            picture = ""
        cells[row["cell_id"]] = {"cell_id": plain(row["cell_id"], 64), "picture": picture,
                                 "label": plain(type_name(row["label"] or ""), 40)}
    return cells


@dataclass(frozen=True)
class ShownPair:
    """How two images are alike, in words; in what they differ, such as "label"; and both as the page shows them."""

    words: str
    across: list[str]
    cells: list[dict[str, str]]


def _pair(row: Row, cells: Mapping[str, dict[str, str]]) -> ShownPair:
    words = [KIND_WORDS[row["kind"]]]
    if row["angle"] is not None and row["kind"] == "augmented":
        words = [f"turned by {number(row['angle'], 0)}°"] if abs(row["angle"]) >= 0.5 else []
        words += ["mirrored"] if row["mirrored"] else []
    if row["kind"] != "identical":
        words.append(f"correlation {number(1 - row['distance'], 3)}")
    across = [name for name in ("label", "subject", "source") if row.get(f"other_{name}")]
    pair = []
    for which, end in (("first", ""), ("second", "_second")):
        facts = type_name(row.get(f"label{end}") or ""), row.get(f"subject{end}") or ""
        pair.append(cells[row[which]] | {"facts": plain(" · ".join(filter(None, facts)), 50)})
    return ShownPair(", ".join(words), across, pair)


def _outlier(row: Row, cells: Mapping[str, dict[str, str]]) -> dict[str, str]:
    shown = {"side": f"{number(row['value'], 0)} px", "brightness": percent(row["value"], 0)}
    return cells[row["cell_id"]] | {"what": OUTLIER_WORDS[row["what"]], "score": number(row["score"], 1),
                                    "value": shown.get(row["what"], number(row["value"], 2))}
