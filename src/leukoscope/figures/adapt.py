"""What fitting a model to one laboratory brings, by the number of confirmed cells."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ..adaptation.validate import Size
from .common import BLUE, percent_axis, styled
from .svg import SOFT


@styled
def curve_figure(curve: Sequence[Size], before: float) -> Figure:
    """Accuracy by confirmed cells a type: the median of the draws, their middle 90 %, and the model as it was."""
    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axes = figure.add_subplot()
    cells = [size.cells for size in curve]
    axes.fill_between(cells, [size.low for size in curve], [size.high for size in curve], color=BLUE, alpha=0.2,
                      linewidth=0, label="90 % of the draws")
    axes.plot(cells, [size.middle for size in curve], "o-", color=BLUE, label="fitted")
    axes.axhline(before, color=SOFT, linestyle=(0, (4, 2)), label="the model as it was")
    axes.set_xscale("log")
    axes.set_xticks(cells, [f"{count}" for count in cells])
    axes.minorticks_off()
    axes.set_xlabel("confirmed cells of each type")
    axes.set_ylabel("accuracy")
    axes.set_title("What more cells bring")
    percent_axis(None, axes)
    axes.legend(loc="best")
    return figure
