"""Slides that are TIFF: pyramids, tiles and strips, BigTIFF, OME-TIFF and Aperio's, by tifffile.

Only the tiles of a window are decoded, and a few are kept. A tile that the file leaves out is white, and counted.
"""

from __future__ import annotations

import logging
import re
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import UInt8
from numpy.typing import NDArray

from ..errors import ImageError, first_line
from ..images.colour import profile_remark, to_srgb
from ..images.pixel_size import stated_pixel_size
from ..images.tiff_layout import IMAGE_CODECS, YCBCR
from ..images.tiff_pixels import ycbcr_to_rgb
from .slide import AGAIN, MISSING, Facts, Level, Slide, check_whole, checked

CACHE = 64_000_000
"""Bytes of decoded tiles that a slide keeps."""
LARGEST_TILE = 100_000_000
"""px of a tile or strip."""
_SAME_SHAPE = 0.02  # of the sides, by which a level may differ in shape
_ASIDE = re.compile(r"^(label|macro|thumbnail)\b", re.IGNORECASE)
_JPEG = 6, 7, 33007
_APERIO_YCBCR = 33003  # JPEG 2000 without a transform of colours
_READ = {1: "grey", 2: "RGB", 6: "YCbCr"}  # photometric interpretations; 0 and others have no smear in them

# What tifffile only logs is decided here: what matters becomes an error or a remark.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class TiffSlide(Slide):
    """A TIFF whose tiles or strips are decoded one by one. source: the file that the user named, where the TIFF was
    made from another one."""

    def __init__(self, path: Path, *, source: Path | None = None) -> None:
        named = source or path
        with checked(path):
            try:
                self._tiff = tifffile.TiffFile(path)
                weakref.finalize(self, self._tiff.close)
            except Exception as error:  # of many classes
                raise ImageError(named, f"is not a readable TIFF ({first_line(error)})", AGAIN) from error
            try:
                pages = [page for first in self._tiff.pages for page in (first, *(first.pages or ()))]
                self._levels, self._aside = _sorted(named, pages)
                tiles = [_check(named, page) for page in self._levels]
            except BaseException:
                self._tiff.close()
                raise
        finest = self._levels[0]
        levels = tuple(Level(page.imagewidth, page.imagelength, finest.imagewidth / page.imagewidth)
                       for page in self._levels)
        objective, vendor = _objective(self._tiff, finest)
        self._tiles: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._held = 0
        self._profile = bytes(finest.iccprofile or b"")
        missing, count = tiles[0]
        super().__init__(named, Facts("tifffile", levels, stated_pixel_size(named), objective, vendor,
                                      tuple(self._aside), missing, count,
                                      tuple(filter(None, [profile_remark(self._profile)]))))

    def close(self) -> None:
        self._tiff.close()

    def _window(self, level: int, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        page = self._levels[level]
        rows, columns = _tile_size(page)
        across = -(-page.imagewidth // columns)
        window = np.full((height, width, 3), MISSING, np.uint8)
        for row in range(top // rows, (top + height - 1) // rows + 1):
            for column in range(left // columns, (left + width - 1) // columns + 1):
                tile = self._tile(level, row * across + column)
                y, x = row * rows, column * columns
                y0, x0, y1, x1 = max(y, top), max(x, left), min(y + rows, top + height), min(x + columns, left + width)
                if tile is not None:
                    window[y0 - top:y1 - top, x0 - left:x1 - left] = tile[y0 - y:y1 - y, x0 - x:x1 - x]
        return to_srgb(window, self._profile)

    def _tile(self, level: int, index: int) -> NDArray[np.uint8] | None:
        """A decoded tile, or None where the file leaves it out."""
        if (level, index) in self._tiles:
            self._tiles.move_to_end((level, index))
            return self._tiles[level, index]
        page = self._levels[level]
        if page.databytecounts[index] == 0:
            return None
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            plane = len(page.dataoffsets) // page.samplesperpixel
            parts = [self._decoded(page, index + plane * sample) for sample in range(min(page.samplesperpixel, 3))]
            tile = _as_rgb(page, np.concatenate(parts, axis=2))
        else:
            tile = _as_rgb(page, self._decoded(page, index))
        self._tiles[level, index] = tile
        self._held += tile.nbytes
        while self._held > CACHE and len(self._tiles) > 1:
            self._held -= self._tiles.popitem(last=False)[1].nbytes
        return tile

    def _decoded(self, page: tifffile.TiffPage, index: int) -> NDArray[np.integer]:
        file = self._tiff.filehandle
        file.seek(page.dataoffsets[index])
        content = file.read(page.databytecounts[index])
        jpeg = page.compression in _JPEG
        more = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if jpeg else {}
        decoded: Any = page.decode(content, index, **more)[0]
        if decoded is None:
            raise ValueError("a tile is empty")
        rows, columns = _tile_size(page)
        tile = np.asarray(decoded)[0]
        if tile.shape[0] > rows or tile.shape[1] > columns:
            raise ValueError(f"a tile has {tile.shape[1]} x {tile.shape[0]} px, expected {columns} x {rows}")
        # Tiles and strips at the border come without what lies beyond it.
        return np.pad(tile, ((0, rows - tile.shape[0]), (0, columns - tile.shape[1]), (0, 0)))

    def _picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        page = self._aside[name]
        picture = np.asarray(page.asarray())
        return _as_rgb(page, picture if picture.ndim == 3 else picture[..., None])


def _sorted(path: Path, pages: Iterable[tifffile.TiffPage | tifffile.TiffFrame],
            ) -> tuple[list[tifffile.TiffPage], dict[str, tifffile.TiffPage]]:
    """The levels, the finest first, and the further pictures by name."""
    whole = [page if isinstance(page, tifffile.TiffPage) else page.aspage() for page in pages]
    aside: dict[str, tifffile.TiffPage] = {}
    images = []
    for number, page in enumerate(whole):
        name = _name(page, number)
        if name:
            aside.setdefault(name, page)
        else:
            images.append(page)
    if not images:
        raise ImageError(path, "holds no image but labels and overviews", AGAIN)
    finest = max(images, key=lambda page: page.imagewidth * page.imagelength)
    levels = {finest.imagewidth: finest}
    for page in images:
        by = finest.imagewidth / max(page.imagewidth, 1)
        shape = abs(finest.imagelength / max(page.imagelength, 1) / by - 1)
        same = (page.photometric, page.samplesperpixel) == (finest.photometric, finest.samplesperpixel)
        if by > 1.2 and shape < max(_SAME_SHAPE, 2 / page.imagelength) and page.is_tiled == finest.is_tiled and same:
            levels.setdefault(page.imagewidth, page)
    others = [page for page in images if page.imagewidth == finest.imagewidth and page is not finest]
    if others:
        raise ImageError(path, f"holds {len(others) + 1} images of {finest.imagewidth} x {finest.imagelength} px: "
                         "planes of focus or channels, and a slide must be one image in colour",
                         "export one plane in RGB")
    return [levels[width] for width in sorted(levels, reverse=True)], aside


def _name(page: tifffile.TiffPage, number: int) -> str:
    """What a page is, where it is not the scan: "label", "macro", "thumbnail"; or ""."""
    text = str(page.description or "")
    first = text.splitlines()[1] if text.startswith("Aperio") and len(text.splitlines()) > 1 else text
    found = _ASIDE.match(first.strip()) if len(text) < 2000 else None
    if found:
        return found[1].lower()
    if number and text.startswith("Aperio") and not page.is_tiled:
        return "thumbnail"
    return {1: "label", 9: "macro"}.get(int(page.subfiletype), "") if text.startswith("Aperio") and number else ""


def _check(path: Path, page: tifffile.TiffPage) -> tuple[int, int]:
    """(missing tiles, all tiles) of a level. Raises ImageError for a layout that is not read, and for a truncated file.
    """
    samples, rows_columns = page.samplesperpixel, _tile_size(page)
    if page.photometric not in _READ or page.dtype not in (np.uint8, np.uint16) or samples not in (1, 3, 4):
        raise ImageError(path, f"its pixels are {samples} samples of {page.bitspersample} bits, colours "
                         f"{getattr(page.photometric, 'name', page.photometric)}; a slide is read in grey or RGB of 8 "
                         "or 16 bits", "export it as RGB")
    if rows_columns[0] * rows_columns[1] > LARGEST_TILE:
        raise ImageError(path, f"its tiles have {rows_columns[1]} x {rows_columns[0]} px", "export it in smaller tiles")
    check_whole(path, page.dataoffsets, page.databytecounts, page.parent.filehandle.size)
    return sum(length == 0 for length in page.databytecounts), len(page.dataoffsets)


def _tile_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """(rows, columns) of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth


def _as_rgb(page: tifffile.TiffPage, samples: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Samples (height, width, samples) as colours."""
    if samples.dtype == np.uint16:
        samples = samples >> 8
    colours = samples[..., :3] if samples.shape[2] >= 3 else samples[..., :1]
    stored = page.photometric == YCBCR and page.compression not in (*_JPEG, *IMAGE_CODECS)  # others are decoded to RGB
    if stored or page.compression == _APERIO_YCBCR:
        colours = ycbcr_to_rgb(colours)
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)), np.uint8)


def _objective(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float | None, str]:
    """Magnification and maker, as Aperio and OME state them."""
    text = str(page.description or "")
    if text.startswith("Aperio"):
        found = re.search(r"\|\s*AppMag\s*=\s*([0-9.]+)", text)
        return (float(found[1]) if found else None), "Aperio"
    if tiff.is_ome:
        found = re.search(r'NominalMagnification="([0-9.]+)"', tiff.ome_metadata or "")
        maker = re.search(r'<Microscope[^>]*Manufacturer="([^"]+)"', tiff.ome_metadata or "")
        return (float(found[1]) if found else None), maker[1] if maker else ""
    return None, str(page.tags.valueof("Make") or "")
