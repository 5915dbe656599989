"""From an open image file to its header, and to what decodes its pixels: each format by the library that reads it best.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
import simplejpeg
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from ..errors import ImageError
from .colour import exif_profile
from .headers import (
    JpegHeader,
    check_jpeg,
    check_png,
    check_png_pixels,
    check_scans,
    format_of,
    is_harmless,
    jpeg_header,
    plain_png,
    refusal,
)
from .orientation import orientation
from .pillow import Pixels, on_white, picture_profile, to_rgb
from .tiff_layout import layout_of
from .tiff_pages import contents_of, only_picture
from .tiff_pixels import page_profile, read_page, used_bits
from .tiff_tags import open_tiff

LARGEST_FILE = 1_000_000_000
"""Bytes of an image file that is read as a whole."""
RETRIEVE = "download or export the file again, or leave it out with --skip-damaged"

Page = int | tuple[int, ...]
"""A page of a file, from 0, or the three pages with its red, green and blue."""

# The plugins are called directly: Image.open would try every format, and its own limit on pixels only warns.
_PLUGINS: dict[str, type[ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile, "BMP": BmpImagePlugin.BmpImageFile, "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile}

# What Pillow only warns of (a damaged animation, a chunk that lacks its end) is damage here, and no line on a terminal.
warnings.filterwarnings("error", category=UserWarning, module=r"PIL\.(Png|Gif|WebP|Bmp|Jpeg)\w*")
# EXIF is often damaged, and says nothing then; the pixels are whole.
warnings.filterwarnings("ignore", "Corrupt EXIF data", category=UserWarning, module=r"PIL\.TiffImagePlugin")


@dataclass(frozen=True)
class Header:
    """Size in px as stored, EXIF orientation (1 where the decoder itself rotates the image), colour profile, and what
    decodes the pixels."""

    width: int
    height: int
    orientation: int
    profile: bytes
    decode: Callable[[], Pixels]


def read_header(path: Path, file: BinaryIO, page: Page | None) -> Header:
    """The header of an open image file. Raises ImageError for a file that is not read or has not the one page that is
    wanted, and what a decoder raises for damage."""
    start = file.read(16)
    if not start:
        raise ImageError(path, "is empty (0 bytes)", RETRIEVE)
    kind, size = format_of(start), os.fstat(file.fileno()).st_size
    if kind == "TIFF":
        return _of_tiff(path, file, page)
    if size > LARGEST_FILE:
        raise ImageError(path, f"has {size:,} bytes, over the limit of {LARGEST_FILE:,}", "cut the image into parts")
    if kind == "JPEG":
        _check_page(path, page, 1)
        return _of_jpeg(file)
    return _of_pillow(path, file, page, _plugin(path, start))


def embedded_exif(path: Path, file: BinaryIO) -> bytes:
    """The EXIF block of an open PNG, WebP or HEIC, which may be empty. Raises as `read_header`."""
    file.seek(0)
    start = file.read(16)
    file.seek(0)
    exif = _plugin(path, start)(file).info.get("exif")
    return exif if isinstance(exif, bytes) else b""


def _plugin(path: Path, start: bytes) -> type[ImageFile]:
    """Pillow's reader of a file that starts so. Raises ImageError for a file that Pillow does not read here."""
    kind = format_of(start)
    if kind == "HEIF":
        from pillow_heif import HeifImageFile  # late: few files need it

        return HeifImageFile
    if kind not in _PLUGINS:
        raise ImageError(path, *refusal(start))
    return _PLUGINS[kind]


def _of_jpeg(file: BinaryIO) -> Header:
    jpeg = jpeg_header(file)
    return Header(jpeg.width, jpeg.height, orientation(jpeg.exif), jpeg.profile or exif_profile(jpeg.exif),
                  lambda: _decode_jpeg(file, jpeg))


def _of_tiff(path: Path, file: BinaryIO, page: Page | None) -> Header:
    tiff = open_tiff(file)
    contents = contents_of(tiff)
    count = len(contents.pages)
    if tiff.broken and (page is None or page == count):
        raise ValueError(tiff.broken)
    if page is None:
        picture = only_picture(contents)
        if picture is None:
            _check_page(path, None, max(contents.total, count) - len(contents.left_out))
        if picture is None or picture.refused:
            raise ValueError(picture.refused if picture else "its pages are planes of one field")
        page = picture.planes[0]
    numbers = (page,) if isinstance(page, int) else page
    for number in numbers:
        _check_page(path, number, count)
    pages = [contents.pages[number] for number in numbers]
    layouts = [layout_of(tiff, chosen) for chosen in pages]
    first = layouts[0]
    if any((it.width, it.height, it.turn) != (first.width, first.height, first.turn) for it in layouts):
        raise ValueError("its channels differ in size")

    def decode() -> Pixels:
        if len(pages) == 1:
            return read_page(tiff, pages[0])
        return np.dstack([read_page(tiff, channel)[..., 0] for channel in pages])

    return Header(first.width, first.height, first.turn, page_profile(tiff, pages[0]), decode)


def _of_pillow(path: Path, file: BinaryIO, page: Page | None, plugin: type[ImageFile]) -> Header:
    file.seek(0)
    picture = plugin(file)
    _check_page(path, page, getattr(picture, "n_frames", 1))
    if page:
        picture.seek(page if isinstance(page, int) else page[0])
    exif, png = picture.info.get("exif", b""), plugin is PngImagePlugin.PngImageFile
    turn = orientation(exif) if isinstance(exif, bytes) and plugin.__name__ != "HeifImageFile" else 1

    def decode() -> Pixels:
        if png and not page and _is_deep_png(file):
            return _decode_deep_png(file)  # which checks the file too
        if png:
            check_png(file)
        pixels = to_rgb(picture)
        if png and not _has_last_rows(picture):
            check_png_pixels(file)
        return pixels

    return Header(*picture.size, turn, picture_profile(picture), decode)


def _has_last_rows(picture: Image.Image) -> bool:
    """Whether the last rows hold anything: Pillow leaves them black where they are missing."""
    return all(row.any() for row in np.asarray(picture.crop((0, max(picture.height - 2, 0), *picture.size))))


def _check_page(path: Path, page: Page | None, pages: int) -> None:
    if page is None and pages > 1:
        raise ImageError(path, f"contains {pages} frames or pages, expected one",
                         "save each as a separate file, or choose one with page=0 (the first)")
    if isinstance(page, int) and not 0 <= page < pages:
        raise ImageError(path, f"has no page {page}", f"it contains {pages}, counted from 0")


def _decode_jpeg(file: BinaryIO, header: JpegHeader) -> Pixels:
    # Pillow hides libjpeg's warnings about corrupt data, and OpenCV also fills missing parts with grey: of PBC cells
    # with 20 bytes overwritten they report 10 % and 0 %, simplejpeg 61 % (tests/images/test_read.py). It is also the
    # fastest of the three.
    file.seek(0)
    content = file.read()
    check_scans(content)
    if header.channels not in (1, 3):
        check_jpeg(content, header.channels)
        file.seek(0)
        return to_rgb(JpegImagePlugin.JpegImageFile(file))
    try:
        return simplejpeg.decode_jpeg(content, colorspace="RGB", strict=True)
    except ValueError as error:
        if not is_harmless(error):
            raise
        file.seek(0)
        return to_rgb(JpegImagePlugin.JpegImageFile(file))


def _is_deep_png(file: BinaryIO) -> bool:
    """Whether a PNG has 16 bits a channel."""
    file.seek(24)
    return file.read(1) == b"\x10"


def _decode_deep_png(file: BinaryIO) -> Pixels:
    """A PNG of 16 bits a channel: Pillow drops the lower ones before it can be seen how many the camera used."""
    deep = np.atleast_3d(np.asarray(imagecodecs.png_decode(plain_png(file))))
    if deep.dtype != np.uint16:
        raise ValueError("the PNG of 16 bits cannot be decoded")
    colours = deep[..., :3] if deep.shape[2] > 2 else deep[..., :1]
    rgb = np.broadcast_to((colours >> (used_bits(int(colours.max())) - 8)).astype(np.uint8), (*deep.shape[:2], 3))
    return on_white(rgb, deep[..., -1] >> 8) if deep.shape[2] in (2, 4) else rgb.copy()
