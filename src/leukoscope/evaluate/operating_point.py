"""The operating point of high sensitivity: chosen on the validation part, applied to the test part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..stats.bootstrap import bootstrap_rate
from ..stats.rates import wilson
from .table import Cells

TARGET = 0.99


def choose_threshold(labels: np.ndarray, scores: np.ndarray, target: float = TARGET) -> float | None:
    """The highest threshold at which at least `target` of the positive cells score that or more; None without any."""
    positive = np.sort(scores[labels])[::-1]
    if not positive.size:
        return None
    needed = int(np.ceil(target * positive.size - 1e-9))
    return float(positive[max(needed, 1) - 1])


def operating_point(test: Cells, validation: Mapping[int, Cells], positive: int, *, confidence: float, rounds: int,
                    seed: int) -> tuple[dict[str, Any] | None, str]:
    """The operating point as in metrics.json, or None and why. validation: the cells of each fold's validation part.

    Each fold has its own threshold, chosen on its own validation part: another fold's validation cells may be this
    fold's test cells, and a threshold chosen on them would have seen the test part.
    """
    called = np.zeros(len(test.labels), dtype=bool)
    thresholds = []
    for fold in np.unique(test.folds):
        own, checked = test.folds == fold, validation.get(int(fold))
        threshold = None if checked is None else choose_threshold(
            checked.labels == positive, checked.probabilities[:, positive])
        if threshold is None:
            return None, (f"no operating point: the validation part of fold {fold} has no cell of class "
                          f"'{test.classes[positive]}'")
        called[own] = test.probabilities[own, positive] >= threshold
        thresholds.append({"fold": int(fold), "threshold": threshold})
    point = rates_of_calls(test, positive, called, confidence=confidence, rounds=rounds, seed=seed)
    return {**point, "threshold": float(np.median([t["threshold"] for t in thresholds])),
            "fold_thresholds": thresholds}, ""


def point_at(test: Cells, threshold: float, positive: int, *, confidence: float, rounds: int,
             seed: int) -> dict[str, Any]:
    """The operating point at a threshold that was chosen earlier, on validation cells."""
    called = test.probabilities[:, positive] >= threshold
    return {**rates_of_calls(test, positive, called, confidence=confidence, rounds=rounds, seed=seed),
            "threshold": threshold, "fold_thresholds": []}


def rates_of_calls(test: Cells, positive: int, called: np.ndarray, *, confidence: float, rounds: int,
                   seed: int) -> dict[str, Any]:
    """How often calling these cells (n,) positive is right, as in metrics.json, without the threshold."""
    truth = test.labels == positive

    def rate(hit: np.ndarray, of: np.ndarray) -> dict[str, Any]:
        if test.independent:
            return wilson(int(hit.sum()), int(of.sum()), confidence).to_dict()
        counts, totals = test.by_cluster(hit), test.by_cluster(of)
        return bootstrap_rate(counts, totals, confidence, rounds, seed, test.unit).to_dict()

    return {
        "class": test.classes[positive], "chosen_on": "validation", "target_sensitivity": TARGET,
        "sensitivity": rate(truth & called, truth), "specificity": rate(~truth & ~called, ~truth),
        "ppv": rate(truth & called, called), "npv": rate(~truth & ~called, ~called),
    }
