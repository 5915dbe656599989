"""Straight lines through two measurements of the same things, both with errors: Passing-Bablok and Deming.

A line is second = intercept + slope * first. Two methods agree where the slope may be 1 and the intercept 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float

from ..errors import LeukoscopeError
from .estimate import Estimate, check_confidence, check_finite, check_same_length, no_estimate, student_quantile

FEWEST = 3
"""Pairs below which no line is drawn."""
ITERATIONS = 200
_SETTLED = 1e-12


@dataclass(frozen=True)
class Line:
    """second = intercept + slope * first, from `pairs` pairs."""

    pairs: int
    intercept: Estimate
    slope: Estimate


def passing_bablok(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"],
                   confidence: float = 0.95) -> Line:
    """The line of Passing and Bablok (1983, J Clin Chem Clin Biochem 21:709): median of the slopes between all pairs,
    shifted by the number of slopes below -1; assumes a linear relation of positive slope. Robust to outliers; takes
    n^2 time and memory. No line for fewer than three pairs or where `first` hardly varies. Raises LeukoscopeError for
    NaN.
    """
    z = -float(scipy.special.ndtri(check_confidence(confidence)))
    _check(first, second)
    n = first.size
    i, j = np.triu_indices(n, 1)
    across, rise = first[j] - first[i], second[j] - second[i]
    across, rise = (change[(across != 0) | (rise != 0)] for change in (across, rise))
    slopes = np.where(across == 0, np.copysign(np.inf, rise), rise / np.where(across == 0, 1.0, across))
    slopes = np.sort(slopes[slopes != -1])
    if n < FEWEST or slopes.size < FEWEST:
        return _no_line(n, f"undefined: fewer than {FEWEST} different pairs")
    shift, count = int((slopes < -1).sum()), slopes.size
    slope = float(slopes[[shift + (count - 1) // 2, shift + count // 2]].mean()) if shift + count // 2 < count else \
        math.inf
    if not math.isfinite(slope):
        return _no_line(n, "undefined: the first measurement hardly varies")
    reach = z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = round((count - reach) / 2)
    intercept = float(np.median(second - slope * first))
    ends = lowest + shift - 1, count - lowest + shift
    if lowest < 1 or ends[1] >= count or not np.isfinite(slopes[list(ends)]).all():
        return Line(n, no_estimate("no interval: too few different pairs", intercept),
                    no_estimate("no interval: too few different pairs", slope))
    low, high = (float(slopes[end]) for end in ends)
    down, up = (float(np.median(second - end * first)) for end in (high, low))
    return Line(n, Estimate(intercept, down, up, "passing-bablok"), Estimate(slope, low, high, "passing-bablok"))


def deming(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], *, ratio: float = 1.0,
           variance: Callable[[np.ndarray], np.ndarray] | None = None, confidence: float = 0.95) -> Line:
    """Deming's line, which minimizes squared distances along the direction of the errors (Linnet 1993, Clin Chem
    39:424). ratio: variance of an error of `first` over that of `second`.

    variance: of an error at the true values (n,), up to a factor; weights are its inverse, taken anew at the estimated
    true values until nothing changes (Linnet 1990, Stat Med 9:1463, for whom it is the value squared). None: the same
    everywhere. Intervals are the jackknife's, with Student's t at n - 2. No line for fewer than three pairs, or where
    `first` and `second` are uncorrelated. Raises LeukoscopeError for NaN, or a ratio that is not positive.
    """
    half = check_confidence(confidence)
    _check(first, second)
    if not (ratio > 0 and math.isfinite(ratio)):
        raise LeukoscopeError(f"the ratio of the variances is {ratio}", "give a number above 0")
    n = first.size
    whole = _fit(first, second, ratio, variance) if n >= FEWEST else None
    if whole is None:
        return _no_line(n, f"undefined: fewer than {FEWEST} different pairs" if n < FEWEST else
                        "undefined: the two are uncorrelated, or the weights do not settle")
    keep = ~np.eye(n, dtype=bool)
    without = [_fit(first[each], second[each], ratio, variance) for each in keep]
    known = [fit for fit in without if fit is not None]
    if len(known) < n or n <= FEWEST:
        return Line(n, *(no_estimate("no interval: too few different pairs", value) for value in whole))
    t = -student_quantile(half, n - 2)
    pseudo = n * np.array(whole) - (n - 1) * np.array(known)
    errors = pseudo.std(axis=0, ddof=1) / math.sqrt(n)
    return Line(n, *(Estimate(value, value - t * error, value + t * error, "jackknife")
                     for value, error in zip(whole, errors.tolist(), strict=True)))


def _fit(first: np.ndarray, second: np.ndarray, ratio: float,
         variance: Callable[[np.ndarray], np.ndarray] | None) -> tuple[float, float] | None:
    """(intercept, slope), or None where there is no line."""
    line = _weighted(first, second, np.ones_like(first), ratio)
    if variance is None:
        return line
    for _ in range(ITERATIONS):
        if line is None:
            return None
        intercept, slope = line
        off, scale = second - intercept - slope * first, 1 + ratio * slope**2
        # The point of the line that is nearest along the direction of the errors; Linnet averages its coordinates.
        true = (first + ratio * slope * off / scale + ratio * (second - off / scale)) / (1 + ratio)
        line = _weighted(first, second, 1 / variance(true), ratio)
        if line is not None and max(abs(line[0] - intercept), abs(line[1] - slope)) < _SETTLED:
            return line
    return None


def _weighted(first: np.ndarray, second: np.ndarray, weights: np.ndarray, ratio: float) -> tuple[float, float] | None:
    total = weights.sum()
    x, y = float(weights @ first / total), float(weights @ second / total)
    across, up = first - x, second - y
    u, q, p = float(weights @ across**2), float(weights @ up**2), float(weights @ (across * up))
    if abs(p) <= 1e-14 * math.sqrt(u * q) or not math.isfinite(p):
        return None
    slope = (ratio * q - u + math.hypot(u - ratio * q, 2 * math.sqrt(ratio) * p)) / (2 * ratio * p)
    return y - slope * x, slope


def _no_line(pairs: int, reason: str) -> Line:
    return Line(pairs, no_estimate(reason), no_estimate(reason))


def _check(first: np.ndarray, second: np.ndarray) -> None:
    check_same_length(first=first, second=second)
    check_finite("first", first)
    check_finite("second", second)
