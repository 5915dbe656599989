"""Finds and outlines the leukocytes of a field.

White point and scale are taken from the field, the network outlines nucleus and cell on a grid of about a quarter of a
micrometre, and the outlines are drawn at the field's own pixels. Erythroblasts and other nucleated cells are found too;
types are not known here. docs/smear.md says how well it works, and where it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from ..errors import LeukoscopeError
from ..finder.network import predict_around, predict_maps
from ..finder.outline import outline_cells
from .draw import at_rim, draw_cell, without_duplicates
from .even import EvenField, Unevenness, unevenness
from .field import FoundCell, FoundField
from .grid import LARGEST_TILE, grid_of, read_density, tiles
from .remarks import judge
from .source import FieldSource, field_source
from .survey import Survey, survey

SURE = 0.84
"""Score below which a cell that the wide network finds is left out."""
_CELL = 12.0  # um from a nucleus within which its cell ends
_NUCLEUS = 2.0, 12.0  # um and um2: the narrowest lobe, and the smallest nucleus (of an erythroblast)
_AROUND = 11.0  # um: side of the square in which the lobes of a nucleus lie
_RED = 2.2  # times the usual red density of what is covered, which two red cells on each other do not reach
_NOISE = 0.04  # red density that noise reaches


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


def find_leukocytes(field: np.ndarray | FieldSource, *, pixel: float | None = None, tile: int = LARGEST_TILE,
                    origin: str = "given", looked: FirstLook | None = None, skim: bool = False) -> FoundField:
    """The leukocytes of a field: uint8 RGB (height, width, 3), or a source that is read one window at a time.

    pixel: um per pixel where it is known; otherwise the red cells give it. origin: where `pixel` comes from, for the
    scale's source and the remarks: "given" or "other fields". tile: longest side in px of the working grid that is
    worked on at once; it hardly changes what is found. looked: what `first_look_at` gives of the field, if known.
    skim: search only where something absorbs red light as nuclei do, unless the stain is unusual: for slides, most of
    which holds no leukocyte.
    Raises LeukoscopeError for a field of another shape or size, or a `pixel` outside 0.01 to 5 um.
    """
    source = field_source(field)
    if pixel is not None and not 0.01 <= pixel <= 5:
        raise LeukoscopeError(f"pixel: expected micrometres in [0.01, 5], got {pixel}", "leave it out if unknown")
    if tile < 96:
        raise LeukoscopeError(f"tile: expected at least 96 px, got {tile}", "leave it out")
    looked = looked or first_look_at(source)
    even = EvenField(source, looked.uneven) if looked.uneven is not None else None
    source = even or source
    first = looked.survey if pixel is None else looked.survey.with_scale(pixel, origin)
    skim = skim and not first.unusual
    cells = _cells(source, first, tile, wide=first.unusual, skim=skim)
    if not cells and not first.unusual:
        # Nuclei as pale as this are known to the wide network only.
        cells = _cells(source, first, tile, wide=True, skim=skim)
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


def could_be_nuclei(density: Float32[np.ndarray, "height width 3"], scale: float) -> Bool[np.ndarray, "height width"]:
    """Where something wide enough absorbs more red light than red cells do, which hardly absorb any: nuclei, and some
    things that are none. density: optical, on the working grid; scale: um of its pixels."""
    red, covered = cv2.blur(np.ascontiguousarray(density[..., 0]), (3, 3)), density[..., 1] > 0.05
    least = max(_RED * float(np.median(red[covered])), _NOISE) if covered.any() else _NOISE
    closed = cv2.morphologyEx((red > least).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    side, around = max(round(_NUCLEUS[0] / scale), 1), 2 * round(_AROUND / scale / 2) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    area = cv2.boxFilter(closed, cv2.CV_32F, (around, around), normalize=False) * scale**2
    return cv2.erode(closed, disc).astype(bool) & (area >= _NUCLEUS[1])
