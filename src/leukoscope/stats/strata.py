"""Whether a rate depends on a property within classes: Cochran, Mantel and Haenszel's test of any association."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped
from scipy.special import chdtrc, fdtrc

from .estimate import check_same_length, number_clusters

SMALLEST = 1e-9
"""Share of the largest eigenvalue of a covariance below which a direction does not vary."""


@dataclass(frozen=True)
class Association:
    """statistic: chi-squared with `freedom` degrees of freedom, by cluster an F; p_value None where nothing can be
    tested, and `test` says why."""

    statistic: float | None
    freedom: int
    p_value: float | None
    test: str


def within_strata(right: Bool[np.ndarray, " n"], values: Int[np.ndarray, " n"], strata: Int[np.ndarray, " n"],
                  clusters: Shaped[np.ndarray, " n"] | None = None) -> Association:
    """Whether, within strata, the rate of `right` depends on the value.

    Cells that are independent: the general association of Cochran, Mantel and Haenszel (Landis, Heyman and Koch 1978,
    Int Stat Rev 46:237). With clusters, such as subjects: the same score with the variance between clusters and
    Hotelling's F. Strata with one value only, or in which all or no cells are right, say nothing.
    """
    check_same_length(right=right, values=values, strata=strata)
    numbered = None if clusters is None else number_clusters(clusters)
    kinds = int(values.max(initial=-1)) + 1
    score, variance = np.zeros(kinds), np.zeros((kinds, kinds))
    moves = np.zeros((right.size, kinds))
    for stratum in np.unique(strata):
        own = strata == stratum
        n, hits = int(own.sum()), int(right[own].sum())
        present = np.eye(kinds)[values[own]]
        shares = present.mean(0)
        if n < 2 or hits in (0, n):
            continue
        off = (right[own] - hits / n)[:, None] * (present - shares)
        moves[own] = off
        score += off.sum(0)
        variance += hits * (n - hits) / (n - 1) * (np.diag(shares) - np.outer(shares, shares))
    return _chi_squared(score, variance) if numbered is None else _hotelling(score, moves, *numbered)


def _chi_squared(score: np.ndarray, variance: np.ndarray) -> Association:
    statistic, freedom = _distance(score, variance)
    if not freedom:
        return Association(None, 0, None, "no test: within each class the value or the answer is always the same")
    return Association(statistic, freedom, float(chdtrc(freedom, statistic)), "cochran, mantel and haenszel")


def _hotelling(score: np.ndarray, moves: np.ndarray, clusters: np.ndarray, count: int) -> Association:
    """clusters: their numbers, 0 to count - 1."""
    sums = np.stack([np.bincount(clusters, column, count) for column in moves.T], axis=1)
    statistic, freedom = _distance(score, count / max(count - 1, 1) * sums.T @ sums)
    if not freedom:
        return Association(None, 0, None, "no test: within each class the value or the answer is always the same")
    left = count - freedom
    if left < 1:
        return Association(None, freedom, None, f"no test: {count} subjects are too few for {freedom + 1} values")
    f = left / freedom * statistic / max(count - 1 - statistic, 1e-12)  # of centred sums, as Hotelling's is
    return Association(f, freedom, float(fdtrc(freedom, left, f)), "the same score, by subject")


def _distance(score: np.ndarray, variance: np.ndarray) -> tuple[float, int]:
    """score' variance^-1 score in the directions that vary, and how many these are."""
    sizes, axes = np.linalg.eigh(variance) if variance.size else (np.zeros(0), np.zeros((0, 0)))
    varies = sizes > SMALLEST * sizes.max(initial=0.0)
    along = axes[:, varies].T @ score
    return float((along**2 / sizes[varies]).sum()), int(varies.sum())
