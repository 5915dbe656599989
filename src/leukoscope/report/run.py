"""The page of a run: one self-contained HTML file, drawn from the run folder alone.

Reads results and says them; computes no metric. The page of several runs is in `study.py`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup
from matplotlib.figure import Figure

from .. import __version__
from ..figures.metrics import confusion_figure, dots_figure, precision_recall_figure, reliability_figure, roc_figure
from ..figures.svg import inline_svg, svg, svg_text
from ..figures.training import training_figure
from ..files import write_text
from ..recipes.recipe import dump_recipe
from ..runs.results import Fold, Results, read_results
from ..text import count, percent, plain
from . import numbers
from . import sentences as report_words
from .data import data_table, left_out, verdict, worst_mistakes
from .html import render
from .study import write_study

__all__ = ["write_report", "write_study"]

PICTURE_BUDGET = 2_500_000
"""Bytes of pictures of one kind that the page takes in; the others are named, and stay in the folder."""
CLASS_FIGURES = (("sensitivity", "Sensitivity", "cells of the class that were found"),
                 ("ppv", "Positive predictive value", "cells given this class that are of it"),
                 ("specificity", "Specificity", "cells of other classes that were not given this one"),
                 ("f1", "F1", "harmonic mean of sensitivity and PPV"))


def write_report(run_folder: Path) -> Path:
    """Write `report.html` (and its figures as `figures/*.svg`) into a finished run, or the evaluation of one.

    Raises RunError, naming the file, where the folder is not finished or damaged. Images that are gone are named in
    the page.
    """
    results = read_results(Path(run_folder))
    figures: dict[str, Markup] = {}
    for name, figure in evaluation_figures(results.metrics, surest(results)).items():
        text = svg_text(figure)
        write_text(results.folder / "figures" / f"{name}.svg", text)
        figures[name] = inline_svg(text, figure)
    path = results.folder / "report.html"
    write_text(path, render("report.html", **_context(results, figures)))
    return path


def surest(results: Results) -> np.ndarray:
    """(n,) the probability of the predicted class of each cell."""
    return results.predictions.select(pl.max_horizontal(f"p_{name}" for name in results.classes)).to_series().to_numpy()


def evaluation_figures(metrics: Mapping[str, Any], probabilities: np.ndarray) -> dict[str, Figure]:
    """Name -> figure, of what `metrics.json` holds; probabilities: (n,) of the predicted classes."""
    figures = {"confusion": confusion_figure(metrics["classes"], metrics["confusion"])}
    if metrics.get("curves"):
        figures |= {"roc": roc_figure(metrics), "precision_recall": precision_recall_figure(metrics)}
    if metrics.get("calibration"):
        figures["calibration"] = reliability_figure(metrics["calibration"], probabilities)
    for key, title, xlabel in CLASS_FIGURES:
        estimates = [found[key] for found in metrics["per_class"].values() if key in found]
        if len(estimates) == len(metrics["classes"]):
            figures[key] = dots_figure(list(metrics["per_class"]), estimates, title=title, xlabel=xlabel)
    level = metrics.get("subject_level") or {}
    if level.get("confusion"):
        figures["subjects"] = confusion_figure(metrics["classes"], level["confusion"], unit="subjects",
                                               title="Confusion matrix of subjects")
    per_fold = metrics.get("per_fold") or []
    if len(per_fold) > 1 and "accuracy" in per_fold[0]:
        figures["folds"] = dots_figure(
            [f"fold {fold['fold']}" for fold in per_fold], [fold["accuracy"] for fold in per_fold],
            title="Accuracy in each fold", xlabel="accuracy (dashed: all folds together)",
            reference=metrics["overall"]["accuracy"]["value"])
    return figures


def _context(results: Results, figures: Mapping[str, Markup]) -> dict[str, Any]:
    metrics, notes = results.metrics, numbers.Notes()
    return {
        "results": results, "metrics": metrics, "version": results.environment.get("leukoscope") or __version__,
        "sentences": report_words.what_was_done(results), "answer": report_words.answer(metrics),
        "cards": cards(metrics), "verdict": verdict(results), "mixed": report_words.commonest_mistakes(metrics),
        "data": data_table(results), "left_out": left_out(results),
        "facts": report_words.recipe_facts(results.recipe) if results.recipe else [],
        "figures": figures,
        "training": [svg(figure) for figure in training_figures(results.folds)], "folds": fold_rows(results),
        "fold_names": [numbers.name_of(key) for key in numbers.fold_columns(metrics.get("per_fold") or [])],
        "class_names": [numbers.name_of(key) for key in numbers.per_class_keys(metrics)],
        "class_rows": numbers.per_class_rows(metrics, notes), "overall": numbers.overall_rows(metrics, notes),
        "doubts": numbers.doubts(metrics.get("doubt")), "shift": (results.folder / "shift.html").is_file(),
        "trust": numbers.trust(metrics), "notes": notes, "point": _block(metrics, "operating_point"),
        "subjects": _block(metrics, "subject_level"), "mistakes": worst_mistakes(results),
        "wrong": sum(sum(row) for row in metrics["confusion"])
        - sum(row[i] for i, row in enumerate(metrics["confusion"])),
        "maps": pictures(results.folder, "feature_maps"), "inputs": pictures(results.folder, "input"),
        "copies": pictures(results.folder, "copies"), "optics": pictures(results.folder, "optics"),
        "explanations": pictures(results.folder, "explanations"),
        "optics_words": report_words.optics_words(results.recipe),
        "environment": results.environment,
        "recipe_text": dump_recipe(results.recipe) if results.recipe else "",
    }


def cards(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answer first: accuracy, the class that it is weakest on, and two figures that accuracy hides."""
    overall, positive = metrics["overall"], metrics.get("positive") or ""
    confidence = percent(metrics.get("confidence", 0.95), 0)
    wanted = [("accuracy", "Accuracy", "overall.accuracy", overall["accuracy"])]
    if positive in metrics["per_class"]:
        found = metrics["per_class"][positive]
        wanted += [(key, f"{name} for {plain(positive, 30)}", f"per_class.{positive}.{key}", found[key])
                   for key, name in (("sensitivity", "Sensitivity"), ("specificity", "Specificity"), ("auc", "AUC"))]
    else:
        weak = report_words.weakest(metrics)
        if weak:
            name, estimate = weak
            label = "Weakest class" if (estimate["value"] or 0) < 1 else "No class was missed"
            wanted.append(("sensitivity", f"{label}: {plain(name, 30)}", f"per_class.{name}.sensitivity", estimate))
        wanted += [(key, label, f"overall.{key}", overall[key]) for key, label in (
            ("macro_sensitivity", "Sensitivity, mean over classes"), ("macro_auc", "AUC, mean over classes"))
            if key in overall]
    return [{"name": name, "value": numbers.value_of(key, estimate), "more": _card_more(last, estimate, confidence)}
            for last, name, key, estimate in wanted]


def _card_more(key: str, estimate: Mapping[str, Any], confidence: str) -> list[Markup | str]:
    interval = numbers.interval_of(key, estimate, unit=True)
    if not interval:
        return [str(estimate.get("method") or "no interval")]
    counted = estimate.get("count") is not None and estimate.get("total") is not None
    return [Markup('{} interval <span class="nowrap">{}</span>').format(confidence, interval),
            *([f"{count(estimate['count'])} of {count(estimate['total'])} cells"] if counted else [])]


def training_figures(folds: tuple[Fold, ...]) -> list[Figure]:
    """Curves of training, one figure a fold that has a history."""
    return [training_figure(fold.history, best_epoch=fold.facts.get("best_epoch"),
                            title="Training" if len(folds) == 1 else f"Fold {fold.fold}")
            for fold in folds if fold.history is not None]


def fold_rows(results: Results) -> list[dict[str, Any]]:
    """One row a fold: its estimates, and how its training went."""
    per_fold = results.metrics.get("per_fold") or []
    facts = {fold.fold: fold.facts for fold in results.folds}
    keys = numbers.fold_columns(per_fold)
    return [{"fold": row["fold"], "cells": row.get("cells"), "facts": facts.get(row["fold"], {}),
             "estimates": [numbers.shown(f"per_fold.{i}.{key}", row[key]) for key in keys]}
            for i, row in enumerate(per_fold)]


def pictures(folder: Path, below: str) -> dict[str, list[Any]]:
    """The PNG files in a folder of figures as data URIs, up to a budget of bytes; the names of those left out."""
    shown: list[tuple[str, Markup]] = []
    omitted: list[str] = []
    left = PICTURE_BUDGET
    for file in sorted((folder / "figures" / below).glob("*.png")):
        size = file.stat().st_size
        if size > left:
            omitted.append(file.name)
            continue
        left -= size
        encoded = base64.b64encode(file.read_bytes()).decode("ascii")
        shown.append((file.stem.lstrip("0123456789_").replace("_", " "), Markup(f"data:image/png;base64,{encoded}")))
    return {"shown": shown, "omitted": omitted}


def _block(metrics: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """A part of the metrics with its estimates formatted, and the notes that they need."""
    table = metrics.get(key)
    if not table:
        return None
    notes = numbers.Notes()
    return {"table": table, "rows": numbers.estimates_in(table, key, notes), "notes": notes}
