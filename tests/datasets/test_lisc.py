"""LISC: labels by folder, masks by number, fields of several types."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leukoscope.datasets import get_dataset
from leukoscope.errors import DatasetError

make = runpy.run_path(str(Path(__file__).parents[1] / "data" / "lisc" / "make.py"))["make"]
index = get_dataset("lisc").index


def test_labels_come_from_the_folders_and_masks_from_the_expert(tmp_path):
    found = index(make(tmp_path))
    assert found.found == {"basophil": 2, "eosinophil": 1, "lymphocyte": 2, "monocyte": 1, "neutrophil": 1}
    for image, mask in found.manifest.select("image", "mask").iter_rows():
        assert Path(mask).parts[-4:-2] == ("Ground Truth Segmentation", Path(image).parent.name)
        assert Path(mask).stem == f"{Path(image).stem}_expert"
    assert found.manifest["subject"].null_count() == 7
    assert found.damaged == ()


def test_equal_numbers_in_different_folders_have_different_ids(tmp_path):
    ids = index(make(tmp_path), "fields").manifest["cell_id"].to_list()
    assert len(set(ids)) == 8
    assert "Main Dataset/Baso/1" in ids


def test_fields_of_several_types_are_mixed_or_left_out(tmp_path):
    root = make(tmp_path)
    assert index(root, "fields").found["mixed"] == 1
    assert any(note.startswith("1 fields of several types") for note in index(root).notes)


def test_the_expected_counts_are_those_published(tmp_path):
    root = make(tmp_path)
    assert sum(index(root, "fields").expected.values()) == 250
    assert index(root).expected == {"basophil": 53, "eosinophil": 39, "lymphocyte": 52, "monocyte": 48,
                                    "neutrophil": 50}
    assert "basophil: 51 of 53 fields" in index(root).missing


def test_fields_without_ground_truth_are_noted(tmp_path):
    assert any("have no ground truth" in note and "More Dataset" in note for note in index(make(tmp_path)).notes)


def test_missing_and_damaged_masks_are_named_and_the_field_is_kept(tmp_path):
    root = make(tmp_path)
    masks = root / "Ground Truth Segmentation"
    (masks / "eosi" / "areaforexpert1" / "1_expert.bmp").unlink()
    (masks / "mono" / "areaforexpert1" / "1_expert.bmp").write_bytes(b"BM")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(masks / "neut" / "areaforexpert1" / "1_expert.bmp")
    found = index(root)
    rows = {row["label"]: row for row in found.manifest.to_dicts()}
    assert rows["eosinophil"]["mask"] is rows["monocyte"]["mask"] is rows["neutrophil"]["mask"] is None
    assert any(m.startswith("the mask of ") and m.endswith("eosi/1.bmp") for m in found.missing)
    assert sorted(Path(p).parts[-3] for p, _ in found.damaged) == ["mono", "neut"]
    assert "has 5 x 5 px, its field 72 x 58" in [reason for _, reason in found.damaged]


def test_full_names_of_the_folders_do_as_well_and_masks_may_be_absent(tmp_path):
    for name in ("Basophil", "eosinophil", "MONOCYTE"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / name / "1.BMP", format="BMP")
    found = index(tmp_path)
    assert found.found == {"basophil": 1, "eosinophil": 1, "monocyte": 1}
    assert "the folder 'Ground Truth Segmentation' with the masks" in found.missing


def test_damaged_fields_are_named_and_left_out(tmp_path):
    root = make(tmp_path)
    (root / "Main Dataset" / "Baso" / "1.bmp").write_bytes(b"")
    found = index(root)
    assert found.found["basophil"] == 1
    assert [Path(path).name for path, _ in found.damaged] == ["1.bmp"]


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match="'Main Dataset' and 'Ground Truth Segmentation'"):
        index(tmp_path)
    with pytest.raises(DatasetError, match="no view 'cells'"):
        index(tmp_path, "cells")
