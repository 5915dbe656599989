"""Raabin-WBC: labels and splits by folder."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import polars as pl
import pytest

from leukoscope.datasets import get_dataset
from leukoscope.errors import DatasetError

make = runpy.run_path(str(Path(__file__).parents[1] / "data" / "raabin" / "make.py"))["make"]
index = get_dataset("raabin").index


def test_the_official_view_has_train_and_test_a_with_their_split(tmp_path):
    found = index(make(tmp_path))
    assert found.found == dict.fromkeys(("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"), 5)
    splits = found.manifest.group_by("split").len().sort("split").rows()
    assert splits == [("test", 10), ("train", 15)]
    assert found.manifest.filter(pl.col("image").str.contains("TestA"))["split"].unique().to_list() == ["test"]
    assert any(note.startswith("2 cells of other parts") for note in found.notes)


def test_the_expected_counts_are_those_published(tmp_path):
    expected = index(make(tmp_path)).expected
    assert expected == {"basophil": 301, "eosinophil": 1066, "lymphocyte": 3461, "monocyte": 795, "neutrophil": 8891}
    assert sum(expected.values()) == 14514
    assert "neutrophil: 8,886 of 8,891 cells" in index(make(tmp_path)).missing


def test_test_b_is_a_view_of_its_own(tmp_path):
    root = make(tmp_path)
    found = index(root, "test_b")
    assert found.found == {"lymphocyte": 1, "neutrophil": 1}
    assert found.manifest["split"].to_list() == ["test", "test"]
    assert found.expected == {}
    assert index(root, "all").manifest["part"].unique().sort().to_list() == ["testa", "testb", "train"]


def test_equal_names_in_every_part_have_different_ids(tmp_path):
    ids = index(make(tmp_path), "all").manifest["cell_id"]
    assert ids.n_unique() == 27
    assert "Train/Basophil/20190526_0" in ids.to_list()


def test_parts_may_be_written_otherwise_and_nested(tmp_path):
    root = make(tmp_path)
    (root / "TestA").rename(root / "Test-A")
    inner = root / "Train" / "Train"
    inner.mkdir()
    for folder in list((root / "Train").iterdir()):
        if folder != inner:
            shutil.move(folder, inner)
    assert index(root).manifest.group_by("split").len().sort("split").rows() == [("test", 10), ("train", 15)]


def test_class_folders_without_parts_have_no_split(tmp_path):
    found = index(make(tmp_path) / "Train")
    assert found.manifest["split"].null_count() == 15
    assert any("have no split" in note for note in found.notes)


def test_damaged_and_strange_images_are_named(tmp_path):
    root = make(tmp_path)
    (root / "Train" / "Monocyte" / "20190526_1.jpg").write_bytes(b"not a picture")
    (root / "Train" / "Burst").mkdir()
    shutil.copy(root / "Train" / "Basophil" / "20190526_0.jpg", root / "Train" / "Burst" / "a.jpg")
    found = index(root)
    assert found.found["monocyte"] == 4
    assert [Path(path).name for path, _ in found.damaged] == ["20190526_1.jpg"]
    assert any("Burst" in note for note in found.notes)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match="Train, TestA, TestB"):
        index(tmp_path)
