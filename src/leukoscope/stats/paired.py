"""Two classifiers on the same cells: McNemar's test, the difference of two rates, Holm's correction."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Shaped

from ..errors import LeukoscopeError
from .estimate import (
    ROUNDING,
    Comparison,
    Estimate,
    check_confidence,
    check_finite,
    check_same_length,
    cluster_sums,
    compare_by_t,
    no_estimate,
    normal_quantile,
)
from .rates import check_count, wilson_bounds

FEW_DISCORDANT = 25


def mcnemar_p(first_only: int, second_only: int) -> tuple[float, str]:
    """McNemar's test from the two discordant counts: the two-sided p value, and which form it is.

    Exact binomial below 25 discordant cells, else mid-p, which keeps its level and is less conservative (Fagerland,
    Lydersen and Laake 2013).
    """
    discordant = first_only + second_only
    check_count(first_only, discordant)
    if discordant == 0:
        return 1.0, "mcnemar, exact"
    from scipy.stats import binom  # late, as in estimate.py

    fewer = min(first_only, second_only)
    p = min(1.0, 2 * float(binom.cdf(fewer, discordant, 0.5)))
    if discordant < FEW_DISCORDANT:
        return p, "mcnemar, exact"
    likely = float(binom.pmf(fewer, discordant, 0.5))  # there are two outcomes as extreme, unless both counts agree
    return p - (likely / 2 if first_only == second_only else likely), "mcnemar, mid-p"


def mcnemar(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"], confidence: float = 0.95) -> Comparison:
    """Whether two classifiers are right equally often; `first` and `second` say for each cell whether it was right.

    The interval of the difference is Newcombe's (1998, paired, method 10). Cells must be independent; where subjects
    are known, use `paired_difference`.
    """
    return paired_difference(first, second, None, confidence)


def paired_difference(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"],
                      clusters: Shaped[np.ndarray, " n"] | None = None, confidence: float = 0.95) -> Comparison:
    """Difference of two paired rates, first minus second, in [-1, 1], with a test against none.

    clusters: the subject of each cell. Then interval and p value come from the cluster-robust variance of the mean
    difference and Student's t at K - 1; there is no interval where no cell differs or there is only one cluster.
    """
    check_confidence(confidence)
    check_same_length(first=first, second=second)
    if first.size == 0:
        return Comparison(no_estimate("undefined: no cells"), None, "none")
    if clusters is None:
        p, test = mcnemar_p(int((first & ~second).sum()), int((second & ~first).sum()))
        return Comparison(_newcombe_paired(first, second, confidence), p, test)
    check_same_length(first=first, clusters=clusters)
    change = first.astype(float) - second.astype(float)
    mean = float(change.mean())
    sums, count = cluster_sums(change - mean, clusters)
    if count == 1 or not change.any():
        reason = "one cluster only" if count == 1 else "no cell was judged differently"
        return Comparison(no_estimate(f"no interval: {reason}", mean), None if change.any() else 1.0, "t by cluster")
    error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / change.size
    if error**2 < ROUNDING:
        return Comparison(no_estimate("no interval: the clusters do not vary", mean), None, "t by cluster")
    return compare_by_t(mean, error, count - 1, confidence, "t by cluster")


def holm(p_values: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Holm's step-down correction (1979): adjusted p values, in the order given."""
    check_finite("p_values", p_values)
    if ((p_values < 0) | (p_values > 1)).any():
        raise LeukoscopeError("p_values: expected numbers from 0 to 1", "give p values, not statistics")
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(p_values[order] * np.arange(p_values.size, 0, -1))
    adjusted = np.empty(p_values.size)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _newcombe_paired(first: np.ndarray, second: np.ndarray, confidence: float) -> Estimate:
    """Newcombe 1998 (Stat Med 17:2635), method 10: the two Wilson intervals, squared and added, with the paired phi."""
    n = first.size
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only, other = int((first & ~second).sum()), int((second & ~first).sum())
    z = -normal_quantile(check_confidence(confidence))
    a, b = (both + only) / n, (both + other) / n
    (a_low, a_high), (b_low, b_high) = wilson_bounds(a, float(n), z), wilson_bounds(b, float(n), z)
    margins = float(both + only) * (both + other) * (only + neither) * (other + neither)
    cross = both * neither - only * other
    corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    phi = corrected / math.sqrt(margins) if margins > 0 else 0.0
    a_down, a_up, b_down, b_up = a - a_low, a_high - a, b - b_low, b_high - b
    low = a - b - math.sqrt(max(a_down**2 - 2 * phi * a_down * b_up + b_up**2, 0.0))
    high = a - b + math.sqrt(max(a_up**2 - 2 * phi * a_up * b_down + b_down**2, 0.0))
    return Estimate(a - b, max(low, -1.0), min(high, 1.0), "newcombe, paired")
