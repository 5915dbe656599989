"""Raabin-WBC: crops of leukocytes, named by two experts, in one folder for each type below Train, TestA and TestB.

Knows the double-labelled crops only, not the fields or the masks that the same authors published.
"""

from __future__ import annotations

import re
from pathlib import Path

from .base import Dataset, Index, check_choice
from .collector import Collector

TRAIN = {"basophil": 212, "eosinophil": 744, "lymphocyte": 2427, "monocyte": 561, "neutrophil": 6231}
TEST_A = {"basophil": 89, "eosinophil": 322, "lymphocyte": 1034, "monocyte": 234, "neutrophil": 2660}
OFFICIAL = {label: TRAIN[label] + TEST_A[label] for label in TRAIN}
PARTS = {"train": "train", "testa": "test", "testb": "test"}
"""Letters of the folder's name, in lower case -> split."""

LAYOUT = "the folders Train, TestA, TestB, each with Basophil, Eosinophil, Lymphocyte, Monocyte, Neutrophil"
VIEWS = {
    "official": "Train and TestA, with this split",
    "test_b": "TestB only, which was taken with another microscope and camera, to test transfer",
    "all": "Train, TestA and TestB, as in the column part",
}
SHOWN = {"official": ("train", "testa", ""), "test_b": ("testb",), "all": ("train", "testa", "testb", "")}


def index(root: Path, view: str = "official", **options: str) -> Index:
    """Index the folder that contains Train and TestA, or one above it. Raises DatasetError where there is no cell."""
    check_choice(view, VIEWS, options)
    collector = Collector.walk(root, "raabin", LAYOUT)
    left_out, strangers, without_part = 0, [], 0
    for path in collector.paths:
        folders = [re.sub("[^a-z]", "", part.lower()) for part in path.relative_to(collector.root).parts[:-1]]
        part = next((folder for folder in folders if folder in PARTS), "")
        label = next((folder for folder in reversed(folders) if folder in TRAIN), None)
        if label is None:
            strangers.append(str(path))
        elif part not in SHOWN[view]:
            left_out += 1
        elif image := collector.open(path):
            without_part += not part
            collector.add(image, label, split=PARTS.get(part), part=part or None)
    collector.note_some("images are left out because they are in no folder of the five types", strangers)
    if left_out:
        collector.notes.append(f"{left_out} cells of other parts are left out in this view")
    if without_part:
        collector.notes.append(f"{without_part} cells are not in Train, TestA or TestB and have no split")
    collector.notes.append("the set has no subject ids: cells of one person may be in Train and in TestA")
    expected = OFFICIAL if view == "official" else {}
    collector.short_of(expected, "cells")
    return collector.index(LAYOUT, expected)


DATASET = Dataset(
    name="raabin",
    title="Raabin-WBC: double-labelled leukocytes of five types, two microscopes and cameras (Tehran)",
    licence="free access with citation; no licence text is published with the files",
    citation="Z. M. Kouzehkanan et al., A large dataset of white blood cells containing cell locations and types, "
             "along with segmented nuclei and cytoplasm, Scientific Reports 12 (2022) 1123, "
             "doi 10.1038/s41598-021-04426-x",
    homepage="https://raabindata.com/free-data/",
    obtain="download Train, TestA and TestB of the double-labelled cropped cells by hand from "
           "https://raabindata.com/free-data/ and unpack the archives into one folder",
    subject_rule="none: people and slides are not marked; the column split keeps Train and TestA",
    views=VIEWS,
    index=index,
)
