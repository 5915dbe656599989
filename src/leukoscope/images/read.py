"""Reads pixels: any image file to uint8 RGB.

Decodes by content, not by name, and completely or not at all: any damage is an ImageError that names the file. Sizes
are checked before anything is decoded. Knows nothing of labels or training, and does not import torch.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from ..errors import ImageError, LeukoscopeError
from .colour import exif_profile, to_srgb
from .headers import (
    PNG_MAGIC,
    JpegHeader,
    check_jpeg,
    check_png,
    check_scans,
    is_harmless,
    jpeg_header,
    no_image,
    orientation,
    other_format,
)
from .tiff_layout import layout_of
from .tiff_pages import contents_of, only_picture
from .tiff_pixels import page_profile, read_page, used_bits
from .tiff_tags import TIFF_MAGIC, open_tiff

MAX_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded (10,000 x 10,000): a protection against decompression bombs."""
LONGEST_SIDE = 65_535
"""px: the longest side of an image; JPEG allows no longer one."""
LARGEST_FILE = 1_000_000_000
"""Bytes of an image file that is read as a whole."""

Pixels = UInt8[np.ndarray, "height width 3"]
Page = int | tuple[int, ...]
"""A page of a file, from 0, or the three pages with its red, green and blue."""

_JPEG, _HEIF = b"\xff\xd8\xff", b"ftyp"
# The plugins are called directly: Image.open would try every format, and its own limit on pixels only warns.
_FORMATS: tuple[tuple[bytes | tuple[bytes, ...], type[ImageFile]], ...] = (
    (PNG_MAGIC, PngImagePlugin.PngImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_READABLE = "JPEG, PNG, TIFF, HEIC, BMP, GIF or WebP"
_RETRIEVE = "download or export the file again, or leave it out with --skip-damaged"
_BACKWARDS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""EXIF orientation -> steps down and right, where an axis is reversed."""
_BAND = 1 << 22  # px that are copied at once

# What Pillow only warns of (a damaged animation, a chunk that lacks its end) is damage here, and no line on a terminal.
warnings.filterwarnings("error", category=UserWarning, module=r"PIL\.(Png|Gif|WebP|Bmp|Jpeg)\w*")


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


def colour_profile(path: Path | str, *, page: Page | None = None) -> bytes:
    """The embedded colour profile, which may be empty. Raises ImageError as `image_size` does."""
    path = Path(path)
    with opened_image(path) as file:
        return _read_header(path, file, page, None).profile


def embedded_exif(path: Path | str) -> bytes:
    """The EXIF block of a PNG, WebP or HEIC, which may be empty. Raises ImageError as `image_size` does."""
    path = Path(path)
    with opened_image(path) as file:
        start = file.read(16)
        file.seek(0)
        exif = _plugin(path, start)(file).info.get("exif")
        return exif if isinstance(exif, bytes) else b""


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
        raise ImageError(path, f"cannot be decoded ({str(error) or type(error).__name__})", _RETRIEVE) from error


@dataclass(frozen=True)
class _Header:
    """Size in px as stored, EXIF orientation (1 where the decoder itself rotates the image), colour profile, and what
    decodes the pixels."""

    width: int
    height: int
    orientation: int
    profile: bytes
    decode: Callable[[], Pixels]


def _read_header(path: Path, file: BinaryIO, page: Page | None, max_pixels: int | None) -> _Header:
    start = file.read(16)
    if not start:
        raise ImageError(path, "is empty (0 bytes)", _RETRIEVE)
    size = os.fstat(file.fileno()).st_size
    if start.startswith(TIFF_MAGIC):
        header = _tiff_header(path, file, page)
    elif size > LARGEST_FILE:
        raise ImageError(path, f"has {size:,} bytes, over the limit of {LARGEST_FILE:,}", "cut the image into parts")
    elif start.startswith(_JPEG):
        _check_page(path, page, 1)
        header = _jpeg_file_header(file)
    else:
        header = _header_of_pillow(path, file, page, _plugin(path, start))
    pixels = header.width * header.height
    if max_pixels is not None and pixels > max_pixels:
        raise ImageError(path, f"{header.width} x {header.height} px are {pixels:,} pixels, over the limit of "
                         f"{max_pixels:,}", "cut the image into parts, or raise max_pixels if you trust the file")
    if max(header.width, header.height) > LONGEST_SIDE:
        raise ImageError(path, f"{header.width:,} x {header.height:,} px: a side is over the limit of {LONGEST_SIDE:,} "
                         "px", "give a photograph of cells, or cut the image into parts")
    return header


def _plugin(path: Path, start: bytes) -> type[ImageFile]:
    """Pillow's reader of a file that starts so. ImageError for other files."""
    if start[4:8] == _HEIF and start[8:12] in _HEIF_BRANDS:
        from pillow_heif import HeifImageFile  # late: few files need it

        return HeifImageFile
    plugin = next((plugin for magic, plugin in _FORMATS if start.startswith(magic)), None)
    if plugin is None:
        other = no_image(start)
        if other:
            raise ImageError(path, f"is {other}, not an image", f"expected {_READABLE}")
        known = other_format(start)
        if known:
            raise ImageError(path, f"is {known}, which is not read", f"save it as {_READABLE}")
        raise ImageError(path, f"is not an image (it starts with {start!r})", f"expected {_READABLE}")
    return plugin


def _jpeg_file_header(file: BinaryIO) -> _Header:
    jpeg = jpeg_header(file)
    return _Header(jpeg.width, jpeg.height, orientation(jpeg.exif), jpeg.profile or exif_profile(jpeg.exif),
                   lambda: _decode_jpeg(file, jpeg))


def _tiff_header(path: Path, file: BinaryIO, page: Page | None) -> _Header:
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

    return _Header(first.width, first.height, first.turn, page_profile(tiff, pages[0]), decode)


def _header_of_pillow(path: Path, file: BinaryIO, page: Page | None, plugin: type[ImageFile]) -> _Header:
    file.seek(0)
    picture = plugin(file)
    _check_page(path, page, getattr(picture, "n_frames", 1))
    if page:
        picture.seek(page if isinstance(page, int) else page[0])
    exif, png = picture.info.get("exif", b""), plugin is PngImagePlugin.PngImageFile
    turn = orientation(exif) if isinstance(exif, bytes) and plugin.__name__ != "HeifImageFile" else 1

    def decode() -> Pixels:
        if png:
            check_png(file)
        return _decode_deep_png(file) if png and _is_deep_png(file) and not page else _to_rgb(picture)

    return _Header(*picture.size, turn, _profile(picture), decode)


def _profile(picture: Image.Image) -> bytes:
    """The colour profile that a file embeds, or that its EXIF names."""
    exif = picture.info.get("exif")
    return picture.info.get("icc_profile") or (exif_profile(exif) if isinstance(exif, bytes) else b"")


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
        return _to_rgb(JpegImagePlugin.JpegImageFile(file))
    try:
        return simplejpeg.decode_jpeg(content, colorspace="RGB", strict=True)
    except ValueError as error:
        if not is_harmless(error):
            raise
        file.seek(0)
        return _to_rgb(JpegImagePlugin.JpegImageFile(file))


def _is_deep_png(file: BinaryIO) -> bool:
    """Whether a PNG has 16 bits a channel."""
    file.seek(24)
    return file.read(1) == b"\x10"


def _decode_deep_png(file: BinaryIO) -> Pixels:
    """A PNG of 16 bits a channel: Pillow drops the lower ones before it can be seen how many the camera used."""
    file.seek(0)
    deep: Any = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16:
        raise ValueError("the PNG of 16 bits cannot be decoded")
    deep = np.atleast_3d(deep)
    colours = deep[..., :3][..., ::-1] if deep.shape[2] > 2 else deep[..., :1]
    rgb = np.broadcast_to((colours >> (used_bits(int(colours.max())) - 8)).astype(np.uint8), (*deep.shape[:2], 3))
    return _on_white(rgb, deep[..., -1] >> 8) if deep.shape[2] in (2, 4) else rgb.copy()


def _on_white(rgb: Pixels, alpha: NDArray[Any]) -> Pixels:
    """Pixels on white where alpha (0 to 255) is low; an alpha of zero everywhere means nothing."""
    if not alpha.any():
        return rgb.copy()
    opaque = alpha.astype(np.uint16)[..., None]
    return ((rgb * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)


def picture_pixels(picture: Image.Image) -> Pixels:
    """The pixels of an opened Pillow image, as `read_image` gives those of its file: rotated by its EXIF orientation,
    in the colours of sRGB, on white where it is transparent. Raises LeukoscopeError for 32-bit values."""
    orientation = int(picture.getexif().get(0x0112, 1) or 1)
    try:
        pixels = to_srgb(_to_rgb(picture), _profile(picture))
        return np.ascontiguousarray(turned(pixels, orientation))
    except (ValueError, OSError) as error:
        raise LeukoscopeError(f"a Pillow image of mode {picture.mode} cannot be read: {error}",
                              "convert it to 8 bits per channel") from error


def _to_rgb(picture: Image.Image) -> Pixels:
    picture.load()
    if picture.mode.startswith("I;16"):
        values = np.asarray(picture)
        high = (values >> (used_bits(int(values.max())) - 8)).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit values, expected 8 or 16 bits per channel")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        if clear.getchannel("A").getextrema() != (0, 0):  # an alpha of zero everywhere means nothing
            clear = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), clear)
        return _as_array(clear.convert("RGB"))
    return _as_array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _as_array(picture: Image.Image) -> Pixels:
    """The pixels of an RGB picture, copied in bands: Pillow would need three times the memory."""
    width, height = picture.size
    if width * height <= _BAND:
        return np.array(picture)
    pixels, band = np.empty((height, width, 3), np.uint8), max(_BAND // width, 1)
    for top in range(0, height, band):
        pixels[top:top + band] = np.asarray(picture.crop((0, top, width, min(top + band, height))))
    return pixels


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: values above 4 swap the axes; then one or both axes may be reversed."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down, right = _BACKWARDS.get(orientation, (1, 1))
    return pixels[::down, ::right]


def stored_window(orientation: int, window: tuple[int, int, int, int], size: tuple[int, int],
                  ) -> tuple[int, int, int, int]:
    """Where a window (left, top, width, height) of an upright image of `size` (width, height) lies in the stored one.
    """
    (left, top, width, height), (down, right) = window, _BACKWARDS.get(orientation, (1, 1))
    left = left if right == 1 else size[0] - left - width
    top = top if down == 1 else size[1] - top - height
    return (top, left, height, width) if orientation >= 5 else (left, top, width, height)
