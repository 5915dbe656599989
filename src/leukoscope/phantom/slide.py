"""A phantom slide: a smear with a thick part, a monolayer and a feathered edge on glass, of any size, with exact truth.

It is composed of rendered blocks, turned and mirrored, so that a window needs no more memory than itself. Leukocytes
lie within blocks; red cells are cut where blocks meet, as scanners cut them where they stitch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from .optics import Camera, Optics
from .render import Field, render_field
from .subjects import RedCells, Subject

GLASS, THICK, MONOLAYER, THIN, BLURRED, BLACK, WHITE = (
    "glass", "thick", "monolayer", "thin", "blurred", "black", "white")
"""Kinds of blocks. black, white: not recorded by the scanner."""
_RED_CELLS = {THICK: RedCells(density=60.0, overlap=1.0, pallor=0.2), MONOLAYER: RedCells(density=10.0, overlap=0.12),
              THIN: RedCells(density=1.2, overlap=0.0, pallor=0.1), BLURRED: RedCells(density=10.0, overlap=0.12)}
_LEUKOCYTES = {THICK: 1.5, MONOLAYER: 1.0, THIN: 1.5, BLURRED: 1.0}  # times the density of the monolayer
_MARGIN = 13.0  # um: no leukocyte reaches from one block into the next
_DEFOCUS = 6.0  # um, of blurred blocks
_LEVELS = (1, 4, 16)


@dataclass(frozen=True)
class SlideCell:
    """The truth about a nucleated cell of a slide: type, box in px of the slide, and the kind of the block."""

    type: str
    x: int
    y: int
    width: int
    height: int
    zone: str


@dataclass(frozen=True, eq=False)
class PhantomSlide:
    """A slide of `width` x `height` px. zones: kind of each block, (rows, columns) of names; block: px of its side.
    chosen: which rendered block of its kind lies there, and which of the eight turns it has."""

    width: int
    height: int
    micrometres_per_pixel: float
    block: int
    zones: NDArray[np.str_]
    chosen: NDArray[np.int64]
    library: Mapping[str, tuple[Field, ...]]
    downsamples: tuple[int, ...] = _LEVELS

    @cached_property
    def cells(self) -> tuple[SlideCell, ...]:
        """All nucleated cells that the slide shows."""
        found: list[SlideCell] = []
        for (row, column), zone in np.ndenumerate(self.zones):
            number, turn = self.chosen[row, column]
            if zone in (GLASS, BLACK, WHITE):
                continue
            for cell in self.library[str(zone)][number].cells:
                if cell.type == "platelet":
                    continue
                x, y, width, height = _turned_box((cell.x, cell.y, cell.width, cell.height), int(turn), self.block)
                found.append(SlideCell(cell.type, x + column * self.block, y + row * self.block, width, height,
                                       str(zone)))
        return tuple(found)

    @cached_property
    def _pixels(self) -> dict[int, dict[str, list[NDArray[np.uint8]]]]:
        """The blocks at each level."""
        return {by: {kind: [cv2.resize(field.pixels, (self.block // by,) * 2, interpolation=cv2.INTER_AREA)
                            .astype(np.uint8) for field in fields] for kind, fields in self.library.items()}
                for by in self.downsamples}

    def size(self, by: int) -> tuple[int, int]:
        """(width, height) in px of the level that is `by` times coarser."""
        return self.width // by, self.height // by

    def read(self, by: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """A window of a level; what lies beyond the slide is black."""
        side, window = self.block // by, np.zeros((height, width, 3), np.uint8)
        rows, columns = self.zones.shape
        for row in range(top // side, (top + height - 1) // side + 1):
            for column in range(left // side, (left + width - 1) // side + 1):
                inside = row < rows and column < columns
                block = self._block(by, row, column) if inside else self._pixels[by][GLASS][0]
                y0, x0 = max(row * side, top), max(column * side, left)
                y1, x1 = min((row + 1) * side, top + height), min((column + 1) * side, left + width)
                window[y0 - top:y1 - top, x0 - left:x1 - left] = block[
                    y0 - row * side:y1 - row * side, x0 - column * side:x1 - column * side]
        full_width, full_height = self.size(by)
        window[max(full_height - top, 0):], window[:, max(full_width - left, 0):] = 0, 0
        return window

    def tiles(self, by: int, side: int) -> Iterator[NDArray[np.uint8]]:
        """The tiles of a level, row by row."""
        width, height = self.size(by)
        for top in range(0, height, side):
            for left in range(0, width, side):
                yield self.read(by, left, top, side, side)

    def _block(self, by: int, row: int, column: int) -> NDArray[np.uint8]:
        zone, (number, turn) = str(self.zones[row, column]), self.chosen[row, column]
        if zone in (BLACK, WHITE):
            return np.full((self.block // by, self.block // by, 3), 0 if zone == BLACK else 255, np.uint8)
        return _turned(self._pixels[by][zone][number], int(turn))


def render_slide(width: int, height: int, *, seed: int = 0, micrometres_per_pixel: float = 0.25, block: int = 960,
                 variety: int = 8, white_cells: float = 0.05, subject: Subject | None = None,
                 unrecorded: int = 0) -> PhantomSlide:
    """A slide of `width` x `height` px. block: px of a rendered block, a multiple of 16. variety: blocks of the
    monolayer that differ. white_cells: leukocytes of the monolayer in 1,000 um2. unrecorded: blocks of the monolayer
    that are black, and as many that are white."""
    if block % max(_LEVELS) or min(width, height) < 5 * block:
        raise LeukoscopeError(f"a slide of {width} x {height} px of blocks of {block} px: expected a multiple of "
                              f"{max(_LEVELS)}, and five blocks a side", "choose other sizes")
    rng = np.random.default_rng([seed, 21])
    person = subject or Subject(camera=Camera(sharpening=0.3), optics=Optics(numerical_aperture=0.75))
    library = {kind: tuple(_rendered(kind, number, block, person, micrometres_per_pixel, white_cells, seed)
                           for number in range(variety if kind == MONOLAYER else 2))
               for kind in (GLASS, THICK, MONOLAYER, THIN, BLURRED)}
    zones = _zones(height // block, width // block, rng, unrecorded)
    chosen = np.stack([np.vectorize(lambda kind: rng.integers(len(library.get(str(kind), "1"))))(zones),
                       rng.integers(0, 8, zones.shape)], axis=-1)
    return PhantomSlide(width, height, micrometres_per_pixel, block, zones, chosen, library)


def _rendered(kind: str, number: int, block: int, person: Subject, scale: float, white_cells: float,
              seed: int) -> Field:
    """One block."""
    order = (GLASS, THICK, MONOLAYER, THIN, BLURRED).index(kind)
    seeds = (seed, 22, order, number)
    if kind == GLASS:
        bare = replace(person, red_cells=RedCells(density=0.0), platelets=0.0, debris=0.05)
        return render_field(block, block, seed=seeds, subject=bare, micrometres_per_pixel=scale, types={})
    optics = replace(person.optics, defocus=_DEFOCUS) if kind == BLURRED else person.optics
    own = replace(person, red_cells=_RED_CELLS[kind], optics=optics, focus_spread=0.0)
    return render_field(block, block, seed=seeds, subject=own, micrometres_per_pixel=scale,
                        white_cells=white_cells * _LEUKOCYTES[kind], margin=_MARGIN)


def _zones(rows: int, columns: int, rng: np.random.Generator, unrecorded: int) -> NDArray[np.str_]:
    """The kind of each block: a tongue, thick at its left end, thin at its right one, glass around it."""
    zones = np.full((rows, columns), GLASS, dtype="<U9")
    for row in range(rows):
        for column in range(columns):
            along, across = (column + 0.5) / columns, abs((row + 0.5) / rows - 0.5)
            wide = 0.42 if along < 0.75 else 0.42 * max(1 - ((along - 0.75) / 0.2) ** 2, 0) ** 0.5
            if 0.06 < along < 0.95 and across < wide:
                zones[row, column] = THICK if along < 0.3 else MONOLAYER if along < 0.78 else THIN
    places = [tuple(place) for place in np.argwhere(zones == MONOLAYER)]
    rng.shuffle(places)
    for number, (row, column) in enumerate(places[:2 * unrecorded + max(len(places) // 16, 1)]):
        zones[row, column] = BLACK if number < unrecorded else WHITE if number < 2 * unrecorded else BLURRED
    return zones


def _turned(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight turns of a square."""
    turned = np.rot90(pixels, turn % 4)
    return turned[:, ::-1] if turn >= 4 else turned


def _turned_box(box: tuple[int, int, int, int], turn: int, side: int) -> tuple[int, int, int, int]:
    """Where a box (x, y, width, height) lies after `_turned`."""
    x, y, width, height = box
    for _ in range(turn % 4):  # a quarter against the clock: (x, y) goes to (y, side - x)
        x, y, width, height = y, side - x - width, height, width
    return (side - x - width, y, width, height) if turn >= 4 else (x, y, width, height)
