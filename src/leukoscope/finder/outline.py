"""From the network's answer for each pixel to leukocytes: which pixels are one cell, and how clear that is.

Knows one window at a time, on the working grid, and nothing of fields, tiles or red cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

NUCLEUS, CELL, CORE = range(3)
SMALLEST_NUCLEUS = 18.0
"""um2: 4.8 um across. A lymphocyte's is larger even where few red cells give a scale that is a fifth off; what is taken
for the nucleus of a platelet is smaller."""
SMALLEST_CELL = 22.0
"""um2: 5.3 um across."""
LEAST_CUT = 0.5
"""Share of those areas that is enough for a cell at the border of the field, if its box has a side of at least
LONGEST."""
LONGEST = 6.5
"""um: platelets are shorter."""


@dataclass(frozen=True, eq=False)
class Outline:
    """One cell of a window: its place (top, left), and the probabilities of cell and nucleus there, with a margin of
    one pixel; 0 where something else lies. centre: (x, y) in px of the window.
    """

    top: int
    left: int
    cell: Float32[np.ndarray, "height width"]
    nucleus: Float32[np.ndarray, "height width"]
    centre: tuple[float, float]
    score: float


def outline_cells(maps: Float32[np.ndarray, "3 height width"], scale: float,
                  edges: tuple[bool, bool, bool, bool] = (True, True, True, True), *,
                  least: float = 1.0) -> list[Outline]:
    """The cells of a window at `scale` um per pixel. edges: whether its top, left, bottom, right are borders of the
    field: a cell that these cut may be smaller. least: share of the usual smallest areas that is enough.
    """
    maps = maps.copy()
    np.maximum(maps[CELL], maps[NUCLEUS], out=maps[CELL])
    labels = separate(maps, least * SMALLEST_NUCLEUS / scale**2)
    outlines = [_outline(maps, labels, number, place, scale, edges, least)
                for number, place in _boxes(labels)]
    return [outline for outline in outlines if outline is not None]


def _boxes(labels: NDArray[np.int32]) -> list[tuple[int, tuple[slice, ...]]]:
    """Each number that occurs, in order, and its box."""
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    first, last = (np.full((2, labels.max(initial=0) + 1), value, np.int64) for value in (max(labels.shape), -1))
    for axis, places in enumerate((rows, columns)):
        np.minimum.at(first[axis], numbers, places)
        np.maximum.at(last[axis], numbers, places)
    return [(int(number), tuple(slice(int(first[axis, number]), int(last[axis, number]) + 1) for axis in (0, 1)))
            for number in np.unique(numbers)]


def separate(maps: Float32[np.ndarray, "3 height width"], least: float) -> NDArray[np.int32]:
    """Number the cells, 1 .. n: int32 (height, width). Cells that touch are split half-way between their cores; a core
    whose part would have a nucleus of fewer than `least` px does not count.
    """
    body = maps[CELL] > 0.5
    count, pieces = _pieces(body, 4)
    count_cores, cores = _pieces((maps[CORE] > 0.5) & body, 8)
    labels = _split(body, pieces, cores, count, count_cores)
    nuclei = np.bincount(labels[maps[NUCLEUS] > 0.5], minlength=count + count_cores)
    weak = nuclei[count:] < least
    weak[0] = False
    if weak.any() and (labels >= count).any():
        labels = _split(body, pieces, np.where(weak[cores], 0, cores), count, count_cores)
    return labels


def _pieces(mask: NDArray[np.bool_], connectivity: int) -> tuple[int, NDArray[np.int32]]:
    """One more than the number of connected pieces, and each pixel's: int32 (height, width), 0 outside."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    return count, np.asarray(pieces, np.int32)


def _split(body: NDArray[np.bool_], pieces: NDArray[np.int32], cores: NDArray[np.int32], count: int,
           count_cores: int) -> NDArray[np.int32]:
    """`pieces`; those with two or more cores are split: pixels whose nearest core is i get the number count + i."""
    core = cores > 0
    piece_of = np.zeros(count_cores, np.int64)
    piece_of[cores[core]] = pieces[core]
    owners = np.bincount(piece_of[piece_of > 0], minlength=count)
    shared = (owners > 1)[pieces] & body
    labels = np.where(body, pieces, 0).astype(np.int32)
    if shared.any():
        _, nearest = cv2.distanceTransformWithLabels((~core).astype(np.uint8), cv2.DIST_L2, 5,
                                                     labelType=cv2.DIST_LABEL_PIXEL)
        nearest = np.asarray(nearest, np.int32)
        name = np.zeros(int(nearest.max()) + 1, np.int32)
        name[nearest[core]] = cores[core]
        labels[shared] = count + name[nearest[shared]]
    return labels


def _outline(maps: NDArray[np.float32], labels: NDArray[np.int32], number: int, place: tuple[slice, ...],
             scale: float, edges: tuple[bool, bool, bool, bool], enough: float) -> Outline | None:
    """The cell with that number, or None if it is too small."""
    rows, columns = place
    height, width = labels.shape
    at_edge = any(edge and end for edge, end in zip(edges, (
        rows.start == 0, columns.start == 0, rows.stop == height, columns.stop == width), strict=True))
    if at_edge and max(rows.stop - rows.start, columns.stop - columns.start) * scale < LONGEST:
        return None
    least = enough * (LEAST_CUT if at_edge else 1.0) / scale**2
    top, left = max(rows.start - 1, 0), max(columns.start - 1, 0)
    window = np.s_[top:rows.stop + 1, left:columns.stop + 1]
    region = whole(labels[window] == number)
    nucleus = maps[NUCLEUS][window] * region
    inside = nucleus > 0.5
    if region.sum() < SMALLEST_CELL * least or inside.sum() < SMALLEST_NUCLEUS * least:
        return None
    cell = maps[CELL][window]
    score = float(np.sqrt(cell[region].mean() * nucleus[inside].mean()))
    # Holes are filled. Just outside the cell the probabilities fall below one half; those of other cells are removed.
    cell = np.where(region, np.maximum(cell, np.float32(0.5 + 1e-3)), np.where(cell > 0.5, 0, cell))
    y, x = (float(np.mean(axis)) for axis in np.nonzero(region))
    return Outline(top, left, cell.astype(np.float32), nucleus.astype(np.float32), (left + x, top + y), score)


def whole(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of a mask, with its holes filled; the mask itself where it is empty."""
    if not mask.any():
        return mask
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, [max(outlines, key=lambda line: (cv2.contourArea(line), len(line)))], -1, 1, cv2.FILLED)
    return filled > 0
