"""Write a look-alike of Chula WBC: WBC_Samples/train|valid/images|labels, labels in another folder, mirrored copies."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]
line = runpy.run_path(str(Path(__file__).parents[1] / "yolo" / "make.py"))["line"]

Box = tuple[int, int, int, int, int]
USUAL: Mapping[str, Sequence[Box]] = {
    "train/B-30_0047": ((2, 10, 20, 16, 18),),
    "train/M-8_0037": ((4, 100, 30, 12, 12), (0, 40, 60, 10, 10)),
    "valid/HF-M-8_0037": ((0, 95, 60, 10, 10), (4, 32, 30, 12, 12)),
    "valid/L-5Bb_0165": ((3, 20, 40, 11, 11),),
    "valid/E-5B_0010": ((1, 60, 10, 12, 13),),
}
"""Part and field -> boxes: class, x, y, width, height in px. Of the second field, the third is the mirror image."""

ASTRAY = ("L-5Bb_0165",)
"""Fields whose label file lies in WBC_Samples/labels."""


def make(root: Path, fields: Mapping[str, Sequence[Box]] = USUAL, *, width: int = 144, height: int = 90,
         seed: int = 0) -> Path:
    """Write the fields below `root`; return the folder WBC_Dataset."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "WBC_Dataset"
    for position, (field, boxes) in enumerate(fields.items()):
        part, name = field.split("/")
        samples = base / "WBC_Samples"
        images, labels = samples / part / "images", samples / part / "labels"
        if name in ASTRAY:
            labels = samples / "labels"
        for folder in (images, labels):
            folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_cell(position, width, height, rng)).save(images / f"{name}.jpg")
        (labels / f"{name}.txt").write_text("".join(line(box, width, height) + "\n" for box in boxes))
    (base / "README.md").write_text("# WBC_Dataset\n")
    return base


def make_crops(root: Path, *, side: int = 24, seed: int = 0) -> Path:
    """Write three crops, each in the folder of its type, and another image; return the folder that contains them."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "crops"
    for kind, name in enumerate(("basophil/train_images_B-30_0047_1", "lymphocyte/valid_images_L-5Bb_0165_1",
                                 "monocyte/M-8_0037_12", "monocyte/other")):
        path = base / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_cell(kind, side, side, rng)).save(path)
    return base
