"""A first look at a field, at a few windows of it: white point, scale, and whether it is a blood smear at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from ..images.stain import optical_density, white_point
from .field import FoundCell, Scale
from .scale import FEWEST, RED_CELL, RedCells, is_chromatin, measure_red_cells
from .source import FieldSource

COARSEST = 0.75
"""um a pixel: above it a red cell has fewer than ten pixels across, and a leukocyte cannot be outlined."""
NUCLEUS = 8.5
"""um: the diameter that the largest nucleus is taken for where there are no red cells."""

_WINDOW = 1200  # px
_UNSTAINED = 0.93  # red over green density, above which nothing looks stained; grey things have 1
_COLOURS = 0.62  # interquartile range of that ratio, above which there are too many colours; BCCD's fields reach 0.48
_DARK = 100.0  # grey level of the background; smears are photographed on a bright one, BCCD's at 178 to 203
_DIFFERS = 1.25  # a stated scale is remarked upon where the red cells say another by this factor


@dataclass(frozen=True, eq=False)
class Survey:
    """working: um that a pixel is taken for, or None where nothing is to be looked for, since `refused` says why."""

    white: Float64[np.ndarray, " 3"]
    red_cells: RedCells
    scale: Scale
    working: float | None
    refused: str

    def judge(self, cells: Sequence[FoundCell]) -> tuple[bool, tuple[str, ...]]:
        """Whether this is a blood smear, and remarks, given what was found."""
        unlike = self._unlike(cells)
        if unlike:
            return False, (f"this does not look like a blood smear: {unlike}",)
        remarks = [self.refused] if self.refused else []
        estimate = self.red_cells.scale
        if self.scale.micrometres_per_pixel is None:
            remarks.append(f"no scale: {self.scale.reason}; sizes are in pixels only")
        elif self.scale.source != "red cells" and estimate is not None and not (
                1 / _DIFFERS < self.scale.micrometres_per_pixel / estimate < _DIFFERS):
            came = "given as" if self.scale.source == "given" else f"taken from {self.scale.source} as"
            remarks.append(f"the scale was {came} {self.scale.micrometres_per_pixel:.3g} um a pixel, but the red "
                           f"cells, at {RED_CELL:g} um, say {estimate:.3g}")
        if self.red_cells.cover > 0.85:
            remarks.append("cells cover nearly all of the field: the smear is thick here, and outlines are doubtful")
        if not cells and not self.refused:
            remarks.append("no leukocyte was found")
        return True, tuple(remarks)

    def _unlike(self, cells: Sequence[FoundCell]) -> str:
        """What speaks against a blood smear, or nothing."""
        if self.red_cells.cover < 1e-3:
            return "nothing stands out from its background"
        if self.red_cells.redness > _UNSTAINED:
            return "what stands out is not stained: it is as grey or as blue as its background"
        if self.red_cells.colours > _COLOURS:
            return "it has more colours than stained blood"
        if self.white.mean() < _DARK:
            return "its background is dark"
        if len(self.red_cells.diameters) < FEWEST and not cells and not self.refused:
            return f"{len(self.red_cells.diameters)} red cells and no leukocyte were found"
        return ""


def survey(source: FieldSource, pixel: float | None, *, origin: str = "given") -> Survey:
    """Look at a field. pixel: um a pixel where it is known; origin: from where."""
    windows = list(_windows(source))
    white = white_point(np.concatenate([window[::2, ::2].reshape(1, -1, 3) for window in windows], axis=1))
    red_cells = measure_red_cells(windows, white)
    scale = _scale(red_cells, pixel, origin)
    working = scale.micrometres_per_pixel or _by_nuclei(windows, white)
    refused = ""
    if working is not None and working > COARSEST:
        across = RED_CELL / working
        refused, working = f"red cells have {across:.0f} px across, too few to outline leukocytes; at least 10 are " \
                           "needed", None
    return Survey(white, red_cells, scale, working, refused)


def _scale(red_cells: RedCells, pixel: float | None, origin: str) -> Scale:
    count = len(red_cells.diameters)
    diameter = float(np.median(red_cells.diameters)) if count >= FEWEST else None
    if pixel is not None:
        return Scale(pixel, origin, "", count, diameter)
    if red_cells.scale is None:
        return Scale(None, "none", f"{count} red cells could be measured, at least {FEWEST} are needed", count, None)
    return Scale(red_cells.scale, "red cells", "", count, diameter)


def _by_nuclei(windows: Sequence[UInt8[np.ndarray, "height width 3"]],
               white: Float64[np.ndarray, " 3"]) -> float | None:
    """A guess at um a pixel from the largest purple piece; None where nothing is purple."""
    largest = 0
    for window in windows:
        reduce = max(1, round(max(window.shape[:2]) / 400))
        small = cv2.resize(window, (window.shape[1] // reduce, window.shape[0] // reduce), interpolation=cv2.INTER_AREA)
        density = optical_density(small.astype(np.uint8), white)
        purple = cv2.medianBlur((is_chromatin(density) & (density[..., 1] > 0.12)).astype(np.uint8), 5)
        _, _, stats, _ = cv2.connectedComponentsWithStats(purple)
        if len(stats) > 1:
            largest = max(largest, int(stats[1:, cv2.CC_STAT_AREA].max()) * reduce**2)
    return NUCLEUS / (2 * np.sqrt(largest / np.pi)) if largest >= 100 else None


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
