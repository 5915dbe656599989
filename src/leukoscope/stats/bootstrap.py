"""The bootstrap by cluster: subjects are drawn, not cells, because the cells of one patient are not independent.

A statistic gets weights (how often each cluster was drawn), so a round costs a matrix product, not a copy of the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy
from jaxtyping import Float, Int

from ..errors import LeukoscopeError
from .estimate import check_confidence, student_quantile

FEW_CLUSTERS = 10
BLOCK = 250_000  # numbers held at a time: 2 MB, which stay in a core's cache

Statistic = Callable[[np.ndarray, slice], np.ndarray]


def cluster_weights(clusters: int, rounds: int, generator: np.random.Generator) -> Float[np.ndarray, "K r"]:
    """How often each of K clusters is drawn in r rounds of K draws with replacement: columns sum to K."""
    drawn = generator.integers(clusters, size=(rounds, clusters))
    drawn += np.arange(rounds)[:, None] * clusters  # counted round by round, which stays in the cache
    counts = np.bincount(drawn.ravel(), minlength=rounds * clusters).reshape(rounds, clusters)
    return np.ascontiguousarray(counts.T, dtype=np.float64)


def cluster_bootstrap(statistics: Mapping[str, Statistic], clusters: int, rounds: int = 2000,
                      seed: int = 0, rows: int = 0) -> dict[str, np.ndarray]:
    """Replicates of each statistic, shape (..., rounds).

    A statistic takes weights (K, r) and the slice of rounds that they belong to, and gives (..., r); all get the same
    draws. Works in blocks of rounds, so that memory does not grow with rounds x clusters, or with rounds x `rows`, the
    numbers that a statistic holds per round. LeukoscopeError for no cluster or no round.
    """
    if clusters < 1 or rounds < 1:
        raise LeukoscopeError(f"bootstrap of {clusters} clusters in {rounds} rounds", "give at least one of each")
    generator = np.random.default_rng(seed)
    block = max(1, min(rounds, BLOCK // max(clusters, rows)))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for start in range(0, rounds, block):
        part = slice(start, min(start + block, rounds))
        weights = cluster_weights(clusters, part.stop - start, generator)
        for name, statistic in statistics.items():
            parts[name].append(statistic(weights, part))
    return {name: np.concatenate(values, axis=-1) for name, values in parts.items()}


def jeffreys_units(size: float, rounds: int, generator: np.random.Generator) -> Float[np.ndarray, "2 r"]:
    """Weights of a right and a wrong pseudo-unit of `size` cells each: Gamma(1/2) in each round.

    With them a bootstrap of one rate becomes a draw from the Jeffreys posterior, Beta(k + 1/2, n - k + 1/2): a class
    in which every cell is right keeps an interval, where the plain bootstrap would give (1, 1).
    """
    return generator.standard_gamma(0.5, size=(2, rounds)) * size


def percentile_interval(replicates: Float[np.ndarray, " r"], value: float, clusters: int | float,
                        confidence: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)) -> tuple[float, float]:
    """Expanded percentile interval (Hesterberg 2015, 3.3): the percentiles at which t at K - 1 with K / (K - 1) of
    the variance would cover, since a bootstrap of K clusters is too narrow by that factor.

    Replicates that are NaN are left out. Includes `value`, and stays within `bounds`.
    """
    half = check_confidence(confidence)
    freedom = max(clusters - 1, 1.0)
    share = float(scipy.special.ndtr(student_quantile(half, freedom) * math.sqrt((freedom + 1) / freedom)))
    known = replicates[np.isfinite(replicates)]
    if known.size == 0:
        return value, value
    low, high = np.quantile(known, [share, 1 - share])
    return max(min(float(low), value), bounds[0]), min(max(float(high), value), bounds[1])


def effective_clusters(variances: Float[np.ndarray, " c"], clusters: Int[np.ndarray, " c"]) -> float:
    """Effective number of clusters of a mean over classes: Satterthwaite's degrees of freedom (1946) plus one.

    A class counts by what it adds to the variance of the mean.
    """
    known = np.isfinite(variances) & (variances > 0)
    if not known.any():
        return float(clusters.min())
    variances, freedom = variances[known], np.maximum(clusters[known] - 1, 1)
    return float(variances.sum() ** 2 / (variances**2 / freedom).sum()) + 1


def bootstrap_method(unit: str, clusters: int | float, few: int = FEW_CLUSTERS) -> str:
    """The name of the method, with a warning where there are few clusters."""
    return f"bootstrap by {unit}" + (f" (few: {clusters:.0f})" if clusters < few and unit != "cell" else "")
