"""Morphometry of one cell from its masks: sizes, shapes, lobes, mean colours. Knows nothing of how masks are found."""

from __future__ import annotations

from math import inf, pi, sqrt

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from .field import Morphometry

NECK = 0.5
"""Two parts of a nucleus are two lobes where the neck between them has at most this share of the width of the thinner
part. Nuclei of band cells, lymphocytes and monocytes of PBC (docs/smear.md) then have one lobe."""
SMALLEST_LOBE = 0.1
"""Share of the nucleus: a smaller part is an appendage, not a lobe."""

_LOBE_SIDE = 48.0  # px: root of the area at which lobes are counted, so that the count does not depend on the scale


def measure(pixels: UInt8[np.ndarray, "height width 3"], cell: Bool[np.ndarray, "height width"],
            nucleus: Bool[np.ndarray, "height width"], white: NDArray[np.float64],
            scale: float | None) -> Morphometry:
    """Measure a cell in its box. white: RGB of a place without cells. scale: um per pixel, or None."""
    cell_area, nucleus_area = float(cell.sum()), float(nucleus.sum())
    cytoplasm = cell_area - nucleus_area
    cell_diameter, nucleus_diameter = (2 * sqrt(area / pi) for area in (cell_area, nucleus_area))
    cell_roundness, cell_solidity = shape(cell)
    nucleus_roundness, nucleus_solidity = shape(nucleus)
    return Morphometry(
        cell_area, nucleus_area, cell_diameter, nucleus_diameter,
        nucleus_area / cell_area, nucleus_area / cytoplasm if cytoplasm else inf,
        cell_roundness, nucleus_roundness, cell_solidity, nucleus_solidity, count_lobes(nucleus),
        _colour(pixels, nucleus, white), _colour(pixels, cell & ~nucleus, white),
        *(None if scale is None else size * scale**power for size, power in (
            (cell_area, 2), (nucleus_area, 2), (cell_diameter, 1), (nucleus_diameter, 1))))


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
    """Lobes of a nucleus, by how deep its pixels lie: each lobe has a deepest place, and a neck (NECK) separates two of
    them. Separate pieces of a nucleus are lobes. 0 without a nucleus.
    """
    if not nucleus.any():
        return 0
    zoom = _LOBE_SIDE / sqrt(float(nucleus.sum()))
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    mask = cv2.resize(np.pad(nucleus, 2).astype(np.float32), None, fx=zoom, fy=zoom, interpolation=method) > 0.5
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)
    smooth = np.asarray(cv2.GaussianBlur(depth, (0, 0), 1.0), np.float32)
    return max(_count_peaks(smooth, SMALLEST_LOBE * mask.sum()), 1)


def _count_peaks(depth: NDArray[np.float32], least: float) -> int:
    """Lobes, by lowering a level step by step: pieces above it appear at their deepest place, grow, and meet. A piece
    that meets a deeper one is a lobe if it has at least half of `least` px and the level is below NECK of its depth.
    """
    before = np.zeros(depth.shape, np.int32)
    deepest, lobes, sizes = [0.0], [0], np.zeros(1)
    for level in np.linspace(float(depth.max()) * 0.98, float(depth.max()) * 0.08, 32):
        count, pieces = cv2.connectedComponents((depth > level).astype(np.uint8), connectivity=8)
        depths, counts = [0.0] * count, [0] * count
        for piece in range(1, count):
            inside = pieces == piece
            met = sorted((int(n) for n in np.unique(before[inside]) if n), key=lambda n: -deepest[n])
            depths[piece] = deepest[met[0]] if met else float(depth[inside].max())
            counts[piece] = lobes[met[0]] if met else 1
            counts[piece] += sum(lobes[n] for n in met[1:] if level < NECK * deepest[n] and sizes[n] >= least / 2)
        before, deepest, lobes = np.asarray(pieces, np.int32), depths, counts
        sizes = np.bincount(before.ravel(), minlength=count)
    return sum(lobes[n] for n in range(1, len(lobes)) if sizes[n] >= least)


def _smoothed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed outline; each point becomes the mean of five."""
    if len(points) < 8:
        return points
    return sum(np.roll(points, shift, axis=0) for shift in (-2, -1, 0, 1, 2)) / 5  # type: ignore[return-value]


def _colour(pixels: NDArray[np.uint8], where: NDArray[np.bool_],
            white: NDArray[np.float64]) -> tuple[float, float, float] | None:
    if not where.any():
        return None
    red, green, blue = (pixels[where].mean(axis=0) / np.maximum(white, 1)).tolist()
    return red, green, blue
