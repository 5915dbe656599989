"""How well probabilities agree with the share of correct answers: Brier score, log loss, calibration error and the bins
of the reliability diagram.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from ..stats.bootstrap import bootstrap_method, percentile_interval
from ..stats.estimate import Estimate, no_estimate
from ..stats.rates import cluster_rate, wilson
from .results import Calibration, CalibrationBin
from .table import Cells

BINS = 15
CELLS_A_BIN = 10
SMALLEST = 1e-15  # a probability of exactly 0 for the true class would make the log loss infinite


def losses(cells: Cells) -> np.ndarray:
    """(2, n): Brier score and log loss (nats) of each cell.

    Brier 1950: squared error summed over the classes, from 0 to 2; halved for two classes, where it is then the usual
    (p - y)^2 from 0 to 1.
    """
    truth = np.eye(len(cells.classes))[cells.labels]
    brier = ((cells.probabilities - truth) ** 2).sum(1) / (2 if len(cells.classes) == 2 else 1)
    chosen = np.take_along_axis(cells.probabilities, cells.labels[:, None], 1)[:, 0]
    return np.stack([brier, -np.log(np.clip(chosen, SMALLEST, 1.0))])


def mean_statistic(cells: Cells, values: np.ndarray) -> Callable[[np.ndarray, slice], np.ndarray]:
    """Means of some values of each cell (rows, n) in each round, (rows, r)."""
    sums = np.stack([np.bincount(cells.clusters, row, cells.count) for row in values])
    sizes = np.bincount(cells.clusters, minlength=cells.count).astype(np.float64)
    return lambda weights, _: sums @ weights / (sizes @ weights)


def confidence_bins(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Bins of equal numbers of cells by the probability of the predicted class: bin of each cell, and that probability,
    (n,) each.

    At most 15, each with ten cells or more; cells of one probability stay together, which may make fewer bins. Equal
    numbers, because most cells of a good network lie near 1 and bins of equal width would be empty.
    """
    highest = cells.probabilities.max(1)
    wanted = int(np.clip(len(highest) // CELLS_A_BIN, 1, BINS))
    inner = np.unique(np.quantile(highest, np.arange(1, wanted) / wanted, method="inverted_cdf"))
    number = np.searchsorted(inner, highest, "left")
    return np.unique(number, return_inverse=True)[1].reshape(-1), highest


def calibration_statistic(cells: Cells) -> Callable[[np.ndarray, slice], np.ndarray]:
    """Expected calibration error in each round, (r,), with the bins of all cells."""
    number, highest = confidence_bins(cells)
    shape = (int(number.max()) + 1, cells.count)
    gaps = sparse.coo_array((cells.correct - highest, (number, cells.clusters)), shape=shape).tocsr()
    sizes = np.bincount(cells.clusters, minlength=cells.count).astype(np.float64)
    return lambda weights, _: np.abs(gaps @ weights).sum(0) / (sizes @ weights)


def calibration(cells: Cells, rounds: dict[str, np.ndarray], confidence: float) -> Calibration:
    """rounds: replicates of the `means` of the losses, (2, r), and of the `calibration` error, (r,).

    The error of finite bins is too large by chance, and again so in each round: its interval is the basic one, which
    turns the rounds' excess downwards.
    """
    error = float(calibration_statistic(cells)(np.ones((cells.count, 1)), slice(0, 1))[0])
    brier = float(losses(cells)[0].mean())
    if cells.count == 1:
        estimates = [no_estimate(f"no interval: one {cells.unit} only", value) for value in (brier, error)]
    else:
        most, method = 1.0 if len(cells.classes) == 2 else 2.0, bootstrap_method(cells.unit, cells.count)
        low, high = percentile_interval(rounds["means"][0], brier, cells.count, confidence, (0.0, most))
        below, above = percentile_interval(rounds["calibration"], error, cells.count, confidence)
        estimates = [Estimate(brier, low, high, method),
                     Estimate(error, max(0.0, 2 * error - above), min(1.0, 2 * error - below), f"{method}, basic")]
    number, highest = confidence_bins(cells)
    bins = []
    for k in range(int(number.max()) + 1):
        own = number == k
        hits = own & cells.correct
        accuracy = (wilson(int(hits.sum()), int(own.sum()), confidence) if cells.independent else
                    cluster_rate(cells.by_cluster(hits), cells.by_cluster(own), confidence, cells.unit))
        bins.append(CalibrationBin(float(highest[own].min()), float(highest[own].max()), int(own.sum()),
                                   float(highest[own].mean()), accuracy))
    return Calibration(estimates[0], estimates[1], tuple(bins))
