"""What a slide file is: size, levels, scale, maker, further pictures; a thumbnail, and the label where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import LeukoscopeError
from ..files import atomic_path
from ..slides.door import open_slide
from ..slides.slide import Slide
from ..text import plain

THUMBNAIL = 1024
"""px: longer side of a thumbnail."""


def slide_info(path: Path, *, thumbnail: Path | None = None, label: Path | None = None,
               overwrite: bool = False) -> dict[str, Any]:
    """What a slide says of itself, for JSON. thumbnail, label: images to write; the label may show a patient's name.
    Raises ImageError for a file that is no slide, LeukoscopeError for a file that must not be replaced."""
    for to in filter(None, (thumbnail, label)):
        if to.exists() and not overwrite:
            raise LeukoscopeError(f"{to}: already exists", "name another file, or use --overwrite")
    with open_slide(path) as slide:
        if thumbnail is not None:
            _save(slide.overview(THUMBNAIL), thumbnail)
        if label is not None:
            _save(slide.picture("label"), label)
        return _facts(slide)


def _facts(slide: Slide) -> dict[str, Any]:
    it = slide.facts
    remarks = [*filter(None, (it.pixel.remark,)), *it.remarks]
    if it.missing:
        remarks.append(f"{it.missing:,} of {it.tiles:,} tiles are missing: they are shown white, and nothing is "
                       "counted there")
    if len(it.levels) == 1:
        remarks.append("the slide has no coarser levels: overviews need all of it to be read")
    if it.pixel.micrometres is None and not it.pixel.remark:
        remarks.append("the size of a pixel is not stated: red cells will give it, or use --micrometres")
    return {"path": str(slide.path), "reader": it.reader, "vendor": it.vendor or None, "objective": it.objective,
            "width": slide.width, "height": slide.height, "micrometres_per_pixel": it.pixel.micrometres,
            "scale_from": it.pixel.origin or None, "levels": [asdict(level) for level in it.levels],
            "pictures": list(it.pictures), "missing_tiles": it.missing, "remarks": remarks}


def info_lines(facts: dict[str, Any]) -> list[str]:
    """The same, for a terminal."""
    scale = facts["micrometres_per_pixel"]
    size = f"{facts['width']:,} x {facts['height']:,} px"
    if scale:
        size += f", {facts['width'] * scale / 1000:.1f} x {facts['height'] * scale / 1000:.1f} mm"
    known: list[tuple[str, str]] = [
        ("slide", plain(facts["path"])), ("size", size),
        ("pixel", f"{scale:.4g} um ({facts['scale_from']})" if scale else "not stated"),
        ("objective", f"{facts['objective']:g} x" if facts["objective"] else "not stated"),
        ("vendor", plain(facts["vendor"] or "not stated")), ("read by", facts["reader"]),
        ("levels", ", ".join(f"{level['width']:,} x {level['height']:,}" for level in facts["levels"])),
        ("pictures", ", ".join(map(plain, facts["pictures"])) or "none")]
    notes = ["the label may show a patient's name: it is written with --label FILE only"] if (
        "label" in facts["pictures"]) else []
    return [*(f"{name + ':':<11}{value}" for name, value in known), *facts["remarks"], *notes]


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    save: Callable[..., None] = Image.fromarray(pixels).save
    with atomic_path(path) as beside:
        try:
            save(beside)
        except ValueError as error:
            raise LeukoscopeError(f"{path}: images cannot be written in this format", "end the name with .png or .jpg"
                                  ) from error
