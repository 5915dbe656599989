"""A cell where a person points: outlined at that place, split in two, or joined of several. The finder's network says
what belongs to it; where that sees nothing, a circle of a usual cell's size stands for it. Knows no types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from ..finder.network import REACH, STRIDE, predict_maps
from ..finder.outline import NUCLEUS, Outline, outline_cells
from ..images.stain import optical_density, otsu
from .draw import at_rim, draw_cell
from .even import EvenField
from .field import FoundCell, FoundField, Scale
from .find import first_look_at
from .grid import Grid, Tile, grid_of, read_density
from .measure import measure
from .source import FieldSource
from .survey import Survey

THRESHOLDS = (0.5, 0.3, 0.15)
"""Probabilities above which a pixel belongs to the cell, one after the other: the usual one comes first."""
SMALLER = 0.4
"""Share of the finder's smallest cell that is enough where a person points."""
CIRCLE = 12.0
"""um: diameter of the circle; about that of a neutrophil."""
GAP = 1.5
"""Area of the hull of cells over their own, above which they lie too far apart to be one."""
LEAST_PART = 0.08
"""Share of a cell that each part of it has at least."""
_AROUND = 30.0  # um: a cell lies within this of where one points


@dataclass(frozen=True, eq=False)
class Looked:
    """A field that was looked at once. source: under even light; even: None where its light was even."""

    source: FieldSource
    even: EvenField | None
    survey: Survey

    @property
    def grid(self) -> Grid:
        """Of the finder. Raises LeukoscopeError where there is not even a rough scale."""
        if self.survey.working is None:
            raise LeukoscopeError("no cell can be outlined in this field: its scale is not known",
                                  "count the smear again with --micrometres")
        return grid_of(self.survey.working)

    def found(self, cells: Sequence[FoundCell], scale: Scale) -> FoundField:
        """Cells as those of a field."""
        red, green, blue = (float(value) for value in self.survey.white)
        return FoundField(self.source.width, self.source.height, tuple(cells), scale, (red, green, blue), True, (),
                          self.even)


def look_at(field: FieldSource, pixel: float | None) -> Looked:
    """Look at a field, as the finder does first. pixel: um per pixel, or None."""
    first = first_look_at(field)
    even = EvenField(field, first.uneven) if first.uneven is not None else None
    return Looked(even or field, even, first.survey if pixel is None else first.survey.with_scale(pixel, "given"))


def cell_at(field: Looked, x: float, y: float) -> tuple[FoundCell, str]:
    """The cell at a point, px of the field, and what drew it, in words. Raises LeukoscopeError where nothing was
    recorded, and outside the field."""
    if not (0 <= x < field.source.width and 0 <= y < field.source.height):
        raise LeukoscopeError("the point lies outside the field", "click within the photograph")
    scale = field.survey.scale.micrometres_per_pixel
    tile = _tile_around(field, (x, x), (y, y))
    density = read_density(field.source, field.grid, tile, field.survey.white)
    for wide in (field.survey.unusual, not field.survey.unusual):
        maps = predict_maps(density, wide=wide)
        for threshold in THRESHOLDS:
            raised = np.minimum(maps * np.float32(0.5 / threshold), 1)
            for outline in outline_cells(raised, field.grid.scale, tile.edges, least=SMALLER):
                cell = _drawn(field, tile, outline, scale)
                if cell is not None and _holds(cell, x, y):
                    return cell, "outlined by the finder" if threshold == THRESHOLDS[0] else "outlined by the finder, "\
                        f"at a threshold of {threshold}"
    return _circle(field, x, y), f"a circle of {CIRCLE:.0f} µm: the finder sees no cell there"


def _drawn(field: Looked, tile: Tile, outline: Outline, scale: float | None) -> FoundCell | None:
    cell = draw_cell(field.source, field.grid, tile, outline, field.survey.white, scale)
    return at_rim(cell, field.even) if cell is not None and field.even is not None else cell


def split_cell(field: Looked, mask: Bool[np.ndarray, "height width"], left: int, top: int,
               middles: Sequence[tuple[float, float]] = ()) -> tuple[FoundCell, FoundCell]:
    """Two cells of one. mask: of the cell, with its first pixel at (left, top); middles: of both cells, px of the
    field, or none: then they are the middles of the two halves of the nucleus. Each pixel goes to the nearer one.
    Raises LeukoscopeError where one cell would get next to nothing."""
    if not middles:
        nucleus = _nucleus(field, mask, left, top)
        rows, columns = np.nonzero(nucleus if nucleus.any() else mask)
        points = np.stack([columns + left, rows + top], axis=1).astype(np.float64)
        middles = [tuple(middle) for middle in _two_middles(points)]  # type: ignore[misc]
    (first_x, first_y), (second_x, second_y) = middles
    y, x = np.mgrid[top:top + mask.shape[0], left:left + mask.shape[1]]
    nearer = np.hypot(x - first_x, y - first_y) <= np.hypot(x - second_x, y - second_y)
    parts = mask & nearer, mask & ~nearer
    if min(part.sum() for part in parts) < max(LEAST_PART * mask.sum(), 4):
        raise LeukoscopeError("one of the two cells would be almost empty", "click the middle of each of the two")
    first, second = (cell_of(field, part, left, top) for part in parts)
    return first, second


def join_cells(field: Looked, masks: Sequence[tuple[Bool[np.ndarray, "_ _"], int, int]]) -> FoundCell:
    """One cell of several. masks: (mask, left, top) of each. Raises LeukoscopeError where they lie apart."""
    left, top = min(left for _, left, _ in masks), min(top for _, _, top in masks)
    right = max(left + mask.shape[1] for mask, left, _ in masks)
    bottom = max(top + mask.shape[0] for mask, _, top in masks)
    whole = np.zeros((bottom - top, right - left), bool)
    for mask, x, y in masks:
        whole[y - top:y - top + mask.shape[0], x - left:x - left + mask.shape[1]] |= mask
    if cv2.connectedComponents(whole.astype(np.uint8))[0] > 2:
        rings, _ = cv2.findContours(whole.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.fillConvexPoly(np.zeros(whole.shape, np.uint8), cv2.convexHull(np.concatenate(rings)), 1) > 0
        if hull.sum() > GAP * whole.sum():
            raise LeukoscopeError("these cells lie apart", "join cells that touch, or nearly so")
        whole = hull
    return cell_of(field, whole, left, top)


def cell_of(field: Looked, mask: Bool[np.ndarray, "height width"], left: int, top: int) -> FoundCell:
    """The cell of a mask whose first pixel lies at (left, top), measured; its nucleus is what the network calls so or,
    where that is nothing, what is stained most."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    mask = np.ascontiguousarray(mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1])
    x, y, (height, width) = left + int(columns[0]), top + int(rows[0]), mask.shape
    nucleus = _nucleus(field, mask, x, y)
    middle_y, middle_x = (float(axis.mean()) for axis in np.nonzero(mask))
    cut = x == 0 or y == 0 or x + width == field.source.width or y + height == field.source.height
    sizes = measure(field.source.read(x, y, width, height), mask, nucleus, field.survey.white,
                    field.survey.scale.micrometres_per_pixel)
    cell = FoundCell(x, y, width, height, (x + middle_x, y + middle_y), mask, nucleus, cut, 0.0, sizes)
    whole = at_rim(cell, field.even) if field.even is not None else cell
    if whole is None:
        raise LeukoscopeError("nothing was recorded at this place", "choose a cell that the photograph shows")
    return whole


def _circle(field: Looked, x: float, y: float) -> FoundCell:
    radius = CIRCLE / 2 / (field.survey.working or 1.0)
    left, top = max(floor(x - radius), 0), max(floor(y - radius), 0)
    right = min(ceil(x + radius) + 1, field.source.width)
    bottom = min(ceil(y + radius) + 1, field.source.height)
    rows, columns = np.mgrid[top:bottom, left:right]
    return cell_of(field, np.hypot(columns - x, rows - y) <= radius, left, top)


def _nucleus(field: Looked, mask: NDArray[np.bool_], left: int, top: int) -> NDArray[np.bool_]:
    """The nucleus within a mask; not empty."""
    height, width = mask.shape
    tile = _tile_around(field, (left, left + width), (top, top + height))
    density = read_density(field.source, field.grid, tile, field.survey.white)
    grid = field.grid
    size = (tile.width * grid.merged // grid.split, tile.height * grid.merged // grid.split)
    nucleus = cv2.resize(predict_maps(density, wide=field.survey.unusual)[NUCLEUS], size)
    x, y = (left - tile.left * grid.merged // grid.split, top - tile.top * grid.merged // grid.split)
    window = np.pad(nucleus, ((0, max(y + height - size[1], 0)), (0, max(x + width - size[0], 0))))
    sure = (window[y:y + height, x:x + width] > 0.5) & mask
    if sure.sum() >= LEAST_PART * mask.sum():
        return sure
    red = optical_density(field.source.read(left, top, width, height), field.survey.white)[..., 0]
    levels = np.clip(np.rint(128 * red), 0, 255).astype(np.int64)  # the dye of nuclei absorbs red, other dyes hardly
    dark = (levels > otsu(np.bincount(levels[mask], minlength=256))) & mask
    return dark if dark.any() else mask


def _tile_around(field: Looked, columns: tuple[float | int, float | int],
                 rows: tuple[float | int, float | int]) -> Tile:
    """The tile that holds all that the network needs for a box of the field, px."""
    grid, aligned = field.grid, 3 * STRIDE
    reach = REACH + _AROUND / grid.scale
    width, height = grid.size(field.source)
    ends = []
    for (low, high), side in ((columns, width), (rows, height)):
        first = max(floor((low * grid.split / grid.merged - reach) / aligned) * aligned, 0)
        ends += [first, min(ceil(high * grid.split / grid.merged + reach), side)]
    x, x_end, y, y_end = ends
    return Tile(x, y, x_end - x, y_end - y, (x, y, x_end, y_end), (y == 0, x == 0, y_end == height, x_end == width))


def _holds(cell: FoundCell, x: float, y: float) -> bool:
    column, row = round(x) - cell.x, round(y) - cell.y
    return 0 <= column < cell.width and 0 <= row < cell.height and bool(cell.cell[row, column])


def _two_middles(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middles of two groups of points (n, 2), by two-means from the ends of their longest direction."""
    centred = points - points.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0] if len(points) > 1 else np.zeros(len(points))
    middles = points[[int(along.argmin()), int(along.argmax())]]
    for _ in range(30):
        nearer = ((points - middles[0]) ** 2).sum(axis=1) <= ((points - middles[1]) ** 2).sum(axis=1)
        if nearer.all() or not nearer.any():
            return middles
        moved = np.stack([points[nearer].mean(axis=0), points[~nearer].mean(axis=0)])
        if np.allclose(moved, middles):
            return moved
        middles = moved
    return middles
