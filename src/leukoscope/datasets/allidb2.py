"""ALL-IDB2: 260 crops of 257 x 257 px around one cell each, 130 healthy and 130 probable lymphoblasts.

Knows the names `ImNNN_0.tif` (healthy) and `ImNNN_1.tif` (leukemic), in any folder and any case.
"""

from __future__ import annotations

from pathlib import Path

from . import allidb1
from .base import Dataset, Index, check_choice, check_root
from .collector import Findings

COUNT = 260
EXPECTED = {"healthy": 130, "leukemic": 130}
SIDE = 257
LAYOUT = "the crops ImNNN_0.tif and ImNNN_1.tif"
VIEWS = {"cells": "one row a crop: healthy or leukemic"}


def index(root: Path, view: str = "cells", **options: str) -> Index:
    """Index ALL_IDB2, or a folder above it. Raises DatasetError where it holds no crop."""
    check_choice(view, VIEWS, options)
    check_root(Path(root), "allidb2", LAYOUT)
    found = Findings(Path(root).absolute(), "allidb2")
    odd = []
    for image, label in allidb1.numbered_images(found, COUNT, other="1"):
        found.add(image, label)
        if image.size != (SIDE, SIDE):
            odd.append(f"{image.path} ({image.size[0]} x {image.size[1]} px)")
    found.note_some(f"crops are not {SIDE} x {SIDE} px", odd)
    found.notes.append("crops of one field or person are not marked: they may stand on both sides of a split")
    return found.index(LAYOUT, EXPECTED)


DATASET = Dataset(
    name="allidb2",
    title="ALL-IDB2: single cells cut from ALL-IDB1, healthy and probable lymphoblasts (Milan)",
    licence=allidb1.DATASET.licence,
    citation=allidb1.DATASET.citation,
    homepage=allidb1.DATASET.homepage,
    obtain=allidb1.DATASET.obtain.replace("ALL_IDB1 with its folders im and xyc", "ALL_IDB2 with its folder img"),
    subject_rule="none: images are not given per patient, nor by the field they were cut from, so no split can keep "
                 "patients apart",
    views=VIEWS,
    index=index,
)
