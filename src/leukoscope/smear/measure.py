"""Morphometry of one cell from its masks: sizes, shapes, lobes, mean colours. Knows nothing of how masks are found."""

from __future__ import annotations

from math import inf, pi, sqrt

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from .field import Morphometry

NECK = 0.75
"""A lobe ends where the nucleus is this much narrower than on both sides of the neck, or more."""
SMALLEST_LOBE = 0.06
"""Share of the nucleus: what is smaller is an appendage."""


def measure(pixels: UInt8[np.ndarray, "height width 3"], cell: Bool[np.ndarray, "height width"],
            nucleus: Bool[np.ndarray, "height width"], white: NDArray[np.float64],
            scale: float | None) -> Morphometry:
    """Measure a cell in its box. scale: um a pixel, or None."""
    cell_area, nucleus_area = float(cell.sum()), float(nucleus.sum())
    cytoplasm = cell_area - nucleus_area
    cell_diameter, nucleus_diameter = (2 * sqrt(area / pi) for area in (cell_area, nucleus_area))
    cell_roundness, cell_solidity = shape(cell)
    nucleus_roundness, nucleus_solidity = shape(nucleus)
    um = scale if scale is not None else None
    return Morphometry(
        cell_area, nucleus_area, cell_diameter, nucleus_diameter,
        nucleus_area / cell_area, nucleus_area / cytoplasm if cytoplasm else inf,
        cell_roundness, nucleus_roundness, cell_solidity, nucleus_solidity, count_lobes(nucleus),
        _colour(pixels, nucleus, white), _colour(pixels, cell & ~nucleus, white),
        *(None if um is None else value for value in (
            cell_area * (um or 0) ** 2, nucleus_area * (um or 0) ** 2, cell_diameter * (um or 0),
            nucleus_diameter * (um or 0))))


def shape(mask: Bool[np.ndarray, "height width"]) -> tuple[float, float]:
    """(roundness, solidity) of a mask, all its pieces together: 4 pi A / P^2, and A over the area of the convex hull.

    The outline runs half a pixel outside the middles of the outermost pixels (so that a square of n px has the area
    n^2); the perimeter is the length of that outline smoothed over five pixels, since steps would make it longer.
    Holes count neither to area nor to perimeter.
    """
    outlines, _ = cv2.findContours(np.pad(mask, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return 0.0, 0.0
    area = perimeter = 0.0
    for outline in outlines:
        smooth = _smoothed(outline[:, 0].astype(np.float64))
        length = float(np.hypot(*(smooth - np.roll(smooth, 1, axis=0)).T).sum())
        area += cv2.contourArea(outline) + cv2.arcLength(outline, True) / 2 + 1
        perimeter += length + pi  # half a pixel outwards all around
    hull = cv2.convexHull(np.concatenate(outlines))
    filled = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    return min(4 * pi * area / perimeter**2, 1.0), min(area / filled, 1.0)


def count_lobes(nucleus: Bool[np.ndarray, "height width"]) -> int:
    """Lobes: pieces of a nucleus, parted where it is narrow. Each has a widest place; two that are joined are one lobe
    where the join is wider than NECK times the narrower of them.
    """
    if not nucleus.any():
        return 0
    depth = cv2.distanceTransform(np.pad(nucleus, 1).astype(np.uint8), cv2.DIST_L2, 5)
    depth = np.asarray(cv2.GaussianBlur(depth, (0, 0), max(0.03 * sqrt(float(nucleus.sum())), 0.5)), np.float32)
    least = SMALLEST_LOBE * float(nucleus.sum())
    return max(_joined(depth, least), 1)


def _joined(depth: NDArray[np.float32], least: float) -> int:
    """Lobes by flooding: levels fall, pieces appear and meet. A piece that meets another stays a lobe where it stood
    high enough above the meeting and was large enough."""
    levels = np.linspace(float(depth.max()) * 0.98, float(depth.max()) * 0.08, 32)
    before = np.zeros(depth.shape, np.int32)
    peaks: list[float] = [0.0]
    lobes: list[int] = [0]
    for level in levels:
        count, pieces = cv2.connectedComponents((depth > level).astype(np.uint8), connectivity=8)
        new_peaks, new_lobes = [0.0] * count, [0] * count
        for piece in range(1, count):
            inside = pieces == piece
            met = [int(n) for n in np.unique(before[inside]) if n]
            tall = sorted((n for n in met), key=lambda n: -peaks[n])
            if not tall:
                new_peaks[piece], new_lobes[piece] = float(depth[inside].max()), 1
                continue
            extra = sum(lobes[n] for n in tall[1:] if level < NECK * peaks[n] and _size(before, n) >= least * 0.5)
            new_peaks[piece], new_lobes[piece] = peaks[tall[0]], lobes[tall[0]] + extra
        before, peaks, lobes = pieces, new_peaks, new_lobes
    return sum(lobes[n] for n in range(1, len(lobes)) if _size(before, n) >= least)


def _size(pieces: NDArray[np.int32], number: int) -> int:
    return int(np.count_nonzero(pieces == number))


def _smoothed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed outline, each point the mean of five."""
    if len(points) < 8:
        return points
    return sum(np.roll(points, shift, axis=0) for shift in (-2, -1, 0, 1, 2)) / 5  # type: ignore[return-value]


def _colour(pixels: NDArray[np.uint8], where: NDArray[np.bool_],
            white: NDArray[np.float64]) -> tuple[float, float, float] | None:
    if not where.any():
        return None
    red, green, blue = (pixels[where].mean(axis=0) / np.maximum(white, 1)).tolist()
    return red, green, blue
