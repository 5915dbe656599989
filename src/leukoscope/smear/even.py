"""A field as it would be under even light: what was not recorded looks like a place without cells."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from ..images.light import Light, uneven_light
from ..images.stain import white_point
from ..images.unrecorded import unrecorded
from .source import FieldSource

_OVERVIEW = 1024  # px along the longer side, for what was recorded and the light
_STRIP = 2_000_000  # px of the field that are read at once


@dataclass(frozen=True, eq=False)
class Unevenness:
    """hidden: where nothing was recorded, on a grid over the field; light: None where it is even; white: RGB of a place
    without cells."""

    hidden: Bool[np.ndarray, "rows columns"]
    light: Light | None
    white: Float64[np.ndarray, " 3"]


@dataclass(frozen=True, eq=False)
class EvenField:
    """A field behind which another one lies, and what is uneven in that."""

    source: FieldSource
    without: Unevenness

    @property
    def hidden(self) -> Bool[np.ndarray, "rows columns"]:
        return self.without.hidden

    @property
    def light(self) -> Light | None:
        return self.without.light

    @property
    def width(self) -> int:
        return self.source.width

    @property
    def height(self) -> int:
        return self.source.height

    @property
    def hidden_share(self) -> float:
        """The share of the field where nothing was recorded."""
        return float(self.hidden.mean())

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """A window of the field, as `FieldSource.read`."""
        pixels = self.source.read(left, top, width, height)
        if self.light is not None:
            x, y = _places(left, width, self.width), _places(top, height, self.height)
            pixels = _divided(pixels, self.light.at(x, y))
        if self.hidden.any():
            pixels = np.where(self.hidden_in(left, top, width, height)[..., None], np.rint(self.without.white), pixels)
        return pixels.astype(np.uint8)

    def hidden_in(self, left: int, top: int, width: int, height: int) -> Bool[np.ndarray, "height width"]:
        """Where nothing was recorded, in a window of the field."""
        rows, columns = self.hidden.shape
        y = np.arange(top, top + height) * rows // self.height
        x = np.arange(left, left + width) * columns // self.width
        return self.hidden[y[:, None], x]


def even_field(source: FieldSource) -> EvenField | None:
    """The field under even light; None where it was lit evenly and recorded as a whole."""
    uneven = unevenness(source)
    return EvenField(source, uneven) if uneven is not None else None


def unevenness(source: FieldSource) -> Unevenness | None:
    """What is uneven in a field; None where it was lit evenly and recorded as a whole."""
    small = _overview(source)
    hidden = unrecorded(small)
    light = uneven_light(small, hidden)
    if light is None and not hidden.any():
        return None
    if hidden.any():  # the rim of an eyepiece and of a frame is blurred
        reach = 2 * max(1, round(0.006 * max(small.shape[:2]))) + 1
        hidden = cv2.dilate(hidden.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool)
    if hidden.all():
        return None
    seen = small[~hidden][None]
    if light is not None:
        height, width = small.shape[:2]
        seen = _divided(seen, light.at(_places(0, width, width), _places(0, height, height))[~hidden][None])
    return Unevenness(hidden, light, white_point(seen))


def _places(first: int, count: int, length: int) -> Float64[np.ndarray, " count"]:
    """Where pixels lie along a side of `length` px, as `Light` takes it: from -1 to 1."""
    return 2 * (np.arange(first, first + count) + 0.5) / length - 1


def _divided(pixels: UInt8[np.ndarray, "height width 3"],
             light: Float32[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    return np.clip(np.rint(pixels / light), 0, 255).astype(np.uint8)


def _overview(source: FieldSource) -> UInt8[np.ndarray, "height width 3"]:
    """The whole field, shrunk, read strip by strip."""
    by = max(1, ceil(max(source.width, source.height) / _OVERVIEW))
    rows = max(1, _STRIP // source.width // by) * by
    strips = []
    for top in range(0, source.height - source.height % by or source.height, rows):
        height = min(rows, source.height - top)
        size = max(1, source.width // by), max(1, height // by)
        strips.append(cv2.resize(source.read(0, top, source.width, height), size, interpolation=cv2.INTER_AREA))
    return np.concatenate(strips).astype(np.uint8)
