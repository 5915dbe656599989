"""The sheet of explained cells: one row for each, with the deciding pixels in colour. Draws maps; computes none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ..images.resample import resize
from ..text import percent, plain, type_name
from .common import BLUE, VERMILLION, styled, text_width
from .svg import INK, SOFT

if TYPE_CHECKING:  # explaining needs PyTorch, and drawing does not
    from ..predict.explain import Explanation

LABELS, SIDE, GAP, BAR, TICKS = 2.25, 1.5, 0.16, 0.09, 0.55
"""Inches: the column of text, a picture, between pictures, a colour bar, its numbers."""
HEAD, ROW = 0.56, SIDE + GAP
LEAST = 0.01
"""The colours of occlusion reach at least this loss of probability, so that smaller losses stay pale."""
_STRONG = 0.85
"""Share of the colour, over the grey cell, at the ends of the colour bar."""
_PICTURES = (LABELS, LABELS + SIDE + GAP, LABELS + 2 * (SIDE + GAP) + BAR + TICKS)
"""Left edges of the three pictures of a row, in inches."""


@dataclass(frozen=True, eq=False)
class ExplainedCell:
    """One row. label: the true class, "" where it is unknown; remark: which network, and in which part the cell was.
    own: the same square of the image with its own pixels, None where only what the network sees is known."""

    name: str
    label: str
    remark: str
    explanation: Explanation
    own: UInt8[np.ndarray, "h w 3"] | None = None

    @property
    def shown(self) -> UInt8[np.ndarray, "side side 3"]:
        """The cell with its own pixels, as a square; what the network sees where that has more."""
        seen = self.explanation.cell
        if self.own is None or max(self.own.shape[:2]) <= len(seen):
            return seen
        side = max(self.own.shape[:2])
        return self.own if self.own.shape[:2] == (side, side) else resize(self.own, side)


@styled
def explanation_sheet(cells: Sequence[ExplainedCell]) -> Figure:
    """A row a cell: text, the cell, Grad-CAM and occlusion over the cell in grey, with the range of their colours.

    Vermillion supports the explained class, blue is against it, the stronger the more; each map has its own range, but
    occlusion's reaches at least 1 % of probability.
    """
    width, height = _PICTURES[2] + SIDE + BAR + TICKS + GAP, HEAD + len(cells) * ROW
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))  # one for all, in inches: axes are slow to make
    for i, cell in enumerate(cells):
        top, explanation = len(cells) * ROW - i * ROW - GAP / 2, cell.explanation
        _text(axes, top, cell)
        _picture(axes, _PICTURES[0], top, cell.shown)
        most = 0.0 if explanation.grad_cam is None else float(explanation.grad_cam.max())
        _map(axes, _PICTURES[1], top, cell, "Grad-CAM", explanation.grad_cam, limit=most or 1.0,
             ticks=[(0, "none"), (1, "most")], note="" if most else "no map supports it")
        most = 0.0 if explanation.occlusion is None else float(np.abs(explanation.occlusion).max())
        end = percent(max(most, LEAST), 0)
        _map(axes, _PICTURES[2], top, cell, "occlusion", explanation.occlusion, limit=max(most, LEAST),
             ticks=[(-1, f"−{end}"), (0, "0"), (1, end)], note="" if most >= LEAST else "less than 1 % everywhere")
    _heads(axes, height, cells)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    axes.axis("off")
    return figure


def overlay(cell: UInt8[np.ndarray, "h w 3"], values: Float[np.ndarray, "h w"],
            limit: float) -> Float[np.ndarray, "h w 3"]:
    """The cell in light grey, vermillion over it where values are positive and blue where they are negative; colour
    grows with the size of a value up to `limit` (above 0)."""
    grey = cell.astype(np.float64) @ (0.299, 0.587, 0.114) / 255
    return _coloured(0.2 + 0.8 * grey, values / limit)


def _coloured(grey: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """RGB of colours laid over grey in [0, 1]; shares in [-1, 1], cut off beyond."""
    colour = np.where(shares[..., None] > 0, to_rgb(VERMILLION), to_rgb(BLUE))
    weight = _STRONG * np.minimum(np.abs(shares), 1)[..., None]
    return (1 - weight) * grey[..., None] + weight * colour


def _heads(axes: Axes, height: float, cells: Sequence[ExplainedCell]) -> None:
    """What the colours and the columns are."""
    first = cells[0].explanation
    rows, columns = first.unit_size
    where = f"{plain(first.unit, 16)}, {columns} × {rows} px" if first.unit else ""
    seen, own = first.cell.shape[1], cells[0].shown.shape[1]
    heads = (("The cell", f"{own} px, the network sees {seen}" if own > seen else f"{seen} × {seen} px"),
             ("Grad-CAM", where),
             ("Occlusion", "probability lost where covered"))
    for left, (title, remark) in zip(_PICTURES, heads, strict=True):
        axes.text(left, height - 0.26, title, fontsize=10.5, fontweight="bold", va="center")
        axes.text(left, height - 0.46, remark, fontsize=7.5, color=SOFT, va="center")
    answers = all(cell.explanation.target == cell.explanation.predicted for cell in cells)
    supports = f"supports {'the answer' if answers else 'the explained class'}"
    for y, colour, text in ((0.28, VERMILLION, supports), (0.46, BLUE, "is against it")):
        axes.plot(0.16, height - y, "s", color=colour, markersize=6)
        axes.text(0.28, height - y, text, va="center", fontsize=8, color=SOFT)


def _text(axes: Axes, top: float, cell: ExplainedCell) -> None:
    """True class, answer and, where another class is explained, that one; then which cell of which network."""
    explanation = cell.explanation
    answer, wrong = explanation.predicted, bool(cell.label) and cell.label != explanation.predicted
    true = _fitted("true: {}", cell.label, 10.5) if cell.label else "true class unknown"  # 10.5: bold is wider
    said, explained = (_fitted(f"{word}: {{}}, {percent(explanation.probabilities[name])}", name, 8.5)
                       for word, name in (("answer", answer), ("explained", explanation.target)))
    lines = [(true, INK, 9.5, "bold"), (said, VERMILLION if wrong else INK, 8.5, "normal")]
    lines += [(explained, INK, 8.5, "normal")] if explanation.target != answer else []
    lines += [(_fitted("{}", cell.name, 8, head=0.4), SOFT, 8, "normal"), (cell.remark, SOFT, 8, "normal")]
    for i, (text, colour, size, weight) in enumerate(lines):
        axes.text(0.1, top - 0.14 - 0.22 * i, text, color=colour, fontsize=size, fontweight=weight, va="center")


def _fitted(form: str, name: str, size: float, *, head: float = 0.7) -> str:
    """A name in full, or cut in its middle, so that the line fits the column of text at `size` points."""
    full = type_name(name)
    for limit in range(48, 4, -1):
        line = form.format(plain(full if len(full) <= limit else name, limit, head=head))
        if text_width([line], size) <= LABELS - 0.25:
            return line
    return form.format(plain(name, 4))


def _picture(axes: Axes, left: float, top: float, picture: np.ndarray) -> None:
    axes.imshow(picture, extent=(left, left + SIDE, top - SIDE, top), interpolation="nearest")


def _map(axes: Axes, left: float, top: float, cell: ExplainedCell, name: str, values: np.ndarray | None, *,
         limit: float, ticks: Sequence[tuple[float, str]], note: str) -> None:
    """A map over the cell, with its colours and their numbers at the right and a note below; or why there is none."""
    if values is None:
        why = next((remark for remark in cell.explanation.remarks if name in remark), "not asked for")
        axes.text(left + SIDE / 2, top - SIDE / 2, fill(why, 24), ha="center", va="center", fontsize=8, color=SOFT)
        return
    shown = cell.shown
    if len(shown) != len(values):
        values = cv2.resize(values, shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    _picture(axes, left, top, overlay(shown, values, limit))
    x, bottom, height, low = left + SIDE + 0.06, top - SIDE + 0.06, SIDE - 0.12, ticks[0][0]
    ramp = np.linspace(1, low, 128)[:, None]
    axes.imshow(_coloured(np.full_like(ramp, 0.75), ramp), extent=(x, x + BAR, bottom, bottom + height))
    for at, text in ticks:
        axes.text(x + BAR + 0.05, bottom + height * (at - low) / (1 - low), text, fontsize=7, color=SOFT, va="center")
    if note:
        axes.text(left + SIDE / 2, top - SIDE + 0.05, note, ha="center", va="bottom", fontsize=7.5, color=INK,
                  bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5})
