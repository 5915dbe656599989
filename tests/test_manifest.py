"""The manifest stores what it is given, and refuses wrong values by row and column."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import case
from leukoscope.errors import ManifestError
from leukoscope.manifest import SCHEMA, make_manifest, read_manifest, write_manifest, write_table
from leukoscope.tables import harmless, restored

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


HARMFUL = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''@", "\uff1d1", '=HYPERLINK("x")', "=1,2")


@pytest.mark.parametrize("text", HARMFUL)
def test_what_a_spreadsheet_would_compute_is_harmless_in_csv_and_comes_back(tmp_path, text):
    rows = [CELL | {"cell_id": text, "label": text, "subject": "s", text: text, "number": -1.5}, CELL | {"label": "b"}]
    manifest = make_manifest(rows)
    write_manifest(manifest, tmp_path / "m.csv")
    stored = pl.read_csv(tmp_path / "m.csv", infer_schema=False)
    assert stored["label"].to_list() == [f"'{text}", "b"]
    assert stored["number"].to_list() == ["-1.5", None]
    assert not any(name[0] in "=+-@\t\r\uff1d" for name in stored.columns)
    back = read_manifest(tmp_path / "m.csv")
    assert back["cell_id"].to_list() == [text, "a"]
    if text.strip() == text:  # blanks around labels are no part of them
        assert back["label"].to_list() == [text, "b"]
        assert back[text].to_list() == [text, None]
    write_manifest(manifest, tmp_path / "m.parquet")
    assert pl.read_parquet(tmp_path / "m.parquet")["label"].to_list() == [text, "b"]


@given(st.lists(st.text("'=+-@a ", min_size=1, max_size=5), min_size=1))
def test_harmless_texts_come_back(texts):
    frame = pl.DataFrame({"a": texts})
    safe = harmless(frame)["a"]
    assert not any(text[0] in "=+-@" for text in safe)
    assert restored(safe).to_list() == texts


@pytest.mark.parametrize(("column", "values"), [
    ("label", [[1, 2]]), ("label", [b"\xff\x00"]), ("subject", [{"a": 1}]), ("cell_id", [[1]]), ("x", [[1]]),
    ("x", [{"a": 1}]), ("x", [True]), ("x", [1.5]), ("split", [b"\xff"]), ("image", [None]), ("cell_id", [b"\xff"])])
def test_columns_of_other_types_are_refused_by_name(tmp_path, column, values):
    box = dict.fromkeys(("x", "y", "width", "height"), 1)
    frame = pl.DataFrame([CELL | box]).with_columns(pl.Series(column, values))
    frame.write_parquet(tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match=f"m.parquet: column '{column}'"):
        read_manifest(tmp_path / "m.parquet")


def test_damaged_parquet_never_ends_in_a_traceback(tmp_path):
    make_manifest([CELL | {"cell_id": str(i), "label": "ab"[i % 2]} for i in range(50)]).write_parquet(
        tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(150):
        content = bytearray(good)
        for at in rng.integers(0, len(good), rng.integers(1, 9)):
            content[at] = rng.integers(0, 256)
        content = content[:rng.integers(1, len(good))] if rng.random() < 0.2 else content
        (tmp_path / "m.parquet").write_bytes(bytes(content))
        with contextlib.suppress(ManifestError):
            read_manifest(tmp_path / "m.parquet")
            read += 1
    assert read < 150  # some damage is noticed, and as a ManifestError: any other error ends this test


@pytest.mark.parametrize("name", ["bin", "list", "xlist"])
def test_the_cases_of_other_types(tmp_path, name):
    with pytest.raises(ManifestError, match=f"{name}.parquet: column"):
        read_manifest(case("attack/03-manifest-parquet", tmp_path) / f"{name}.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_full_disk_is_one_line_that_names_the_table(tmp_path, suffix):
    """A limit on the size of files, in a process of its own, stands in for the full disk."""
    code = ("import resource, signal, sys, polars as pl\nfrom leukoscope.manifest import write_table\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
            "try: write_table(pl.DataFrame({'a': [f'{i * 7919 % 99991:07d}' * 3 for i in range(5000)]}), sys.argv[1])\n"
            "except OSError as error: print(error.errno, error.filename)\n")
    out = tmp_path / f"t{suffix}"
    done = subprocess.run([sys.executable, "-c", code, str(out)], check=False, capture_output=True, text=True)
    assert done.stdout.split() == [str(errno.EFBIG), str(out)], done.stderr
    assert list(tmp_path.iterdir()) == []
