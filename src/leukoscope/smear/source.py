"""Fields of any size, one window at a time: an array in memory, or a TIFF that stays on disk.

Knows nothing of what the pixels show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import tifffile
from jaxtyping import UInt8
from numpy.typing import NDArray

from ..errors import ImageError, LeukoscopeError

LARGEST = 20_000
"""px: the longest side of a field."""
SMALLEST = 32
"""px: the shortest."""


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


def open_field(path: Path | str, *, page: int = 0) -> ArrayField:
    """A TIFF on disk, read one window at a time. Raises ImageError unless it is uncompressed RGB of 8 bits:
    `images.read_image` reads other files as a whole.
    """
    path = Path(path)
    hint = "write it as an uncompressed RGB TIFF of 8 bits, or read it whole with leukoscope.images.read_image"
    try:
        pixels = tifffile.memmap(path, page=page, mode="r")
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "correct the path") from error
    except (ValueError, OSError, IndexError, tifffile.TiffFileError) as error:
        raise ImageError(path, f"cannot be mapped into memory ({error})", hint) from error
    try:
        return _checked(pixels)
    except LeukoscopeError as error:
        raise ImageError(path, error.what, hint) from error


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
                              "3)", "read the image with leukoscope.images.read_image")
    return ArrayField(pixels)
