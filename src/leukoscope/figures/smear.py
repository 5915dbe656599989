"""Pictures of fields with outlines, colours of types, and the differential as dots with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from ..smear.field import FoundField
from ..smear.formats import UNTYPED, outlines
from ..smear.source import FieldSource
from ..text import percent, plural, short_names
from .common import NAME_LIMIT, axes_at, styled, text_width
from .metrics import percent_axis
from .svg import INK

CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#f0b400", "#56b4e9", "#7a2e00", "#6a3d9a", "#7f7f00",
                 "#e6004c", "#00606b", "#5d6472")
"""Of outlines, type by type. On a stained smear, so none is pink; after the twelfth they begin anew."""
LARGEST = 6000
"""px: the longest side of an annotated picture."""
_STEP, _WIDTH = 0.27, 2.6  # inches


def colours_of(classes: Sequence[str]) -> dict[str, str]:
    """Class -> "#rrggbb"; cells without a type are green."""
    return {UNTYPED: "#009e73"} | {name: CLASS_COLOURS[i % len(CLASS_COLOURS)] for i, name in enumerate(classes)}


def marked(row: Mapping[str, Any]) -> str:
    """A cell's number, with an exclamation mark where it is flagged."""
    return f"{row['number']}{'!' if row['flag'] else ''}"


def reduced(field: FieldSource, longest: int) -> UInt8[np.ndarray, "height width 3"]:
    """The field's pixels, shrunk until its longer side has at most `longest` px; read in strips."""
    by = max(field.width, field.height) / longest
    if by <= 1:
        return field.read(0, 0, field.width, field.height)
    width, height = max(round(field.width / by), 1), max(round(field.height / by), 1)
    strips = []
    edges = np.linspace(0, height, max(1, -(-height // 256)) + 1).round().astype(int)
    for top, bottom in pairwise(edges.tolist()):
        first, last = round(top * field.height / height), round(bottom * field.height / height)
        strip = field.read(0, first, field.width, last - first)
        strips.append(cv2.resize(strip, (width, bottom - top), interpolation=cv2.INTER_AREA))
    return np.concatenate(strips).astype(np.uint8)


def annotated(field: FieldSource, found: FoundField, rows: Sequence[Mapping[str, Any]],
              colours: Mapping[str, str]) -> Image.Image:
    """The field with the outline of every cell in the colour of its type, white around it, and its number (see
    `marked`). Outlines of cells that a border cuts are thin. At most 6,000 px wide or high."""
    picture = Image.fromarray(reduced(field, LARGEST))
    zoom = picture.width / field.width
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(picture.size) / 500))
    font = ImageFont.load_default(max(12, round(max(picture.size) / 45)))
    for cell, row in zip(found.cells, rows, strict=True):
        colour = colours[row["predicted"] or UNTYPED]
        for rings in outlines(cell.cell, cell.x, cell.y):
            ring = [(float(x) * zoom, float(y) * zoom) for x, y in rings[0]]
            ring.append(ring[0])
            width = max(line // 2, 1) if cell.cut else line
            draw.line(ring, fill="white", width=width + 2, joint="curve")
            draw.line(ring, fill=colour, width=width, joint="curve")
        draw.text(((cell.centre[0] + 0.5) * zoom, (cell.centre[1] + 0.5) * zoom), marked(row), fill="black",
                  font=font, anchor="mm", stroke_width=2, stroke_fill="white")
    return picture


@styled
def differential_figure(types: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> Figure:
    """A row a type of leukocyte: its share and interval in its colour, and how many cells that is. types: as in
    summary.json, with a share that is known."""
    labels = short_names([one["name"] for one in types], NAME_LIMIT)
    texts = [f"{plural(one['cells'], 'cell')}, {percent(one['share']['value'])}" for one in types]
    left, right = text_width(labels, 8.5) + 0.28, text_width(texts, 8.5) + 0.3
    height = _STEP * len(labels)
    figure = Figure(figsize=(left + right + _WIDTH, height + 0.95))
    axes = axes_at(figure, left, 0.55, _WIDTH, height)
    for y, (one, text) in enumerate(zip(types, texts, strict=True)):
        share, colour = one["share"], colours[one["name"]]
        axes.plot([share["low"], share["high"]], [y, y], color=colour, alpha=0.5, linewidth=3)
        axes.plot(share["value"], y, "o", color=colour, markersize=5.5, zorder=3, clip_on=False)
        axes.annotate(text, (1, y), (10, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                      va="center", fontsize=8.5, color=INK, annotation_clip=False)
    axes.set(xlim=(0, min(1.0, 1.05 * max(one["share"]["high"] for one in types))), ylim=(len(labels) - 0.5, -0.5),
             xlabel="share of the leukocytes that are counted")
    axes.set_title("Differential, with 95 % intervals", loc="left", x=-left / _WIDTH)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0, pad=9, labelcolor=INK)  # a dot at 0 is half outside
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    percent_axis(axes, None)
    return figure
