"""The types that every interval and every test returns, the checks that they share, and quantiles."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
import scipy

from ..errors import LeukoscopeError
from ..files import JsonObject

ROUNDING = 1e-24
"""Variances below it are rounding errors: nothing varies."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval, `low <= value <= high`.

    value is None where the figure is not defined, low and high where there is no interval; `method` then says why.
    count and total are those of a rate, else None.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    count: int | None = None
    total: int | None = None

    def to_dict(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: JsonObject) -> Estimate:
        """What `to_dict` gave, as metrics.json holds it."""
        return cls(stored["value"], stored["low"], stored["high"], stored["method"], stored.get("count"),
                   stored.get("total"))


@dataclass(frozen=True)
class Comparison:
    """A paired comparison on the same cells: first minus second, the p value against no difference, and the test."""

    difference: Estimate
    p_value: float | None
    test: str

    def to_dict(self) -> JsonObject:
        return asdict(self)


def no_estimate(reason: str, value: float | None = None, total: int | None = None) -> Estimate:
    """A figure without an interval, or (value None) no figure at all, and why."""
    return Estimate(value, None, None, reason, 0 if value is None and total == 0 else None, total)


def check_confidence(confidence: float) -> float:
    """Half the error that the confidence leaves: 0.025 for 0.95. LeukoscopeError unless it lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise LeukoscopeError(f"confidence is {confidence}, expected a number between 0 and 1", "for example 0.95")
    return (1 - confidence) / 2


def check_finite(name: str, values: np.ndarray) -> None:
    """LeukoscopeError that names the first entry which is NaN or infinite."""
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise LeukoscopeError(f"{name}: entry {wrong[0]} is {values.ravel()[wrong[0]]}, expected a finite number",
                              "correct or remove that entry")


def check_same_length(**arrays: np.ndarray) -> None:
    """LeukoscopeError unless all arrays have the same length along the last axis."""
    sizes = {name: array.shape[-1] for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise LeukoscopeError(f"lengths differ: {', '.join(f'{name} {size}' for name, size in sizes.items())}",
                              "give one entry per cell in each")


def check_both_classes(positive: int, negative: int) -> None:
    """LeukoscopeError unless there are positive and negative cells."""
    if not (positive and negative):
        raise LeukoscopeError(f"expected positive and negative cells, got {positive} and {negative}",
                              "give cells of both classes")


def number_clusters(clusters: np.ndarray) -> tuple[np.ndarray, int]:
    """Any cluster names as 0 .. K-1, in sorted order of the names, and K."""
    names, numbers = np.unique(clusters, return_inverse=True)
    return numbers.reshape(-1), len(names)


def cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> tuple[np.ndarray, int]:
    """(K,) sum of the values in each cluster, and K; without clusters each value is its own."""
    if clusters is None:
        return values, values.size
    numbers, count = number_clusters(clusters)
    return np.bincount(numbers, values, count), count


# A count of a few cells does not wait for SciPy: its parts are imported when they are first used.

def normal_quantile(share: float) -> float:
    """The value below which `share` (0 to 1) of the standard normal distribution lies."""
    return NormalDist().inv_cdf(share)


def student_quantile(share: float, freedom: int | float | np.number) -> float:
    """Student's t below which `share` (0 to 1) lies."""
    return float(scipy.special.stdtrit(freedom, share))


def student_beyond(value: int | float | np.number, freedom: int | float | np.number) -> float:
    """The chance (0 to 1) that Student's t is above `value`."""
    return float(scipy.special.stdtr(freedom, -value))


def compare_by_t(value: float, error: float, freedom: int | float, confidence: float, test: str) -> Comparison:
    """A difference in [-1, 1] of standard error `error`, above 0, tested against none by Student's t."""
    reach = -student_quantile(check_confidence(confidence), freedom) * error
    return Comparison(Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0), test),
                      2 * student_beyond(abs(value) / error, freedom), test)
