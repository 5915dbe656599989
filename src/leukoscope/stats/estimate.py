"""What every interval here returns, and the checks that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from ..errors import LeukoscopeError

ROUNDING = 1e-24
"""Variances below it are those of rounding: nothing varies."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval, `low <= value <= high`.

    value is None where the figure is not defined, low and high where no interval can be given; `method` then says
    why. count and total are those of a rate, else None.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    count: int | None = None
    total: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Estimate:
        """What `to_dict` gave, as metrics.json holds it."""
        return cls(found["value"], found["low"], found["high"], found["method"], found.get("count"),
                   found.get("total"))

    def complement(self) -> Estimate:
        """The same for one minus the figure: specificity to false-positive rate."""
        if self.value is None:
            return self
        count = None if self.count is None or self.total is None else self.total - self.count
        low, high = (None if bound is None else 1 - bound for bound in (self.high, self.low))
        return Estimate(1 - self.value, low, high, self.method, count, self.total)


@dataclass(frozen=True)
class Comparison:
    """A paired comparison on the same cells: first minus second, the p value against no difference, and the test."""

    difference: Estimate
    p_value: float | None
    test: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def no_estimate(reason: str, value: float | None = None, total: int | None = None) -> Estimate:
    """A figure without an interval, or (value None) no figure at all, and why."""
    return Estimate(value, None, None, reason, 0 if value is None and total == 0 else None, total)


def check_confidence(confidence: float) -> float:
    """Half the error that the confidence leaves: 0.025 for 0.95. LeukoscopeError unless it lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise LeukoscopeError(f"confidence is {confidence}, expected a number between 0 and 1", "for example 0.95")
    return (1 - confidence) / 2


def check_count(count: int, total: int) -> None:
    """LeukoscopeError unless 0 <= count <= total."""
    if not 0 <= count <= total:
        raise LeukoscopeError(f"{count} of {total} is not a rate", "give 0 <= count <= total")


def check_finite(name: str, values: np.ndarray) -> None:
    """LeukoscopeError that names the first entry which is NaN or infinite."""
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise LeukoscopeError(f"{name}: entry {wrong[0]} is {values.ravel()[wrong[0]]}, expected a finite number",
                              "leave out or mend what has no number")


def check_same_length(**arrays: np.ndarray) -> None:
    """LeukoscopeError unless all arrays have as many entries along the last axis."""
    sizes = {name: array.shape[-1] for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise LeukoscopeError(f"lengths differ: {', '.join(f'{name} {size}' for name, size in sizes.items())}",
                              "give one entry a cell in each")


def number_clusters(clusters: np.ndarray) -> tuple[np.ndarray, int]:
    """Any cluster names as 0 .. K-1, in sorted order of the names, and K."""
    names, numbers = np.unique(clusters, return_inverse=True)
    return numbers.reshape(-1), len(names)


# scipy.stats has the same two, and takes most of a second to import, which who counts a few cells need not wait for.

def student_quantile(share: float, freedom: int | float | np.number) -> float:
    """Student's t below which `share` (0 to 1) lies."""
    return float(stdtrit(freedom, share))


def student_beyond(value: int | float | np.number, freedom: int | float | np.number) -> float:
    """The chance (0 to 1) that Student's t is above `value`."""
    return float(stdtr(freedom, -value))
