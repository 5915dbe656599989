"""Boxes: the same box through YOLO, VOC and COCO, and every way in which one can be wrong."""

from __future__ import annotations

import contextlib
import math
import runpy
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukoscope.datasets import get_dataset
from leukoscope.datasets.collector import BadBox, pixel_box
from leukoscope.datasets.voc import BadAnnotation, read_annotation
from leukoscope.datasets.yolo import parse_line
from leukoscope.errors import DatasetError

DATA = Path(__file__).parents[1] / "data"
made = {name: runpy.run_path(str(DATA / name / "make.py")) for name in ("yolo", "voc", "coco")}
index = {name: get_dataset(name).index for name in made}
BOX = ["x", "y", "width", "height"]
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i}\n" + "".join(f"  k{j}: {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for j in range(9))
    for i in range(1, 30)) + "names: {<<: *a29}"
"""A file of YAML of a few kilobytes that unfolds to 9^29 entries."""


@st.composite
def boxes_in_images(draw):
    """An image size and a whole-px box inside it."""
    width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


class TestPixelBox:
    @given(boxes_in_images())
    def test_a_box_inside_is_itself(self, case):
        size, (x, y, w, h) = case
        assert pixel_box(x, y, x + w, y + h, size) == (x, y, w, h, False)

    @given(boxes_in_images())
    def test_a_box_survives_six_digits_of_yolo(self, case):
        (width, height), box = case
        line = parse_line(1, made["yolo"]["line"]((0, *box), width, height))
        assert line is not None
        left, top, right, bottom = line.edges
        edges = (left * width, top * height, right * width, bottom * height)
        assert pixel_box(*edges, size=(width, height))[:4] == box

    @given(st.tuples(*[st.floats(-1e4, 1e4)] * 4), st.integers(1, 3000), st.integers(1, 3000))
    def test_what_is_kept_lies_inside_and_is_the_part_of_the_box_that_does(self, edges, width, height):
        try:
            box = pixel_box(*edges, size=(width, height))
        except BadBox:
            left, top, right, bottom = (math.floor(edge + 0.5) for edge in edges)
            assert right <= left or bottom <= top or right <= 0 or bottom <= 0 or left >= width or top >= height
            return
        assert 0 <= box.x < box.x + box.width <= width
        assert 0 <= box.y < box.y + box.height <= height
        for edge, kept, side in ((edges[0], box.x, width), (edges[2], box.x + box.width, width),
                                 (edges[1], box.y, height), (edges[3], box.y + box.height, height)):
            assert abs(min(max(edge, 0), side) - kept) <= 0.5

    @given(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 4))
    def test_no_numbers_whatever_end_in_a_traceback(self, edges):
        usable = False
        with contextlib.suppress(BadBox):
            usable = pixel_box(*edges, size=(100, 80)).width > 0
        assert not usable or all(map(math.isfinite, edges))


@pytest.mark.parametrize("name", ["yolo", "voc", "coco"])
def test_labels_and_boxes_come_back_as_they_were_drawn(tmp_path, name):
    root = made[name]["make"](tmp_path)
    names = made["yolo"]["NAMES"]
    drawn = sorted((Path(field).name, names[kind] if name == "yolo" else kind, *box)
                   for field, boxes in made[name]["USUAL"].items() for kind, *box in boxes)
    cells = index[name](root).manifest
    stems = [Path(image).stem for image in cells["image"]]
    assert sorted(zip(stems, *(cells[c] for c in ("label", *BOX)), strict=True)) == drawn
    assert cells["group"].to_list() == cells["field"].to_list()
    assert cells["source"].unique().to_list() == [tmp_path.name]


@pytest.mark.parametrize("name", ["yolo", "voc", "coco"])
def test_a_field_view_lists_the_fields_without_cells_too(tmp_path, name):
    fields = index[name](made[name]["make"](tmp_path), "fields").manifest
    assert fields.height == len(made[name]["USUAL"])
    assert fields["label"].null_count() == fields.height
    assert fields["width"].null_count() == fields.height


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 89), st.integers(0, 69), st.integers(1, 10), st.integers(1, 10)),
                min_size=1, max_size=4))
def test_the_three_layouts_agree(tmp_path_factory, boxes):
    root = tmp_path_factory.mktemp("agree")
    made["yolo"]["make"](root / "y", {"train/a": [(0, *box) for box in boxes]})
    made["voc"]["make"](root / "v", {"a": [("neutrophil", *box) for box in boxes]})
    made["coco"]["make"](root / "c", {"train2017/a": [("neutrophil", *box) for box in boxes]})
    found = [index[name](root / name[0]).manifest.select("label", *BOX).rows() for name in made]
    assert found[0] == found[1] == found[2] == [("neutrophil", *box) for box in boxes]


@pytest.mark.parametrize("name", ["yolo", "voc", "coco"])
def test_splits_come_from_folders_and_lists(tmp_path, name):
    cells = index[name](made[name]["make"](tmp_path), "fields").manifest
    splits = set(cells.select(pl.col("image").map_elements(lambda p: Path(p).stem, pl.String), "split").iter_rows())
    assert splits == {"yolo": {("a 1", "train"), ("b", "train"), ("a 1", "validation"), ("ü", "test")},
                      "voc": {("field 1", "train"), ("empty", "train"), ("field_2", "validation")},
                      "coco": {("1", "train"), ("2", "train"), ("1", "validation")}}[name]


@pytest.mark.parametrize("name", ["yolo", "voc", "coco"])
def test_the_pattern_gives_groups_in_place_of_the_field(tmp_path, name):
    cells = index[name](made[name]["make"](tmp_path), pattern=r"(?P<group>[a-z]+|\d)[ _]?\d*\.").manifest
    assert cells["group"].to_list() != cells["field"].to_list()


class TestYolo:
    def one(self, root: Path, text: str, **options):
        made["yolo"]["make"](root, {"train/a": ((0, 1, 1, 5, 5),), "train/b": ((1, 2, 2, 9, 9),)})
        (root / "labels" / "train" / "a.txt").write_text(text)
        return index["yolo"](root, **options)

    @pytest.mark.parametrize(("line", "reason"), [
        ("0 nan 0.5 0.1 0.1", "finite"), ("0 inf 0.5 0.1 0.1", "finite"), ("0 0.5 0.5 -0.1 0.1", "no area"),
        ("0 0.5 0.5 0 0.1", "no area"), ("0 1.5 0.5 0.1 0.1", "outside the image of 100 x 80"),
        ("0 50 40 10 10", "outside"), ("0 0.5 0.5 0.1", "got 4"), ("0 0.5 0.5 0.1 0.1 0.9", "got 6"),
        ("-1 0.5 0.5 0.1 0.1", "whole number from 0"), ("0.5 0.5 0.5 0.1 0.1", "whole number from 0"),
        ("nan 0.5 0.5 0.1 0.1", "must be a whole number from 0"), ("cell 0.5 0.5 0.1 0.1", "'cell' is not a number"),
        ("3 0.5 0.5 0.1 0.1", "class 3 has no name"), ("0 0 0 nan 1 1 1", "finite")])
    def test_bad_lines_are_named_and_the_others_kept(self, tmp_path, line, reason):
        found = self.one(tmp_path, f"\n{line}\n0 0.5 0.5 0.1 0.1\n")
        (where, why), = found.damaged
        assert Path(where).name == "a.txt:2"
        assert reason in why
        assert found.manifest["cell_id"].to_list() == ["images/train/a#3", "images/train/b#1"]

    def test_a_box_partly_outside_is_clipped_and_counted(self, tmp_path):
        found = self.one(tmp_path, "0 0 0 0.2 0.2\n")
        assert found.manifest.select(BOX).row(0) == (0, 0, 10, 8)
        assert any(note.startswith("1 boxes extend beyond") for note in found.notes)

    def test_polygons_are_reduced_to_their_boxes(self, tmp_path):
        found = self.one(tmp_path, "2 0.1 0.25 0.3 0.25 0.2 0.5\n")
        assert found.manifest.select("label", *BOX).row(0) == ("monocyte", 10, 20, 20, 20)

    def test_a_label_file_that_is_no_text_is_damaged_and_an_empty_one_is_a_field_without_cells(self, tmp_path):
        made["yolo"]["make"](tmp_path)
        (tmp_path / "labels" / "train" / "b.txt").write_bytes(b"\xff\x00\x01")
        assert [(Path(p).name, r) for p, r in index["yolo"](tmp_path).damaged] == [
            ("b.txt", "not a text file in UTF-8")]

    def test_missing_images_and_labels_are_named(self, tmp_path):
        made["yolo"]["make"](tmp_path)
        (tmp_path / "images" / "train" / "b.png").unlink()
        (tmp_path / "labels" / "test" / "ü.txt").unlink()
        (tmp_path / "images" / "val" / "a 1.png").write_bytes(b"\x89PNG\r\n")
        found = index["yolo"](tmp_path)
        assert [Path(m).name for m in found.missing] == ["b.txt"]
        assert [Path(p).name for p, _ in found.damaged] == ["a 1.png"]
        assert any("have no label file" in note and "ü.png" in note for note in found.notes)

    def test_masks_in_a_folder_of_labels_are_no_images(self, tmp_path):
        made["yolo"]["make"](tmp_path)
        mask = tmp_path / "labels" / "train" / "b.png"
        mask.write_bytes((tmp_path / "images" / "train" / "b.png").read_bytes())
        found = index["yolo"](tmp_path)
        assert found.manifest.height == 4
        assert any("are in a folder of labels" in note for note in found.notes)

    def test_labels_are_found_in_every_usual_place(self, tmp_path):
        fields = {"train/a": ((0, 1, 2, 3, 4),)}
        made["yolo"]["make"](tmp_path / "first", fields, split_first=True)
        beside = made["yolo"]["make"](tmp_path / "beside", fields)
        (beside / "labels" / "train" / "a.txt").rename(beside / "images" / "train" / "a.txt")
        above = made["yolo"]["make"](tmp_path / "above", fields, split_first=True)
        (above / "labels").mkdir()
        (above / "train" / "labels" / "a.txt").rename(above / "labels" / "a.txt")
        for place in ("first", "beside", "above"):
            found = index["yolo"](tmp_path / place)
            assert found.manifest.select("split", *BOX).rows() == [("train", 1, 2, 3, 4)]
            assert found.missing == ()

    @pytest.mark.parametrize(("file", "text"), [
        ("data.yaml", "names: [a, 'b c', ü]"), ("data.yaml", "nc: 3\nnames:\n  0: a\n  1: b c\n  2: ü\n"),
        ("classes.txt", "a\nb c\nü\n\n"), ("obj.names", "a\nb c\nü")])
    def test_names_come_from_any_of_the_usual_files(self, tmp_path, file, text):
        made["yolo"]["make"](tmp_path)
        (tmp_path / "data.yaml").unlink()
        (tmp_path / file).write_text(text, encoding="utf-8")
        assert set(index["yolo"](tmp_path).found) == {"a", "b c", "ü"}

    def test_names_are_text_as_it_is_written(self, tmp_path):
        made["yolo"]["make"](tmp_path)
        (tmp_path / "data.yaml").write_text("names: [no, 1.0, null]")
        assert set(index["yolo"](tmp_path).found) <= {"no", "1.0", "null"}

    def test_names_come_from_the_option_first_and_numbers_where_there_are_none(self, tmp_path):
        made["yolo"]["make"](tmp_path)
        assert set(index["yolo"](tmp_path, classes="x, y,z").found) == {"x", "y", "z"}
        many = [f"type{n}" for n in range(300)]
        assert set(index["yolo"](tmp_path, classes=",".join(many)).found) == set(many[:3])
        (tmp_path / "list.txt").write_text("p\nq\nr\n")
        assert set(index["yolo"](tmp_path, classes="list.txt").found) == {"p", "q", "r"}
        (tmp_path / "data.yaml").unlink()
        found = index["yolo"](tmp_path)
        assert set(found.found) == {"0", "1", "2"}
        assert any("name them with the option classes" in note for note in found.notes)

    @pytest.mark.parametrize("text", [
        "names: [a", "names: 3", "- a", "", "names: [[a, b]]", "names: {x: a}", "names: ['', b, c]",
        "a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b, *b]", "\x00", MERGE_BOMB, "names: " + "[" * 50_000,
        "names: {0: a, 0: b}", "names: {1: a, 01: b}", "names: [a]\nnames: [b]", 'names: ["\\ud800"]',
        "names:\n  <<: {0: a}\n  1: b", "names: {? [0, 1] : a}",
        "names: {0: {0: a}}", "names: {" + ", ".join(f"{i}: a" for i in range(5_000)) + "}", "#" * 200_000])
    def test_a_names_file_that_holds_none_is_refused(self, tmp_path, text):
        made["yolo"]["make"](tmp_path)
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(DatasetError, match=r"data.yaml"):
            index["yolo"](tmp_path)


class TestVoc:
    def test_corners_may_be_edges_counted_from_0(self, tmp_path):
        made["voc"]["make"](tmp_path, {"a": [("x", 5, 6, 7, 8)]}, shift=0)
        assert index["voc"](tmp_path, first_pixel="0").manifest.select(BOX).rows() == [(5, 6, 7, 8)]

    @pytest.mark.parametrize(("text", "reason"), [
        ("", "the file is empty"), ("<annotation><object>", "not valid XML"), ("<html/>", "the tag 'annotation'"),
        ("\x00\x01", "not valid XML"),
        ('<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;">]><annotation>&z;</annotation>', "document type"),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "not valid"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "not valid XML")])
    def test_damaged_annotations_are_named_and_the_others_kept(self, tmp_path, text, reason):
        made["voc"]["make"](tmp_path)
        (tmp_path / "Annotations" / "field 1.xml").write_text(text)
        found = index["voc"](tmp_path)
        (path, why), = found.damaged
        assert Path(path).name == "field 1.xml"
        assert reason in why
        assert found.manifest.height == 1

    def test_a_document_type_is_refused_in_utf_16_too(self, tmp_path):
        file = tmp_path / "a.xml"
        file.write_bytes('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><annotation/>'.encode("utf-16"))
        with pytest.raises(BadAnnotation, match="document type"):
            read_annotation(file)

    @pytest.mark.parametrize(("thing", "reason"), [
        ("<object><name>x</name></object>", "has no xmin"),
        ("<object><bndbox/></object>", "has no name"),
        ("<object><name>x</name><bndbox><xmin>a</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>",
         "'a' is not a number"),
        ("<object><name>x</name><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>",
         "no area"),
        ("<object><name>x</name><bndbox><xmin>200</xmin><ymin>1</ymin><xmax>210</xmax><ymax>2</ymax></bndbox></object>",
         "outside")])
    def test_bad_objects_are_named_by_their_number(self, tmp_path, thing, reason):
        made["voc"]["make"](tmp_path)
        file = tmp_path / "Annotations" / "field 1.xml"
        file.write_text(file.read_text(encoding="utf-8").replace("</size>", f"</size>{thing}"), encoding="utf-8")
        found = index["voc"](tmp_path)
        (where, why), = found.damaged
        assert where.endswith("field 1.xml: object 1")
        assert reason in why
        assert "JPEGImages/field 1#2" in found.manifest["cell_id"].to_list()

    def test_images_are_found_by_the_annotations_name_when_the_written_one_is_stale(self, tmp_path):
        made["voc"]["make"](tmp_path)
        file = tmp_path / "Annotations" / "field 1.xml"
        file.write_text(file.read_text(encoding="utf-8").replace("field 1.jpg", "C:\\old\\IMG.jpg"), encoding="utf-8")
        (tmp_path / "JPEGImages" / "field_2.jpg").unlink()
        (tmp_path / "JPEGImages" / "more.jpg").write_bytes((tmp_path / "JPEGImages" / "empty.jpg").read_bytes())
        found = index["voc"](tmp_path)
        assert found.found == {"WBC": 1, "Zelle <ä>": 1}
        assert len(found.missing) == 1
        assert found.missing[0].startswith("field_2.jpg ")
        assert any("another file than the image that is used" in note for note in found.notes)
        assert any("have no annotation" in note and "more.jpg" in note for note in found.notes)

    def test_equal_names_in_two_splits_go_with_their_own_annotations(self, tmp_path):
        for part, x in (("train", 1), ("test", 50)):
            folder = tmp_path / part
            made["voc"]["make"](folder, {"a": [("x", x, 2, 3, 4)]}, lists={})
        cells = index["voc"](tmp_path).manifest
        assert sorted(cells.select("split", "x").rows()) == [("test", 50), ("train", 1)]
        assert cells["cell_id"].n_unique() == 2

    def test_an_image_of_another_size_than_written_is_noted(self, tmp_path):
        made["voc"]["make"](tmp_path)
        file = tmp_path / "Annotations" / "field 1.xml"
        file.write_text(file.read_text(encoding="utf-8").replace("<width>100<", "<width>640<"), encoding="utf-8")
        notes = index["voc"](tmp_path).notes
        assert any(n.startswith("1 images do not have the size") and "the annotation says 640 x 80" in n for n in notes)

    def test_names_in_the_lists_of_two_splits_get_none(self, tmp_path):
        made["voc"]["make"](tmp_path, lists={"train": ("field 1", "field_2"), "test": ("field_2",)})
        found = index["voc"](tmp_path, "fields")
        assert any("lists of two splits" in note for note in found.notes)
        assert found.manifest.filter(pl.col("cell_id").str.contains("field_2"))["split"].to_list() == [None]

    def test_the_boxes_of_a_real_set_are_those_of_its_own_reader(self, data_folder):
        root = data_folder / "bccd" / "BCCD"
        own = get_dataset("bccd").index(root, "boxes").manifest
        general = index["voc"](root).manifest.filter((pl.col("width") >= 2) & (pl.col("height") >= 2))
        key = ["image", *BOX]
        assert sorted(own.select(key).rows()) == sorted(general.select(key).rows())
