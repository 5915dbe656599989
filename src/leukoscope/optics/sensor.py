"""The camera behind the optics: pixels that gather light, shot noise, read noise, full well, bit depth.

Every step is differentiable: noise is a fixed draw scaled by its standard deviation, and rounding passes the gradient
on unchanged. Signals are in white fields: 1 is an empty field under full light behind an open pupil. Knows nothing of
lamps and pupils.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

TABLE = 1_000_003
"""Size of the table of random numbers from which each image takes its draws; a prime, so that the starts spread."""
_ROOM = 5.0
"""Standard deviations of noise that the converter's range adds at both ends."""
_SLOPE = 1e-3
"""Electrons that keep the slope of shot noise finite in darkness."""


@dataclass(frozen=True)
class Camera:
    """photons: electrons that a pixel gathers from a white field; 0 for noiseless light. read_noise: electrons (root
    mean square). full_well: electrons that a pixel can hold; 0 for no limit. bit_depth: of the converter, which spans
    `bottom` to `top`; 0 for none."""

    photons: float = 0.0
    read_noise: float = 0.0
    full_well: float = 0.0
    bit_depth: int = 0

    @property
    def top(self) -> float:
        """The largest signal of the converter, in white fields: the full well, or else a white field, plus five
        standard deviations of the noise."""
        if not self.photons:
            return 1.0
        if self.full_well:
            return (self.full_well + _ROOM * self.read_noise) / self.photons
        return 1 + _ROOM * math.sqrt(self.photons + self.read_noise**2) / self.photons

    @property
    def bottom(self) -> float:
        """The least signal: below darkness, as a camera's offset allows, by five standard deviations of the read noise
        or, where that is less, of one electron's shot noise."""
        return -_ROOM * max(self.read_noise, 1.0) / self.photons if self.photons else 0.0


def pool(images: Float[Tensor, "b 1 h w"], factor: int) -> Float[Tensor, "b 1 i j"]:
    """Pixels `factor` times as wide: each is the mean over a square. Rows and columns left over are cut off."""
    return functional.avg_pool2d(images, factor) if factor > 1 else images


def record(signal: Float[Tensor, "b 1 h w"], camera: Camera,
           draws: Float[Tensor, "b 2 h w"] | None = None) -> Float[Tensor, "b 1 h w"]:
    """What the camera reads, in white fields: E electrons become E + sqrt(E) d1 + read_noise d2 for two standard
    normal `draws` per pixel, cut at the full well before they are read, and rounded. A dark pixel may read below 0, as
    it does once a camera's offset is subtracted.

    The normal distribution replaces Poisson's, and is close to it from about ten electrons on. ValueError where the
    camera has noise and no draws are given.
    """
    if camera.photons:
        if draws is None:
            raise ValueError("draws: expected two standard normal numbers per pixel, got none")
        electrons = signal * camera.photons
        # Darkness has no shot noise; the small term keeps the root's slope finite there.
        gathered = electrons + ((electrons.clamp(min=0) + _SLOPE).sqrt() - math.sqrt(_SLOPE)) * draws[:, :1]
        if camera.full_well:
            gathered = gathered.clamp(max=camera.full_well)  # a pixel is full before it is read
        signal = (gathered + camera.read_noise * draws[:, 1:]) / camera.photons
    if camera.bit_depth:
        steps = (2**camera.bit_depth - 1) / (camera.top - camera.bottom)
        rounded = ((signal.clamp(camera.bottom, camera.top) - camera.bottom) * steps).round() / steps + camera.bottom
        signal = signal + (rounded - signal).detach()
    return signal


def image_numbers(images: Float[Tensor, "b c h w"]) -> Int64[Tensor, " b"]:
    """A number for each image from its pixels (level / 255), the same on every device and in every batch."""
    levels = (images * 255).round().to(torch.int64).flatten(1)
    places = torch.arange(levels.shape[1], device=levels.device) * 7919 % 104_729 + 1
    return (levels * places).sum(1) % TABLE


def draws_of(numbers: Int64[Tensor, " b"], height: int, width: int) -> Float[Tensor, "b 2 h w"]:
    """Standard normal draws for an image's number: a stretch of one table that starts there."""
    table = torch.from_numpy(_table()).to(numbers.device)
    along = torch.arange(2 * height * width, device=numbers.device)
    return table[(numbers[:, None] + along) % TABLE].view(-1, 2, height, width)


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(TABLE).astype(np.float32)
