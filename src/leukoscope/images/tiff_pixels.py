"""One page of a TIFF to uint8 RGB, whole or a window of it. Raises ValueError where it cannot be decoded completely."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from . import tiff_tags as tags
from .colour import stated_profile
from .tiff_codecs import Samples
from .tiff_layout import BLACK, CMYK, IMAGE_CODECS, JPEG, PALETTE, RGB, WHITE, YCBCR
from .tiff_pieces import BAND, Pieces
from .tiff_tags import Directory, Tiff


@dataclass(frozen=True)
class YCbCr:
    """luma: shares of red, green and blue in Y. levels: of Y, Cb and Cr, that of black (or none) and that of white (or
    all of the colour)."""

    luma: tuple[float, ...] = (0.299, 0.587, 0.114)
    levels: tuple[float, ...] = (0, 255, 128, 255, 128, 255)


class PageReader:
    """Windows of a page as uint8 RGB, upright only where its orientation is 1. Holds a few decoded pieces."""

    def __init__(self, tiff: Tiff, page: Directory) -> None:
        self._tiff, self._page, self._pieces = tiff, page, Pieces(tiff, page)
        self.layout = self._pieces.layout
        self._palette = self._read_palette() if self.layout.photometric == PALETTE else None
        self._depth = self._used_bits()
        plain = self.layout.photometric == YCBCR and self.layout.compression not in (JPEG, *IMAGE_CODECS)
        self._ycbcr = self._read_ycbcr() if plain else None

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """A window that lies within the page."""
        it = self.layout
        samples = it.colours + (it.alpha > 0)  # further ones are not shown
        window = np.empty((height, width, samples), np.uint16 if it.bits > 8 else np.uint8)
        for index in self._pieces.touched(left, top, width, height, min(it.planes, samples)):
            column, row = self._pieces.corner(index)
            piece = self._pieces[index]
            y0, x0 = max(row, top), max(column, left)
            y1, x1 = min(row + piece.shape[0], top + height), min(column + piece.shape[1], left + width)
            plane = index // self._pieces.per_plane
            channels = slice(None) if it.planes == 1 else slice(plane, plane + 1)
            window[y0 - top:y1 - top, x0 - left:x1 - left, channels] = piece[
                y0 - row:y1 - row, x0 - column:x1 - column, :samples]
        return self._to_rgb(window)

    def _used_bits(self) -> int:
        """Bits that 16-bit values use: cameras of 10 to 14 bits often store them in the lower bits, and say so in a tag
        or not at all."""
        it = self.layout
        if it.bits != 16:
            return it.bits
        stated = tuple(map(int, self._tiff.numbers(self._page, tags.LARGEST_VALUE, most=64)))
        if not stated or not 255 <= max(stated) < 65535:
            if it.photometric not in (BLACK, RGB, WHITE):
                return 16
            stated = tuple(int(self._pieces[index][..., :it.colours].max()) for index in range(it.count)
                           if index // self._pieces.per_plane < it.colours)
            if it.photometric == WHITE and max(stated) >= 1 << 12:
                return 16  # 14 bits, or a pale photograph
        return used_bits(max(stated))

    def _read_palette(self) -> UInt8[np.ndarray, "colours 3"]:
        it = self.layout
        values = np.array(self._tiff.numbers(self._page, tags.COLOUR_MAP, most=3 << 16), np.uint32)
        if it.bits > 8 or len(values) != 3 << it.bits:
            raise ValueError(f"its palette has {len(values)} values for {it.bits}-bit pixels")
        return (values if values.max() < 256 else values >> 8).astype(np.uint8).reshape(3, -1).T

    def _read_ycbcr(self) -> YCbCr:
        """How Y, Cb and Cr are meant; as ITU-R BT.601 with the full range of values where the page does not say it."""
        usual = YCbCr()
        luma = self._tiff.numbers(self._page, tags.YCBCR_COEFFICIENTS, usual.luma, most=3)
        levels = self._tiff.numbers(self._page, tags.BLACK_AND_WHITE, usual.levels, most=6)
        if len(luma) != 3 or len(levels) != 6 or not luma[1] or any(levels[i] == levels[i + 1] for i in (0, 2, 4)):
            raise ValueError(f"its YCbCr colours are stated as {luma} and {levels}, which give no colours")
        return YCbCr(luma, levels)

    def _to_rgb(self, samples: Samples) -> UInt8[np.ndarray, "height width 3"]:
        """Samples as stored, (height, width, samples), to colours, on white where alpha says so."""
        it = self.layout
        if self._palette is not None:
            return self._palette[samples[..., 0]]
        if it.bits < 8:
            levels = (samples * np.uint16(255) // ((1 << it.bits) - 1)).astype(np.uint8)
        else:
            levels = samples if it.bits == 8 else (samples >> (self._depth - 8)).clip(0, 255).astype(np.uint8)
        colours = levels[..., :it.colours]
        if it.photometric == WHITE:
            colours = 255 - colours
        elif it.photometric == CMYK:
            light = 255 - colours.astype(np.uint16)
            colours = ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)
        elif self._ycbcr is not None:
            colours = ycbcr_to_rgb(colours, self._ycbcr)
        rgb = np.broadcast_to(colours, (*colours.shape[:2], 3)) if colours.shape[2] == 1 else colours
        if it.alpha and self._has_alpha:
            opaque = levels[..., it.colours:it.colours + 1].astype(np.uint16)
            rgb = (np.minimum(rgb + (255 - opaque), 255) if it.alpha == 1 else
                   (rgb * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)
        return np.ascontiguousarray(rgb)

    @cached_property
    def _has_alpha(self) -> bool:
        """Whether alpha is more than zero somewhere: writers that leave it empty do not mean a transparent image."""
        it, count = self.layout, self._pieces.per_plane
        first, channel = (0, it.colours) if it.planes == 1 else (count * it.colours, 0)
        return any(self._pieces[index][..., channel].any() for index in range(first, first + count))


def used_bits(largest: int) -> int:
    """Bits of 16 that a camera uses, by the largest value of an image: no photograph on a bright background is darker
    than a quarter of the range everywhere. 16 where all are 0."""
    return next((bits for bits in (8, 10, 12, 14) if 0 < largest < 1 << bits), 16)


def read_page(tiff: Tiff, page: Directory) -> UInt8[np.ndarray, "height width 3"]:
    """A page as a whole, as stored, in bands: memory is the result, what is cached and one band."""
    reader = PageReader(tiff, page)
    width, height, rows = reader.layout.width, reader.layout.height, reader.layout.piece_height
    if width * height <= BAND:
        return reader.read(0, 0, width, height)
    band = max(BAND // width // rows * rows, min(rows, max(BAND // width, 1)))
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, band):
        pixels[top:top + band] = reader.read(0, top, width, min(band, height - top))
    return pixels


def page_profile(tiff: Tiff, page: Directory) -> bytes:
    """The colour profile that a page embeds, or that its EXIF names; b"" for none."""
    embedded = tiff.content(page, tags.PROFILE)
    if embedded or tags.EXIF not in page.entries:
        return embedded
    try:
        exif = tiff.sub_directories(page, tags.EXIF)[0]
        within = tiff.sub_directories(exif, tags.INTEROPERABILITY)
        return stated_profile(tiff.number(exif, tags.COLOUR_SPACE, 1), tiff.text(within[0], 1) if within else "")
    except (ValueError, struct.error):  # EXIF is often damaged, and says nothing then
        return b""


def ycbcr_to_rgb(colours: Samples, meant: YCbCr | None = None) -> NDArray[np.uint8]:
    """YCbCr to RGB (TIFF 6.0, section 21), full-range by ITU-R BT.601 unless `meant` says otherwise."""
    meant = meant or YCbCr()
    planes = [colours[..., i].astype(np.float32) for i in range(3)]
    light, blue, red = (
        (plane - meant.levels[2 * i]) * (code / (meant.levels[2 * i + 1] - meant.levels[2 * i]))
        for i, (plane, code) in enumerate(zip(planes, (255, 127, 127), strict=True)))
    red, blue = red * (2 - 2 * meant.luma[0]) + light, blue * (2 - 2 * meant.luma[2]) + light
    green = (light - meant.luma[2] * blue - meant.luma[0] * red) / meant.luma[1]
    return np.rint(np.stack([red, green, blue], axis=-1)).clip(0, 255).astype(np.uint8)
