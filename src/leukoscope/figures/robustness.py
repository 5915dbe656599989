"""Figures of robustness: accuracy over strength, corruption by corruption, and an example cell under each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import JsonObject
from ..runs.results import json_view
from ..runs.robustness import Condition, Corruption, Robustness
from ..text import plain, type_name
from .common import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, axes_at, percent_axis, styled
from .metrics import dots_figure
from .svg import INK, SOFT

COLUMNS = 4
_WIDE, _HIGH, _LEFT, _GAP, _BETWEEN = 1.95, 1.35, 0.62, 0.36, 0.62  # inches
_SIDE, _NAME, _UNDER, _HEAD = 1.05, 1.75, 0.3, 0.3


def summary_figure(robustness: Robustness) -> Figure:
    """Mean accuracy over the strengths, the worst corruption on top; the line is the accuracy of the clean cells."""
    return dots_figure([own.title for own in robustness.ordered], [own.mean_accuracy for own in robustness.ordered],
                       title="Accuracy, mean over five strengths", reference=robustness.clean.accuracy.value,
                       xlabel="accuracy (dashed: the same cells, clean)")


@styled
def curves_figure(robustness: Robustness) -> Figure:
    """A panel a corruption: accuracy with its interval over strength, the clean level, the sides where there are two,
    and the share of cells that are unsure where it is known."""
    panels = list(robustness.corruptions.values())
    rows = -(-(len(panels) + 1) // COLUMNS)  # one place for the legend
    figure = Figure(figsize=(_LEFT + COLUMNS * (_WIDE + _GAP), 0.5 + rows * (_HIGH + _BETWEEN)))
    top = figure.get_size_inches()[1] - 0.45
    low = _lowest([robustness.clean, *(condition for own in panels for condition in own.strengths)])
    for place in range(len(panels) + 1):
        row, column = divmod(place, COLUMNS)
        axes = axes_at(figure, _LEFT + column * (_WIDE + _GAP), top - row * (_HIGH + _BETWEEN) - _HIGH, _WIDE, _HIGH)
        if place == len(panels):
            _legend(axes, unsure=robustness.clean.unsure is not None)
            break
        _panel(axes, robustness.clean, panels[place], low)
        axes.set_ylabel("share of the cells" if column == 0 else "")
        axes.tick_params(labelleft=column == 0)
        axes.set_xlabel("strength" if place + COLUMNS >= len(panels) else "")
    return figure


def _panel(axes: Axes, clean: Condition, corruption: Corruption, low: float) -> None:
    conditions = [clean, *corruption.strengths]
    at = np.arange(len(conditions))
    value, least, most = np.array(
        [(own.accuracy.value, own.accuracy.low, own.accuracy.high) for own in conditions], float).T
    axes.axhline(value[0], color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    ends = []
    for side, colour in zip(corruption.sides, (GREEN, PURPLE), strict=False):
        own = np.array([value[0], *(condition.sides[side].value for condition in corruption.strengths)], float)
        axes.plot(at, own, color=colour, linewidth=1.1, zorder=2)
        ends += [(float(own[-1]), side, colour)] if np.isfinite(own[-1]) else []
    _name_ends(axes, sorted(ends), at[-1], (1.02 - low) * 0.085)
    if clean.unsure is not None:
        axes.plot(at, np.array([own.unsure for own in conditions], float), color=ORANGE, linewidth=1.2,
                  linestyle=(0, (4, 1.6)), zorder=1)
    if np.isfinite(least).all():
        axes.fill_between(at, least, most, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(at, value, "o-", color=BLUE, markersize=3.2, zorder=3)
    axes.set(xlim=(-0.25, len(conditions) - 0.75), ylim=(low, 1.02))
    axes.set_xticks(at, ["clean", *(str(own.strength) for own in corruption.strengths)])
    axes.set_title(corruption.title, loc="left", fontsize=9.5)
    axes.grid(True, axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(labelsize=7.5)
    percent_axis(None, axes, digits=0)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], x: float, least: float) -> None:
    """Names beside the last points (height, name, colour) of lines, moved apart where they would overlap."""
    heights = [height for height, _, _ in ends]
    if len(heights) == 2 and heights[1] - heights[0] < least:
        middle = sum(heights) / 2
        heights = [middle - least / 2, middle + least / 2]
    for (_, side, colour), y in zip(ends, heights, strict=True):
        axes.annotate(side, (x, y), (4, 0), textcoords="offset points", fontsize=6.5, color=colour, va="center",
                      annotation_clip=False)


def _lowest(conditions: Sequence[Condition]) -> float:
    """Where the axis begins: a tenth below everything that is drawn."""
    drawn = [own.accuracy.value if own.accuracy.low is None else own.accuracy.low for own in conditions]
    drawn += [own.unsure for own in conditions] + [side.value for own in conditions for side in own.sides.values()]
    return max(0.0, np.floor(10 * (min(value for value in drawn if value is not None) - 0.02)) / 10)


def _legend(axes: Axes, *, unsure: bool) -> None:
    axes.axis("off")
    axes.plot([], [], "o-", color=BLUE, markersize=3.2, label="accuracy, 95 % CI")
    axes.plot([], [], color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), label="accuracy, clean")
    axes.plot([], [], color=GREEN, linewidth=1.1, label="accuracy, one side")
    axes.plot([], [], color=PURPLE, linewidth=1.1, label="accuracy, the other side")
    if unsure:
        axes.plot([], [], color=ORANGE, linewidth=1.2, linestyle=(0, (4, 1.6)), label="unsure")
    axes.legend(loc="upper left", fontsize=8, borderaxespad=0)


@styled
def contact_sheet(table: JsonObject, pictures: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """A row a corruption: the example cell, uint8 (h, w, 3), clean and at each strength; framed where its answer is
    wrong, with the wrong class. table: what shift.json holds."""
    robustness = json_view(Robustness, table, Path("shift.json"))
    columns = max(len(row) for row in pictures.values())
    width, height = _NAME + columns * (_SIDE + 0.06) + 0.1, _HEAD + len(pictures) * (_SIDE + _UNDER) + 0.05
    figure = Figure(figsize=(width, height))
    for row, (name, cells) in enumerate(pictures.items(), start=1):
        own = robustness.corruptions[name]
        bottom = height - _HEAD - row * (_SIDE + _UNDER) + _UNDER
        figure.text(0.08 / width, (bottom + 0.62 * _SIDE) / height, own.title, fontsize=9, weight="bold")
        figure.text(0.08 / width, (bottom + 0.62 * _SIDE - 0.1) / height, fill(own.unit, 24), fontsize=6.8,
                    color=SOFT, va="top", linespacing=1.35)
        for column, (pixels, condition) in enumerate(zip(cells, (robustness.clean, *own.strengths), strict=False)):
            axes = axes_at(figure, _NAME + column * (_SIDE + 0.06), bottom, _SIDE, _SIDE)
            axes.imshow(pixels, interpolation="antialiased", aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
            wrong = condition.example != robustness.example.label
            axes.spines[:].set(visible=wrong, color=VERMILLION, linewidth=2.2)
            said = "clean" if condition.value is None else f"{condition.value:g}"
            said += f": {plain(type_name(condition.example, 16))}" if wrong else ""
            axes.set_xlabel(said, fontsize=7, labelpad=2, color=VERMILLION if wrong else INK)
    figure.text(_NAME / width, (height - 0.2) / height, f"{plain(type_name(robustness.example.label, 30))}, "
                f"{plain(robustness.example.cell_id, 50)}", fontsize=8, color=SOFT)
    return figure
