"""The area under the ROC curve and its interval: DeLong by placements, bounded, and honest near perfect separation.

Ties count one half everywhere. Ranks are whole numbers, so that an area of exactly 1 is known to be exactly 1.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import scipy
from jaxtyping import Bool, Float, Shaped

from ..errors import LeukoscopeError
from .estimate import (
    Comparison,
    Estimate,
    check_both_classes,
    check_confidence,
    check_finite,
    check_same_length,
    compare_by_t,
    no_estimate,
    normal_quantile,
    number_clusters,
)

DELONG = "delong"
WIDENED = "delong, widened by newcombe (few cells misranked)"
PERFECT = "exact bound (perfectly separated)"
ENOUGH_MISRANKED = 30.0
AREA_ROUNDING = 1e-18
"""Variances of a difference of areas below it are rounding errors."""


def auc(labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """Area under the ROC curve: the probability that a positive cell scores higher than a negative one, ties one half.

    Raises LeukoscopeError for NaN or when one class has no cell; `delong` then returns an estimate that says so.
    """
    positive, negative = _split(labels, scores)
    check_both_classes(positive.size, negative.size)
    return int(_beaten(positive, np.sort(negative)).sum()) / (2 * positive.size * negative.size)


def delong(labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], confidence: float = 0.95) -> Estimate:
    """Area under the ROC curve with DeLong's interval on the logit scale (DeLong 1988; placements as Sun and Xu 2014).

    Takes O(n log n). Where few cells are misranked, DeLong's variance is itself uncertain, and the interval is widened
    to include Newcombe's (2006, part 2, method 5). With perfect separation the lower bound is half^(1 / k), k the
    smaller class: k disjoint pairs of a positive and a negative cell are all in order with a probability of at most
    area^k, whatever the distributions. One class only: no figure. Raises LeukoscopeError for NaN.
    """
    half = check_confidence(confidence)
    positive, negative = _split(labels, scores)
    if not (positive.size and negative.size):
        return no_estimate(f"undefined: {positive.size} positive and {negative.size} negative cells")
    beaten, above = _merged(np.sort(positive), np.sort(negative))
    pairs = 2 * positive.size * negative.size
    total = int(beaten.sum())
    area = total / pairs
    if total in (0, pairs):
        bound = half ** (1 / min(positive.size, negative.size))
        return Estimate(area, bound, 1.0, PERFECT) if total else Estimate(area, 0.0, 1 - bound, PERFECT)
    variance = sum(float(shares.var(ddof=1)) / shares.size if shares.size > 1 else 0.0
                   for shares in (beaten / (2 * negative.size), above / (2 * positive.size)))
    missed = [2 * negative.size - beaten, 2 * positive.size - above] if area >= 0.5 else [beaten, above]
    centre, reach = scipy.special.logit(area), -normal_quantile(half) * math.sqrt(variance) / (area * (1 - area))
    low, high = (float(scipy.special.expit(end)) for end in (centre - reach, centre + reach))
    low, high = min(low, area), max(high, area)
    if variance > 0 and min(effective_count(m) for m in missed) >= ENOUGH_MISRANKED:
        return Estimate(area, low, high, DELONG)
    wide_low, wide_high = newcombe_auc(area, positive.size, negative.size, confidence)
    return Estimate(area, min(low, wide_low), max(high, wide_high), WIDENED)


def newcombe_auc(area: float, positive: int, negative: int, confidence: float = 0.95) -> tuple[float, float]:
    """Newcombe's score interval for an area from the class sizes alone (Stat Med 2006, 25:559, method 5).

    Solves |area - x| = z sqrt(V(x)), V being Hanley and McNeil's variance (1982) with both class sizes minus one
    replaced by their mean.
    """
    z = -normal_quantile(check_confidence(confidence))
    others = (positive + negative) / 2 - 1

    def excess(x: float) -> float:
        variance = x * (1 - x) * (1 + others * ((1 - x) / (2 - x) + x / (1 + x))) / (positive * negative)
        return (area - x) ** 2 - z * z * variance

    from scipy.optimize import brentq  # late, as in estimate.py

    near = 1e-12
    inside = area > 2 * near and excess(area - near) < 0 < excess(near)
    low = cast("float", brentq(excess, near, area - near)) if inside else 0.0
    inside = area < 1 - 2 * near and excess(area + near) < 0 < excess(1 - near)
    return low, cast("float", brentq(excess, area + near, 1 - near)) if inside else 1.0


def delong_covariance(labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, "k n"],
                      clusters: Shaped[np.ndarray, " n"] | None = None,
                      ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k k"]]:
    """Areas of k scores on the same cells, and their covariance: DeLong's, or by cluster Obuchowski's (1997).

    A cluster may hold both classes. Raises LeukoscopeError for NaN or one class only.
    """
    check_same_length(labels=labels, scores=scores)
    check_finite("scores", scores)
    positive, negative = int(labels.sum()), int((~labels).sum())
    check_both_classes(positive, negative)
    shares = np.empty(scores.shape)
    for row, score in zip(shares, scores, strict=True):
        row[labels], row[~labels] = placements(labels, score)
    areas = shares[:, labels].mean(1)
    deviations = shares - areas[:, None]
    if clusters is None:
        v10, v01 = deviations[:, labels], deviations[:, ~labels]
        of_positive, of_negative = ((v @ v.T) / (max(v.shape[1] - 1, 1) * v.shape[1]) for v in (v10, v01))
        return areas, of_positive + of_negative
    check_same_length(labels=labels, clusters=clusters)
    numbers, count = number_clusters(clusters)
    if count == 1:
        raise LeukoscopeError("one cluster only: its areas have no variance", "give cells of several subjects")
    influence = deviations / np.where(labels, positive, negative)
    sums = np.stack([np.bincount(numbers, row, count) for row in influence])
    return areas, sums @ sums.T * (count / (count - 1))


def delong_test(labels: Bool[np.ndarray, " n"], first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"],
                clusters: Shaped[np.ndarray, " n"] | None = None, confidence: float = 0.95) -> Comparison:
    """Paired test of two areas on the same cells (DeLong 1988; by subject: Obuchowski 1997, Student's t at K - 1).

    Two scores that rank alike have no difference and p = 1, without an interval.
    """
    check_same_length(labels=labels, first=first, second=second)
    areas, covariance = delong_covariance(labels, np.stack([first, second]).astype(np.float64), clusters)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    test = "delong, paired" if clusters is None else "delong, paired, by cluster"
    if variance <= AREA_ROUNDING:
        p = 1.0 if abs(difference) < 1e-12 else None
        return Comparison(no_estimate("no interval: the difference does not vary", difference), p, test)
    freedom = math.inf if clusters is None else number_clusters(clusters)[1] - 1
    return compare_by_t(difference, math.sqrt(variance), freedom, confidence, test)


def placements(labels: Bool[np.ndarray, " n"],
               scores: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " q"]]:
    """Share of the negative cells below each positive one, and of the positive cells above each negative one."""
    positive, negative = _split(labels, scores)
    return (_beaten(positive, np.sort(negative)) / (2 * negative.size),
            1 - _beaten(negative, np.sort(positive)) / (2 * positive.size))


def effective_count(weights: np.ndarray) -> float:
    """Kish's effective number of parts, (sum w)^2 / sum w^2: 0 for none, n for n equal ones."""
    weights = weights.astype(float)
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _split(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the positive and of the negative cells, float64."""
    check_same_length(labels=labels, scores=scores)
    check_finite("scores", scores)
    scores = scores.astype(np.float64)
    return scores[labels], scores[~labels]


def _beaten(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Twice the number of `others`, sorted, that lie below each of `ours`; a tie counts one. Whole numbers."""
    return np.searchsorted(others, ours, "left") + np.searchsorted(others, ours, "right")


def _merged(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of sorted scores: twice the negatives below each positive, twice the positives above each negative, ties one.

    One merge of the two sorted runs is faster than four searches; only ties need two of them.
    """
    order = np.argsort(np.concatenate([negative, positive]), kind="stable")  # of tied cells the negative comes first
    is_positive = order >= negative.size
    at_most = np.flatnonzero(is_positive) - np.arange(positive.size)
    below = np.flatnonzero(~is_positive) - np.arange(negative.size)
    if (negative[np.maximum(at_most, 1) - 1] == positive).any():
        return at_most + np.searchsorted(negative, positive, "left"), (
            2 * positive.size - below - np.searchsorted(positive, negative, "right"))
    return 2 * at_most, 2 * (positive.size - below)
