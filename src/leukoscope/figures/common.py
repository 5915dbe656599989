"""What all figures share: colours that the colour-blind can distinguish, room for names, rows of dots, saving.

Figures are matplotlib `Figure` objects without pyplot state; `svg.svg` puts them into a page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypedDict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import FuncFormatter

from ..files import atomic_path
from ..stats.estimate import Estimate
from .svg import INK, SOFT, figure_style

BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
"""Okabe and Ito's palette without its yellow, which is too pale for lines on white."""
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#000000")
Dashes = str | tuple[float, tuple[float, ...]]
DASHES: tuple[Dashes, ...] = ("-", (0, (4, 1.6)), (0, (1.2, 1.4)))
NAME_LIMIT = 26
ROW = 0.2
"""Height in inches of a row of a legend."""
STEP = 0.27
"""Height in inches of a row of dots."""

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the common style, leaving matplotlib's settings as they were."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with figure_style():
            return draw(*args, **kwargs)

    return inside


class LineStyle(TypedDict):
    """Of a line, as matplotlib takes it."""

    color: str
    linestyle: Dashes


def line_style(index: int) -> LineStyle:
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


def blank_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes without lines whose coordinates are inches from their upper left corner."""
    axes = axes_at(figure, left, bottom, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes


def rows_figure(labels: Sequence[str], texts: Sequence[str], *, title: str, xlabel: str, wide: float,
                least: float = 0.0, step: float = STEP, below: float = 0.55, above: float = 0.4, head: float = 0.0,
                beside: float = 0.3) -> tuple[Figure, Axes]:
    """Axes with a row for each label and a text at the right of each row, for one dot a row.

    All sizes in inches. wide: width of the axes, more where the figure would be narrower than `least`; head: room
    between the axes and the title, part of `above`; beside: room for the texts beyond their own width.
    """
    left, right = text_width(labels, 8.5) + 0.22, text_width(texts, 8.5) + beside
    wide, height = max(wide, least - left - right), step * len(labels)
    figure = Figure(figsize=(left + wide + right, below + height + above))
    axes = axes_at(figure, left, below, wide, height)
    for y, text in enumerate(texts):
        axes.annotate(text, (1, y), (10, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                      va="center", fontsize=8.5, color=INK, annotation_clip=False)
    axes.set(xlabel=xlabel)
    axes.set_title(title, loc="left", x=-left / wide, y=1 + head / height)
    named_rows(axes, labels)
    return figure, axes


def named_rows(axes: Axes, labels: Sequence[str]) -> None:
    """A row for each label from the top down, and a grid for their values."""
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")


def draw_estimate(axes: Axes, y: float, estimate: Estimate, *, colour: str = BLUE, fill: str = "", scale: float = 1.0,
                  size: float = 5.5) -> None:
    """A value as a dot and its interval as a line, at the height `y`; nothing where there is no value."""
    if estimate.low is not None and estimate.high is not None:
        axes.plot([scale * estimate.low, scale * estimate.high], [y, y], color=colour, alpha=0.5, linewidth=3)
    if estimate.value is not None:
        axes.plot(scale * estimate.value, y, "o", color=colour, markerfacecolor=fill or colour, markersize=size,
                  clip_on=False, zorder=3)


def percent_axis(x: Axes | None, y: Axes | None, *, digits: int | None = None) -> None:
    """Tick labels in percent, with as many digits as the ticks need."""
    def label(value: float, _: object) -> str:
        return f"{100 * value:.{digits}f} %" if digits is not None else f"{round(100 * value, 6):g} %"

    for axis in ([x.xaxis] if x else []) + ([y.yaxis] if y else []):
        axis.set_major_formatter(FuncFormatter(label))


def span_of(estimates: Sequence[Estimate], more: Sequence[float | None], shares: bool) -> tuple[float, float]:
    """Limits of the axis: all dots and intervals, with a little room; shares end at 100 %."""
    ends = [value for own in estimates for value in (own.value, own.low, own.high) if value is not None]
    ends += [value for value in more if value is not None]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.02 * (abs(high) or 1)
    if not shares:
        return low - room, high + room
    step = 20 if high - low > 0.1 else 100
    return max(0.0, math.floor((low - room) * step) / step), 1.0 if high > 0.9 else min(1.0, high + room)


def legend_rows(figure: Figure, rows: Sequence[tuple[str, str, LineStyle]], *, head: str, left: float,
                top: float, width: float) -> None:
    """A legend as a small table: line, name, number at the right; `top` and all sizes in inches."""
    height = ROW * (len(rows) + 1)
    axes = blank_axes(figure, left, top - height, width, height)
    axes.text(width, 0.5 * ROW, head, ha="right", va="center", color=SOFT, fontsize=8)
    for i, (name, value, style) in enumerate(rows):
        y = (i + 1.5) * ROW
        axes.plot([0, 0.26], [y, y], **style)
        axes.text(0.36, y, name, va="center", fontsize=8.5)
        axes.text(width, y, value, ha="right", va="center", fontsize=8.5)


def save_png(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write the figure as a PNG on white, whole or not at all."""
    with figure_style(), atomic_path(path) as beside:
        figure.savefig(beside, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
