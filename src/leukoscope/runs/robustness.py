"""shift.json as its page and its figures read it: accuracy under each corruption. Knows nothing of pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..stats.estimate import Estimate
from .results import Evaluated

LITTLE = 0.05
"""A drop in accuracy below this is called little."""


def negative(estimate: Estimate) -> Estimate:
    """The estimate of minus the figure."""
    value, low, high = (None if end is None else -end for end in (estimate.value, estimate.high, estimate.low))
    return Estimate(value, low, high, estimate.method)


@dataclass(frozen=True)
class Condition:
    """The cells under one corruption at one strength (1 to 5; 0: clean). drop: accuracy lost against clean; unsure,
    unknown: shares of cells; sides: accuracy where the corruption goes down and up; example: the answer for
    one cell."""

    corruption: str
    strength: int
    accuracy: Estimate
    macro_f1: Estimate
    calibration_error: Estimate
    example: str
    value: float | None = None
    drop: Estimate | None = None
    unsure: float | None = None
    unknown: float | None = None
    sides: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def change(self) -> Estimate | None:
        """Accuracy minus that of the clean cells; None for the clean cells."""
        return None if self.drop is None else negative(self.drop)


@dataclass(frozen=True)
class Corruption:
    """One corruption at strengths 1 to 5: `values` in `unit`; mild, strong: why the first and the last are what they
    are."""

    title: str
    unit: str
    values: tuple[float, ...]
    mild: str
    strong: str
    sides: tuple[str, ...]
    strengths: tuple[Condition, ...]
    mean_accuracy: Estimate
    mean_drop: Estimate

    @property
    def mean_change(self) -> Estimate:
        """The mean accuracy over the strengths minus that of the clean cells."""
        return negative(self.mean_drop)

    @property
    def robust_up_to(self) -> int:
        """The strength up to which accuracy drops little; 0 where it never does."""
        robust_up_to = 0
        for condition in self.strengths:
            if condition.drop is None or (condition.drop.value or 0.0) >= LITTLE:
                break
            robust_up_to = condition.strength
        return robust_up_to


@dataclass(frozen=True)
class Example:
    """The cell that is shown under every corruption, and its true class."""

    cell_id: str
    label: str


@dataclass(frozen=True)
class AllCells:
    """The accuracy of all evaluated cells, of which robustness may have used a part."""

    cells: int
    accuracy: Estimate


@dataclass(frozen=True)
class Robustness:
    """`cells` of `of` evaluated cells, drawn by the seed, `counts` of each class, under each corruption. clusters:
    number of units (cells, subjects or groups); micrometres: side of a pixel; order: the worst corruption first."""

    cells: int
    of: int
    counts: Mapping[str, int]
    unit: str
    clusters: int
    seed: int
    clean: Condition
    corruptions: Mapping[str, Corruption]
    order: tuple[str, ...]
    example: Example
    title: str
    facts: Evaluated
    all_cells: AllCells
    micrometres: float | None = None

    @property
    def conditions(self) -> list[tuple[str, Condition]]:
        """(title, condition) of the clean cells and of every corruption and strength."""
        return [("Clean", self.clean),
                *((own.title, at) for own in self.corruptions.values() for at in own.strengths)]

    @property
    def ordered(self) -> list[Corruption]:
        """The corruptions, the worst first."""
        return [self.corruptions[name] for name in self.order]
