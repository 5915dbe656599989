"""Training curves of a network, and the feature maps of its units."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..text import plain, plural
from .common import BLUE, VERMILLION, axes_at, percent_axis, styled
from .svg import SOFT

MAPS = 64
PARTS = (("train", "training", BLUE), ("validation", "validation", VERMILLION))


@styled
def training_figure(history: pl.DataFrame, *, best_epoch: int | None = None, title: str = "Training") -> Figure:
    """Accuracy above loss, per epoch, of the training and the validation part; `best_epoch`, whose weights are used, is
    marked.

    history: columns epoch, train_loss, train_accuracy, validation_loss, validation_accuracy (null where there is no
    such part).
    """
    figure, side = Figure(figsize=(3.5, 3.9)), 2.67
    upper, lower = axes_at(figure, 0.68, 2.12, side, 1.4), axes_at(figure, 0.68, 0.5, side, 1.4)
    for axes, name in ((upper, "accuracy"), (lower, "loss (cross-entropy)")):
        _history_panel(axes, history, name.split()[0], best_epoch)
        axes.set_ylabel(name)
        axes.yaxis.set_label_coords(-0.55 / side, 0.5)
    upper.set_title(plain(title), loc="left", pad=19)
    upper.tick_params(labelbottom=False)
    percent_axis(None, upper)
    upper.set_ylim(top=min(upper.get_ylim()[1], 1.01))
    lower.set_xlabel("epoch")
    lower.set_ylim(bottom=0)
    handles, labels = upper.get_legend_handles_labels()
    if handles:
        upper.legend(handles, labels, loc="lower right", bbox_to_anchor=(1.02, 1.1), ncols=2, handlelength=1.2,
                     columnspacing=1.2, borderaxespad=0)
    if best_epoch is not None:
        low, high = upper.get_xlim()
        share = (best_epoch - low) / (high - low) if high > low else 0.5
        upper.text(best_epoch, 1.02, f"epoch used: {best_epoch}", transform=upper.get_xaxis_transform(), va="bottom",
                   ha="left" if share < 0.25 else "right" if share > 0.75 else "center", fontsize=8, color=SOFT)
    return figure


def _history_panel(axes: Axes, history: pl.DataFrame, column: str, best_epoch: int | None) -> None:
    epochs = history["epoch"].cast(pl.Float64).to_numpy()
    for part, name, colour in PARTS:
        key = f"{part}_{column}"
        if key not in history.columns or history[key].null_count() == history.height:
            continue
        values = history[key].cast(pl.Float64, strict=False).to_numpy()
        axes.plot(epochs, values, color=colour, label=name, marker="o" if len(epochs) < 4 else None, markersize=4)
        at = epochs == best_epoch
        if best_epoch is not None and at.any():
            axes.plot(epochs[at][0], values[at][0], "o", color=colour, markersize=5, markeredgecolor="white", zorder=4)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    axes.grid(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)


@styled
def feature_map_sheet(maps: Mapping[str, np.ndarray], pixels: np.ndarray) -> Figure:
    """The cell, and up to 64 feature maps of each unit, each map scaled to its own range.

    maps: unit -> (n, h, w), in the order of the units; pixels: uint8 (H, W, 3), the network's input before
    normalisation.
    """
    panels = len(maps) + 1
    columns = min(2, panels)
    rows = math.ceil(panels / columns)
    side, gap, head = 3.3, 0.3, 0.62
    figure = Figure(figsize=(columns * side + (columns - 1) * gap + 0.2, rows * (side + head) + 0.05))
    places = [axes_at(figure, 0.1 + i % columns * (side + gap), (rows - 1 - i // columns) * (side + head) + 0.05,
                      side, side) for i in range(panels)]
    _picture(places[0], pixels, "The cell", f"{pixels.shape[1]} × {pixels.shape[0]} px, the network's input")
    for axes, (unit, stack) in zip(places[1:], maps.items(), strict=True):
        n, height, width = stack.shape
        which = plural(n, "feature map") if n <= MAPS else f"{MAPS} of {n} feature maps"
        _picture(axes, mosaic(np.asarray(stack[:MAPS])), plain(unit, 30), f"{which}, {width} × {height} px each")
    return figure


def mosaic(stack: np.ndarray) -> np.ndarray:
    """(n, h, w) -> one float picture in [0, 1], NaN between the maps; a map without contrast is 0."""
    n, height, width = stack.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    gap = max(1, round(0.06 * max(height, width)))
    picture = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan, dtype=np.float32)
    flat = np.nan_to_num(stack.astype(np.float32))
    low, high = flat.min(axis=(1, 2), keepdims=True), flat.max(axis=(1, 2), keepdims=True)
    scaled = np.divide(flat - low, high - low, out=np.zeros_like(flat), where=high > low)
    for i, values in enumerate(scaled):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        picture[y:y + height, x:x + width] = values
    return picture


def _picture(axes: Axes, picture: np.ndarray, title: str, subtitle: str) -> None:
    axes.imshow(picture, cmap="cividis", vmin=0, vmax=1 if picture.ndim == 2 else None, interpolation="nearest")
    axes.set_title(title, loc="left", pad=20)
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, va="bottom", fontsize=8, color=SOFT)
    axes.axis("off")
