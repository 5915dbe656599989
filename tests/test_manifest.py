"""The manifest stores what it is given, and refuses wrong values by row and column."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leukoscope.errors import ManifestError
from leukoscope.manifest import SCHEMA, make_manifest, read_manifest, split_unit, write_manifest, write_table

CELL = {"cell_id": "a", "image": "a.png"}


def test_columns_have_the_order_and_type_of_the_schema_and_further_ones_stay():
    manifest = make_manifest([CELL | {"fine_label": "SNE", "x": 1, "y": 2, "width": 3, "height": 4}])
    assert manifest.columns == [*SCHEMA, "fine_label"]
    assert [manifest.schema[name] for name in SCHEMA] == list(SCHEMA.values())
    assert manifest.row(0, named=True)["fine_label"] == "SNE"


@pytest.mark.parametrize(("rows", "message"), [
    ([{"image": "a.png"}], "no column 'cell_id'"),
    ([{"cell_id": "a"}], "no column 'image'"),
    ([CELL, CELL], "cell_id 'a' is used in 2 rows"),
    ([CELL, {"cell_id": "b", "image": ""}], "column 'image' is empty in row 2"),
    ([CELL | {"x": 1}], r"row 1 \('a'\) has an incomplete box"),
    ([CELL | {"x": 1, "y": 1, "width": 0, "height": 2}], "box without area"),
    ([CELL | {"x": "left", "y": 1, "width": 1, "height": 2}], "column 'x', row 1: 'left' is not of type Int32"),
    ([CELL | {"x": 2**40, "y": 1, "width": 1, "height": 2}], "column 'x', row 1"),
])
def test_a_bad_row_is_named(rows, message):
    with pytest.raises(ManifestError, match=message):
        make_manifest(rows)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_manifest_moves_with_its_images(tmp_path, suffix):
    (tmp_path / "here").mkdir()
    rows = [CELL | {"image": str(tmp_path / "here" / "a.png"), "subject": "007"},
            {"cell_id": "b", "image": "/else/b.png"}]
    write_manifest(make_manifest(rows), tmp_path / "here" / f"cells{suffix}")
    (tmp_path / "here").rename(tmp_path / "there")
    manifest = read_manifest(tmp_path / "there" / f"cells{suffix}")
    assert manifest["image"].to_list() == [str(tmp_path / "there" / "a.png"), "/else/b.png"]
    assert manifest["subject"].to_list() == ["007", None]
    assert manifest["mask"].to_list() == [None, None]


def test_ids_of_a_csv_stay_text_and_empty_values_are_null(tmp_path):
    (tmp_path / "m.csv").write_text('cell_id,image,label,subject,split,original\n001,a.png,x,"",,\n'
                                    '002,a.png,x,"",,001\n')
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest["original"].to_list() == [None, "001"]
    assert manifest["subject"].to_list() == [None, None]  # not one subject without a name


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1), min_size=1,
                unique=True))
def test_any_text_is_written_and_read_unchanged(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("round")
    manifest = make_manifest([{"cell_id": i, "image": "/x.png", "label": i} for i in ids])
    write_manifest(manifest, folder / "m.parquet")
    assert read_manifest(folder / "m.parquet").equals(manifest)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("none.parquet", None, "no such file"),
    ("empty.csv", b"", "not a readable table"),
    ("empty.parquet", b"", "not a readable table"),
    ("cut.parquet", b"PAR1 and then nothing", "not a readable table"),
    ("head.csv", b"cell_id,image\n", "has no rows"),
    ("cells.xlsx", b"x", r"written as \.parquet or \.csv"),
    ("other.csv", b"name,file\na,b\n", "other.csv: the manifest has no column 'cell_id'"),
])
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / name)


def test_an_unknown_suffix_is_refused_before_writing(tmp_path):
    with pytest.raises(ManifestError, match=r"end the name in \.parquet or \.csv"):
        write_table(pl.DataFrame({"a": [1]}), tmp_path / "a.xls")


def test_the_unit_is_group_then_subject_then_cell():
    manifest = make_manifest([CELL | {"subject": "s", "group": "g"}, {"cell_id": "b", "image": "b", "subject": "s"},
                              {"cell_id": "s", "image": "c"}])
    assert manifest.select(split_unit())["unit"].to_list() == ["group:g", "subject:s", "cell:s"]
