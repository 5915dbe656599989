"""Figures from a confusion matrix, for one matrix or for all rounds of a bootstrap at once.

A matrix has shape (classes, classes, ...), rows true, columns predicted; whatever is not defined is NaN.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..stats.bootstrap import jeffreys_units
from ..stats.rates import design_effect
from .table import Cells

CLASS_FIGURES = ("sensitivity", "specificity", "ppv", "npv", "f1", "fpr", "fnr")
AVERAGED = ("sensitivity", "specificity", "ppv", "npv", "f1")


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
    """(classes, classes, rounds): a right and a wrong Jeffreys pseudo-unit (see `stats.jeffreys_units`) a class.

    The wrong one is spread over the other classes as the wrong cells are, with one cell's weight of doubt.
    """
    size = len(cells.classes)
    units = np.zeros((size, size, rounds))
    for k in range(size):
        own = cells.labels == k
        if own.any():
            effect = design_effect(cells.by_cluster(own & (cells.predicted == k)), cells.by_cluster(own))
            right, wrong = jeffreys_units(effect, rounds, generator)
            others = matrix[k] + 1 / (size - 1)
            others[k] = 0
            units[k] = (others / others.sum())[:, None] * wrong
            units[k, k] = right
    return units


def class_figures(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """CLASS_FIGURES, each (classes, ...), one class against the rest."""
    matrix = matrix.astype(np.float64)
    true = np.einsum("kk...->k...", matrix)
    missed, false = matrix.sum(1) - true, matrix.sum(0) - true
    rest = matrix.sum((0, 1)) - true - missed - false
    return {
        "sensitivity": _ratio(true, true + missed),
        "specificity": _ratio(rest, rest + false),
        "ppv": _ratio(true, true + false),
        "npv": _ratio(rest, rest + missed),
        "f1": _ratio(2 * true, 2 * true + false + missed),
        "fpr": _ratio(false, rest + false),
        "fnr": _ratio(missed, true + missed),
    }


def classes_used(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Figure -> (classes,) bool: the classes averaged over, with cells and for which it is defined."""
    return {name: (matrix.sum(1) > 0) & np.isfinite(values) for name, values in class_figures(matrix).items()}


def class_counts(matrix: np.ndarray, k: int) -> dict[str, tuple[int, int]]:
    """Count and total behind each rate of class k."""
    true, support, called, n = (int(v) for v in (matrix[k, k], matrix[k].sum(), matrix[:, k].sum(), matrix.sum()))
    rest = n - support - called + true
    return {"sensitivity": (true, support), "specificity": (rest, n - support), "ppv": (true, called),
            "npv": (rest, n - called), "fpr": (called - true, n - support), "fnr": (support - true, support)}


def overall_figures(matrix: np.ndarray, used: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Accuracy, balanced accuracy, macro and weighted figures, kappa (Cohen 1960) and MCC (Gorodkin 2004, R_K).

    Macro is the plain mean over the classes `used` (figure -> (classes,) bool), weighted the mean by true cells.
    """
    matrix = matrix.astype(np.float64)
    total, support, called = matrix.sum((0, 1)), matrix.sum(1), matrix.sum(0)
    right = np.einsum("kk...->...", matrix)
    by_class = class_figures(matrix)
    figures = {"accuracy": _ratio(right, total)}
    for name in AVERAGED:
        values = by_class[name][used[name]]
        figures[f"macro_{name}"] = mean_of_known(values, np.ones_like(values))
        figures[f"weighted_{name}"] = mean_of_known(values, support[used[name]])
    chance = (support * called).sum(0)
    figures["balanced_accuracy"] = figures["macro_sensitivity"]
    figures["kappa"] = _ratio(right * total - chance, total**2 - chance)
    spread = (total**2 - (called**2).sum(0)) * (total**2 - (support**2).sum(0))
    figures["mcc"] = _ratio(right * total - chance, np.sqrt(np.maximum(spread, 0)))
    return figures


def mean_of_known(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean along the first axis of what is not NaN; NaN where all are."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values * weights, 0).sum(0), np.where(known, weights, 0).sum(0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
