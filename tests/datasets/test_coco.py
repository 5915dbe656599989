"""COCO: broken files, entries and annotations, segmentations reduced to boxes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import case
from leukoscope.datasets import get_dataset
from leukoscope.datasets.coco import segmentation_edges
from leukoscope.datasets.collector import BadBox
from leukoscope.errors import DatasetError

make = runpy.run_path(str(Path(__file__).parents[1] / "data" / "coco" / "make.py"))["make"]
index = get_dataset("coco").index


def changed(root: Path, change, split: str = "train2017"):
    make(root)
    file = root / "annotations" / f"instances_{split}.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return index(root)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"bbox": [1, 2, 3]}, "4 numbers"), ({"bbox": [1, 2, float("nan"), 4]}, "finite"),
    ({"bbox": [1, 2, "x", 4]}, "'x' is not a number"), ({"bbox": [1, 2, -3, 4]}, "no area"),
    ({"bbox": [500, 2, 3, 4]}, "outside"), ({"bbox": None}, "neither a box nor a segmentation"),
    ({"bbox": [], "segmentation": [[1, 2, 3]]}, "at least three pairs of numbers"), ({"bbox": {"x": 1}}, "4 numbers"),
    ({"category_id": 99}, "no category"), ({"category_id": [1]}, "usable category_id"),
    ({"image_id": 999}, "no image with the id 999"), ({"image_id": None}, "usable image_id"),
    ({"bbox": [0.1, 0.1, 0.5, 0.5]}, "the box has 0.5 x 0.5 px: give px, not shares of the sides of the image"),
    ({"image_id": 10**400}, "has no usable image_id"), ({"bbox": [10**400, 1, 1, 1]}, "is not a number"),
    ({"bbox": [], "segmentation": {"size": [1, 10**400], "counts": [10**399, 1]}}, "not made of a size and counts")])
def test_bad_annotations_are_named_by_their_number(tmp_path, changes, reason):
    found = changed(tmp_path, lambda content: content["annotations"][0].update(changes))
    (where, why), = found.damaged
    assert where.endswith("instances_train2017.json: annotation 1")
    assert reason in why
    assert found.manifest.height == 2


def test_a_bad_annotation_does_not_change_the_ids_of_the_others(tmp_path):
    found = changed(tmp_path, lambda content: content["annotations"][0].update(bbox=[0, 0, 0, 0]))
    assert found.manifest["cell_id"].to_list() == ["train2017/1#2", "val2017/1#1"]


def test_missing_and_damaged_images_are_named(tmp_path):
    make(tmp_path)
    (tmp_path / "val2017" / "1.png").write_bytes(b"")
    (tmp_path / "train2017" / "2.png").unlink()
    found = index(tmp_path)
    assert [m.split(" ")[0] for m in found.missing] == ["2.png"]
    assert [Path(p).name for p, _ in found.damaged] == ["1.png"]


@pytest.mark.parametrize("text", ["", "{", '{"images": [}', "[" * 100_000])
def test_broken_files_are_damaged_and_the_others_kept(tmp_path, text):
    make(tmp_path)
    (tmp_path / "annotations" / "instances_train2017.json").write_text(text)
    found = index(tmp_path)
    assert [Path(p).name for p, _ in found.damaged] == ["instances_train2017.json"]
    assert found.manifest.height == 1


def test_entries_that_are_no_objects_are_named(tmp_path):
    def spoil(content):
        content["images"].append("x")
        content["images"].append(content["images"][0])
        content["categories"].append({"id": 1})
    reasons = [reason for _, reason in changed(tmp_path, spoil).damaged]
    assert reasons == ["expected an object with id and file_name, got str", "the id 100 is used twice",
                       "has no usable name"]


def test_an_image_of_another_size_than_written_is_noted(tmp_path):
    notes = changed(tmp_path, lambda content: content["images"][0].update(width=50, height="x")).notes
    assert not any("the annotation says" in note for note in notes)
    notes = changed(tmp_path, lambda content: content["images"][0].update(width=50)).notes
    assert any("the annotation says 50 x 80" in note for note in notes)


def test_crowds_are_left_out_and_counted(tmp_path):
    found = changed(tmp_path, lambda content: content["annotations"][0].update(iscrowd=1))
    assert found.manifest.height == 2
    assert any("1 crowds are left out" in note for note in found.notes)


def test_an_image_listed_twice_is_indexed_once(tmp_path):
    make(tmp_path)
    annotations = tmp_path / "annotations"
    (annotations / "second_train2017.json").write_text((annotations / "instances_train2017.json").read_text())
    found = index(tmp_path)
    assert found.manifest.height == 3
    assert any("listed twice" in note for note in found.notes)


def test_images_that_no_file_lists_are_reported(tmp_path):
    def leave_out(content):
        gone = content["images"].pop(0)["id"]
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] != gone]
    notes = changed(tmp_path, leave_out).notes
    assert any(note.startswith("1 images are in no JSON file; the first: ") for note in notes)
    assert not any("no JSON file" in note for note in index(make(tmp_path / "whole")).notes)


def test_one_file_may_be_named_and_other_json_is_left_out(tmp_path):
    make(tmp_path)
    (tmp_path / "captions.json").write_text('{"info": 1}')
    assert index(tmp_path, annotations="annotations/instances_val2017.json").manifest.height == 1
    assert any("captions.json" in note for note in index(tmp_path).notes)
    for name, what in (("captions.json", "lists no images"), ("no.json", "no such file"),
                       ("../no.json", "no such file")):
        with pytest.raises(DatasetError, match=what):
            index(tmp_path, annotations=name)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=3, max_size=20))
def test_polygons_are_reduced_to_their_boxes(points):
    xs, ys = zip(*points, strict=True)
    flat = [value for point in points for value in point]
    assert segmentation_edges([flat]) == (min(xs), min(ys), max(xs), max(ys))


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_run_lengths_are_reduced_to_their_boxes(height, width, data):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    marked = [divmod(n, height) for n, bit in enumerate(bits) if bit]
    counts, last = [0], False
    for bit in bits:
        if bit != last:
            counts.append(0)
            last = bit
        counts[-1] += 1
    mask = {"size": [height, width], "counts": counts}
    if not marked:
        with pytest.raises(BadBox, match="mask is empty"):
            segmentation_edges(mask)
        return
    columns, rows = zip(*marked, strict=True)
    expected = (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
    assert segmentation_edges(mask) == expected
    assert segmentation_edges({**mask, "counts": packed(counts)}) == expected


@pytest.mark.parametrize("mask", [
    {}, {"size": [4, 4]}, {"size": [4, 4], "counts": [3, 99]}, {"size": [4, 4], "counts": [-1, 2]},
    {"size": [0, 4], "counts": [0]}, {"size": [4, 4], "counts": "~~"}, {"size": [4, 4], "counts": "\x7f"},
    {"size": "44", "counts": [1]}, {"size": [4, 4], "counts": ["a"]}, {"size": [4, 4], "counts": "o" * 16}])
def test_damaged_run_lengths_are_refused(mask):
    with pytest.raises(BadBox):
        segmentation_edges(mask)


def packed(counts: list[int]) -> str:
    """Counts in COCO's packed form, by its definition: differences from the third on, 5 bits in each character."""
    text = ""
    for position, count in enumerate(counts):
        value = count - counts[position - 2] if position > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + (bits | 32 if more else bits))
            if not more:
                break
    return text


def test_a_category_id_that_is_used_twice_is_damaged_with_its_annotations(tmp_path):
    def spoil(content):
        first, *_ = content["categories"]
        content["categories"].append(first | {"name": "another"})
    found = changed(tmp_path, spoil)
    assert "is used twice, for 'neutrophil' and 'another'" in found.damaged[0][1]
    assert "another" not in found.found
    assert all("may be 'neutrophil' or 'another'" in reason for _, reason in found.damaged[1:])
    with pytest.raises(DatasetError, match=r"damaged.*the id 3 is used twice, for 'WBC' and 'RBC'"):
        index(case("lab/17-coco-double-id", tmp_path))


def test_an_image_id_that_is_used_twice_gives_its_boxes_to_neither(tmp_path):
    def spoil(content):
        content["images"][1]["id"] = content["images"][0]["id"]
    found = changed(tmp_path, spoil)
    assert "is used twice" in found.damaged[0][1]
    assert found.manifest["cell_id"].to_list() == ["val2017/1#1"]


@pytest.mark.parametrize("where", ["images", "categories"])
def test_a_name_that_is_no_text_is_damaged(tmp_path, where):
    key = "file_name" if where == "images" else "name"
    found = changed(tmp_path, lambda content: content[where][0].update({key: "a\ud800"}))
    assert any(reason == f"has no usable {key}" for _, reason in found.damaged)


def test_a_file_of_millions_of_parts_is_damaged_before_it_is_read(tmp_path):
    make(tmp_path)
    (tmp_path / "more.json").write_text('{"images":[' + "[]," * 2_100_000 + '1],"annotations":[],"categories":[]}')
    found = index(tmp_path)
    assert found.manifest.height == 3
    assert any("lists and objects, and at most 2,000,000 are read" in why for _, why in found.damaged)
