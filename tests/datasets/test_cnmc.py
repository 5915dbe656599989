"""C-NMC 2019: names, subjects, parts, and the official list of files at full size."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest

from leukoscope.datasets import cnmc
from leukoscope.errors import DatasetError

_make = runpy.run_path(str(Path(__file__).parents[1] / "data" / "cnmc" / "make.py"))
make, make_official, write = _make["make"], _make["make_official"], _make["write"]


@pytest.fixture(scope="module")
def official(data_folder: Path) -> pl.DataFrame:
    return pl.read_csv(data_folder / "cnmc" / "official_files.csv.gz", infer_schema_length=None)


@pytest.fixture(scope="module")
def whole(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 15,114 official names, as images of 8 px."""
    return make_official(tmp_path_factory.mktemp("cnmc"), data_folder / "cnmc" / "official_files.csv.gz", side=8)


def _components(pairs: Iterable[tuple[str, str]]) -> set[frozenset[str]]:
    groups: list[set[str]] = []
    for pair in pairs:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    return {frozenset(group) for group in groups}


def test_training_folds_with_labels_subjects_and_official_fold(tmp_path: Path):
    index = cnmc.index(make(tmp_path, subjects=4, cells=2))
    assert index.found == {"healthy": 8, "leukemic": 8}
    assert index.expected == {"leukemic": 7272, "healthy": 3389}
    row = index.manifest.filter(pl.col("cell_id") == "training_data/fold_1/hem/UID_H2_1_1_hem.bmp").row(0, named=True)
    assert (row["label"], row["subject"], row["group"], row["field"], row["fold_official"], row["split"]) == (
        "healthy", "H2", "H2+H4+H5+H6", "H2_1", 1, None)
    assert "training_data/fold_0/all: 2,393 of 2,397 images" in index.missing


def test_all_is_training_and_the_labelled_preliminary_test(tmp_path: Path):
    index = cnmc.index(make(tmp_path, subjects=3, cells=1, preliminary=4), "all")
    counts = dict(index.manifest.group_by("split").len().iter_rows())
    assert counts == {"train": 6, "test": 4}
    assert index.expected == {"leukemic": 7272 + 1219, "healthy": 3389 + 648}
    test = index.manifest.filter(pl.col("split") == "test").sort("cell_id")
    assert test.select("label", "subject", "fold_official").rows() == [
        ("leukemic", "57", None), ("healthy", "H50", None), ("leukemic", "59", None), ("healthy", "H52", None)]
    assert cnmc.index(tmp_path, "preliminary").manifest["cell_id"].to_list() == test["cell_id"].to_list()


def test_the_final_test_set_is_unlabelled(tmp_path: Path):
    index = cnmc.index(make(tmp_path, final=3), "final")
    assert index.found == {"": 3}
    assert index.expected == {"": 2586}
    assert index.manifest["split"].to_list() == ["test"] * 3


@pytest.mark.parametrize("part", ["training_data", "training_data/fold_0", "validation_data",
                                  "testing_data/C-NMC_test_final_phase_data"])
def test_a_part_alone_gives_the_same_ids_as_the_whole(tmp_path: Path, part: str):
    make(tmp_path / "C-NMC" / "deeper")
    view = {"tr": "training", "va": "preliminary", "te": "final"}[part[:2]]
    whole = set(cnmc.index(tmp_path, view).manifest["cell_id"])
    alone = set(cnmc.index(tmp_path / "C-NMC" / "deeper" / part, view).manifest["cell_id"])
    assert alone <= whole
    assert (alone == whole) == (part != "training_data/fold_0")


def test_h3_is_the_subject_of_capital_h3(tmp_path: Path):
    write(tmp_path, ["training_data/fold_2/hem/UID_h3_1_1_hem.bmp", "training_data/fold_0/hem/UID_H10_1_1_hem.bmp"],
          side=9)
    index = cnmc.index(tmp_path)
    assert index.manifest.sort("subject").select("subject", "group").rows() == [("H10", "H3+H10"), ("H3", "H3+H10")]
    assert any("h3 is H3 (1 files)" in note for note in index.notes)


def test_contradictions_and_damage_are_named_and_left_out(tmp_path: Path):
    folder = make(tmp_path, subjects=3, cells=1) / "training_data" / "fold_0" / "all"
    cell = (folder / "UID_1_1_1_all.bmp").read_bytes()
    for name in ("UID_7_1_1_hem.bmp", "UID_H7_1_1_all.bmp", "UID_H8_1_1_hem.bmp", "cell 12.bmp"):
        (folder / name).write_bytes(cell)
    (folder / "UID_9_1_1_all.bmp").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"x")
    index = cnmc.index(tmp_path)
    assert index.found == {"healthy": 3, "leukemic": 3}
    reasons = {Path(path).name: reason for path, reason in index.damaged}
    assert set(reasons) == {"UID_7_1_1_hem.bmp", "UID_H7_1_1_all.bmp", "UID_H8_1_1_hem.bmp", "cell 12.bmp",
                            "UID_9_1_1_all.bmp", "Thumbs.db"}
    assert "is in the folder all" in reasons["UID_H8_1_1_hem.bmp"]
    assert "contradict" in reasons["UID_H7_1_1_all.bmp"]
    assert "empty" in reasons["UID_9_1_1_all.bmp"]


def test_the_labels_file_must_be_there_whole_and_agree(tmp_path: Path):
    make(tmp_path, preliminary=4)
    path = tmp_path / _make["LABELS_FILE"]
    text = path.read_text()
    path.write_text(text.replace("UID_57_1_1_all.bmp,1.bmp,1", "UID_57_1_1_all.bmp,1.bmp,0").replace("4.bmp", "40.bmp"))
    index = cnmc.index(tmp_path, "preliminary")
    assert {Path(file).name for file, _ in index.damaged} == {"1.bmp", "4.bmp"}
    for wrong, said in ((text.replace("new_names", "names"), "expected the columns"),
                        (text.replace(",1.bmp,1", ",1.bmp,yes"), "line 2"),
                        (text + text.splitlines()[1], "listed twice")):
        path.write_text(wrong)
        with pytest.raises(DatasetError, match=said) as caught:
            cnmc.index(tmp_path, "preliminary")
        assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(DatasetError, match="needs its labels file"):
        cnmc.index(tmp_path, "all")
    assert cnmc.index(tmp_path).manifest.height == 16


def test_two_copies_of_the_set_are_refused(tmp_path: Path):
    make(tmp_path / "a", subjects=1)
    make(tmp_path / "b", subjects=1)
    with pytest.raises(DatasetError, match="same official name"):
        cnmc.index(tmp_path)


def test_a_folder_without_the_set_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"contains no usable cell.* with cells of the view 'training'"):
        cnmc.index(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        cnmc.index(tmp_path / "gone")
    with pytest.raises(DatasetError, match="needs the option official"):
        cnmc.index(tmp_path, hashes="yes")


def test_the_groups_are_those_that_identical_files_make(official: pl.DataFrame):
    training = official.filter(pl.col("path").str.starts_with("training_data/"))
    pairs = training.join(training, on="sha256", suffix="_other").filter(pl.col("path") < pl.col("path_other"))
    assert pairs.height == 104
    across = pairs.filter(pl.col("subject") != pl.col("subject_other"))
    assert across.height == 99
    assert pairs.filter(pl.col("fold") != pl.col("fold_other")).height == 94
    assert _components(across.select("subject", "subject_other").iter_rows()) == {
        frozenset(same) for same in cnmc.SAME_SUBJECT}
    # No pair has two groups, so a split by group cannot separate identical files.
    group = {subject: cnmc.group_of(subject) for subject in training["subject"].unique()}
    assert all(group[first] == group[second] for first, second in across.select("subject", "subject_other").iter_rows())


def test_the_official_counts(official: pl.DataFrame):
    training = official.filter(pl.col("path").str.starts_with("training_data/"))
    folders = training.group_by("fold", "label").len()
    assert {(fold, label): count for fold, label, count in folders.iter_rows()} == cnmc.FOLDS
    assert sum(cnmc.FOLDS.values()) == 10_661
    images = official.filter(pl.col("path").str.ends_with(".bmp"))
    assert images.filter(pl.col("path").str.starts_with("validation_data/")).height == sum(cnmc.PRELIMINARY.values())
    assert images.filter(pl.col("path").str.starts_with("testing_data/")).height == cnmc.FINAL


def test_the_whole_set_by_its_official_names(whole: Path, official: pl.DataFrame):
    index = cnmc.index(whole, "all")
    assert index.missing == index.damaged == ()
    assert dict(index.manifest.group_by("split").len().iter_rows()) == {"train": 10_661, "test": 1_867}
    stated = official.select(cell_id="path", stated="subject", stated_fold="fold")
    cells = index.manifest.filter(pl.col("split") == "train").join(stated, on="cell_id")
    assert cells.height == 10_661
    assert cells["subject"].equals(cells["stated"], check_names=False)
    assert cells["fold_official"].equals(cells["stated_fold"], check_names=False)
    leukemic = cells.filter(pl.col("label") == "leukemic")
    healthy = cells.filter(pl.col("label") == "healthy")
    assert (leukemic.height, healthy.height) == (7272, 3389)
    assert (leukemic["subject"].n_unique(), healthy["subject"].n_unique()) == (47, 26)
    assert (leukemic["group"].n_unique(), healthy["group"].n_unique()) == (44, 22)
    assert any("h3 is H3 (36 files)" in note for note in index.notes)
    final = cnmc.index(whole, "final")
    assert (final.found, final.missing) == ({"": 2_586}, ())


def test_the_official_list_verifies_a_download(data_folder: Path, tmp_path: Path, official: pl.DataFrame):
    real = data_folder / "cnmc" / "training_data"
    listed = str(data_folder / "cnmc" / "official_files.csv.gz")
    index = cnmc.index(real, official=listed, hashes="yes")
    assert index.found == {"healthy": 26, "leukemic": 29}
    assert index.damaged == ()
    assert len(index.missing) == 10_661 - 55
    # One byte of the pixels changed, and one file truncated: length and checksum show it.
    folder = tmp_path / "training_data" / "fold_0" / "all"
    folder.mkdir(parents=True)
    first, second = sorted((real / "fold_0" / "all").iterdir())[:2]
    changed = bytearray(first.read_bytes())
    changed[-1] ^= 1
    (folder / first.name).write_bytes(bytes(changed))
    (folder / second.name).write_bytes(second.read_bytes()[:-10])
    third = sorted((real / "fold_0" / "all").iterdir())[2]
    (folder / third.name).write_bytes(third.read_bytes())
    index = cnmc.index(tmp_path, official=listed, hashes="yes")
    assert index.manifest["image"].to_list() == [str(folder / third.name)]
    reasons = {Path(path).name: reason for path, reason in index.damaged}
    assert "SHA-256" in reasons[first.name]
    assert "608,444 bytes, the official file has 608,454" in reasons[second.name]
    with pytest.raises(DatasetError, match="columns path, bytes and sha256"):
        cnmc.index(tmp_path, official=str(folder / third.name))
