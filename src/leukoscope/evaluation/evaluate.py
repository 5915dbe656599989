"""Predictions to metrics, each with its interval. Needs the predictions table alone, and no torch.

docs/statistics.md says which interval is used for which metric, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from ..errors import LeukoscopeError
from ..stats.estimate import check_confidence, number_clusters
from .calibration import calibration
from .estimates import resample
from .operating_point import operating_point, point_at
from .pooled import pooled_estimates
from .ranking import curves
from .results import FoldMetrics, Metrics, SubjectLevel
from .table import Cells, IntervalOptions, read_cells

OF_FOLDS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")
SUBJECT_RULE = "mean of the probabilities of a subject's cells; the class of the largest mean"


def evaluate(predictions: pl.DataFrame, classes: Sequence[str], *, positive: str = "",
             validation: pl.DataFrame | None = None, threshold: float | None = None,
             by_fold: pl.DataFrame | None = None, confidence: float = 0.95, rounds: int = 2000,
             seed: int = 0) -> Metrics:
    """Metrics of a predictions table (cell_id, subject, group, fold, label, predicted, p_<class>...).

    positive: the class of the operating point, which also needs `validation`, a table of the same form, or a
    `threshold` that was chosen on one. by_fold: the predictions of each fold, where `predictions` is their mean.
    rounds, seed: of the bootstrap. The order of the rows does not matter. Raises LeukoscopeError, naming row and
    column, for a table that cannot be trusted.
    """
    check_confidence(confidence)
    if rounds < 100:
        raise LeukoscopeError(f"rounds is {rounds}, expected 100 or more", "2000 is usual")
    if positive and positive not in classes:
        raise LeukoscopeError(f"positive class '{positive}' is not a class", f"the classes are {', '.join(classes)}")
    options = IntervalOptions(confidence, rounds, seed)
    cells = read_cells(predictions, classes)
    resampled = resample(cells, options)
    notes = [f"class '{name}' has no cell in the test part; means over classes leave it out"
             for name, support in zip(cells.classes, resampled.matrix.sum(1), strict=True) if not support]
    if not cells.independent:
        notes.append(f"{len(cells.labels):,} cells {_clusters(cells)}: intervals are by {cells.unit}")
    point, reason = None, ""
    if positive and threshold is not None:
        point = point_at(cells, positive, threshold, options)
    elif positive:
        point, reason = operating_point(cells, positive, validation, options)
    level, note = _subject_level(cells, options)
    drawn = {name: curves(cells.labels == k, cells.probabilities[:, k]) for k, name in enumerate(cells.classes)}
    return Metrics(
        cells.classes, positive, confidence, len(cells.labels), len({*cells.subjects} - {None}) or None,
        tuple(np.unique(cells.folds).tolist()), _rows(resampled.matrix),
        resampled.overall_estimates() | pooled_estimates(cells, options), resampled.class_estimates(),
        {name: curve for name, curve in drawn.items() if curve is not None},
        calibration(cells, resampled.rounds, confidence), point,
        _per_fold(predictions if by_fold is None else by_fold, cells.classes, options), level,
        tuple(text for text in (*notes, reason, note) if text))


def _per_fold(predictions: pl.DataFrame, classes: Sequence[str], options: IntervalOptions) -> tuple[FoldMetrics, ...]:
    rows = []
    numbered = predictions.with_columns(pl.col("fold").cast(pl.Int64))
    for fold in numbered["fold"].unique().sort():
        cells = read_cells(numbered.filter(pl.col("fold") == fold), classes, f"predictions of fold {fold}")
        overall = resample(cells, options).overall_estimates()
        rows.append(FoldMetrics(fold, len(cells.labels), {name: overall[name] for name in OF_FOLDS}))
    return tuple(rows)


def _subject_level(cells: Cells, options: IntervalOptions) -> tuple[SubjectLevel | None, str]:
    """One answer a subject, or None; and a note, where there is something to say."""
    known = np.array([s is not None for s in cells.subjects], dtype=bool)
    if not known.any():
        return None, ""
    names, owner = np.unique(cells.subjects[known].astype(str), return_inverse=True)
    owner = owner.reshape(-1)
    labels, first = cells.labels[known], np.unique(owner, return_index=True)[1]
    mixed = np.unique(owner[labels != labels[first][owner]])
    if mixed.size:
        return None, (f"no subject level: subject '{names[mixed[0]]}' has cells of several classes"
                      f" ({mixed.size} of {len(names)} subjects have)")
    sums = np.stack([np.bincount(owner, column) for column in cells.probabilities[known].T], axis=1)
    means = sums / np.bincount(owner)[:, None]
    clusters, count = number_clusters(cells.clusters[known][first])
    resampled = resample(replace(
        cells, labels=labels[first], predicted=means.argmax(1), probabilities=means, folds=cells.folds[known][first],
        subjects=names.astype(object), clusters=clusters, count=count,
        unit="subject" if count == len(names) else "group"), options)
    note = "" if known.all() else f"subject level: {int((~known).sum()):,} cells without a subject are left out"
    return SubjectLevel(len(names), SUBJECT_RULE, _rows(resampled.matrix), resampled.overall_estimates(),
                        resampled.class_estimates()), note


def _clusters(cells: Cells) -> str:
    """What the independent units are. Groups also are the cells of a subject, or one cell if nothing is known."""
    known = len({*cells.subjects} - {None})
    if cells.unit == "group" and known:
        return f"in {cells.count:,} groups ({known:,} subjects; where none is known, groups or single cells)"
    return f"of {cells.count:,} {cells.unit}s"


def _rows(matrix: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())
