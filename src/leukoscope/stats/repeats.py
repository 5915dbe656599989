"""Training repeated with other random weights: rates and their differences for a new network on new cells.

Two things vary: which cells are tested, and the luck of training. Testing more networks on the same cells adds no new
cells, and repeated trainings differ less than new trainings tested on new cells; so both variances are added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped

from ..errors import LeukoscopeError
from .estimate import (
    ROUNDING,
    Comparison,
    Estimate,
    check_confidence,
    check_same_length,
    cluster_sums,
    compare_by_t,
    no_estimate,
    normal_quantile,
    student_quantile,
)
from .rates import wilson_bounds

Variance = tuple[float, float]
"""A variance and its degrees of freedom."""


def repeated_rate(right: Bool[np.ndarray, "repeats n"], clusters: Shaped[np.ndarray, " n"] | None = None,
                  confidence: float = 0.95) -> Estimate:
    """The mean rate of `repeats` networks on the same n cells, in [0, 1].

    Two half-widths are squared and added, each with Student's t at its own degrees of freedom: over cells
    (cluster-robust; clusters: the subject of each) and over repeats. The interval is Wilson's at the number of
    independent cells that gives the same half-width. With one repeat, the luck of training is not counted.
    """
    half = check_confidence(confidence)
    _check(right)
    over_cells = _over_cells(right.mean(0), clusters)
    value, repeats, freedom = float(right.mean()), len(right), over_cells[1]
    between = _clean(0.0 if repeats == 1 else float(right.mean(1).var(ddof=1)) / repeats), max(repeats - 1.0, 1.0)
    # Not one t at Satterthwaite's freedom: the variance of two or three repeats is often estimated far too small.
    reach2 = sum(variance * student_quantile(half, own) ** 2 for variance, own in (over_cells, between))
    z = -normal_quantile(half)
    error2 = reach2 / z**2
    if error2 == 0 or value in (0.0, 1.0):  # the error says nothing: count clusters, at most all cells
        independent = min(freedom + 1, float(right.shape[1]))
    else:
        independent = value * (1 - value) / error2
    low, high = wilson_bounds(value, independent, z)
    return Estimate(value, low, high, _method(right, "wilson over cells"))


def repeated_difference(first: Bool[np.ndarray, "repeats n"], second: Bool[np.ndarray, "others n"],
                        clusters: Shaped[np.ndarray, " n"] | None = None, confidence: float = 0.95) -> Comparison:
    """Mean rate of the first kind of network minus that of the second, on the same n cells, in [-1, 1], and a test
    against none. Paired by cell: the variance of the differences over cells, and that between the repeats of each kind
    over their number (see `between_kinds`), are added; Student's t has Satterthwaite's degrees of freedom."""
    check_confidence(confidence)
    _check(first)
    _check(second)
    check_same_length(first=first, second=second)
    method = _method(first if len(first) > len(second) else second, "paired t over cells")
    change = first.mean(0) - second.mean(0)
    value = float(change.mean())
    error2, freedom = add_variances([_over_cells(change, clusters),
                                     *between_kinds(first.mean(1), second.mean(1))])
    if error2 == 0:
        none = no_estimate("no interval: nothing varies over cells and trainings", value)
        return Comparison(none, 1.0 if value == 0 else None, method)
    return compare_by_t(value, math.sqrt(error2), freedom, confidence, method)


def between_kinds(first: Float[np.ndarray, " r"], second: Float[np.ndarray, " s"]) -> list[Variance]:
    """What the luck of training adds to the variance of the difference of two kinds' mean figures.

    first, second: the figure of each training. A kind that was trained once is assumed to vary as the other does;
    where both were trained once, nothing is known, and nothing is added.
    """
    known = [(_clean(float(np.var(kind, ddof=1))), len(kind)) for kind in (first, second) if len(kind) > 1]
    if not known:
        return [(0.0, 1.0)]
    if len(known) == 2:
        return [(variance / count, count - 1.0) for variance, count in known]
    variance, count = known[0]
    return [(variance * (1 + 1 / count), count - 1.0)]


def add_variances(parts: Sequence[Variance]) -> Variance:
    """The sum of independent variances, with Satterthwaite's degrees of freedom (1946)."""
    total = sum(variance for variance, _ in parts)
    weighted = sum(variance**2 / freedom for variance, freedom in parts)
    return total, total**2 / weighted if weighted > 0 else parts[0][1]


def _check(right: np.ndarray) -> None:
    if right.ndim != 2 or not right.shape[0] or right.shape[1] < 2:
        raise LeukoscopeError(f"repeats: expected (repeats, cells) with at least two cells, got {right.shape}",
                              "test every repeat on the same cells")


def _over_cells(values: np.ndarray, clusters: np.ndarray | None) -> Variance:
    """The variance of the mean, cluster-robust."""
    sums, count = cluster_sums(values - values.mean(), clusters)
    if count < 2:
        raise LeukoscopeError("repeats: all cells are of one subject, so nothing is known of other subjects",
                              "test on several subjects")
    return _clean(count / (count - 1) * float((sums**2).sum()) / values.size**2), count - 1.0


def _clean(variance: float) -> float:
    return variance if variance > ROUNDING else 0.0


def _method(right: np.ndarray, what: str) -> str:
    return f"{what} and repeats" if len(right) > 1 else f"{what}; one training each, so its luck is not counted"
