"""What a slide file is: size, levels, scale, maker, further pictures; a thumbnail, and the label where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import LeukoscopeError
from ..files import atomic_path
from ..slides.door import open_slide
from ..slides.slide import Facts, Level
from ..text import plain

THUMBNAIL = 1024
"""px: longer side of a thumbnail."""


@dataclass(frozen=True)
class SlideInfo:
    """What a slide says of itself; width, height: px of the finest level."""

    path: str
    reader: str
    vendor: str | None
    objective: float | None
    width: int
    height: int
    micrometres_per_pixel: float | None
    scale_from: str | None
    levels: tuple[Level, ...]
    pictures: tuple[str, ...]
    missing_tiles: int
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a terminal."""
        scale, size = self.micrometres_per_pixel, f"{self.width:,} x {self.height:,} px"
        if scale:
            size += f", {self.width * scale / 1000:.1f} x {self.height * scale / 1000:.1f} mm"
        known = [
            ("slide", plain(self.path)), ("size", size),
            ("pixel", f"{scale:.4g} um ({self.scale_from})" if scale else "not stated"),
            ("objective", f"{self.objective:g} x" if self.objective else "not stated"),
            ("vendor", plain(self.vendor or "not stated")), ("read by", self.reader),
            ("levels", ", ".join(f"{level.width:,} x {level.height:,}" for level in self.levels)),
            ("pictures", ", ".join(map(plain, self.pictures)) or "none")]
        notes = ["the label may show a patient's name: it is written with --label FILE only"] if (
            "label" in self.pictures) else []
        return [*(f"{name + ':':<11}{value}" for name, value in known), *self.remarks, *notes]


def slide_info(path: Path, *, thumbnail: Path | None = None, label: Path | None = None,
               overwrite: bool = False) -> SlideInfo:
    """What a slide says of itself. thumbnail, label: images to write; the label may show a patient's name. Raises
    ImageError for a file that is no slide, LeukoscopeError for a file that must not be replaced."""
    for to in filter(None, (thumbnail, label)):
        if to.exists() and not overwrite:
            raise LeukoscopeError(f"{to}: already exists", "name another file, or use --overwrite")
    with open_slide(path) as slide:
        if thumbnail is not None:
            _save(slide.overview(THUMBNAIL), thumbnail)
        if label is not None:
            _save(slide.picture("label"), label)
        it = slide.facts
        return SlideInfo(str(slide.path), it.reader, it.vendor or None, it.objective, slide.width, slide.height,
                         it.pixel.micrometres, it.pixel.origin or None, it.levels, it.pictures, it.missing,
                         tuple(_remarks(it)))


def _remarks(it: Facts) -> Iterator[str]:
    yield from filter(None, (it.pixel.remark,))
    yield from it.remarks
    if it.missing:
        yield f"{it.missing:,} of {it.tiles:,} tiles are missing: they are shown white, and nothing is counted there"
    if len(it.levels) == 1:
        yield "the slide has no coarser levels: overviews need all of it to be read"
    if it.pixel.micrometres is None and not it.pixel.remark:
        yield "the size of a pixel is not stated: red cells will give it, or use --micrometres"


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    save: Callable[..., None] = Image.fromarray(pixels).save
    with atomic_path(path) as beside:
        try:
            save(beside)
        except ValueError as error:
            raise LeukoscopeError(f"{path}: images cannot be written in this format", "end the name with .png or .jpg"
                                  ) from error
