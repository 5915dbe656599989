"""Write a look-alike of the COCO layout: annotations/instances_<split>2017.json and a folder for each split."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

Box = tuple[str, int, int, int, int]
"""Category, x, y, width, height in px."""

USUAL: Mapping[str, Sequence[Box]] = {
    "train2017/1": (("neutrophil", 10, 12, 30, 20), ("blast", 50, 5, 25, 40)), "train2017/2": (),
    "val2017/1": (("blast", 60, 40, 40, 40),),
}
CATEGORIES = {7: "neutrophil", 3: "blast"}


def content(fields: Mapping[str, Sequence[Box]], width: int = 100, height: int = 80) -> dict[str, Any]:
    """The JSON of fields; their file names are without folders, as COCO has them."""
    ids = {name: key for key, name in CATEGORIES.items()}
    images = [{"id": n, "file_name": f"{name.split('/')[-1]}.png", "width": width, "height": height}
              for n, name in enumerate(fields, 100)]
    annotations = [{"image_id": n, "category_id": ids[label], "bbox": box, "iscrowd": 0}
                   for n, boxes in enumerate(fields.values(), 100) for label, *box in boxes]
    return {"images": images, "annotations": [{"id": n} | a for n, a in enumerate(annotations)],
            "categories": [{"id": key, "name": name} for key, name in CATEGORIES.items()]}


def make(root: Path, fields: Mapping[str, Sequence[Box]] = USUAL, *, width: int = 100, height: int = 80,
         seed: int = 0) -> Path:
    """Write the fields below `root`; return it."""
    rng = np.random.default_rng(seed)
    base = Path(root)
    (base / "annotations").mkdir(parents=True, exist_ok=True)
    for position, name in enumerate(fields):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_cell(position, width, height, rng)).save(base / f"{name}.png")
    for split in sorted({name.split("/")[0] for name in fields}):
        part = {name: boxes for name, boxes in fields.items() if name.startswith(f"{split}/")}
        (base / "annotations" / f"instances_{split}.json").write_text(json.dumps(content(part, width, height)))
    return base
