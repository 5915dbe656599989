"""BCCD: Pascal VOC corners, official lists, masks, boxes that are wrong, and the typed crops."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from leukoscope.datasets import bccd
from leukoscope.datasets.collector import BadBox, pixel_box
from leukoscope.errors import DatasetError
from leukoscope.images.read import read_image, read_mask

_make = runpy.run_path(str(Path(__file__).parents[1] / "data" / "bccd" / "make.py"))
make, make_crops = _make["make"], _make["make_crops"]


def test_a_box_holds_the_pixels_between_its_corners_both_inside(tmp_path: Path):
    cells = bccd.index(make(tmp_path, fields=1), "boxes").manifest
    boxes = {label: box for label, *box in cells.select("label", "x", "y", "width", "height").iter_rows()}
    assert boxes == {"leukocyte": [20, 10, 40, 40], "erythrocyte": [0, 60, 20, 20], "platelet": [69, 69, 6, 7]}


@pytest.mark.parametrize("above", [False, True])
def test_fields_are_groups_and_official_lists_are_the_split(tmp_path: Path, above: bool):
    folder = make(tmp_path, fields=6)
    index = bccd.index(tmp_path if above else folder)
    cells = index.manifest
    assert index.found == {"leukocyte": 6}
    assert cells["group"].to_list() == cells["field"].to_list() == [f"BloodImage_{n:05d}" for n in range(6)]
    assert cells["split"].to_list() == ["train", "validation", "test"] * 2
    assert all(read_mask(path).shape == (80, 96) for path in cells["mask"])
    assert index.missing == ("358 of 364 fields",)


def test_boxes_outside_are_clipped_or_named(tmp_path: Path):
    own = {0: [("WBC", -3, 0, 20, 90), ("RBC", 50, 50, 50, 50), ("RBC", 97, 1, 120, 20), ("RBC", 30, 30, 20, 40),
               ("Parasite", 1, 1, 9, 9), ("WBC", 1, 1, 96, 80)]}
    index = bccd.index(make(tmp_path, fields=1, boxes=own), "boxes")
    assert [tuple(row) for row in index.manifest.select("x", "y", "width", "height").iter_rows()] == [
        (0, 0, 20, 80), (0, 0, 96, 80)]
    assert any("object 1" in note and "clipped" in note for note in index.notes)
    assert [Path(where).name for where, _ in index.damaged] == [
        f"BloodImage_00000.xml: object {number}" for number in (2, 3, 4, 5)]
    assert "expected one of WBC, RBC, Platelets" in index.damaged[3][1]


@given(corners=st.lists(st.integers(-200, 300), min_size=4, max_size=4), width=st.integers(1, 120),
       height=st.integers(1, 120))
def test_a_clipped_box_never_leaves_its_image(corners: list[int], width: int, height: int):
    inside = np.zeros((height, width), bool)
    columns, rows = np.arange(1, width + 1), np.arange(1, height + 1)
    left, top, right, bottom = corners
    inside[np.ix_((rows >= top) & (rows <= bottom), (columns >= left) & (columns <= right))] = True
    try:
        x, y, w, h, _ = pixel_box(left - 1, top - 1, right, bottom, (width, height))
    except BadBox:
        assert not inside.any()
        return
    assert w > 0
    assert h > 0
    assert inside[y:y + h, x:x + w].all()
    assert inside.sum() == w * h


def test_damaged_parts_are_named_and_the_rest_is_read(tmp_path: Path):
    folder = make(tmp_path, fields=7)
    (folder / "JPEGImages" / "BloodImage_00000.jpg").unlink()
    (folder / "Annotations" / "BloodImage_00001.xml").unlink()
    (folder / "JPEGImages" / "BloodImage_00002.jpg").write_bytes(b"")
    (folder / "Annotations" / "BloodImage_00003.xml").write_text("<annotation><object>")
    text = (folder / "Annotations" / "BloodImage_00004.xml").read_text()
    (folder / "Annotations" / "BloodImage_00004.xml").write_text(text.replace("<xmin>21</xmin>", "<xmin>left</xmin>"))
    (tmp_path / "nucleus_masks" / "BloodImage_Mask_00005.png").write_bytes(b"")
    Image.new("L", (10, 10)).save(tmp_path / "nucleus_masks" / "BloodImage_Mask_00006.png")
    index = bccd.index(tmp_path)
    assert index.manifest["field"].to_list() == ["BloodImage_00005", "BloodImage_00006"]
    assert index.manifest["mask"].to_list() == [None, None]
    assert {"BloodImage_00000: image", "BloodImage_00001: annotation"} <= set(index.missing)
    assert Counter(Path(path).name for path, _ in index.damaged) == Counter([
        "BloodImage_00002.jpg", "BloodImage_00003.xml", "BloodImage_00004.xml: object 1", "BloodImage_Mask_00005.png",
        "BloodImage_Mask_00006.png"])


def test_an_annotation_that_declares_entities_is_refused(tmp_path: Path):
    folder = make(tmp_path, fields=2)
    (folder / "Annotations" / "BloodImage_00000.xml").write_text(
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation><object><name>&b;</name></object></annotation>')
    index = bccd.index(folder)
    assert [Path(path).name for path, _ in index.damaged] == ["BloodImage_00000.xml"]
    assert "entities" in index.damaged[0][1]


def test_a_size_that_the_image_does_not_have_is_noted(tmp_path: Path):
    folder = make(tmp_path, fields=1)
    path = folder / "Annotations" / "BloodImage_00000.xml"
    path.write_text(path.read_text().replace("<width>96</width>", "<width>640</width>"))
    assert any("640 x 80" in note and "96 x 80" in note for note in bccd.index(folder).notes)


def test_fields_without_leukocytes_and_unlisted_fields_are_named(tmp_path: Path):
    folder = make(tmp_path, fields=3, boxes={1: [("RBC", 1, 1, 20, 20)]})
    (folder / "ImageSets" / "Main" / "train.txt").write_text("")
    notes = " / ".join(bccd.index(folder).notes)
    assert "fields without leukocytes: BloodImage_00001" in notes
    assert "in no official list (split is empty): BloodImage_00000" in notes


def test_no_box_at_all_is_an_error(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"contains no usable cell.*expected the folders Annotations and JPEG"):
        bccd.index(make(tmp_path, fields=1, boxes={0: []}))
    with pytest.raises(DatasetError, match="no field has a leukocyte"):
        bccd.index(make(tmp_path / "red", fields=1, boxes={0: [("RBC", 1, 1, 9, 9)]}))
    with pytest.raises(DatasetError, match="Annotations and JPEGImages"):
        bccd.index(tmp_path / "BCCD" / "Annotations")


def test_crops_share_the_group_of_their_field(tmp_path: Path):
    make_crops(tmp_path, per_type=2)
    (tmp_path / "bccd5" / "Monocyte" / "mine.jpg").write_bytes(
        (tmp_path / "bccd5" / "Monocyte" / "BloodImage_00006_1.jpg").read_bytes())
    index = bccd.index(tmp_path, "five")
    assert index.found == dict.fromkeys(sorted(bccd.FIVE), 2)
    first = index.manifest.filter(pl.col("cell_id") == "eosinophil/BloodImage_00002_1.jpg").row(0, named=True)
    assert first["group"] == first["field"] == "BloodImage_00002"
    assert [Path(path).name for path, _ in index.damaged] == ["mine.jpg"]


def test_the_real_fields_and_boxes(data_folder: Path):
    index = bccd.index(data_folder / "bccd", "boxes")
    assert index.found == {"erythrocyte": 4153, "leukocyte": 372, "platelet": 361}
    assert index.missing == ()
    assert [(Path(path).stem, "1 x 1 px" in reason) for path, reason in index.damaged] == [
        ("BloodImage_00338", True), ("BloodImage_00343", True)]
    fields = index.manifest.group_by("field").agg(pl.col("split").first())
    assert dict(fields.group_by("split").len().iter_rows()) == {"train": 205, "validation": 87, "test": 72}
    assert index.manifest["mask"].null_count() == 0


def test_nuclei_of_the_real_masks_lie_in_the_leukocyte_boxes(data_folder: Path):
    cells = bccd.index(data_folder / "bccd").manifest.head(40)
    shares = []
    for row in cells.iter_rows(named=True):
        mask = read_mask(row["mask"])
        assert mask.shape == read_image(row["image"]).shape[:2]
        box = mask[row["y"]:row["y"] + row["height"], row["x"]:row["x"] + row["width"]]
        shares.append(box.sum() / max(mask.sum(), 1))
    assert np.median(shares) > 0.99


def test_the_real_crops_and_the_fields_without_leukocytes(data_folder: Path):
    index = bccd.index(data_folder / "bccd5", "five")
    assert index.found == dict(sorted(bccd.FIVE.items()))
    assert index.manifest["group"].n_unique() == 351
    notes = bccd.index(data_folder / "bccd").notes
    assert notes == ("fields without leukocytes: BloodImage_00133, BloodImage_00135, BloodImage_00171, "
                     "BloodImage_00178, BloodImage_00228, BloodImage_00327",)
