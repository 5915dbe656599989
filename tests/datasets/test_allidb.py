"""ALL-IDB1 and ALL-IDB2: labels by name, centroids as boxes, and missing, double or damaged files."""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl
import pytest

from leukoscope.datasets import get_dataset
from leukoscope.errors import DatasetError

HERE = Path(__file__).parents[1] / "data"
make1 = runpy.run_path(str(HERE / "allidb1" / "make.py"))["make"]
make2 = runpy.run_path(str(HERE / "allidb2" / "make.py"))["make"]
index1, index2 = get_dataset("allidb1").index, get_dataset("allidb2").index


@pytest.mark.parametrize("given", [{}, {"upper": True}, {"flat": True}])
def test_fields_are_labelled_by_their_name_in_any_case_and_folder(tmp_path, given):
    root = make1(tmp_path, **given)
    found = index1(root)
    labels = {Path(image).stem: label for image, label in found.manifest.select("image", "label").iter_rows()}
    assert labels == {"Im001_1": "leukemic", "Im002_0": "healthy", "Im003_1": "leukemic", "Im004_0": "healthy"}
    assert found.expected == {"healthy": 59, "leukemic": 49}
    assert found.damaged == ()


def test_a_field_is_its_own_group_and_no_subject_is_made_up(tmp_path):
    cells = index1(make1(tmp_path)).manifest
    assert cells["group"].to_list() == cells["field"].to_list() == cells["cell_id"].to_list()
    assert cells["subject"].null_count() == cells.height
    assert cells["width"].null_count() == cells.height


def test_every_missing_field_is_named(tmp_path):
    missing = index1(make1(tmp_path)).missing
    assert len(missing) == 108 - 4
    assert missing[0].startswith("Im005 ")
    assert missing[-1].startswith("Im108 ")


@pytest.mark.parametrize("separator", ["\t", " ", ",", "; "])
def test_centroids_become_boxes_of_the_given_side(tmp_path, separator):
    cells = index1(make1(tmp_path, separator=separator), "centroids", side="20").manifest
    boxes = cells.select("field", "x", "y", "width", "height", "label").rows()
    assert boxes == [("im/Im001_1", 30, 20, 20, 20, "leukemic"), ("im/Im001_1", 90, 50, 20, 20, "leukemic"),
                     ("im/Im003_1", 70, 35, 20, 20, "leukemic")]
    assert cells["cell_id"].to_list() == ["im/Im001_1#1", "im/Im001_1#2", "im/Im003_1#1"]
    assert cells["group"].to_list() == ["im/Im001_1", "im/Im001_1", "im/Im003_1"]


def test_the_default_box_is_as_large_as_a_crop_of_the_sister_set(tmp_path):
    root = make1(tmp_path, {1: ((300, 200),)}, width=600, height=400)
    row = index1(root, "centroids").manifest.row(0, named=True)
    assert (row["width"], row["height"]) == (257, 257)
    assert abs(row["x"] + row["width"] / 2 - 300) <= 0.5
    assert abs(row["y"] + row["height"] / 2 - 200) <= 0.5


def test_boxes_at_the_border_are_clipped_and_counted(tmp_path):
    found = index1(make1(tmp_path, {1: ((0, 89), (159, 0), (80, 45))}), "centroids", side=20)
    assert found.manifest.select("x", "y", "width", "height").rows() == [
        (0, 79, 10, 11), (149, 0, 11, 10), (70, 35, 20, 20)]
    assert any(note.startswith("2 boxes extend beyond") for note in found.notes)


def test_bad_centroids_are_named_with_file_and_line(tmp_path):
    root = make1(tmp_path)
    (root / "xyc" / "Im001_1.xyc").write_text("40 30\n\n500 30\nnan 4\n-1 2\n1 2 3\nx y\n")
    (root / "xyc" / "Im003_1.xyc").write_bytes(b"\xff\xfe\x00")
    found = index1(root, "centroids", side=10)
    assert found.manifest["cell_id"].to_list() == ["im/Im001_1#1"]
    lines = {Path(where).name: reason for where, reason in found.damaged}
    assert set(lines) == {*(f"Im001_1.xyc:{n}" for n in range(3, 8)), "Im003_1.xyc"}
    assert "outside the image of 160 x 90 px" in lines["Im001_1.xyc:3"]
    assert "3 values" in lines["Im001_1.xyc:6"]


def test_missing_and_empty_centroid_files_of_leukemic_fields_are_named(tmp_path):
    root = make1(tmp_path, {1: ((40, 30),), 3: ((5, 5),), 4: ((9, 9),), 6: ()})
    (root / "xyc" / "Im001_1.xyc").unlink()
    (root / "xyc" / "Im003_1.xyc").write_text("")
    (root / "xyc" / "Im006_0.xyc").unlink()
    found = index1(root, "centroids")
    assert [m for m in found.missing if ".xyc" in m] == ["Im001_1.xyc (the centroids of im/Im001_1)"]
    assert [(Path(p).name, r) for p, r in found.damaged] == [
        ("Im003_1.xyc", "contains no centroid, but the field is leukemic")]


def test_centroids_of_healthy_fields_are_not_used(tmp_path):
    root = make1(tmp_path)
    (root / "xyc" / "Im002_0.xyc").write_text("5 5\n")
    found = index1(root, "centroids")
    assert found.manifest.filter(pl.col("field").str.contains("Im002")).is_empty()
    assert any("centroids of healthy fields are not used" in note for note in found.notes)


def test_a_field_that_is_there_twice_is_used_once_and_never_with_two_labels(tmp_path):
    root = make1(tmp_path)
    (root / "Im001_1.jpg").write_bytes((root / "im" / "Im001_1.jpg").read_bytes())
    (root / "im" / "Im003_0.jpg").write_bytes((root / "im" / "Im003_1.jpg").read_bytes())
    found = index1(root)
    assert found.found == {"healthy": 2, "leukemic": 1}
    reasons = [reason for _, reason in found.damaged]
    assert sum("exists as healthy and as leukemic" in reason for reason in reasons) == 2
    assert sum("a second file of Im001" in reason for reason in reasons) == 1


def test_unreadable_images_and_strangers_are_named_and_left_out(tmp_path):
    root = make1(tmp_path)
    (root / "im" / "Im002_0.jpg").write_bytes(b"")
    (root / "im" / "preview.jpg").write_bytes(b"x")
    (root / "im" / ".Im004_0.jpg").write_bytes(b"x")
    found = index1(root)
    assert [Path(path).name for path, _ in found.damaged] == ["Im002_0.jpg"]
    assert any("preview.jpg" in note for note in found.notes)
    assert found.manifest.height == 3


def test_the_two_sets_side_by_side_are_kept_apart(tmp_path):
    make1(tmp_path)
    make2(tmp_path)
    assert index1(tmp_path).manifest["image"].str.contains("ALL_IDB1").all()
    second = index2(tmp_path)
    assert second.manifest["image"].str.contains("ALL_IDB2").all()
    assert second.found == {"healthy": 1, "leukemic": 2}


def test_crops_given_as_fields_are_refused_with_the_right_name(tmp_path):
    with pytest.raises(DatasetError, match="a crop of ALL-IDB2"):
        index1(make2(tmp_path) / "img")


@pytest.mark.parametrize("suffix", [".tif", ".TIF", ".tiff"])
def test_crops_are_labelled_and_have_no_group(tmp_path, suffix):
    found = index2(make2(tmp_path, suffix=suffix))
    assert found.found == {"healthy": 1, "leukemic": 2}
    assert found.expected == {"healthy": 130, "leukemic": 130}
    assert found.manifest["group"].null_count() == found.manifest.height
    assert len(found.missing) == 260 - 3
    assert "not given per patient" in get_dataset("allidb2").subject_rule


def test_crops_of_another_size_are_noted(tmp_path):
    assert any("not 257 x 257 px" in note for note in index2(make2(tmp_path, side=64)).notes)


@pytest.mark.parametrize(("side", "what"), [("0", "from 8"), ("x", "whole number"), ("5.5", "whole number")])
def test_a_side_that_is_no_size_is_refused(tmp_path, side, what):
    with pytest.raises(DatasetError, match=what):
        index1(make1(tmp_path), "centroids", side=side)


@pytest.mark.parametrize("index", [index1, index2])
def test_wrong_folders_say_what_was_expected(tmp_path, index):
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.write_text("")
    with pytest.raises(DatasetError, match="expected the"):
        index(empty)
    with pytest.raises(DatasetError, match="is a file, not a folder"):
        index(file)
    with pytest.raises(DatasetError, match="no such folder"):
        index(tmp_path / "nowhere")
