"""ROC and precision-recall curves, and the areas of each class against the rest under resampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..stats.ranking import PseudoUnits, Ranking, rank_cells, ranking_units, weighted_areas
from .table import Cells

MOST_POINTS = 200


def rankings(cells: Cells) -> dict[int, Ranking]:
    """A ranking for each class that has cells, against all others, where there are others."""
    return {k: rank_cells(cells.labels == k, cells.probabilities[:, k], cells.clusters, cells.count)
            for k in range(len(cells.classes)) if 0 < (cells.labels == k).sum() < len(cells.labels)}


def areas_once(ranked: dict[int, Ranking], cells: Cells) -> np.ndarray:
    """(2, classes): area under the ROC curve and average precision; NaN where not defined."""
    return _areas(ranked, {}, len(cells.classes), np.ones((cells.count, 1)))[:, :, 0]


def areas_statistic(ranked: dict[int, Ranking], cells: Cells, rounds: int,
                    generator: np.random.Generator) -> Callable[[np.ndarray, slice], np.ndarray]:
    """The same for each round of a bootstrap, (2, classes, r), with Jeffreys pseudo-units."""
    units = {k: ranking_units(cells.labels == k, cells.probabilities[:, k], cells.clusters, rounds, generator)
             for k in ranked}
    size = len(cells.classes)
    return lambda weights, part: _areas(ranked, {k: u.part(part) for k, u in units.items()}, size, weights)


def curves(labels: np.ndarray, scores: np.ndarray) -> dict[str, Any] | None:
    """ROC and precision-recall points from the strictest threshold to the loosest, at most 200 each.

    A cell is called positive where its score is at least the threshold; the first point of the ROC calls none, which
    needs no threshold (None). None where a class has no cell.
    """
    if not (labels.any() and (~labels).any()):
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true, called = np.cumsum(labels[order])[last], last + 1
    recall, precision = true / labels.sum(), true / called
    fpr = np.append(0.0, (called - true) / (~labels).sum())
    recall, precision = np.append(0.0, recall), np.append(precision[0], precision)
    thresholds: list[float | None] = [None, *(float(t) for t in scores[order][last])]
    roc, pr = _thin(fpr, recall), _thin(recall, precision)
    return {
        "roc": {"fpr": fpr[roc].tolist(), "tpr": recall[roc].tolist(), "thresholds": [thresholds[i] for i in roc]},
        "pr": {"recall": recall[pr].tolist(), "precision": precision[pr].tolist()},
    }


def _areas(ranked: dict[int, Ranking], units: dict[int, PseudoUnits], classes: int, weights: np.ndarray) -> np.ndarray:
    result = np.full((2, classes, weights.shape[1]), np.nan)
    for k, ranking in ranked.items():
        result[:, k] = weighted_areas(ranking, weights, units.get(k))
    return result


def _thin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positions of at most 200 points: corners first, then evenly along the curve; the ends always stay."""
    if len(x) > MOST_POINTS:
        turn = np.abs(np.diff(x)[:-1] * np.diff(y)[1:] - np.diff(x)[1:] * np.diff(y)[:-1]) > 0
        kept = np.concatenate([[0], np.flatnonzero(turn) + 1, [len(x) - 1]])
    else:
        kept = np.arange(len(x))
    if len(kept) <= MOST_POINTS:
        return kept
    way = np.append(0.0, np.cumsum(np.hypot(np.diff(x[kept]), np.diff(y[kept]))))
    at = np.searchsorted(way, np.linspace(0, way[-1], MOST_POINTS - 1))
    return kept[np.unique(np.append(at.clip(0, len(kept) - 1), len(kept) - 1))]
