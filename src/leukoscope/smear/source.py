"""Fields of any size, one window at a time: an array in memory, or a TIFF that stays on disk.

Knows nothing of what the pixels show.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ..errors import ImageError, LeukoscopeError
from ..images.colour import to_srgb
from ..images.orientation import stored_window, turned
from ..images.read import opened_image
from ..images.stacks import is_tiff
from ..images.tiff_pages import contents_of
from ..images.tiff_pixels import PageReader, page_profile
from ..images.tiff_tags import open_tiff

LARGEST = 20_000
"""px: the longest side of a field."""
SMALLEST = 32
"""px: the shortest."""
_STRIP = 16_000_000  # px of a field that are read at once while it is shrunk


@runtime_checkable
class FieldSource(Protocol):
    """What a field is read from. `read` gives the window uint8 (height, width, 3), which lies within the field."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]: ...


@dataclass(frozen=True, eq=False)
class ArrayField:
    """A field in an array, or in an array that is mapped to a file: only what is read is loaded."""

    pixels: NDArray[np.uint8]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        return np.ascontiguousarray(self.pixels[top:top + height, left:left + width])


class TiffField:
    """A TIFF that stays on disk: only the strips or tiles of a window are decoded. Upright, in the colours of sRGB."""

    def __init__(self, path: Path, page: int | None) -> None:
        self._path = path
        with opened_image(path):
            file = open(path, "rb")  # noqa: SIM115 - open for as long as windows may be read
            weakref.finalize(self, file.close)
            tiff = open_tiff(file)
            pages = contents_of(tiff).pages
            if not 0 <= (page or 0) < len(pages):
                raise ValueError(f"it has no page {page}")
            self._reader = PageReader(tiff, pages[page or 0])
            self._profile = page_profile(tiff, pages[page or 0])

    @property
    def width(self) -> int:
        return self._size[0]

    @property
    def height(self) -> int:
        return self._size[1]

    @property
    def _size(self) -> tuple[int, int]:
        it = self._reader.layout
        return (it.height, it.width) if it.turn >= 5 else (it.width, it.height)

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        turn = self._reader.layout.turn
        window = stored_window(turn, (left, top, width, height), self._size)
        with opened_image(self._path):
            return np.ascontiguousarray(turned(to_srgb(self._reader.read(*window), self._profile), turn))


def open_field(path: Path | str, *, page: int | None = None) -> TiffField:
    """A TIFF on disk, read one window at a time. Raises ImageError for another file, and for a layout that is not read:
    `leukoscope.read_image` reads other files as a whole."""
    path = Path(path)
    if path.exists() and not is_tiff(path):
        raise ImageError(path, "is not a TIFF", "read it whole with leukoscope.read_image")
    return TiffField(path, page)


def field_source(field: np.ndarray | FieldSource) -> FieldSource:
    """An array as a source; a source as it is. Raises LeukoscopeError for another shape, type or size."""
    source = _checked(field) if isinstance(field, np.ndarray) else field
    if min(source.width, source.height) < SMALLEST or max(source.width, source.height) > LARGEST:
        raise LeukoscopeError(f"the field has {source.width} x {source.height} px, expected sides of {SMALLEST} to "
                              f"{LARGEST} px", "give a photograph of a smear, or cut the scan into parts")
    return source


def _checked(pixels: NDArray) -> ArrayField:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise LeukoscopeError(f"the field is an array of {pixels.dtype} {pixels.shape}, expected uint8 (height, width, "
                              "3)", "read the image with leukoscope.read_image")
    return ArrayField(pixels)


def reduced(field: FieldSource, longest: int) -> UInt8[np.ndarray, "height width 3"]:
    """The field's pixels, shrunk until its longer side has at most `longest` px; read in strips."""
    by = max(field.width, field.height) / longest
    if by <= 1:
        return field.read(0, 0, field.width, field.height)
    width, height = max(round(field.width / by), 1), max(round(field.height / by), 1)
    picture = np.empty((height, width, 3), np.uint8)
    rows = min(max(int(_STRIP / (field.width * by)), 1), 256)
    edges = np.linspace(0, height, ceil(height / rows) + 1).round().astype(int)
    for top, bottom in pairwise(edges.tolist()):
        first, last = round(top * field.height / height), round(bottom * field.height / height)
        strip = field.read(0, first, field.width, last - first)
        cv2.resize(strip, (width, bottom - top), dst=picture[top:bottom], interpolation=cv2.INTER_AREA)
    return picture
