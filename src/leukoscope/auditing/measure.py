"""What the audit measures on a cell: size, sharpness, brightness, stain, and colours of the whole and of the border.

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
brightness: mean luminance in [0, 1]; density: mean optical density of stained pixels relative to white, all channels;
hue: of the stain's absorption in degrees, in the chromaticity plane of van der Laak et al. 2000 (doi
10.1002/(SICI)1097-0320(20000401)39:4<275::AID-CYTO5>3.0.CO;2-B): 0 absorbs red, 120 green, 240 blue."""
COLOURS = tuple(f"{what}_{channel}" for what in ("mean", "spread", "p10", "p50", "p90") for channel in "rgb")
"""Colour statistics of the whole cell image, in [0, 1]."""
BORDER = tuple(f"border_{what}_{channel}" for what in ("mean", "spread") for channel in "rgb")
"""Mean and spread of the outer frame, one twelfth of the side wide, which rarely contains a part of the cell."""
COLUMNS = BASIC + COLOURS + BORDER
SMALL = 64
"""Largest side in px of the image for colours: enough for statistics, and fast."""
CUT_OUT = 4
"""Pixels this dark in every channel are the background of a cell that was cut out, not stain."""
STAINED = 0.25
"""Lowest optical density, mean of the channels, of a stained pixel."""


@dataclass(frozen=True)
class Measured:
    """measures: cell_id and `COLUMNS`, without damaged cells. prints: as `duplicates.prints_table`."""

    measures: pl.DataFrame
    prints: pl.DataFrame
    damaged: tuple[Damaged, ...]


def measure_cells(manifest: pl.DataFrame, on_progress: OnProgress | None = None) -> Measured:
    """Measure and fingerprint every cell in one decoding pass."""
    prints: list[Fingerprint | Damaged | None] = [None] * manifest.height
    values = np.full((manifest.height, len(COLUMNS)), np.nan)
    damaged: dict[int, Damaged] = {}
    both = map_cells(manifest, lambda pixels: (fingerprint(pixels), measure(pixels)), on_progress=on_progress)
    for row, result in both:
        if isinstance(result, Damaged):
            prints[row] = damaged[row] = result
        else:
            prints[row], values[row] = result
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
    scale = min(1.0, SMALL / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = pixels if scale == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
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


def _stain(colours: np.ndarray) -> tuple[float, float]:
    """Mean optical density and hue (degrees) of the stained among colours (n, 3) in [0, 1]."""
    densities = -np.log10(np.maximum(colours, 1 / 255))
    mean = densities.mean(1)
    stained = mean > STAINED
    if not stained.any():
        return np.nan, np.nan
    red, green, blue = densities[stained].mean(0) / mean[stained].mean()
    return float(mean[stained].mean()), float(np.degrees(np.arctan2((green - blue) / np.sqrt(3), red - 1)) % 360)
