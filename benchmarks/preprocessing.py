"""From BMP files as large as those of C-NMC (450 x 450) to cached first-spike images of 100 x 100: what decoding takes,
and what edges add; then growth with ten times the cells.

The files are made up, or, with a folder in C-NMC's layout as argument, all of its training files are used once.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from leukoscope.cells import pack_cells
from leukoscope.cells.input_steps import level_cells
from leukoscope.datasets import get_dataset
from leukoscope.manifest import make_manifest
from leukoscope.recipes import load_recipe
from peers import machine

CELLS, SIDE = 200, 450
RECIPE = load_recipe("noshad2021-cnmc")


def made_up(folder: Path, count: int) -> pl.DataFrame:
    """BMP files of a smooth disc with noise on black, and their manifest."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(x - SIDE / 2, y - SIDE / 2) < SIDE / 4
    rows = []
    for number in range(count):
        small = rng.integers(60, 200, (30, 30, 3), dtype=np.uint8)
        cell = np.array(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        Image.fromarray(np.where(inside[..., None], cell, 0).astype(np.uint8)).save(folder / f"{number}.bmp")
        rows.append({"cell_id": str(number), "image": str(folder / f"{number}.bmp")})
    return make_manifest(rows)


def seconds(cells: pl.DataFrame) -> tuple[float, float]:
    """Of decoding, cropping and resizing, and of edges, into an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        packed = pack_cells(cells, RECIPE.preprocess, cache=Path(cache))
        middle = time.perf_counter()
        level_cells(packed, RECIPE)
        return middle - start, time.perf_counter() - middle


def show(what: str, cells: int, decoding: float, edges: float) -> None:
    both = decoding + edges
    print(f"{what}: {both:.1f} s, {cells / both:,.0f} cells/s; decoding and resizing {100 * decoding / both:.0f} %, "
          f"edges {100 * edges / both:.0f} %", flush=True)


def main() -> None:
    """Print times and shares."""
    print(f"preprocessing: {machine()}")
    if len(sys.argv) > 1:
        cells = get_dataset("cnmc").index(Path(sys.argv[1])).manifest
        show(f"{cells.height:,} files", cells.height, *seconds(cells))
        return
    with tempfile.TemporaryDirectory() as folder:
        cells = made_up(Path(folder), 10 * CELLS)
        seconds(cells.head(20))  # compiles
        few, many = seconds(cells.head(CELLS)), seconds(cells)
        few = min(few, seconds(cells.head(CELLS)), key=sum)
        show(f"{CELLS} files of {SIDE} x {SIDE}", CELLS, *few)
        show(f"{10 * CELLS:,} files", 10 * CELLS, *many)
        print(f"ten times the cells: x {sum(many) / sum(few):.1f} (at most 11)")


if __name__ == "__main__":
    main()
