"""Chula WBC: 500 fields of 1440 x 900 px with YOLO boxes around leukocytes of five types.

The set is `WBC_Dataset` of Chulalongkorn University; Chula RBC-12 (points on red cells) and Chula-WBC-8 (crops) are
others. Knows its file names, `<type>-<slide>_<number>.jpg`, and that `HF-` marks a mirrored copy of another field.
"""

from __future__ import annotations

import re
from pathlib import Path

from .base import Dataset, Index, check_choice, check_root
from .collector import Findings, Image
from .paths import cell_ids, files_below, split_of
from .yolo import add_boxes, pair_labels

CLASSES = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
"""In the order of their numbers, as the authors' notebook gives them."""

FIELDS = 500
NAME = re.compile(r"(?P<copy>HF-)?(?P<original>[BELMN]-(?P<slide>\d+[A-Z]*)[a-z]*_\d+)")
OVERLAP = 0.5
LAYOUT = "the folder WBC_Samples with train and valid, each with images and labels"
VIEWS = {
    "cells": "one row a box: a leukocyte and its type",
    "fields": "one row a field, without labels",
}


def index(root: Path, view: str = "cells", **options: str) -> Index:
    """Index WBC_Dataset, or its folder WBC_Samples. Raises DatasetError where it holds no field.

    The slide is the group. Boxes of a mirrored copy name the cell they were copied from in the column original.
    """
    check_choice(view, VIEWS, options)
    check_root(Path(root), "chula", LAYOUT)
    found = Findings(Path(root).absolute(), "chula")
    paths = files_below(found.root)
    ids, strangers, images, count = cell_ids(paths, found.root), [], {}, 0
    for path, labels in pair_labels(found, paths).items():
        match = NAME.fullmatch(path.stem)
        if match is None:
            strangers.append(str(path))
            continue
        count += 1
        split = split_of(path, found.root)
        image = found.open(path, ids[path], {"group": match["slide"], **({"split": split} if split else {})})
        if image is None:
            continue
        images[path.stem] = image
        if view == "fields":
            found.add(image, None, field=image.name)
        elif labels is not None:
            add_boxes(found, image, labels, dict(enumerate(CLASSES)))
    _name_originals(found, images)
    found.note_some("images are left out, their names are not <type>-<slide>_<number>", strangers)
    if count < FIELDS:
        found.missing.append(f"{FIELDS - count} of {FIELDS} fields")
    return found.index(LAYOUT)


def _name_originals(found: Findings, images: dict[str, Image]) -> None:
    """Set `original` in the rows of mirrored copies."""
    rows: dict[object, list[dict[str, object]]] = {}
    for row in found.rows:
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
        found.notes.append(f"{copies} fields (HF-...) are mirrored copies of others: see the column original")


def _mirrored(row: dict[str, object], originals: list[dict[str, object]], width: int) -> object:
    """The id of the original whose mirror image this row is: the field itself, or the box that overlaps most."""
    if "x" not in row:
        return originals[0]["cell_id"] if originals else None
    shares = [(_overlap(row, other, width), other["cell_id"]) for other in originals]
    share, cell_id = max(shares, key=lambda s: s[0], default=(0.0, None))
    return cell_id if share >= OVERLAP else None


def _overlap(row: dict[str, object], other: dict[str, object], width: int) -> float:
    """Intersection over union of a box and the mirror image of another, in a field of `width` px."""
    x, y, w, h = (int(str(row[name])) for name in ("x", "y", "width", "height"))
    x2, y2, w2, h2 = (int(str(other[name])) for name in ("x", "y", "width", "height"))
    x2 = width - x2 - w2
    across, down = min(x + w, x2 + w2) - max(x, x2), min(y + h, y2 + h2) - max(y, y2)
    common = max(across, 0) * max(down, 0)
    return common / (w * h + w2 * h2 - common)


DATASET = Dataset(
    name="chula",
    title="Chula WBC: fields with boxes around leukocytes of five types (Chulalongkorn University, Bangkok)",
    licence="MIT",
    citation="Embedded System and Integrated Circuit Design Laboratory, Chulalongkorn University, WBC_Dataset (2022), "
             "https://github.com/singgihbekti/WBC_Dataset",
    homepage="https://github.com/singgihbekti/WBC_Dataset",
    obtain="git clone https://github.com/singgihbekti/WBC_Dataset",
    subject_rule="no subjects; the slide in the file name is the group (5Bb counts as 5B, to be safe)",
    views=VIEWS,
    index=index,
)
