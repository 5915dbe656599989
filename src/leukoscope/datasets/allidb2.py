"""ALL-IDB2: 260 crops of 257 x 257 px around one cell each, 130 healthy and 130 probable lymphoblasts.

Knows the names `ImNNN_0.tif` (healthy) and `ImNNN_1.tif` (leukemic), in any folder, in upper or lower case.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import allidb1
from .base import Index, check_choice
from .collector import Collector

COUNT = 260
EXPECTED = {"healthy": 130, "leukemic": 130}
SIDE = 257
LAYOUT = "the crops ImNNN_0.tif and ImNNN_1.tif"
VIEWS = {"cells": "one row for each crop: healthy or leukemic"}


def index(root: Path, view: str = "cells", **options: str) -> Index:
    """Index ALL_IDB2, or a folder above it. Raises DatasetError where there is no crop."""
    check_choice(view, VIEWS, options)
    collector = Collector.walk(root, "allidb2", LAYOUT)
    odd = []
    for image, label in allidb1.numbered_images(collector, COUNT, other="1"):
        collector.add(image, label)
        if image.size != (SIDE, SIDE):
            odd.append(f"{image.path} ({image.size[0]} x {image.size[1]} px)")
    collector.note_some(f"crops are not {SIDE} x {SIDE} px", odd)
    collector.notes.append("the set gives neither subjects nor fields: crops of one person may be in training and test")
    return collector.index(LAYOUT, EXPECTED)


DATASET = replace(
    allidb1.DATASET,
    name="allidb2",
    title="ALL-IDB2: single cells cut from ALL-IDB1, healthy and probable lymphoblasts (Milan)",
    obtain=allidb1.DATASET.obtain.replace("ALL_IDB1 with its folders im and xyc", "ALL_IDB2 with its folder img"),
    subject_rule="none: images are not given per patient, nor by the field they were cut from, so no split can keep "
                 "a patient in one part",
    views=VIEWS,
    index=index,
    options={},
)
