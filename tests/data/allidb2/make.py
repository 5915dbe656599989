"""Write a look-alike of ALL-IDB2: ALL_IDB2/img/ImNNN_0|1.tif, 257 x 257 px."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]


def make(root: Path, cells: Mapping[int, int] | None = None, *, suffix: str = ".tif", side: int = 257,
         seed: int = 0) -> Path:
    """Write crops (number -> 1 for a blast, 0 for a healthy cell) below `root`; return the folder ALL_IDB2."""
    rng = np.random.default_rng(seed)
    folder = Path(root) / "ALL_IDB2" / "img"
    folder.mkdir(parents=True, exist_ok=True)
    for number, blast in ({1: 1, 2: 1, 131: 0} if cells is None else cells).items():
        image = Image.fromarray(draw_cell(blast, side, side, rng))
        image.save(folder / f"Im{number:03d}_{blast}{suffix}", format="TIFF")
    return folder.parent
