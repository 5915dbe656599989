"""Figures of two counts of the same smears: shares against each other, and their differences."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.agreement import Agreement, Lines, TypeAgreement
from ..stats.agreement import rumke_limits
from ..stats.estimate import Estimate
from ..text import plain, points, type_name
from .common import BLUE, GREEN, SOFT, VERMILLION, axes_at, styled

BAND = 200
"""Cells for which Rümke's limits are drawn."""
SIDE, LEFT, BELOW, ABOVE = 2.6, 0.7, 0.55, 0.4
MOST = 400
"""Smears above which points are drawn as a picture, so that the page stays small."""


def agreement_figures(agreement: Agreement) -> dict[str, Figure]:
    """`line_<k>` and `difference_<k>` for each type, in the order of the types."""
    figures = {}
    for k, kind in enumerate(agreement.types):
        figures |= {f"line_{k}": line_figure(kind), f"difference_{k}": difference_figure(kind)}
    return figures


@styled
def line_figure(kind: TypeAgreement) -> Figure:
    """The machine's share over the reference's: a dot a smear, the lines of Passing-Bablok and Deming, and between
    which shares a second count of 200 cells lies by chance."""
    figure, axes = _square(f"{plain(type_name(kind.name), 24)}: shares", "reference, %", "machine, %")
    first, second = 100 * np.array(kind.reference), 100 * np.array(kind.machine)
    most = 1.06 * max(float(max(first.max(), second.max())), 1.0)
    shares = np.linspace(0, min(most, 100), 60)
    band = 100 * np.array([rumke_limits(share / 100, BAND) for share in shares])
    axes.fill_between(shares, band[:, 0], band[:, 1], color="#e9edf3", linewidth=0, label=f"chance, {BAND} cells")
    axes.plot([0, most], [0, most], color=SOFT, linewidth=0.8, linestyle=(0, (3, 2)), label="equal")
    _line(axes, kind.passing_bablok, most, BLUE, "-", "Passing-Bablok")
    _line(axes, kind.deming, most, VERMILLION, (0, (4, 1.6)), "Deming")
    _dots(axes, first, second)
    axes.set(xlim=(0, most), ylim=(0, most))
    axes.legend(loc="upper left", fontsize=7.5, handlelength=1.6, borderaxespad=0.2, frameon=True, framealpha=0.8,
                edgecolor="none")
    return figure


@styled
def difference_figure(kind: TypeAgreement) -> Figure:
    """The difference over the mean of both shares, with the bias, the limits of agreement and their intervals."""
    figure, axes = _square(f"{plain(type_name(kind.name), 24)}: differences", "mean of both, %",
                           "machine minus reference, points")
    first, second = 100 * np.array(kind.reference), 100 * np.array(kind.machine)
    axes.axhline(0, color=SOFT, linewidth=0.8, linestyle=(0, (3, 2)))
    for estimate, colour, style in ((kind.bias, BLUE, "-"), (kind.lower, GREEN, (0, (4, 1.6))),
                                    (kind.upper, GREEN, (0, (4, 1.6)))):
        _level(axes, estimate, colour, style)
    _dots(axes, (first + second) / 2, second - first)
    ends = [100 * value for own in (kind.bias, kind.lower, kind.upper)
            for value in (own.value, own.low, own.high) if value is not None]
    reach = 1.08 * max([*np.abs(ends), *np.abs(second - first), 1.0])
    axes.set(ylim=(-reach, reach), xlim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    return figure


def _square(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(LEFT + SIDE + 0.62, BELOW + SIDE + ABOVE))
    axes = axes_at(figure, LEFT, BELOW, SIDE, SIDE)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, loc="left", x=-0.2)
    return figure, axes


def _dots(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    axes.plot(x, y, "o", color="#1b1e26", markersize=3.2, alpha=0.55, markeredgewidth=0, zorder=3, clip_on=False,
              rasterized=x.size > MOST)


def _line(axes: Axes, line: Lines, most: float, colour: str, style: str | tuple[int, tuple[float, float]],
          name: str) -> None:
    if line.slope.value is None or line.intercept.value is None:
        return
    ends = np.array([0.0, most])
    axes.plot(ends, 100 * line.intercept.value + line.slope.value * ends, color=colour, linestyle=style, linewidth=1.4,
              label=name)


def _level(axes: Axes, estimate: Estimate, colour: str, style: str | tuple[int, tuple[float, float]]) -> None:
    if estimate.value is None:
        return
    axes.axhline(100 * estimate.value, color=colour, linestyle=style, linewidth=1.3)
    if estimate.low is not None and estimate.high is not None:
        axes.axhspan(100 * estimate.low, 100 * estimate.high, color=colour, alpha=0.12, linewidth=0)
    axes.annotate(points(estimate.value), (1, 100 * estimate.value), (4, 0), xycoords=axes.get_yaxis_transform(),
                  textcoords="offset points", va="center", fontsize=7.5, color=colour, annotation_clip=False)
