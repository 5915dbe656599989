"""Where cells lie in a field: apart from each other, red cells around and now and then over one another.

Lengths in um; knows nothing of pixels or colours. Work grows in proportion to the number of cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, pi

import numpy as np

from ..errors import LeukoscopeError
from .shapes import RedCell
from .subjects import RedCells

_BUCKET = 22.0  # um: no two cells whose centres are farther apart than this touch
_AROUND = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
_TRIES = (30, 400)  # the first for a place with room around it, the rest for one that will do


@dataclass(frozen=True)
class Place:
    """Centre and diameter of a cell, um."""

    x: float
    y: float
    diameter: float


@dataclass
class _Crowd:
    """Places found so far, sorted into square buckets so that only neighbours are looked at."""

    buckets: dict[tuple[int, int], list[tuple[float, float, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: Place) -> None:
        bucket = int(place.x // _BUCKET), int(place.y // _BUCKET)
        self.buckets[bucket].append((place.x, place.y, place.diameter))

    def near(self, x: float, y: float) -> Iterator[tuple[float, float, float]]:
        """(x, y, diameter) of all that may touch a cell at (x, y); its own bucket first."""
        column, row = int(x // _BUCKET), int(y // _BUCKET)
        for i, j in _AROUND:
            yield from self.buckets.get((column + i, row + j), ())

    def keeps(self, x: float, y: float, diameter: float, least: float) -> bool:
        """Whether a new cell's outline stays at least `least` um (negative: an overlap) away from all others."""
        for other_x, other_y, other in self.near(x, y):
            reach = 0.5 * (other + diameter) + least
            if reach > 0 and (other_x - x) ** 2 + (other_y - y) ** 2 < reach * reach:
                return False
        return True

    def gap(self, x: float, y: float, diameter: float) -> float:
        """Least distance (um) between the outline of a new cell and those of the others; negative when they overlap."""
        return min((((other_x - x) ** 2 + (other_y - y) ** 2) ** 0.5 - 0.5 * (other + diameter)
                    for other_x, other_y, other in self.near(x, y)), default=float("inf"))


def lay_out(diameters: Sequence[float], width: float, height: float, rng: np.random.Generator) -> list[Place]:
    """A place for each cell, in order: apart where there is room, touching where there is little.

    Raises LeukoscopeError when a cell would cover a good part of another.
    """
    crowd = _Crowd()
    places: list[Place] = []
    for number, diameter in enumerate(diameters):
        best, best_gap = (0.0, 0.0), -np.inf
        for tries, enough in zip(_TRIES, (1.5, -0.05 * diameter), strict=True):
            for x, y in (rng.random((tries, 2)) * (width, height)).tolist():
                gap = crowd.gap(x, y, diameter)
                if gap > best_gap:
                    best, best_gap = (x, y), gap
                if best_gap > enough:
                    break
        if best_gap < -0.2 * diameter:
            raise LeukoscopeError(f"types: {number} of {len(diameters)} cells fit into {width:.0f} x {height:.0f} um",
                                  "give fewer cells, or a larger field")
        places.append(Place(*best, diameter))
        crowd.add(places[-1])
    return places


def red_cells_around(others: Sequence[Place], width: float, height: float, kind: RedCells,
                     rng: np.random.Generator) -> list[RedCell]:
    """Red cells over the field and just beyond its edges, beside the other cells."""
    margin = 0.6 * kind.diameter
    outer_width, outer_height = width + 2 * margin, height + 2 * margin
    count = int(rng.poisson(kind.density * outer_width * outer_height / 1000))
    whites, reds = _Crowd(), _Crowd()
    for place in others:
        whites.add(place)
    cells: list[RedCell] = []
    for _ in range(count):
        diameter = float(max(kind.diameter * (1 + kind.anisocytosis * rng.normal()), 3))
        least = -0.55 * diameter if rng.random() < kind.overlap else -0.3
        for x, y in (rng.random((12, 2)) * (outer_width, outer_height) - margin).tolist():
            if reds.keeps(x, y, diameter, least) and whites.keeps(x, y, diameter, -0.7):
                cells.append(_red_cell(x, y, diameter, kind, rng))
                reds.add(Place(x, y, diameter))
                break
    return cells


def _red_cell(x: float, y: float, diameter: float, kind: RedCells, rng: np.random.Generator) -> RedCell:
    odd = rng.random() < kind.odd
    long = 1 + (0.18 if odd else 0.05) * abs(rng.standard_normal())
    crenation = float(rng.uniform(0.01, 0.05)) if odd and rng.random() < 0.4 else 0.0
    depth = min(max(kind.pallor + 0.12 * rng.standard_normal(), 0.0), 0.95)
    return RedCell(x, y, diameter, long, pi * rng.random(), depth, 0.36 + 0.2 * rng.random(), crenation,
                   2 * pi * rng.random(), exp(0.07 * rng.standard_normal()))
