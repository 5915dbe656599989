"""Write a look-alike of Raabin-WBC: Train, TestA and TestB, each with one folder for each type."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

TYPES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
USUAL = {"Train": 3, "TestA": 2, "TestB": 1}
"""Folder -> cells of each type; TestB has lymphocytes and neutrophils only."""


def make(root: Path, parts: Mapping[str, int] | None = None, *, side: int = 40, seed: int = 0) -> Path:
    """Write the parts below `root`; the same file names in each. Returns the folder Raabin."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "Raabin"
    for part, count in (USUAL if parts is None else parts).items():
        for kind, name in enumerate(TYPES):
            if part == "TestB" and name not in ("Lymphocyte", "Neutrophil"):
                continue
            folder = base / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(draw_cell(kind, side, side, rng)).save(folder / f"20190526_{number}.jpg")
    return base
