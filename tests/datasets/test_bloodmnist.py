"""BloodMNIST: unpacking without loss, completely or not at all; official splits; wrong archives."""

from __future__ import annotations

import os
import runpy
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from leukoscope.datasets import bloodmnist
from leukoscope.datasets.pbc import COUNTS
from leukoscope.errors import DatasetError
from leukoscope.images.read import read_cell

_make = runpy.run_path(str(Path(__file__).parents[1] / "data" / "bloodmnist" / "make.py"))
make, arrays = _make["make"], _make["arrays"]


@pytest.mark.parametrize("size", [28, 64])
def test_every_pixel_label_and_split_comes_through(tmp_path: Path, size: int):
    make(tmp_path, size=size, train=16, val=8, test=8)
    index = bloodmnist.index(tmp_path)
    assert index.manifest.height == 32
    wanted = arrays(size=size, train=16, val=8, test=8)
    for split, part in (("train", "train"), ("val", "validation"), ("test", "test")):
        cells = index.manifest.filter(pl.col("split") == part)
        assert cells["label"].to_list() == [bloodmnist.CLASSES[n] for n in wanted[f"{split}_labels"].ravel()]
        pixels = np.stack([read_cell(row) for row in cells.iter_rows(named=True)])
        assert np.array_equal(pixels, wanted[f"{split}_images"])


def test_the_published_splits_add_up_to_pbc():
    assert [count for _, count in bloodmnist.SPLITS.values()] == [11_959, 1_712, 3_421]
    assert sum(count for _, count in bloodmnist.SPLITS.values()) == sum(COUNTS.values()) == 17_092


def test_what_the_whole_set_has_more_is_stated(tmp_path: Path):
    index = bloodmnist.index(make(tmp_path, train=16, val=8, test=8))
    assert index.missing == ("train: 11,943 of 11,959 cells", "val: 1,704 of 1,712 cells", "test: 3,413 of 3,421 cells")
    assert index.expected == COUNTS


def test_the_five_class_view(tmp_path: Path):
    index = bloodmnist.index(make(tmp_path, train=16, val=8, test=8), "five")
    assert index.found == {"basophil": 4, "eosinophil": 4, "lymphocyte": 4, "monocyte": 4, "neutrophil": 4}
    assert "12 cells of other classes are left out in this view" in index.notes


def test_unpacking_again_changes_nothing_and_mends_what_is_gone(tmp_path: Path):
    make(tmp_path)
    first = bloodmnist.index(tmp_path)
    files = [Path(image) for image in first.manifest["image"]]
    stamps = [file.stat().st_mtime_ns for file in files]
    assert bloodmnist.index(tmp_path).manifest.equals(first.manifest)
    assert [file.stat().st_mtime_ns for file in files] == stamps
    files[3].unlink()
    assert bloodmnist.index(tmp_path).manifest.equals(first.manifest)
    assert all(file.is_file() for file in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bloodmnist.npz", "bloodmnist_png"]


def test_another_archive_of_the_same_name_is_unpacked_anew(tmp_path: Path):
    make(tmp_path, seed=0)
    before = read_cell(bloodmnist.index(tmp_path).manifest.row(0, named=True))
    make(tmp_path, seed=1)
    row = bloodmnist.index(tmp_path).manifest.row(0, named=True)
    assert np.array_equal(read_cell(row), arrays(seed=1)["train_images"][0])
    assert not np.array_equal(read_cell(row), before)


def test_the_files_can_be_put_elsewhere_and_progress_is_told(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    path = make(tmp_path / "archive")
    index = bloodmnist.index(path, unpack=str(tmp_path / "there"), on_progress=lambda *at: seen.append(at))
    assert all(Path(image).is_relative_to(tmp_path / "there") for image in index.manifest["image"])
    assert seen == [(32, 32)]
    assert [file.name for file in (tmp_path / "archive").iterdir()] == ["bloodmnist.npz"]


def test_a_folder_of_ones_own_is_never_overwritten(tmp_path: Path):
    make(tmp_path)
    (tmp_path / "bloodmnist_png").mkdir()
    (tmp_path / "bloodmnist_png" / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="was not made from"):
        bloodmnist.index(tmp_path)
    assert (tmp_path / "bloodmnist_png" / "mine.txt").read_text() == "keep"


def test_the_size_is_asked_for_where_there_are_several(tmp_path: Path):
    make(tmp_path, size=28)
    make(tmp_path, size=64)
    with pytest.raises(DatasetError, match="choose one with --option size"):
        bloodmnist.index(tmp_path)
    cells = bloodmnist.index(tmp_path, size="64").manifest
    assert read_cell(cells.row(0, named=True)).shape == (64, 64, 3)
    for size, said in (("128", "contains no bloodmnist_128.npz"), ("30", "does not have this size")):
        with pytest.raises(DatasetError, match=said):
            bloodmnist.index(tmp_path, size=size)
    with pytest.raises(DatasetError, match="no such file"):
        bloodmnist.index(tmp_path / "gone.npz")
    with pytest.raises(DatasetError, match="no such folder"):
        bloodmnist.index(tmp_path / "gone")


def _save(path: Path, **changes: object) -> None:
    np.savez(path, **{name: values for name, values in ({**arrays(), **changes}).items() if values is not None})


def test_wrong_contents_are_refused_and_leave_nothing_behind(tmp_path: Path):
    path = tmp_path / "bloodmnist.npz"
    good = arrays()
    cases: dict[str, dict[str, object]] = {
        "val_labels": {"val_labels": None},
        "outside 0 to 7": {"test_labels": np.full((8, 1), 8, np.uint8)},
        "expected uint8": {"train_images": good["train_images"].astype(np.float32)},
        "expected .cells, side, side, 3": {"train_images": good["train_images"][..., 0]},
        "7 labels": {"val_labels": good["val_labels"][:7]},
        "allow_pickle=False": {"train_labels": np.array([{"a": 1}] * 16, dtype=object)},
    }
    for said, change in cases.items():
        _save(path, **change)
        with pytest.raises(DatasetError, match=said) as caught:
            bloodmnist.index(tmp_path)
        assert str(path) in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["bloodmnist.npz"]


def test_damaged_archives_are_refused_and_leave_nothing_behind(tmp_path: Path):
    path = make(tmp_path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("train_images.npy").header_offset
    flipped = bytearray(whole)
    flipped[start + 2000] ^= 0xFF
    for content in (b"", b"<html></html>", whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="damaged, or not BloodMNIST"):
            bloodmnist.index(tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["bloodmnist.npz"]


def test_a_folder_that_cannot_be_written_names_the_way_out(tmp_path: Path):
    path = make(tmp_path)
    (tmp_path / "a file").write_text("")
    with pytest.raises(DatasetError, match="--option unpack=FOLDER"):
        bloodmnist.index(path, unpack=os.fspath(tmp_path / "a file"))
