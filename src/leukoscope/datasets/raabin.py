"""Raabin-WBC: leukocytes cut from smears and named by two experts, in a folder a type below Train, TestA and TestB.

Knows the double-labelled crops only, not the fields or the masks that the same authors published.
"""

from __future__ import annotations

import re
from pathlib import Path

from .base import Dataset, Index, check_choice, check_root
from .collector import Findings
from .paths import cell_ids, files_below

TRAIN = {"basophil": 212, "eosinophil": 744, "lymphocyte": 2427, "monocyte": 561, "neutrophil": 6231}
TEST_A = {"basophil": 89, "eosinophil": 322, "lymphocyte": 1034, "monocyte": 234, "neutrophil": 2660}
OFFICIAL = {label: TRAIN[label] + TEST_A[label] for label in TRAIN}
PARTS = {"train": "train", "testa": "test", "testb": "test"}
"""Letters of the folder's name, in lower case -> split."""

LAYOUT = "the folders Train, TestA, TestB, each with Basophil, Eosinophil, Lymphocyte, Monocyte, Neutrophil"
VIEWS = {
    "official": "Train and TestA, with this split",
    "test_b": "TestB only, which was taken with another microscope and camera, to test transfer",
    "all": "Train, TestA and TestB; the column part says which",
}
SHOWN = {"official": ("train", "testa", ""), "test_b": ("testb",), "all": ("train", "testa", "testb", "")}


def index(root: Path, view: str = "official", **options: str) -> Index:
    """Index the folder that holds Train and TestA, or one above it. Raises DatasetError where it holds no cell."""
    check_choice(view, VIEWS, options)
    check_root(Path(root), "raabin", LAYOUT)
    found = Findings(Path(root).absolute(), "raabin")
    paths = files_below(found.root)
    ids = cell_ids(paths, found.root)
    left_out, strangers, unparted = 0, [], 0
    for path in paths:
        part, label = _part_and_label(path, found.root)
        if label is None:
            strangers.append(str(path))
        elif part not in SHOWN[view]:
            left_out += 1
        elif image := found.open(path, ids[path]):
            unparted += not part
            found.add(image, label, split=PARTS.get(part), part=part or None)
    found.note_some("images are left out: they stand in no folder of the five types", strangers)
    if left_out:
        found.notes.append(f"{left_out} cells of other parts are left out in this view")
    if unparted:
        found.notes.append(f"{unparted} cells stand outside Train, TestA and TestB and have no split")
    found.notes.append("the set has no subject ids: cells of one person may stand in Train and in TestA")
    expected = OFFICIAL if view == "official" else {}
    found.short_of(expected, "cells")
    return found.index(LAYOUT, expected)


def _part_and_label(path: Path, root: Path) -> tuple[str, str | None]:
    folders = [re.sub("[^a-z]", "", part.lower()) for part in path.relative_to(root).parts[:-1]]
    part = next((folder for folder in folders if folder in PARTS), "")
    return part, next((folder for folder in reversed(folders) if folder in TRAIN), None)


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
    subject_rule="none: people and slides are not marked; Train and TestA are kept as the column split",
    views=VIEWS,
    index=index,
)
