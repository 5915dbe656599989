"""The one door for pixels: any file -> uint8 RGB; uint8 HWC -> float CHW.

Decodes by content, never by name, and whole or not at all: whatever is damaged is an ImageError that names the file.
Knows nothing of labels or training, and does not import torch. Colour profiles are not applied.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
import tifffile
from jaxtyping import Bool, Float32, UInt8
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from .errors import ImageError

MAX_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded (10,000 x 10,000): a guard against decompression bombs."""

Pixels = UInt8[np.ndarray, "height width 3"]

_JPEG, _PNG, _TIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# The plugins are called directly: Image.open would try every format it knows, and its own pixel limit only warns.
_FORMATS: tuple[tuple[bytes | tuple[bytes, ...], type[ImageFile]], ...] = (
    (_JPEG, JpegImagePlugin.JpegImageFile),
    (_PNG, PngImagePlugin.PngImageFile),
    (_TIFF, TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)
_READABLE = "JPEG, PNG, TIFF, BMP, GIF or WebP"
_RETRIEVE = "fetch or export the file anew, or leave it out with --skip-damaged"
# What the decoders raise on damaged input; a Warning only where the caller's filters make it one.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError,
           RuntimeError, AssertionError, struct.error, zlib.error, tifffile.TiffFileError, Image.DecompressionBombError,
           Warning)
# Complaints of libjpeg about sloppy writers (some telephones), not about the pixels.
_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color transform")


def read_image(path: Path | str, *, page: int | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode any supported file to uint8 RGB, upright by its EXIF orientation.

    16-bit values keep their high byte (65535 -> 255), grey is repeated, CMYK and palettes are converted, transparency
    is laid over white. `page` chooses one of several frames or pages, from 0; a file with several is else an error.
    Raises ImageError for a file that is missing, unreadable, not an image, damaged or of more than `max_pixels`.
    """
    path = Path(path)
    with _opened(path) as file, _explained(path):
        picture = _header(path, file, page, max_pixels)
        turn = _orientation(picture)
        if isinstance(picture, JpegImagePlugin.JpegImageFile) and picture.layers in (1, 3):
            pixels = _decode_jpeg(file, picture)
        elif isinstance(picture, TiffImagePlugin.TiffImageFile):
            pixels = _decode_tiff(file, picture, page or 0)
        else:
            if isinstance(picture, PngImagePlugin.PngImageFile):
                _check_png(file)
            pixels = _to_rgb(picture)
        return np.ascontiguousarray(_turned(pixels, turn))


def read_mask(path: Path | str) -> Bool[np.ndarray, "height width"]:
    """Decode a mask: true where the grey value is 128 or more. Raises ImageError as `read_image` does."""
    return cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY) >= 128


def image_size(path: Path | str) -> tuple[int, int]:
    """(width, height) in px as `read_image` would return it, from the header alone. Several pages: of the first."""
    path = Path(path)
    with _opened(path) as file, _explained(path):
        picture = _header(path, file, 0, None)
        width, height = picture.size
        return (height, width) if _orientation(picture) >= 5 else (width, height)


def read_cell(row: Mapping[str, Any], *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of one manifest row: its image, or of it the box `x, y, width, height` (px, clipped to the image)."""
    return cut_cell(read_image(row["image"], max_pixels=max_pixels), row)


def cut_cell(image: Pixels, row: Mapping[str, Any]) -> Pixels:
    """Cut a manifest row's box out of its decoded image; the whole image where the row has no box.

    A box that reaches outside is clipped; ImageError when nothing is left of it.
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
    """Keep the centred square of `side` px; an axis that is shorter is kept whole. 0 keeps everything."""
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
        file = open(path, "rb")  # noqa: SIM115 - closed below; opening and using fail in different words
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "mend the path in the manifest, or index the data anew") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ImageError(path, f"cannot be opened ({reason})", "check the path and who may read it") from error
    with file:
        yield file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever a decoder says of a damaged file into an ImageError of one line."""
    try:
        yield
    except _DAMAGE as error:
        said = str(error) or type(error).__name__
        raise ImageError(path, f"cannot be decoded ({said})", _RETRIEVE) from error


def _header(path: Path, file: BinaryIO, page: int | None, max_pixels: int | None) -> ImageFile:
    start = file.read(16)
    file.seek(0)
    if not start:
        raise ImageError(path, "is empty (0 bytes)", _RETRIEVE)
    plugin = next((plugin for magic, plugin in _FORMATS if start.startswith(magic)), None)
    if plugin is None:
        raise ImageError(path, f"is not an image (it starts with {start!r})", f"expected {_READABLE}")
    picture = plugin(file)
    frames = getattr(picture, "n_frames", 1)
    if page is None and frames > 1:
        raise ImageError(path, f"holds {frames} frames or pages, expected one",
                         "save each as a file of its own, or choose one with page=0 (the first)")
    if page is not None and not 0 <= page < frames:
        raise ImageError(path, f"has no page {page}", f"it holds {frames}, counted from 0")
    if page:
        picture.seek(page)
    width, height = picture.size
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(path, f"{width} x {height} px are {width * height:,} pixels, over the limit of {max_pixels:,}",
                         "cut the image into parts, or raise max_pixels if you trust the file")
    return picture


def _decode_jpeg(file: BinaryIO, picture: ImageFile) -> Pixels:
    # Pillow hides libjpeg's warnings about corrupt data and OpenCV also fills what is missing with grey: of PBC cells
    # with 20 bytes overwritten they notice 10 % and 0 %, this 61 % (tests/test_images.py), and it is the fastest.
    file.seek(0)
    try:
        return simplejpeg.decode_jpeg(file.read(), colorspace="RGB", strict=True)
    except ValueError as error:
        if not any(harmless in str(error) for harmless in _HARMLESS):
            raise
        file.seek(0)
        return _to_rgb(picture)


def _decode_tiff(file: BinaryIO, picture: TiffImagePlugin.TiffImageFile, page: int) -> Pixels:
    _check_strips(file, picture)
    try:
        return _to_rgb(picture)
    except _DAMAGE:
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            whole = tiff.pages[page]
            assert isinstance(whole, tifffile.TiffPage)
            if whole.photometric not in (0, 1, 2) or whole.dtype not in (np.uint8, np.uint16):
                raise
            turn = whole.tags.get("Orientation")
            return _turned(_samples_to_rgb(whole), int(turn.value) if turn else 1)


def _samples_to_rgb(page: tifffile.TiffPage) -> Pixels:
    """A TIFF page of a kind that Pillow does not read: grey or RGB, any compression, planes apart or together."""
    samples = page.asarray()
    if samples.ndim == 2:
        samples = samples[..., None]
    elif page.planarconfig == 2:
        samples = np.moveaxis(samples, 0, -1)
    if samples.ndim != 3:
        raise ValueError(f"{samples.ndim} dimensions, expected a flat image")
    values = (samples >> 8).astype(np.uint8) if samples.dtype == np.uint16 else samples
    if page.photometric == 0:
        values = 255 - values
    colours = 3 if page.photometric == 2 else 1
    rgb = np.repeat(values[..., :1], 3, axis=-1) if colours == 1 else values[..., :3]
    if values.shape[-1] == colours:
        return rgb
    opaque = values[..., colours:colours + 1].astype(np.uint16)
    return ((rgb * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)


def _to_rgb(picture: ImageFile) -> Pixels:
    picture.load()
    if picture.mode.startswith("I;16"):
        high = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit values, expected 8 or 16 bits a channel")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return np.array(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB"))
    return np.array(picture.convert("RGB"))


def _check_png(file: BinaryIO) -> None:
    # Pillow does not check the sums of the pixel chunks, nor that the file has an end.
    file.seek(len(_PNG))
    data = memoryview(file.read())
    at, kind = 0, b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise ValueError("the file is truncated")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise ValueError("the file is truncated")
        if zlib.crc32(data[at + 4:end]) != struct.unpack_from(">I", data, end)[0]:
            raise ValueError(f"wrong checksum in the chunk {kind!r}")
        at = end + 4
    file.seek(0)


def _check_strips(file: BinaryIO, picture: TiffImagePlugin.TiffImageFile) -> None:
    size = os.fstat(file.fileno()).st_size
    tags = picture.tag_v2
    for offsets, counts in ((273, 279), (324, 325)):
        pairs = list(zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if any(count <= 0 or offset + count > size for offset, count in pairs):
            raise ValueError("the file is truncated: a strip of pixels reaches past its end")


def _orientation(picture: ImageFile) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it is unreadable. Pillow turns TIFF by itself."""
    exif = picture.info.get("exif", b"")
    if not isinstance(exif, bytes) or isinstance(picture, TiffImagePlugin.TiffImageFile):
        return 1
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if (tag, kind) == (0x0112, 3) and 1 <= value <= 8:
            return value
    return 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: values above 4 swap the axes, then one of them or both may run backwards."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    backwards = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    down, right = backwards.get(orientation, (1, 1))
    return pixels[::down, ::right]
