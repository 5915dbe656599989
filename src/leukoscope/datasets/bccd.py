"""BCCD: 364 photographs of smears, 640 x 480, with a box around each leukocyte, erythrocyte and platelet.

Knows its Pascal VOC folders, its official lists, the nucleus masks published for its fields, and the crops of its
leukocytes in one folder for each type. The boxes have no type; the crops have.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from ..errors import DatasetError
from ..images.read import read_image
from .base import (
    Dataset,
    Download,
    Index,
    check_choice,
    children_of,
    find_folder,
    inspect_image,
    is_litter,
    list_images,
    subfolders,
)
from .collector import Collector, Field, Image
from .leukocytes import VIEW
from .voc import BadAnnotation, listed_splits, read_annotation, read_boxes, written_size

FIELDS = 364
LABELS = {"WBC": "leukocyte", "RBC": "erythrocyte", "Platelets": "platelet"}
COUNTS = {"leukocyte": 372, "erythrocyte": 4155, "platelet": 361}
FIVE = {"neutrophil": 207, "eosinophil": 88, "lymphocyte": 33, "monocyte": 20, "basophil": 3}
"""Crops of each type, one from each field that shows a single typed leukocyte."""

SMALLEST = 2
"""Sides in px below which a box can contain no cell."""

VIEWS = {
    "cells": "every leukocyte, by its box (the boxes have no type)",
    "boxes": "every box: leukocytes, erythrocytes, platelets",
    "five": "crops of leukocytes, in one folder for each type (Basophil, Eosinophil, ...)",
    "leukocytes": f"{VIEW}; the same crops",
}
_NUCLEUS, _CELL = 206, 78  # half-way between the levels of the published masks: 0, 155 or 161, 255


def index(root: Path, view: str = "cells", **options: str) -> Index:
    """Index the folder BCCD (Annotations, JPEGImages, ImageSets), or one above it; the views `five` and `leukocytes`
    need the folder of the crops. Raises DatasetError where the layout is another.
    """
    check_choice(view, VIEWS, options)
    if view in ("five", "leukocytes"):
        return _index_crops(Path(root), view)
    layout = "the folders Annotations and JPEGImages"
    base = find_folder(Path(root), lambda folder: all((folder / n).is_dir() for n in ("Annotations", "JPEGImages")),
                       "bccd", layout)
    collector = Collector(base.absolute(), "bccd", smallest=SMALLEST, suffix=lambda number: f"/{number - 1}")
    _add_fields(collector)
    if view == "boxes":
        return collector.index(f"{layout}, with a box in a field", COUNTS)
    leukocytes = [row for row in collector.rows if row["label"] == "leukocyte"]
    if collector.rows and not leukocytes:
        raise DatasetError(f"{base}: no field has a leukocyte", "use --view boxes for the other boxes")
    collector.rows = leukocytes
    return collector.index(f"{layout}, with a box in a field", {"leukocyte": COUNTS["leukocyte"]})


def read_outlines(path: Path | str) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """(nucleus, whole cell) of all leukocytes of a field, from one of the published masks: nuclei are white, cytoplasm
    is grey (155 or 161, which `read_mask` takes for white). Raises ImageError as `read_image` does.
    """
    grey = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
    return grey >= _NUCLEUS, grey >= _CELL


def _add_fields(collector: Collector) -> None:
    """A row for each box, with the split of the official lists and the mask of its field."""
    base = collector.root
    images, annotations = ({path.stem: path for path in children_of(base / folder) if not is_litter(path.name)}
                           for folder in ("JPEGImages", "Annotations"))
    annotations = {name: path for name, path in annotations.items() if path.suffix == ".xml"}
    collector.ids = {path: name for name, path in images.items()}
    lists = [f"ImageSets/Main/{part}.txt" for part in ("train", "val", "test")]
    collector.missing += [name for name in lists if not (base / name).is_file()]
    splits = listed_splits(collector, annotations)
    fields = []
    for name in sorted({*images, *annotations, *splits}):
        absent = [part for part, files in (("image", images), ("annotation", annotations)) if name not in files]
        if absent:
            collector.missing.append(f"{name}: {' and '.join(absent)}")
            continue
        try:
            tree = read_annotation(annotations[name])
        except BadAnnotation as error:
            collector.damaged.append((str(annotations[name]), str(error)))
            continue
        boxes = partial(read_boxes, collector, annotations[name], tree, labels=LABELS)
        fields.append(Field(images[name], boxes, written_size(tree), {"split": splits.get(name)}))
    opened = collector.add_fields("boxes", fields)
    _add_masks(collector, opened)
    full = {row["field"] for row in collector.rows if row["label"] == "leukocyte"}
    empty = [image.name for image in opened if image.name not in full]
    if empty:
        collector.notes.append(f"fields without leukocytes: {', '.join(empty)}")
    unlisted = sorted(images.keys() - splits) if splits else []
    if unlisted:
        collector.notes.append(f"fields that are in no official list (split is empty): {', '.join(unlisted)}")
    if len(images) < FIELDS:
        collector.missing.append(f"{FIELDS - len(images)} of {FIELDS} fields")


def _add_masks(collector: Collector, fields: list[Image]) -> None:
    """The nucleus mask of each field as the column mask, from the folder nucleus_masks in or beside the set."""
    folders = [folder for folder in (collector.root / "nucleus_masks", collector.root.parent / "nucleus_masks")
               if folder.is_dir()]
    masks = {path.stem.replace("_Mask_", "_"): path for path in (children_of(folders[0]) if folders else ())
             if "_Mask_" in path.name}
    if not masks:
        collector.notes.append("no nucleus masks: the folder nucleus_masks is not beside the set")
    usable = {}
    for image in fields:
        if image.name in masks:
            size, reason = inspect_image(masks[image.name])
            if size == image.size:
                usable[image.name] = str(masks[image.name])
            else:
                collector.damaged.append((str(masks[image.name]),
                                          reason or f"{size} px, but its field has {image.size}"))
    for row in collector.rows:
        row["mask"] = usable.get(str(row["field"]))


def _index_crops(root: Path, view: str) -> Index:
    base = find_folder(root, lambda folder: bool(_type_folders(folder)), "bccd",
                       "the class folders Basophil, Eosinophil, ... of its crops")
    collector = Collector(base.absolute(), "bccd")
    for folder in _type_folders(collector.root):
        images, faults = list_images(folder)
        collector.damaged += faults
        for path in images:
            field = re.match(r"(BloodImage_\d+)", path.stem)
            if field is None:
                collector.damaged.append((str(path), "its field is not known: the name is not "
                                                     "BloodImage_<field>_<number>"))
                continue
            label = folder.name.lower()
            collector.rows.append({"cell_id": f"{label}/{path.name}", "image": str(path), "label": label,
                                   "group": field[1], "source": "bccd", "field": field[1],
                                   **({"subtype": label} if view == "leukocytes" else {})})
    collector.short_of(FIVE, "crops")
    collector.notes.append("each field is one group; the donors are not known")
    return collector.index("class folders with crops", FIVE)


def _type_folders(folder: Path) -> list[Path]:
    return [child for child in subfolders(folder) if child.name.lower() in FIVE]


DATASET = Dataset(
    name="bccd",
    title="BCCD: blood cell count and detection, fields with boxes",
    licence="MIT",
    citation="Shenggan, BCCD Dataset (2017), https://github.com/Shenggan/BCCD_Dataset; nucleus masks: P. P. Banik et "
             "al., Expert Systems with Applications 149 (2020) 113211, doi 10.1016/j.eswa.2020.113211",
    homepage="https://github.com/Shenggan/BCCD_Dataset",
    obtain="leukoscope data get bccd, or clone https://github.com/Shenggan/BCCD_Dataset",
    subject_rule="the donors are not named; each field (photograph) is one group, the same for boxes and crops",
    views=VIEWS,
    index=index,
    # Archives that GitHub makes on demand have no lasting checksum; the commit fixes the contents.
    downloads=(Download("https://github.com/Shenggan/BCCD_Dataset/archive/d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip",
                        "BCCD_Dataset.zip"),),
    leukocytes={name: name for name in FIVE},
)
