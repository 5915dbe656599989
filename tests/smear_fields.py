"""Phantom fields for tests of smears, and files of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from leukoscope.phantom import Field, render_field
from leukoscope.smear import ArrayField, FoundCell
from leukoscope.smear.measure import measure

TYPES = {"neutrophil": 3, "lymphocyte": 2, "monocyte": 1, "eosinophil": 1, "platelet": 4}
SCALE = 0.15


@cache
def phantom(seed: int, scale: float = SCALE) -> Field:
    """A field of 75 x 60 um with some leukocytes."""
    return render_field(int(75 / scale), int(60 / scale), seed=(7, seed), micrometres_per_pixel=scale, types=TYPES)


def save(pixels: np.ndarray, path: Path) -> Path:
    """Write an image, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def nested_discs(cell: float, nucleus: float, *, side: int = 240, scale: float | None = 0.1,
                 cut: bool = False) -> tuple[ArrayField, FoundCell]:
    """A cell of `cell` px across with a round nucleus of `nucleus` px in its middle, in a field of `side` px."""
    rows, columns = np.mgrid[:side, :side]
    apart = np.hypot(columns - side / 2, rows - side / 2)
    body, core = apart <= cell / 2, apart <= nucleus / 2
    pixels = np.full((side, side, 3), 240, np.uint8)
    pixels[body], pixels[core] = (200, 190, 230), (90, 40, 130)
    where = np.argwhere(body)
    (top, left), (bottom, right) = where.min(0), where.max(0) + 1
    box = np.s_[top:bottom, left:right]
    body, core = np.ascontiguousarray(body[box]), np.ascontiguousarray(core[box])
    sizes = measure(pixels[box], body, core, np.full(3, 240.0), scale)
    return ArrayField(pixels), FoundCell(int(left), int(top), int(right - left), int(bottom - top),
                                         (side / 2, side / 2), body, core, cut, 1.0, sizes)
