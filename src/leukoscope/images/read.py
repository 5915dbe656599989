"""Reads pixels: any image file -> uint8 RGB; uint8 HWC -> float CHW.

Decodes by content, not by name, and completely or not at all: any damage is an ImageError that names the file. Knows
nothing of labels or training, and does not import torch. Colour profiles are not applied.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
import tifffile
from jaxtyping import Bool, Float32, UInt8
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from ..errors import ImageError, LeukoscopeError
from .headers import PNG_MAGIC, check_pieces, check_png, jpeg_header, orientation, tiff_pages

MAX_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded (10,000 x 10,000): a protection against decompression bombs."""

Pixels = UInt8[np.ndarray, "height width 3"]

_JPEG, _TIFF = b"\xff\xd8\xff", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# The plugins are called directly: Image.open would try every format, and its own limit on pixels only warns.
_FORMATS: tuple[tuple[bytes | tuple[bytes, ...], type[ImageFile]], ...] = (
    (_JPEG, JpegImagePlugin.JpegImageFile),
    (PNG_MAGIC, PngImagePlugin.PngImageFile),
    (_TIFF, TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)
_READABLE = "JPEG, PNG, TIFF, BMP, GIF or WebP"
_RETRIEVE = "download or export the file again, or leave it out with --skip-damaged"
# What the decoders raise for damaged files; a Warning only where filters turn it into an error.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError,
           RuntimeError, AssertionError, struct.error, zlib.error, tifffile.TiffFileError, Image.DecompressionBombError,
           Warning)
# Warnings of libjpeg about inexact writers (some telephones), not about the pixels.
_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color transform")


def read_image(path: Path | str, *, page: int | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode any supported file to uint8 RGB, upright by its EXIF orientation.

    16-bit values keep their high byte (65535 -> 255), grey is repeated, CMYK and palettes are converted, transparent
    pixels are shown on white. `page` chooses one of several frames or pages, from 0; without it, a file with several
    is an error. Raises ImageError for a file that is missing, unreadable, not an image, damaged or larger than
    `max_pixels`.
    """
    path = Path(path)
    with _opened(path) as file, _as_image_error(path):
        header = _read_header(path, file, page, max_pixels)
        if header.picture is None:
            pixels = _decode_jpeg(file)
        elif isinstance(header.picture, TiffImagePlugin.TiffImageFile):
            pixels = _decode_tiff(file, header.picture, page or 0)
        else:
            if isinstance(header.picture, PngImagePlugin.PngImageFile):
                check_png(file)
            pixels = _to_rgb(header.picture)
        return np.ascontiguousarray(_turned(pixels, header.orientation))


def read_mask(path: Path | str) -> Bool[np.ndarray, "height width"]:
    """Decode a mask: true where the grey level is 128 or more. Raises ImageError as `read_image` does."""
    return cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY) >= 128


def image_size(path: Path | str) -> tuple[int, int]:
    """(width, height) in px of what `read_image` returns, from the header only; with several pages, of the first."""
    path = Path(path)
    with _opened(path) as file, _as_image_error(path):
        header = _read_header(path, file, 0, None)
        return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def read_cell(row: Mapping[str, Any], *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of one manifest row: its image, or the box `x, y, width, height` of it (px, clipped to the image)."""
    return cut_cell(read_image(row["image"], max_pixels=max_pixels), row)


def cut_cell(image: Pixels, row: Mapping[str, Any]) -> Pixels:
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


def to_float(pixels: UInt8[np.ndarray, "*batch height width 3"]) -> Float32[np.ndarray, "*batch 3 height width"]:
    """uint8 HWC -> float32 CHW in [0, 1]."""
    planes = np.moveaxis(pixels, -1, -3)
    return np.divide(planes, np.float32(255), dtype=np.float32, order="C")


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
def _as_image_error(path: Path) -> Iterator[None]:
    """Turn any error of a decoder about a damaged file into an ImageError of one line."""
    try:
        yield
    except _DAMAGE as error:
        raise ImageError(path, f"cannot be decoded ({str(error) or type(error).__name__})", _RETRIEVE) from error


@dataclass(frozen=True)
class _Header:
    """Size in px as stored, and EXIF orientation (1 where the decoder itself rotates the image).

    picture: Pillow's reader of the file; None for a JPEG that another library decodes.
    """

    width: int
    height: int
    orientation: int
    picture: ImageFile | None


def _read_header(path: Path, file: BinaryIO, page: int | None, max_pixels: int | None) -> _Header:
    start = file.read(16)
    if not start:
        raise ImageError(path, "is empty (0 bytes)", _RETRIEVE)
    plugin = next((plugin for magic, plugin in _FORMATS if start.startswith(magic)), None)
    if plugin is None:
        raise ImageError(path, f"is not an image (it starts with {start!r})", f"expected {_READABLE}")
    file.seek(0)
    if plugin is JpegImagePlugin.JpegImageFile:
        jpeg = jpeg_header(file)
        _check_page(path, page, 1)
        file.seek(0)
        picture = plugin(file) if jpeg.channels not in (1, 3) else None
        header = _Header(jpeg.width, jpeg.height, orientation(jpeg.exif), picture)
    else:
        header = _read_header_with_pillow(path, file, page, plugin)
    pixels = header.width * header.height
    if max_pixels is not None and pixels > max_pixels:
        raise ImageError(path, f"{header.width} x {header.height} px are {pixels:,} pixels, over the limit of "
                         f"{max_pixels:,}", "cut the image into parts, or raise max_pixels if you trust the file")
    return header


def _read_header_with_pillow(path: Path, file: BinaryIO, page: int | None, plugin: type[ImageFile]) -> _Header:
    tiff = plugin is TiffImagePlugin.TiffImageFile
    pages, broken = tiff_pages(file) if tiff else (0, "")
    if broken and (page is None or page >= pages):
        raise ValueError(broken)
    picture = plugin(file)
    if not tiff:
        pages = getattr(picture, "n_frames", 1)
    _check_page(path, page, pages)
    if page:
        picture.seek(page)
    exif = picture.info.get("exif", b"")
    turn = orientation(exif) if isinstance(exif, bytes) and not tiff else 1
    return _Header(*picture.size, turn, picture)


def _check_page(path: Path, page: int | None, pages: int) -> None:
    if page is None and pages > 1:
        raise ImageError(path, f"contains {pages} frames or pages, expected one",
                         "save each as a separate file, or choose one with page=0 (the first)")
    if page is not None and not 0 <= page < pages:
        raise ImageError(path, f"has no page {page}", f"it contains {pages}, counted from 0")


def _decode_jpeg(file: BinaryIO) -> Pixels:
    # Pillow hides libjpeg's warnings about corrupt data, and OpenCV also fills missing parts with grey: of PBC cells
    # with 20 bytes overwritten they report 10 % and 0 %, simplejpeg 61 % (tests/images/test_read.py). It is also the
    # fastest of the three.
    file.seek(0)
    try:
        return simplejpeg.decode_jpeg(file.read(), colorspace="RGB", strict=True)
    except ValueError as error:
        if not any(harmless in str(error) for harmless in _HARMLESS):
            raise
        file.seek(0)
        return _to_rgb(JpegImagePlugin.JpegImageFile(file))


def _decode_tiff(file: BinaryIO, picture: TiffImagePlugin.TiffImageFile, page: int) -> Pixels:
    tags = picture.tag_v2
    check_pieces(file, tags.get(273, ()), tags.get(279, ()))
    check_pieces(file, tags.get(324, ()), tags.get(325, ()))
    if picture.mode.startswith("I;16"):  # Pillow ignores whether 0 is black or white
        return _decode_samples(file, page)
    try:
        return _to_rgb(picture)
    except _DAMAGE:
        return _decode_samples(file, page)


def _decode_samples(file: BinaryIO, number: int) -> Pixels:
    """A TIFF page of a kind that Pillow does not read: grey or RGB, any compression, any order of planes."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[number]
        assert isinstance(page, tifffile.TiffPage)
        if page.photometric not in (0, 1, 2) or page.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"{page.dtype} values, photometric kind {page.photometric}; expected grey or RGB of 8 or "
                             "16 bits")
        samples = page.asarray()
        if samples.ndim == 3 and page.planarconfig == 2:
            samples = np.moveaxis(samples, 0, -1)
        samples = np.atleast_3d(samples)
        values = (samples >> (page.bitspersample - 8)).astype(np.uint8)
        turn = page.tags.get("Orientation")
        return _turned(_samples_to_rgb(values, page.photometric), int(turn.value) if turn else 1)


def _samples_to_rgb(values: UInt8[np.ndarray, "height width channels"], photometric: int) -> Pixels:
    """photometric: 0 is grey with white at 0, 1 grey, 2 RGB; a further channel is alpha."""
    colours = 3 if photometric == 2 else 1
    levels = values[..., :colours] if photometric else 255 - values[..., :colours]
    rgb = np.broadcast_to(levels, (*values.shape[:2], 3))
    if values.shape[-1] == colours:
        return rgb
    opaque = values[..., colours:colours + 1].astype(np.uint16)
    return ((rgb * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)


def picture_pixels(picture: Image.Image) -> Pixels:
    """The pixels of an opened Pillow image, as `read_image` gives those of its file: rotated by its EXIF orientation,
    on white where it is transparent. Raises LeukoscopeError for 32-bit values."""
    orientation = int(picture.getexif().get(0x0112, 1) or 1)
    try:
        return np.ascontiguousarray(_turned(_to_rgb(picture), orientation))
    except (ValueError, OSError) as error:
        raise LeukoscopeError(f"a Pillow image of mode {picture.mode} cannot be read: {error}",
                              "convert it to 8 bits per channel") from error


def _to_rgb(picture: Image.Image) -> Pixels:
    picture.load()
    if picture.mode.startswith("I;16"):
        high = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit values, expected 8 or 16 bits per channel")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return np.array(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB"))
    return np.array(picture.convert("RGB"))


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: values above 4 swap the axes; then one or both axes may be reversed."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    backwards = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    down, right = backwards.get(orientation, (1, 1))
    return pixels[::down, ::right]
