"""The figures of an evaluation, from metrics.json. Every function gives a Figure with title, axis labels and units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from ..runs.results import Calibration, Metrics
from ..stats.estimate import Estimate
from ..text import count, interval, number, percent, share, short_names, type_name
from .common import (
    BLUE,
    DASHES,
    NAME_LIMIT,
    PALETTE,
    ROW,
    VERMILLION,
    LineStyle,
    axes_at,
    draw_estimate,
    legend_rows,
    percent_axis,
    rows_figure,
    span_of,
    styled,
    text_width,
)
from .palette import colours_of
from .svg import INK, LINE, SOFT

CLASS_FIGURES = (("sensitivity", "Sensitivity", "cells of the class with this answer"),
                 ("ppv", "Positive predictive value", "cells with this answer that are of the class"),
                 ("specificity", "Specificity", "cells of other classes with another answer"),
                 ("f1", "F1", "harmonic mean of sensitivity and PPV"))
SHARE = LinearSegmentedColormap.from_list("share", ["#ffffff", "#d3e5f2", "#7fb5d8", "#2b82bb", "#0a4f80"])
WIDTH = 4.6
"""Width in inches of a figure: two fit beside each other on a desktop screen, one on a phone."""
MARGIN = 0.22
"""Inches right of the axes, for half of the last tick's label."""


def run_figures(metrics: Metrics, probabilities: np.ndarray) -> dict[str, Figure]:
    """Name -> figure, of what metrics.json holds. probabilities: (n,) in [0, 1], of the predicted class of each
    cell."""
    figures = {"confusion": confusion_figure(metrics.classes, metrics.confusion)}
    if metrics.curves:
        figures |= {"roc": roc_figure(metrics), "precision_recall": precision_recall_figure(metrics)}
    if metrics.calibration:
        figures["calibration"] = reliability_figure(metrics.calibration, probabilities)
    names = [type_name(name) for name in metrics.per_class]
    for key, title, xlabel in CLASS_FIGURES:
        estimates = [own[key] for own in metrics.per_class.values() if key in own]
        if len(estimates) == len(metrics.classes):
            figures[key] = dots_figure(names, estimates, title=title, xlabel=xlabel)
    if metrics.subject_level and metrics.subject_level.confusion:
        figures["subjects"] = confusion_figure(metrics.classes, metrics.subject_level.confusion, unit="subjects",
                                               title="Confusion matrix of subjects")
    folds = metrics.per_fold
    if len(folds) > 1 and "accuracy" in folds[0]:
        figures["folds"] = dots_figure([f"fold {fold.fold}" for fold in folds], [fold["accuracy"] for fold in folds],
                                       title="Accuracy in each fold", xlabel="accuracy (dashed: all folds together)",
                                       reference=metrics.accuracy.value)
    return figures


@styled
def confusion_figure(
    classes: Sequence[str], matrix: Sequence[Sequence[int]], *, title: str = "Confusion matrix", unit: str = "cells",
) -> Figure:
    """Counts, and the percentage of each true class, as colour and numbers. matrix: rows true, columns predicted."""
    cells = np.asarray(matrix, dtype=float)
    n = len(classes)
    totals = cells.sum(axis=1)
    shares = np.divide(cells, totals[:, None], out=np.zeros_like(cells), where=totals[:, None] > 0)
    names = short_names([type_name(name) for name in classes], NAME_LIMIT)
    rows = [f"{name}  ({count(total)})" for name, total in zip(names, totals, strict=True)]
    side = max(0.5, min(0.8, 3.7 / n), text_width([count(cells.max(initial=0))], 7) + 0.1)
    turned = text_width(names, 8.5) > side - 0.03
    left = text_width(rows, 8.5) + 0.42
    bottom = (0.75 * text_width(names, 8.5) + 0.55) if turned else 0.62
    # Turned names reach to the left of the first column.
    left = max(left, 0.75 * text_width(names[:1], 8.5) + 0.2) if turned else left
    figure = Figure(figsize=(left + n * side + 0.15, bottom + n * side + 0.42))
    axes = axes_at(figure, left, bottom, n * side, n * side)
    axes.pcolormesh(shares, cmap=SHARE, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
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
    for i, j in np.ndindex(n, n):
        _confusion_cell(axes, i, j, int(cells[i, j]), float(shares[i, j]))
    return figure


def _confusion_cell(axes: Axes, row: int, column: int, cells: int, of_row: float) -> None:
    if not cells:
        axes.text(column + 0.5, row + 0.5, "0", ha="center", va="center", fontsize=8, color="#b5bac4")
        return
    colour = "white" if of_row > 0.55 else INK
    axes.text(column + 0.5, row + 0.4, share(of_row), ha="center", va="center", color=colour, fontsize=9,
              fontweight="bold" if row == column else "normal")
    axes.text(column + 0.5, row + 0.72, count(cells), ha="center", va="center", color=colour, fontsize=7)


@styled
def roc_figure(metrics: Metrics) -> Figure:
    """ROC curves, each class against the rest, with the area under each and its interval; enlarged where all are
    good."""
    figure, axes, drawn = _curves_figure(metrics, "auc", "AUC")
    axes.set(xlabel="1 − specificity (false positive rate)", ylabel="sensitivity (true positive rate)")
    axes.set_title("ROC" + ("" if len(drawn) == 1 else ", each class against the rest"), loc="left")
    axes.plot([0, 1], [0, 1], color="#b5bac4", linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    areas = [area for name in drawn if (area := metrics.per_class[name]["auc"].value) is not None]
    zoom = axes.inset_axes((0.36, 0.14, 0.6, 0.6), facecolor="white") if min(areas, default=0) > 0.93 else None
    places = [axes] if zoom is None else [axes, zoom]
    for name, style in drawn.items():
        for place in places:
            place.plot(metrics.curves[name].roc.fpr, metrics.curves[name].roc.tpr, **style)
    point = metrics.operating_point
    if point and metrics.positive in drawn:
        specificity, sensitivity = point["specificity"].value, point["sensitivity"].value
        if specificity is not None and sensitivity is not None:
            for place in places:
                place.plot(1 - specificity, sensitivity, "D", color=INK, markerfacecolor="white", markersize=5.5,
                           zorder=4)
            axes.annotate("operating point", (1 - specificity, sensitivity), (7, -11), textcoords="offset points",
                          fontsize=8, color=INK)
    if zoom is not None:
        zoom.set(xlim=(0, 0.2), ylim=(0.8, 1.003))
        zoom.spines[:].set_visible(True)
        zoom.spines[:].set(color=LINE)
        zoom.set_title("upper left corner", fontsize=8, fontweight="normal", color=SOFT, pad=4)
        zoom.tick_params(labelsize=7.5, length=2)
        for axis in (zoom.xaxis, zoom.yaxis):
            axis.set_major_locator(MultipleLocator(0.05))
        percent_axis(zoom, zoom, digits=0)
    return figure


@styled
def precision_recall_figure(metrics: Metrics) -> Figure:
    """Precision against recall, each class against the rest, with average precision and its interval."""
    figure, axes, drawn = _curves_figure(metrics, "average_precision", "average precision")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    axes.set_title("Precision and recall" + ("" if len(drawn) == 1 else ", each class against the rest"), loc="left")
    for name, style in drawn.items():
        axes.plot(metrics.curves[name].pr.recall, metrics.curves[name].pr.precision, **style)
    return figure


def _curves_figure(metrics: Metrics, key: str, head: str) -> tuple[Figure, Axes, dict[str, LineStyle]]:
    """Square axes over a legend with the estimate `key` of each class; class -> line style, where it has a curve.

    Of a binary task with a positive class, that class alone.
    """
    positive = metrics.positive if len(metrics.classes) == 2 else ""
    classes = [positive] if positive else list(metrics.classes)
    colours = colours_of(classes)
    styles: dict[str, LineStyle] = {
        name: {"color": colours[name], "linestyle": DASHES[i // len(PALETTE) % len(DASHES)]}
        for i, name in enumerate(classes)}
    names = short_names([type_name(name) for name in classes], NAME_LIMIT)
    rows = [(name, interval(metrics.per_class[label][key], number, "", confidence=None, page=True), styles[label])
            for name, label in zip(names, classes, strict=True)]
    below = ROW * (len(rows) + 1) + 0.08
    side = WIDTH - 0.65 - MARGIN
    figure = Figure(figsize=(WIDTH, side + 0.4 + 0.55 + below))
    axes = axes_at(figure, 0.65, below + 0.55, side, side)
    axes.set(xlim=(-0.005, 1.005), ylim=(-0.005, 1.01))
    axes.grid(True)
    percent_axis(axes, axes, digits=0)
    legend_rows(figure, rows, head=f"{head} ({percent(metrics.confidence, 0)} CI)", left=0.65, top=below, width=side)
    return figure, axes, {name: style for name, style in styles.items() if name in metrics.curves}


@styled
def reliability_figure(calibration: Calibration, probabilities: np.ndarray) -> Figure:
    """How often the predicted class was right, against its probability; below, how many cells had which probability.

    probabilities: (n,) in [0, 1], of the predicted class of each cell.
    """
    figure = Figure(figsize=(WIDTH, 4.75))
    axes = axes_at(figure, 0.65, 1.5, WIDTH - 0.65 - MARGIN, 2.85)
    below = axes_at(figure, 0.65, 0.5, WIDTH - 0.65 - MARGIN, 0.72)
    axes.plot([0, 1], [0, 1], color="#9aa0ac", linewidth=1, linestyle=(0, (2, 3)), label="perfect calibration")
    shown = [(b.confidence, b.accuracy) for b in calibration.bins if b.count and b.accuracy.value is not None]
    x, value, low, high = np.array([(at, own.value, own.low, own.high) for at, own in shown], float).reshape(-1, 4).T
    axes.plot([x, x], [low, high], color=BLUE, alpha=0.4, linewidth=1.6)
    axes.plot(x, value, "o-", color=BLUE, markersize=4, linewidth=1, label="this run, with interval")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share of correct answers")
    axes.set_title("Calibration", loc="left")
    axes.grid(True)
    axes.legend(loc="upper left")
    axes.tick_params(labelbottom=False)
    percent_axis(axes, axes, digits=0)
    cells, edges = np.histogram(probabilities, bins=10, range=(0, 1))
    tallest = max(int(cells.max(initial=0)), 1)
    below.bar(edges[:-1] + 0.05, cells, width=0.086, color="#9cc3dd")
    for left, n in zip(edges[:-1], cells.tolist(), strict=True):
        if n:  # 12345 is "12.3k", which fits over a bar
            text = count(n) if n < 10_000 else f"{n / 1000:.1f}k" if n < 100_000 else f"{n / 1000:.0f}k"
            below.text(left + 0.05, n + 0.06 * tallest, text, ha="center", va="bottom", fontsize=7, color=SOFT)
    below.set(xlim=(0, 1), ylim=(0, 1.3 * tallest), xlabel="probability of the predicted class", ylabel="cells")
    below.set_yticks([])
    below.spines["left"].set_visible(False)
    percent_axis(below, None, digits=0)
    return figure


@styled
def dots_figure(names: Sequence[str], estimates: Sequence[Estimate], *, title: str, xlabel: str, shares: bool = True,
                reference: float | None = None, others: Sequence[float | None] = (), others_label: str = "") -> Figure:
    """One row a name: the value as a dot, its interval as a line, both as numbers at the right.

    shares: values in [0, 1], shown in percent. reference: a value marked by a line through all rows. others: one value
    a row from elsewhere (a paper), marked by a diamond and named `others_label`.
    """
    labels, head = short_names(tuple(names), NAME_LIMIT), 0.22 if others_label else 0.0
    form = share if shares else number
    texts = [interval(estimate, form, "", confidence=None, page=True) for estimate in estimates]
    figure, axes = rows_figure(labels, texts, title=title, xlabel=xlabel, wide=1.7, least=WIDTH, step=0.28, below=0.58,
                               above=0.42 + head, head=head, beside=0.26)
    for y, estimate in enumerate(estimates):
        draw_estimate(axes, y, estimate)
    marks = [(value, y) for y, value in enumerate(others) if value is not None]
    if marks:
        axes.plot(*zip(*marks, strict=True), "D", color=VERMILLION, markerfacecolor="white", markersize=5,
                  clip_on=False, label=others_label, zorder=4)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, handletextpad=0.2)
    if reference is not None:
        axes.axvline(reference, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    axes.set_xlim(*span_of(estimates, [*others, reference], shares))
    wide = axes.get_position().width * figure.get_figwidth()
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(2, min(5, int(wide / 0.55))), steps=[1, 2, 2.5, 5, 10]))
    if shares:
        percent_axis(axes, None)
    return figure
