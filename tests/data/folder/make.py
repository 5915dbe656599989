"""Write a look-alike of one folder for each class: the same names in each, beginning with the subject."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

USUAL = {"neutrophil": 3, "lymphocyte": 2}


def make(root: Path, counts: Mapping[str, int] | None = None, *, subjects: int = 2, suffix: str = ".png",
         side: int = 32, seed: int = 0) -> Path:
    """Write `counts[class]` images of each class (which may be a path) below `root`; return it."""
    rng = np.random.default_rng(seed)
    for kind, (name, count) in enumerate((USUAL if counts is None else counts).items()):
        folder = Path(root) / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.fromarray(draw_cell(kind, side, side, rng))
            image.save(folder / f"P{number % subjects}_{number}{suffix}")
    return Path(root)
