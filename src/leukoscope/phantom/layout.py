"""Where cells lie in a field: apart from each other, with red cells around them that sometimes overlap.

Lengths in um; knows nothing of pixels or colours. Work grows in proportion to the number of cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import exp, pi
from typing import NamedTuple

import numpy as np

from ..errors import LeukoscopeError
from .shapes import RedCell
from .subjects import RedCells

_BUCKET = 22.0  # um: cells whose centres are farther apart than this do not touch
_AROUND = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


class Place(NamedTuple):
    """Centre and diameter of a cell, um."""

    x: float
    y: float
    diameter: float


class _Crowd:
    """The places so far, in square buckets so that only neighbours are compared."""

    def __init__(self, places: Sequence[Place] = ()) -> None:
        self.buckets: dict[tuple[int, int], list[Place]] = defaultdict(list)
        for place in places:
            self.add(place)

    def add(self, place: Place) -> None:
        self.buckets[int(place.x // _BUCKET), int(place.y // _BUCKET)].append(place)

    def near(self, x: float, y: float) -> Iterator[Place]:
        """All that may touch a cell at (x, y), from its own bucket first."""
        column, row = int(x // _BUCKET), int(y // _BUCKET)
        for i, j in _AROUND:
            yield from self.buckets.get((column + i, row + j), ())

    def has_room(self, x: float, y: float, diameter: float, least: float) -> bool:
        """Whether there are at least `least` um (negative: an overlap) between a new cell's outline and all others."""
        return all((other_x - x) ** 2 + (other_y - y) ** 2 >= max(0.5 * (other + diameter) + least, 0) ** 2
                   for other_x, other_y, other in self.near(x, y))

    def gap(self, x: float, y: float, diameter: float) -> float:
        """Least distance (um) between the outline of a new cell and those of the others; negative if they overlap."""
        return min((((other_x - x) ** 2 + (other_y - y) ** 2) ** 0.5 - 0.5 * (other + diameter)
                    for other_x, other_y, other in self.near(x, y)), default=float("inf"))


def lay_out(diameters: Sequence[float], width: float, height: float, rng: np.random.Generator) -> list[Place]:
    """A place for each cell, in order: apart where there is room, touching where there is little.

    Raises LeukoscopeError when a cell would cover a large part of another.
    """
    crowd = _Crowd()
    places: list[Place] = []
    for number, diameter in enumerate(diameters):
        best, best_gap = (0.0, 0.0), -np.inf
        for tries, enough in ((30, 1.5), (400, -0.05 * diameter)):  # first with room around it, then any that will do
            for x, y in (rng.random((tries, 2)) * (width, height)).tolist():
                gap = crowd.gap(x, y, diameter)
                if gap > best_gap:
                    best, best_gap = (x, y), gap
                if best_gap > enough:
                    break
        if best_gap < -0.2 * diameter:
            raise LeukoscopeError(f"types: only {number} of {len(diameters)} cells fit into "
                                  f"{width:.0f} x {height:.0f} um", "give fewer cells, or a larger field")
        places.append(Place(*best, diameter))
        crowd.add(places[-1])
    return places


def red_cells_around(others: Sequence[Place], width: float, height: float, kind: RedCells,
                     rng: np.random.Generator) -> list[RedCell]:
    """Red cells over the field and just beyond its edges, beside the other cells."""
    margin = 0.6 * kind.diameter
    outer_width, outer_height = width + 2 * margin, height + 2 * margin
    whites, reds = _Crowd(others), _Crowd()
    cells: list[RedCell] = []
    for _ in range(rng.poisson(kind.density * outer_width * outer_height / 1000)):
        diameter = max(kind.diameter * (1 + kind.anisocytosis * rng.normal()), 3.0)
        least = -0.55 * diameter if rng.random() < kind.overlap else -0.3
        for x, y in (rng.random((12, 2)) * (outer_width, outer_height) - margin).tolist():
            if reds.has_room(x, y, diameter, least) and whites.has_room(x, y, diameter, -0.7):
                cells.append(_red_cell(x, y, diameter, kind, rng))
                reds.add(Place(x, y, diameter))
                break
    return cells


def _red_cell(x: float, y: float, diameter: float, kind: RedCells, rng: np.random.Generator) -> RedCell:
    odd = rng.random() < kind.odd
    long = 1 + (0.18 if odd else 0.05) * abs(rng.standard_normal())
    crenation = rng.uniform(0.01, 0.05) if odd and rng.random() < 0.4 else 0.0
    depth = min(max(kind.pallor + 0.12 * rng.standard_normal(), 0.0), 0.95)
    return RedCell(x, y, diameter, long, pi * rng.random(), depth, 0.36 + 0.2 * rng.random(), crenation,
                   2 * pi * rng.random(), exp(0.07 * rng.standard_normal()))
