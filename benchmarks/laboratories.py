"""How runs fare in eight made-up laboratories: python benchmarks/laboratories.py RUN [RUN ...]

Each cell of a run's validation part (of its test part, where it has none) is taken apart into azure, eosin and a rest
(Ruifrok and Johnston 2001), stained anew with dyes of other colours and strengths, photographed in another light
through another camera curve, cut out more or less narrowly, at another scale, blurred, with noise, and kept as JPEG.
The laboratories were drawn once, by SEED, and chose how leukoscope-small is trained (docs/model.md): no labelled cell
of another real laboratory did. Azure may be as pale, and take up as little blue, as in the fields of BCCD, which a
first choice of laboratories did not think of.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from leukoscope.evaluate.corruptions_optical import jpeg
from leukoscope.images.frame import SPAN, Frame, find_frame, shaped
from leukoscope.images.read import read_cell
from leukoscope.images.stain import optical_density
from leukoscope.runs.network import load_network
from leukoscope.runs.run import Run
from leukoscope.stats import wilson

SEED, LABORATORIES = 7, 8
CELL = 1.45
"""Diameter of a cell over that of its nucleus, nearly."""


def unit(*values: float) -> NDArray[np.float64]:
    return np.asarray(values) / np.linalg.norm(values)


AZURE, EOSIN = unit(0.56, 0.65, 0.25), unit(0.10, 0.55, 0.40)
REST = unit(*np.cross(AZURE, EOSIN))
"""Densities (R, G, B) of the dyes in PBC's smears, by eye, and what neither explains. Not those of stain.py: what takes
cells apart here should not be what puts them together again."""


@dataclass(frozen=True, eq=False)
class Laboratory:
    """Densities of its dyes, light, camera curve, side of the cut over the cell, px across a cell, blur (px), JPEG
    quality, noise (grey levels)."""

    azure: NDArray[np.float64]
    eosin: NDArray[np.float64]
    white: NDArray[np.float64]
    gamma: float
    margin: float
    across: float
    blur: float
    jpeg: int
    noise: float


def laboratories() -> list[Laboratory]:
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(LABORATORIES):
        azure = unit(rng.uniform(0.35, 0.75), rng.uniform(0.5, 0.8), rng.uniform(-0.1, 0.35))
        eosin = unit(rng.uniform(0.02, 0.2), rng.uniform(0.45, 0.75), rng.uniform(0.2, 0.6))
        found.append(Laboratory(
            azure * rng.uniform(0.25, 1.2), eosin * rng.uniform(0.5, 1.3),
            rng.uniform([190, 185, 175], [252, 248, 245]),
            rng.uniform(0.8, 1.25), rng.choice([1.0, 1.1, 1.3, 1.8, 3.5]), rng.uniform(40, 110), rng.uniform(0, 1.6),
            int(rng.uniform(45, 90)), rng.uniform(0, 5)))
    return found


def stained(pixels: NDArray[np.uint8]) -> tuple[Frame, NDArray[np.float32]]:
    """Where the cell lies, and how much of each dye."""
    frame = find_frame(pixels)
    apart = np.linalg.inv([AZURE, EOSIN, REST]).astype(np.float32)
    return frame, np.maximum(optical_density(pixels, frame.white) @ apart, np.array([0, 0, -9], np.float32))


def photographed(frame: Frame, amounts: NDArray[np.float32], lab: Laboratory, seed: int) -> NDArray[np.uint8]:
    """The cell as that laboratory would have it."""
    rng = np.random.default_rng(seed)
    across = CELL * frame.side / SPAN
    side = across * lab.margin
    corner = (np.array([frame.x, frame.y]) - side / 2 + rng.uniform(-0.05, 0.05, 2) * side).astype(int)
    (left, top), (right, bottom) = np.maximum(corner, 0), corner + int(side)
    dyes = np.stack([lab.azure, lab.eosin, 0.7 * REST]).astype(np.float32)
    exponent = np.float32(-lab.gamma) * (amounts[top:bottom, left:right] @ dyes)
    light = lab.white.astype(np.float32) * np.power(np.float32(10), exponent)
    scale = lab.across / across
    found = cv2.resize(light, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if lab.blur > 0.1:
        found = cv2.GaussianBlur(found, (0, 0), lab.blur)
    levels = np.clip(np.rint(found + rng.normal(0, lab.noise, found.shape)), 0, 255).astype(np.uint8)
    return jpeg(levels, lab.jpeg)


def classifier(run: Run) -> tuple[int, list[int]]:
    """(cells, how many are right at home and in each laboratory)."""
    network, stages = load_network(run, 0)
    network.eval()
    chosen = run.part(0, "validation")
    cells = run.manifest.filter(pl.col("cell_id").is_in((chosen if len(chosen) else run.part(0, "test")).implode()))
    labels = cells["label"].replace_strict(run.classes, range(len(run.classes)), return_dtype=pl.Int64).to_numpy()
    right = [0] * (LABORATORIES + 1)
    for number, row in enumerate(cells.iter_rows(named=True)):
        pixels = read_cell(row)
        frame, amounts = stained(pixels)
        ways = [pixels, *(photographed(frame, amounts, lab, number * LABORATORIES + k)
                          for k, lab in enumerate(laboratories()))]
        batch = torch.from_numpy(stages.levels(np.stack([shaped(way, run.recipe.preprocess) for way in ways])))
        with torch.inference_mode():
            called = network(stages.encode(batch)).argmax(1).numpy()
        right = [count + int(one) for count, one in zip(right, called == labels[number], strict=True)]
    return len(labels), right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="Finished run folders.")
    chosen = parser.parse_args().runs
    if not chosen:
        print("nothing to judge: name run folders")
    for folder in chosen:
        cells, right = classifier(Run(folder))
        home = wilson(right[0], cells)
        assert home.value is not None
        assert home.low is not None
        assert home.high is not None
        away = np.array(right[1:]) / cells
        print(f"{folder.name}: at home {100 * home.value:.1f} % ({100 * home.low:.1f} to {100 * home.high:.1f}) of "
              f"{cells} cells; elsewhere {100 * away.mean():.1f} % ({', '.join(f'{100 * a:.0f}' for a in away)})",
              flush=True)


if __name__ == "__main__":
    main()
