"""Figures of a comparison: all metrics as dots with intervals, ROC curves on one axis, differences, ranks, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..evaluation.compare import AREAS, LEVEL
from ..evaluation.costs import pareto
from ..runs.comparison import Comparison, Cost, Network, Pair
from ..stats.estimate import Estimate
from ..stats.several import Ranks
from ..text import figure_name, interval, number, p_of, percent, short_names, type_name
from .common import (
    BLUE,
    INK,
    NAME_LIMIT,
    ROW,
    SOFT,
    STEP,
    VERMILLION,
    axes_at,
    blank_axes,
    draw_estimate,
    legend_rows,
    line_style,
    named_rows,
    percent_axis,
    rows_figure,
    span_of,
    styled,
    text_width,
)

MARKERS = "os^Dv<>P"
"""One a network, since networks of equal cost lie on each other."""
MOST_PAIRS = 21
"""Of more pairs, only those with the best network are drawn; the table has all."""
PANEL, GAP = 2.2, 0.45
COLUMNS = 3
SIDE = 3.5
COSTS = (("parameters", "parameters, million", 1e6), ("operations", "operations for an image, G", 1e9),
         ("prediction_ms", "prediction, ms an image", 1.0))


def comparison_figures(comparison: Comparison) -> dict[str, Figure]:
    """Name -> figure, networks in the order of their accuracy."""
    networks = comparison.ordered
    figures = {"metrics": metrics_sheet(networks, comparison.published)}
    if comparison.curves:
        figures["roc"] = roc_of_all(comparison)
    pairs = [pair for pair in comparison.pairs
             if len(comparison.pairs) <= MOST_PAIRS or comparison.order[0] in (pair.first, pair.second)]
    figures |= {"differences": differences_figure(pairs), "ranks": ranks_figure(networks)}
    if comparison.blocks and comparison.blocks.critical is not None:
        figures["critical_difference"] = critical_difference(comparison.kinds, comparison.blocks)
    costs = [network.cost for network in networks if network.cost]
    if len(costs) == len(networks):
        figures["costs"] = costs_figure(networks, costs)
    return figures


@styled
def metrics_sheet(networks: Sequence[Network], published: Mapping[str, Mapping[str, float]]) -> Figure:
    """One panel for each metric, one row for each network: value and interval, all panels on one scale; the paper's
    as open diamonds.

    published: network -> metric -> value in [0, 1].
    """
    labels = short_names([network.name for network in networks], NAME_LIMIT)
    keys = [key for key in networks[0].figures if key not in (*AREAS, "log_loss", "f1", "macro_ppv")]
    others = {key: [published.get(network.name, {}).get(key) for network in networks] for key in keys}
    columns = min(COLUMNS, len(keys))
    rows = -(-len(keys) // columns)
    left, top, below = text_width(labels, 8.5) + 0.2, 0.36, 0.5
    height = STEP * len(labels)
    legend = 0.26 if published else 0.0
    figure = Figure(figsize=(left + columns * (PANEL + GAP), rows * (height + top + below) + legend))
    every = [network.figures[key] for network in networks for key in keys]
    limits = span_of(every, [value for values in others.values() for value in values], True)
    for place, key in enumerate(keys):
        row, column = divmod(place, columns)
        bottom = (rows - row - 1) * (height + top + below) + below + legend
        axes = axes_at(figure, left + column * (PANEL + GAP), bottom, PANEL, height)
        for y, (network, value) in enumerate(zip(networks, others[key], strict=True)):
            draw_estimate(axes, y, network.figures[key], size=5)
            if value is not None:
                axes.plot(value, y, "D", color=VERMILLION, markerfacecolor="white", markersize=4.5, clip_on=False,
                          zorder=4)
        axes.set(xlim=limits)
        axes.set_title(figure_name(key)[:1].upper() + figure_name(key)[1:], loc="left")
        named_rows(axes, labels if column == 0 else [""] * len(labels))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        percent_axis(axes, None)
    if published:
        axes = blank_axes(figure, left, 0.02, columns * (PANEL + GAP) - GAP, 0.2)
        axes.plot(0.08, 0.1, "o", color=BLUE, markersize=5)
        axes.text(0.2, 0.1, "ours, with its interval", va="center", fontsize=8.5)
        axes.plot(2.08, 0.1, "D", color=VERMILLION, markerfacecolor="white", markersize=5)
        axes.text(2.2, 0.1, "the paper’s, on its own images", va="center", fontsize=8.5)
    return figure


@styled
def roc_of_all(comparison: Comparison) -> Figure:
    """ROC curves of all networks on one axis, and the area under each; of several trainings the first is a full line,
    the others are thin."""
    networks = comparison.ordered
    labels = short_names([network.name for network in networks], NAME_LIMIT)
    styles = [line_style(i) for i in range(len(labels))]
    below = ROW * (len(labels) + 1) + 0.08
    figure = Figure(figsize=(SIDE + 0.85, SIDE + 0.95 + below))
    axes = axes_at(figure, 0.65, below + 0.55, SIDE, SIDE)
    for network, style in zip(networks, styles, strict=True):
        for i, curve in enumerate(comparison.curves[network.name]):
            axes.plot(curve.fpr, curve.tpr, **style, linewidth=0.6 if i else 1.7, alpha=0.6 if i else 1)
    axes.plot([0, 1], [0, 1], color="#b5bac4", linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    axes.set(xlim=(-0.005, 1.005), ylim=(-0.005, 1.01), xlabel="1 − specificity (false positive rate)",
             ylabel="sensitivity (true positive rate)")
    positive = comparison.positive
    axes.set_title(f"ROC for {type_name(positive)}" if positive else "ROC, mean over classes", loc="left")
    axes.grid(True)
    percent_axis(axes, axes, digits=0)
    key = "auc" if positive else "macro_auc"
    areas = [interval(network.figures[key], number, "", confidence=None, page=True) for network in networks]
    rows = list(zip(labels, areas, styles, strict=True))
    legend_rows(figure, rows, head=f"AUC ({percent(comparison.confidence, 0)} CI)", left=0.65, top=below, width=SIDE)
    return figure


@styled
def differences_figure(pairs: Sequence[Pair]) -> Figure:
    """A row a pair: the difference in accuracy in percentage points with its interval and corrected p value; full where
    that is below 0.05."""
    tests = [pair.tests["accuracy"] for pair in pairs]
    figure, axes = rows_figure(
        [f"{pair.first} − {pair.second}" for pair in pairs], [p_of(test.holm) or "no test" for test in tests],
        title="Differences in accuracy", xlabel="percentage points", wide=3.2)
    for y, test in enumerate(tests):
        real = test.holm is not None and test.holm < LEVEL
        draw_estimate(axes, y, test.difference, colour=BLUE if real else SOFT, fill="" if real else "white", scale=100)
    axes.axvline(0, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    return figure


@styled
def ranks_figure(networks: Sequence[Network]) -> Figure:
    """A row a network: its mean rank when cells and trainings are drawn again, the middle 95 % of the draws, and how
    often it is best."""
    ranks = [network.rank for network in networks]
    labels = short_names([network.name for network in networks], NAME_LIMIT)
    figure, axes = rows_figure(labels, [f"first in {percent(rank.best, 0)}" for rank in ranks], wide=3.0,
                               title="Ranks over repeated draws", xlabel="rank by accuracy (1 is best)")
    for y, rank in enumerate(ranks):
        draw_estimate(axes, y, Estimate(rank.mean, rank.low, rank.high, ""))
    axes.set_xlim(0.9, len(labels) + 0.1)
    axes.set_xticks(range(1, len(labels) + 1))
    return figure


@styled
def critical_difference(networks: Sequence[Network], ranks: Ranks) -> Figure:
    """Mean ranks over folds and trainings on one line; a bar joins those whose difference Nemenyi's test does not
    show."""
    means, critical = np.array(ranks.mean_ranks), ranks.critical or 0.0
    order = np.argsort(means, kind="stable")
    labels = short_names([network.name for network in networks], NAME_LIMIT)
    groups = cliques(means[order], critical)
    half = (len(order) + 1) // 2
    margin = max(text_width(labels, 8.5) + 0.55, 1.4)
    width, line = 3.2, 0.62 + 0.13 * len(groups)
    height = 0.7 + line + 0.24 * half
    figure = Figure(figsize=(width + 2 * margin, height))
    axes = blank_axes(figure, 0, 0, width + 2 * margin, height)
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
        axes.plot([float(at[i]), float(at[i]), end], [y, depth, depth], color=SOFT, linewidth=0.9)
        axes.text(end + (-0.06 if first else 0.06), depth, f"{labels[i]}  {means[i]:.2f}",
                  ha="right" if first else "left", va="center", fontsize=8.5)
    for place, (first, last) in enumerate(groups):
        level = y + 0.1 + 0.13 * place
        axes.plot([at[order[first]] - 0.05, at[order[last]] + 0.05], [level, level], color=BLUE, linewidth=3.2,
                  solid_capstyle="round")
    return figure


def cliques(means: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """(first, last) of each longest run of sorted mean ranks of which no two are `critical` apart, of two or more."""
    ends = [(i, int(np.searchsorted(means, means[i] + critical, side="left")) - 1) for i in range(len(means))]
    longest = [(first, last) for first, last in ends if last > first]
    return [(first, last) for n, (first, last) in enumerate(longest) if n == 0 or last > longest[n - 1][1]]


@styled
def costs_figure(networks: Sequence[Network], costs: Sequence[Cost]) -> Figure:
    """Accuracy against what it costs, one panel for each cost: full where no other network is as accurate for less
    (the Pareto front), joined by a line."""
    shown = [(label, [value / unit for value in values]) for key, label, unit in COSTS
             if None not in (values := [getattr(cost, key) for cost in costs])]
    labels = short_names([network.name for network in networks], NAME_LIMIT)
    accuracy = [network.figures["accuracy"] for network in networks]
    colours = [line_style(i)["color"] for i in range(len(labels))]
    markers = [MARKERS[i % len(MARKERS)] for i in range(len(labels))]
    below = ROW * len(labels) + 0.15
    side, width, room = 2.1, 2.35, 1.25
    figure = Figure(figsize=(0.65 + len(shown) * (width + 0.25), side + 0.9 + below))
    limits = span_of(accuracy, [], True)
    for place, (label, spent) in enumerate(shown):
        axes = axes_at(figure, 0.65 + place * (width + 0.25), below + 0.5, width, side)
        values = [estimate.value or 0.0 for estimate in accuracy]
        front = pareto(values, spent)
        on = sorted((x, y) for x, y, best in zip(spent, values, front, strict=True) if best)
        axes.plot([x for x, _ in on], [y for _, y in on], color="#b5bac4", drawstyle="steps-post", linewidth=1.2,
                  zorder=1)
        for x, own, value, best, colour, marker in zip(spent, accuracy, values, front, colours, markers, strict=True):
            if own.low is not None and own.high is not None:
                axes.plot([x, x], [own.low, own.high], color=colour, alpha=0.35, linewidth=2, zorder=2)
            axes.plot(x, value, marker, color=colour, markerfacecolor=colour if best else "none", markersize=6.5,
                      zorder=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if max(spent) > 30 * min(spent) else (1, 2, 5), numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlim=(min(spent) / room, max(spent) * room), ylim=limits, xlabel=label)
        axes.grid(True)
        percent_axis(None, axes)
        if place:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("accuracy")
            axes.set_title("Accuracy and its cost; full: on the Pareto front", loc="left")
    axes = blank_axes(figure, 0.65, 0.02, 5.0, below)
    for row, (name, colour, marker) in enumerate(zip(labels, colours, markers, strict=True)):
        axes.plot(0.08, (row + 0.5) * ROW, marker, color=colour, markersize=5.5)
        axes.text(0.22, (row + 0.5) * ROW, name, va="center", fontsize=8.5)
    return figure
