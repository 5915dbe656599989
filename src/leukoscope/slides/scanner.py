"""Slides of scanners, by OpenSlide: Aperio, Hamamatsu, Leica, 3DHISTECH, Ventana, Philips, Trestle, Sakura and others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
from jaxtyping import UInt8

from ..errors import ImageError
from ..images.pixel_size import LEAST, MOST, PixelSize
from ..images.read import opened_image
from ..images.tiff_tags import HEIGHT, TILE_LENGTHS, WIDTH, open_tiff
from .slide import MISSING, Facts, Level, Slide

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
        with opened_image(path):
            try:
                self._slide = openslide.OpenSlide(path)
            except openslide.OpenSlideError as error:
                raise ImageError(path, f"cannot be opened ({error})", "export or copy the slide again, with all its "
                                 "files") from error
        levels = tuple(Level(*size, by) for size, by in zip(self._slide.level_dimensions,
                                                            self._slide.level_downsamples, strict=True))
        stated = self._slide.properties
        power = stated.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)
        super().__init__(path, Facts(
            f"OpenSlide {openslide.__library_version__}", levels, _pixel_size(stated), float(power) if power else None,
            stated.get(openslide.PROPERTY_NAME_VENDOR, ""), tuple(self._slide.associated_images), *_tiles(path)))

    def close(self) -> None:
        self._slide.close()

    def _window(self, level: int, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        by = self.facts.levels[level].downsample
        try:
            picture = self._slide.read_region((round(left * by), round(top * by)), level, (width, height))
        except openslide.OpenSlideError:
            self._slide = openslide.OpenSlide(self.path)  # one that has failed once answers nothing more
            raise
        return _on_white(np.asarray(picture))

    def _picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        return _on_white(np.asarray(self._slide.associated_images[name]))


def _on_white(rgba: UInt8[np.ndarray, "height width 4"]) -> UInt8[np.ndarray, "height width 3"]:
    """What the file does not hold is transparent."""
    return np.where(rgba[..., 3:] == 0, np.uint8(MISSING), rgba[..., :3])


def _tiles(path: Path) -> tuple[int, int]:
    """(missing, all) tiles of the finest level of a file that is TIFF inside; (0, 0) for others."""
    with open(path, "rb") as file:
        try:
            tiff = open_tiff(file)
            finest = max(tiff.directories, key=lambda it: tiff.number(it, WIDTH, 0) * tiff.number(it, HEIGHT, 0))
            lengths = tiff.numbers(finest, TILE_LENGTHS)
        except ValueError:  # no TIFF, or a scanner's own kind, which OpenSlide knows
            return 0, 0
    return sum(length == 0 for length in lengths), len(lengths)


def _pixel_size(stated: object) -> PixelSize:
    across, down = (_number(stated.get(name)) for name in (  # type: ignore[attr-defined]
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
