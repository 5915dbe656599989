"""Write a look-alike of Bone-Marrow-Cytomorphology_MLL_Helmholtz_Fraunhofer: <code>/<code>_00001.jpg, and for common
types a further folder for each thousand images."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

CODES = ("ABE", "ART", "BAS", "BLA", "EBO", "EOS", "FGC", "HAC", "KSC", "LYI", "LYT", "MMZ", "MON", "MYB", "NGB", "NGS",
         "NIF", "OTH", "PEB", "PLM", "PMO")
NESTED = ("ART", "BLA", "EBO", "EOS", "LYT", "MMZ", "MON", "MYB", "NGB", "NGS", "NIF", "PEB", "PLM", "PMO")


def make(root: Path, *, codes: Sequence[str] = CODES, per_code: int = 2, side: int = 25, seed: int = 0) -> Path:
    """Write `per_code` cells for each code below `root`, the last one of nested codes as the 1001st; return the folder
    that contains the codes."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "PKG - Bone-Marrow-Cytomorphology" / "BM_cytomorphology_data"
    for kind, code in enumerate(codes):
        for number in (*range(1, per_code), 1001 if code in NESTED else per_code):
            thousand = "1001-2000" if number > 1000 else "0001-1000"
            folder = base / code / thousand if code in NESTED else base / code
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_cell(kind, side, side, rng)).save(folder / f"{code}_{number:05d}.jpg", quality=92)
    return base
