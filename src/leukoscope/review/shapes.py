"""The pixels of a cell's outline, whether the machine found it or a person drew it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from ..smear.geojson import Geometry, polygons_of
from .cells import Cells
from .result import SmearResult
from .state import State

Pixels = tuple[NDArray[np.bool_], int, int]
"""(mask of a box, its left, its top), px of the field."""


def pixels_of(result: SmearResult, cells: Cells, state: State, place: int) -> Pixels:
    """The pixels of a cell within its box. Raises LeukoscopeError for a file of outlines that has gone."""
    row = cells.row(place)
    geometry = (state.drawn[place - cells.machine].feature["geometry"] if place >= cells.machine
                else _geometries(result.folder / f"{row['field']}.geojson")[row["number"]])
    return filled(geometry, row["x"], row["y"], row["width"], row["height"]), row["x"], row["y"]


@lru_cache(maxsize=32)
def _geometries(path: Path) -> Mapping[int, Geometry]:
    """The outlines of a field by the numbers of its cells."""
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        return {int(one["properties"]["name"]): one["geometry"] for one in features}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LeukoscopeError(f"{path}: cannot be read ({error})", "count the smear again") from error


def filled(geometry: Geometry, left: int, top: int, width: int, height: int) -> NDArray[np.bool_]:
    """The pixels, bool (height, width), whose middles lie within a GeoJSON geometry in px of the field, by the even-odd
    rule. left, top: the first pixel."""
    x, y = left + np.arange(width) + 0.5, top + np.arange(height) + 0.5
    inside = np.zeros((height, width), bool)
    for ring in (ring for polygon in polygons_of(geometry) for ring in polygon):
        for (from_x, from_y), (to_x, to_y) in pairwise(ring):
            rows = np.flatnonzero((from_y <= y) != (to_y <= y))
            crossing = from_x + (y[rows] - from_y) * (to_x - from_x) / (to_y - from_y or 1.0)
            inside[rows] ^= x[None, :] < crossing[:, None]
    return inside


def common(first: Pixels, second: Pixels) -> int:
    """The number of pixels that two cells have in common."""
    left, top = (max(first[axis], second[axis]) for axis in (1, 2))
    right = min(first[1] + first[0].shape[1], second[1] + second[0].shape[1])
    bottom = min(first[2] + first[0].shape[0], second[2] + second[0].shape[0])
    if right <= left or bottom <= top:
        return 0
    parts = [mask[top - y:bottom - y, left - x:right - x] for mask, x, y in (first, second)]
    return int((parts[0] & parts[1]).sum())


def overlap(first: Pixels, second: Pixels) -> float:
    """The common area of two cells over the area that they cover together, 0 to 1."""
    both = common(first, second)
    return both / max(int(first[0].sum()) + int(second[0].sum()) - both, 1)
