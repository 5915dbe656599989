"""Slides of scanners, by OpenSlide: Aperio, Hamamatsu, Leica, 3DHISTECH, Ventana, Philips, Trestle, Sakura and others.

Where a file states which part of the glass was scanned, that part is the slide, as QuPath takes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
from jaxtyping import UInt8
from PIL import ImageCms

from ..errors import ImageError
from ..images.colour import profile_remark, to_srgb
from ..images.pixel_size import LEAST, MOST, PixelSize
from ..images.tiff_tags import HEIGHT, TILE_LENGTHS, TILE_OFFSETS, WIDTH, open_tiff
from .slide import MISSING, Facts, Level, Slide, check_whole, checked

NOT_HERE = ("generic-tiff", "dicom")
"""Formats of OpenSlide that other readers read with more of what they state."""


def format_of(path: Path) -> str:
    """OpenSlide's name of the format of a file; "" for a file that it does not read, or that others read better."""
    try:
        found = openslide.OpenSlide.detect_format(path)
    except (openslide.OpenSlideError, OSError):
        return ""
    return "" if found is None or found in NOT_HERE else found


class ScannerSlide(Slide):
    """A slide that OpenSlide reads."""

    def __init__(self, path: Path) -> None:
        with checked(path):
            try:
                self._slide = openslide.OpenSlide(path)
            except openslide.OpenSlideError as error:
                raise ImageError(path, f"cannot be opened ({error})", "export or copy the slide again, with all its "
                                 "files") from error
        stated = self._slide.properties
        sizes = zip(self._slide.level_dimensions, self._slide.level_downsamples, strict=True)
        self._left, self._top, width, height = scanned = _scanned(stated, *self._slide.dimensions)
        whole = scanned == (0, 0, *self._slide.dimensions)
        levels = tuple(Level(*size, by) if whole else Level(max(int(width / by), 1), max(int(height / by), 1), by)
                       for size, by in sizes)
        self._profile = _profile(self._slide)
        power = stated.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)
        super().__init__(path, Facts(
            f"OpenSlide {openslide.__library_version__}", levels, _pixel_size(stated), float(power) if power else None,
            stated.get(openslide.PROPERTY_NAME_VENDOR, ""), tuple(self._slide.associated_images), *_tiles(path),
            tuple(filter(None, [profile_remark(self._profile)]))))

    def close(self) -> None:
        self._slide.close()

    def _window(self, level: int, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        by = self.facts.levels[level].downsample
        place = self._left + round(left * by), self._top + round(top * by)
        try:
            picture = self._slide.read_region(place, level, (width, height))
        except openslide.OpenSlideError:
            self._slide = openslide.OpenSlide(self.path)  # one that has failed once answers nothing more
            raise
        return _on_white(np.asarray(picture), self._profile)

    def _picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        return _on_white(np.asarray(self._slide.associated_images[name]), b"")


def _on_white(rgba: UInt8[np.ndarray, "height width 4"], profile: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """Colours as sRGB; what the file does not hold is transparent."""
    return np.where(rgba[..., 3:] == 0, np.uint8(MISSING), to_srgb(rgba[..., :3], profile))


def _scanned(stated: Mapping[str, str], width: int, height: int) -> tuple[int, int, int, int]:
    """left, top, width, height of what was scanned, px of the finest level; all of it where the file does not say."""
    bounds = [int(_number(stated.get(name))) for name in (
        openslide.PROPERTY_NAME_BOUNDS_X, openslide.PROPERTY_NAME_BOUNDS_Y, openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT)]
    left, top, wide, high = bounds
    inside = 0 <= left < left + wide <= width and 0 <= top < top + high <= height
    return (left, top, wide, high) if inside else (0, 0, width, height)


def _profile(slide: openslide.OpenSlide) -> bytes:
    """The colour profile of the scan; empty without one."""
    try:
        profile = slide.color_profile
    except (openslide.OpenSlideError, ImageCms.PyCMSError, OSError):  # of a damaged one
        return b""
    return profile.tobytes() if profile is not None else b""


def _tiles(path: Path) -> tuple[int, int]:
    """(missing, all) tiles of the finest level of a file that is TIFF inside; (0, 0) for others. Raises ImageError for
    a truncated file."""
    with open(path, "rb") as file:
        try:
            tiff = open_tiff(file)
            finest = max(tiff.directories, key=lambda it: tiff.number(it, WIDTH, 0) * tiff.number(it, HEIGHT, 0))
            lengths = tiff.numbers(finest, TILE_LENGTHS)
        except ValueError:  # no TIFF, or a scanner's own kind, which OpenSlide knows
            return 0, 0
        for directory in tiff.directories:
            with contextlib.suppress(ValueError):  # of a label or a coarse level; OpenSlide says if it needs it
                offsets, own = (tiff.numbers(directory, tag) for tag in (TILE_OFFSETS, TILE_LENGTHS))
                check_whole(path, offsets, own, tiff.size)
    return sum(length == 0 for length in lengths), len(lengths)


def _pixel_size(stated: Mapping[str, str]) -> PixelSize:
    across, down = (_number(stated.get(name)) for name in (
        openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y))
    if not across or not down:
        return PixelSize()
    said = f"the file states {across:.4g} um a pixel (scanner)"
    if not LEAST <= across <= MOST or not 0.98 < across / down < 1.02:
        return PixelSize(None, "scanner", f"{said}, and {down:.4g} in height: not used")
    return PixelSize(across, "scanner")


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
