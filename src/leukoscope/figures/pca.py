"""Figures of principal components: the mean and the first of them, the variance they keep, and cells rebuilt from few.

Draws what `pca/pca.py` has fitted; fits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..errors import LeukoscopeError
from ..pca.pca import PCA
from ..text import count, percent, plural
from .common import BLUE, axes_at, percent_axis, styled
from .svg import SOFT

SHOWN = 11
"""Components on a sheet, beside the mean."""
COUNTS = (10, 50, 200, 1000)
"""Numbers of components that cells are rebuilt from; the last picture is always from all of them."""
MARK = 0.99
COLUMNS = 6
SIDE, GAP, HEAD, FOOT = 1.3, 0.14, 0.42, 0.3
LEAST = 4.9
"""Least width in inches, for the note below."""


@styled
def components_sheet(pca: PCA, side: int, channels: int = 1) -> Figure:
    """The mean image and the first components, each with its share of the variance.

    The pixels of a sample are `channels` images of (side, side), one after the other. Components are drawn around zero,
    each to its own range; of three channels, the mean in colour and the components as averages over channels.
    LeukoscopeError where these are not the sizes of the samples.
    """
    _check_size(pca, channels * side * side, f"{channels} x {side} x {side}")
    mean = pca.mean.reshape(channels, side, side)
    maps = pca.components[:SHOWN].reshape(-1, channels, side, side).mean(axis=1)
    panels = len(maps) + 1
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(max(columns * (SIDE + GAP) + GAP, LEAST), rows * (SIDE + HEAD) + FOOT + 0.05))
    places = _grid(figure, rows, columns)[:panels]
    low, high = float(mean.min()), float(mean.max())
    picture = (np.moveaxis(mean, 0, -1) - low) / max(high - low, 1e-12)
    _panel(places[0], picture if channels == 3 else picture.mean(axis=-1), "gray", (0, 1), "Mean",
           f"of {count(pca.samples)}")
    for number, (axes, component, share) in enumerate(zip(places[1:], maps, pca.shares[:SHOWN], strict=True), start=1):
        size = float(np.abs(component).max()) or 1.0
        _panel(axes, component, "RdBu_r", (-size, size), str(number), percent(float(share)))
    _note(figure, "percent: share of the variance; blue negative, red positive, each to its own range")
    return figure


@styled
def variance_curve(pca: PCA) -> Figure:
    """Share of the variance kept against the number of components, with the number that keeps 99 %."""
    shares = np.concatenate([[0.0], np.minimum(np.cumsum(pca.shares), 1)])
    k = len(pca.components)
    reached = np.flatnonzero(shares >= MARK)
    at = int(reached[0]) if len(reached) else k
    figure = Figure(figsize=(4.6, 3.1))
    axes = axes_at(figure, 0.7, 0.52, 3.55, 2.1)
    axes.axhline(MARK, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    axes.annotate(percent(MARK, 0), (1, MARK), (4, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                  va="center", fontsize=8, color=SOFT, annotation_clip=False)
    axes.plot(np.arange(k + 1), shares, color=BLUE, marker="o" if k < 30 else None, markersize=3)
    axes.plot(at, shares[at], "o", color=BLUE, markersize=5.5, markeredgecolor="white", zorder=4,
              clip_on=bool(len(reached)))
    axes.set_title("Variance kept", loc="left", pad=20)
    reach = percent(MARK, 0) + " with" if len(reached) else percent(float(shares[-1])) + " with all"
    axes.text(0, 1.03, f"{reach} {plural(at, 'component')}; fitted on {plural(pca.samples, 'sample')}",
              transform=axes.transAxes, va="bottom", fontsize=8, color=SOFT)
    axes.set(xlabel="components", ylabel="share of the variance", xlim=(0, k), ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: count(v)))
    percent_axis(None, axes, digits=0)
    axes.grid(True)
    return figure


@styled
def reconstruction_sheet(pca: PCA, cells: Float[np.ndarray, "m side side"], counts: Sequence[int] = ()) -> Figure:
    """Cells beside what is rebuilt of them from the first components, one row for each cell, to the range of the cell.

    counts: numbers of components, from 1 to k; by default up to five. The number below each picture is the root mean
    square of what is lost, over the standard deviation of the cell. LeukoscopeError for other sizes or counts.
    """
    m = len(cells)
    _check_size(pca, cells[0].size if m else 0, " x ".join(map(str, cells.shape[1:])))
    k = len(pca.components)
    wanted = list(counts) or [c for c in COUNTS if c < k] + [k]
    wrong = [c for c in wanted if not 1 <= c <= k]
    if wrong:
        raise LeukoscopeError(f"cannot rebuild cells from {wrong[0]} components", f"there are 1 to {k}")
    flat = cells.reshape(m, -1)
    scores = pca.project(flat)
    rebuilt = [pca.reconstruct(scores[:, :c]).reshape(cells.shape) for c in wanted]
    columns, foot = 1 + len(wanted), 0.2
    figure = Figure(figsize=(max(columns * (SIDE + GAP) + GAP, LEAST), m * (SIDE + foot) + HEAD + FOOT - 0.1))
    places = _grid(figure, m, columns, head=foot, bottom=FOOT + foot - 0.1)
    shares = np.cumsum(pca.shares)
    heads = [("The cell", ""), *((f"{count(c)}", f"keep {percent(float(shares[c - 1]))}") for c in wanted)]
    for row in range(m):
        limits = float(cells[row].min()), float(cells[row].max())
        spread = float(cells[row].std()) or 1.0
        for column, picture in enumerate([cells[row], *(images[row] for images in rebuilt)]):
            title, remark = heads[column] if row == 0 else ("", "")
            axes = places[row * columns + column]
            _panel(axes, picture, "gray", limits, title, remark)
            if column:
                lost = float(np.sqrt(np.mean(np.square(picture - cells[row])))) / spread
                axes.text(0.5, -0.03, percent(lost), transform=axes.transAxes, ha="center", va="top", fontsize=7.5,
                          color=SOFT)
    _note(figure, "above: components, variance kept; below: lost (root mean square), of the cell's deviation")
    return figure


def _check_size(pca: PCA, pixels: int, sizes: str) -> None:
    if pixels != len(pca.mean):
        raise LeukoscopeError(f"the components have {len(pca.mean)} pixels, not {sizes}",
                              "give the size of the images that they were fitted on")


def _grid(figure: Figure, rows: int, columns: int, *, head: float = HEAD, bottom: float = FOOT) -> list[Axes]:
    """Square axes, row by row from above."""
    return [axes_at(figure, GAP + column * (SIDE + GAP), bottom + (rows - 1 - row) * (SIDE + head), SIDE, SIDE)
            for row in range(rows) for column in range(columns)]


def _panel(axes: Axes, picture: np.ndarray, colours: str, limits: tuple[float, float], title: str,
           remark: str) -> None:
    low, high = limits
    axes.imshow(picture, cmap=colours, vmin=low, vmax=high if high > low else low + 1, interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=9, pad=4)
    axes.text(1, 1.03, remark, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=SOFT)
    axes.axis("off")


def _note(figure: Figure, words: str) -> None:
    figure.text(GAP / figure.get_figwidth(), 0.08 / figure.get_figheight(), words, fontsize=7.5, color=SOFT,
                va="bottom")
