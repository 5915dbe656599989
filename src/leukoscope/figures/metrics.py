"""The figures of an evaluation, from the tables of `metrics.json`.

Every function returns a matplotlib Figure with title, axis labels and units. What training and feature maps look
like is in `training.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from ..text import count, number, percent, short_names
from .common import (
    BLUE,
    NAME_LIMIT,
    ROW,
    VERMILLION,
    Estimate,
    axes_at,
    legend_rows,
    line_style,
    save_png,
    save_svg,
    styled,
    text_width,
)
from .svg import INK, LINE, SOFT
from .training import feature_map_sheet, training_figure

__all__ = ["confusion_figure", "dots_figure", "feature_map_sheet", "precision_recall_figure", "reliability_figure",
           "roc_figure", "save_png", "save_svg", "shown_classes", "training_figure"]

SHARE = LinearSegmentedColormap.from_list("share", ["#ffffff", "#d3e5f2", "#7fb5d8", "#2b82bb", "#0a4f80"])
WIDTH = 4.6
"""Width in inches of a figure that stands two to a row on a desk and one to a row on a phone."""
MARGIN = 0.22
"""Inches right of the axes, for the half of the last tick's label that stands out."""


@styled
def confusion_figure(
    classes: Sequence[str], matrix: Sequence[Sequence[int]], *, title: str = "Confusion matrix", unit: str = "cells",
) -> Figure:
    """Counts, and the percentage of each true class, as colour and numbers. matrix: rows true, columns predicted."""
    cells = np.asarray(matrix, dtype=float)
    n = len(classes)
    totals = cells.sum(axis=1)
    share = np.divide(cells, totals[:, None], out=np.zeros_like(cells), where=totals[:, None] > 0)
    names = short_names(tuple(classes), NAME_LIMIT)
    rows = [f"{name}  ({count(total)})" for name, total in zip(names, totals, strict=True)]
    side = max(0.5, min(0.8, 3.7 / n), text_width([count(cells.max(initial=0))], 7) + 0.1)
    turned = text_width(names, 8.5) > side - 0.03
    left = text_width(rows, 8.5) + 0.42
    bottom = (0.75 * text_width(names, 8.5) + 0.55) if turned else 0.62
    # Turned names reach to the left of the first column.
    left = max(left, 0.75 * text_width(names[:1], 8.5) + 0.2) if turned else left
    figure = Figure(figsize=(left + n * side + 0.15, bottom + n * side + 0.42))
    axes = axes_at(figure, left, bottom, n * side, n * side)
    axes.pcolormesh(share, cmap=SHARE, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    axes.set(xlim=(0, n), ylim=(n, 0), xlabel="predicted class", ylabel=f"true class ({unit})")
    axes.set_title(title, loc="left", x=-left / (n * side))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(n) + 0.5, names)
    if turned:
        axes.tick_params(axis="x", labelrotation=45)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(n) + 0.5, rows)
    for i in range(n):
        for j in range(n):
            _confusion_cell(axes, i, j, int(cells[i, j]), float(share[i, j]))
    return figure


def _confusion_cell(axes: Axes, row: int, column: int, cells: int, share: float) -> None:
    if not cells:
        axes.text(column + 0.5, row + 0.5, "0", ha="center", va="center", fontsize=8, color="#b5bac4")
        return
    colour = "white" if share > 0.55 else INK
    axes.text(column + 0.5, row + 0.4, percent(share, unit=False), ha="center", va="center", color=colour,
              fontsize=9, fontweight="bold" if row == column else "normal")
    axes.text(column + 0.5, row + 0.72, count(cells), ha="center", va="center", color=colour, fontsize=7)


def shown_classes(metrics: Mapping[str, Any]) -> list[str]:
    """The classes whose curves are drawn: the positive one of a binary task, else all."""
    positive = metrics.get("positive") or ""
    return [positive] if positive and len(metrics["classes"]) == 2 else list(metrics["classes"])


@styled
def roc_figure(metrics: Mapping[str, Any]) -> Figure:
    """ROC curves, each class against the rest, with the area under each and its interval; a zoom where all are good."""
    figure, axes, shown = _curves_figure(metrics, "auc", "AUC")
    axes.set(xlabel="1 − specificity (false positive rate)", ylabel="sensitivity (true positive rate)")
    axes.set_title("ROC" + ("" if len(shown) == 1 else ", each class against the rest"), loc="left")
    axes.plot([0, 1], [0, 1], color="#b5bac4", linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    areas = [metrics["per_class"][c]["auc"]["value"] for c, _ in shown]
    good = bool(areas) and min((a for a in areas if a is not None), default=0) > 0.93
    zoom = axes.inset_axes((0.36, 0.14, 0.6, 0.6), facecolor="white") if good else None
    for name, style in shown:
        curve = metrics["curves"][name]["roc"]
        for place in (axes, zoom):
            if place is not None:
                place.plot(curve["fpr"], curve["tpr"], **style)
    point = metrics.get("operating_point")
    if point and point["class"] in dict(shown) and None not in (point["sensitivity"]["value"],
                                                                point["specificity"]["value"]):
        at = (1 - point["specificity"]["value"], point["sensitivity"]["value"])
        for place in (axes, zoom):
            if place is not None:
                place.plot(*at, "D", color=INK, markerfacecolor="white", markersize=5.5, zorder=4)
        axes.annotate("operating point", at, (7, -11), textcoords="offset points", fontsize=8, color=INK)
    if zoom is not None:
        zoom.set(xlim=(0, 0.2), ylim=(0.8, 1.003))
        zoom.spines[:].set_visible(True)
        zoom.spines[:].set(color=LINE)
        zoom.set_title("upper left corner", fontsize=8, fontweight="normal", color=SOFT, pad=4)
        zoom.tick_params(labelsize=7.5, length=2)
        zoom.xaxis.set_major_locator(MultipleLocator(0.05))
        zoom.yaxis.set_major_locator(MultipleLocator(0.05))
        percent_axis(zoom, zoom, digits=0)
    return figure


@styled
def precision_recall_figure(metrics: Mapping[str, Any]) -> Figure:
    """Precision against recall, each class against the rest, with average precision and its interval."""
    figure, axes, shown = _curves_figure(metrics, "average_precision", "average precision")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    axes.set_title("Precision and recall" + ("" if len(shown) == 1 else ", each class against the rest"), loc="left")
    for name, style in shown:
        curve = metrics["curves"][name]["pr"]
        axes.plot(curve["recall"], curve["precision"], **style)
    return figure


def _curves_figure(
    metrics: Mapping[str, Any], key: str, head: str,
) -> tuple[Figure, Axes, list[tuple[str, dict[str, Any]]]]:
    """Square axes over a legend with the estimate `key` of each class; the classes that have a curve, with styles."""
    classes = shown_classes(metrics)
    names = short_names(classes, NAME_LIMIT)
    styles = [line_style(i) for i in range(len(classes))]
    rows = [(name, with_interval(metrics["per_class"][c][key]), style)
            for name, c, style in zip(names, classes, styles, strict=True)]
    below = ROW * (len(rows) + 1) + 0.08
    side = WIDTH - 0.65 - MARGIN
    figure = Figure(figsize=(WIDTH, side + 0.4 + 0.55 + below))
    axes = axes_at(figure, 0.65, below + 0.55, side, side)
    axes.set(xlim=(-0.005, 1.005), ylim=(-0.005, 1.01))
    axes.grid(True)
    percent_axis(axes, axes, digits=0)
    confidence = percent(metrics.get("confidence", 0.95), 0)
    legend_rows(figure, rows, head=f"{head} ({confidence} interval)", left=0.65, top=below, width=side)
    return figure, axes, [(c, s) for c, s in zip(classes, styles, strict=True) if metrics["curves"].get(c)]


@styled
def reliability_figure(calibration: Mapping[str, Any], probabilities: np.ndarray) -> Figure:
    """How often the predicted class was right, against its probability; below, how many cells had which probability.

    probabilities: (n,) in [0, 1], of the predicted class of each cell.
    """
    figure = Figure(figsize=(WIDTH, 4.75))
    axes = axes_at(figure, 0.65, 1.5, WIDTH - 0.65 - MARGIN, 2.85)
    below = axes_at(figure, 0.65, 0.5, WIDTH - 0.65 - MARGIN, 0.72)
    axes.plot([0, 1], [0, 1], color="#9aa0ac", linewidth=1, linestyle=(0, (2, 3)), label="perfect calibration")
    bins = [b for b in calibration["bins"] if b["count"] and b["accuracy"]["value"] is not None]
    for b in bins:
        ends = [b["accuracy"]["low"], b["accuracy"]["high"]]
        if None not in ends:
            axes.plot([b["confidence"]] * 2, ends, color=BLUE, alpha=0.4, linewidth=1.6)
    axes.plot([b["confidence"] for b in bins], [b["accuracy"]["value"] for b in bins], "o-", color=BLUE, markersize=4,
              linewidth=1, label="this run, with interval")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that was right")
    axes.set_title("Calibration", loc="left")
    axes.grid(True)
    axes.legend(loc="upper left")
    axes.tick_params(labelbottom=False)
    percent_axis(axes, axes, digits=0)
    cells, edges = np.histogram(probabilities, bins=10, range=(0, 1))
    tallest = max(int(cells.max(initial=0)), 1)
    below.bar(edges[:-1] + 0.05, cells, width=0.086, color="#9cc3dd")
    for left, n in zip(edges[:-1], cells.tolist(), strict=True):
        if n:
            below.text(left + 0.05, n + 0.06 * tallest, _compact(n), ha="center", va="bottom", fontsize=7, color=SOFT)
    below.set(xlim=(0, 1), ylim=(0, 1.3 * tallest), xlabel="probability of the predicted class", ylabel="cells")
    below.set_yticks([])
    below.spines["left"].set_visible(False)
    percent_axis(below, None, digits=0)
    return figure


@styled
def dots_figure(names: Sequence[str], estimates: Sequence[Estimate], *, title: str, xlabel: str, share: bool = True,
                reference: float | None = None, others: Sequence[float | None] = (), others_label: str = "") -> Figure:
    """One row a name: the value as a dot, its interval as a line, both as numbers at the right.

    share: values in [0, 1], shown in percent. reference: a value marked by a line through all rows. others: one value
    a row from elsewhere (a paper), marked by a diamond and named `others_label`.
    """
    form = (lambda v: percent(v, unit=False)) if share else number
    labels = short_names(tuple(names), NAME_LIMIT)
    texts = [with_interval(e, form) for e in estimates]
    left, right = text_width(labels, 8.5) + 0.22, text_width(texts, 8.5) + 0.26
    width = max(WIDTH, left + right + 1.7)
    row, top, bottom = 0.28, 0.42 + (0.22 if others_label else 0), 0.58
    figure = Figure(figsize=(width, top + bottom + row * len(labels)))
    axes = axes_at(figure, left, bottom, width - left - right, row * len(labels))
    for y, (estimate, text) in enumerate(zip(estimates, texts, strict=True)):
        if estimate["value"] is not None and estimate["low"] is not None:
            axes.plot([estimate["low"], estimate["high"]], [y, y], color=BLUE, alpha=0.5, linewidth=3)
        if estimate["value"] is not None:
            axes.plot(estimate["value"], y, "o", color=BLUE, markersize=5.5, clip_on=False, zorder=3)
        axes.annotate(text, (1, y), (10, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                      va="center", fontsize=8.5, color=INK, annotation_clip=False)
    marks = [(v, y) for y, v in enumerate(others) if v is not None]
    if marks:
        axes.plot(*zip(*marks, strict=True), "D", color=VERMILLION, markerfacecolor="white", markersize=5,
                  clip_on=False, label=others_label, zorder=4)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, handletextpad=0.2)
    if reference is not None:
        axes.axvline(reference, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    axes.set_xlim(*span_of(estimates, [*others, reference], share))
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlabel=xlabel)
    axes.set_title(title, loc="left", x=-left / (width - left - right),
                   y=1 + (0.22 if others_label else 0) / (row * len(labels)))
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    ticks = max(2, min(5, int((width - left - right) / 0.55)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10]))
    if share:
        percent_axis(axes, None)
    return figure


def span_of(estimates: Sequence[Estimate], more: Sequence[float | None], share: bool) -> tuple[float, float]:
    """Limits of the axis: all dots and intervals, with a little room; shares end at 100 %."""
    ends = [v for e in estimates for v in (e["value"], e["low"], e["high"]) if v is not None]
    ends += [v for v in more if v is not None]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.02 * (abs(high) or 1)
    if not share:
        return low - room, high + room
    step = 20 if high - low > 0.1 else 100
    return max(0.0, math.floor((low - room) * step) / step), 1.0 if high > 0.9 else min(1.0, high + room)


def percent_axis(x: Axes | None, y: Axes | None, *, digits: int | None = None) -> None:
    """Tick labels in percent, with as many digits as the ticks need."""
    def label(value: float, _: Any) -> str:
        return f"{100 * value:.{digits}f} %" if digits is not None else f"{round(100 * value, 6):g} %"

    if x is not None:
        x.xaxis.set_major_formatter(FuncFormatter(label))
    if y is not None:
        y.yaxis.set_major_formatter(FuncFormatter(label))


def with_interval(estimate: Estimate, form: Any = number) -> str:
    if estimate["value"] is None:
        return form(None)
    if estimate["low"] is None:
        return form(estimate["value"])
    return f"{form(estimate['value'])} ({form(estimate['low'])}–{form(estimate['high'])})"


def _compact(cells: int) -> str:
    """12345 -> "12.3k": what fits over a bar."""
    return count(cells) if cells < 10_000 else f"{cells / 1000:.1f}k" if cells < 100_000 else f"{cells / 1000:.0f}k"
