"""Cells cut out of a field as a model wants them: a square about the middle, at the model's pixel. Predicts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from ..images.read import resize
from .field import FoundCell
from .source import FieldSource

AROUND = 1.5
"""Side of the square over the longer side of the cell's box, where the scales do not say it."""
FRAMED, LEAST_FRAMED = 2.2, 80
"""The same, and the least side in px, for a bundle that frames each cell by itself: enough of what lies around for the
white of the background."""


@dataclass(frozen=True)
class Square:
    """A square of a field: `side` px of the field, resampled to `size` px. left, top may lie outside the field."""

    left: int
    top: int
    side: int
    size: int


def square_about(cell: FoundCell, size: int, *, wanted: float | None = None, scale: float | None = None) -> Square:
    """The square of a cell. size: px that it is resampled to. wanted: um a pixel of it, scale: um a pixel of the field;
    where either is None, the square is AROUND times as wide as the cell's box. To whole px of the field.
    """
    if wanted is not None and scale is not None:
        side = max(round(size * wanted / scale), 1)
    else:
        side = ceil(AROUND * max(cell.width, cell.height))
    # The middle of the first pixel is 0, so a square that begins with it has its middle at (side - 1) / 2.
    left, top = (round(middle - (side - 1) / 2) for middle in cell.centre)
    return Square(left, top, side, size)


def framed_square(cell: FoundCell) -> Square:
    """The square of a cell at the field's own pixels, for a bundle that frames each cell by itself."""
    side = max(ceil(FRAMED * max(cell.width, cell.height)), LEAST_FRAMED)
    return square_about(cell, side, wanted=1.0, scale=1.0)


def cut_square(source: FieldSource, square: Square,
               beyond: tuple[float, float, float] | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """Its pixels; beyond the border lies the colour `beyond`, or the field reflected. Raises LeukoscopeError for a
    square of more than 20,000 px."""
    if not 0 < square.side <= 20_000:
        raise LeukoscopeError(f"a cell would be cut as a square of {square.side:,} px", "mend the scale")
    columns = _reflected(square.left, square.side, source.width)
    rows = _reflected(square.top, square.side, source.height)
    left, top = int(columns.min()), int(rows.min())
    window = source.read(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
    pixels = window[(rows - top)[:, None], columns - left]
    if beyond is not None:
        x, y = np.arange(square.side) + square.left, np.arange(square.side) + square.top
        inside = ((y >= 0) & (y < source.height))[:, None] & (x >= 0) & (x < source.width)
        pixels = np.where(inside[..., None], pixels, np.rint(beyond).astype(np.uint8))
    return np.asarray(resize(pixels, square.size), np.uint8)


def cut_cells(source: FieldSource, cells: Sequence[FoundCell], size: int, *, wanted: float | None = None,
              scale: float | None = None) -> list[UInt8[np.ndarray, "size size 3"]]:
    """Every cell as an image of `size` px; see `square_about`."""
    return [cut_square(source, square_about(cell, size, wanted=wanted, scale=scale)) for cell in cells]


def _reflected(start: int, count: int, length: int) -> NDArray[np.intp]:
    """Places start .. start + count - 1 on an axis of `length` px, mirrored at its first and last pixel."""
    period = max(2 * (length - 1), 1)
    places = np.arange(start, start + count) % period
    return np.minimum(places, period - places)
