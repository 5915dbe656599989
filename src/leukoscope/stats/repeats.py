"""Training repeated from other random weights: rates and their differences for a new network on new cells.

Two things vary: which cells are tested, and how training happened to go. Cells that several networks of one kind judge
are no new cells, and repeats of one kind differ less than new ones on new cells would; so both variances are added.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import ndtri

from ..errors import LeukoscopeError
from .estimate import (
    ROUNDING,
    Comparison,
    Estimate,
    check_confidence,
    check_same_length,
    no_estimate,
    number_clusters,
    student_beyond,
    student_quantile,
)
from .rates import wilson_bounds


def repeated_rate(right: Bool[np.ndarray, "repeats n"], clusters: Shaped[np.ndarray, " n"] | None = None,
                  confidence: float = 0.95) -> Estimate:
    """The mean rate of `repeats` networks on the same n cells, in [0, 1].

    Two reaches are squared and added, each with Student's t at its own degrees of freedom: over cells (cluster-robust;
    clusters: the subject of each) and over repeats. The interval is Wilson's at the number of independent cells that
    reaches as far. With one repeat, how training went is not counted.
    """
    half = check_confidence(confidence)
    _check(right)
    cells, freedom = _over_cells(right.mean(0), clusters)
    value = float(right.mean())
    # Not one t at Satterthwaite's freedom: the spread of two or three repeats is often found far too small.
    reach2 = sum(variance * student_quantile(half, own) ** 2 for variance, own in ((cells, freedom), _between(right)))
    z = -float(ndtri(half))
    low, high = wilson_bounds(value, _independent(value, reach2 / z**2, freedom, right.shape[1]), z)
    return Estimate(value, low, high, _method(right, "wilson over cells"))


def repeated_difference(first: Bool[np.ndarray, "repeats n"], second: Bool[np.ndarray, "others n"],
                        clusters: Shaped[np.ndarray, " n"] | None = None, confidence: float = 0.95) -> Comparison:
    """Mean rate of the first kind of network minus that of the second, on the same n cells, in [-1, 1], and a test
    against none. Paired by cell: the variance of the differences over cells, and that between the repeats of each kind
    over their number (see `between_kinds`), are added; Student's t has Satterthwaite's degrees of freedom."""
    half = check_confidence(confidence)
    _check(first)
    _check(second)
    check_same_length(first=first, second=second)
    method = _method(first if len(first) > len(second) else second, "paired t over cells")
    change = first.mean(0) - second.mean(0)
    value = float(change.mean())
    error2, freedom = _added([_over_cells(change, clusters), *between_kinds(first.mean(1), second.mean(1))])
    if error2 == 0:
        none = no_estimate("no interval: nothing varies over cells and trainings", value)
        return Comparison(none, 1.0 if value == 0 else None, method)
    error = math.sqrt(error2)
    reach = -student_quantile(half, freedom) * error
    return Comparison(Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0), method),
                      2 * student_beyond(abs(value) / error, freedom), method)


def between_kinds(first: Float[np.ndarray, " r"], second: Float[np.ndarray, " s"]) -> list[tuple[float, float]]:
    """(variance, degrees of freedom) that the luck of training adds to the difference of two kinds' mean figures.

    first, second: the figure of each training. A kind that was trained once is taken to vary as the other does; where
    both were, nothing is known, and nothing is added.
    """
    several = [one for one in (first, second) if len(one) > 1]
    if not several:
        return [(0.0, 1.0)]
    found = [(variance if variance > ROUNDING else 0.0, len(one)) for one in several
             for variance in [float(np.var(one, ddof=1))]]
    if len(several) == 2:
        return [(variance / count, count - 1.0) for variance, count in found]
    variance, count = found[0]
    return [(variance * (1 + 1 / count), count - 1.0)]


def _check(right: np.ndarray) -> None:
    if right.ndim != 2 or not right.shape[0] or right.shape[1] < 2:
        raise LeukoscopeError(f"repeats: expected (repeats, cells) with at least two cells, got {right.shape}",
                              "test every repeat on the same cells")


def _over_cells(values: np.ndarray, clusters: np.ndarray | None) -> tuple[float, float]:
    """(variance of the mean, degrees of freedom), cluster-robust."""
    numbers, count = number_clusters(clusters) if clusters is not None else (np.arange(values.size), values.size)
    if count < 2:
        raise LeukoscopeError("repeats: every cell is of one subject, so nothing can be said of others",
                              "test on several subjects")
    sums = np.bincount(numbers, values - values.mean(), count)
    variance = count / (count - 1) * float((sums**2).sum()) / values.size**2
    return variance if variance > ROUNDING else 0.0, count - 1.0


def _between(right: np.ndarray) -> tuple[float, float]:
    """(variance of the mean over repeats, degrees of freedom); nothing with one repeat."""
    repeats = len(right)
    variance = 0.0 if repeats == 1 else float(right.mean(1).var(ddof=1)) / repeats
    return variance if variance > ROUNDING else 0.0, max(repeats - 1.0, 1.0)


def _added(parts: list[tuple[float, float]]) -> tuple[float, float]:
    """The sum of variances and its degrees of freedom (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    weighed = sum(variance**2 / freedom for variance, freedom in parts)
    return total, total**2 / weighed if weighed > 0 else parts[0][1]


def _independent(value: float, error2: float, freedom: float, cells: int) -> float:
    """How many independent cells have this standard error; clusters, at most all cells, where none was judged
    differently and the error says nothing."""
    if error2 == 0 or value in (0.0, 1.0):
        return min(freedom + 1, float(cells))
    return value * (1 - value) / error2


def _method(right: np.ndarray, what: str) -> str:
    return f"{what} and repeats" if len(right) > 1 else f"{what}; one training each, so its luck is not counted"
