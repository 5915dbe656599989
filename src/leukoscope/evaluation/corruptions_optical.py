"""What microscope, camera and file do to a picture of a cell: focus, motion, light, contrast, noise, pixels, JPEG.

Plain functions on uint8 RGB at the picture's own resolution; lengths in its pixels. All work on the values in the file:
a camera's curve (gamma) is not known, and is not undone. Knows nothing of cells and strengths.
"""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

Pixels = UInt8[np.ndarray, "height width 3"]
Kernel = Float32[np.ndarray, "size size"]


def defocus(pixels: Pixels, radius: float) -> Pixels:
    """Blur by a disc of `radius` px: a point out of focus appears as the image of the aperture. Below half a pixel
    nothing changes. The border is mirrored."""
    return cv2.filter2D(pixels, -1, disc_kernel(radius), borderType=cv2.BORDER_REFLECT_101)


def motion(pixels: Pixels, length: float, angle: float) -> Pixels:
    """Blur along a straight line of `length` px at `angle` (radians): the stage moves while the shutter is open. Below
    a pixel nothing changes. The border is mirrored."""
    return cv2.filter2D(pixels, -1, line_kernel(length, angle), borderType=cv2.BORDER_REFLECT_101)


def disc_kernel(radius: float) -> Kernel:
    """A disc of `radius` px whose rim is smooth, of sum 1."""
    return _normalised(np.clip(radius + 0.5 - np.hypot(*_grid(radius)), 0, 1))


def line_kernel(length: float, angle: float) -> Kernel:
    """A line of `length` px about the middle at `angle` (radians, x to y), a pixel wide and smooth, of sum 1."""
    y, x = _grid(length / 2)
    along = x * math.cos(angle) + y * math.sin(angle)
    outside = np.maximum(np.abs(along) - max(length - 1, 0) / 2, 0)  # the smooth ends add a pixel
    return _normalised(np.clip(1 - np.hypot(outside, y * math.cos(angle) - x * math.sin(angle)), 0, 1))


def brightness(pixels: Pixels, factor: float) -> Pixels:
    """Every value times `factor`, at most 255: a longer or shorter exposure."""
    return cv2.LUT(pixels, to_pixels(np.arange(256.0) * factor))


def contrast(pixels: Pixels, factor: float) -> Pixels:
    """Every value's distance from the picture's mean times `factor`: glare below 1, a camera's hard curve above."""
    middle = float(pixels.mean())
    return cv2.LUT(pixels, to_pixels(middle + factor * (np.arange(256) - middle)))


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """As read from a JPEG file that Pillow writes with `quality` (1 to 95), colours at half resolution."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def noise(pixels: Pixels, electrons: float, rng: np.random.Generator) -> Pixels:
    """Shot noise of a sensor that gathers so many electrons at 255: the variance of a value v is 255 v / electrons.
    Drawn for each pixel and channel by itself, normal (for fewer than about 20 electrons Poisson's law would differ).
    """
    values = pixels.astype(np.float32)
    spread = cv2.LUT(pixels, np.sqrt(255 * np.arange(256) / electrons).astype(np.float32))
    values += spread * rng.standard_normal(pixels.shape, dtype=np.float32)
    return to_pixels(values)


def pixel_size(pixels: Pixels, factor: float) -> Pixels:
    """As taken with pixels `factor` times as large, brought back to the old size: area means, then bilinear."""
    height, width = pixels.shape[:2]
    small = max(round(width / factor), 1), max(round(height / factor), 1)
    if small == (width, height):
        return pixels
    return cv2.resize(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), (width, height),
                      interpolation=cv2.INTER_LINEAR)


def to_pixels(values: np.ndarray) -> np.ndarray:
    """uint8: rounded, and limited to 0 to 255. Overwrites the values, which are floating-point numbers."""
    return np.clip(np.rint(values, out=values), 0, 255).astype(np.uint8)


def _grid(reach: float) -> np.ndarray:
    side = math.ceil(reach + 0.5)
    return np.mgrid[-side:side + 1, -side:side + 1]


def _normalised(weights: np.ndarray) -> Kernel:
    return (weights / weights.sum()).astype(np.float32)
