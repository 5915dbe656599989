"""A first look at a field, in a few windows of it: white point, scale, and whether it can be a blood smear at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float64, UInt8

from ..images.stain import white_point
from .field import Scale
from .scale import FEWEST, RED_CELL, RedCells, measure_red_cells, scale_by_nuclei
from .source import FieldSource

COARSEST = 0.75
"""um per pixel: above it a red cell has fewer than ten pixels across, and a leukocyte cannot be outlined."""

_WINDOW = 1200  # px
_UNSTAINED = 0.93  # red over green density, above which nothing looks stained; grey things have 1
_COLOURS = 0.62  # interquartile range of that ratio, above which there are too many colours; BCCD's fields reach 0.48
_DARK = 100.0  # grey level of the background; smears are photographed on a bright one, BCCD's at 178 to 203


@dataclass(frozen=True, eq=False)
class Survey:
    """What a first look shows. white: RGB of a place without cells.

    working: um that a pixel is taken for; None where leukocytes cannot be searched for. refused: why, or "" where
    nothing gives even a rough scale.
    """

    white: Float64[np.ndarray, " 3"]
    red_cells: RedCells
    scale: Scale
    working: float | None
    refused: str

    @property
    def unlike(self) -> str:
        """Why this cannot be a blood smear, whatever is found in it; or ""."""
        if self.red_cells.cover < 1e-3:
            return "nothing stands out from its background"
        if self.red_cells.redness > _UNSTAINED:
            return "what stands out is not stained: it is as grey or as blue as its background"
        if self.red_cells.colours > _COLOURS:
            return "it has more colours than stained blood"
        return "its background is dark" if self.white.mean() < _DARK else ""


def survey(source: FieldSource, pixel: float | None, *, origin: str = "given") -> Survey:
    """Look at a field. pixel: um per pixel where it is known; origin: where from."""
    windows = list(_windows(source))
    white = white_point(np.concatenate([window[::2, ::2].reshape(1, -1, 3) for window in windows], axis=1))
    red_cells = measure_red_cells(windows, white)
    count = len(red_cells.diameters)
    diameter = float(np.median(red_cells.diameters)) if count >= FEWEST else None
    if pixel is not None:
        scale = Scale(pixel, origin, "", count, diameter)
    elif diameter is not None:
        scale = Scale(red_cells.scale, "red cells", "", count, diameter)
    else:
        scale = Scale(None, "none", f"{count} red cells could be measured, at least {FEWEST} are needed", count, None)
    working = scale.micrometres_per_pixel or scale_by_nuclei(windows, white)
    if working is None or working <= COARSEST:
        return Survey(white, red_cells, scale, working, "")
    refused = (f"red cells have {RED_CELL / working:.0f} px across, too few to outline leukocytes; at least 10 are "
               "needed")
    return Survey(white, red_cells, scale, None, refused)


def _windows(source: FieldSource) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The whole of a small field; of a larger one, up to three by three windows, evenly spread."""
    places = []
    for side in (source.width, source.height):
        count = min(3, ceil(side / (4 * _WINDOW / 3)))
        length = min(side // count, _WINDOW)
        places.append([(side * (2 * n + 1) // (2 * count) - length // 2, length) for n in range(count)])
    for top, height in places[1]:
        for left, width in places[0]:
            yield source.read(left, top, width, height)
