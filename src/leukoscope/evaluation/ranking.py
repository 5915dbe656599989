"""ROC and precision-recall curves, and the areas of each class against the rest under resampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..stats.ranking import PseudoUnits, Ranking, rank_cells, ranking_units, weighted_areas
from .results import Curves
from .table import Cells

MOST_POINTS = 200
GRID = np.linspace(0, 1, 501)


def rankings(cells: Cells) -> dict[int, Ranking]:
    """A ranking for each class that has cells, against all others, where there are others."""
    return {k: rank_cells(cells.labels == k, cells.probabilities[:, k], cells.clusters, cells.count)
            for k in range(len(cells.classes)) if 0 < (cells.labels == k).sum() < len(cells.labels)}


def areas(ranked: dict[int, Ranking], classes: int, weights: np.ndarray,
          units: dict[int, PseudoUnits] | None = None) -> np.ndarray:
    """(2, classes, r): area under the ROC curve and average precision, NaN where not defined. weights: (clusters, r),
    how often each cluster counts."""
    result = np.full((2, classes, weights.shape[1]), np.nan)
    for k, ranking in ranked.items():
        result[:, k] = weighted_areas(ranking, weights, units[k] if units else None)
    return result


def areas_statistic(ranked: dict[int, Ranking], cells: Cells, rounds: int,
                    generator: np.random.Generator) -> Callable[[np.ndarray, slice], np.ndarray]:
    """`areas` for a bootstrap, with Jeffreys pseudo-units."""
    units = {k: ranking_units(cells.labels == k, cells.probabilities[:, k], cells.clusters, rounds, generator)
             for k in ranked}
    return lambda weights, part: areas(ranked, len(cells.classes), weights, {k: u.part(part) for k, u in units.items()})


def curves(labels: np.ndarray, scores: np.ndarray) -> Curves | None:
    """ROC and precision-recall points, at most 200 each; None where the labels are all alike.

    A cell is called positive where its score is at least the threshold; the first point of the ROC calls none, which
    needs no threshold (None).
    """
    if not (labels.any() and (~labels).any()):
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true, called = np.cumsum(labels[order])[last], last + 1
    recall, precision = true / labels.sum(), true / called
    fpr = np.append(0.0, (called - true) / (~labels).sum())
    recall, precision = np.append(0.0, recall), np.append(precision[0], precision)
    thresholds: list[float | None] = [None, *scores[order][last].tolist()]
    roc, pr = _thin(fpr, recall), _thin(recall, precision)
    return Curves({"fpr": tuple(fpr[roc].tolist()), "tpr": tuple(recall[roc].tolist()),
                   "thresholds": tuple(thresholds[i] for i in roc)},
                  {"recall": tuple(recall[pr].tolist()), "precision": tuple(precision[pr].tolist())})


def mean_curve(of_classes: Sequence[Curves]) -> dict[str, list[float]]:
    """The mean over classes of their ROC curves at equal false positive rates."""
    heights = [np.interp(GRID, curve.roc["fpr"], curve.roc["tpr"]) for curve in of_classes]  # type: ignore[arg-type]  # no None
    return {"fpr": GRID.tolist(), "tpr": np.mean(heights, axis=0).tolist()}


def _thin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positions of at most 200 points: corners first, then evenly along the curve; the ends always stay."""
    if len(x) <= MOST_POINTS:
        return np.arange(len(x))
    turn = np.abs(np.diff(x)[:-1] * np.diff(y)[1:] - np.diff(x)[1:] * np.diff(y)[:-1]) > 0
    corners = np.concatenate([[0], np.flatnonzero(turn) + 1, [len(x) - 1]])
    if len(corners) <= MOST_POINTS:
        return corners
    way = np.append(0.0, np.cumsum(np.hypot(np.diff(x[corners]), np.diff(y[corners]))))
    at = np.searchsorted(way, np.linspace(0, way[-1], MOST_POINTS - 1))
    return corners[np.unique(np.append(at.clip(0, len(corners) - 1), len(corners) - 1))]
