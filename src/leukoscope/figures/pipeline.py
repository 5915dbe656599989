"""The steps from a cell to the network's input, and changed copies of cells, as pictures. Computes no step itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ..tables import Row
from ..text import plain, plural, type_name
from .common import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, axes_at, styled
from .svg import LINE, SOFT

ORIENTATIONS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Colours of the maps; further maps start again with the first."""
RASTER = 240
"""Neurons in the raster: the same number of each orientation, evenly over the image."""
SIDE, GAP, HEAD = 1.5, 0.12, 0.5
FOOT = 0.45
"""Inches below the raster, for its axis."""
FRAMES, FRAMES_A_ROW = 16, 8
"""Time steps shown as pictures; of more steps, this number is chosen evenly."""

Picture = Float[np.ndarray, "h w"]


@styled
def pipeline_strip(
    cell: UInt8[np.ndarray, "h w 3"],
    grey: UInt8[np.ndarray, "h w"],
    responses: Float[np.ndarray, "maps h w"],
    latency: UInt8[np.ndarray, "maps h w"] | None,
    steps: int,
    stages: Sequence[tuple[str, str, Picture]],
) -> Figure:
    """The cell, its grey values and oriented edges; the spikes, step by step and as a raster; then the later stages.

    latency: time step of each neuron, `steps` for those that never fire; None where edges are not coded as spikes.
    stages: (title, remark, picture) of each, scaled to its own range.
    """
    count = len(responses)
    top = [("The cell", "", cell), ("Grey", "", grey / 255.0),
           *((f"Edges, {180 * i / count + 90 / count:.4g}°", "Gabor response",
              responses[i] / max(float(responses.max()), 1e-9)) for i in range(count))]
    columns = max(len(top), len(stages) + (3 if latency is not None else 0), 6)
    width = columns * (SIDE + GAP) + GAP
    frame = (width - GAP) / FRAMES_A_ROW - GAP / 2
    frames = 0.0 if latency is None else HEAD + -(-min(steps, FRAMES) // FRAMES_A_ROW) * (frame + 0.2)
    height = 2 * (HEAD + SIDE) + frames + 2 * GAP + (FOOT if latency is not None else 0)
    figure = Figure(figsize=(width, height))
    upper = height - HEAD - SIDE
    lower = upper - frames - GAP - HEAD - SIDE
    _row(figure, top, upper, spread=(0, 1))
    if latency is not None:
        _frames(figure, latency, steps, frame, upper - GAP - HEAD - frame)
        _raster(axes_at(figure, GAP + 0.3, lower, 3 * (SIDE + GAP) - GAP - 0.45, SIDE), latency, steps)
    _row(figure, stages, lower, 0 if latency is None else 3)
    return figure


def _row(figure: Figure, pictures: Sequence[tuple[str, str, np.ndarray]], bottom: float, first: int = 0, *,
         spread: tuple[float | None, float | None] = (None, None)) -> None:
    """Pictures side by side from place `first` on; grey ones in the range `spread`, or their own."""
    for i, (title, remark, picture) in enumerate(pictures, start=first):
        axes = axes_at(figure, GAP + i * (SIDE + GAP), bottom, SIDE, SIDE)
        low, high = spread if picture.ndim == 2 else (None, None)
        axes.imshow(picture, cmap="gray", interpolation="nearest", vmin=low, vmax=high)
        _named(axes, title, remark)
        axes.axis("off")


def _frames(figure: Figure, latency: np.ndarray, steps: int, side: float, bottom: float) -> None:
    """The neurons that fire in each step, in the colour of their orientation; `bottom` of the first row."""
    shown = np.unique(np.linspace(0, steps - 1, min(steps, FRAMES)).round().astype(int))
    for i, step in enumerate(shown.tolist()):
        row, column = divmod(i, FRAMES_A_ROW)
        axes = axes_at(figure, GAP + column * (side + GAP / 2), bottom - row * (side + 0.2), side, side)
        axes.imshow(_coloured(latency == step), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color(LINE)
        axes.text(0, -0.03, f"step {step + 1}", transform=axes.transAxes, va="top", fontsize=7.5, color=SOFT)
        if i == 0:
            of = "" if len(shown) == steps else f", {len(shown)} of them"
            _named(axes, f"Spikes of each of {plural(steps, 'time step')}{of}",
                   "strong edges fire first; colours are orientations")


def _coloured(fires: np.ndarray) -> np.ndarray:
    """(maps, h, w) bool -> RGB on white; where several maps fire the first colour is on top."""
    picture = np.ones((*fires.shape[1:], 3))
    for i in reversed(range(len(fires))):
        picture[fires[i]] = to_rgb(ORIENTATIONS[i % len(ORIENTATIONS)])
    return picture


def _raster(axes: Axes, latency: np.ndarray, steps: int) -> None:
    each = RASTER // len(latency)
    for i, steps_of_map in enumerate(latency):
        flat = steps_of_map.reshape(-1)
        firing = np.flatnonzero(flat < steps)
        chosen = firing[np.linspace(0, len(firing) - 1, min(each, len(firing))).astype(int)] if len(firing) else firing
        rows = np.arange(len(chosen)) + i * each
        axes.plot(flat[chosen] + 1, rows, linestyle="none", marker="|", markersize=3, markeredgewidth=0.8,
                  color=ORIENTATIONS[i % len(ORIENTATIONS)])
    axes.set(xlim=(0.4, steps + 0.6), ylim=(each * len(latency), -1), xlabel="time step", ylabel="neurons")
    axes.set_yticks([])
    silent = float((latency == steps).mean())
    _named(axes, "Spike raster", f"some neurons of each orientation; {100 * silent:.0f} % of all never fire")


def _named(axes: Axes, title: str, remark: str) -> None:
    axes.set_title(title, loc="left", pad=14 if remark else 4, fontsize=9)
    if remark:
        axes.text(0, 1.03, remark, transform=axes.transAxes, va="bottom", fontsize=7.5, color=SOFT)


@dataclass(frozen=True, eq=False)
class CopiedCell:
    """One row of the sheet: the cell, uint8 (h, w, 3), and its copies with their rows of copies.csv."""

    cell_id: str
    label: str
    pixels: np.ndarray
    copies: Sequence[tuple[np.ndarray, Row]]


@styled
def copies_sheet(cells: Sequence[CopiedCell]) -> Figure:
    """A row a cell: the cell, then its first copies with what was changed."""
    side, gap, head, name, under = 1.15, 0.08, 0.3, 1.5, 0.34  # inches
    width = name + (max(len(cell.copies) for cell in cells) + 1) * (side + gap) + gap
    height = head + len(cells) * (side + under) + gap
    figure = Figure(figsize=(width, height))
    for row, cell in enumerate(cells, start=1):
        bottom = height - head - row * (side + under) + under
        figure.text(gap / width, (bottom + 0.55 * side) / height, plain(type_name(cell.label, 20)), fontsize=9,
                    weight="bold")
        figure.text(gap / width, (bottom + 0.55 * side - 0.18) / height, plain(cell.cell_id, 22), fontsize=7,
                    color=SOFT)
        copies = [(pixels, changes(done)) for pixels, done in cell.copies]
        for column, (pixels, text) in enumerate([(cell.pixels, "original" if row == 1 else ""), *copies]):
            axes = axes_at(figure, name + column * (side + gap), bottom, side, side)
            axes.imshow(pixels, interpolation="nearest" if len(pixels) < 100 else "antialiased")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(text, fontsize=6.2, labelpad=2, color=SOFT)
    return figure


def changes(done: Row) -> str:
    """`-12°, 1.10 x, flipped` in two lines at most: what was changed in a copy, geometry first. done: a row of
    copies.csv."""
    turned = [f"{done['rotation']:+.0f}°"] if done["rotation"] else []
    turned += [f"{done['zoom']:.2f} x"] if done["zoom"] != 1 else []
    turned += ["flipped"] if done["flip_horizontal"] or done["flip_vertical"] else []
    moved = [f"by {100 * done['shift_x']:+.0f}, {100 * done['shift_y']:+.0f} %"] \
        if done["shift_x"] or done["shift_y"] else []
    moved += [f"shear {done['shear']:+.0f}°"] if done["shear"] else []
    moved += ["recoloured"] if any(done[name] != usual for name, usual in (
        ("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0))) else []
    return "\n".join(", ".join(words).replace("-", "−") for words in (turned, moved) if words)
