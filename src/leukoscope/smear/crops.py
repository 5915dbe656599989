"""Cells cut out of a field as a model needs them: a square about the centre, at the model's pixel. Predicts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from ..finder.frame import SPAN, Frame, Shape, frame_outlined
from ..images.resample import resize
from .field import FoundCell, FoundField
from .source import FieldSource

AROUND = 1.5
"""Side of the square over the longer side of the cell's box, where the scales do not give it."""
ENLARGED = 1.5
"""A remark is made where cells are enlarged more than this for a model of one scale."""
LEAST_WIDE = 34
"""px: leukocytes narrower than this lack detail for a model that frames them; about 0.35 um per pixel."""
FRAMED, LEAST_FRAMED = 2.2, 80
"""The same, and the least side in px, for a model that frames each cell by itself: enough of the surroundings to see
the white of the background."""
THUMB_SIDE = 112
"""px: side of the picture of a cell in the page."""


@runtime_checkable
class CellInput(Shape, Protocol):
    """How a model is given cells: frame "cell" if it frames them by itself, crop and size in px (crop 0: all of the
    image). micrometres: um per pixel of the cells it was trained on, where that is known."""

    @property
    def micrometres(self) -> float | None: ...


@dataclass(frozen=True)
class Square:
    """A square of a field: `side` px of the field, resampled to `size` px. left, top may lie outside the field."""

    left: int
    top: int
    side: int
    size: int


def frames_cells(model: CellInput | None) -> bool:
    """Whether a model finds the cell in its image by itself, and brings it to one scale."""
    return model is not None and model.frame == "cell"


def squares_of(model: CellInput | None, found: FoundField) -> list[Square]:
    """The square of each cell that a model is given or, without one, that a page shows."""
    return [square_for(model, cell, found.scale.micrometres_per_pixel) for cell in found.cells]


def square_for(model: CellInput | None, cell: FoundCell, scale: float | None) -> Square:
    """`squares_of` for one cell. scale: um per pixel of the field, or None."""
    if model is None:
        return square_about(cell, THUMB_SIDE)
    if frames_cells(model):
        side = max(ceil(FRAMED * max(cell.width, cell.height)), LEAST_FRAMED)
        return square_about(cell, side, wanted=1.0, scale=1.0)
    return square_about(cell, model.crop or model.size, wanted=model.micrometres if model.crop else None, scale=scale)


def cell_frame(source: FieldSource, cell: FoundCell, square: Square, white: tuple[float, float, float]) -> Frame:
    """The frame of a found cell in the pixels of its square, which is not resampled."""
    pixels = source.read(cell.x, cell.y, cell.width, cell.height)
    frame = frame_outlined(pixels, cell.nucleus, cell.cell, np.asarray(white))
    by = square.size / square.side
    return replace(frame, x=(frame.x + cell.x - square.left + 0.5) * by - 0.5,
                   y=(frame.y + cell.y - square.top + 0.5) * by - 0.5, side=frame.side * by)


def scale_remarks(model: CellInput | None, cells: Sequence[FoundCell], scale: float | None) -> list[str]:
    """Remarks where the cells of a field are too few pixels wide for a model, or where the scale of the field, um per
    pixel or None, does not suit a model that needs cells at its own."""
    if model is None or not cells:
        return []
    if frames_cells(model):
        width = float(np.median([max(cell.width, cell.height) for cell in cells]))
        return [] if width >= LEAST_WIDE else [
            f"leukocytes are {width:.0f} px wide, enlarged {model.size / (SPAN * width):.1f} times for the model, and "
            "lack detail; types are doubtful: photograph through an oil immersion objective (100 x), and do not reduce "
            "the pictures"]
    if not model.crop or model.micrometres is None:
        return []
    if scale is None:
        return ["without a scale, cells are cut by their size and not at the bundle's scale; types are doubtful"]
    if scale <= ENLARGED * model.micrometres:
        return []
    return [f"a pixel has {scale:.3g} um and the bundle was trained at {model.micrometres:.3g}: cells are enlarged "
            f"{scale / model.micrometres:.1f} times and lack detail"]


def square_about(cell: FoundCell, size: int, *, wanted: float | None = None, scale: float | None = None) -> Square:
    """The square of a cell, to whole px of the field. size: px that it is resampled to. wanted: um per pixel of these,
    scale: um per pixel of the field; where either is None, the square is AROUND times as wide as the cell's box.
    """
    if wanted is not None and scale is not None:
        side = max(round(size * wanted / scale), 1)
    else:
        side = ceil(AROUND * max(cell.width, cell.height))
    # The middle of the first pixel is 0, so a square that begins with it has its middle at (side - 1) / 2.
    left, top = (round(middle - (side - 1) / 2) for middle in cell.centre)
    return Square(left, top, side, size)


def cut_square(source: FieldSource, square: Square,
               beyond: tuple[float, float, float] | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """The pixels of a square; beyond the border lies the colour `beyond` or, without one, the mirrored field. Raises
    LeukoscopeError for a square of more than 20,000 px."""
    if not 0 < square.side <= 20_000:
        raise LeukoscopeError(f"a cell would be cut as a square of {square.side:,} px", "correct the scale")
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


def _reflected(start: int, count: int, length: int) -> NDArray[np.intp]:
    """Places start .. start + count - 1 on an axis of `length` px, mirrored at its first and last pixel."""
    period = max(2 * (length - 1), 1)
    places = np.arange(start, start + count) % period
    return np.minimum(places, period - places)
