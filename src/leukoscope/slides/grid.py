"""The squares of a slide: about as large as a view through an oil objective, on the finder's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ..finder.network import REACH, STRIDE
from ..smear.grid import grid_of

SQUARE = 250.0
"""um: about the side of a square."""
_MARGIN = 24.0  # um around a square, so that cells whose middle lies in it are whole
_ALIGNED = 3 * STRIDE

Window = tuple[int, int, int, int]
"""left, top, width, height in px of the slide."""


@dataclass(frozen=True)
class Squares:
    """Squares of `side` px over a slide of `width` x `height` px; those at the right and lower end may be smaller.
    margin: px around them. scale: um per pixel. Both are such that the finder's grid is the same wherever it begins."""

    width: int
    height: int
    side: int
    margin: int
    scale: float

    @property
    def rows(self) -> int:
        return ceil(self.height / self.side)

    @property
    def columns(self) -> int:
        return ceil(self.width / self.side)

    def window(self, row: int, column: int, rows: int = 1, columns: int = 1) -> Window:
        """Where squares lie, within the slide."""
        left, top = column * self.side, row * self.side
        right, bottom = min(left + columns * self.side, self.width), min(top + rows * self.side, self.height)
        return left, top, right - left, bottom - top

    def around(self, window: Window) -> Window:
        """A window with its margin, within the slide."""
        left, top = max(window[0] - self.margin, 0), max(window[1] - self.margin, 0)
        right = min(window[0] + window[2] + self.margin, self.width)
        bottom = min(window[1] + window[3] + self.margin, self.height)
        return left, top, right - left, bottom - top

    def at(self, x: float, y: float) -> tuple[int, int]:
        """(row, column) of the square in which a place lies; 0 is the middle of the first pixel."""
        return int((y + 0.5) // self.side), int((x + 0.5) // self.side)

    def mm2(self, row: int, column: int) -> float:
        """The area of a square."""
        _, _, width, height = self.window(row, column)
        return width * height * self.scale**2 / 1e6


def squares_of(width: int, height: int, scale: float) -> Squares:
    """The squares of a slide at `scale` um per pixel."""
    grid = grid_of(scale)
    step = _ALIGNED * grid.merged
    side = max(round(SQUARE / scale / step), 1) * step
    reach = REACH * grid.merged / grid.split + _MARGIN / scale
    return Squares(width, height, side, ceil(reach / step) * step, scale)
