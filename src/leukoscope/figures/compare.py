"""Figures of a comparison: all figures as dots with intervals, ROC curves on one axis, differences, ranks, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..evaluate.compare import LEVEL
from ..evaluate.costs import pareto
from ..text import percent, short_names
from .common import BLUE, NAME_LIMIT, ROW, VERMILLION, axes_at, legend_rows, line_style, styled, text_width
from .metrics import percent_axis, span_of, with_interval
from .svg import INK, SOFT

PANEL, GAP, STEP = 2.35, 0.3, 0.27
COLUMNS = 3
SIDE = 3.5
GRID = np.linspace(0, 1, 501)
COSTS = (("parameters", "parameters, million", 1e6), ("operations", "operations an image, G", 1e9),
         ("prediction_ms", "prediction, ms an image", 1.0))


@styled
def metrics_sheet(names: Sequence[str], figures: Mapping[str, Sequence[Mapping[str, Any]]],
                  titles: Mapping[str, str], published: Mapping[str, Sequence[float | None]] | None = None) -> Figure:
    """A panel a figure, a row a kind: value and interval, all panels on one scale; the paper's as open diamonds."""
    published = published or {}
    labels = short_names(tuple(names), NAME_LIMIT)
    keys = list(figures)
    columns = min(COLUMNS, len(keys))
    rows = -(-len(keys) // columns)
    left, top, below = text_width(labels, 8.5) + 0.2, 0.36, 0.5
    height = STEP * len(labels)
    legend = 0.26 if published else 0.0
    figure = Figure(figsize=(left + columns * (PANEL + GAP), rows * (height + top + below) + legend))
    every = [estimate for found in figures.values() for estimate in found]
    low, high = span_of(every, [value for values in published.values() for value in values], True)
    for number, key in enumerate(keys):
        row, column = divmod(number, columns)
        bottom = (rows - row - 1) * (height + top + below) + below + legend
        axes = axes_at(figure, left + column * (PANEL + GAP), bottom, PANEL, height)
        _dots(axes, figures[key], published.get(key, ()))
        axes.set(xlim=(low, high), ylim=(len(labels) - 0.5, -0.5))
        axes.set_title(titles[key], loc="left")
        axes.set_yticks(range(len(labels)), labels if column == 0 else [""] * len(labels))
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(True, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        percent_axis(axes, None)
    if published:
        axes = axes_at(figure, left, 0.02, columns * (PANEL + GAP) - GAP, 0.2)
        axes.set(xlim=(0, columns * (PANEL + GAP) - GAP), ylim=(0, 1))
        axes.axis("off")
        axes.plot(0.08, 0.5, "o", color=BLUE, markersize=5)
        axes.text(0.2, 0.5, "ours, with its interval", va="center", fontsize=8.5)
        axes.plot(2.08, 0.5, "D", color=VERMILLION, markerfacecolor="white", markersize=5)
        axes.text(2.2, 0.5, "the paper’s, of its own images", va="center", fontsize=8.5)
    return figure


def _dots(axes: Axes, estimates: Sequence[Mapping[str, Any]], others: Sequence[float | None]) -> None:
    for y, estimate in enumerate(estimates):
        if estimate["value"] is None:
            continue
        if estimate["low"] is not None:
            axes.plot([estimate["low"], estimate["high"]], [y, y], color=BLUE, alpha=0.5, linewidth=3)
        axes.plot(estimate["value"], y, "o", color=BLUE, markersize=5, clip_on=False, zorder=3)
    for y, value in enumerate(others):
        if value is not None:
            axes.plot(value, y, "D", color=VERMILLION, markerfacecolor="white", markersize=4.5, clip_on=False, zorder=4)


@styled
def roc_of_all(names: Sequence[str], curves: Sequence[Sequence[Mapping[str, Any]]],
               areas: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """ROC curves of all kinds on one axis, and the area under each. curves: of each kind, one a training: {"fpr":
    [...], "tpr": [...]}; of several, the first is drawn full and the others thin."""
    labels = short_names(tuple(names), NAME_LIMIT)
    styles = [line_style(i) for i in range(len(labels))]
    below = ROW * (len(labels) + 1) + 0.08
    figure = Figure(figsize=(SIDE + 0.85, SIDE + 0.95 + below))
    axes = axes_at(figure, 0.65, below + 0.55, SIDE, SIDE)
    for own, style in zip(curves, styles, strict=True):
        for number, curve in enumerate(own):
            axes.plot(curve["fpr"], curve["tpr"], **style, linewidth=1.7 if number == 0 else 0.6,
                      alpha=1 if number == 0 else 0.6)
    axes.plot([0, 1], [0, 1], color="#b5bac4", linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    axes.set(xlim=(-0.005, 1.005), ylim=(-0.005, 1.01), xlabel="1 − specificity (false positive rate)",
             ylabel="sensitivity (true positive rate)")
    axes.set_title(title, loc="left")
    axes.grid(True)
    percent_axis(axes, axes, digits=0)
    rows = [(name, with_interval(area), style) for name, area, style in zip(labels, areas, styles, strict=True)]
    legend_rows(figure, rows, head="AUC (interval)", left=0.65, top=below, width=SIDE)
    return figure


def mean_curve(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """The mean over classes of their ROC curves, each against the rest, at equal false positive rates."""
    heights = [np.interp(GRID, curve["roc"]["fpr"], curve["roc"]["tpr"]) for curve in curves.values()]
    return {"fpr": GRID.tolist(), "tpr": np.mean(heights, axis=0).tolist()}


@styled
def differences_figure(rows: Sequence[tuple[str, Mapping[str, Any]]], *, title: str) -> Figure:
    """A row a pair: the difference in percentage points with its interval and corrected p value; full where it is
    below 0.05."""
    labels = [name for name, _ in rows]
    texts = [_p(test["holm"]) for _, test in rows]
    left, right = text_width(labels, 8.5) + 0.22, text_width(texts, 8.5) + 0.3
    width, height = left + right + 3.2, STEP * len(rows)
    figure = Figure(figsize=(width, height + 0.95))
    axes = axes_at(figure, left, 0.55, 3.2, height)
    for y, ((_, test), text) in enumerate(zip(rows, texts, strict=True)):
        found, real = test["difference"], test["holm"] is not None and test["holm"] < LEVEL
        colour = BLUE if real else SOFT
        if found["low"] is not None:
            axes.plot([100 * found["low"], 100 * found["high"]], [y, y], color=colour, alpha=0.5, linewidth=3)
        if found["value"] is not None:
            axes.plot(100 * found["value"], y, "o", color=colour, markerfacecolor=colour if real else "white",
                      markersize=5.5, zorder=3)
        axes.annotate(text, (1, y), (10, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                      va="center", fontsize=8.5, color=INK, annotation_clip=False)
    axes.axvline(0, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="percentage points")
    axes.set_title(title, loc="left", x=-left / 3.2)
    axes.set_yticks(range(len(rows)), labels)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    return figure


def _p(value: float | None) -> str:
    return "no test" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


@styled
def ranks_figure(names: Sequence[str], ranks: Sequence[Mapping[str, float]]) -> Figure:
    """A row a kind: its mean rank when cells and trainings are drawn again, the middle 95 % of the draws, and how
    often it is best."""
    labels = short_names(tuple(names), NAME_LIMIT)
    texts = [f"best in {percent(rank['best'], 0)}" for rank in ranks]
    left, right = text_width(labels, 8.5) + 0.22, text_width(texts, 8.5) + 0.3
    height = STEP * len(labels)
    figure = Figure(figsize=(left + right + 3.0, height + 0.95))
    axes = axes_at(figure, left, 0.55, 3.0, height)
    for y, (rank, text) in enumerate(zip(ranks, texts, strict=True)):
        axes.plot([rank["low"], rank["high"]], [y, y], color=BLUE, alpha=0.5, linewidth=3)
        axes.plot(rank["mean"], y, "o", color=BLUE, markersize=5.5, zorder=3, clip_on=False)
        axes.annotate(text, (1, y), (10, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                      va="center", fontsize=8.5, color=INK, annotation_clip=False)
    axes.set(xlim=(0.9, len(labels) + 0.1), ylim=(len(labels) - 0.5, -0.5), xlabel="rank by accuracy (1 is best)")
    axes.set_title("Ranks, when all is drawn again", loc="left", x=-left / 3.0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xticks(range(1, len(labels) + 1))
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    return figure


@styled
def critical_difference(names: Sequence[str], blocks: Mapping[str, Any]) -> Figure:
    """Mean ranks over folds and trainings on one line; a bar joins those that Nemenyi's test does not tell apart."""
    means, critical = np.array(blocks["mean_ranks"]), blocks["critical"]
    order = np.argsort(means, kind="stable")
    labels = short_names(tuple(names), NAME_LIMIT)
    groups = cliques(means[order], critical)
    half = (len(order) + 1) // 2
    margin = max(text_width(labels, 8.5) + 0.55, 1.4)
    width, line = 3.2, 0.62 + 0.13 * len(groups)
    height = 0.7 + line + 0.24 * half
    figure = Figure(figsize=(width + 2 * margin, height))
    axes = axes_at(figure, 0, 0, width + 2 * margin, height)
    axes.set(xlim=(0, width + 2 * margin), ylim=(height, 0))
    axes.axis("off")
    scale = width / max(len(order) - 1, 1)
    at = margin + (means - 1) * scale
    y = 0.62
    axes.plot([margin, margin + width], [y, y], color=INK, linewidth=1)
    for rank in range(1, len(order) + 1):
        x = margin + (rank - 1) * scale
        axes.plot([x, x], [y - 0.06, y], color=INK, linewidth=1)
        axes.text(x, y - 0.1, str(rank), ha="center", va="bottom", fontsize=8, color=SOFT)
    axes.plot([margin, margin + critical * scale], [0.18, 0.18], color=VERMILLION, linewidth=2)
    axes.text(margin + critical * scale + 0.08, 0.18, f"critical difference {critical:.2f}", va="center", fontsize=8)
    for place, i in enumerate(order):
        first = place < half
        depth = y + 0.2 + 0.13 * len(groups) + 0.24 * (place if first else len(order) - 1 - place)
        end = margin - 0.12 if first else margin + width + 0.12
        x = float(at[i])
        axes.plot([x, x, end], [y, depth, depth], color=SOFT, linewidth=0.9)
        axes.text(end + (-0.06 if first else 0.06), depth, f"{labels[i]}  {means[i]:.2f}",
                  ha="right" if first else "left", va="center", fontsize=8.5)
    for number, (first, last) in enumerate(groups):
        level = y + 0.1 + 0.13 * number
        axes.plot([at[order[first]] - 0.05, at[order[last]] + 0.05], [level, level], color=BLUE, linewidth=3.2,
                  solid_capstyle="round")
    return figure


def cliques(means: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """(first, last) of each longest run of sorted mean ranks of which no two are `critical` apart, of two or more."""
    ends = [(i, int(np.searchsorted(means, means[i] + critical, side="left")) - 1) for i in range(len(means))]
    longest = [(first, last) for first, last in ends if last > first]
    return [(first, last) for n, (first, last) in enumerate(longest) if n == 0 or last > longest[n - 1][1]]


@styled
def costs_figure(names: Sequence[str], accuracy: Sequence[Mapping[str, Any]],
                 costs: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy against what it costs, a panel a cost: full where no other kind is as right for less (the Pareto
    front), joined by a line."""
    shown = [cost for cost in COSTS if all(table[cost[0]] is not None for table in costs)]
    labels = short_names(tuple(names), NAME_LIMIT)
    styles = [line_style(i)["color"] for i in range(len(labels))]
    below = ROW * len(labels) + 0.15
    side, width = 2.1, 2.35
    figure = Figure(figsize=(0.65 + len(shown) * (width + 0.25), side + 0.9 + below))
    low, high = span_of(accuracy, [], True)
    for number, (key, label, unit) in enumerate(shown):
        axes = axes_at(figure, 0.65 + number * (width + 0.25), below + 0.5, width, side)
        spent = [table[key] / unit for table in costs]
        values = [estimate["value"] or 0.0 for estimate in accuracy]
        front = pareto(values, spent)
        on = sorted((x, y) for x, y, best in zip(spent, values, front, strict=True) if best)
        axes.plot([x for x, _ in on], [y for _, y in on], color="#b5bac4", drawstyle="steps-post", linewidth=1.2,
                  zorder=1)
        for x, estimate, best, colour in zip(spent, accuracy, front, styles, strict=True):
            if estimate["low"] is not None:
                axes.plot([x, x], [estimate["low"], estimate["high"]], color=colour, alpha=0.35, linewidth=2, zorder=2)
            axes.plot(x, estimate["value"], "o", color=colour, markerfacecolor=colour if best else "white",
                      markersize=6.5, zorder=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        room = 1.25
        axes.set(xlim=(min(spent) / room, max(spent) * room), ylim=(low, high), xlabel=label)
        axes.grid(True)
        percent_axis(None, axes)
        if number:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("accuracy")
            axes.set_title("Accuracy and its cost; full: on the Pareto front", loc="left")
    axes = axes_at(figure, 0.65, 0.02, 5.0, below)
    axes.set(xlim=(0, 5.0), ylim=(below, 0))
    axes.axis("off")
    for row, (name, colour) in enumerate(zip(labels, styles, strict=True)):
        axes.plot(0.08, (row + 0.5) * ROW, "o", color=colour, markersize=5.5)
        axes.text(0.22, (row + 0.5) * ROW, name, va="center", fontsize=8.5)
    return figure
