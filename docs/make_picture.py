"""Draws docs/phantom.jpg, the picture of the README: python docs/make_picture.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from leukoscope.files import atomic_path
from leukoscope.phantom import draw_subject, render_cell

SHOWN = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte", "ig", "erythroblast", "lymphoblast")
SIZE = 280


def main() -> None:
    figure = Figure(figsize=(12, 6.5), dpi=110)
    for place, kind in enumerate(SHOWN):
        axes = figure.add_axes((place % 4 * 0.25 + 0.004, 0.505 - place // 4 * 0.5, 0.242, 0.45))
        subject = draw_subject(np.random.default_rng([4, place]), name="S1")
        cell = render_cell(kind, size=SIZE, seed=(1, place), subject=subject, micrometres_per_pixel=0.1)
        axes.imshow(cell.pixels)
        axes.set_axis_off()
        axes.set_title(kind if kind != "ig" else "immature granulocyte", fontsize=13, pad=4)
    with atomic_path(Path(__file__).with_name("phantom.jpg")) as beside:
        figure.savefig(beside, format="jpeg", facecolor="white", pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
