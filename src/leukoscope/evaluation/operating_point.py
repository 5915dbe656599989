"""The operating point of high sensitivity: chosen on the validation part, applied to the test part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from .results import FoldThreshold, OperatingPoint
from .table import Cells, IntervalOptions, read_cells

TARGET = 0.99


def choose_threshold(labels: np.ndarray, scores: np.ndarray, target: float = TARGET) -> float | None:
    """The highest threshold at which at least `target` of the positive cells score that or more; None without any."""
    positive = np.sort(scores[labels])[::-1]
    if not positive.size:
        return None
    needed = int(np.ceil(target * positive.size - 1e-9))
    return float(positive[max(needed, 1) - 1])


def operating_point(test: Cells, positive: str, validation: pl.DataFrame | None,
                    options: IntervalOptions) -> tuple[OperatingPoint | None, str]:
    """The operating point, or None and why. validation: the predictions table of the folds' validation parts.

    Each fold has its own threshold, chosen on its own validation part: another fold's validation cells may be this
    fold's test cells, and a threshold chosen on them would depend on the test part.
    """
    if validation is None or validation.is_empty():
        return None, "no operating point: there are no validation predictions to choose it on"
    if "fold" not in validation.columns:
        read_cells(validation, test.classes, "validation predictions")  # raises: the column is missing
    # Fold by fold: under k-fold a cell may be validated in several folds.
    of_folds = {fold: read_cells(part, test.classes, f"validation predictions of fold {fold}")
                for (fold,), part in validation.partition_by("fold", as_dict=True, maintain_order=True).items()}
    k, chosen = test.classes.index(positive), []
    for fold in np.unique(test.folds).tolist():
        own = of_folds.get(fold)
        threshold = None if own is None else choose_threshold(own.labels == k, own.probabilities[:, k])
        if threshold is None:
            return None, f"no operating point: the validation part of fold {fold} has no cell of class '{positive}'"
        chosen.append(FoldThreshold(fold, threshold))
    return point_at(test, positive, float(np.median([of_fold.threshold for of_fold in chosen])), options, chosen), ""


def point_at(test: Cells, positive: str, threshold: float, options: IntervalOptions,
             of_folds: Sequence[FoldThreshold] = ()) -> OperatingPoint:
    """The rates on test cells at a threshold that was chosen on validation cells, or at that of each fold."""
    k = test.classes.index(positive)
    by_fold = {of_fold.fold: of_fold.threshold for of_fold in of_folds}
    thresholds = np.array([by_fold.get(fold, threshold) for fold in test.folds.tolist()])
    truth, called = test.labels == k, test.probabilities[:, k] >= thresholds
    return OperatingPoint(
        positive, "validation", TARGET, test.rate(called, truth, options), test.rate(~called, ~truth, options),
        test.rate(truth, called, options), test.rate(~truth, ~called, options), threshold, tuple(of_folds))
