"""The page of several runs: variants of an ablation, or networks beside each other.

`study.json` in the folder says which: {"title": ..., "runs": ["none", "1", ...], "paper": {"1": {"accuracy": 0.968}}};
"description", "source" (what the paper's figures are from), "tables" of text, made elsewhere ([{"title": ...,
"columns": [...], "rows": [[...]], "note": ...}]) and "published" ({name: {pixels: accuracy}}, beside the curves of
microscopes) may be added. Each run is a folder below, by relative
path. Without the file, every finished run directly below is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RunError
from ..figures.metrics import dots_figure
from ..figures.svg import svg
from ..files import read_json, write_text
from ..runs.results import Results, read_results
from ..stats.estimate import Comparison
from ..stats.paired import holm, paired_difference
from ..text import NO_ESTIMATE, p_of, percent, plain, points
from . import numbers
from .data import verdict
from .html import render
from .optics import confusion_figures, cost_figures
from .sentences import weakest

COLUMNS = ("accuracy", "macro_sensitivity", "macro_ppv", "macro_f1", "macro_auc", "log_loss")
FIGURES = (("accuracy", "Accuracy"), ("macro_sensitivity", "Sensitivity, mean over classes"),
           ("macro_f1", "F1, mean over classes"), ("macro_auc", "AUC, mean over classes"))

MANY = 16
"""Of more runs, one figure of dots is enough."""


@dataclass(frozen=True)
class Study:
    """What is compared: run folders by name, and the figures that a paper gives for them."""

    title: str
    description: str
    source: str
    runs: Mapping[str, Results]
    paper: Mapping[str, Mapping[str, float]]
    tables: Sequence[Mapping[str, Any]] = ()
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def write_study(folder: Path) -> Path:
    """Write `study.html` over the runs of `folder`; RunError where there is none, or one is not finished."""
    folder = Path(folder)
    study = read_study(folder)
    notes = numbers.Notes()
    metrics = [results.metrics for results in study.runs.values()]
    keys = [key for key in COLUMNS if all(key in found["overall"] for found in metrics)]
    rows = _rows(study, keys, notes)
    path = folder / "study.html"
    write_text(path, render(
        "study.html", study=study, rows=rows, notes=notes, figures=_figures(study, keys),
        curves=[svg(figure) for figure in cost_figures(study.runs.values(), study.published)],
        matrices=[svg(figure) for figure in confusion_figures(study.runs.values())],
        names=[numbers.name_of(key) for key in keys], paper_names=[numbers.name_of(key) for key in paper_keys(study)],
        confidence=percent(metrics[0].get("confidence", 0.95), 0), compared=any(row["against"] for row in rows),
        clustered=subjects_known(next(iter(study.runs.values()))), same_cells=_same_cells(list(study.runs.values())),
        leaking=[name for name, results in study.runs.items() if _leaks(results)]))
    return path


def read_study(folder: Path) -> Study:
    """Open every run of a study; each named run has to be finished."""
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder", "give a folder that holds several runs")
    file = folder / "study.json"
    told = read_json(file) if file.is_file() else {}
    if not isinstance(told, dict):
        raise RunError(f"{file}: expected a table, got {type(told).__name__}", 'write {"title": ..., "runs": [...]}')
    names = told.get("runs") or sorted(f.parent.name for f in folder.glob("*/metrics.json"))
    if not names:
        raise RunError(f"{folder}: no finished run below it", "train some, or name them in study.json")
    for name in names:
        if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
            raise RunError(f"{file}: '{name}' is not a run below this folder", "name runs by their path from it")
    return Study(
        title=str(told.get("title") or folder.resolve().name), description=str(told.get("description") or ""),
        source=str(told.get("source") or ""), runs={name: read_results(folder / name) for name in names},
        paper=told.get("paper") or {}, tables=_tables(told.get("tables") or [], file),
        published=told.get("published") or {})


def _tables(told: Any, file: Path) -> list[Mapping[str, Any]]:
    """The tables that study.json brings along; RunError where one is not of that form."""
    def whole(table: Any) -> bool:
        if not isinstance(table, dict) or not all(isinstance(table.get(key), list) for key in ("columns", "rows")):
            return False
        return all(isinstance(row, list) and len(row) == len(table["columns"]) for row in table["rows"])

    if not isinstance(told, list) or not all(whole(table) for table in told):
        raise RunError(f"{file}: a table is not of the form title, columns, rows", "make the study anew")
    return told


def paper_keys(study: Study) -> list[str]:
    """The estimates for which the paper gives a figure for some run."""
    return [key for key in COLUMNS if any(key in study.paper.get(name, {}) for name in study.runs)]


def _rows(study: Study, keys: Sequence[str], notes: numbers.Notes) -> list[dict[str, Any]]:
    rows = []
    against = differences(list(study.runs.values()), list(study.runs))
    for name, results in study.runs.items():
        overall = results.metrics["overall"]
        weak = weakest(results.metrics)
        parameters = [fold.facts["parameters"] for fold in results.folds if fold.facts.get("parameters")]
        rows.append({
            "name": name, "report": (results.folder / "report.html").is_file(), "cells": results.metrics["cells"],
            "folds": max(len(results.metrics["folds"]), len(results.folds)),
            "protocol": (results.guard or {}).get("protocol") or "",
            "leaks": _leaks(results), "verdict": verdict(results)["head"],
            "estimates": [numbers.shown(f"{name}.overall.{key}", overall[key], notes=notes) for key in keys],
            "paper": [_as_printed(key, study.paper.get(name, {}).get(key)) for key in paper_keys(study)],
            "against": against.get(name),
            "weakest": plain(weak[0]) if weak else "",
            "weakest_value": percent(weak[1]["value"]) if weak else "",
            "parameters": max(parameters, default=None),
            "seconds": sum(fold.facts.get("seconds") or 0 for fold in results.folds) or None})
    return rows


def _figures(study: Study, keys: Sequence[str]) -> list[Any]:
    drawn = []
    for key, title in FIGURES[:1] if len(study.runs) > MANY else FIGURES:
        if key not in keys:
            continue
        others = [study.paper.get(name, {}).get(key) for name in study.runs]
        estimates = [results.metrics["overall"][key] for results in study.runs.values()]
        share = key not in numbers.PLAIN_NUMBERS
        drawn.append(svg(dots_figure(
            list(study.runs), estimates, title=title, xlabel=numbers.name_of(key), share=share,
            others=others if any(o is not None for o in others) else (), others_label="the paper's figure"
            if any(o is not None for o in others) else "")))
    return drawn


def differences(runs: Sequence[Results], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Accuracy of each further run minus that of the first, on the same cells, paired; p values corrected by Holm.

    Clustered by subject where all are known. Empty where the runs were not tested on the same cells, once each.
    """
    if len(runs) < 2 or not _same_cells(runs) or any(r.predictions["cell_id"].is_duplicated().any() for r in runs):
        return {}
    tables = [r.predictions.sort("cell_id") for r in runs]
    right = [(table["label"] == table["predicted"]).to_numpy() for table in tables]
    clusters = tables[0]["subject"].to_numpy() if subjects_known(runs[0]) else None
    confidence = runs[0].metrics.get("confidence", 0.95)
    found = [paired_difference(one, right[0], clusters, confidence) for one in right[1:]]
    tested = [i for i, c in enumerate(found) if c.p_value is not None]
    adjusted = holm(np.array([found[i].p_value for i in tested], dtype=float))
    p_values = dict(zip(tested, adjusted.tolist(), strict=True))
    return {name: {"difference": points(c.difference.value), "interval": points_span(c), "test": c.test,
                   "p": p_of(p_values.get(i))} for i, (name, c) in enumerate(zip(names[1:], found, strict=True))}


def subjects_known(results: Results) -> bool:
    """Whether every tested cell has a subject."""
    return "subject" in results.predictions.columns and not results.predictions["subject"].has_nulls()


def points_span(comparison: Comparison) -> str:
    low, high = comparison.difference.low, comparison.difference.high
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def _as_printed(key: str, value: float | None) -> str:
    """A paper's figure with the digits that it was printed with."""
    if value is None:
        return NO_ESTIMATE
    return f"{value:g}" if key in numbers.PLAIN_NUMBERS else f"{round(100 * value, 6):g}"


def _leaks(results: Results) -> int:
    return len((results.guard or {}).get("leaks") or [])


def _same_cells(runs: Sequence[Results]) -> bool:
    """Whether all runs were tested on the same cells, so that they may be compared."""
    tested = [frozenset(results.predictions["cell_id"]) for results in runs]
    return all(cells == tested[0] for cells in tested)
