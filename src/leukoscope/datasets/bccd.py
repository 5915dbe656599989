"""BCCD: 364 photographs of smears, 640 x 480, with a box around each leukocyte, erythrocyte and platelet.

Knows Pascal VOC as this set writes it, its official lists, the nucleus masks published for its fields, and the folder
of leukocytes cut from it and named by type. The boxes carry no type: that is what the crops are for.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from jaxtyping import Bool

from ..errors import DatasetError
from ..images.read import read_image
from ..manifest import make_manifest
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

FIELDS = 364
LABELS = {"WBC": "leukocyte", "RBC": "erythrocyte", "Platelets": "platelet"}
COUNTS = {"leukocyte": 372, "erythrocyte": 4155, "platelet": 361}
FIVE = {"neutrophil": 207, "eosinophil": 88, "lymphocyte": 33, "monocyte": 20, "basophil": 3}
"""Crops a type, one from each field that shows a single typed leukocyte."""

PARTS = {"train": "train", "val": "validation", "test": "test"}
SMALLEST = 2
"""Sides in px below which a box can hold no cell."""

VIEWS = {
    "cells": "every leukocyte, by its box (the boxes carry no type)",
    "boxes": "every box: leukocytes, erythrocytes, platelets",
    "five": "leukocytes cut out beforehand, in a folder a type (Basophil, Eosinophil, ...)",
}
_NUCLEUS, _CELL = 206, 78  # half-way between the levels of the published masks: 0, 155 or 161, 255
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def index(root: Path, view: str = "cells", **options: str) -> Index:
    """Index the folder BCCD (Annotations, JPEGImages, ImageSets), or one above it; in the view `five`, the crops.

    Boxes are Pascal VOC: corners counted from 1, both inside. Raises DatasetError where the layout is another.
    """
    check_choice(view, VIEWS, options)
    if view == "five":
        return _index_crops(Path(root))
    layout = "the folders Annotations and JPEGImages"
    base = find_folder(Path(root), lambda folder: all((folder / n).is_dir() for n in ("Annotations", "JPEGImages")),
                       "bccd", layout)
    found = _read_fields(base)
    if not found.rows:
        raise DatasetError(f"{base}: no field has an image and a box", "unpack the archive again")
    cells = make_manifest(found.rows)
    if found.empty:
        found.notes.append(f"fields without leukocytes: {', '.join(found.empty)}")
    counts = COUNTS
    if view == "cells":
        cells = cells.filter(pl.col("label") == "leukocyte")
        counts = {"leukocyte": COUNTS["leukocyte"]}
    if cells.is_empty():
        raise DatasetError(f"{base}: no field has a leukocyte", "use --view boxes for the other boxes")
    return Index(cells, counts, tuple(found.missing), tuple(found.damaged), tuple(found.notes))


def read_outlines(path: Path | str) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """(nucleus, whole cell) of all leukocytes of a field, from one of the published masks: white is nucleus, a grey of
    155 or 161 is cytoplasm. (`images.read_mask` takes that grey for white.) Raises ImageError as `read_image` does.
    """
    grey = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
    return grey >= _NUCLEUS, grey >= _CELL


@dataclass(frozen=True)
class _Found:
    rows: list[dict[str, object]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def _read_fields(base: Path) -> _Found:
    found = _Found()
    images = {path.stem: path for path in children_of(base / "JPEGImages") if not is_litter(path.name)}
    annotations = {path.stem: path for path in children_of(base / "Annotations")
                   if path.suffix == ".xml" and not is_litter(path.name)}
    parts = _official_parts(base, found)
    masks = _masks(base)
    for name in sorted({*images, *annotations, *parts}):
        if name not in images or name not in annotations:
            lacking = [part for part, there in (("image", images), ("annotation", annotations)) if name not in there]
            found.missing.append(f"{name}: {' and '.join(lacking)}")
            continue
        size, reason = inspect_image(images[name])
        if size is None:
            found.damaged.append((str(images[name]), reason))
            continue
        shared = {"image": str(images[name].absolute()), "group": name, "source": "bccd", "field": name,
                  "split": parts.get(name), "mask": _usable_mask(masks.get(name), size, found)}
        _add_boxes(annotations[name], size, shared, found)
    if not masks:
        found.notes.append("no nucleus masks: folder nucleus_masks is not beside the set")
    unlisted = sorted(set(images) - set(parts)) if parts else []
    if unlisted:
        found.notes.append(f"fields that no official list names (split is empty): {', '.join(unlisted)}")
    if len(images) < FIELDS:
        found.missing.append(f"{FIELDS - len(images)} of {FIELDS} fields")
    return found


def _add_boxes(path: Path, size: tuple[int, int], shared: dict[str, object], found: _Found) -> None:
    """Add a row for every usable box of one annotation; name those that are clipped, too small or unreadable."""
    try:
        written, boxes = _read_annotation(path)
    except ValueError as error:
        found.damaged.append((str(path), str(error)))
        return
    if written is not None and written != size:
        found.notes.append(f"{path.stem}: the annotation says {written[0]} x {written[1]} px, the image has "
                           f"{size[0]} x {size[1]}; the image is taken")
    leukocytes = 0
    for number, (name, corners) in enumerate(boxes):
        box = _clip(corners, size)
        text = f"box {number} ({name}, corners {' '.join(map(str, corners))})"
        if name not in LABELS:
            found.damaged.append((str(path), f"{text}: expected one of {', '.join(LABELS)}"))
        elif min(box[2:]) < SMALLEST:
            found.damaged.append((str(path), f"{text}: {max(box[2], 0)} x {max(box[3], 0)} px inside the image, "
                                             f"expected at least {SMALLEST} x {SMALLEST}"))
        else:
            if box[2:] != (corners[2] - corners[0] + 1, corners[3] - corners[1] + 1):
                found.notes.append(f"{path.stem}: {text} reaches outside the image and is clipped")
            leukocytes += name == "WBC"
            found.rows.append({**shared, "cell_id": f"{path.stem}/{number}", "label": LABELS[name],
                               **dict(zip(("x", "y", "width", "height"), box, strict=True))})
    if not leukocytes:
        found.empty.append(path.stem)


def _read_annotation(path: Path) -> tuple[tuple[int, int] | None, list[tuple[str, tuple[int, ...]]]]:
    """((width, height) as written, or None, and (name, corners) of each box). ValueError says what is wrong."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from error
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("declares entities, which an annotation never needs")
    try:
        annotation = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(f"not valid XML ({error})") from error
    try:
        boxes = [(thing.findtext("name", "").strip(),
                  tuple(round(float(thing.findtext(f"bndbox/{corner}", ""))) for corner in _CORNERS))
                 for thing in annotation.iter("object")]
        sides = [int(annotation.findtext(f"size/{side}", "0")) for side in ("width", "height")]
    except (ValueError, OverflowError) as error:
        raise ValueError(f"a corner or size is missing or not a number ({error})") from error
    return ((sides[0], sides[1]) if all(sides) else None), boxes


def _clip(corners: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = max(corners[0], 1), max(corners[1], 1)
    right, bottom = min(corners[2], size[0]), min(corners[3], size[1])
    return left - 1, top - 1, right - left + 1, bottom - top + 1


def _official_parts(base: Path, found: _Found) -> dict[str, str]:
    """Field -> train, validation or test, by the lists in ImageSets/Main."""
    parts: dict[str, str] = {}
    for stem, part in PARTS.items():
        path = base / "ImageSets" / "Main" / f"{stem}.txt"
        if not path.is_file():
            found.missing.append(f"ImageSets/Main/{stem}.txt")
            continue
        for name in path.read_text(encoding="utf-8", errors="replace").split():
            if parts.setdefault(name, part) != part:
                found.notes.append(f"{name} stands in the lists of {parts[name]} and {part}; the first is taken")
    return parts


def _masks(base: Path) -> dict[str, Path]:
    """Field -> its nucleus mask, from the folder nucleus_masks in or beside the set."""
    for folder in (base / "nucleus_masks", base.absolute().parent / "nucleus_masks"):
        if folder.is_dir():
            return {path.stem.replace("_Mask_", "_"): path for path in children_of(folder) if "_Mask_" in path.name}
    return {}


def _usable_mask(path: Path | None, size: tuple[int, int], found: _Found) -> str | None:
    if path is None:
        return None
    mask_size, reason = inspect_image(path)
    if mask_size != size:
        wrong = reason or f"{mask_size} px, expected {size} as its field"
        found.damaged.append((str(path), wrong))
        return None
    return str(path.absolute())


def _index_crops(root: Path) -> Index:
    base = find_folder(root, lambda folder: bool(_type_folders(folder)), "bccd",
                       "the class folders Basophil, Eosinophil, ... of its crops")
    rows, damaged = [], []
    for folder in _type_folders(base):
        images, faults = list_images(folder)
        damaged += faults
        for path in images:
            name = re.match(r"(BloodImage_\d+)", path.stem)
            if name is None:
                damaged.append((str(path), "not named BloodImage_<field>_<number>, so its field is unknown"))
                continue
            rows.append({"cell_id": f"{folder.name.lower()}/{path.name}", "image": str(path.absolute()),
                         "label": folder.name.lower(), "group": name[1], "source": "bccd", "field": name[1]})
    if not rows:
        raise DatasetError(f"{base}: the class folders hold no crop", "give the folder of the crops")
    cells = make_manifest(rows)
    found = dict(cells.group_by("label").len().iter_rows())
    missing = tuple(f"{label}: {count - found.get(label, 0)} of {count} crops"
                    for label, count in FIVE.items() if found.get(label, 0) < count)
    return Index(cells, FIVE, missing, tuple(damaged),
                 ("each field is one group; who gave the blood is not known",))


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
    subject_rule="no donors are named; each field (photograph) is one group, the same for boxes and crops",
    views=VIEWS,
    index=index,
    # Archives that GitHub makes on demand carry no lasting checksum; the commit pins the contents.
    downloads=(Download("https://github.com/Shenggan/BCCD_Dataset/archive/d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip",
                        "BCCD_Dataset.zip"),),
)
