"""Write a look-alike of AML-Cytomorphology_LMU: <code>/<code>_0001.tiff with transparency, and its annotations."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

CODES = ("BAS", "EBO", "EOS", "KSC", "LYA", "LYT", "MMZ", "MOB", "MON", "MYB", "MYO", "NGB", "NGS", "PMB", "PMO")


def make(root: Path, *, codes: Sequence[str] = CODES, per_code: int = 2, side: int = 40, seed: int = 0) -> Path:
    """Write `per_code` cells for each code below `root`; return the folder that contains the codes."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "AML-Cytomorphology_LMU"
    for kind, code in enumerate(codes):
        (base / code).mkdir(parents=True, exist_ok=True)
        for number in range(1, per_code + 1):
            cell = Image.fromarray(draw_cell(kind, side, side, rng)).convert("RGBA")
            cell.save(base / code / f"{code}_{number:04d}.tiff")
    (base / "annotations.dat").write_text("".join(f"{code}/{code}_0001.tiff {code} nan nan\n" for code in codes))
    return base
