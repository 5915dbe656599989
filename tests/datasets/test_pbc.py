"""PBC, and what all readers share: names, views, folders, header checks."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from leukoscope.datasets import base, get_dataset, pbc
from leukoscope.errors import DatasetError
from leukoscope.manifest import read_manifest, write_manifest

make = runpy.run_path(str(Path(__file__).parents[1] / "data" / "pbc" / "make.py"))["make"]

OURS = ("pbc", "bccd", "cnmc", "bloodmnist", "lmu", "mll")


def test_the_published_counts_add_up_to_the_published_total():
    assert sum(pbc.COUNTS.values()) == 17_092


@pytest.mark.parametrize("above", [False, True])
def test_every_cell_is_indexed_under_its_folder(tmp_path: Path, above: bool):
    folder = make(tmp_path / "unpacked", per_class=4)
    index = pbc.index(tmp_path if above else folder)
    assert index.found == dict.fromkeys(pbc.COUNTS, 4)
    assert index.expected == pbc.COUNTS
    assert index.missing == tuple(f"{label}: {count - 4:,} of {count:,} images" for label, count in pbc.COUNTS.items())
    assert index.damaged == ()
    cells = index.manifest
    assert cells["subject"].null_count() == cells["group"].null_count() == cells.height
    assert cells["source"].unique().to_list() == ["pbc"]
    assert all(Path(image).is_file() for image in cells["image"])


def test_prefixes_give_the_finer_types_in_every_view(tmp_path: Path):
    folder = make(tmp_path, per_class=4)
    wanted = {"BNE": "band neutrophil", "SNE": "segmented neutrophil", "NEUTROPHIL": "neutrophil", "IG": "ig",
              "MY": "myelocyte", "MMY": "metamyelocyte", "PMY": "promyelocyte", "BA": "basophil"}
    for view in pbc.VIEWS:
        cells = pbc.index(folder, view).manifest
        fine = {Path(image).stem.split("_")[0]: name for image, name in cells.select("image", "fine_label").iter_rows()}
        known = wanted.keys() & fine.keys()
        assert known
        assert {prefix: fine[prefix] for prefix in known} == {prefix: wanted[prefix] for prefix in known}
    cells = pbc.index(folder, "fine").manifest
    assert cells["label"].to_list() == cells["fine_label"].to_list()


def test_the_view_of_precursors_joins_classes_and_leaves_platelets_out(tmp_path: Path):
    index = pbc.index(make(tmp_path, per_class=3), "precursors")
    assert index.found == {"precursor": 6, "mature": 15}
    assert index.expected == {"precursor": 1551 + 2895, "mature": 1218 + 3117 + 1214 + 1420 + 3329}
    folder = index.manifest["cell_id"].str.split("/").list.first()
    assert set(index.manifest.filter(folder.is_in(["ig", "erythroblast"]))["label"]) == {"precursor"}
    assert not (folder == "platelet").any()


def test_the_five_class_view_leaves_others_out_and_counts_them(tmp_path: Path):
    index = pbc.index(make(tmp_path, per_class=3), "five")
    assert index.found == dict.fromkeys(pbc.LEUKOCYTES, 3)
    assert sum(index.expected.values()) == 1218 + 3117 + 1214 + 1420 + 3329
    assert "9 cells of other classes are left out in this view" in index.notes


def test_what_is_no_image_is_named_and_left_out(tmp_path: Path):
    folder = make(tmp_path, per_class=2)
    basophils = folder / "basophil"
    (basophils / "BA_1.jpg").write_bytes(b"")
    (basophils / "BA_2.jpg").write_bytes(b"<html>not found</html>")
    (basophils / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (basophils / ".BA_3.jpg").write_bytes((basophils / "BA_100000.jpg").read_bytes())
    (basophils / "notes.txt").write_text("counted twice")
    (basophils / "BA_4.jpg").mkdir()
    index = pbc.index(folder)
    assert index.found["basophil"] == 2
    reasons = {Path(path).name: reason for path, reason in index.damaged}
    assert set(reasons) == {"BA_1.jpg", "BA_2.jpg", "Thumbs.db", ".BA_3.jpg", "notes.txt", "BA_4.jpg"}
    assert "empty" in reasons["BA_1.jpg"]
    assert "not an image" in reasons["BA_2.jpg"]


def test_a_name_of_another_class_is_noted_and_the_folder_taken(tmp_path: Path):
    folder = make(tmp_path, per_class=2)
    (folder / "basophil" / "BA_100000.jpg").rename(folder / "basophil" / "LY_7.jpg")
    index = pbc.index(folder)
    row = index.manifest.filter(pl.col("cell_id") == "basophil/LY_7.jpg").row(0, named=True)
    assert (row["label"], row["fine_label"]) == ("basophil", "basophil")
    assert any("LY_7.jpg" in note for note in index.notes)


def test_a_missing_class_and_a_strange_folder_are_named(tmp_path: Path):
    folder = make(tmp_path, per_class=1)
    (folder / "monocyte").rename(folder / "monocytes of mine")
    index = pbc.index(folder)
    assert "monocyte: 1,420 of 1,420 images" in index.missing
    assert any("monocytes of mine" in note for note in index.notes)


def test_folders_that_do_not_hold_the_set_are_refused_by_name(tmp_path: Path):
    file = tmp_path / "a file"
    file.write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "classes" / "basophil").mkdir(parents=True)
    for root, said in ((tmp_path / "nowhere", "no such folder"), (file, "is a file"),
                       (tmp_path / "empty", "does not contain"), (tmp_path / "classes", "contains no usable cell")):
        with pytest.raises(DatasetError, match=said) as caught:
            pbc.index(root)
        assert str(root) in str(caught.value)


def test_two_copies_at_one_depth_are_not_chosen_between(tmp_path: Path):
    make(tmp_path / "a", per_class=1)
    make(tmp_path / "b", per_class=1)
    with pytest.raises(DatasetError, match="give one of them"):
        pbc.index(tmp_path)


def test_unknown_views_and_options_are_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="eight, fine, five"):
        pbc.index(tmp_path, "nine")
    with pytest.raises(DatasetError, match="no option 'colour'"):
        pbc.index(tmp_path, "eight", colour="red")


def test_the_manifest_survives_writing_and_reading(tmp_path: Path):
    cells = pbc.index(make(tmp_path, per_class=2)).manifest
    write_manifest(cells, tmp_path / "cells.parquet")
    assert read_manifest(tmp_path / "cells.parquet").equals(cells)


def test_header_inspection_gives_the_size_and_decodes_nothing(tmp_path: Path):
    path = tmp_path / "cell.bmp"
    Image.new("RGB", (36, 20)).save(path)
    path.write_bytes(path.read_bytes()[:60])  # the header and two pixels
    assert base.inspect_image(path) == ((36, 20), "")
    size, reason = base.inspect_image(tmp_path / "gone.png")
    assert size is None
    assert "no such file" in reason


def test_the_real_subset_is_counted_whole(data_folder: Path):
    index = pbc.index(data_folder / "pbc")
    assert index.found == {"basophil": 869, "eosinophil": 900, "erythroblast": 900, "ig": 900, "lymphocyte": 847,
                           "monocyte": 900, "neutrophil": 900, "platelet": 900}
    assert index.damaged == ()
    fine = dict(index.manifest.group_by("fine_label").len().iter_rows())
    assert {name: fine[name] for name in ("band neutrophil", "segmented neutrophil", "neutrophil")} == {
        "band neutrophil": 428, "segmented neutrophil": 460, "neutrophil": 12}
    assert {name: fine[name] for name in ("ig", "myelocyte", "metamyelocyte", "promyelocyte")} == {
        "ig": 39, "myelocyte": 372, "metamyelocyte": 308, "promyelocyte": 181}


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(DatasetError, match="bloodmnist") as caught:
        get_dataset("BloodMNST")
    assert "BloodMNST" in str(caught.value)
    with pytest.raises(DatasetError, match="pbc, bccd"):
        get_dataset("zzzzzzzz")


def test_readers_import_without_torch():
    code = ("import sys, leukoscope.datasets as d; [d.get_dataset(name) for name in sys.argv[1:]]; "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code, *OURS], check=False, timeout=120).returncode == 0


@pytest.mark.parametrize("name", OURS)
def test_each_set_states_itself(name: str):
    dataset = get_dataset(name)
    assert dataset.name == name
    assert dataset.default_view in dataset.views
    assert all((dataset.licence, dataset.citation, dataset.homepage, dataset.obtain, dataset.subject_rule))
