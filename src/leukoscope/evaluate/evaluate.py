"""Predictions to metrics, every figure with its interval. Needs the predictions table alone, and no torch.

docs/statistics.md says which interval is used for which figure, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from ..errors import LeukoscopeError
from ..stats.estimate import check_confidence, number_clusters
from .estimates import Figures, calibration_estimates, class_estimates, compute, estimates
from .operating_point import operating_point, point_at
from .ranking import curves
from .table import Cells, read_cells

FOLD_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")
SUBJECT_RULE = "mean of the probabilities of a subject's cells; the class of the largest mean"


@dataclass(frozen=True)
class Evaluation:
    """All metrics of a predictions table; `to_dict` gives what metrics.json holds, without NaN or infinity."""

    metrics: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.metrics


def evaluate(
    predictions: pl.DataFrame,
    classes: Sequence[str],
    *,
    positive: str = "",
    validation: pl.DataFrame | None = None,
    threshold: float | None = None,
    by_fold: pl.DataFrame | None = None,
    confidence: float = 0.95,
    rounds: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Metrics of a predictions table (cell_id, subject, group, fold, label, predicted, p_<class>...).

    positive: the class of the operating point, which also needs `validation`, a table of the same form, or a
    `threshold` that was chosen on one.
    by_fold: the predictions of each fold, where `predictions` is their mean: the figures of each fold are of these.
    rounds, seed: of the bootstrap. The order of the rows does not matter. Raises LeukoscopeError, naming row and
    column, for a table that cannot be trusted.
    """
    check_confidence(confidence)
    if rounds < 100:
        raise LeukoscopeError(f"rounds is {rounds}, expected 100 or more", "2000 is usual")
    if positive and positive not in classes:
        raise LeukoscopeError(f"positive class '{positive}' is no class", f"the classes are {', '.join(classes)}")
    cells = read_cells(predictions, classes)
    settings = {"confidence": confidence, "rounds": rounds, "seed": seed}
    figures = compute(cells, **settings)
    level, notes = _subject_level(cells, settings)
    point, reason = _operating_point(cells, positive, validation, threshold, settings)
    known = [s for s in cells.subjects if s is not None]
    return Evaluation({
        "classes": list(cells.classes), "positive": positive, "confidence": confidence,
        "cells": len(cells.labels), "subjects": len(set(known)) if known else None,
        "folds": [int(fold) for fold in np.unique(cells.folds)],
        "confusion": figures.matrix.tolist(),
        "overall": estimates(figures),
        "per_class": {c: class_estimates(figures, k) for k, c in enumerate(cells.classes)},
        "curves": _curves(cells),
        "calibration": calibration_estimates(figures),
        "operating_point": point,
        "per_fold": _per_fold(predictions if by_fold is None else by_fold, cells.classes, settings),
        "subject_level": level,
        "notes": [*_notes(figures), *([reason] if reason else []), *notes],
    })


def _curves(cells: Cells) -> dict[str, Any]:
    drawn = {c: curves(cells.labels == k, cells.probabilities[:, k]) for k, c in enumerate(cells.classes)}
    return {c: curve for c, curve in drawn.items() if curve is not None}


def _operating_point(cells: Cells, positive: str, validation: pl.DataFrame | None, threshold: float | None,
                     settings: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    if not positive:
        return None, ""
    if threshold is not None:
        return point_at(cells, threshold, cells.classes.index(positive), **settings), ""
    if validation is None or validation.is_empty():
        return None, "no operating point: there are no validation predictions to choose it on"
    if "fold" not in validation.columns:
        read_cells(validation, cells.classes, "validation predictions")  # raises: the column is missing
    # Fold by fold: under k-fold a cell may be validated in several folds.
    checked = {fold: read_cells(part, cells.classes, f"validation predictions of fold {fold}")
               for (fold,), part in validation.partition_by("fold", as_dict=True, maintain_order=True).items()}
    return operating_point(cells, checked, cells.classes.index(positive), **settings)


def _per_fold(predictions: pl.DataFrame, classes: tuple[str, ...], settings: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    numbered = predictions.with_columns(pl.col("fold").cast(pl.Int64))
    for fold in numbered["fold"].unique().sort():
        cells = read_cells(numbered.filter(pl.col("fold") == fold), classes, f"predictions of fold {fold}")
        rows.append({"fold": fold, "cells": len(cells.labels),
                     **estimates(compute(cells, **settings), FOLD_FIGURES)})
    return rows


def _subject_level(cells: Cells, settings: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """One answer a subject, or None and why."""
    known = np.array([s is not None for s in cells.subjects], dtype=bool)
    if not known.any():
        return None, []
    names, owner = np.unique(cells.subjects[known].astype(str), return_inverse=True)
    owner = owner.reshape(-1)
    labels, first = cells.labels[known], np.unique(owner, return_index=True)[1]
    mixed = np.unique(owner[labels != labels[first][owner]])
    if mixed.size:
        return None, [f"no subject level: subject '{names[mixed[0]]}' has cells of several classes"
                      f" ({mixed.size} of {len(names)} subjects have)"]
    notes = [] if known.all() else [f"subject level: {int((~known).sum())} cells without a subject are left out"]
    sums = np.stack([np.bincount(owner, column) for column in cells.probabilities[known].T], axis=1)
    means = sums / np.bincount(owner)[:, None]
    clusters, count = number_clusters(cells.clusters[known][first])
    subjects = replace(cells, labels=labels[first], predicted=means.argmax(1), probabilities=means,
                       folds=cells.folds[known][first], subjects=names.astype(object), clusters=clusters, count=count,
                       unit="subject" if count == len(names) else "group")
    figures = compute(subjects, **settings)
    return {"subjects": len(names), "rule": SUBJECT_RULE, "confusion": figures.matrix.tolist(), **estimates(figures),
            "per_class": {c: class_estimates(figures, k) for k, c in enumerate(cells.classes)}}, notes


def _notes(figures: Figures) -> list[str]:
    cells = figures.cells
    notes = [f"class '{cells.classes[k]}' has no cell in the test part; means over classes leave it out"
             for k in np.flatnonzero(~figures.present)]
    if not cells.independent:
        notes.append(f"{len(cells.labels)} cells of {cells.count} {cells.unit}s: intervals are by {cells.unit}")
    return notes
