"""What a run whose split is by laboratory says of each laboratory, and of how well they can be told apart. Computes
nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ..stats.estimate import Estimate
from ..text import join, percent, plural
from .stored import Result


@dataclass(frozen=True)
class Point:
    """Cells are called positive from a probability on: the highest one at which `target` of the positive cells of the
    other laboratories are called so, in the mean over these. sensitivity, specificity: in the laboratory that is
    tested, None where there is nothing to ask."""

    threshold: float
    target: float
    sensitivity: Estimate | None
    specificity: Estimate | None


@dataclass(frozen=True)
class Laboratory:
    """One laboratory, tested by a network that was trained on the others.

    answers: classes that this laboratory names and the others have, which alone may be answers; left_out: its cells of
    other classes. accuracy, covered and unsure are shares of its cells, with intervals by group or subject where known.
    area: of the positive class against all others, None where only one of the two is there; sensitivity, specificity:
    of the answer for it, None where there is nothing to ask; point: the same at an operating point, None where no other
    laboratory has positive cells. temperature, radius: from the other laboratories.
    """

    name: str
    cells: int
    left_out: int
    unit: str
    units: int
    answers: tuple[str, ...]
    accuracy: Estimate
    calibration_error: float
    covered: Estimate
    unsure: Estimate
    area: Estimate | None
    sensitivity: Estimate | None
    specificity: Estimate | None
    temperature: float
    radius: float
    point: Point | None = None


@dataclass(frozen=True)
class Laboratories(Result):
    """Row by row, and over all: plain means, and the least accurate laboratory. temperature, radius: from all of them,
    for a model that is trained on all of them. untested: laboratories that share fewer than two classes with the
    others, so that there is nothing to tell apart."""

    positive: str
    coverage: float
    rows: tuple[Laboratory, ...]
    accuracy: float
    calibration_error: float
    covered: float
    worst: str
    temperature: float
    radius: float
    untested: tuple[str, ...] = ()

    @property
    def least_accurate(self) -> Laboratory:
        """The row of `worst`."""
        return next(row for row in self.rows if row.name == self.worst)

    @property
    def point(self) -> Point | None:
        """The first operating point; all have the same target. None where no laboratory has one."""
        return next((row.point for row in self.rows if row.point), None)


@dataclass(frozen=True)
class LaboratoryShortcut(Result):
    """not_trained_on: the laboratory that the network has not seen; cells: in the check.

    laboratory: how often the laboratory is told from the features, mean over laboratories, 0 to 1; from_class: the same
    from the class alone; chance: the same by guessing. laboratories, classes: each of these laboratories has each of
    these classes. as_is, balanced: how often the class is told from the features in these cells, with classes and
    laboratories as frequent as in the data, and with every class equally frequent in every laboratory; None where no
    two laboratories share two classes.
    """

    not_trained_on: str
    cells: int
    laboratory: float
    from_class: float
    chance: float
    laboratories: tuple[str, ...]
    classes: tuple[str, ...]
    as_is: float | None
    balanced: float | None

    @property
    def sentence(self) -> str:
        """What the check found, in words."""
        text = (f"the features reveal the laboratory of {percent(self.laboratory, 0)} of {self.cells:,} cells "
                f"(from the class alone {percent(self.from_class, 0)}, by guessing {percent(self.chance, 0)})")
        if self.as_is is None or self.balanced is None:
            return f"{text}; no two laboratories share two classes with enough cells, so they cannot be balanced"
        return (f"{text}; of {join(self.classes)} in {plural(len(self.laboratories), 'laboratory', 'laboratories')} "
                f"a linear probe classifies {percent(self.as_is, 0)} correctly, and {percent(self.balanced, 0)} where "
                "laboratory and class are balanced")
