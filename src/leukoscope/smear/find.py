"""Finds and outlines the leukocytes of a field.

White point and scale are taken from the field, the network outlines nucleus and cell on a grid of about a quarter of a
micrometre, and the outlines are drawn at the field's own pixels. Erythroblasts and other nucleated cells are found too;
types are not known here. docs/smear.md says how well it works, and where it fails.
"""

from __future__ import annotations

import numpy as np

from ..errors import LeukoscopeError
from ..finder.network import predict_maps
from ..finder.outline import outline_cells
from .draw import at_rim, draw_cell, without_duplicates
from .even import even_field
from .field import FoundCell, FoundField
from .grid import LARGEST_TILE, grid_of, read_density, tiles
from .remarks import judge
from .source import FieldSource, field_source
from .survey import Survey, survey

SURE = 0.84
"""Score below which a cell that the wide network finds is left out."""


def find_leukocytes(field: np.ndarray | FieldSource, *, pixel: float | None = None,
                    tile: int = LARGEST_TILE, origin: str = "given") -> FoundField:
    """The leukocytes of a field: uint8 RGB (height, width, 3), or a source that is read one window at a time.

    pixel: um per pixel where it is known; otherwise the red cells give it. origin: where `pixel` comes from, for the
    scale's source and the remarks: "given" or "other fields". tile: longest side in px of the working grid that is
    worked on at once; it hardly changes what is found.
    Raises LeukoscopeError for a field of another shape or size, or a `pixel` outside 0.01 to 5 um.
    """
    source = field_source(field)
    if pixel is not None and not 0.01 <= pixel <= 5:
        raise LeukoscopeError(f"pixel: expected micrometres in [0.01, 5], got {pixel}", "leave it out if unknown")
    if tile < 96:
        raise LeukoscopeError(f"tile: expected at least 96 px, got {tile}", "leave it out")
    even = even_field(source)
    source = even or source
    first = survey(source, pixel, origin=origin)
    cells = _cells(source, first, tile, wide=first.unusual)
    if not cells and not first.unusual:
        cells = _cells(source, first, tile, wide=True)  # nuclei as pale as this are known to the wide network only
    if even is not None and even.hidden.any():
        cells = [shown for cell in cells if (shown := at_rim(cell, even)) is not None]
    is_smear, remarks = judge(first, cells, even)
    red, green, blue = (float(value) for value in first.white)
    return FoundField(source.width, source.height, tuple(cells) if is_smear else (), first.scale, (red, green, blue),
                      is_smear, remarks, even)


def _cells(source: FieldSource, first: Survey, tile: int, *, wide: bool) -> list[FoundCell]:
    """The leukocytes of all tiles, by one of the two networks; none where there is not even a rough scale."""
    if first.working is None:
        return []
    cells: list[FoundCell] = []
    grid = grid_of(first.working)
    for part in tiles(source, grid, tile):
        density = read_density(source, grid, part, first.white)
        for outline in outline_cells(predict_maps(density, wide=wide), grid.scale, part.edges):
            if not wide or outline.score >= SURE:
                cell = draw_cell(source, grid, part, outline, first.white, first.scale.micrometres_per_pixel)
                cells += [cell] if cell is not None else []
    return without_duplicates(cells)
