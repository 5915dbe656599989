"""Write a look-alike of BCCD: VOC fields with official lists and nucleus masks, and the folder of typed crops."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

Box = tuple[str, int, int, int, int]
USUAL: tuple[Box, ...] = (("WBC", 21, 11, 60, 50), ("RBC", 1, 61, 20, 80), ("Platelets", 70, 70, 75, 76))
TYPES = ("Neutrophil", "Eosinophil", "Lymphocyte", "Monocyte", "Basophil")


def annotation(name: str, boxes: Sequence[Box], width: int, height: int) -> str:
    """One Pascal VOC annotation; corners count from 1, both inside."""
    things = "".join(
        f"<object><name>{kind}</name><truncated>0</truncated><difficult>0</difficult><bndbox><xmin>{left}</xmin>"
        f"<ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for kind, left, top, right, bottom in boxes)
    return (f"<annotation><filename>{name}.jpg</filename><size><width>{width}</width><height>{height}</height>"
            f"<depth>3</depth></size>{things}</annotation>")


def make(root: Path, *, fields: int = 6, boxes: Mapping[int, Sequence[Box]] | None = None, width: int = 96,
         height: int = 80, masks: bool = True, seed: int = 0) -> Path:
    """Write `fields` fields below `root`; return the folder BCCD. `boxes`: number of a field -> its own boxes."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "BCCD"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    names = [f"BloodImage_{number:05d}" for number in range(fields)]
    for number, name in enumerate(names):
        pixels = draw_cell(number, width, height, rng)
        Image.fromarray(pixels).save(base / "JPEGImages" / f"{name}.jpg", quality=92)
        own = USUAL if boxes is None else boxes.get(number, USUAL)
        (base / "Annotations" / f"{name}.xml").write_text(annotation(name, own, width, height))
        if masks:
            folder = Path(root) / "nucleus_masks"
            folder.mkdir(exist_ok=True)
            nucleus = (pixels[..., 1] < 150).astype(np.uint8) * 255
            Image.fromarray(nucleus).save(folder / f"BloodImage_Mask_{number:05d}.png")
    for part, rows in (("train", names[0::3]), ("val", names[1::3]), ("test", names[2::3]),
                       ("trainval", sorted(names[0::3] + names[1::3]))):
        (base / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(rows) + "\n")
    return base


def make_crops(root: Path, *, per_type: int = 3, side: int = 40, seed: int = 0) -> Path:
    """Write `per_type` crops of each type below `root`; return the folder bccd5."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "bccd5"
    for kind, name in enumerate(TYPES):
        (base / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_type):
            field = kind * per_type + number
            Image.fromarray(draw_cell(kind, side, side, rng)).save(base / name / f"BloodImage_{field:05d}_1.jpg")
    return base
