"""The squares of a slide by what they show: the monolayer, where red cells lie beside each other and are sharp, and
what is left out: glass, too thin, too thick, out of focus, not recorded.

Measured at about a micrometre a pixel; sharpness at the finest level, in four parts of a square. Finds no leukocytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from ..errors import ImageError
from ..images.stain import optical_density, white_point
from ..progress import OnProgress
from ..smear.focus import width_of_edges
from .grid import Squares
from .slide import Slide
from .tissue import Tissue

MONOLAYER, THICK, THIN, BLURRED, GLASS, MISSING, DAMAGED = (
    "monolayer", "thick", "thin", "out of focus", "glass", "not recorded", "damaged")
KINDS = (MONOLAYER, THICK, THIN, BLURRED, MISSING, DAMAGED, GLASS)
COVER = 0.15, 0.8
"""Share of a square under cells, below which it is thin (the feathered edge), and above which it is thick."""
OVERLAP = 0.25
"""Share of what is covered where cells lie on each other, above which a square is thick."""
FOCUS = 1.6
"""Times the width of the edges of cells in the sharper half of the slide, above which a square is out of focus."""
SOFT = 2.2
"""um: edges wider than this in all squares, and the whole slide is said to be out of focus."""

_COARSE = 1.0  # um a pixel
_ANY = 0.03  # green density that is more than glass
_FLAT = 0.1  # share of a square that is black or of a white that nothing else has
_CLIPPED = 250.0  # grey level of glass that is as white as what was not recorded
_PATCH = 64.0  # um: side of the parts in which sharpness is measured
_ROW = 8  # squares that are read at once


@dataclass(frozen=True)
class Square:
    """What a square shows. kind: one of KINDS. cover: share under cells. overlap: share of that where cells lie on each
    other. edge: um, how wide the edges of cells are; None where that was not measured."""

    row: int
    column: int
    kind: str
    cover: float
    overlap: float
    edge: float | None


@dataclass(frozen=True, eq=False)
class _Measured:
    """A square before it is judged. density: of green at a micrometre a pixel, where something was recorded. flat: the
    share that is black or pure white; None where it cannot be read."""

    row: int
    column: int
    density: Float32[np.ndarray, " pixels"]
    flat: float | None


def measure_squares(slide: Slide, squares: Squares, tissue: Tissue, *,
                    on_progress: OnProgress | None = None) -> list[Square]:
    """Every square in which something of the smear lies, row by row."""
    white = _white(slide, squares, tissue)
    looked = list(_looks(slide, squares, tissue, white, on_progress))
    single = _one_layer(looked)
    result = []
    for it in looked:
        covered = it.density > 0.5 * single
        cover = float(covered.mean()) if len(it.density) else 0.0
        over = float((it.density[covered] > 1.6 * single).mean()) if covered.any() else 0.0
        result.append(Square(it.row, it.column, _kind(it.flat, cover, over), cover, over, None))
    return _focused(slide, squares, result, white, single)


def too_soft(squares: list[Square]) -> float | None:
    """The usual width of edges in the monolayer, um, if all of it is out of focus; else None."""
    edges = [square.edge for square in squares if square.kind == MONOLAYER and square.edge is not None]
    usual = float(np.median(edges)) if edges else 0.0
    return usual if usual > SOFT else None


def _kind(flat: float | None, cover: float, overlap: float) -> str:
    if flat is None:
        return DAMAGED
    if flat > _FLAT:
        return MISSING
    if cover < 0.01:
        return GLASS
    if cover < COVER[0]:
        return THIN
    return THICK if cover > COVER[1] or overlap > OVERLAP else MONOLAYER


def _looks(slide: Slide, squares: Squares, tissue: Tissue, white: NDArray[np.float64],
           on_progress: OnProgress | None) -> Iterator[_Measured]:
    for row in range(squares.rows):
        for first in range(0, squares.columns, _ROW):
            columns = [column for column in range(first, min(first + _ROW, squares.columns))
                       if tissue.covers(squares.window(row, column)) > 0 or _dark(tissue, squares, row, column)]
            try:
                yield from _measured(slide, squares, row, columns, white) if columns else ()
            except ImageError:  # of a damaged tile: one by one, the others can be read
                for column in columns:
                    yield _alone(slide, squares, row, column, white)
        if on_progress is not None:
            on_progress(row + 1, squares.rows)


def _dark(tissue: Tissue, squares: Squares, row: int, column: int) -> bool:
    """Whether some of a square is black in the small picture: not recorded."""
    left, top, width, height = (int(value / tissue.by) for value in squares.window(row, column))
    return bool((tissue.picture[top:top + height + 1, left:left + width + 1].max(axis=2) <= 4).any())


def _measured(slide: Slide, squares: Squares, row: int, columns: list[int],
              white: NDArray[np.float64]) -> Iterator[_Measured]:
    """Neighbouring squares of a row, read together."""
    left, top, width, height = squares.window(row, columns[0], 1, columns[-1] - columns[0] + 1)
    pixels, by = _coarse(slide, (left, top, width, height), squares.scale)
    for column in columns:
        x, _, wide, _ = squares.window(row, column)
        part = pixels[:, round((x - left) / by):max(round((x + wide - left) / by), round((x - left) / by) + 1)]
        flat = (part.max(axis=2) <= 4) | (part.min(axis=2) == 255)
        unlike = flat.mean() if white.min() < _CLIPPED else (part.max(axis=2) <= 4).mean()
        yield _Measured(row, column, optical_density(part, white)[..., 1][~flat], float(unlike))


def _alone(slide: Slide, squares: Squares, row: int, column: int, white: NDArray[np.float64]) -> _Measured:
    """One square, which may be damaged."""
    try:
        return next(_measured(slide, squares, row, [column], white))
    except ImageError:
        return _Measured(row, column, np.empty(0, np.float32), None)


def _coarse(slide: Slide, window: tuple[int, int, int, int], scale: float) -> tuple[UInt8[np.ndarray, "rows columns 3"],
                                                                                  float]:
    """A window at about a micrometre a pixel, and how many px of the slide make one of it."""
    level = slide.level_for(max(_COARSE / scale, 1.0))
    it = slide.facts.levels[level]
    left, top = (int(value / it.downsample) for value in window[:2])
    width, height = (max(int(value / it.downsample), 1) for value in window[2:])
    pixels = slide.read(left, top, min(width, it.width - left), min(height, it.height - top), level=level)
    more = max(round(_COARSE / (scale * it.downsample)), 1)
    if more > 1:
        size = max(pixels.shape[1] // more, 1), max(pixels.shape[0] // more, 1)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return pixels, window[2] / pixels.shape[1]


def _white(slide: Slide, squares: Squares, tissue: Tissue) -> NDArray[np.float64]:
    """RGB between the cells, of some squares of the smear that are not its thickest."""
    covered = [(row, column) for row in range(squares.rows) for column in range(squares.columns)
               if tissue.covers(squares.window(row, column)) > 0.5]
    some = covered[::max(len(covered) // 24, 1)]
    points = []
    for row, column in some:
        try:
            pixels, _ = _coarse(slide, squares.window(row, column), squares.scale)
        except ImageError:  # of a damaged tile: others are whole
            continue
        seen = pixels[(pixels.max(axis=2) > 4) & (pixels.min(axis=2) < 255)]
        if len(seen) > 100:
            points.append(white_point(seen[None]))
    if not points:
        return white_point(tissue.picture)
    brightest = sorted(points, key=lambda point: -point[1])[:max(len(points) // 2, 1)]
    return np.median(brightest, axis=0)


def _one_layer(looked: list[_Measured]) -> float:
    """The usual green density of a single red cell: of what is covered where neither much nor little is."""
    layers, everything = [], []
    for it in looked:
        covered = it.density[it.density > _ANY]
        cover = len(covered) / max(len(it.density), 1)
        if it.flat is not None and it.flat <= _FLAT and len(covered) > 50:
            everything.append(float(np.median(covered)))
            if 0.1 < cover < 0.7:
                layers.append(float(np.median(covered)))
    return float(np.median(layers or everything or [0.1]))


def _focused(slide: Slide, squares: Squares, measured: list[Square], white: NDArray[np.float64],
             single: float) -> list[Square]:
    """The same, with the width of edges in the monolayer; what is much softer than the rest is out of focus."""
    edges: dict[tuple[int, int], float | None] = {}
    damaged = set()
    for it in measured:
        if it.kind == MONOLAYER:
            try:
                edges[it.row, it.column] = _edge(slide, squares, it, white, single)
            except ImageError:
                damaged.add((it.row, it.column))
    known = [edge for edge in edges.values() if edge is not None]
    sharp = float(np.median(sorted(known)[:max(len(known) // 2, 1)])) if known else 0.0
    result = []
    for it in measured:
        edge = edges.get((it.row, it.column))
        soft = it.kind == MONOLAYER and (edge is None or edge > FOCUS * sharp)
        kind = DAMAGED if (it.row, it.column) in damaged else BLURRED if soft else it.kind
        result.append(Square(it.row, it.column, kind, it.cover, it.overlap, edge))
    return result


def _edge(slide: Slide, squares: Squares, square: Square, white: NDArray[np.float64], single: float) -> float | None:
    """um: how wide the edges of cells are in the softest of four parts of a square; None where no part has enough."""
    left, top, width, height = squares.window(square.row, square.column)
    side = round(_PATCH / squares.scale)
    wide, high = min(side, width), min(side, height)
    edges = []
    for x in (left + width // 4, left + 3 * width // 4):
        for y in (top + height // 4, top + 3 * height // 4):
            x0 = min(max(x - wide // 2, left), left + width - wide)
            y0 = min(max(y - high // 2, top), top + height - high)
            edges.append(width_of_edges(optical_density(slide.read(x0, y0, wide, high), white)[..., 1],
                                         single, squares.scale))
    return max((edge for edge in edges if edge is not None), default=None)
