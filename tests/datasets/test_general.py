"""Folders of classes and tables; walking, ids and patterns, which all readers share; the page that lists the sets."""

from __future__ import annotations

import os
import runpy
import shutil
from pathlib import Path

import polars as pl
import pytest

from leukoscope.datasets import dataset_names, get_dataset, paths
from leukoscope.datasets.base import inspect_image
from leukoscope.datasets.paths import Lookup, cell_ids, files_below, split_of
from leukoscope.errors import DatasetError

ROOT = Path(__file__).parents[2]
make = runpy.run_path(str(ROOT / "tests" / "data" / "folder" / "make.py"))["make"]
CELLS = pl.DataFrame({"path": ["neutrophil/P0_0", "neutrophil/P1_1", "lymphocyte/P0_0"],
                      "type": ["neutrophil", "neutrophil", None], "patient": [1, 2, 1]})
OPTIONS = {"image_column": "path", "label_column": "type", "subject_column": "patient", "suffix": ".png"}
folder, table = get_dataset("folder").index, get_dataset("table").index


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


class TestWalk:
    def test_hidden_files_and_litter_are_left_out(self, tmp_path):
        touch(*(tmp_path / name for name in ("a/x.png", "a/.x.png", ".b/y.png", "__MACOSX/a/x.png", "a/Thumbs.db",
                                             "ü ö/Y.JPG", "c.txt")))
        assert [p.relative_to(tmp_path).as_posix() for p in files_below(tmp_path)] == ["a/x.png", "ü ö/Y.JPG"]

    def test_loops_of_links_end_and_nothing_is_read_twice(self, tmp_path):
        root = tmp_path / "root"
        touch(root / "a" / "x.png", tmp_path / "elsewhere" / "z.png")
        (root / "a" / "loop").symlink_to(root)
        (root / "a" / "up").symlink_to(tmp_path)
        (root / "a" / "self").symlink_to(root / "a" / "self")
        (root / "Again").symlink_to(root / "a")
        (root / "b").symlink_to(tmp_path / "elsewhere")
        assert [p.relative_to(root).as_posix() for p in files_below(root)] == ["a/x.png", "b/z.png"]

    def test_pipes_are_left_out_so_that_nothing_blocks(self, tmp_path):
        touch(tmp_path / "a" / "x.png")
        os.mkfifo(tmp_path / "a" / "pipe.png")
        (tmp_path / "a" / "link.png").symlink_to(tmp_path / "a" / "pipe.png")
        assert [p.name for p in files_below(tmp_path)] == ["x.png"]

    def test_what_may_be_an_image_and_is_not_read_is_named(self, tmp_path):
        make(tmp_path / "cells")
        cells = tmp_path / "cells" / "neutrophil"
        image = next(cells.glob("*.png")).read_bytes()
        for name in ("old.png~", "copy.png.bak", "scan", "half.png.part"):
            (cells / name).write_bytes(image)
        for name in ("notes.txt", "list.xml", "Thumbs.db", "readme", "film.mp4", "more.zip"):
            (cells / name).write_bytes(b"something")
        for name, start in (("labels.tab", b"BM_001\tneutrophil\n"), ("said.wav", b"RIFF\x24\x08\0\0WAVEfmt ")):
            (cells / name).write_bytes(start)  # these begin as a BMP and a WebP do
        os.mkfifo(cells / "pipe.png")
        os.mkfifo(cells / "pipe")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "a.jp2").write_bytes(b"something")
        (tmp_path / "cells" / "monocyte").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "cells" / "up").symlink_to(tmp_path)
        touch(tmp_path / "cells" / "set.zip")  # what the set was unpacked from
        named = {Path(path).name: reason for path, reason in paths.left_out_below(tmp_path / "cells")}
        misnamed = "is an image whose name does not end as one (rename it)"
        assert named == {
            **dict.fromkeys(("old.png~", "copy.png.bak", "scan", "half.png.part"), misnamed),
            "pipe.png": "is not a regular file", "film.mp4": "is a film (save its frames as images)",
            "more.zip": "is an archive (unpack it)", "a.jp2": "is JPEG 2000 (save it as TIFF or PNG)"}
        assert any("old.png~" in note and misnamed in note for note in folder(tmp_path / "cells").notes)

    def test_a_broken_link_is_found_and_reported_as_damaged(self, tmp_path):
        make(tmp_path)
        (tmp_path / "neutrophil" / "gone.png").symlink_to(tmp_path / "nowhere.png")
        assert [Path(p).name for p, _ in folder(tmp_path).damaged] == ["gone.png"]

    def test_a_name_that_is_not_text_is_refused(self, tmp_path):
        touch(tmp_path / "a" / "x.png")
        try:
            os.rename(os.fsencode(tmp_path / "a" / "x.png"), os.fsencode(tmp_path / "a") + b"/\xff.png")
        except OSError:
            pytest.skip("this file system takes only names in UTF-8")
        with pytest.raises(DatasetError, match="is not UTF-8; rename"):
            files_below(tmp_path)

    def test_what_is_removed_while_it_is_read_ends_nothing(self, tmp_path, monkeypatch):
        make(tmp_path)
        touch(tmp_path / "gone" / "x.png")
        real = paths._entries

        def remove_first(folder):
            listed = real(folder)
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)
            return listed

        monkeypatch.setattr(paths, "_entries", remove_first)
        assert folder(tmp_path).manifest.height == 5
        monkeypatch.undo()

        def remove_an_image(path):
            (tmp_path / "neutrophil" / "P1_1.png").unlink(missing_ok=True)
            return inspect_image(path)

        monkeypatch.setattr("leukoscope.datasets.collector.inspect_image", remove_an_image)
        found = folder(tmp_path)
        assert found.manifest.height == 4
        assert [(Path(path).name, reason) for path, reason in found.damaged] == [("P1_1.png", "no such file")]

    def test_ids_are_paths_without_suffix_and_never_collide(self, tmp_path):
        names = ["a/1.png", "a/1.jpg", "b/1.png", "b/1.2.png"]
        ids = cell_ids([tmp_path / name for name in names], tmp_path)
        assert list(ids.values()) == ["a/1.png", "a/1.jpg", "b/1", "b/1.2"]
        contrived = ["a.jpg", "a.png", "a.jpg.png"]
        assert sorted(cell_ids([tmp_path / n for n in contrived], tmp_path).values()) == sorted(contrived)

    def test_the_innermost_folder_says_the_split(self, tmp_path):
        for name, split in (("Train/a/x.png", "train"), ("val2017/x.png", "validation"), ("train/Test/x.png", "test"),
                            ("training_notes/x.png", None), ("test.png", None)):
            assert split_of(tmp_path / name, tmp_path) == split


def test_pictures_that_are_not_read_are_named_in_every_layout(tmp_path):
    """Else a class whose images are all JPEG 2000 looks empty, and a scan is missed by nobody."""
    make(tmp_path)
    touch(*(tmp_path / "new" / name for name in ("a.jp2", "b.SVS", ".c.png", "._d.png", "e.zip", "f.txt", "g.avif")))
    notes = folder(tmp_path).notes
    left_out = [note for note in notes if note.startswith("left out: ")]
    assert [Path(note.split(": ")[1]).name for note in left_out] == [".c.png", "a.jp2", "b.SVS", "e.zip", "g.avif"]
    assert left_out[0].endswith("is hidden (its name begins with a dot)")
    assert any(missing == "images of the class 'new' (the folder holds none)" for missing in folder(tmp_path).missing)


class TestLookup:
    def test_folders_in_the_name_and_nearness_choose_between_equal_names(self, tmp_path):
        paths = [tmp_path / name for name in ("train/images/1.png", "val/images/1.png", "val/images/2.JPG")]
        lookup = Lookup(tmp_path, paths)
        assert lookup.find("val/images/1.png", tmp_path / "a.xml") == paths[1]
        assert lookup.find("C:\\data\\val\\images\\1.png", tmp_path / "a.xml") == paths[1]
        assert lookup.find("1.png", tmp_path / "train" / "xml" / "1.xml") == paths[0]
        assert lookup.find("1.png", tmp_path / "json" / "val.json") == paths[1]
        beside = Lookup(tmp_path, [tmp_path / "a" / "1.png", tmp_path / "a" / "b" / "1.png"])
        assert beside.find("1.png", tmp_path / "a" / "1.xml") == tmp_path / "a" / "1.png"
        assert lookup.find("2.jpg", tmp_path / "a.xml") == paths[2]
        assert lookup.find("2.png", tmp_path / "a.xml") == paths[2]
        assert lookup.find("../../etc/passwd", tmp_path / "a.xml") is None
        accents = Lookup(tmp_path, [tmp_path / "u\u0308.png"])
        assert accents.find("\u00fc.png", tmp_path / "a.xml") == tmp_path / "u\u0308.png"
        assert lookup.find("", tmp_path / "a.xml") is None
        with pytest.raises(ValueError, match=r"may be train/images/1.png and val/images/1.png"):
            lookup.find("1.png", tmp_path / "a.xml")


class TestFolder:
    def test_a_folder_is_a_class(self, tmp_path):
        found = folder(make(tmp_path))
        assert found.found == {"lymphocyte": 2, "neutrophil": 3}
        assert found.expected == {}
        assert found.manifest["cell_id"].to_list()[0] == "lymphocyte/P0_0"
        assert Path(found.manifest["image"][0]).is_absolute()

    def test_the_pattern_gives_subjects(self, tmp_path):
        found = folder(make(tmp_path), pattern=r"(?P<subject>P\d+)_")
        assert dict(found.manifest.select("cell_id", "subject").iter_rows()) == {
            "lymphocyte/P0_0": "P0", "lymphocyte/P1_1": "P1", "neutrophil/P0_0": "P0", "neutrophil/P1_1": "P1",
            "neutrophil/P0_2": "P0"}

    def test_names_that_do_not_fit_the_pattern_are_noted(self, tmp_path):
        make(tmp_path)
        (tmp_path / "neutrophil" / "P0_0.png").rename(tmp_path / "neutrophil" / "other.png")
        found = folder(tmp_path, pattern=r"(?P<group>P\d+)_")
        assert found.manifest["group"].null_count() == 1
        assert any("do not match the pattern" in note and "other.png" in note for note in found.notes)

    @pytest.mark.parametrize(("pattern", "what"), [
        ("(", "not a regular expression"), (r"P\d", "no named group"), (r"(?P<patient>P)", "group 'patient'"),
        (r"(?P<subject>Q\d)", "matches no name")])
    def test_a_pattern_that_cannot_work_is_refused(self, tmp_path, pattern, what):
        with pytest.raises(DatasetError, match=what):
            folder(make(tmp_path), pattern=pattern)

    def test_depth_chooses_the_class_folder(self, tmp_path):
        make(tmp_path, {"train/neutrophil/S1": 2, "train/neutrophil/S2": 1, "val/blast/S1": 2})
        second = folder(tmp_path, depth="2", pattern=r"/(?P<subject>S\d)/").manifest
        assert second.group_by("label", "split", "subject").len().sort("label", "subject").rows() == [
            ("blast", "validation", "S1", 2), ("neutrophil", "train", "S1", 2), ("neutrophil", "train", "S2", 1)]
        assert folder(tmp_path, depth=0).found == {"S1": 4, "S2": 1}
        assert folder(tmp_path, depth=1).found == {"train": 3, "val": 2}

    def test_a_depth_that_no_image_reaches_is_refused(self, tmp_path):
        with pytest.raises(DatasetError, match="none of its 5 images lies 3 folders deep"):
            folder(make(tmp_path), depth="3")
        with pytest.raises(DatasetError, match="none of its 2 images lies 1 folders deep"):
            folder(tmp_path / "lymphocyte")

    def test_parts_of_a_split_are_not_taken_for_classes(self, tmp_path):
        make(tmp_path, {"train/a": 1, "test/a": 1})
        with pytest.raises(DatasetError, match="use the option depth=2"):
            folder(tmp_path)

    def test_damaged_empty_and_shallow_are_named(self, tmp_path):
        make(tmp_path)
        touch(tmp_path / "neutrophil" / "P9_9.png", tmp_path / "loose.png")
        (tmp_path / "monocyte").mkdir()
        found = folder(tmp_path)
        assert [Path(p).name for p, _ in found.damaged] == ["P9_9.png"]
        assert found.missing == ("images of the class 'monocyte' (the folder is empty)",)
        assert any("loose.png" in note for note in found.notes)

    def test_equal_names_with_other_suffixes_stay_apart(self, tmp_path):
        make(tmp_path)
        make(tmp_path, suffix=".jpg")
        assert folder(tmp_path).manifest["cell_id"].n_unique() == 10

    @pytest.mark.parametrize("name", dataset_names())
    def test_every_set_refuses_an_empty_folder_a_file_and_nothing(self, tmp_path, name):
        empty, file = tmp_path / "empty", tmp_path / "file"
        empty.mkdir()
        file.write_bytes(b"")
        for wrong in (empty, tmp_path / "nowhere", *([file] if name != "table" else [])):
            with pytest.raises(DatasetError) as error:
                get_dataset(name).index(wrong, get_dataset(name).default_view)
            assert str(wrong) in str(error.value)
            assert error.value.hint


class TestTable:
    @staticmethod
    def write(root: Path, frame: pl.DataFrame, name: str = "cells.csv") -> Path:
        make(root)
        frame.write_parquet(root / name) if name.endswith("parquet") else frame.write_csv(root / name)
        return root

    @pytest.mark.parametrize("name", ["cells.csv", "cells.parquet"])
    def test_columns_are_named_by_options(self, tmp_path, name):
        found = table(self.write(tmp_path, CELLS, name), **OPTIONS)
        assert found.manifest.select("cell_id", "label", "subject").rows() == [
            ("neutrophil/P0_0", "neutrophil", "1"), ("neutrophil/P1_1", "neutrophil", "2"),
            ("lymphocyte/P0_0", None, "1")]
        assert all(Path(image).is_file() for image in found.manifest["image"])

    def test_the_table_itself_may_be_given_and_a_separator_and_another_folder(self, tmp_path):
        make(tmp_path / "pictures")
        CELLS.write_csv(tmp_path / "t.csv", separator=";")
        found = table(tmp_path / "t.csv", separator=";", images="pictures", **OPTIONS)
        assert found.manifest.height == 3

    def test_boxes_are_checked_against_the_image(self, tmp_path):
        image = "neutrophil/P0_0.png"
        boxes = [(1, 2, 10, 11), (-5, 0, 10, 10), (40, 0, 5, 5), (1, 1, 0, 5), ("nan", 1, 2, 3), ("", 1, 2, 3)]
        frame = pl.DataFrame({"image": [image] * 6, **{k: [str(b[i]) for b in boxes]
                                                       for i, k in enumerate(("x", "y", "width", "height"))}})
        found = table(self.write(tmp_path, frame))
        assert found.manifest.select("cell_id", "x", "y", "width", "height").rows() == [
            ("neutrophil/P0_0#1", 1, 2, 10, 11), ("neutrophil/P0_0#2", 0, 0, 5, 10)]
        assert [where.rpartition("row ")[2] for where, _ in found.damaged] == ["3", "4", "5", "6"]
        assert any("1 boxes extend beyond" in note for note in found.notes)

    def test_missing_and_damaged_images_are_named_with_their_row(self, tmp_path):
        frame = pl.DataFrame({"image": ["neutrophil/P0_0.png", "gone.png", None, "neutrophil/bad.png"]})
        self.write(tmp_path, frame)
        touch(tmp_path / "neutrophil" / "bad.png")
        found = table(tmp_path)
        assert found.manifest.height == 1
        assert [m.rpartition("/")[2] for m in found.missing] == ["gone.png (row 2)"]
        assert [Path(p.partition(": row")[0]).name for p, _ in found.damaged] == ["cells.csv", "bad.png"]

    def test_images_that_are_not_in_the_table_are_reported(self, tmp_path):
        frame = pl.DataFrame({"image": ["neutrophil/P0_0.png", "neutrophil/P1_1.png"]})
        notes = table(self.write(tmp_path, frame)).notes
        assert f"1 images in the same folders are not in the table; the first: {tmp_path}/neutrophil/P0_2.png" in notes

    def test_ids_of_the_table_are_kept_and_paths_with_equal_stems_stay_apart(self, tmp_path):
        make(tmp_path)
        make(tmp_path, suffix=".jpg")
        frame = pl.DataFrame({"image": ["neutrophil/P0_0.png", "neutrophil/P0_0.jpg"]})
        frame.write_csv(tmp_path / "cells.csv")
        assert table(tmp_path).manifest["cell_id"].to_list() == ["neutrophil/P0_0.png", "neutrophil/P0_0.jpg"]
        frame.with_columns(cell_id=pl.Series(["a", "b"])).write_csv(tmp_path / "cells.csv")
        assert table(tmp_path).manifest["cell_id"].to_list() == ["a", "b"]

    def test_other_columns_may_hold_anything_and_names_may_be_impossible(self, tmp_path):
        frame = pl.DataFrame({"image": ["neutrophil/P0_0.png", "x" * 5000, "a\0b"], "bytes": [b"\xff"] * 3,
                              "list": [[1]] * 3})
        found = table(self.write(tmp_path, frame, "cells.parquet"))
        assert found.manifest.height == 1
        assert len(found.missing) == 2
        with pytest.raises(DatasetError, match="the column 'list'"):
            table(tmp_path, label_column="list")

    def test_masks_are_resolved_or_missed(self, tmp_path):
        frame = pl.DataFrame({"image": ["neutrophil/P0_0.png"] * 2, "mask": ["neutrophil/P1_1.png", "no.png"]})
        found = table(self.write(tmp_path, frame))
        assert found.manifest["mask"].to_list() == [str(tmp_path / "neutrophil" / "P1_1.png"), None]
        assert len(found.missing) == 1

    def test_wrong_tables_name_the_column_or_the_file(self, tmp_path):
        root = self.write(tmp_path, CELLS)
        with pytest.raises(DatasetError, match=r"no column 'image' .it has path, type, patient.; name the right one"):
            table(root)
        with pytest.raises(DatasetError, match="no column 'klass'"):
            table(root, **OPTIONS | {"label_column": "klass"})
        with pytest.raises(DatasetError, match="there is no column for y, width"):
            table(root, **OPTIONS, x_column="patient", height_column="patient")
        with pytest.raises(DatasetError, match="separator of one character"):
            table(root, separator=";;")
        (root / "second.csv").write_text("image\n")
        with pytest.raises(DatasetError, match=r"contains 2 tables .cells.csv, second.csv."):
            table(root)
        with pytest.raises(DatasetError, match="no such file"):
            table(root, file="third.csv")
        (root / "broken.parquet").write_bytes(b"PAR1")
        with pytest.raises(DatasetError, match=r"broken.parquet: not a readable table"):
            table(root, file="broken.parquet")
        (root / "empty.csv").write_text("")
        with pytest.raises(DatasetError, match=r"empty.csv"):
            table(root / "empty.csv")


def test_the_page_of_data_sets_is_what_the_data_sets_say():
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    written = runpy.run_path(str(ROOT / "docs" / "make_datasets.py"))["datasets_page"]()
    assert page == written, "write it again: python docs/make_datasets.py"
    for name in dataset_names():
        assert f"`{name}`" in page
