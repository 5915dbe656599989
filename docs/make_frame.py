"""Draw docs/frame.jpg: cells as four laboratories would have them, and what frame.py makes of each.

python docs/make_frame.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from leukoscope.files import atomic_path
from leukoscope.images.frame import frame_cell
from leukoscope.images.stain import AZURE, EOSIN, dye_basis, optical_density, white_point
from leukoscope.phantom import draw_subject, render_cell

SHOWN = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte", "erythroblast")
SIZE, FRAMED = 300, 96
LABORATORIES = {
    "as rendered": (AZURE, EOSIN, (235, 232, 225), 1.0),
    "pale nuclei": (0.4 * AZURE, EOSIN, (200, 205, 200), 0.4),
    "blue nuclei": (np.array([0.40, 0.45, -0.05]), 1.2 * EOSIN, (250, 235, 190), 0.55),
    "deep stain": (1.5 * AZURE, 0.6 * EOSIN, (200, 225, 250), 0.3)}
"""Densities (R, G, B) of its dyes, its light, px across over those that were rendered."""


def elsewhere(pixels: NDArray[np.uint8], azure: NDArray[np.float64], eosin: NDArray[np.float64],
              white: tuple[int, int, int], scale: float) -> NDArray[np.uint8]:
    """The cell as that laboratory would have it."""
    basis = dye_basis(AZURE, EOSIN)
    amounts = optical_density(pixels, white_point(pixels)) @ np.linalg.inv(basis).T
    light = np.array(white) * 10 ** -(amounts @ np.stack([azure, eosin, basis[:, 2]]))
    small = cv2.resize(light, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def main() -> None:
    """Write the picture beside this file."""
    figure = Figure(figsize=(12, 4.3), dpi=110)
    columns, rows = 2 * len(SHOWN), len(LABORATORIES)
    width, height = 0.905 / columns, 0.895 / rows
    for column, kind in enumerate(SHOWN):
        subject = draw_subject(np.random.default_rng([4, column]), name="S1")
        cell = render_cell(kind, size=SIZE, seed=(1, column), subject=subject, micrometres_per_pixel=0.1).pixels
        for row, (name, lab) in enumerate(LABORATORIES.items()):
            found = elsewhere(cell, *lab)
            for half, pixels in enumerate((found, frame_cell(found, FRAMED))):
                left = 0.085 + (column + half * len(SHOWN)) * width + 0.01 * half
                axes = figure.add_axes((left, 0.895 - (row + 1) * height, width * 0.96, height * 0.96))
                axes.imshow(pixels)
                axes.set_axis_off()
                if row == 0:
                    axes.set_title(kind, fontsize=9, pad=3)
            if column == 0:
                figure.text(0.08, 0.895 - (row + 0.5) * height, name, ha="right", va="center", fontsize=10)
    for half, what in enumerate(("as photographed", "as the network sees it")):
        figure.text(0.085 + (half + 0.5) * 0.9 / 2, 0.965, what, ha="center", fontsize=11)
    with atomic_path(Path(__file__).with_name("frame.jpg")) as beside:
        figure.savefig(beside, format="jpeg", facecolor="white", pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
