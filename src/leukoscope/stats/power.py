"""How many subjects would settle a difference: the power of a paired t-test over subjects, and its inverse.

One difference for each subject is one observation. Differences and spreads are in any one unit.
"""

from __future__ import annotations

import math

import scipy

from ..errors import LeukoscopeError
from .estimate import check_confidence, student_quantile

MOST = 1_000_000
"""Subjects above which no number is given."""


def spread_of(low: float, high: float, subjects: int, confidence: float = 0.95) -> float:
    """The standard deviation of the subjects' differences that an interval of their mean by Student's t rests on."""
    half = check_confidence(confidence)
    if subjects < 2 or not high > low:
        raise LeukoscopeError(f"an interval from {low:g} to {high:g} of {subjects} subjects gives no spread",
                              "give an interval and two or more subjects")
    return (high - low) / 2 / -student_quantile(half, subjects - 1) * math.sqrt(subjects)


def power_of(difference: float, spread: float, subjects: int, confidence: float = 0.95) -> float:
    """The chance, 0 to 1, that the interval of a mean difference of so many subjects excludes 0, where `difference` is
    the true mean and `spread` the standard deviation between subjects."""
    half = check_confidence(confidence)
    if not (spread > 0 and math.isfinite(spread) and math.isfinite(difference)):
        raise LeukoscopeError(f"a spread of {spread:g}", "give a number above 0")
    if subjects < 2:
        return 0.0
    freedom, shift = subjects - 1, abs(difference) / spread * math.sqrt(subjects)
    limit = -student_quantile(half, freedom)
    above, below = (float(scipy.special.nctdtr(freedom, shift, end)) for end in (limit, -limit))
    # Far in the tails SciPy gives NaN: the test then is as good as certain.
    return 1.0 if math.isnan(above) else 1 - above + (0.0 if math.isnan(below) else below)


def subjects_for(difference: float, spread: float, power: float = 0.8, confidence: float = 0.95) -> int | None:
    """The least number of subjects with that power; None above a million, or for no difference."""
    if not 0 < power < 1:
        raise LeukoscopeError(f"power is {power:g}, expected a number between 0 and 1", "for example 0.8")
    if difference == 0 or power_of(difference, spread, MOST, confidence) < power:
        return None
    low, high = 1, 2
    while power_of(difference, spread, high, confidence) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(difference, spread, middle, confidence) >= power else (middle, high)
    return high


def subjects_for_width(half_width: float, spread: float, confidence: float = 0.95) -> int | None:
    """The least number of subjects whose interval reaches no further than `half_width` to each side; None above a
    million."""
    half = check_confidence(confidence)
    if not half_width > 0:
        raise LeukoscopeError(f"a half-width of {half_width:g}", "give a number above 0")

    def reach(subjects: int) -> float:
        return -student_quantile(half, subjects - 1) * spread / math.sqrt(subjects)

    if reach(MOST) > half_width:
        return None
    low, high = 1, 2
    while reach(high) > half_width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reach(middle) <= half_width else (middle, high)
    return high
