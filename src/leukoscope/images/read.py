"""Reads pixels: any image file to uint8 RGB.

Decodes by content, not by name, and completely or not at all: any damage is an ImageError that names the file. Sizes
are checked before anything is decoded. Knows nothing of labels or training, and does not import torch.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np
from jaxtyping import Bool

from ..errors import ImageError
from .colour import to_srgb
from .formats import RETRIEVE, Header, Page, read_header
from .orientation import turned
from .pillow import Pixels

if TYPE_CHECKING:  # reading pixels does not wait for polars
    from ..tables import Row

MAX_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded (10,000 x 10,000): a protection against decompression bombs."""
LONGEST_SIDE = 65_535
"""px: the longest side of an image; JPEG allows no longer one."""


def read_image(path: Path | str, *, page: Page | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode any supported file to uint8 RGB, upright by its EXIF orientation, in the colours of sRGB.

    16-bit values keep their high byte (65535 -> 255), or that of the bits that the camera uses; grey is repeated, CMYK
    and palettes are converted, transparent pixels are shown on white. `page` chooses one of several frames or pages,
    from 0, or three grey ones; without it, a file with several fields is an error. Raises ImageError for a file that is
    missing, unreadable, not an image, damaged or larger than `max_pixels`.
    """
    path = Path(path)
    with opened_image(path) as file:
        header = _read_header(path, file, page, max_pixels)
        pixels = to_srgb(header.decode(), header.profile)
        return np.ascontiguousarray(turned(pixels, header.orientation))


def read_mask(path: Path | str) -> Bool[np.ndarray, "height width"]:
    """Decode a mask: true where the grey level is 128 or more. Raises ImageError as `read_image` does."""
    return cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY) >= 128


def image_size(path: Path | str, *, page: Page | None = None) -> tuple[int, int]:
    """(width, height) in px of what `read_image` returns, from the header only. Raises ImageError as it does, but for
    the limit on pixels and for damage behind the header."""
    path = Path(path)
    with opened_image(path) as file:
        header = _read_header(path, file, page, None)
        return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def stored_orientation(path: Path | str) -> int:
    """The orientation, 1 to 8, that `read_image` undoes. Raises ImageError as `image_size` does."""
    path = Path(path)
    with opened_image(path) as file:
        return _read_header(path, file, None, None).orientation


def colour_profile(path: Path | str, *, page: Page | None = None) -> bytes:
    """The embedded colour profile, which may be empty. Raises ImageError as `image_size` does."""
    path = Path(path)
    with opened_image(path) as file:
        return _read_header(path, file, page, None).profile


def read_cell(row: Row, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of one manifest row: its image, or the box `x, y, width, height` of it (px, clipped to the image)."""
    return cut_cell(read_image(row["image"], max_pixels=max_pixels), row)


def cut_cell(image: Pixels, row: Row) -> Pixels:
    """Cut a manifest row's box out of its decoded image; the whole image if the row has no box.

    A box that extends beyond the image is clipped. Raises ImageError for a box outside the image.
    """
    if row.get("width") is None:
        return image
    x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
    cell = image[max(y, 0):max(y + height, 0), max(x, 0):max(x + width, 0)]
    if not cell.size:
        raise ImageError(row["image"], f"the box of cell '{row.get('cell_id', '?')}' (x {x}, y {y}, {width} x {height} "
                         f"px) lies outside the image of {image.shape[1]} x {image.shape[0]} px",
                         "correct the box in the manifest, or leave the cell out with --skip-damaged")
    return cell


@contextmanager
def opened_image(path: Path) -> Iterator[BinaryIO]:
    """An open file; what is raised while it is read becomes an ImageError that names it."""
    with _opened(path) as file, as_image_error(path):
        yield file


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    # A named pipe or a device would block for ever, so only regular files are opened.
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(path, "is a folder, not an image", "give a file")
        if not stat.S_ISREG(mode):
            raise ImageError(path, "is not a regular file", "give a file")
        file = open(path, "rb")  # noqa: SIM115 - closed below; opening and reading have different messages
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "correct the path in the manifest, or index the data again") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ImageError(path, f"cannot be opened ({reason})", "check the path, or grant read permission") from error
    with file:
        yield file


@contextmanager
def as_image_error(path: Path) -> Iterator[None]:
    """Turn any error of a decoder about a damaged file into an ImageError of one line. Decoders of strangers' files
    raise whatever they like."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(path, "cannot be decoded (not enough memory)", "close other programs, or cut the image into "
                         "parts") from error
    except Exception as error:
        raise ImageError(path, f"cannot be decoded ({str(error) or type(error).__name__})", RETRIEVE) from error


def _read_header(path: Path, file: BinaryIO, page: Page | None, max_pixels: int | None) -> Header:
    header = read_header(path, file, page)
    pixels = header.width * header.height
    if max_pixels is not None and pixels > max_pixels:
        raise ImageError(path, f"{header.width} x {header.height} px are {pixels:,} pixels, over the limit of "
                         f"{max_pixels:,}", "cut the image into parts, or raise max_pixels if you trust the file")
    if max(header.width, header.height) > LONGEST_SIDE:
        raise ImageError(path, f"{header.width:,} x {header.height:,} px: a side is over the limit of {LONGEST_SIDE:,} "
                         "px", "give a photograph of cells, or cut the image into parts")
    return header
