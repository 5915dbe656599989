"""Outlines from the working grid to the field's own pixels, each cell once. Decides nothing about what a cell is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from ..finder.outline import Outline
from .even import EvenField
from .field import FoundCell, same_cell
from .grid import Grid, Tile
from .measure import measure
from .source import FieldSource

_SLACK = 2  # px of the grid: a cell whose centre lies this near to a seam is drawn from both sides
_RIM = 3  # px of the field: a cell that is nearer to the rim of what was recorded is cut
_HIDDEN = 0.3  # share of a cell in a part that was not recorded, above which it is none


def draw_cell(source: FieldSource, grid: Grid, tile: Tile, outline: Outline, white: Float64[np.ndarray, " 3"],
              scale: float | None) -> FoundCell | None:
    """A cell of a tile, drawn and measured at the field's pixels; None where its centre lies in another tile's core, or
    nothing is left of it. scale: um per pixel of the field, or None."""
    x, y = outline.centre[0] + tile.left, outline.centre[1] + tile.top
    first_x, first_y, end_x, end_y = tile.core
    if not (first_x - _SLACK <= x < end_x + _SLACK and first_y - _SLACK <= y < end_y + _SLACK):
        return None
    left, top = (tile.left + outline.left) * grid.merged, (tile.top + outline.top) * grid.merged
    cell, nucleus = (_enlarged(part, grid.merged) > 0.5 for part in (outline.cell, outline.nucleus))
    if grid.split > 1:
        before = left % grid.split, top % grid.split
        cell, nucleus = (_shrunk(mask, *before, grid.split) for mask in (cell, nucleus))
        left, top = left // grid.split, top // grid.split
    cell, nucleus = (part[:source.height - top, :source.width - left] for part in (cell, nucleus))
    nucleus &= cell
    rows, columns = np.flatnonzero(cell.any(axis=1)), np.flatnonzero(cell.any(axis=0))
    if not len(rows) or not nucleus.any():
        return None
    box = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    cell, nucleus = np.ascontiguousarray(cell[box]), np.ascontiguousarray(nucleus[box])
    x, y, (height, width) = left + int(columns[0]), top + int(rows[0]), cell.shape
    middle_y, middle_x = (float(axis.mean()) for axis in np.nonzero(cell))
    cut = x == 0 or y == 0 or x + width == source.width or y + height == source.height
    sizes = measure(source.read(x, y, width, height), cell, nucleus, white, scale)
    return FoundCell(x, y, width, height, (x + middle_x, y + middle_y), cell, nucleus, cut, outline.score, sizes)


def without_duplicates(cells: Iterable[FoundCell]) -> list[FoundCell]:
    """Each cell once, also where two tiles have found it; by row, then column."""
    unique: list[FoundCell] = []
    for cell in sorted(cells, key=lambda cell: (cell.y, cell.x, -cell.score)):
        near = [other for other in unique if abs(other.y - cell.y) < cell.height and abs(other.x - cell.x) < cell.width]
        if not any(same_cell(cell.box, other.box) for other in near):
            unique.append(cell)
    return unique


def at_rim(cell: FoundCell, even: EvenField) -> FoundCell | None:
    """The cell, marked as cut where it touches a part of the field that was not recorded; None where it lies in one."""
    left, top = max(cell.x - _RIM, 0), max(cell.y - _RIM, 0)
    width = min(cell.x + cell.width + _RIM, even.width) - left
    height = min(cell.y + cell.height + _RIM, even.height) - top
    hidden = even.hidden_in(left, top, width, height)
    if not hidden.any():
        return cell
    mask = np.zeros((height, width), bool)
    mask[cell.y - top:cell.y - top + cell.height, cell.x - left:cell.x - left + cell.width] = cell.cell
    if hidden[mask].mean() > _HIDDEN:
        return None
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8)).astype(bool)
    return replace(cell, cut=True) if hidden[near].any() else cell


def _enlarged(part: NDArray[np.float32], merged: int) -> NDArray[np.float32]:
    """From the grid to a field whose pixels are finer."""
    size = (part.shape[1] * merged, part.shape[0] * merged)
    return part if merged == 1 else cv2.resize(part, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)


def _shrunk(mask: NDArray[np.bool_], before_x: int, before_y: int, split: int) -> NDArray[np.bool_]:
    """From the grid to a field whose pixels are coarser: a pixel belongs to the cell where half of it does. before_x,
    before_y: px of the grid between the mask and the field's pixel in which it begins."""
    whole = np.pad(mask, ((before_y, -(mask.shape[0] + before_y) % split),
                          (before_x, -(mask.shape[1] + before_x) % split))).astype(np.float32)
    size = (whole.shape[1] // split, whole.shape[0] // split)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA)) >= 0.5
