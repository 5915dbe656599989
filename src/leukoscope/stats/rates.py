"""Intervals for rates: Wilson, Clopper-Pearson; of clustered cells, Wilson on an effective number or the bootstrap."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int

from ..errors import LeukoscopeError
from .bootstrap import bootstrap_method, cluster_bootstrap, jeffreys_units, percentile_interval
from .estimate import (
    Estimate,
    check_confidence,
    check_same_length,
    no_estimate,
    normal_quantile,
    student_quantile,
)


def wilson(count: int, total: int, confidence: float = 0.95) -> Estimate:
    """Wilson's score interval (Wilson 1927): within [0, 1], `low` exactly 0 at 0 of n and `high` exactly 1 at n of n.

    total 0 gives no figure. Raises LeukoscopeError unless 0 <= count <= total.
    """
    half = check_confidence(confidence)
    check_count(count, total)
    if total == 0:
        return no_estimate("undefined: no cells", total=0)
    low, high = wilson_bounds(count / total, float(total), -normal_quantile(half))
    return Estimate(count / total, low, high, "wilson", count, total)


def exact(count: int, total: int, confidence: float = 0.95) -> Estimate:
    """Clopper and Pearson's exact interval (1934): covers at least the confidence, so it is wider than Wilson's."""
    half = check_confidence(confidence)
    check_count(count, total)
    if total == 0:
        return no_estimate("undefined: no cells", total=0)
    from scipy.stats import beta  # late, as in estimate.py

    low = 0.0 if count == 0 else float(beta.ppf(half, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - half, count + 1, total - count))
    return Estimate(count / total, low, high, "clopper-pearson", count, total)


def cluster_rate(counts: Int[np.ndarray, " K"], totals: Int[np.ndarray, " K"], confidence: float = 0.95,
                 unit: str = "cluster") -> Estimate:
    """Wilson's interval of sum(counts) / sum(totals) over K clusters, on total / design effect cells and with the
    quantile of Student's t at K - 1 (after Korn and Graubard 1998, who did so for Clopper-Pearson).

    The fast analytic alternative to `bootstrap_rate`. One cluster gives no interval.
    """
    half = check_confidence(confidence)
    check_rates(counts, totals)
    used = totals > 0
    count, total, clusters = int(counts.sum()), int(totals.sum()), int(used.sum())
    if total == 0:
        return no_estimate("undefined: no cells", total=0)
    if clusters == 1:
        return Estimate(count / total, None, None, f"no interval: one {unit} only", count, total)
    size = total / design_effect(counts, totals)
    low, high = wilson_bounds(count / total, size, -student_quantile(half, clusters - 1))
    return Estimate(count / total, low, high, f"wilson by {unit}", count, total)


def bootstrap_rate(counts: Int[np.ndarray, " K"], totals: Int[np.ndarray, " K"], confidence: float = 0.95,
                   rounds: int = 2000, seed: int = 0, unit: str = "cluster") -> Estimate:
    """Interval of sum(counts) / sum(totals) over K clusters by the bootstrap, with one right and one wrong Jeffreys
    pseudo-unit the size of the design effect. One cluster gives no interval.
    """
    check_rates(counts, totals)
    used = totals > 0
    counts, totals, clusters = counts[used], totals[used], int(used.sum())
    if clusters == 0:
        return no_estimate("undefined: no cells", total=0)
    count, total = int(counts.sum()), int(totals.sum())
    if clusters == 1:
        return Estimate(count / total, None, None, f"no interval: one {unit} only", count, total)
    size = design_effect(counts, totals)
    units = jeffreys_units(size, rounds, np.random.default_rng((seed, 1)))
    drawn = cluster_bootstrap({"sums": lambda w, _: np.stack([counts @ w, totals @ w])}, clusters, rounds, seed)["sums"]
    replicates = (drawn[0] + units[0]) / (drawn[1] + units.sum(0))
    low, high = percentile_interval(replicates, count / total, clusters, confidence)
    return Estimate(count / total, low, high, bootstrap_method(unit, clusters), count, total)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First minus second, with the two intervals' half-widths squared and added (Newcombe 1998, Stat Med 17:873,
    method 10, for any intervals: Zou and Donner 2008). For figures of different cells; where some cells belong to
    both, the interval is too wide rather than too narrow. No interval where one of the figures has none.
    """
    if first.value is None or second.value is None:
        return no_estimate("undefined: one of the figures is not defined")
    value = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return no_estimate("no interval: one of the figures has none", value)
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, max(value - down, -1.0), min(value + up, 1.0), "newcombe, unpaired")


def design_effect(counts: np.ndarray, totals: np.ndarray) -> float:
    """How many clustered cells count as one independent cell, from 1 to the effective cluster size sum(n^2) / sum(n).

    The ratio of the cluster-robust to the binomial variance of the rate, averaged with full dependence, which has the
    weight of one cell: with e wrong (or right) cells, whichever are fewer, (e * ratio + size) / (e + 1). The ratio is
    not known when all cells are right, and hardly when a few are wrong; full dependence is then the safe answer.
    """
    used = totals > 0
    counts, totals = counts[used].astype(float), totals[used].astype(float)
    total, clusters = totals.sum(), len(totals)
    size = float((totals**2).sum() / total)
    rate = counts.sum() / total
    fewer = float(min(counts.sum(), total - counts.sum()))
    if fewer == 0 or clusters == 1:
        return size
    robust = clusters / (clusters - 1) * float(((counts - rate * totals) ** 2).sum()) / total**2
    ratio = max(robust / (rate * (1 - rate) / total), 1.0)
    return max(1.0, min((fewer * ratio + size) / (fewer + 1), size))


def wilson_bounds(rate: float, size: float, quantile: float) -> tuple[float, float]:
    """Wilson's bounds for a rate of `size` cells, a number that need not be whole."""
    spread = quantile**2 / size
    centre = (rate + spread / 2) / (1 + spread)
    half = quantile / (1 + spread) * math.sqrt(rate * (1 - rate) / size + spread / (4 * size))
    low = 0.0 if rate == 0 else min(max(centre - half, 0.0), rate)
    high = 1.0 if rate == 1 else max(min(centre + half, 1.0), rate)
    return low, high


def check_count(count: int, total: int) -> None:
    """LeukoscopeError unless 0 <= count <= total."""
    if not 0 <= count <= total:
        raise LeukoscopeError(f"{count} of {total} is not a rate", "give 0 <= count <= total")


def check_rates(counts: np.ndarray, totals: np.ndarray) -> None:
    """LeukoscopeError unless 0 <= counts <= totals in each cluster."""
    check_same_length(counts=counts, totals=totals)
    wrong = np.flatnonzero((counts < 0) | (counts > totals))
    if wrong.size:
        raise LeukoscopeError(f"cluster {wrong[0]}: {counts[wrong[0]]} of {totals[wrong[0]]} is not a rate",
                              "give 0 <= count <= total in each cluster")
