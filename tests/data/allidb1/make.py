"""Write a look-alike of ALL-IDB1: ALL_IDB1/im/ImNNN_0|1.jpg and ALL_IDB1/xyc/ImNNN_0|1.xyc."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

Points = Sequence[tuple[int, int]]
USUAL: Mapping[int, Points] = {1: ((40, 30), (100, 60)), 2: (), 3: ((80, 45),), 4: ()}
"""Number of a field -> centroids of its blasts; a field without is healthy."""


def make(root: Path, fields: Mapping[int, Points] = USUAL, *, width: int = 160, height: int = 90, upper: bool = False,
         flat: bool = False, separator: str = "\t", seed: int = 0) -> Path:
    """Write the fields below `root`; return the folder ALL_IDB1. `upper`: .JPG and .XYC; `flat`: no im and xyc."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "ALL_IDB1"
    images, centroids = (base, base) if flat else (base / "im", base / "xyc")
    for folder in (images, centroids):
        folder.mkdir(parents=True, exist_ok=True)
    for number, points in fields.items():
        name = f"Im{number:03d}_{int(bool(points))}"
        image = Image.fromarray(draw_cell(number, width, height, rng))
        image.save(images / f"{name}{'.JPG' if upper else '.jpg'}", format="JPEG")
        text = "".join(f"{x}{separator}{y}\r\n" for x, y in points)
        (centroids / f"{name}{'.XYC' if upper else '.xyc'}").write_text(text)
    return base
