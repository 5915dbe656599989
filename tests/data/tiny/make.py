"""Cells that a small network tells apart in a few steps: a class is a colour under noise, as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from leukoscope.manifest import make_manifest

COLOURS = {"a": (200, 60, 60), "b": (60, 200, 60), "c": (60, 60, 200)}


def make(root: Path, *, counts: dict[str, int] | None = None, size: int = 20, strength: float = 0.15,
         seed: int = 0, prefix: str = "") -> pl.DataFrame:
    """Write `counts` cells a class (default 12 each) of `size` px below `root`; return their manifest.

    strength: of the colour against noise of 40 levels; 0 leaves nothing to learn.
    """
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for label, count in (counts or dict.fromkeys(COLOURS, 12)).items():
        tint = strength * (np.array(COLOURS[label]) - 128)
        for number in range(count):
            noise = rng.normal(128, 40, (size, size, 3))
            name = f"{prefix}{label}{number:03d}"
            Image.fromarray(np.clip(noise + tint, 0, 255).astype(np.uint8)).save(root / f"{name}.png")
            rows.append({"cell_id": name, "image": str(root / f"{name}.png"), "label": label})
    return make_manifest(rows)
