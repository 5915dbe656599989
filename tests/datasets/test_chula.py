"""Chula WBC: YOLO boxes, slides as groups, mirrored copies, label files that lie astray."""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl
import pytest

from leukoscope.datasets import get_dataset
from leukoscope.errors import DatasetError

_made = runpy.run_path(str(Path(__file__).parents[1] / "data" / "chula" / "make.py"))
make, USUAL = _made["make"], _made["USUAL"]
index = get_dataset("chula").index
CLASSES = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")


def test_boxes_and_types_come_back_as_they_were_drawn(tmp_path):
    cells = index(make(tmp_path)).manifest
    found = {(Path(image).stem, label, x, y, w, h) for image, label, x, y, w, h in
             cells.select("image", "label", "x", "y", "width", "height").iter_rows()}
    assert found == {(field.split("/")[1], CLASSES[kind], *box) for field, boxes in USUAL.items()
                     for kind, *box in boxes}


def test_the_slide_is_the_group_and_the_folder_the_split(tmp_path):
    cells = index(make(tmp_path)).manifest
    groups = dict(cells.select(pl.col("image").map_elements(lambda p: Path(p).stem, pl.String), "group").iter_rows())
    assert groups == {"B-30_0047": "30", "M-8_0037": "8", "HF-M-8_0037": "8", "L-5Bb_0165": "5B", "E-5B_0010": "5B"}
    splits = cells.group_by("split").agg(pl.len()).sort("split").rows()
    assert splits == [("train", 3), ("validation", 4)]
    assert cells["subject"].null_count() == cells.height


def test_cells_of_a_mirrored_copy_name_their_originals(tmp_path):
    found = index(make(tmp_path))
    copies = found.manifest.filter(pl.col("original").is_not_null())
    ids = dict(found.manifest.select("cell_id", "label").iter_rows())
    assert dict(copies.select("cell_id", "original").iter_rows()) == {
        "WBC_Samples/valid/images/HF-M-8_0037#1": "WBC_Samples/train/images/M-8_0037#2",
        "WBC_Samples/valid/images/HF-M-8_0037#2": "WBC_Samples/train/images/M-8_0037#1"}
    assert all(ids[row["original"]] == row["label"] for row in copies.to_dicts())
    assert any("mirrored copies" in note for note in found.notes)


def test_a_field_view_has_one_row_a_field_and_keeps_the_copies_known(tmp_path):
    fields = index(make(tmp_path), "fields").manifest
    assert fields.height == 5
    assert fields["label"].null_count() == 5
    copy = fields.filter(pl.col("image").str.contains("HF-"))
    assert copy["original"].to_list() == ["WBC_Samples/train/images/M-8_0037"]


def test_a_copy_without_its_original_names_none(tmp_path):
    boxes = {field: boxes for field, boxes in USUAL.items() if field != "train/M-8_0037"}
    assert index(make(tmp_path, boxes)).manifest["original"].null_count() == 5


def test_a_class_outside_the_five_and_bad_lines_are_named_with_their_line(tmp_path):
    root = make(tmp_path)
    file = root / "WBC_Samples" / "train" / "labels" / "B-30_0047.txt"
    file.write_text("5 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.1\n2 nan 0.5 0.1 0.1\n2 0.5 0.5 0.1 0.1\n")
    found = index(root)
    assert [(Path(p).name, r.split(" (")[0]) for p, r in found.damaged] == [
        ("B-30_0047.txt:1", "class 5 has no name"),
        ("B-30_0047.txt:2", "expected 5 numbers"),
        ("B-30_0047.txt:3", "the box is not made of finite numbers")]
    assert "WBC_Samples/train/images/B-30_0047#4" in found.manifest["cell_id"].to_list()


def test_missing_images_labels_and_fields_are_named(tmp_path):
    root = make(tmp_path)
    samples = root / "WBC_Samples"
    (samples / "train" / "images" / "B-30_0047.jpg").unlink()
    (samples / "valid" / "labels" / "E-5B_0010.txt").unlink()
    found = index(root)
    assert any(m.startswith("the image of ") and m.endswith("B-30_0047.txt") for m in found.missing)
    assert "496 of 500 fields" in found.missing
    assert any("have no label file" in note and "E-5B_0010" in note for note in found.notes)


def test_other_images_are_left_out_and_an_empty_folder_is_refused(tmp_path):
    root = make(tmp_path)
    (root / "logo.png").write_bytes(b"")
    found = index(root)
    assert any("logo.png" in note for note in found.notes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="WBC_Samples with train and valid"):
        index(tmp_path / "empty")
