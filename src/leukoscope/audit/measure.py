"""What the audit measures on one cell: size, sharpness, brightness, stain, and colours as a whole and at the border.

Pure functions of pixels, and one pass over a manifest. Knows nothing of labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import polars as pl

from ..images.decode import Damaged, map_cells
from ..images.read import Pixels
from ..leaks.duplicates import Fingerprint, fingerprint, prints_table
from ..progress import OnProgress

BASIC = ("width", "height", "sharpness", "brightness", "density", "hue")
"""width, height in px; sharpness: log10 of the variance of the Laplacian (grey levels, after a blur of 1 px);
brightness: mean luminance in [0, 1]; density: mean optical density of stained pixels against white, all channels;
hue: of the stain's absorption in degrees, in the chromaticity plane of van der Laak et al. 2000 (doi
10.1002/(SICI)1097-0320(20000401)39:4<275::AID-CYTO5>3.0.CO;2-B): 0 absorbs red, 120 green, 240 blue."""
COLOURS = tuple(f"{what}_{channel}" for what in ("mean", "spread", "p10", "p50", "p90") for channel in "rgb")
"""Colour statistics of the whole cell image, in [0, 1]."""
BORDER = tuple(f"border_{what}_{channel}" for what in ("mean", "spread") for channel in "rgb")
"""Mean and spread of the outer frame, a twelfth of the side wide: where the cell itself hardly ever is."""
COLUMNS = BASIC + COLOURS + BORDER
SMALL = 64
"""Colours are taken from an image of at most this side, px: enough for statistics, and fast."""
CUT_OUT = 4
"""Pixels this dark in every channel are the ground of a cell that was cut out, not stain."""
STAINED = 0.25
"""Least optical density, mean of the channels, of a stained pixel."""


@dataclass(frozen=True)
class Measured:
    """measures: a row of `COLUMNS`, null damaged cells left out. prints: as `duplicates.fingerprint_manifest`."""

    measures: pl.DataFrame
    prints: pl.DataFrame
    damaged: tuple[Damaged, ...]


def measure_cells(manifest: pl.DataFrame, on_progress: OnProgress | None = None) -> Measured:
    """Measure and fingerprint every cell in one decoding pass."""
    prints: list[Fingerprint | Damaged | None] = [None] * manifest.height
    values = np.full((manifest.height, len(COLUMNS)), np.nan)
    damaged: dict[int, Damaged] = {}
    for row, found in map_cells(manifest, _both, on_progress=on_progress):
        if isinstance(found, Damaged):
            prints[row] = damaged[row] = found
        else:
            prints[row], values[row] = found
    ids = manifest["cell_id"].to_list()
    table = pl.DataFrame({"cell_id": ids} | dict(zip(COLUMNS, values.T, strict=True))).filter(
        ~pl.Series([row in damaged for row in range(manifest.height)], dtype=pl.Boolean))
    return Measured(table, prints_table(ids, prints), tuple(damaged[row] for row in sorted(damaged)))


def measure(pixels: Pixels) -> np.ndarray:
    """(len(COLUMNS),) float64 of one cell, uint8 (h, w, 3) RGB. Stain is NaN where nothing is stained."""
    height, width = pixels.shape[:2]
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (5, 5), 1), cv2.CV_16S)
    sharpness = 2 * np.log10(max(float(cv2.meanStdDev(edges)[1][0, 0]), 0.03))
    small = _shrunk(pixels)
    flat = small.reshape(-1, 3).astype(np.float64) / 255
    known = flat[flat.max(1) > CUT_OUT / 255]
    density, hue = _stain(known)
    colours = [flat.mean(0), flat.std(0), *np.quantile(flat, (0.1, 0.5, 0.9), axis=0)]
    frame = np.ones(small.shape[:2], bool)
    edge = max(1, min(small.shape[:2]) // 12)
    frame[edge:-edge, edge:-edge] = False
    border = small[frame].astype(np.float64) / 255
    brightness = float(known.mean(0) @ (0.299, 0.587, 0.114)) if len(known) else 0.0
    return np.concatenate([[width, height, sharpness, brightness, density, hue], *colours, border.mean(0),
                           border.std(0)])


def _both(pixels: np.ndarray) -> tuple[Fingerprint, np.ndarray]:
    return fingerprint(pixels), measure(pixels)


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = SMALL / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _stain(colours: np.ndarray) -> tuple[float, float]:
    """Mean optical density and hue (degrees) of the stained among colours (n, 3) in [0, 1]."""
    densities = -np.log10(np.maximum(colours, 1 / 255))
    mean = densities.mean(1)
    stained = mean > STAINED
    if not stained.any():
        return np.nan, np.nan
    red, green, blue = densities[stained].mean(0) / mean[stained].mean()
    return float(mean[stained].mean()), float(np.degrees(np.arctan2((green - blue) / np.sqrt(3), red - 1)) % 360)
