"""Figures of robustness: accuracy over strength, corruption by corruption, and an example cell under each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..text import plain, short_names
from .common import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, axes_at, styled
from .metrics import dots_figure, percent_axis
from .svg import INK, SOFT

COLUMNS = 4
_WIDE, _HIGH, _LEFT, _GAP, _BETWEEN = 1.95, 1.35, 0.62, 0.36, 0.62  # inches
_SIDE, _NAME, _UNDER, _HEAD = 1.05, 1.75, 0.3, 0.3

Found = Mapping[str, Any]


def summary_figure(found: Found) -> Figure:
    """Mean accuracy over the strengths, the corruption that costs most on top; the line is the clean cells'."""
    order = list(found["order"])
    return dots_figure([found["corruptions"][name]["title"] for name in order],
                       [found["corruptions"][name]["mean_accuracy"] for name in order],
                       title="Accuracy, mean over five strengths", reference=found["clean"]["accuracy"]["value"],
                       xlabel="accuracy (dashed: the same cells as they are)")


@styled
def curves_figure(found: Found) -> Figure:
    """A panel a corruption: accuracy with its interval over strength, the clean level, the sides where there are two,
    and the share of cells that are unsure where it is known."""
    names = list(found["corruptions"])
    rows = -(-(len(names) + 1) // COLUMNS)  # one place for the legend
    figure = Figure(figsize=(_LEFT + COLUMNS * (_WIDE + _GAP), 0.5 + rows * (_HIGH + _BETWEEN)))
    top = figure.get_size_inches()[1] - 0.45
    low = _lowest(found)
    for place, name in enumerate([*names, ""]):
        row, column = divmod(place, COLUMNS)
        axes = axes_at(figure, _LEFT + column * (_WIDE + _GAP), top - row * (_HIGH + _BETWEEN) - _HIGH, _WIDE, _HIGH)
        if name:
            _panel(axes, found["clean"], found["corruptions"][name], low)
            axes.set_ylabel("share of the cells" if column == 0 else "")
            axes.tick_params(labelleft=column == 0)
            axes.set_xlabel("strength" if place + COLUMNS >= len(names) else "")
        else:
            _legend(axes, found)
    return figure


def _panel(axes: Axes, clean: Found, corruption: Found, low: float) -> None:
    rows = [clean, *corruption["strengths"]]
    at = np.arange(len(rows))
    axes.axhline(clean["accuracy"]["value"], color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    ends = {}
    for side, colour in zip(corruption["sides"], (GREEN, PURPLE), strict=False):
        values = [clean["accuracy"]["value"], *(row["sides"][side]["value"] for row in rows[1:])]
        axes.plot(at, [np.nan if v is None else v for v in values], color=colour, linewidth=1.1, zorder=2)
        if values[-1] is not None:
            ends[side] = (values[-1], colour)
    _name_ends(axes, ends, at[-1], (1.02 - low) * 0.085)
    if clean["unsure"] is not None:
        axes.plot(at, [row["unsure"] for row in rows], color=ORANGE, linewidth=1.2, linestyle=(0, (4, 1.6)), zorder=1)
    estimates = [row["accuracy"] for row in rows]
    if all(one["low"] is not None for one in estimates):
        axes.fill_between(at, [one["low"] for one in estimates], [one["high"] for one in estimates], color=BLUE,
                          alpha=0.18, linewidth=0)
    axes.plot(at, [one["value"] for one in estimates], "o-", color=BLUE, markersize=3.2, zorder=3)
    axes.set(xlim=(-0.25, len(rows) - 0.75), ylim=(low, 1.02))
    axes.set_xticks(at, ["clean", *(str(row["strength"]) for row in rows[1:])])
    axes.set_title(corruption["title"], loc="left", fontsize=9.5)
    axes.grid(True, axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(labelsize=7.5)
    percent_axis(None, axes, digits=0)


def _name_ends(axes: Axes, ends: Mapping[str, tuple[float, str]], x: float, least: float) -> None:
    """Names beside the last points of lines, moved apart where they would lie on each other."""
    ordered = sorted(ends, key=lambda side: ends[side][0])
    heights = [ends[side][0] for side in ordered]
    if len(heights) == 2 and heights[1] - heights[0] < least:
        middle = sum(heights) / 2
        heights = [middle - least / 2, middle + least / 2]
    for side, y in zip(ordered, heights, strict=True):
        axes.annotate(side, (x, y), (4, 0), textcoords="offset points", fontsize=6.5, color=ends[side][1], va="center",
                      annotation_clip=False)


def _lowest(found: Found) -> float:
    rows = [found["clean"], *(row for one in found["corruptions"].values() for row in one["strengths"])]
    values = [row["accuracy"]["low"] if row["accuracy"]["low"] is not None else row["accuracy"]["value"]
              for row in rows]
    values += [row["unsure"] for row in rows if row["unsure"] is not None]
    values += [side["value"] for row in rows for side in row["sides"].values() if side["value"] is not None]
    return max(0.0, np.floor(10 * (min(values) - 0.02)) / 10)


def _legend(axes: Axes, found: Found) -> None:
    axes.axis("off")
    axes.plot([], [], "o-", color=BLUE, markersize=3.2, label="accuracy, 95 % interval")
    axes.plot([], [], color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), label="accuracy, clean")
    axes.plot([], [], color=GREEN, linewidth=1.1, label="accuracy, one side")
    axes.plot([], [], color=PURPLE, linewidth=1.1, label="accuracy, the other side")
    if found["clean"]["unsure"] is not None:
        axes.plot([], [], color=ORANGE, linewidth=1.2, linestyle=(0, (4, 1.6)), label="unsure")
    axes.legend(loc="upper left", fontsize=8, borderaxespad=0)


@styled
def contact_sheet(found: Found, pictures: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """A row a corruption: the example cell, uint8 (h, w, 3), clean and at each strength; framed where its answer is
    wrong, which is then named."""
    columns = max(len(row) for row in pictures.values())
    step = _SIDE + _UNDER
    width, height = _NAME + columns * (_SIDE + 0.06) + 0.1, _HEAD + len(pictures) * step + 0.05
    figure = Figure(figsize=(width, height))
    for row, (name, cells) in enumerate(pictures.items()):
        told = found["corruptions"][name]
        bottom = height - _HEAD - (row + 1) * step + _UNDER
        figure.text(0.08 / width, (bottom + 0.62 * _SIDE) / height, told["title"], fontsize=9, weight="bold")
        figure.text(0.08 / width, (bottom + 0.62 * _SIDE - 0.1) / height, _wrapped(told["unit"]), fontsize=6.8,
                    color=SOFT, va="top", linespacing=1.35)
        for column, pixels in enumerate(cells):
            axes = axes_at(figure, _NAME + column * (_SIDE + 0.06), bottom, _SIDE, _SIDE)
            axes.imshow(pixels, interpolation="antialiased", aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
            state = told["strengths"][column - 1] if column else found["clean"]
            wrong = state["example"] != found["example"]["label"]
            axes.spines[:].set(visible=wrong, color=VERMILLION, linewidth=2.2)
            said = "clean" if not column else f"{state['value']:g}"
            axes.set_xlabel(f"{said}: {short_names((state['example'],), 16)[0]}" if wrong else said, fontsize=7,
                            labelpad=2, color=VERMILLION if wrong else INK)
    figure.text(_NAME / width, (height - 0.2) / height, f"{plain(found['example']['label'], 30)}, "
                f"{plain(found['example']['cell_id'], 50)}", fontsize=8, color=SOFT)
    return figure


def _wrapped(text: str, wide: int = 24) -> str:
    lines = [""]
    for word in text.split():
        lines += [word] if len(lines[-1]) + len(word) >= wide else []
        if lines[-1] != word:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
