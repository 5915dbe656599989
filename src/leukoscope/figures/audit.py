"""Figures of an audit: classes, subjects, sharpness and stain, shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ..auditing.shortcut import Shortcut
from ..text import count, percent, plain, short_names, type_name
from .common import BLUE, NAME_LIMIT, VERMILLION, axes_at, styled, text_width
from .palette import colours_of
from .svg import SOFT

MOST_BARS, MOST_POINTS, MOST_COLOURS = 40, 6000, 14
MAP, SIDE = (5, 10), 84
"""Rows and columns of a map of pictures, and the side of a place in px."""


@styled
def balance_figure(balance: pl.DataFrame) -> Figure:
    """Cells of each class, most frequent first."""
    shown = balance.head(MOST_BARS)
    names = short_names([type_name(name) if name else "(no label)" for name in shown["label"]], NAME_LIMIT)
    cells = shown["cells"].to_list()
    left, rows = 0.25 + text_width(names, 8.5), 0.3
    height = 0.55 + rows * len(names) + 0.45
    figure = Figure(figsize=(6.2, height))
    axes = axes_at(figure, left, 0.45, 6.2 - left - 0.85, rows * len(names))
    place = np.arange(len(names))
    axes.barh(place, cells, height=0.62, color=BLUE)
    axes.set(yticks=place, yticklabels=names, ylim=(len(names) - 0.5, -0.5), xlabel="cells")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(axis="y", length=0)
    total = int(balance["cells"].sum())
    for at, value in zip(place, cells, strict=True):
        axes.annotate(f"{count(value)}  ({percent(value / total)})", (value, at), (4, 0), textcoords="offset points",
                      va="center", fontsize=8, color=SOFT)
    axes.set_title(_head("Cells of each class", len(names), balance.height))
    return figure


@styled
def subjects_figure(subjects: pl.DataFrame) -> Figure:
    """Cells of each subject, coloured by class; only the largest subjects if there are many."""
    labelled = subjects.with_columns(pl.col("label").fill_null("(no label)"))
    labels = labelled.group_by("label").agg(pl.col("len").sum()).sort("len", "label", descending=[True, False])
    shown = labels["label"].head(MOST_COLOURS).to_list()
    order = labelled.group_by("subject").agg(pl.col("len").sum()).sort("len", "subject", descending=[True, False])
    names = order["subject"].head(MOST_BARS).to_list()
    figure = Figure(figsize=(max(3.6, 1.4 + 0.2 * len(names)), 3.3), layout="constrained")
    axes = figure.add_subplot()
    bottom, colours = np.zeros(len(names)), colours_of(shown)
    for label in shown:
        counts = dict(labelled.filter(pl.col("label") == label).select("subject", "len").iter_rows())
        heights = np.array([counts.get(name, 0) for name in names], float)
        axes.bar(np.arange(len(names)), heights, 0.7, bottom, color=colours[label],
                 label=plain(type_name(label), NAME_LIMIT))
        bottom += heights
    axes.set_xticks(np.arange(len(names)), short_names(names, 14), rotation=90)
    axes.set(ylabel="cells", xlim=(-0.7, len(names) - 0.3))
    axes.set_title(_head("Cells of each subject", len(names), order.height))
    if len(shown) > 1:
        figure.legend(loc="outside lower left", ncols=3)
    return figure


@styled
def scatter_figure(table: pl.DataFrame, x: str, y: str, by: str, title: str, words: tuple[str, str]) -> Figure:
    """A panel for each class or source, in which its cells are coloured and all others grey; at most 6,000 cells,
    evenly chosen."""
    known = table.with_columns(pl.col(by).fill_null("(unknown)")).filter(
        pl.col(x).is_finite() & pl.col(y).is_finite())
    names = known.group_by(by).len().sort("len", by, descending=[True, False])[by].head(MOST_COLOURS).to_list()
    known = known.gather_every(max(1, -(-known.height // MOST_POINTS)))
    colours = colours_of(names)
    columns = min(4, max(len(names), 1))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(0.7 + 2.05 * columns, 0.7 + 1.95 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    size = float(np.clip(9000 / max(known.height, 1), 3, 14))
    for axes, name in zip(panels, names, strict=False):
        own = known[by] == name
        # Thousands of circles would be megabytes as vectors.
        for cells, colour in ((known.filter(~own), "#dcdfe6"), (known.filter(own), colours[name])):
            axes.scatter(cells[x], cells[y], size, color=colour, linewidths=0, alpha=0.7, rasterized=known.height > 60)
        axes.set_title(plain(type_name(name), 22), fontsize=8.5, fontweight="normal")
    for axes in panels[len(names):]:
        axes.axis("off")
    figure.supxlabel(words[0], fontsize=9)
    figure.supylabel(words[1], fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def places_on_map(x: np.ndarray, y: np.ndarray) -> dict[tuple[int, int], int]:
    """(row, column) of MAP -> the cell whose values lie nearest to the middle of that place; rows from the top. x, y:
    (n,) finite values of the cells; of both, the middle 96 % fills the map, and cells beyond lie at its edge."""
    along = [_scaled(x), 1 - _scaled(y)]
    rows, columns = MAP
    column, row = (np.minimum((share * size).astype(int), size - 1) for share, size in zip(along, (columns, rows),
                                                                                           strict=True))
    far = (along[0] * columns - column - 0.5) ** 2 + (along[1] * rows - row - 0.5) ** 2
    nearest: dict[tuple[int, int], int] = {}
    for cell in np.argsort(far, kind="stable"):
        nearest.setdefault((int(row[cell]), int(column[cell])), int(cell))
    return nearest


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = np.quantile(values, (0.02, 0.98))
    return np.clip((values - low) / max(high - low, 1e-12), 0, 1)


def picture_map(cells: Mapping[tuple[int, int], tuple[np.ndarray, str]]) -> np.ndarray:
    """uint8 (h, w, 3): pictures at their places of `places_on_map`, each in a frame of its colour (#rrggbb)."""
    rows, columns = MAP
    whole = np.full((rows * SIDE, columns * SIDE, 3), 255, np.uint8)
    for (row, column), (pixels, colour) in cells.items():
        square = np.asarray(Image.fromarray(pixels).resize((SIDE - 10, SIDE - 10), Image.Resampling.LANCZOS))
        own = whole[row * SIDE:(row + 1) * SIDE, column * SIDE:(column + 1) * SIDE]
        own[2:-2, 2:-2] = [int(colour[k:k + 2], 16) for k in (1, 3, 5)]
        own[5:-5, 5:-5] = square
    return whole


@styled
def shortcut_figure(shortcuts: Sequence[Shortcut]) -> Figure:
    """Accuracy from colour statistics with its interval, and the rate of the most frequent class."""
    names = [f"{s.target} from the {'border' if s.features == 'border' else 'whole image'}" for s in shortcuts]
    left, rows = 0.25 + text_width(names, 8.5), 0.4
    figure = Figure(figsize=(6.2, 1.25 + rows * len(names)))
    axes = axes_at(figure, left, 0.45, 6.2 - left - 0.3, rows * len(names))
    for at, shortcut in enumerate(shortcuts):
        estimate = shortcut.accuracy
        value = estimate.value or 0.0
        axes.plot([shortcut.majority * 100] * 2, [at - 0.3, at + 0.3], color=SOFT, linewidth=2,
                  label="most frequent class" if at == 0 else None)
        axes.plot(value * 100, at, "o", color=VERMILLION, label="guessed from colours, 95 % CI" if at == 0 else None)
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low * 100, estimate.high * 100], [at, at], color=VERMILLION)
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), xlim=(0, 100),
             xlabel="cells guessed correctly from colour statistics alone, %")
    axes.tick_params(axis="y", length=0)
    figure.text(0.02, 1 - 0.22 / figure.get_figheight(), "What colours alone reveal", weight="bold", fontsize=10,
                va="center")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return figure


def _head(title: str, shown: int, total: int) -> str:
    return title if shown == total else f"{title} (the {shown} largest of {count(total)})"
