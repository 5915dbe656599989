"""From light to stain: the white point of a field, and how much of each colour the smear absorbs.

Finds no cells. Works on the camera's own pixel values; its curve (gamma) is not removed, so densities can be compared
within a field and between fields of one camera, but are not amounts of dye.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy.typing import NDArray

DARKEST = 1.0
"""Lowest grey level that is distinguished from 0: it limits the optical density."""
AZURE, EOSIN = np.array([0.43, 0.70, 0.16]), np.array([0.17, 0.69, 0.70])
"""Densities (R, G, B) of a nucleus and of the granules of an eosinophil: medians in the smears of PBC."""

_PEAK = 0.3
_NEAR = 3  # grey levels


def white_point(pixels: UInt8[np.ndarray, "height width 3"]) -> Float64[np.ndarray, " 3"]:
    """RGB of a place without cells: the median of the pixels near the brightest peak of green, which cells absorb most.

    A field that is completely covered gives its brightest frequent colour.
    """
    level = common_peak(np.bincount(pixels[..., 1].ravel(), minlength=256))
    near = pixels[np.abs(pixels[..., 1].astype(np.int16) - level) <= _NEAR]
    return np.maximum(np.median(near, axis=0), DARKEST).astype(np.float64)


def common_peak(counts: NDArray[np.integer]) -> int:
    """The highest of the levels that are common. A level belongs to a peak if it is at least _PEAK times as frequent
    as the most frequent level above Otsu's threshold (Otsu 1979)."""
    bright = np.where(np.arange(len(counts)) > otsu(counts), counts, 0)
    smooth = np.convolve(bright if bright.any() else counts, np.ones(5), mode="same")
    common = np.flatnonzero(smooth >= _PEAK * smooth.max())
    run = np.split(common, np.flatnonzero(np.diff(common) > 1) + 1)[-1]
    return int(run[np.argmax(smooth[run])])


def optical_density(pixels: UInt8[np.ndarray, "*shape channels"],
                    white: Float64[np.ndarray, " channels"]) -> Float32[np.ndarray, "*shape channels"]:
    """-log10(pixel / white) of each channel: 0 where there is no cell, negative where it is brighter than white."""
    levels = np.maximum(np.asarray(pixels, np.float32), np.float32(DARKEST))
    np.log10(levels, out=levels)
    return np.subtract(np.log10(np.maximum(white, DARKEST)).astype(np.float32), levels, out=levels)


def dye_basis(first: Float64[np.ndarray, " 3"], second: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "3 3"]:
    """Columns: the densities (R, G, B) of two dyes, and a vector of unit length for what neither explains (Ruifrok and
    Johnston 2001). The inverse converts a density to amounts. The dyes must not have the same colour."""
    rest = np.cross(first, second)
    return np.stack([first, second, rest / np.linalg.norm(rest)], axis=1)


def otsu(counts: NDArray[np.integer]) -> int:
    """The last level of the darker of two classes, at which the variance between them is largest (Otsu 1979)."""
    weight = np.cumsum(counts, dtype=np.float64)
    total, moment = weight[-1], np.cumsum(counts * np.arange(len(counts)), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * weight - moment * total) ** 2 / (weight * (total - weight))
    between[~np.isfinite(between)] = 0
    best = np.flatnonzero(between == between.max())
    return int(best[len(best) // 2])  # the middle of an empty range between two classes
