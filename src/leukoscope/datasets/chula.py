"""Chula WBC: 500 fields of 1440 x 900 px with YOLO boxes around leukocytes of five types, and cells cut from them.

The set is `WBC_Dataset` of Chulalongkorn University; Chula RBC-12 (points on red cells) and Chula-WBC-8 (crops) are
others. Knows its file names, `<type>-<slide>_<number>.jpg`, and that `HF-` marks a mirrored copy of another field.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ..manifest import BOX
from .base import Dataset, Index, check_choice
from .collector import Collector, Field, Image
from .leukocytes import VIEW
from .paths import SPLITS
from .yolo import pair_labels, read_boxes

CLASSES = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
"""In the order of their numbers, as in the authors' notebook."""

FIELDS = 500
NAME = re.compile(r"(?P<copy>HF-)?(?P<original>[BELMN]-(?P<slide>\d+[A-Z]*)[a-z]*_\d+)")
CROP = re.compile(rf"(?:(?P<part>train|valid)_images_)?(?P<field>{NAME.pattern})_\d+")
"""Name of a crop: the folder and the name of its field, and the number of its box."""
OVERLAP = 0.5
LAYOUT = "the folder WBC_Samples with train and valid, each with images and labels"
CROPS_LAYOUT = "crops with names like train_images_B-30_0047_1.jpg in folders called basophil, eosinophil, ..."
VIEWS = {
    "cells": "one row for each box: a leukocyte and its type",
    "fields": "one row for each field, without labels",
    "crops": "cells cut from the fields, in one folder for each type",
    "leukocytes": f"{VIEW}; of the crops where there are any, else of the boxes",
}


def index(root: Path, view: str = "cells", **options: str) -> Index:
    """Index WBC_Dataset, its folder WBC_Samples, or a folder of crops. Raises DatasetError where there is no cell.

    The slide is the group. Boxes of a mirrored copy name the cell that they were copied from in the column original.
    """
    check_choice(view, VIEWS, options)
    collector = Collector.walk(root, "chula", LAYOUT)
    crops = {path: match for path in collector.paths if view in ("crops", "leukocytes")
             and path.parent.name.lower() in CLASSES and (match := CROP.fullmatch(path.stem))}
    if crops or view == "crops":
        for path, match in crops.items():
            label = path.parent.name.lower()
            if image := collector.open(path):
                collector.add(image, label, cell_id=f"{label}/{path.stem}", group=match["slide"], field=match["field"],
                              split=SPLITS.get(match["part"] or ""))
        collector.note_some("images are left out because they are not crops",
                            [str(path) for path in collector.paths if path not in crops])
    else:
        _add_fields(collector, view)
    if view == "leukocytes":
        for row in collector.rows:
            row["subtype"] = row["label"]
    return collector.index(CROPS_LAYOUT if view == "crops" else LAYOUT)


def _add_fields(collector: Collector, view: str) -> None:
    fields, strangers = [], []
    for path, labels in pair_labels(collector).items():
        match = NAME.fullmatch(path.stem)
        if match is None:
            strangers.append(str(path))
        else:
            boxes = partial(read_boxes, collector, labels, dict(enumerate(CLASSES)))
            fields.append(Field(path, boxes, known={"group": match["slide"]}))
    images = collector.add_fields(view, fields)
    _name_originals(collector, {image.path.stem: image for image in images})
    collector.note_some("images are left out because their names are not <type>-<slide>_<number>", strangers)
    if len(fields) < FIELDS:
        collector.missing.append(f"{FIELDS - len(fields)} of {FIELDS} fields")


def _name_originals(collector: Collector, images: dict[str, Image]) -> None:
    """Set `original` in the rows of mirrored copies."""
    rows: dict[object, list[dict[str, object]]] = {}
    for row in collector.rows:
        rows.setdefault(row["field"], []).append(row)
    copies = 0
    for stem, image in images.items():
        match = NAME.fullmatch(stem)
        source = images.get(match["original"]) if match and match["copy"] else None
        if source is None:
            continue
        copies += 1
        for row in rows.get(image.name, []):
            row["original"] = _mirrored(row, rows.get(source.name, []), image.size[0])
    if copies:
        collector.notes.append(f"{copies} fields (HF-...) are mirrored copies of others: see the column original")


def _mirrored(row: dict[str, object], originals: list[dict[str, object]], width: int) -> object:
    """The id of the original that this row mirrors: the field itself, or the box that overlaps most in a field of
    `width` px."""
    if "x" not in row:
        return originals[0]["cell_id"] if originals else None
    x, y, w, h = (int(str(row[name])) for name in BOX)
    best, cell_id = 0.0, None
    for other in originals:
        x2, y2, w2, h2 = (int(str(other[name])) for name in BOX)
        x2 = width - x2 - w2
        across, down = min(x + w, x2 + w2) - max(x, x2), min(y + h, y2 + h2) - max(y, y2)
        common = max(across, 0) * max(down, 0)
        overlap = common / (w * h + w2 * h2 - common)
        if overlap > best:
            best, cell_id = overlap, other["cell_id"]
    return cell_id if best >= OVERLAP else None


DATASET = Dataset(
    name="chula",
    title="Chula WBC: fields with boxes around leukocytes of five types (Chulalongkorn University, Bangkok)",
    licence="MIT",
    citation="Embedded System and Integrated Circuit Design Laboratory, Chulalongkorn University, WBC_Dataset (2022), "
             "https://github.com/singgihbekti/WBC_Dataset",
    homepage="https://github.com/singgihbekti/WBC_Dataset",
    obtain="git clone https://github.com/singgihbekti/WBC_Dataset",
    subject_rule="no subjects; the slide, which is the number after the letter in the file name, is the group (5Bb is "
                 "counted as 5B, to be safe)",
    views=VIEWS,
    index=index,
    leukocytes={name: name for name in CLASSES},
)
