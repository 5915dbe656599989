"""What all figures share: colours that the colour-blind tell apart, room for names, saving.

Figures are matplotlib `Figure` objects without pyplot state; `pages.svg` puts them into a page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from ..files import atomic_path, write_text
from .svg import INK, LINE, SOFT, figure_style, svg_text

BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
"""Okabe and Ito's palette without its yellow, which is too pale for lines on white."""
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#000000")
DASHES = ("-", (0, (4, 1.6)), (0, (1.2, 1.4)))
NAME_LIMIT = 26
ROW = 0.2
"""Height in inches of a row of a legend."""

Estimate = Mapping[str, Any]
P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the common style, leaving matplotlib's settings as they were."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with figure_style():
            return draw(*args, **kwargs)

    return inside


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of the `index`-th of up to 21 lines, no two alike."""
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": DASHES[index // len(PALETTE) % len(DASHES)]}


def text_width(texts: Sequence[str], size: float) -> float:
    """Width in inches of the widest text at `size` points, in the font that figures are measured with."""
    font, measure = FontProperties(family="DejaVu Sans", size=size), TextToPath()
    with figure_style():
        return max((measure.get_text_width_height_descent(t, font, ismath=False)[0] for t in texts), default=0.0) / 72


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the lower left corner."""
    full_width, full_height = figure.get_size_inches()
    return figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))


def legend_rows(figure: Figure, rows: Sequence[tuple[str, str, Mapping[str, Any]]], *, head: str, left: float,
                top: float, width: float, step: float = ROW) -> None:
    """A legend as a small table: line, name, number at the right; `top` and all sizes in inches."""
    height = step * (len(rows) + 1)
    axes = axes_at(figure, left, top - height, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(width, 0.5 * step, head, ha="right", va="center", color=SOFT, fontsize=8)
    for i, (name, value, style) in enumerate(rows):
        y = (i + 1.5) * step
        axes.plot([0, 0.26], [y, y], **style)
        axes.text(0.36, y, name, va="center", fontsize=8.5)
        axes.text(width, y, value, ha="right", va="center", fontsize=8.5)


def save_svg(figure: Figure, path: Path) -> None:
    """Write the figure as an SVG file, whole or not at all."""
    write_text(path, svg_text(figure))


def save_png(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write the figure as a PNG on white, whole or not at all."""
    with figure_style(), atomic_path(path) as beside:
        figure.savefig(beside, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})


__all__ = [
    "BLUE", "GREEN", "INK", "LINE", "NAME_LIMIT", "ORANGE", "PALETTE", "PURPLE", "ROW", "SKY", "SOFT", "VERMILLION",
    "Estimate", "axes_at", "legend_rows", "line_style", "save_png", "save_svg", "styled", "text_width",
]
