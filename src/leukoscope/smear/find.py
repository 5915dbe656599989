"""Finds and outlines the leukocytes of a field.

White point and scale are taken from the field, the network outlines nucleus and cell on a grid of about a quarter
micrometre, and the outlines are drawn at the field's own pixels. Erythroblasts and other nucleated cells are found as
well; what type a cell has is not known here. docs/smear.md says how well it works, and where not.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from .field import FoundCell, FoundField
from .grid import LARGEST_TILE, Grid, Tile, grid_of, read_density, tiles
from .measure import measure
from .network import predict_maps
from .outline import Outline, outline_cells
from .source import FieldSource, field_source
from .survey import Survey, survey

_SAME = 0.5  # overlap of two boxes above which they are one cell, found from both sides of a seam
_SLACK = 2  # px of the grid: a cell whose middle lies this near to a seam is looked for from both sides


def find_leukocytes(field: np.ndarray | FieldSource, *, pixel: float | None = None,
                    tile: int = LARGEST_TILE, origin: str = "given") -> FoundField:
    """The leukocytes of a field: uint8 RGB (height, width, 3), or a source that is read a window at a time.

    pixel: um a pixel where it is known; else the red cells tell. tile: px of the working grid that are worked on at
        once, which sets the memory needed (about 0.4 kB each) and hardly changes what is found.
    origin: where `pixel` comes from, for the scale's source and the remarks: "given" or "other fields".
    Raises LeukoscopeError for a field of another shape or size, or a `pixel` outside 0.01 to 5 um.
    """
    source = field_source(field)
    if pixel is not None and not 0.01 <= pixel <= 5:
        raise LeukoscopeError(f"pixel: expected micrometres in [0.01, 5], got {pixel}", "leave it out if unknown")
    if tile < 96:
        raise LeukoscopeError(f"tile: expected at least 96 px, got {tile}", "leave it out")
    seen = survey(source, pixel, origin=origin)
    cells: list[FoundCell] = []
    if seen.working is not None:
        grid = grid_of(seen.working)
        for part in tiles(source, grid, tile):
            cells += _in_tile(source, grid, part, seen)
    cells = _once(cells)
    is_smear, remarks = seen.judge(cells)
    red, green, blue = (float(value) for value in seen.white)
    return FoundField(source.width, source.height, tuple(cells) if is_smear else (), seen.scale, (red, green, blue),
                      is_smear, remarks)


def _in_tile(source: FieldSource, grid: Grid, tile: Tile, seen: Survey) -> list[FoundCell]:
    """The cells whose middle lies in the core of a tile, or just beside it."""
    maps = predict_maps(read_density(source, grid, tile, seen.white))
    left, top, right, bottom = tile.core
    found = []
    for outline in outline_cells(maps, grid.scale, tile.edges):
        x, y = outline.centre[0] + tile.left, outline.centre[1] + tile.top
        if left - _SLACK <= x < right + _SLACK and top - _SLACK <= y < bottom + _SLACK:
            cell = _drawn(source, grid, tile, outline, seen)
            found += [cell] if cell is not None else []
    return found


def _drawn(source: FieldSource, grid: Grid, tile: Tile, outline: Outline, seen: Survey) -> FoundCell | None:
    """An outline at the field's own pixels; None where nothing is left of it."""
    left, top = (tile.left + outline.left) * grid.merged, (tile.top + outline.top) * grid.merged
    cell, nucleus = (_enlarged(part, grid) > 0.5 for part in (outline.cell, outline.nucleus))
    if grid.split > 1:
        left, top, cell, nucleus = _shrunk(left, top, cell, nucleus, grid.split)
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
    sizes = measure(source.read(x, y, width, height), cell, nucleus, seen.white, seen.scale.micrometres_per_pixel)
    return FoundCell(x, y, width, height, (x + middle_x, y + middle_y), cell, nucleus, cut, outline.score, sizes)


def _enlarged(part: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """From the grid to the field's pixels, where the field is finer."""
    size = (part.shape[1] * grid.merged, part.shape[0] * grid.merged)
    return part if grid.merged == 1 else cv2.resize(part, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)


def _shrunk(left: int, top: int, cell: NDArray[np.bool_], nucleus: NDArray[np.bool_],
            split: int) -> tuple[int, int, NDArray[np.bool_], NDArray[np.bool_]]:
    """From the grid to the field's pixels, where the field is coarser: a pixel belongs where half of it does."""
    before_x, before_y = left % split, top % split
    parts = []
    for mask in (cell, nucleus):
        whole = np.pad(mask, ((before_y, -(mask.shape[0] + before_y) % split),
                              (before_x, -(mask.shape[1] + before_x) % split))).astype(np.float32)
        size = (whole.shape[1] // split, whole.shape[0] // split)
        parts.append(np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA)) >= 0.5)
    return left // split, top // split, parts[0], parts[1]


def _once(cells: list[FoundCell]) -> list[FoundCell]:
    """Without those that were found from two tiles; by row, then column."""
    kept: list[FoundCell] = []
    for cell in sorted(cells, key=lambda one: (one.y, one.x, -one.score)):
        near = [other for other in kept if abs(other.y - cell.y) < cell.height and abs(other.x - cell.x) < cell.width]
        if not any(_overlap(cell, other) > _SAME for other in near):
            kept.append(cell)
    return kept


def _overlap(first: FoundCell, second: FoundCell) -> float:
    """Intersection over union of two boxes."""
    width = min(first.x + first.width, second.x + second.width) - max(first.x, second.x)
    height = min(first.y + first.height, second.y + second.height) - max(first.y, second.y)
    common = max(width, 0) * max(height, 0)
    return common / (first.width * first.height + second.width * second.height - common)
