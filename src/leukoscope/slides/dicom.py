"""DICOM whole slides, by wsidicom: a folder of files of one slide, or one of these files."""

from __future__ import annotations

import logging
import os
import warnings
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import wsidicom
from jaxtyping import UInt8
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.uid import VLWholeSlideMicroscopyImageStorage
from wsidicom.errors import WsiDicomNoResolutionError

from ..errors import ImageError, first_line
from ..images.colour import profile_remark, to_srgb
from ..images.headers import is_dicom
from ..images.pixel_size import LEAST, MOST, PixelSize
from .slide import Facts, Level, Slide

_AGAIN = "export the slide again, with all its files in one folder"
_SERIES, _BITS = 0x0020000E, 0x00280100  # tags: the last ones that say of which slide a file is, and how large
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"  # of compressed pixels
_TAIL = 16_384  # bytes that may follow it

# What wsidicom only logs, such as a file that it leaves out, is decided here.
logging.getLogger("wsidicom").setLevel(logging.CRITICAL + 1)


class DicomSlide(Slide):
    """A DICOM whole slide. path: its folder, or one of its files."""

    def __init__(self, path: Path) -> None:
        files = _files(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of values that are longer than DICOM allows
                self._slide = wsidicom.WsiDicom.open(files)
                weakref.finalize(self, self._slide.close)
                _check_complete(path, files, self._slide)
                levels: list[Any] = sorted(iter(self._slide.levels), key=lambda level: level.level)  # type: ignore[call-overload]
                head: Any = pydicom.dcmread(files[0], stop_before_pixels=True)  # all files of a slide state the same
                optics = (head.get("OpticalPathSequence") or [{}])[0]
                self._profile = bytes(optics.get("ICCProfile") or b"")
                facts = _facts(self._slide, levels, head, self._profile)
        except ImageError:
            raise
        except WsiDicomNoResolutionError as error:
            raise ImageError(path, "its files do not say how large a pixel is, as DICOM requires",
                             "export it with PixelSpacing, or as OME-TIFF") from error
        except Exception as error:  # of many classes
            raise ImageError(path, f"is not a readable DICOM slide ({type(error).__name__}: {error})",
                             _AGAIN) from error
        self._numbers = [level.level for level in levels]
        super().__init__(path, facts)

    def close(self) -> None:
        self._slide.close()

    def _window(self, level: int, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        picture = self._slide.read_region((left, top), self._numbers[level], (width, height), threads=1)
        return to_srgb(np.asarray(picture.convert("RGB")), self._profile)

    def _picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        picture = self._slide.read_label() if name == "label" else self._slide.read_overview()
        return np.asarray(picture.convert("RGB"))


@dataclass(frozen=True)
class _Head:
    """What a DICOM file is. series: the slide that it belongs to. slide: whether it is an image of a whole slide, and
    volume: whether one of its levels."""

    series: str
    slide: bool
    volume: bool


def slides_among(files: Iterable[Path]) -> list[list[Path]]:
    """Slides of which DICOM files are parts: the files of each, a level first. Those of no slide are in none."""
    slides: dict[str, list[Path]] = {}
    first: dict[str, Path] = {}
    for file in files:
        try:
            head = _head(file)
        except ImageError:  # opening it says so
            continue
        if head.slide:
            slides.setdefault(head.series, []).append(file)
        if head.volume:
            first.setdefault(head.series, file)
    return [[level, *(file for file in slides[series] if file != level)] for series, level in first.items()]


def _files(path: Path) -> list[Path]:
    """The files of the slide, a level first: those of the folder, or those of one series."""
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and is_dicom(file))
    if path != folder:
        head = _head(path)
        if not head.slide:
            raise ImageError(path, "is a DICOM file, but not of a whole slide", "name a scan")
        return [file for file in files if file == path or _head(file).series == head.series]
    slides = slides_among(files)
    if len(slides) > 1:
        raise ImageError(path, f"holds {len(slides)} slides", f"name a file of one, such as {slides[0][0].name}")
    if not slides:
        raise ImageError(path, "holds DICOM files, but no level of a slide", "name the folder of a scan")
    return [*slides[0], *(file for file in files if file not in slides[0])]


def _head(path: Path) -> _Head:
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            head: Any = read_partial(file, stop_when=lambda tag, vr, length: tag > _SERIES)
        kind = list(head.get("ImageType") or ())
    except InvalidDicomError as error:
        raise ImageError(path, "is not a DICOM file", _AGAIN) from error
    except Exception as error:  # of many classes
        raise ImageError(path, f"is not a readable DICOM file ({first_line(error)})", _AGAIN) from error
    slide = head.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage
    return _Head(str(head.get("SeriesInstanceUID", path)), slide, slide and "VOLUME" in kind)


def _check_complete(path: Path, files: list[Path], slide: wsidicom.WsiDicom) -> None:
    """Raise ImageError for a truncated level, and where wsidicom has left out one that is damaged or of a kind that is
    not read: without it the slide would be taken for a coarser one."""
    opened = {file.name for file in slide.files or ()}
    for file in files:
        if _head(file).volume:
            if file.name not in opened:
                raise ImageError(path, f"its file {file.name} is damaged, or compressed in a way that is not read",
                                 _AGAIN)
            if _is_truncated(file):
                raise ImageError(path, f"is truncated: its file {file.name} ends before its last tile", _AGAIN)


def _is_truncated(path: Path) -> bool:
    """Whether a level ends within its pixels: compressed ones end with a mark, the length of others is known."""
    with open(path, "rb") as file:
        head: Any = read_partial(file, stop_when=lambda tag, vr, length: tag > _BITS)
        size, kind = os.fstat(file.fileno()).st_size, head.file_meta.TransferSyntaxUID
        if kind.is_encapsulated:
            file.seek(max(size - _TAIL, 0))
            return _END not in file.read()
    sides = head.Rows * head.Columns * int(head.get("NumberOfFrames", 1))
    return not kind.is_deflated and size < sides * head.SamplesPerPixel * head.BitsAllocated // 8


def _facts(slide: wsidicom.WsiDicom, levels: list[Any], head: Any, profile: bytes) -> Facts:
    finest = levels[0]
    sizes = tuple(Level(level.size.width, level.size.height, finest.size.width / level.size.width) for level in levels)
    power = (head.get("OpticalPathSequence") or [{}])[0].get("ObjectiveLensPower")
    pictures = [name for name, held in (("label", slide.labels), ("macro", slide.overviews)) if held]
    return Facts("wsidicom", sizes, _pixel_size(finest), float(power) if power else None,
                 str(head.get("Manufacturer", "") or ""), tuple(pictures),
                 remarks=tuple(filter(None, [profile_remark(profile)])))


def _pixel_size(finest: Any) -> PixelSize:
    across, down = finest.mpp.width, finest.mpp.height
    if LEAST <= across <= MOST and 0.98 < across / down < 1.02:
        return PixelSize(across, "DICOM")
    return PixelSize(None, "DICOM", f"the file states {across:.4g} x {down:.4g} um a pixel (DICOM): not used")
