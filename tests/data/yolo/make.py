"""Write a look-alike of the YOLO layout: images, text files of boxes as shares of the image, data.yaml."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

Box = tuple[int, int, int, int, int]
"""Class, x, y, width, height in px."""

USUAL: Mapping[str, Sequence[Box]] = {
    "train/a 1": ((0, 10, 12, 30, 20), (2, 50, 5, 25, 40)), "train/b": ((1, 0, 0, 100, 80),),
    "val/a 1": ((1, 60, 40, 40, 40),), "test/ü": (),
}
"""Split and name -> boxes."""

NAMES = ("neutrophil", "lymphocyte", "monocyte")


def line(box: Box, width: int, height: int, *, digits: int = 6) -> str:
    """One line of a label file."""
    kind, x, y, w, h = box
    values = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
    return " ".join([str(kind), *(f"{value:.{digits}f}" for value in values)])


def make(root: Path, fields: Mapping[str, Sequence[Box]] = USUAL, *, width: int = 100, height: int = 80,
         split_first: bool = False, seed: int = 0) -> Path:
    """Write fields below `root`; return it. `split_first`: train/images/a.png, else images/train/a.png."""
    rng = np.random.default_rng(seed)
    for position, (field, boxes) in enumerate(fields.items()):
        split, name = field.split("/")
        places = [(split, kind) if split_first else (kind, split) for kind in ("images", "labels")]
        images, labels = (Path(root).joinpath(*place) for place in places)
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_cell(position, width, height, rng)).save(images / f"{name}.png")
        (labels / f"{name}.txt").write_text("".join(line(box, width, height) + "\n" for box in boxes))
    (Path(root) / "data.yaml").write_text(f"train: images/train\nval: images/val\nnc: 3\nnames: {list(NAMES)}\n")
    return Path(root)
