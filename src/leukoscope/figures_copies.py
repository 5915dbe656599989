"""A sheet of cells and their changed copies, each with what was done to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures_common import SOFT, axes_at, styled
from .pages import plain

SIDE, GAP, HEAD, NAME, UNDER = 1.15, 0.08, 0.3, 1.5, 0.34


@dataclass(frozen=True, eq=False)
class CopiedCell:
    """One row of the sheet: the cell, uint8 (h, w, 3), and its copies with their rows of copies.csv."""

    cell_id: str
    label: str
    pixels: np.ndarray
    copies: Sequence[tuple[np.ndarray, Mapping[str, Any]]]


@styled
def copies_sheet(cells: Sequence[CopiedCell]) -> Figure:
    """A row a cell: the cell, then its first copies."""
    most = max(len(cell.copies) for cell in cells)
    width = NAME + (most + 1) * (SIDE + GAP) + GAP
    height = HEAD + len(cells) * (SIDE + UNDER) + GAP
    figure = Figure(figsize=(width, height))
    for row, cell in enumerate(cells):
        bottom = height - HEAD - (row + 1) * (SIDE + UNDER) + UNDER
        figure.text(GAP / width, (bottom + 0.55 * SIDE) / height, plain(cell.label, 20), fontsize=9, weight="bold")
        figure.text(GAP / width, (bottom + 0.55 * SIDE - 0.18) / height, plain(cell.cell_id, 22), fontsize=7,
                    color=SOFT)
        for column, (pixels, words) in enumerate([(cell.pixels, "original" if row == 0 else ""),
                                                  *((copy, said(done)) for copy, done in cell.copies)]):
            axes = axes_at(figure, NAME + column * (SIDE + GAP), bottom, SIDE, SIDE)
            _picture(axes, pixels, words)
    return figure


def said(done: Mapping[str, Any]) -> str:
    """`-12°, 1.10 x, flipped` in two lines at most: what was done to a copy, geometry first."""
    turned = [f"{done['rotation']:+.0f}°"] if done["rotation"] else []
    turned += [f"{done['zoom']:.2f} x"] if done["zoom"] != 1 else []
    turned += ["flipped"] if done["flip_horizontal"] or done["flip_vertical"] else []
    moved = [f"by {100 * done['shift_x']:+.0f}, {100 * done['shift_y']:+.0f} %"] \
        if done["shift_x"] or done["shift_y"] else []
    moved += [f"shear {done['shear']:+.0f}°"] if done["shear"] else []
    moved += ["recoloured"] if any(done[name] != usual for name, usual in (
        ("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0))) else []
    return "\n".join(", ".join(words).replace("-", "−") for words in (turned, moved) if words)


def _picture(axes: Axes, pixels: np.ndarray, words: str) -> None:
    axes.imshow(pixels, interpolation="nearest" if len(pixels) < 100 else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(words, fontsize=6.2, labelpad=2, color=SOFT)
