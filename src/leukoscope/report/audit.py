"""The page of an audit: audit.html, one file that stands alone, and audit.json beside it.

Says and shows what the audit found; finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from .. import __version__
from ..audit.result import LISTED, Audit, Finding
from ..errors import LeukoscopeError
from ..figures.audit import balance_figure, scatter_figure, shortcut_figure, subjects_figure
from ..figures.svg import image_uri, svg
from ..files import write_json, write_text
from ..images.read import read_cell
from ..text import count, number, percent, plain, plural
from .html import render

PAIRS_SHOWN, OUTLIERS_SHOWN, DAMAGED_SHOWN, SOURCES_SHOWN = 24, 12, 50, 30
SIDE = 200
KIND_WORDS = {"identical": "identical", "near": "nearly identical", "augmented": "turned or mirrored"}
OUTLIER_WORDS = {"side": "size", "aspect": "shape of the image", "sharpness": "sharpness", "brightness": "brightness"}


def write_audit(audit: Audit, folder: Path | str) -> Path:
    """Write audit.json and audit.html into `folder`; return the path of the page. It opens the images that it shows."""
    folder = Path(folder)
    page = folder / "audit.html"
    html = render("audit.html", **_context(audit))
    write_json(folder / "audit.json", audit.to_dict())
    write_text(page, html)
    return page


def _context(audit: Audit) -> dict[str, Any]:
    shown = _chosen_pairs(audit.pairs)
    odd = _oddest(audit.outliers)
    wanted = {*shown["first"], *shown["second"], *(row["cell_id"] for row in odd)}
    pictures = _pictures(audit.manifest, wanted)
    return {
        "version": __version__, "cards": _cards(audit), "subtitle": _subtitle(audit),
        "problems": _of_level(audit.findings, "problem"), "warnings": _of_level(audit.findings, "warning"),
        "notes": _of_level(audit.findings, "note"), "fine": _of_level(audit.findings, "fine"),
        "not_done": audit.not_done, "balance": audit.balance.to_dicts(), "total": audit.manifest.height,
        "balance_figure": svg(balance_figure(audit.balance)), "subjects_figure": _subjects_svg(audit),
        "pair_counts": audit.pair_counts, "pairs": [_pair(row, pictures) for row in shown.iter_rows(named=True)],
        "kinds": _kinds(audit.pair_counts), "listed_most": LISTED,
        "damaged": audit.damaged[:DAMAGED_SHOWN], "damaged_count": len(audit.damaged),
        "scatters": [svg(figure) for figure in _scatters(audit)],
        "outliers": [_outlier(row, pictures, audit.manifest) for row in odd],
        "outlier_count": audit.outliers["cell_id"].n_unique(), "outlying": OUTLIER_WORDS,
        "sources": audit.sources.head(SOURCES_SHOWN).to_dicts() if audit.measures.height else [],
        "source_count": audit.sources.height, "explained": audit.explained,
        "shortcuts": audit.shortcuts,
        "shortcut_figure": svg(shortcut_figure(audit.shortcuts)) if audit.shortcuts else "",
    }


def _of_level(findings: Iterable[Finding], level: str) -> list[Finding]:
    return [finding for finding in findings if finding.level == level]


def _subtitle(audit: Audit) -> str:
    classes = audit.balance.filter(pl.col("label") != "").height
    subjects = audit.manifest["subject"].drop_nulls().n_unique()
    sources = audit.manifest["source"].drop_nulls().n_unique()
    known = f"of {plural(subjects, 'subject')}" if subjects else "of unknown subjects"
    several = f" from {plural(sources, 'source')}" if sources > 1 else ""
    return (f"{plural(audit.manifest.height, 'cell')} in {plural(classes, 'class', 'classes')}, {known}{several}: what "
            "to know before a classifier is trained on them.")


def _cards(audit: Audit) -> list[dict[str, str]]:
    levels = [finding.level for finding in audit.findings]
    counts = audit.pair_counts
    several = audit.balance.filter(pl.col("label") != "")
    ratio = f"{several['cells'][0] / several['cells'][-1]:.1f} : 1" if several.height > 1 else "—"
    looked = bool(audit.measures.height or audit.damaged)
    return [
        {"name": "findings to look at", "value": str(levels.count("problem") + levels.count("warning")),
         "more": f"{plural(levels.count('problem'), 'problem')}, {plural(levels.count('warning'), 'warning')}"},
        {"name": "pairs that show the same cell", "value": count(counts["all"]), "more": _kinds(counts) or "none"},
        {"name": "damaged cells", "value": count(len(audit.damaged)) if looked else "—",
         "more": f"of {count(audit.manifest.height)}" if looked else "images are not here"},
        {"name": "largest class to smallest", "value": ratio, "more": plural(several.height, "class", "classes")},
    ]


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count(counts[kind])} {words}" for kind, words in KIND_WORDS.items() if counts[kind])


def _subjects_svg(audit: Audit) -> str:
    return svg(subjects_figure(audit.subjects)) if not audit.subjects.is_empty() else ""


def _scatters(audit: Audit) -> list[Any]:
    if audit.measures.is_empty():
        return []
    facts = audit.manifest.select("cell_id", pl.col("label").fill_null("(no label)"), "source")
    table = audit.measures.join(facts, on="cell_id")
    by = "source" if audit.manifest["source"].drop_nulls().n_unique() > 1 else "label"
    return [
        scatter_figure(table, "sharpness", "brightness", "label", "Sharpness and brightness",
                       ("sharpness, log₁₀ of the variance of the Laplacian", "brightness, mean luminance")),
        scatter_figure(table, "hue", "density", by, f"Stain by {'source' if by == 'source' else 'class'}",
                       ("hue of absorption, degrees (60 blue, 120 magenta)", "optical density of stained pixels")),
    ]


def _chosen_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs across labels first, then across subjects; then the kinds in turn, so that each is seen."""
    worst = [pl.col(name) for name in ("other_label", "other_subject") if name in pairs.columns]
    turn = pl.int_range(pl.len()).over("kind").alias("_turn")
    order = [*worst, "_turn", "kind"]
    return pairs.with_columns(turn).sort(order, descending=[*[True] * len(worst), False, True]).head(
        PAIRS_SHOWN).drop("_turn")


def _oddest(outliers: pl.DataFrame) -> list[dict[str, Any]]:
    turn = pl.int_range(pl.len()).over("what").alias("_turn")
    return outliers.unique("cell_id", keep="first", maintain_order=True).with_columns(turn).sort(
        "_turn", "score", descending=[False, True]).head(OUTLIERS_SHOWN).to_dicts()


def _pictures(manifest: pl.DataFrame, wanted: set[str]) -> dict[str, str]:
    """cell_id -> data URI; "" for a cell that cannot be read."""
    found = {}
    for row in manifest.filter(pl.col("cell_id").is_in(list(wanted))).iter_rows(named=True):
        try:
            found[row["cell_id"]] = image_uri(read_cell(row), side=SIDE)
        except LeukoscopeError:
            found[row["cell_id"]] = ""
    return found


def _pair(row: Mapping[str, Any], pictures: Mapping[str, str]) -> dict[str, Any]:
    said = [KIND_WORDS[row["kind"]]]
    if row["angle"] is not None and row["kind"] == "augmented":
        said = [f"turned by {number(row['angle'], 0)}°"] if abs(row["angle"]) >= 0.5 else []
        said += ["mirrored"] if row["mirrored"] else []
    if row["kind"] != "identical":
        said.append(f"correlation {number(1 - row['distance'], 3)}")
    across = [name for name in ("label", "subject", "source") if row.get(f"other_{name}")]
    return {"said": ", ".join(said), "across": across, "cells": [
        {"cell_id": plain(row[which], 64), "picture": pictures.get(row[which], ""), "facts": plain(" · ".join(
            str(row[f"{name}{end}"]) for name in ("label", "subject") if row.get(f"{name}{end}") is not None), 50)}
        for which, end in (("first", ""), ("second", "_second"))]}


def _outlier(row: Mapping[str, Any], pictures: Mapping[str, str], manifest: pl.DataFrame) -> dict[str, Any]:
    label = manifest.row(by_predicate=pl.col("cell_id") == row["cell_id"], named=True)["label"]
    shown = {"side": f"{number(row['value'], 0)} px", "brightness": percent(row["value"], 0)}
    return {"cell_id": plain(row["cell_id"], 64), "picture": pictures.get(row["cell_id"], ""),
            "label": plain(label or "", 40), "what": OUTLIER_WORDS[row["what"]],
            "value": shown.get(row["what"], number(row["value"], 2)), "score": number(row["score"], 1)}
