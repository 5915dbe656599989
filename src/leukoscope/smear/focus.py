"""How sharp a photograph is: how wide the edges of its cells are."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

SOFT = 1.6
"""um: where edges of cells are wider than this, a photograph is out of focus. In sharp ones they are 0.5 to 0.8 um
wide, after a blur of half a micrometre 0.9 to 1.4, of one micrometre 1.4 to 2.2 (docs/smear.md)."""


def width_of_edges(density: Float32[np.ndarray, "height width"], single: float, scale: float) -> float | None:
    """um: the density of a cell over the steepest slopes at half of it; None where there are too few edges. density: of
    green; single: that of one red cell; scale: um per pixel."""
    smooth = cv2.GaussianBlur(density, (0, 0), max(0.15 / scale, 0.5))
    slope = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8))
    rim = slope[(smooth > 0.3 * single) & (smooth < 0.7 * single)]
    if len(rim) < 100:
        return None
    steepest = float(np.percentile(rim, 90)) / scale
    return single / steepest if steepest > 0 else None
