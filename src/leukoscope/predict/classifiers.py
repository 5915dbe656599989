"""Whatever gives cells a class, a run or a bundle, behind one interface; and many cells classified in constant memory.

Computes no metric, and writes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Generic

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, UInt8

from ..bundle.bundle import Bundle, Description
from ..bundle.calibration import conformal_sets
from ..errors import LeukoscopeError
from ..finder.frame import Frame, find_frame, frame_cell, shaped, shown_side, shown_square
from ..images.decode import Damaged
from ..images.read import Pixels, read_image
from ..progress import OnProgress
from ..recipes.sections import Preprocess
from .batches import Answer, Look, Note, Picture, Prepared, predict_pictures, reason_of

NO_CELL = "no cell found: nothing looks like a nucleus"
"""Why a bundle that frames cells has no answer."""
Probabilities = Float64[np.ndarray, "n classes"]
Energies = Float64[np.ndarray, " n"]


class Classifier(ABC):
    """Gives cells a class. steps: how a cell is framed, cut and resized; classes: in the order of the probabilities.
    micrometres: width of a pixel of its training images; radius: of the conformal sets; least_energy: of cells like
    those of training. None where it cannot say."""

    parallel = False
    """Whether several threads may call `answer` at once."""

    def __init__(self, steps: Description | Preprocess, classes: tuple[str, ...], *, micrometres: float | None = None,
                 radius: float | None = None, least_energy: float | None = None) -> None:
        self.steps, self.classes = steps, classes
        self.micrometres, self.radius, self.least_energy = micrometres, radius, least_energy

    def shown(self, pixels: Pixels) -> int:
        """Side in px of the square of a picture that the network is shown, 0 for all of it."""
        return shown_side(pixels, self.steps)

    def square(self, pixels: Pixels) -> Pixels:
        """That square, as it is in the picture."""
        return shown_square(pixels, self.steps)

    def prepare(self, pixels: Pixels) -> Prepared:
        """A picture of a cell as `answer` takes it; see `squared`."""
        return squared(pixels, self.steps)

    @abstractmethod
    def answer(self, cells: UInt8[np.ndarray, "n size size 3"]) -> tuple[Probabilities, Energies | None]:
        """Probabilities, of sum 1, and energies; None from a classifier that has none."""


class BundleClassifier(Classifier):
    """A bundle, at its temperature."""

    parallel = True

    def __init__(self, bundle: Bundle) -> None:
        described = bundle.description
        super().__init__(described, bundle.classes, micrometres=described.micrometres, radius=described.radius,
                         least_energy=described.least_energy)
        self.bundle = bundle

    def answer(self, cells: UInt8[np.ndarray, "n size size 3"]) -> tuple[Probabilities, Energies | None]:
        probabilities, energies = (values.astype(np.float64) for values in self.bundle.probabilities(cells))
        return probabilities / probabilities.sum(1, keepdims=True), energies


def squared(pixels: Pixels, steps: Description | Preprocess) -> Prepared:
    """A picture framed, or cut about its centre, and resized. Where no cell stands out it is framed as a whole, since a
    corruption may have hidden the cell. LeukoscopeError where it is smaller than the cut and that is refused."""
    if steps.crop and steps.smaller == "refuse" and min(pixels.shape[:2]) < steps.crop:
        raise LeukoscopeError(f"the image is {pixels.shape[1]} x {pixels.shape[0]} px, smaller than the cells of "
                              f"{steps.crop} px that the network takes", "give larger images")
    return shaped(pixels, steps)


def prepared(pixels: Pixels, described: Description, frame: Frame | None = None) -> Prepared:
    """A cell as the graph takes it. frame: where the cell lies, if that is known. LeukoscopeError as in `squared`, and
    where a bundle that frames cells finds none."""
    if described.frame != "cell":
        return squared(pixels, described)
    frame = frame or find_frame(pixels)
    if not frame.found:
        raise LeukoscopeError(NO_CELL, "give images of stained cells")
    return frame_cell(pixels, described.size, frame)


@dataclass(frozen=True)
class Classified(Generic[Note]):
    """Answers for cells, in their order, each prepared in several ways: probabilities (ways, n, classes), energies
    (ways, n) or None, features (ways, n, features) where they were asked for. notes: what `look` returned for each
    cell. damaged: cells without an answer, whose rows are NaN."""

    probabilities: np.ndarray
    energies: np.ndarray | None
    notes: list[Note | None]
    damaged: list[Damaged]
    features: np.ndarray | None = None


def classify_cells(classifier: Classifier, cells: pl.DataFrame, look: Look[Note], ways: int, *,
                   answer: Answer | None = None, on_progress: OnProgress | None = None) -> Classified[Note]:
    """Classify cells (manifest rows). look: from a row and its pixels to the prepared pictures, one a way, and a note.
    answer: instead of the classifier's own, such as one that gives features too. Each image is decoded once."""
    rows, of_images = cells.rows(named=True), {}
    for place, row in enumerate(rows):
        of_images.setdefault(row["image"], []).append((place, row))
    answers = predict_pictures(
        (Picture(partial(read_image, image), members) for image, members in of_images.items()), look,
        answer or classifier.answer, parallel=classifier.parallel, classes=len(classifier.classes), ways=ways,
        total=cells.height, on_progress=on_progress)
    damaged = [Damaged(rows[place]["cell_id"], rows[place]["image"], reason_of(error))
               for place, error in answers.errors.items()]
    energies = None if np.isnan(answers.energies).all() else answers.energies
    return Classified(answers.probabilities, energies, answers.notes, damaged, answers.features)


def within_classes(probabilities: Float64[np.ndarray, "*ways classes"],
                   answers: Bool[np.ndarray, " classes"]) -> np.ndarray:
    """The probabilities of the classes that may be answers, scaled to a sum of 1; equal ones where they had none."""
    chosen = probabilities[..., answers]
    total = chosen.sum(-1, keepdims=True)
    return np.where(total > 0, chosen / np.where(total > 0, total, 1), 1 / answers.sum())


def sets_of(probabilities: Probabilities, radius: float,
            answers: Bool[np.ndarray, " classes"]) -> Bool[np.ndarray, "n answers"]:
    """The conformal sets, made of all classes' probabilities, without the classes that may not be answers. The true
    class is in them as often as before; a set is empty where none of its classes may be an answer."""
    return conformal_sets(probabilities, radius)[:, answers]
