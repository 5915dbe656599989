"""How far probabilities can be believed: Brier score, log loss, calibration error and the reliability diagram."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from ..stats.bootstrap import bootstrap_method, percentile_interval
from ..stats.estimate import Estimate
from ..stats.rates import cluster_rate, wilson
from .table import Cells

BINS = 15
CELLS_A_BIN = 10
SMALLEST = 1e-15  # a probability of exactly 0 for the true class would cost infinitely much


def losses(cells: Cells) -> np.ndarray:
    """(2, n): Brier score and log loss (nats) of each cell.

    Brier 1950: squared error summed over the classes, from 0 to 2; halved for two classes, where it is then the usual
    (p - y)^2 from 0 to 1.
    """
    truth = np.eye(len(cells.classes))[cells.labels]
    brier = ((cells.probabilities - truth) ** 2).sum(1) / (2 if len(cells.classes) == 2 else 1)
    chosen = np.take_along_axis(cells.probabilities, cells.labels[:, None], 1)[:, 0]
    return np.stack([brier, -np.log(np.clip(chosen, SMALLEST, 1.0))])


def mean_statistic(cells: Cells) -> Callable[[np.ndarray, slice], np.ndarray]:
    """Mean Brier score and log loss in each round, (2, r)."""
    sums = np.stack([np.bincount(cells.clusters, row, cells.count) for row in losses(cells)])
    sizes = np.bincount(cells.clusters, minlength=cells.count).astype(np.float64)
    return lambda weights, _: sums @ weights / (sizes @ weights)


def confidence_bins(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Bins of equal numbers of cells by the probability of the predicted class: bin of each cell, and
    that probability, (n,) each.

    At most 15, each with ten cells or more; cells of one probability stay together, so that many equal ones make fewer
    bins. Equal numbers, because most cells of a good network lie near 1 and bins of equal width would be empty.
    """
    sure = cells.probabilities.max(1)
    wanted = int(np.clip(len(sure) // CELLS_A_BIN, 1, BINS))
    inner = np.unique(np.quantile(sure, np.arange(1, wanted) / wanted, method="inverted_cdf"))
    number = np.searchsorted(inner, sure, "left")
    return np.unique(number, return_inverse=True)[1].reshape(-1), sure


def calibration_statistic(cells: Cells) -> Callable[[np.ndarray, slice], np.ndarray]:
    """Expected calibration error in each round, (r,), with the bins of all cells."""
    number, sure = confidence_bins(cells)
    gap = (cells.labels == cells.predicted) - sure
    shape = (int(number.max()) + 1, cells.count)
    gaps = sparse.coo_array((gap, (number, cells.clusters)), shape=shape).tocsr()
    sizes = np.bincount(cells.clusters, minlength=cells.count).astype(np.float64)
    return lambda weights, _: np.abs(gaps @ weights).sum(0) / (sizes @ weights)


def calibration(cells: Cells, replicates: dict[str, np.ndarray], confidence: float) -> dict[str, Any]:
    """Brier score, expected calibration error, and the bins of the reliability diagram.

    The error of finite bins is too large by chance, and again so in each round: its interval is the basic one, which
    turns the rounds' excess downwards.
    """
    number, sure = confidence_bins(cells)
    right = cells.labels == cells.predicted
    error = float(calibration_statistic(cells)(np.ones((cells.count, 1)), slice(0, 1))[0])
    brier = float(losses(cells)[0].mean())
    method = bootstrap_method(cells.unit, cells.count)
    if cells.count == 1:
        none = f"no interval: one {cells.unit} only"
        estimates = Estimate(brier, None, None, none), Estimate(error, None, None, none)
    else:
        most = 1.0 if len(cells.classes) == 2 else 2.0
        low, high = percentile_interval(replicates["means"][0], brier, cells.count, confidence, (0.0, most))
        below, above = percentile_interval(replicates["calibration"], error, cells.count, confidence)
        estimates = (Estimate(brier, low, high, method),
                     Estimate(error, max(0.0, 2 * error - above), min(1.0, 2 * error - below), f"{method}, basic"))
    bins = []
    for k in range(int(number.max()) + 1):
        own = number == k
        accuracy = (wilson(int(right[own].sum()), int(own.sum()), confidence) if cells.independent else
                    cluster_rate(cells.by_cluster(own & right), cells.by_cluster(own), confidence, cells.unit))
        bins.append({"low": float(sure[own].min()), "high": float(sure[own].max()), "count": int(own.sum()),
                     "confidence": float(sure[own].mean()), "accuracy": accuracy.to_dict()})
    return {"brier": estimates[0].to_dict(), "expected_calibration_error": estimates[1].to_dict(), "bins": bins}
