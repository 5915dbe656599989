"""The scale of a field, from its red cells: they are 7.5 um across in the median, whatever their size in pixels.

Red cells overlap, and in some fields none lies alone. So it is not outlines that are measured but the largest circles
that fit into the covered area. Where leukocytes lie is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from ..images.stain import optical_density

RED_CELL = 7.5
"""um: the median diameter of a red cell in a dried smear."""
FEWEST = 4
"""Red cells below which no scale is given."""

_FIT = 0.96
"""Diameter of the largest circle within a red cell over that of the red cell, below 1 since cells are not quite round:
0.93 to 1.00 per field, on 96 phantom fields of 16 subjects at 0.06 to 0.6 um per pixel."""
_SIDE = 400  # px: windows are shrunk to about this first
_RADIUS = 8.0  # px: where circles are smaller, the window is shrunk less
_BLUR = 1.5  # px


@dataclass(frozen=True)
class RedCells:
    """What the red cells of a field show.

    diameters: px of the field, of each red cell that fits the others in size. cover: share of the field under cells of
    any kind. redness: median of red over green density where cells lie: below 1 if stained, 1 if grey. colours: its
    interquartile range: a stain has few colours. of_one_size: share of the round things that fit the others in size.
    """

    diameters: Float64[np.ndarray, " cells"]
    cover: float
    redness: float
    colours: float
    of_one_size: float

    @property
    def scale(self) -> float | None:
        """Micrometres per pixel, or None where there are too few red cells."""
        return RED_CELL / float(np.median(self.diameters)) if len(self.diameters) >= FEWEST else None


def measure_red_cells(windows: Sequence[UInt8[np.ndarray, "height width 3"]], white: Float64[np.ndarray, " 3"],
                      leukocytes: Sequence[NDArray[np.bool_]]) -> RedCells:
    """Red cells of all windows together. leukocytes: where these lie, bool (height, width) of each window."""
    diameters: list[NDArray[np.float64]] = []
    cover, ratios = [], []
    for window, known in zip(windows, leukocytes, strict=True):
        reduce = float(max(1, round(max(window.shape[:2]) / _SIDE)))
        radii, density, mask = _circles(_reduced(window, reduce), white, known)
        while len(radii) and _usual(radii) < _RADIUS and reduce > 0.5:
            reduce = max(reduce / 2, 0.5) if reduce <= 2 else float(round(reduce / 2))
            radii, density, mask = _circles(_reduced(window, reduce), white, known)
        diameters.append(radii * (2 * reduce / _FIT))
        cover.append(float(mask.mean()))
        ratios.append(density[mask][:, 0] / np.maximum(density[mask][:, 1], 0.01))
    ratio = np.concatenate(ratios)
    low, middle, high = np.percentile(ratio, [25, 50, 75]).tolist() if len(ratio) else (1.0, 1.0, 1.0)
    sizes = np.concatenate(diameters)
    usual = _usual(sizes) if len(sizes) else 0.0
    alike = sizes[(sizes > 0.65 * usual) & (sizes < 1.5 * usual)]
    return RedCells(alike, float(np.mean(cover)), middle, high - low, len(alike) / max(len(sizes), 1))


def foreground(density: NDArray[np.float32], leukocytes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where cells of any kind lie: above half the usual green density of red cells, the outline of a blurred cell.
    density: (height, width, 3); leukocytes: where these lie, (height, width). Noise is estimated from the pixels that
    are brighter than white.
    """
    smooth = cv2.medianBlur(np.ascontiguousarray(density[..., 1]), 3)
    noise = float(np.sqrt(np.mean(np.square(smooth[smooth < 0])))) if (smooth < 0).any() else 0.0
    least = max(3 * noise, 0.02)
    above = smooth[(smooth > least) & ~leukocytes]
    return smooth > max(0.5 * float(np.median(above)), least) if len(above) else smooth > least


def is_chromatin(density: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (..., 3) much less blue is absorbed than green: chromatin and platelets in most stains, but red cells too
    in some."""
    return (density[..., 2] < 0.4 * density[..., 1]) & (density[..., 1] > 0.05)


def _reduced(window: NDArray[np.uint8], reduce: float) -> NDArray[np.uint8]:
    size = (max(1, round(window.shape[1] / reduce)), max(1, round(window.shape[0] / reduce)))
    method = cv2.INTER_AREA if reduce >= 1 else cv2.INTER_LINEAR
    return window if reduce == 1 else cv2.resize(window, size, interpolation=method).astype(np.uint8)


def _circles(pixels: NDArray[np.uint8], white: NDArray[np.float64], known: NDArray[np.bool_]
             ) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.bool_]]:
    """Radii (px) of the largest circles within red cells, none inside another; density; where cells lie."""
    density = optical_density(pixels, white)
    leukocytes = cv2.resize(known.astype(np.uint8), pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    mask = foreground(density, leukocytes.astype(bool))
    # Beyond the border of the field nothing is known, so it limits no circle; circles that would reach it are left out.
    around = np.pad(_without_pallor(mask), 1, constant_values=1)
    depth = cv2.GaussianBlur(cv2.distanceTransform(around, cv2.DIST_L2, 5)[1:-1, 1:-1], (0, 0), _BLUR)
    rows, columns = np.nonzero((depth == cv2.dilate(depth, np.ones((9, 9)))) & (depth > 2))
    # Depth within a disc is a cone; smoothing lowers its tip by the mean distance from it, sqrt(pi / 2) sigma.
    radii = depth[rows, columns].astype(np.float64) + np.sqrt(np.pi / 2) * _BLUR
    room = np.min([rows, columns, depth.shape[0] - 1 - rows, depth.shape[1] - 1 - columns], axis=0) - radii
    occupied = np.asarray(cv2.integral(leukocytes.astype(np.uint8)), np.int64)
    chosen: list[int] = []
    for i in np.argsort(-radii, kind="stable"):
        apart = np.hypot(rows[chosen] - rows[i], columns[chosen] - columns[i])
        if room[i] > 2 and np.all(apart > 0.6 * (radii[chosen] + radii[i])) and _share(
                occupied, int(rows[i]), int(columns[i]), int(0.7 * radii[i])) < 0.3:
            chosen.append(int(i))
    return radii[chosen], density, mask


def _without_pallor(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill convex holes, the pale middles of red cells. Holes between cells that touch are not convex."""
    filled = mask.astype(np.uint8)
    outlines, tree = cv2.findContours(filled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for outline, links in zip(outlines, tree[0] if len(outlines) else [], strict=True):
        if links[3] >= 0:
            hull = cv2.contourArea(cv2.convexHull(outline))
            if hull <= 30 or cv2.contourArea(outline) > 0.85 * hull:
                cv2.drawContours(filled, [outline], -1, 1, cv2.FILLED)
    return filled


def _share(total: NDArray[np.int64], row: int, column: int, reach: int) -> float:
    """The share of marked pixels within `reach` px of a place. total: integral image of the marks."""
    top, left = max(row - reach, 0), max(column - reach, 0)
    bottom, right = min(row + reach + 1, total.shape[0] - 1), min(column + reach + 1, total.shape[1] - 1)
    inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    return float(inside) / ((bottom - top) * (right - left))


def _usual(sizes: NDArray[np.float64]) -> float:
    """The median size, weighted by area, so that specks and platelets do not count."""
    order = np.sort(sizes)
    weight = np.cumsum(order**2)
    return float(order[np.searchsorted(weight, weight[-1] / 2)])

