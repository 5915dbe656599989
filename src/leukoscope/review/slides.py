"""A slide in the workbench: its cells, and tiles of it at any zoom as DeepZoom names them, in constant memory."""

from __future__ import annotations

from functools import cached_property
from io import BytesIO
from math import ceil, log2

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import LeukoscopeError
from ..slides.door import open_slide
from ..slides.slide import Slide, SlideField
from .result import SmearResult

TILE = 512
"""px: side of a tile."""
OVERVIEW = 2048
"""px: longer side of the picture of the whole slide."""
_AT_ONCE = 16_000_000  # px of a level that are read for a tile; where that is not enough, the overview is cut


class SlidePictures:
    """The pixels of one slide, for several threads."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self.field = SlideField(slide, 0, 0, slide.width, slide.height)
        self.levels = ceil(log2(max(slide.width, slide.height)))

    @classmethod
    def of(cls, result: SmearResult) -> SlidePictures | None:
        """The slide of a result; None where it is of fields, or the slide has gone or cannot be read here."""
        found = result.photograph(result.summary.fields[0]) if result.summary.slide else None
        if found is None:
            return None
        try:
            slide = open_slide(found[0])
        except (LeukoscopeError, ModuleNotFoundError):
            return None
        field = result.summary.fields[0]
        return cls(slide) if (slide.width, slide.height) == (field.width, field.height) else None

    @cached_property
    def overview(self) -> NDArray[np.uint8]:
        """The whole slide."""
        return self._slide.overview(OVERVIEW)

    def tile(self, level: int, column: int, row: int) -> bytes:
        """A tile as JPEG; level `levels` is the finest, each before it half as wide. Raises LeukoscopeError for a tile
        that lies beyond the slide."""
        by = 2 ** (self.levels - level) if 0 <= level <= self.levels else 0
        left, top = column * TILE * by, row * TILE * by
        if not by or not (0 <= left < self._slide.width and 0 <= top < self._slide.height):
            raise LeukoscopeError(f"no tile {level}/{column}_{row}", "load the page again")
        width, height = min(TILE * by, self._slide.width - left), min(TILE * by, self._slide.height - top)
        size = max(ceil(width / by), 1), max(ceil(height / by), 1)
        stream = BytesIO()
        Image.fromarray(self._window(left, top, width, height, by, size)).save(stream, "JPEG", quality=88)
        return stream.getvalue()

    def _window(self, left: int, top: int, width: int, height: int, by: float,
                size: tuple[int, int]) -> NDArray[np.uint8]:
        number = self._slide.level_for(by)
        level = self._slide.facts.levels[number]
        x, y, wide, high = (int(value / level.downsample) for value in (left, top, width, height))
        wide, high = max(min(wide, level.width - x), 1), max(min(high, level.height - y), 1)
        if wide * high <= _AT_ONCE:
            pixels = self._slide.read(x, y, wide, high, level=number)
        else:
            zoom = self.overview.shape[1] / self._slide.width
            x, y, wide, high = (int(value * zoom) for value in (left, top, width, height))
            pixels = self.overview[y:y + max(high, 1), x:x + max(wide, 1)]
        method = cv2.INTER_AREA if pixels.shape[1] >= size[0] else cv2.INTER_LINEAR
        return cv2.resize(pixels, size, interpolation=method).astype(np.uint8)
