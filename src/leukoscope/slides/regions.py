"""What is worked on at once: squares with their window, and each cell once where two regions meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..smear.field import Box, same_cell
from .grid import Squares, Window
from .path import Place

BLOCK = 4
"""Squares along a side of a region, where every leukocyte is counted."""
SLACK = 8
"""px: a cell whose middle lies this near to a seam is kept by both regions, and then once."""


@dataclass(frozen=True)
class Region:
    """Squares that are worked on together, in the order of `number`, and what is read for them."""

    number: int
    squares: tuple[Place, ...]
    window: Window


def regions_of_path(path: Sequence[Place], squares: Squares) -> list[Region]:
    """A region for each square, in the order of the path."""
    return [Region(number, (place,), squares.around(squares.window(*place))) for number, place in enumerate(path)]


def regions_of_all(places: Iterable[Place], squares: Squares) -> list[Region]:
    """Blocks of squares, row by row."""
    blocks: dict[Place, list[Place]] = defaultdict(list)
    for row, column in sorted(places):
        blocks[row // BLOCK, column // BLOCK].append((row, column))
    regions = []
    for number, block in enumerate(sorted(blocks)):
        own = blocks[block]
        (top, bottom), (left, right) = ((min(values), max(values)) for values in zip(*own, strict=True))
        window = squares.window(top, left, bottom - top + 1, right - left + 1)
        regions.append(Region(number, tuple(own), squares.around(window)))
    return regions


def keeps(region: Region, squares: Squares, x: float, y: float, slack: float = SLACK) -> bool:
    """Whether a cell with its middle at (x, y) belongs to a region, or lies so near that it may."""
    return any((row, column) in region.squares for row in {squares.at(x, y - slack)[0], squares.at(x, y + slack)[0]}
               for column in {squares.at(x - slack, y)[1], squares.at(x + slack, y)[1]})


def doubles(boxes: Sequence[Box], regions: Sequence[int]) -> set[int]:
    """Which of the boxes are of a cell that an earlier one of another region shows too. regions: number of each box's
    region."""
    side = max((max(width, height) for _, _, width, height in boxes), default=1)
    near: dict[Place, list[int]] = defaultdict(list)
    second: set[int] = set()
    for index in sorted(range(len(boxes)), key=lambda i: (regions[i], i)):
        x, y, _, _ = boxes[index]
        row, column = y // side, x // side
        around = [other for r in (-1, 0, 1) for c in (-1, 0, 1) for other in near[row + r, column + c]]
        if any(regions[other] != regions[index] and same_cell(boxes[other], boxes[index]) for other in around):
            second.add(index)
        else:
            near[row, column].append(index)
    return second
