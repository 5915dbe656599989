"""The map of a slide: which squares were looked at and what the others show, how densely leukocytes lie, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup, escape
from PIL import Image, ImageDraw

from ..slides.monolayer import BLURRED, DAMAGED, GLASS, MISSING, MONOLAYER, THICK, THIN
from .svg import image_uri

KINDS = {MONOLAYER: "#009e73", THICK: "#8c2d04", THIN: "#f0b400", BLURRED: "#6a3d9a", MISSING: "#000000",
         DAMAGED: "#e6004c"}
"""Colours of squares in the map. Glass has none."""


@dataclass(frozen=True)
class MapSquare:
    """A square in px of the slide, its kind, whether it was looked at, and leukocytes to the mm2 (None where it was
    not)."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    looked: bool
    per_mm2: float | None


@dataclass(frozen=True)
class MapCell:
    """A cell in px of the slide, and the colour of its type."""

    x: float
    y: float
    colour: str


def slide_map(picture: UInt8[np.ndarray, "rows columns 3"], size: tuple[int, int], squares: Sequence[MapSquare],
              cells: Sequence[MapCell]) -> Markup:
    """The picture of a slide of `size` (width, height) px as SVG, with its squares and cells over it. Squares that were
    looked at are outlined, and the darker the more leukocytes they hold."""
    width, height = size
    most = max((square.per_mm2 or 0.0 for square in squares), default=0.0) or 1.0
    line = max(size) / 700
    shapes = [_square(square, most, line) for square in squares if square.kind != GLASS]
    dots = Markup("").join(Markup('<circle cx="{:.0f}" cy="{:.0f}" r="{:.0f}" fill="{}"/>').format(
        cell.x, cell.y, 2.2 * line, cell.colour) for cell in cells)
    return Markup(
        '<svg class="field slide" viewBox="0 0 {0} {1}" role="img" aria-label="{2}"><image href="{3}" width="{0}" '
        'height="{1}" preserveAspectRatio="none"/><g class="squares">{4}</g><g class="dots" stroke="#fff" '
        'stroke-width="{5:.1f}">{6}</g></svg>').format(
            width, height, escape("map of the slide"), image_uri(picture), Markup("").join(shapes), 0.5 * line, dots)


def _square(square: MapSquare, most: float, line: float) -> Markup:
    dense = square.per_mm2 or 0.0
    said = f"{square.kind}, {dense:,.0f} leukocytes/mm²" if square.looked else f"{square.kind}, not counted"
    colour, fill = (KINDS[MONOLAYER], 0.06 + 0.44 * dense / most) if square.looked else (KINDS[square.kind], 0.22)
    edge = Markup(' stroke="#00563f" stroke-width="{:.1f}"').format(line) if square.looked else ""
    if square.kind == MONOLAYER and not square.looked:
        fill = 0.0
        edge = Markup(' stroke="#009e73" stroke-width="{:.1f}" stroke-dasharray="{:.0f}"').format(0.7 * line, 4 * line)
    shape = '<rect x="{}" y="{}" width="{}" height="{}" fill="{}" fill-opacity="{:.2f}"{}><title>{}</title></rect>'
    return Markup(shape).format(square.x, square.y, square.width, square.height, colour, fill, edge, said)


def marked_slide(picture: UInt8[np.ndarray, "rows columns 3"], size: tuple[int, int], squares: Sequence[MapSquare],
                 cells: Sequence[MapCell]) -> Image.Image:
    """The same as a picture: squares that were looked at outlined, cells as dots."""
    image = Image.fromarray(picture)
    draw, by = ImageDraw.Draw(image), image.width / size[0]
    for square in squares:
        if square.looked:
            draw.rectangle((square.x * by, square.y * by, (square.x + square.width) * by,
                            (square.y + square.height) * by), outline=KINDS[MONOLAYER], width=2)
    for cell in cells:
        x, y = cell.x * by, cell.y * by
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=cell.colour, outline="white")
    return image


def key(counts: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """(kind, colour, squares) of the kinds that the map shows."""
    return [(kind, colour, counts[kind]) for kind, colour in KINDS.items() if counts.get(kind)]
