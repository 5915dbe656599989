"""What a slide is, whatever reads it: levels, scale, objective, maker, further pictures, and windows of pixels.

Knows no file format, and not what the pixels show.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import UInt8

from ..errors import ImageError
from ..images.pixel_size import PixelSize
from ..images.read import RETRIEVE, as_image_error, opened_image
from ..smear.source import reduced

LARGEST_WINDOW = 100_000_000
"""px of a window that is read at once."""
MISSING = 255
"""Grey level of pixels that a slide does not hold."""
AGAIN = "export or copy the slide again"


@dataclass(frozen=True)
class Level:
    """One resolution of a slide, in px. downsample: px of the finest level along a side of one of its own."""

    width: int
    height: int
    downsample: float


@dataclass(frozen=True)
class Facts:
    """What a file says of itself. reader: what reads it. levels: the finest first. pixel: um per pixel of the finest.
    objective: magnification, or None. vendor: the maker, or "". pictures: names of further images ("label", "macro").
    missing: tiles of the finest level that the file does not hold, of `tiles`. remarks: what a reader must know."""

    reader: str
    levels: tuple[Level, ...]
    pixel: PixelSize
    objective: float | None = None
    vendor: str = ""
    pictures: tuple[str, ...] = ()
    missing: int = 0
    tiles: int = 0
    remarks: tuple[str, ...] = ()


class Slide(ABC):
    """An open slide, safe for several threads. Pixels are uint8 RGB; what the file does not hold is white."""

    def __init__(self, path: Path, facts: Facts) -> None:
        self.path, self.facts = path, facts
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        """px of the finest level."""
        return self.facts.levels[0].width

    @property
    def height(self) -> int:
        return self.facts.levels[0].height

    def read(self, left: int, top: int, width: int, height: int, *, level: int = 0
             ) -> UInt8[np.ndarray, "height width 3"]:
        """A window that lies within a level, px of that level. Raises ImageError where it is damaged."""
        it = self.facts.levels[level]
        inside = 0 <= left < left + width <= it.width and 0 <= top < top + height <= it.height
        if not inside or width * height > LARGEST_WINDOW:
            raise ImageError(self.path, f"a window of {width} x {height} px at ({left}, {top}) of level {level}, which "
                             f"has {it.width} x {it.height}", f"ask for less than {LARGEST_WINDOW:,} px inside it")
        with self._lock, checked(self.path):
            return np.ascontiguousarray(self._window(level, left, top, width, height))

    def picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        """A further image, such as "label", which may show a name. Raises ImageError where there is none."""
        if name not in self.facts.pictures:
            has = ", ".join(self.facts.pictures) or "none"
            raise ImageError(self.path, f"holds no picture '{name}'", f"it holds: {has}")
        with self._lock, checked(self.path):
            return np.ascontiguousarray(self._picture(name))

    def level_for(self, downsample: float) -> int:
        """The coarsest level that is not coarser than asked for."""
        fine = [number for number, level in enumerate(self.facts.levels) if level.downsample <= 1.01 * downsample]
        return max(fine, key=lambda number: self.facts.levels[number].downsample, default=0)

    def overview(self, longest: int) -> UInt8[np.ndarray, "height width 3"]:
        """The whole slide, its longer side at most `longest` px; by a coarser level where the one that suits is
        damaged. Raises ImageError where all of these are."""
        finest = self.facts.levels[self.level_for(max(self.width, self.height) / longest)].downsample
        coarser = sorted((it.downsample, number) for number, it in enumerate(self.facts.levels)
                         if it.downsample >= finest)
        for _, number in coarser:
            it = self.facts.levels[number]
            try:
                return reduced(SlideField(self, 0, 0, it.width, it.height, number), longest)
            except ImageError:
                if number == coarser[-1][1]:
                    raise
        raise AssertionError("a slide has a level")

    def close(self) -> None:  # noqa: B027 - most readers have nothing to close
        """Close the file."""

    @abstractmethod
    def _window(self, level: int, left: int, top: int, width: int, height: int
                ) -> UInt8[np.ndarray, "height width 3"]: ...

    @abstractmethod
    def _picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]: ...

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class SlideField:
    """A rectangle of a level as a field: left, top, width, height in px of that level."""

    slide: Slide
    left: int
    top: int
    width: int
    height: int
    level: int = 0

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """A window of the field, as `FieldSource.read`."""
        return self.slide.read(self.left + left, self.top + top, width, height, level=self.level)


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """What is raised while a slide is read becomes an ImageError; a file that has gone is named."""
    try:
        with as_image_error(path) if path.is_dir() else opened_image(path):
            yield
    except ImageError as error:
        hint = AGAIN if error.hint == RETRIEVE else error.hint
        hint = "correct the path" if error.reason == "no such file" else hint
        raise ImageError(error.path, error.reason, hint) from error


def check_whole(path: Path, offsets: Sequence[float], lengths: Sequence[float], size: int) -> None:
    """Raise ImageError where tiles of a TIFF lie beyond the end of the file, which has `size` bytes."""
    beyond = sum(offset + length > size for offset, length in zip(offsets, lengths, strict=False))
    if beyond:
        raise ImageError(path, f"is truncated: {beyond:,} of {len(offsets):,} tiles lie beyond its end", AGAIN)
