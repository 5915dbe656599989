"""What fitting to a laboratory brings there, measured on confirmed cells that the fit did not see.

Temperatures of the figures before and after are found anew inside each fold; the curve takes those of all cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ..evaluation.results import Metrics
from ..stats.estimate import Comparison, Estimate
from .fit import Confirmed, find_temperatures, fit_head, fold_of

SIZES = (5, 10, 20, 50, 100)
"""Cells a class for which the curve is drawn."""
_DRAWS = 6


@dataclass(frozen=True)
class Size:
    """What so many confirmed cells a class bring. cells: a class; low, middle, high: accuracy in the draws of cells and
    folds, 5th, 50th and 95th percentile."""

    cells: int
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class OfGroup:
    """One slide, person or image, as the manifest names it: its cells, and how many were right before and after."""

    name: str
    cells: int
    before: int
    after: int


@dataclass(frozen=True, eq=False)
class Adapted:
    """What the fit brought, in cells that it did not see. before, after: metrics of the model as it was and as it is
    now. counts: confirmed cells of each type; unit: what is independent (subject, group or cell), and groups: how many
    there are; apart: whether whole groups were left out, and not single cells. left_out: sentences. by_group: none
    where each cell is a group of its own. slides_known: whether every cell says of which slide or person it is."""

    name: str
    before: Metrics
    after: Metrics
    difference: Comparison
    curve: tuple[Size, ...]
    counts: dict[str, int]
    unit: str
    groups: int
    apart: bool
    left_out: tuple[str, ...]
    by_group: tuple[OfGroup, ...]
    slides_known: bool

    @property
    def accuracies(self) -> tuple[Estimate, Estimate]:
        """Before and after."""
        return self.before.overall["accuracy"], self.after.overall["accuracy"]


def honest_probabilities(cells: Confirmed, rng: np.random.Generator) -> Float64[np.ndarray, "n classes"]:
    """The probabilities of each cell by a head that was fitted and calibrated on the other folds alone."""
    folds, probabilities = fold_of(cells.groups, rng), np.empty_like(cells.probabilities)
    for fold in np.unique(folds):
        rest, own = cells.some(folds != fold), cells.some(folds == fold)
        head = fit_head(rest, find_temperatures(rest, rng))
        probabilities[folds == fold] = head.probabilities(own.probabilities, own.features)
    return probabilities


def learning_curve(cells: Confirmed, temperatures: tuple[float, ...],
                   rng: np.random.Generator) -> tuple[Size, ...]:
    """Accuracy by the number of confirmed cells a class, in folds that were left out of the fit, at given temperatures:
    for each of SIZES that at least half of the classes have in every other fold."""
    sizes = []
    for size in SIZES:
        accuracies = [_accuracy(cells, temperatures, size, rng) for _ in range(_DRAWS)]
        known = [value for value in accuracies if value is not None]
        if len(known) < _DRAWS:
            break
        low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
        sizes.append(Size(size, float(low), float(middle), float(high)))
    return tuple(sizes)


def _accuracy(cells: Confirmed, temperatures: tuple[float, ...], size: int,
              rng: np.random.Generator) -> float | None:
    """In all folds together, each fitted to `size` cells a class of the others; None where these are too few."""
    folds, right = fold_of(cells.groups, rng), 0
    for fold in np.unique(folds):
        drawn = list(_drawn(cells.labels, np.flatnonzero(folds != fold), size, rng))
        if sum(len(rows) == size for rows in drawn) < len(drawn) / 2:
            return None
        head, own = fit_head(cells.some(np.concatenate(drawn)), temperatures), cells.some(folds == fold)
        right += int((head.probabilities(own.probabilities, own.features).argmax(1) == own.labels).sum())
    return right / len(cells.labels)


def _drawn(labels: np.ndarray, rows: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """At most `size` of these rows of each class."""
    for label in np.unique(labels[rows]):
        yield rng.permutation(rows[labels[rows] == label])[:size]
