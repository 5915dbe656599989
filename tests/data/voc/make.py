"""Write a look-alike of the Pascal VOC layout: Annotations, JPEGImages, ImageSets/Main."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

Box = tuple[str, int, int, int, int]
"""Label, x, y, width, height in px, counted from 0."""

USUAL: Mapping[str, Sequence[Box]] = {
    "field 1": (("WBC", 10, 12, 30, 20), ("Zelle <ä>", 0, 0, 100, 80)), "field_2": (("WBC", 60, 40, 40, 40),),
    "empty": (),
}
SPLITS = {"train": ("field 1", "empty"), "val": ("field_2",), "trainval": ("field 1", "field_2", "empty")}


def annotation(filename: str, boxes: Sequence[Box], width: int = 100, height: int = 80, *, shift: int = 1) -> str:
    """One annotation; corners count from `shift`, and with 1 the last px is inside."""
    things = "".join(
        f"<object><name>{escape(label)}</name><bndbox><xmin>{x + shift}</xmin><ymin>{y + shift}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>" for label, x, y, w, h in boxes)
    return (f"<annotation><filename>{escape(filename)}</filename><size><width>{width}</width><height>{height}</height>"
            f"<depth>3</depth></size>{things}</annotation>")


def make(root: Path, fields: Mapping[str, Sequence[Box]] = USUAL, *, width: int = 100, height: int = 80,
         shift: int = 1, lists: Mapping[str, Sequence[str]] | None = None, seed: int = 0) -> Path:
    """Write the fields below `root`; return it."""
    rng = np.random.default_rng(seed)
    base = Path(root)
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for position, (name, boxes) in enumerate(fields.items()):
        Image.fromarray(draw_cell(position, width, height, rng)).save(base / "JPEGImages" / f"{name}.jpg")
        (base / "Annotations" / f"{name}.xml").write_text(
            annotation(f"{name}.jpg", boxes, width, height, shift=shift), encoding="utf-8")
    for split, names in (SPLITS if lists is None else lists).items():
        (base / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(n for n in names) + "\n")
    return base
