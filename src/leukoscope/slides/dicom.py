"""DICOM whole slides, by wsidicom: a folder of files of one slide, or one of these files."""

from __future__ import annotations

import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import wsidicom
from jaxtyping import UInt8

from ..errors import ImageError
from ..images.pixel_size import LEAST, MOST, PixelSize
from .slide import Facts, Level, Slide

_AGAIN = "export the slide again, with all its files in one folder"


class DicomSlide(Slide):
    """A DICOM whole slide. path: its folder, or one of its files."""

    def __init__(self, path: Path) -> None:
        files = _files(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of values that are longer than DICOM allows
                self._slide = wsidicom.WsiDicom.open(files)
                weakref.finalize(self, self._slide.close)
                levels: list[Any] = sorted(iter(self._slide.levels), key=lambda level: level.level)  # type: ignore[call-overload]
                facts = _facts(self._slide, levels, files)
        except ImageError:
            raise
        except Exception as error:  # of many classes
            raise ImageError(path, f"is no DICOM slide that can be read ({type(error).__name__}: {error})",
                             _AGAIN) from error
        self._numbers = [level.level for level in levels]
        super().__init__(path, facts)

    def close(self) -> None:
        self._slide.close()

    def _window(self, level: int, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        picture = self._slide.read_region((left, top), self._numbers[level], (width, height), threads=1)
        return np.asarray(picture.convert("RGB"))

    def _picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        picture = self._slide.read_label() if name == "label" else self._slide.read_overview()
        return np.asarray(picture.convert("RGB"))


def _files(path: Path) -> list[Path]:
    """The files of the slide: those of the folder, or those of one series."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and is_dicom(file))
    series = _series(path)
    return sorted(file for file in path.parent.iterdir() if file.is_file() and is_dicom(file)
                  and (file == path or _series(file) == series))


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _series(path: Path) -> str:
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
    except Exception as error:  # of many classes
        raise ImageError(path, f"is no DICOM file that can be read ({error})", _AGAIN) from error
    return str(head.get("SeriesInstanceUID", path))


def _facts(slide: wsidicom.WsiDicom, levels: list[Any], files: list[Path]) -> Facts:
    finest = levels[0]
    sizes = tuple(Level(level.size.width, level.size.height, finest.size.width / level.size.width) for level in levels)
    across, down = finest.mpp.width, finest.mpp.height
    usable = LEAST <= across <= MOST and 0.98 < across / down < 1.02
    pixel = PixelSize(across, "DICOM") if usable else PixelSize(
        None, "DICOM", f"the file states {across:.4g} x {down:.4g} um a pixel (DICOM): not used")
    head = pydicom.dcmread(files[0], stop_before_pixels=True)  # all files of a slide state the same
    optics = head.get("OpticalPathSequence")
    power = optics[0].get("ObjectiveLensPower") if optics else None
    pictures = [name for name, held in (("label", slide.labels), ("macro", slide.overviews)) if held]
    return Facts("wsidicom", sizes, pixel, float(power) if power else None, str(head.get("Manufacturer", "") or ""),
                 tuple(pictures))
