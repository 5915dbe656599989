"""Metrics from a confusion matrix, for one matrix or for all rounds of a bootstrap at once.

A matrix has shape (classes, classes, ...), rows true, columns predicted; what is not defined is NaN.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..stats.bootstrap import jeffreys_units
from ..stats.rates import design_effect
from .table import Cells

AVERAGED = ("sensitivity", "specificity", "ppv", "npv", "f1")
CLASS_METRICS = (*AVERAGED, "fpr", "fnr")


def confusion_matrix(cells: Cells) -> np.ndarray:
    """(classes, classes) counts, rows true, columns predicted."""
    size = len(cells.classes)
    return np.bincount(cells.labels * size + cells.predicted, minlength=size * size).reshape(size, size)


def counts_by_cluster(cells: Cells) -> sparse.csr_array:
    """(classes * classes, clusters): the confusion matrix of each cluster."""
    size = len(cells.classes)
    rows = cells.labels * size + cells.predicted
    return sparse.coo_array((np.ones(len(rows)), (rows, cells.clusters)), shape=(size * size, cells.count)).tocsr()


def confusion_units(cells: Cells, matrix: np.ndarray, rounds: int, generator: np.random.Generator) -> np.ndarray:
    """(classes, classes, rounds): a correct and a wrong Jeffreys pseudo-unit (see `stats.jeffreys_units`) a class.

    The wrong one is spread over the other classes as the wrong cells are, with the weight of one cell more.
    """
    size = len(cells.classes)
    units = np.zeros((size, size, rounds))
    for k in range(size):
        own = cells.labels == k
        if own.any():
            effect = design_effect(cells.by_cluster(own & cells.correct), cells.by_cluster(own))
            correct, wrong = jeffreys_units(effect, rounds, generator)
            others = matrix[k] + 1 / (size - 1)
            others[k] = 0
            units[k] = (others / others.sum())[:, None] * wrong
            units[k, k] = correct
    return units


def class_counts(matrix: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """CLASS_METRICS -> the count and the total whose ratio it is, each (classes, ...), one class against the rest."""
    matrix = matrix.astype(np.float64)
    true = np.einsum("kk...->k...", matrix)
    missed, false = matrix.sum(1) - true, matrix.sum(0) - true
    rest = matrix.sum((0, 1)) - true - missed - false
    return {"sensitivity": (true, true + missed), "specificity": (rest, rest + false), "ppv": (true, true + false),
            "npv": (rest, rest + missed), "f1": (2 * true, 2 * true + false + missed), "fpr": (false, rest + false),
            "fnr": (missed, true + missed)}


def class_metrics(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """CLASS_METRICS, each (classes, ...)."""
    return {name: _ratio(count, total) for name, (count, total) in class_counts(matrix).items()}


def classes_used(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> (classes,) bool: the classes averaged over, those with cells and for which it is defined."""
    return {name: (matrix.sum(1) > 0) & np.isfinite(values) for name, values in class_metrics(matrix).items()}


def overall_metrics(matrix: np.ndarray, used: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Accuracy, balanced accuracy, macro and weighted metrics, kappa (Cohen 1960) and MCC (Gorodkin 2004, R_K).

    Macro is the plain mean over the classes `used` (metric -> (classes,) bool), weighted the mean by true cells.
    """
    matrix = matrix.astype(np.float64)
    total, support, called = matrix.sum((0, 1)), matrix.sum(1), matrix.sum(0)
    correct = np.einsum("kk...->...", matrix)
    by_class = class_metrics(matrix)
    metrics = {"accuracy": _ratio(correct, total)}
    for name in AVERAGED:
        values = by_class[name][used[name]]
        metrics[f"macro_{name}"] = mean_of_known(values, np.ones_like(values))
        metrics[f"weighted_{name}"] = mean_of_known(values, support[used[name]])
    chance = (support * called).sum(0)
    metrics["balanced_accuracy"] = metrics["macro_sensitivity"]
    metrics["kappa"] = _ratio(correct * total - chance, total**2 - chance)
    spread = (total**2 - (called**2).sum(0)) * (total**2 - (support**2).sum(0))
    metrics["mcc"] = _ratio(correct * total - chance, np.sqrt(np.maximum(spread, 0)))
    return metrics


def mean_of_known(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean along the first axis of what is not NaN; NaN where all are."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values * weights, 0).sum(0), np.where(known, weights, 0).sum(0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
