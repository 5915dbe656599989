"""Chula WBC: YOLO boxes, slides as groups, mirrored copies, label files in another folder, crops."""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl
import pytest

from leukoscope.datasets import get_dataset
from leukoscope.errors import DatasetError

_made = runpy.run_path(str(Path(__file__).parents[1] / "data" / "chula" / "make.py"))
make, make_crops, USUAL = _made["make"], _made["make_crops"], _made["USUAL"]
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


def test_crops_have_the_slide_of_their_field_as_group(tmp_path):
    index_of_crops = index(make_crops(tmp_path), "crops")
    cells = index_of_crops.manifest
    assert cells.select("cell_id", "label", "group", "field", "split").rows() == [
        ("basophil/train_images_B-30_0047_1", "basophil", "30", "B-30_0047", "train"),
        ("lymphocyte/valid_images_L-5Bb_0165_1", "lymphocyte", "5B", "L-5Bb_0165", "validation"),
        ("monocyte/M-8_0037_12", "monocyte", "8", "M-8_0037", None)]
    assert cells["subject"].null_count() == cells.height
    assert any("they are not crops" in note and "other.jpg" in note for note in index_of_crops.notes)


def test_fields_and_their_crops_have_the_same_groups(tmp_path):
    fields, cut = index(make(tmp_path / "a"), "fields").manifest, index(make_crops(tmp_path / "b"), "crops").manifest
    of_field = {Path(image).stem: group for image, group in fields.select("image", "group").iter_rows()}
    assert all(of_field[field] == group for field, group in cut.select("field", "group").iter_rows())


def test_the_shared_view_reads_crops_where_there_are_any_else_boxes(tmp_path):
    boxes = index(make(tmp_path), "leukocytes").manifest
    assert boxes.height == 7
    assert boxes["subtype"].to_list() == boxes["label"].to_list()
    make_crops(tmp_path)
    cells = index(tmp_path, "leukocytes").manifest
    assert cells.height == 3
    assert cells["subtype"].to_list() == cells["label"].to_list()
    assert index(tmp_path, "cells").manifest.height == 7


def test_a_folder_without_crops_says_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match="crops with names like"):
        index(make(tmp_path), "crops")


def test_the_real_crops(data_folder):
    found = index(data_folder / "chula" / "cells", "crops")
    assert found.found == {"basophil": 100, "eosinophil": 100, "lymphocyte": 111, "monocyte": 86, "neutrophil": 112}
    assert found.damaged == ()
    assert found.manifest["group"].n_unique() == 19
    # Two letters before one number: a slide has fields of several types, and its cells stay together.
    assert set(found.manifest.filter(group="8")["field"].str.slice(0, 1)) == {"E", "L", "M"}
    fields = index(data_folder / "chula" / "WBC_Samples").manifest
    assert set(fields["group"]) <= set(found.manifest["group"])
