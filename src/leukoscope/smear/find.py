"""Finds and outlines the leukocytes of a field.

White point and scale are taken from the field, the network outlines nucleus and cell on a grid of about a quarter of a
micrometre, and the outlines are drawn at the field's own pixels. Erythroblasts and other nucleated cells are found too;
types are not known here. docs/smear.md says how well it works, and where it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from ..errors import LeukoscopeError
from ..finder.network import predict_around, predict_maps
from ..finder.outline import outline_cells
from .draw import at_rim, draw_cell, without_duplicates
from .even import EvenField, Unevenness, unevenness
from .field import FoundCell, FoundField
from .grid import LARGEST_TILE, grid_of, read_density, tiles
from .remarks import judge
from .skim import could_be_nuclei
from .source import FieldSource, field_source
from .survey import Survey, survey

SURE = 0.84
"""Score below which a cell that the wide network finds is left out."""
_CELL = 12.0  # um from a nucleus within which its cell ends


@dataclass(frozen=True, eq=False)
class FirstLook:
    """What a first look at a field gives, without its pixels. uneven: None where it was lit evenly and recorded as a
    whole; survey: of the field under even light, with the scale by its red cells."""

    uneven: Unevenness | None
    survey: Survey


def first_look_at(source: FieldSource) -> FirstLook:
    """The first look at a field."""
    uneven = unevenness(source)
    if uneven is None:
        return FirstLook(None, survey(source))
    look = survey(EvenField(source, uneven))
    doubtful = uneven.light is not None and not uneven.light.evened
    return FirstLook(uneven, look.without_scale("the light could not be evened out") if doubtful else look)


def find_leukocytes(field: np.ndarray | FieldSource, *, pixel: float | None = None,
                    tile: int = LARGEST_TILE) -> FoundField:
    """The leukocytes of a field: uint8 RGB (height, width, 3), or a source that is read one window at a time.

    pixel: um per pixel where it is known; otherwise the red cells give it. tile: longest side in px of the working grid
    that is worked on at once; it hardly changes what is found. Raises LeukoscopeError for a field of another shape or
    size, or a `pixel` outside 0.01 to 5 um.
    """
    source = field_source(field)
    return search(source, first_look_at(source), pixel=pixel, tile=tile)


def search(source: FieldSource, looked: FirstLook, *, pixel: float | None = None, origin: str = "given",
           tile: int = LARGEST_TILE, skim: bool = False) -> FoundField:
    """`find_leukocytes` in a field of which `first_look_at` has given `looked`.

    origin: where `pixel` comes from, for the scale's source and the remarks: "given", "file" or "other fields". skim:
    search only where something absorbs red light as nuclei do, unless the stain is unusual: for slides, most of which
    holds no leukocyte.
    """
    if pixel is not None and not 0.01 <= pixel <= 5:
        raise LeukoscopeError(f"pixel: expected micrometres in [0.01, 5], got {pixel}", "leave it out if unknown")
    if tile < 96:
        raise LeukoscopeError(f"tile: expected at least 96 px, got {tile}", "leave it out")
    even = EvenField(source, looked.uneven) if looked.uneven is not None else None
    first = looked.survey if pixel is None else looked.survey.with_scale(pixel, origin)
    cells: list[FoundCell] = []
    # Nuclei that are too pale for the usual network are known to the wide one only.
    for wide in ((True,) if first.unusual else (False, True)):
        cells = cells or _cells(even or source, first, tile, wide=wide, skim=skim and not first.unusual)
    if even is not None and even.hidden.any():
        cells = [shown for cell in cells if (shown := at_rim(cell, even)) is not None]
    is_smear, remarks = judge(first, cells, even)
    red, green, blue = (float(value) for value in first.white)
    return FoundField(source.width, source.height, tuple(cells) if is_smear else (), first.scale, (red, green, blue),
                      is_smear, remarks, even)


def _cells(source: FieldSource, first: Survey, tile: int, *, wide: bool, skim: bool) -> list[FoundCell]:
    """The leukocytes of all tiles, by one of the two networks; none where there is not even a rough scale."""
    if first.working is None:
        return []
    cells: list[FoundCell] = []
    grid = grid_of(first.working)
    for part in tiles(source, grid, tile):
        density = read_density(source, grid, part, first.white)
        if skim:
            places = could_be_nuclei(density, grid.scale)
            if not places.any():
                continue
            maps = predict_around(density, places, ceil(_CELL / grid.scale), wide=wide)
        else:
            maps = predict_maps(density, wide=wide)
        for outline in outline_cells(maps, grid.scale, part.edges):
            if not wide or outline.score >= SURE:
                cell = draw_cell(source, grid, part, outline, first.white, first.scale.micrometres_per_pixel)
                cells += [cell] if cell is not None else []
    return without_duplicates(cells)
