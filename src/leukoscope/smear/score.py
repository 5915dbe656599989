"""Found leukocytes against true ones: recall and precision by box, Dice by mask, with intervals by field.

Knows nothing of how cells are found, nor of their types. Boxes and masks of a truth are taken as they are, faults
included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..errors import LeukoscopeError
from ..stats.bootstrap import bootstrap_method, cluster_bootstrap, percentile_interval
from ..stats.estimate import Estimate, no_estimate
from ..stats.rates import bootstrap_rate, cluster_rate, wilson
from .field import FoundField

OVERLAP = 0.5
"""Intersection over union of two boxes from which on they are one cell."""
COVERED = 0.5
"""Share of a found cell that lies on one true cell of the masks, from which on the masks know it."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a field. boxes: (n, 4) x, y, width, height in px. nucleus, cell: bool (height, width) of all
    leukocytes together, or None where there are no masks.
    """

    name: str
    boxes: Int[np.ndarray, "n 4"]
    nucleus: Bool[np.ndarray, "height width"] | None = None
    cell: Bool[np.ndarray, "height width"] | None = None


@dataclass(frozen=True)
class FieldScore:
    """Counts of a field. matched: pairs of boxes that overlap by OVERLAP. inside: pairs where the found cell's centre
    lies in the true box. missed, extra: numbers of true and of found cells without a partner by overlap. masked: those
    of `extra` which lie on a cell of the masks that no other found cell lies on: boxes lack it. Dice is None without
    masks, and where neither the truth nor the finding has a pixel.
    """

    name: str
    true: int
    found: int
    matched: int
    inside: int
    missed: tuple[int, ...]
    extra: tuple[int, ...]
    masked: tuple[int, ...]
    nucleus_dice: float | None
    cell_dice: float | None


@dataclass(frozen=True)
class Summary:
    """Over fields. Rates by overlap with Wilson's interval on an effective number of cells, clustered by field;
    `*_by_cell` take every cell for independent. recall_inside, precision_inside: by centre. precision_masked: by
    overlap, or as cells that the masks have and the boxes lack. F1 and Dice by bootstrap.
    """

    fields: int
    recall: Estimate
    precision: Estimate
    recall_by_cell: Estimate
    precision_by_cell: Estimate
    recall_inside: Estimate
    precision_inside: Estimate
    precision_masked: Estimate
    f1: Estimate
    nucleus_dice: Estimate
    cell_dice: Estimate

    def table(self) -> str:
        """One figure a line, for a person."""
        rows = (("recall, IoU 0.5", self.recall), ("precision, IoU 0.5", self.precision), ("F1, IoU 0.5", self.f1),
                ("recall by cell", self.recall_by_cell), ("precision by cell", self.precision_by_cell),
                ("recall, centre in box", self.recall_inside), ("precision, centre in box", self.precision_inside),
                ("precision, box or mask", self.precision_masked),
                ("Dice of nuclei, a field", self.nucleus_dice), ("Dice of cells, a field", self.cell_dice))
        return "\n".join([f"{self.fields} fields", *(f"{name:<26}{written(figure)}" for name, figure in rows)])


def score_field(found: FoundField, truth: Truth) -> FieldScore:
    """Compare one field. Raises LeukoscopeError where masks have another size than the field."""
    boxes = np.array([cell.box for cell in found.cells], np.float64).reshape(-1, 4)
    true = truth.boxes.astype(np.float64).reshape(-1, 4)
    pairs = match(overlaps(boxes, true), OVERLAP)
    centres = np.array([cell.centre for cell in found.cells], np.float64).reshape(-1, 2)
    inside = match(_within(centres, true) * (1 + overlaps(boxes, true)), 1.0)
    with_partner = [{pair[side] for pair in pairs} for side in (0, 1)]
    extra = tuple(i for i in range(len(boxes)) if i not in with_partner[0])
    nucleus_dice = _dice_of(found.labels("nucleus") > 0, truth.nucleus, truth.name)
    cell_dice = _dice_of(found.labels() > 0, truth.cell, truth.name)
    return FieldScore(
        truth.name, len(true), len(boxes), len(pairs), len(inside),
        tuple(i for i in range(len(true)) if i not in with_partner[1]), extra,
        _masked(found, truth.cell, extra) if truth.cell is not None and extra else (), nucleus_dice, cell_dice)


def overlaps(first: Float64[np.ndarray, "n 4"], second: Float64[np.ndarray, "m 4"]) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of every box (x, y, width, height) with every other."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    area = np.prod(first[:, 2:], axis=-1)[:, None] + np.prod(second[:, 2:], axis=-1)[None] - common
    return np.divide(common, area, out=np.zeros_like(common), where=area > 0)


def match(likeness: Float64[np.ndarray, "n m"], least: float) -> list[tuple[int, int]]:
    """As many pairs (row, column) of at least that likeness as there can be, each row and column once; of the ways to
    make as many, that with the greatest sum."""
    worth = np.where(likeness >= least, 1 + likeness / (1 + likeness.sum()), 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if worth[i, j] > 0]


def dice(first: Bool[np.ndarray, "*shape"], second: Bool[np.ndarray, "*shape"]) -> float | None:
    """2 |A and B| / (|A| + |B|); None where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else None


def summarise(scores: Sequence[FieldScore], *, confidence: float = 0.95, seed: int = 0) -> Summary:
    """All fields together. Raises LeukoscopeError without a field."""
    if not scores:
        raise LeukoscopeError("no field to evaluate", "give at least one")
    true, found, matched, inside = (np.array([getattr(score, name) for score in scores])
                                    for name in ("true", "found", "matched", "inside"))
    masked = matched + np.array([len(score.masked) for score in scores])
    return Summary(
        len(scores),
        cluster_rate(matched, true, confidence, "field"), cluster_rate(matched, found, confidence, "field"),
        wilson(int(matched.sum()), int(true.sum()), confidence),
        wilson(int(matched.sum()), int(found.sum()), confidence),
        cluster_rate(inside, true, confidence, "field"), cluster_rate(inside, found, confidence, "field"),
        cluster_rate(masked, found, confidence, "field"),
        bootstrap_rate(2 * matched, true + found, confidence, seed=seed, unit="field"),
        _mean([score.nucleus_dice for score in scores], confidence, seed),
        _mean([score.cell_dice for score in scores], confidence, seed))


def written(figure: Estimate) -> str:
    """0.971 (0.951 to 0.984), 66 of 68; or why there is none."""
    if figure.value is None:
        return figure.method
    text = f"{figure.value:.3f}"
    if figure.low is not None and figure.high is not None:
        text += f" ({figure.low:.3f} to {figure.high:.3f})"
    return text + (f", {figure.count} of {figure.total}" if figure.total is not None else "")


def _within(centres: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where a centre lies in a box: (n, m)."""
    offset = centres[:, None] - boxes[None, :, :2]
    return np.all((offset >= -0.5) & (offset <= boxes[None, :, 2:] - 0.5), axis=-1).astype(np.float64)


def _masked(found: FoundField, cell: NDArray[np.bool_], extra: Sequence[int]) -> tuple[int, ...]:
    """Those of the found cells `extra` which lie on a piece of the mask of their own."""
    pieces = np.asarray(cv2.connectedComponents(cell.astype(np.uint8))[1], np.int32)
    covered = [_piece_under(pieces[one.y:one.y + one.height, one.x:one.x + one.width][one.cell]) for one in found.cells]
    return tuple(i for i in extra if covered[i] and covered.count(covered[i]) == 1)


def _piece_under(cell: NDArray[np.integer]) -> int:
    """The piece that at least COVERED of a cell lies on, from the pieces under its pixels; 0 for none."""
    counts = np.bincount(cell, minlength=1)
    best = int(counts[1:].argmax()) + 1 if len(counts) > 1 else 0
    return best if best and counts[best] >= COVERED * counts.sum() else 0


def _dice_of(found: NDArray[np.bool_], true: NDArray[np.bool_] | None, name: str) -> float | None:
    if true is None:
        return None
    if true.shape != found.shape:
        raise LeukoscopeError(f"{name}: the mask has {true.shape} px, the field {found.shape}", "give its own mask")
    return dice(found, true)


def _mean(values: Sequence[float | None], confidence: float, seed: int) -> Estimate:
    """The mean of the fields that have one."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return no_estimate("undefined: no masks")
    value = float(known.mean())
    if len(known) == 1:
        return no_estimate("no interval: one field only", value)
    means = cluster_bootstrap({"mean": lambda weights, _: known @ weights / len(known)}, len(known), seed=seed)["mean"]
    low, high = percentile_interval(means, value, len(known), confidence)
    return Estimate(value, low, high, bootstrap_method("field", len(known)))
