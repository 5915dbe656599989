"""Whatever names cells, a run or a bundle, behind one interface; and many cells put before it in constant memory.

Computes no metric, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, UInt8

from ..bundle.bundle import Bundle, Description
from ..bundle.calibration import conformal_sets
from ..errors import ImageError, LeukoscopeError
from ..images.decode import Damaged, map_rows, usable_cores
from ..images.frame import shown_side, shown_square
from ..images.read import Pixels
from ..progress import OnProgress
from ..recipes.sections import Preprocess
from .stream import squared

Prepared = UInt8[np.ndarray, "size size 3"]
Probabilities = Float64[np.ndarray, "n classes"]
BATCH = 32


class Classifier(Protocol):
    """classes: in the order of the probabilities. micrometres: side of a pixel it was trained on, where it is known.
    radius: of the conformal sets, and least_energy of cells like those of training; None where it cannot say."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def micrometres(self) -> float | None: ...

    @property
    def radius(self) -> float | None: ...

    @property
    def least_energy(self) -> float | None: ...

    def shown(self, pixels: Pixels) -> int:
        """Side in px of the square of a picture that is shown, 0 for all of it."""
        ...

    def square(self, pixels: Pixels) -> Pixels:
        """That square, as it is in the picture."""
        ...

    def prepare(self, pixels: Pixels) -> Prepared:
        """A picture of a cell as `answer` takes it. LeukoscopeError where it is too small."""
        ...

    def answer(self, cells: UInt8[np.ndarray, "n size size 3"]) -> tuple[Probabilities, np.ndarray | None]:
        """Probabilities, of sum 1, and energies (n,), or None for one that has none."""
        ...


class _Shaped:
    """What a judge shows of a picture, by its `steps`."""

    @property
    def steps(self) -> Description | Preprocess:
        raise NotImplementedError

    def shown(self, pixels: Pixels) -> int:
        return shown_side(pixels, self.steps)

    def square(self, pixels: Pixels) -> Pixels:
        return shown_square(pixels, self.steps)

    def prepare(self, pixels: Pixels) -> Prepared:
        return squared(pixels, self.steps)


@dataclass(frozen=True)
class BundleClassifier(_Shaped):
    """A bundle, at its temperature."""

    bundle: Bundle

    @property
    def steps(self) -> Description:
        return self.bundle.description

    @property
    def classes(self) -> tuple[str, ...]:
        return self.bundle.classes

    @property
    def micrometres(self) -> float | None:
        return self.steps.micrometres

    @property
    def radius(self) -> float | None:
        return self.steps.radius

    @property
    def least_energy(self) -> float | None:
        return self.steps.least_energy

    def answer(self, cells: UInt8[np.ndarray, "n size size 3"]) -> tuple[Probabilities, np.ndarray | None]:
        found, energy = self.bundle.probabilities(cells)
        whole = found.astype(np.float64)
        return whole / whole.sum(1, keepdims=True), energy


@dataclass(frozen=True)
class Classified:
    """What a judge says of cells, in their order, each seen in several ways: probabilities (ways, n, classes), energies
    (ways, n) or None. notes: what `look` has said of each cell. damaged: those without an answer, whose rows are NaN.
    """

    probabilities: np.ndarray
    energies: np.ndarray | None
    notes: list[Any]
    damaged: list[Damaged]


Look = Callable[[Mapping[str, Any], Pixels], tuple[Sequence[Prepared], Any]]


def classify_cells(classifier: Classifier, cells: pl.DataFrame, look: Look, ways: int, *,
                   on_progress: OnProgress | None = None) -> Classified:
    """Put cells (manifest rows) before a judge. look: from a row and its pixels to the prepared pictures, one a way,
    and a note. Pictures are decoded and prepared ahead, in threads; few are held at a time."""
    probabilities = np.full((ways, cells.height, len(classifier.classes)), np.nan)
    energies = np.full((ways, cells.height), np.nan)
    notes: list[Any] = [None] * cells.height
    damaged: list[Damaged] = []
    places: list[int] = []
    waiting: list[Prepared] = []

    def serve() -> None:
        if not places:
            return
        found, energy = classifier.answer(np.stack(waiting))
        probabilities[:, places] = found.reshape(len(places), ways, -1).swapaxes(0, 1)
        energies[:, places] = np.nan if energy is None else energy.reshape(len(places), ways).T
        places.clear()
        waiting.clear()

    def seen(row: Mapping[str, Any], pixels: Pixels) -> tuple[Sequence[Prepared], Any]:
        try:
            return look(row, pixels)
        except ImageError:
            raise
        except LeukoscopeError as error:
            raise ImageError(row["image"], error.what, error.hint) from error

    for place, found in map_rows(cells, seen, workers=usable_cores(), on_progress=on_progress):
        if isinstance(found, Damaged):
            damaged.append(found)
            continue
        notes[place] = found[1]
        places.append(place)
        waiting += found[0]
        if len(waiting) >= BATCH:
            serve()
    serve()
    known = classifier.least_energy is not None or not np.isnan(energies).all()
    return Classified(probabilities, energies if known else None, notes, damaged)


def within_classes(probabilities: Float64[np.ndarray, "*ways classes"],
                   kept: Bool[np.ndarray, " classes"]) -> np.ndarray:
    """The probabilities of the kept classes alone, of sum 1 again; equal ones where they had none at all."""
    chosen = probabilities[..., kept]
    total = chosen.sum(-1, keepdims=True)
    return np.where(total > 0, chosen / np.where(total > 0, total, 1), 1 / kept.sum())


def sets_of(probabilities: Probabilities, radius: float,
            kept: Bool[np.ndarray, " classes"]) -> Bool[np.ndarray, "n kept"]:
    """The conformal sets, of all classes' probabilities, less the classes that are no answers: the true class is in
    them as often as before, and one may be empty, where the bundle held none of the answers for likely."""
    return conformal_sets(probabilities, radius)[:, kept]
