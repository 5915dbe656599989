"""Pixels cut and resampled to the square that a network takes. Knows nothing of files."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from .pillow import Pixels


def crop_centre(pixels: Pixels, side: int) -> Pixels:
    """Cut out the centred square of `side` px; an axis that is shorter stays as it is. 0 cuts nothing."""
    if side <= 0:
        return pixels
    height, width = pixels.shape[:2]
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    return pixels[top:top + side, left:left + side]


def resize(pixels: Pixels, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Resample to `size` x `size` px: area averaging along an axis that shrinks, bilinear along one that grows."""
    height, width = pixels.shape[:2]
    if (height > size) != (width > size):
        shrunk = (min(width, size), min(height, size))
        pixels = cv2.resize(np.ascontiguousarray(pixels), shrunk, interpolation=cv2.INTER_AREA)
    if pixels.shape[:2] == (size, size):
        return np.ascontiguousarray(pixels)
    method = cv2.INTER_AREA if pixels.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(pixels), (size, size), interpolation=method)
