"""The working grid of a field: pixels of about a quarter of a micrometre, in tiles that overlap.

Several whole pixels of the field make one of the grid, or several of the grid one of the field, counted from the
field's corner: so the grid is the same however a field is cut into tiles. Knows nothing of cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from ..finder.network import REACH, STRIDE
from ..images.stain import optical_density
from .source import FieldSource

WORKING = 0.25
"""um: what a pixel of the grid is made to be, within a factor of 1.5."""
LARGEST_TILE = 1344
"""px of the grid: longest side of a tile, without its margin."""

_ALIGNED = 3 * STRIDE  # tiles start where the network's own grid and whole pixels of the field do
_CELL = 20.0  # um: the margin holds a cell whose centre lies at the seam, and its neighbour


@dataclass(frozen=True)
class Grid:
    """`merged` px of the field (along a side) make one of the grid, or one of the field makes `split`; one of the two
    is 1. scale: um per pixel of the grid.
    """

    merged: int
    split: int
    scale: float

    def size(self, source: FieldSource) -> tuple[int, int]:
        """(width, height) of the field in px of the grid."""
        return tuple(ceil(side * self.split / self.merged) for side in (source.width, source.height))  # type: ignore[return-value]


@dataclass(frozen=True)
class Tile:
    """A window left, top, width, height in px of the grid. core: its part (left, top, right, bottom), half open, that
    no other tile has. edges: whether its top, left, bottom, right are borders of the field.
    """

    left: int
    top: int
    width: int
    height: int
    core: tuple[int, int, int, int]
    edges: tuple[bool, bool, bool, bool]


def grid_of(scale: float) -> Grid:
    """The grid of a field at `scale` um per pixel."""
    if scale <= WORKING:
        merged = max(1, round(WORKING / scale))
        return Grid(merged, 1, scale * merged)
    split = min(max(1, round(scale / WORKING)), 3)
    return Grid(1, split, scale / split)


def tiles(source: FieldSource, grid: Grid, largest: int = LARGEST_TILE) -> Iterator[Tile]:
    """Cores that cover the field once, and windows around them that hold whole cells."""
    margin = ceil((REACH + _CELL / grid.scale) / _ALIGNED) * _ALIGNED
    spans = [list(_spans(side, largest)) for side in grid.size(source)]
    for top, bottom in spans[1]:
        for left, right in spans[0]:
            ends = [(max(low - margin, 0), min(high + margin, side))
                    for (low, high), side in zip(((left, right), (top, bottom)), grid.size(source), strict=True)]
            (x, x_end), (y, y_end) = ends
            edges = (y == 0, x == 0, y_end == grid.size(source)[1], x_end == grid.size(source)[0])
            yield Tile(x, y, x_end - x, y_end - y, (left, top, right, bottom), edges)


def read_density(source: FieldSource, grid: Grid, tile: Tile,
                 white: NDArray[np.float64]) -> Float32[np.ndarray, "height width 3"]:
    """The optical density of a tile's window on the grid."""
    left, top = (value * grid.merged // grid.split for value in (tile.left, tile.top))
    width, height = (ceil(value * grid.merged / grid.split) for value in (tile.width, tile.height))
    width, height = min(width, source.width - left), min(height, source.height - top)
    pixels = source.read(left, top, width, height)
    if grid.split > 1:
        pixels = cv2.resize(pixels, (width * grid.split, height * grid.split), interpolation=cv2.INTER_LINEAR)
    elif grid.merged > 1:
        beyond = ((0, -height % grid.merged), (0, -width % grid.merged), (0, 0))
        pixels = np.pad(pixels, beyond, mode="edge") if any(more for _, more in beyond) else pixels
        pixels = cv2.resize(pixels, (pixels.shape[1] // grid.merged, pixels.shape[0] // grid.merged),
                            interpolation=cv2.INTER_AREA)
    return optical_density(pixels[:tile.height, :tile.width].astype(np.uint8), white)


def _spans(side: int, largest: int) -> Iterator[tuple[int, int]]:
    """Half-open spans of nearly equal length that cover 0 .. side."""
    length = ceil(side / ceil(side / largest) / _ALIGNED) * _ALIGNED
    for start in range(0, side, length):
        yield start, min(start + length, side)
