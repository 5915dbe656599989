"""Random, reproducible changes of stain, light and camera: what differs between laboratories, slides and cameras.

Works on pixels before the geometry of `augment.py`. Densities are -log10(pixel / 255): stain adds to them, light
subtracts. The draws of a cell depend only on (seed, epoch, cell).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Integer, UInt8
from numba import njit

from ..finder.frame import LIT
from ..images.stain import AZURE, EOSIN, dye_basis, optical_density
from ..recipes.sections import Augment
from .augment_kernels import uniform

Cells = UInt8[np.ndarray, "cells size size 3"]

_STREAM = 0x11687
"""Makes these draws independent of those of geometry and colour."""
_DRAWS = 22
_ROOM = 0.45
"""Smallest side of the rectangle that is kept, as a share of the side."""
_OF_EOSIN = np.linalg.inv(dye_basis(AZURE, EOSIN))[1]
"""The amount of eosin in a density (R, G, B)."""
_FINEST = 95  # JPEG quality


@dataclass(frozen=True, eq=False)
class Light:
    """What is done to each of n cells.

    stains: from density (R, G, B) to density. lights: density subtracted from each channel. kept: width and height, as
    shares of the side, of the central rectangle outside which everything becomes white; 1 keeps all. blurs: standard
    deviation in px. noise: standard deviation in grey levels. jpeg: quality, 0 for none. seeds: of the noise.
    """

    stains: Float32[np.ndarray, "cells 3 3"]
    lights: Float32[np.ndarray, "cells 3"]
    kept: Float32[np.ndarray, "cells 2"]
    blurs: Float32[np.ndarray, " cells"]
    noise: Float32[np.ndarray, " cells"]
    jpeg: Integer[np.ndarray, " cells"]
    seeds: Integer[np.ndarray, " cells"]


def draw_light(augment: Augment, *, seed: int, epoch: int, cells: Integer[np.ndarray, " cells"]) -> Light | None:
    """Draw the changes of `cells` (any integers that identify them); None where every step is off."""
    if not augment.relights:
        return None
    draw = uniform((seed, epoch, _STREAM), cells, _DRAWS)
    spread = 2 * draw - 1
    count = len(cells)
    # Stain taken up more or less, dyes of another colour, and more or less eosin.
    mixing = augment.stain_hue * spread[1:10].T.reshape(count, 3, 3)
    mixing[:, ~np.eye(3, dtype=bool)] /= 2
    stains = (1 + augment.stain * spread[0])[:, None, None] * (np.eye(3) + mixing)
    more = 2 ** (augment.eosin * spread[21]) - 1
    stains = stains @ (np.eye(3) + more[:, None, None] * np.outer(EOSIN, _OF_EOSIN))
    lights = np.log10(1 + augment.light * spread[10:13].T)
    cut = draw[13] < augment.surround
    kept = np.where(cut[:, None], _ROOM + (1 - _ROOM) * draw[14:16].T, 1.0)
    lowest = augment.jpeg or _FINEST
    coarse = (draw[16] < 0.5) & (augment.jpeg > 0)
    return Light(
        stains.astype(np.float32), lights.astype(np.float32), kept.astype(np.float32),
        (augment.defocus * np.maximum(spread[17], 0)).astype(np.float32),  # half of the cells stay sharp
        (augment.noise * draw[18]).astype(np.float32),
        np.where(coarse, np.rint(lowest + (_FINEST - lowest) * draw[19]), 0).astype(np.int64),
        (draw[20] * 2**53).astype(np.int64))


def relight(pixels: Cells, light: Light | None) -> Cells:
    """The changed cells as new pixels; the cells themselves for None."""
    if light is None:
        return pixels
    out = np.empty(pixels.shape, np.uint8)
    _stain(np.ascontiguousarray(pixels), light.stains, light.lights, _DENSITY, out)
    size = pixels.shape[1]
    for i, cell in enumerate(out):
        left, top = (round((1 - share) * size / 2) for share in light.kept[i].tolist())
        cell[:top], cell[size - top:], cell[:, :left], cell[:, size - left:] = LIT, LIT, LIT, LIT
        if light.blurs[i] > 0.1:
            cv2.GaussianBlur(cell, (0, 0), float(light.blurs[i]), dst=cell)
        if light.noise[i] > 0:
            grain = np.random.default_rng(light.seeds[i]).standard_normal(cell.shape, np.float32)
            np.clip(np.rint(cell + light.noise[i] * grain), 0, 255, out=cell, casting="unsafe")
        if light.jpeg[i]:
            # OpenCV expects BGR; JPEG treats red and blue differently.
            blue_first = np.ascontiguousarray(cell[..., ::-1])
            _, coded = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, int(light.jpeg[i])])
            cell[:] = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1]
    return out


_DENSITY = optical_density(np.arange(256, dtype=np.uint8)[:, None], np.array([255.0]))[:, 0]


@njit(cache=True, nogil=True, fastmath=True)
def _stain(pixels: np.ndarray, stains: np.ndarray, lights: np.ndarray, density: np.ndarray, out: np.ndarray) -> None:
    base = np.float32(-np.log(10.0))
    for n in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                red, green, blue = (density[pixels[n, y, x, 0]], density[pixels[n, y, x, 1]],
                                    density[pixels[n, y, x, 2]])
                for c in range(3):
                    value = (stains[n, c, 0] * red + stains[n, c, 1] * green + stains[n, c, 2] * blue - lights[n, c])
                    level = np.float32(255) * np.exp(base * value) + np.float32(0.5)
                    out[n, y, x, c] = np.uint8(min(max(level, np.float32(0)), np.float32(255)))
