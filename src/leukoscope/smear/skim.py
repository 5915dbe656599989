"""Where nuclei may lie on a slide, most of which holds no leukocyte: the network looks only there."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32

_NUCLEUS = 2.0, 12.0  # um and um2: the narrowest lobe, and the smallest nucleus (of an erythroblast)
_AROUND = 11.0  # um: side of the square in which the lobes of a nucleus lie
_RED = 2.2  # times the usual red density of what is covered, which two red cells on each other do not reach
_NOISE = 0.04  # red density that noise reaches


def could_be_nuclei(density: Float32[np.ndarray, "height width 3"], scale: float) -> Bool[np.ndarray, "height width"]:
    """Where something wide enough absorbs more red light than red cells do, which hardly absorb any: nuclei, and some
    things that are none. density: optical, on the working grid; scale: um of its pixels."""
    red, covered = cv2.blur(np.ascontiguousarray(density[..., 0]), (3, 3)), density[..., 1] > 0.05
    least = max(_RED * float(np.median(red[covered])), _NOISE) if covered.any() else _NOISE
    closed = cv2.morphologyEx((red > least).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    side, around = max(round(_NUCLEUS[0] / scale), 1), 2 * round(_AROUND / scale / 2) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    area = cv2.boxFilter(closed, cv2.CV_32F, (around, around), normalize=False) * scale**2
    return cv2.erode(closed, disc).astype(bool) & (area >= _NUCLEUS[1])
