"""A first look at a field, in a few windows of it: white point, scale, and whether it can be a blood smear at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from jaxtyping import Float64, UInt8

from ..images.stain import optical_density, white_point
from .field import Scale
from .focus import width_of_edges
from .scale import FEWEST, RED_CELL, RedCells, foreground, is_chromatin, measure_red_cells
from .source import FieldSource
from .spot import spot

COARSEST = 0.75
"""um per pixel: above it a red cell has fewer than ten pixels across, and a leukocyte cannot be outlined."""

_WINDOW = 1200  # px
_UNSTAINED = 0.93  # red over green density, above which nothing looks stained; grey things have 1
_COLOURS = 0.62  # interquartile range of that ratio, above which there are too many colours; BCCD's fields reach 0.48
_NO_STAIN = 1.5  # the same, that no stain has; blue-grey red cells in coloured light reach 1.2
_MANY, _ALIKE = 25, 0.38  # round things, and the share of them that has about one size
_SOME, _MIXED = 18, 0.3
"""Round things, and the share of them that fits the others in size, below which they hardly are red cells: so it is in
11 of 504 fields of four data sets, and in about a third of the photographs of other things that pass for a smear."""
_PURPLE = 0.5  # share of what is covered that looks like chromatin, above which red cells must look so too
_GREY = 3.0  # grey levels: less than this between red and blue is no colour
_DARK = 100.0  # grey level of the background; smears are photographed on a bright one, BCCD's at 178 to 203


@dataclass(frozen=True, eq=False)
class Survey:
    """What a first look shows. white: RGB of a place without cells.

    working: um that a pixel is taken for; None where leukocytes cannot be searched for. refused: why, or "" where
    nothing gives even a rough scale. grey: whether the photograph has no colour. unusual: whether its stain is such
    that red cells cannot be distinguished from leukocytes by colour. edge: px, how wide the edges of cells are; None
    where that cannot be measured, as in an unusual stain.
    """

    white: Float64[np.ndarray, " 3"]
    red_cells: RedCells
    scale: Scale
    working: float | None
    refused: str
    grey: bool
    unusual: bool
    edge: float | None

    @property
    def edge_um(self) -> float | None:
        """um: how wide the edges of cells are; None where that or the scale is not known."""
        scale = self.scale.micrometres_per_pixel
        return None if self.edge is None or scale is None else self.edge * scale

    def with_scale(self, pixel: float, origin: str) -> Survey:
        """The same look at a field whose scale is known. pixel: um; origin: where it comes from."""
        working, refused = _checked(pixel)
        return replace(self, scale=replace(self.scale, micrometres_per_pixel=pixel, source=origin, reason=""),
                       working=working, refused=refused)

    def without_scale(self, reason: str) -> Survey:
        """The same look at a field whose red cells cannot be trusted; what they say is good enough to search by."""
        return replace(self, scale=replace(self.scale, micrometres_per_pixel=None, source="none", reason=reason))

    @property
    def unlike(self) -> str:
        """Why this cannot be a blood smear, as long as no leukocyte is certain; or ""."""
        if self.red_cells.cover < 1e-3:
            return "nothing stands out from its background"
        if self.red_cells.redness > _UNSTAINED and not self.many_red_cells:
            return "what stands out is not stained: it is as grey or as blue as its background"
        if self.red_cells.colours > (_NO_STAIN if self.many_red_cells else _COLOURS):
            return "it has more colours than stained blood"
        return "its background is dark" if self.white.mean() < _DARK and not self.many_red_cells else ""

    @property
    def could_be_stained(self) -> bool:
        """Whether there is colour, and not more of it than any stain has."""
        return not self.grey and self.red_cells.colours <= _NO_STAIN

    @property
    def many_red_cells(self) -> bool:
        """Whether so many round things of one size lie here that they can only be red cells."""
        return len(self.red_cells.diameters) >= _MANY and self.red_cells.of_one_size >= _ALIKE

    @property
    def of_mixed_sizes(self) -> bool:
        """Whether round things lie here, but hardly any two of one size."""
        share = self.red_cells.of_one_size
        return 0 < share < _MIXED and len(self.red_cells.diameters) >= _SOME * share


def survey(source: FieldSource) -> Survey:
    """Look at a field, whose scale its red cells give."""
    windows = list(_windows(source))
    white = white_point(np.concatenate([window[::2, ::2].reshape(1, -1, 3) for window in windows], axis=1))
    grey = all(np.abs(window[..., 0].astype(np.int16) - window[..., 2]).mean() < _GREY for window in windows)
    chromatin = [is_chromatin(optical_density(window, white)) for window in windows]
    red_cells = measure_red_cells(windows, white, chromatin)
    purple = float(np.mean([mask.mean() for mask in chromatin])) > _PURPLE * red_cells.cover
    unusual = purple or red_cells.redness > _UNSTAINED or red_cells.colours > _COLOURS
    spotted = None
    if unusual or len(red_cells.diameters) < FEWEST:
        # Where red cells are as blue or purple as chromatin, the network finds the leukocytes among them.
        spotted = spot(windows, white)
        red_cells = measure_red_cells(windows, white, spotted.masks)
    count = len(red_cells.diameters)
    if count >= FEWEST:
        scale = Scale(red_cells.scale, "red cells", "", count, float(np.median(red_cells.diameters)))
    else:
        scale = Scale(None, "none", f"{count} red cells could be measured, at least {FEWEST} are needed", count, None)
    working = scale.micrometres_per_pixel or (spotted.scale if spotted is not None else None)
    working, refused = _checked(working)
    edge = None if unusual or working is None else _edge(windows, white, working)
    return Survey(white, red_cells, scale, working, refused, grey, unusual, edge)


def _edge(windows: Sequence[UInt8[np.ndarray, "height width 3"]], white: Float64[np.ndarray, " 3"],
          scale: float) -> float | None:
    """px: the usual width of the edges of cells."""
    widths = []
    for window in windows:
        density = optical_density(window, white)
        green, covered = density[..., 1], foreground(density, np.zeros(density.shape[:2], bool))
        if covered.any():
            widths.append(width_of_edges(green, float(np.median(green[covered])), scale))
    known = [width for width in widths if width is not None]
    return float(np.median(known)) / scale if known else None


def _checked(working: float | None) -> tuple[float | None, str]:
    """A scale to work with, or None and why it is too coarse."""
    if working is None or working <= COARSEST:
        return working, ""
    return None, (f"red cells have {RED_CELL / working:.0f} px across, too few to outline leukocytes; at least 10 are "
                  "needed")


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
