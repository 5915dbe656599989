"""What staining and mounting do to a picture of a cell: how strong, how blue or pink, deposits, bubbles in the oil.

Plain functions on uint8 RGB; the stain works on optical density over the picture's own white, its red, green and blue
in a place without cells. The two dyes and their colours are those of `phantom.optics`. Knows nothing of cells and
strengths.
"""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64

from ..images.stain import dye_basis
from ..phantom.optics import ABSORBERS, transmitted
from .corruptions_optical import Pixels, to_pixels

White = Float64[np.ndarray, " 3"]

DARKEST = 0.5
"""What a value of 0 counts as: it limits the optical density, and is rounded to 0 again."""
DEPOSIT, GREY = 1.2, 0.3
"""Optical density of a speck of deposit along its colour, and the share of it that is grey: heaps let no light pass."""


def stain_strength(pixels: Pixels, factor: float, white: White) -> Pixels:
    """Optical density over the picture's white times `factor`: below 1 a pale stain, above a deep one."""
    levels = np.maximum(np.arange(256), DARKEST)[:, None]
    return cv2.LUT(pixels, to_pixels(white * (levels / white) ** factor)[None])


def stain_hue(pixels: Pixels, tilt: float, white: White) -> Pixels:
    """Eosin times 2^tilt and azure times 2^-tilt, in optical density: above 0 pink, as from a buffer that is too acid,
    below 0 blue, as from an alkaline one. What neither dye explains stays."""
    densities = np.log(white / np.maximum(np.arange(256), DARKEST)[:, None]).astype(np.float32)
    density = cv2.LUT(pixels, densities[None])
    mixed = cv2.transform(density, mixing(tilt).astype(np.float32))
    return to_pixels(cv2.exp(-mixed) * white.astype(np.float32))


@cache
def dye_colours() -> Float64[np.ndarray, "2 3"]:
    """Optical densities of eosin and of azure (half of it bound to eosin on chromatin, where it looks purple) in red,
    green and blue, of unit length."""
    return _directions({"eosin": 0.5}, {"azure": 0.25, "azure-eosin": 0.25})


def mixing(tilt: float) -> Float64[np.ndarray, "3 3"]:
    """The matrix that takes an optical density (red, green, blue) to the one with eosin and azure changed by `tilt`."""
    basis = dye_basis(*dye_colours())
    return basis @ np.diag([2.0**tilt, 2.0**-tilt, 1.0]) @ np.linalg.inv(basis)


def deposits(pixels: Pixels, specks: Float[np.ndarray, "n 3"]) -> Pixels:
    """Dark purple specks of dye that has come out of solution. specks: x, y and radius in px of each. Where there is
    none, nothing changes; nothing becomes brighter."""
    cover = np.zeros(pixels.shape[:2], np.uint8)
    for x, y, radius in specks.tolist():
        cv2.circle(cover, (round(16 * x), round(16 * y)), max(round(16 * radius), 8), 255, -1, cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(cover, (5, 5), 0) if len(specks) else cover
    colour = (1 - GREY) * _directions({"azure-eosin": 0.5}) + GREY / math.sqrt(3)
    through = 10.0 ** (-DEPOSIT * np.arange(256)[:, None] / 255 * colour)
    table = cv2.LUT(cv2.merge([soft, soft, soft]), through[None].astype(np.float32))
    return to_pixels(pixels * table)


def bubbles(pixels: Pixels, discs: Float[np.ndarray, "n 3"]) -> Pixels:
    """Bubbles in the immersion oil: bright round discs with a dark rim and a faint bright ring. discs: x, y and radius
    in px of each."""
    values = pixels.astype(np.float32)
    height, width = pixels.shape[:2]
    for x, y, radius in discs.tolist():
        reach = 1.45 * radius + 1
        left, top = max(math.floor(x - reach), 0), max(math.floor(y - reach), 0)
        right, bottom = min(math.ceil(x + reach) + 1, width), min(math.ceil(y + reach) + 1, height)
        if left >= right or top >= bottom:
            continue
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        light, through = _bubble(np.hypot(rows - y, columns - x) / max(radius, 1e-3))
        part = values[top:bottom, left:right]
        part += light[..., None] * (255 - part)
        part *= through[..., None]
    return to_pixels(values)


def _bubble(distance: Float32[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the way to white, and share of the light that passes, by the distance from the middle in radii."""
    inside = np.clip((1 - distance) / 0.3, 0, 1) * (0.5 - 0.25 * np.minimum(distance, 1))
    ring = 0.4 * np.exp(-(((distance - 1.16) / 0.09) ** 2))
    rim = 0.72 * np.exp(-np.abs((distance - 0.92) / 0.15) ** 3)
    return inside + ring, 1 - rim


def _directions(*mixtures: dict[str, float]) -> Float64[np.ndarray, "n 3"]:
    """Optical densities of mixtures of the phantom's absorbers (name -> amount), of unit length."""
    amounts = np.array([[mixture.get(name, 0) for mixture in mixtures] for name in ABSORBERS], np.float32)
    densities = -np.log10(np.asarray(transmitted(amounts), np.float64))
    return densities / np.linalg.norm(densities, axis=1, keepdims=True)
