"""Write a look-alike of LISC: 'Main Dataset' and 'Ground Truth Segmentation', each with one folder for each type."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

USUAL = {"Baso": 2, "eosi": 1, "lymp": 2, "mono": 1, "neut": 1, "mixt": 1}


def make(root: Path, counts: Mapping[str, int] | None = None, *, width: int = 72, height: int = 58,
         further: int = 1, seed: int = 0) -> Path:
    """Write fields and masks below `root` (`further` ones without a mask); return the folder 'LISC Database'."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "LISC Database"
    for kind, (folder, count) in enumerate((USUAL if counts is None else counts).items()):
        fields = base / "Main Dataset" / folder
        masks = base / "Ground Truth Segmentation" / folder / "areaforexpert1"
        for place in (fields, masks):
            place.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            pixels = draw_cell(kind, width, height, rng)
            Image.fromarray(pixels).save(fields / f"{number}.bmp")
            mask = np.where(pixels[..., 1] < 200, 255, 0).astype(np.uint8)
            Image.fromarray(mask).save(masks / f"{number}_expert.bmp")
    more = base / "More Dataset without Ground Truth" / "alll"
    more.mkdir(parents=True, exist_ok=True)
    for number in range(further):
        Image.fromarray(draw_cell(number, width, height, rng)).save(more / f"{number}.bmp")
    return base
