"""`leukoscope smear`: the built-in model, stopped calls, several subjects, memory, full disks."""

from __future__ import annotations

import json
import os
import shutil
import weakref
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

import leukoscope as package
from bundle_folder import change
from command import leukoscope, refusal
from leukoscope.commands import smear as smear_command
from leukoscope.commands import smear_field as field_command
from leukoscope.commands import smear_write as write_command
from leukoscope.commands.smear import smear_fields
from leukoscope.commands.smear_inputs import subjects_of, unique_names
from leukoscope.commands.smear_subjects import smear_subjects
from leukoscope.errors import LeukoscopeError
from leukoscope.figures.svg import image_uri
from leukoscope.phantom import render_field
from leukoscope.predict import model
from leukoscope.smear import find
from leukoscope.smear.summary import SmearSummary
from page_reader import Page
from smear_fields import SCALE, phantom, save


@pytest.fixture(scope="module")
def fields(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    for seed in (1, 2, 3):
        save(phantom(seed).pixels, folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def whole(fields, tmp_path_factory) -> Path:
    """What one call makes of the fields, without types."""
    out = tmp_path_factory.mktemp("whole") / "out"
    smear_fields([fields], out, types=False)
    return out


@pytest.fixture
def packaged(bundle, tmp_path, monkeypatch) -> Path:
    """A small bundle in the place of the one that comes with the package."""
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in bundle.iterdir():
            archive.write(file, file.name)
    monkeypatch.setattr(model, "_packaged", lambda: path)
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def as_json(summary: SmearSummary) -> Any:
    """What a program that reads the summary's JSON sees."""
    return json.loads(json.dumps(summary.to_dict()))


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class Stopped(BaseException):
    """A call that is killed."""


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> list[str]:
    """Let `work` be killed when it is called once more than `count` times; gives the names that it is called for."""
    called: list[str] = []
    inside = field_command.process_field

    def counted(source, name, *args, **options):
        if len(called) == count:
            raise Stopped
        called.append(name)
        return inside(source, name, *args, **options)

    monkeypatch.setattr(smear_command, "process_field", counted)
    return called


# The built-in model

def test_cells_are_typed_by_the_model_of_the_package(packaged, fields, tmp_path):
    answer = leukoscope("smear", fields / "1.png", "-o", tmp_path / "own", "--micrometres", SCALE)
    assert answer.code == 0, answer
    for name, given in (("named", packaged), ("word", "packaged")):
        assert leukoscope("smear", fields / "1.png", "-o", tmp_path / name, "--micrometres", SCALE, "--bundle",
                          given).code == 0
    tables = [pl.read_parquet(tmp_path / one / "cells.parquet") for one in ("own", "named", "word")]
    assert tables[0]["predicted"].null_count() == 0
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    assert read(tmp_path / "own" / "summary.json")["bundle"]["packaged"] is True
    page = Page(tmp_path / "own" / "smear.html").text
    assert "The model has no class of blasts" in page
    assert "not a diagnosis" in page


def test_python_and_predict_know_it_too(packaged, fields, tmp_path, monkeypatch):
    assert package.load().bundle.path == packaged
    assert package.load("packaged").is_packaged
    assert leukoscope("predict", "packaged", fields / "1.png", "-o", tmp_path / "p.csv").code == 0
    monkeypatch.chdir(tmp_path)
    assert model.bundle_path("packaged") == packaged
    shutil.copyfile(packaged, tmp_path / "packaged")  # a real path of that name wins
    assert model.bundle_path("packaged") == Path("packaged")
    assert not package.load("packaged").is_packaged


def test_an_installation_without_it_says_so(fields, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "_packaged", lambda: tmp_path / "gone.zip")
    said = refusal("smear", fields, "-o", tmp_path / "out")
    assert "gone.zip: the built-in model is missing; install leukoscope again" in said
    assert "is missing" in refusal("predict", "packaged", fields, "-o", tmp_path / "p.csv")
    assert not (tmp_path / "out").exists()
    assert leukoscope("smear", fields / "1.png", "-o", tmp_path / "out", "--no-types").code == 0


def test_bundles_that_will_not_do_are_refused_by_name(bundle, fields, tmp_path):
    newer, odd = (shutil.copytree(bundle, tmp_path / name) for name in ("newer", "odd"))
    change(newer, format=2)
    said = refusal("smear", fields, "-o", tmp_path / "out", "--bundle", newer)
    assert f"{newer}: is of format 2, and this version reads up to 1; install a newer leukoscope" in said
    change(odd, classes=["platelet", "erythroblast", "debris"])
    said = refusal("smear", fields, "-o", tmp_path / "out", "--bundle", odd)
    assert f"{odd}: its classes are platelet, erythroblast, debris, and none of them is a leukocyte" in said
    assert "use one of the two" in refusal("smear", fields, "-o", tmp_path / "out", "--no-types", "--bundle", bundle)
    assert not (tmp_path / "out").exists()


# Stopping and going on

def test_a_stopped_call_goes_on_without_doing_a_field_twice_or_losing_one(fields, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        called = stop_after(patch, 2)
        with pytest.raises(Stopped):
            smear_fields([fields], out, types=False)
    assert called == ["1", "2"]
    assert not (out / "summary.json").exists()
    (out / ".parts" / "000002.parquet").write_bytes(b"half")  # of the third, whose part is not whole
    (out / ".3.01234567.partial.png").write_bytes(b"half")
    with pytest.raises(LeukoscopeError, match="holds a stopped run; continue with --resume, or use --overwrite"):
        smear_fields([fields], out, types=False)
    with monkeypatch.context() as patch:
        called = stop_after(patch, 9)
        smear_fields([fields], out, types=False, resume=True)
    assert called == ["3"]
    assert names_in(out) == names_in(whole)
    for name in ("cells.parquet", "cells.csv", "cells.coco.json", "summary.json", "1.geojson", "3.png"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    with monkeypatch.context() as patch:
        stop_after(patch, 0)  # done: nothing to go on with
        assert as_json(smear_fields([fields], out, types=False, resume=True)) == read(out / "summary.json")
    (out / "2.png").unlink()
    assert "2.png is missing; use --overwrite" in refusal("smear", fields, "-o", out, "--no-types", "--resume")


def test_a_stopped_call_goes_on_with_the_same_only(fields, bundle, tmp_path, monkeypatch):
    out, own = tmp_path / "out", shutil.copytree(fields, tmp_path / "in")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stopped):
            smear_fields([own], out, types=False)
    for options, said in ((("--no-types", "--micrometres", SCALE), "another --micrometres"),
                          (("--no-types", "--subject", "x"), "another --subject"),
                          (("--bundle", bundle), "another bundle")):
        line = refusal("smear", own, "-o", out, "--resume", *options)
        assert f"was made with {said}; name another folder, or use --overwrite instead of --resume" in line
    os.utime(own / "3.png", (1, 1))
    assert "was made with other fields" in refusal("smear", own, "-o", out, "--resume", "--no-types")
    assert leukoscope("smear", own / "1.png", "-o", out, "--no-types", "--overwrite").code == 0
    assert set(names_in(out)) == {"1.geojson", "1.png", "cells.coco.json", "cells.csv", "cells.parquet", "smear.html",
                                  "summary.json"}


def test_a_full_disk_is_one_line_and_the_call_goes_on_when_there_is_room(fields, whole, tmp_path, monkeypatch):
    out, synced = tmp_path / "out", iter(range(100))

    def full(number: int) -> None:
        if next(synced) >= 9:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        line = refusal("smear", fields, "-o", out, "--no-types")
    assert f"{out}" in line
    assert "No space left on device; free disk space, or choose another folder" in line
    assert not [name for name in names_in(out) if "partial" in name]
    assert leukoscope("smear", fields, "-o", out, "--no-types", "--resume").code == 0
    assert (out / "cells.parquet").read_bytes() == (whole / "cells.parquet").read_bytes()


def test_a_folder_that_cannot_be_written_is_one_line(fields, tmp_path):
    (tmp_path / "file").write_text("")
    said = refusal("smear", fields, "-o", tmp_path / "file" / "x", "--no-types")
    assert "Not a directory; check the path, and who may read and write it" in said
    assert "is a file; name a folder" in refusal("smear", fields, "-o", tmp_path / "file", "--no-types")


def test_no_field_is_kept_in_memory_when_the_next_is_worked_on(fields, tmp_path, monkeypatch):
    alive: list[Any] = []
    inside = field_command.process_field

    def watched(*args, **options):
        assert [part for part in alive if part() is not None] == []
        part = inside(*args, **options)
        alive.append(weakref.ref(part))
        return part

    monkeypatch.setattr(smear_command, "process_field", watched)
    smear_fields([fields], tmp_path / "out", types=False)
    assert len(alive) == 3


def test_the_page_has_room_for_so_many_pictures_and_says_where_the_others_are(fields, tmp_path, monkeypatch):
    one = max(len(image_uri(phantom(seed).pixels)) for seed in (1, 2, 3))
    monkeypatch.setattr(write_command, "PICTURES", round(1.5 * one))
    smear_fields([fields], tmp_path / "out", types=False)
    page = Page(tmp_path / "out" / "smear.html")
    assert [tag for tag, _ in page.tags].count("image") == 1
    assert "2 more fields do not fit into this page; the pictures are beside it as PNG" in page.text


# Several subjects

@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> Path:
    """Ann with two fields, Bob with one, and a folder without an image."""
    folder = tmp_path_factory.mktemp("subjects")
    for seed, path in ((1, "Ann/slide a/1.png"), (2, "Ann/slide b/1.png"), (3, "Bob <1>/x.png")):
        save(phantom(seed).pixels, folder / path)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def by_folder(subjects, bundle, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("by_folder") / "out"
    answer = leukoscope("smear", subjects, "-o", out, "--by-folder", "--micrometres", SCALE, "--bundle", bundle)
    assert answer.code == 0, answer
    assert "2 subjects:" in answer.out
    return out


def test_each_folder_of_a_folder_is_a_subject_with_a_page(by_folder):
    for folder, fields in (("Ann", 2), ("Bob <1>", 1)):
        summary = read(by_folder / folder / "summary.json")
        assert (summary["subject"], len(summary["fields"])) == (folder, fields)
        assert folder in Page(by_folder / folder / "smear.html").text
    links = [value for tag, attributes in Page(by_folder / "index.html").tags for key, value in attributes.items()
             if tag == "a" and key == "href"]
    assert links == ["Ann/smear.html", "Bob%20%3C1%3E/smear.html"]
    assert {path.name for path in by_folder.iterdir()} == {
        "Ann", "Bob <1>", "index.html", "summary.json", *(f"{name}.{end}" for name in ("cells", "subjects")
                                                          for end in ("csv", "parquet"))}


def test_the_joined_tables_are_those_of_the_subjects(by_folder):
    joined, rows = pl.read_parquet(by_folder / "cells.parquet"), pl.read_parquet(by_folder / "subjects.parquet")
    assert rows["subject"].to_list() == ["Ann", "Bob <1>"]
    for row in rows.iter_rows(named=True):
        own = pl.read_parquet(by_folder / row["folder"] / "cells.parquet")
        of_it = joined.filter(pl.col("subject") == row["subject"])
        assert of_it.select(own.columns).equals(own)
        whole = own.filter(~pl.col("cut") & ~pl.col("damaged"))
        assert (row["found"], row["leukocytes"], row["flagged"]) == (
            own.height, whole.height, own["flag"].drop_nulls().len())
        assert [row[f"cells_{name}"] for name in "abc"] == [(whole["predicted"] == name).sum() for name in "abc"]
        assert row["share_a"] == (whole["predicted"] == "a").mean()
    assert joined.height == rows["found"].sum()
    assert joined["flag"].is_null().is_sorted()


def test_a_stopped_call_of_several_subjects_goes_on(subjects, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stopped):
            smear_subjects([subjects], out, types=False)
    assert (out / "Ann" / "smear.html").is_file()
    assert "holds a stopped run" in refusal("smear", subjects, "-o", out, "--by-folder", "--no-types")
    with monkeypatch.context() as patch:
        called = stop_after(patch, 9)
        smear_subjects([subjects], out, types=False, resume=True)
    assert called == ["x"]
    assert not [name for name in names_in(out) if ".parts" in name or ".lock" in name]
    smear_subjects([subjects / "Ann"], out, types=False, overwrite=True)  # its slides as subjects
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"slide a", "slide b"}


def test_a_subject_that_cannot_be_read_is_named_and_left_out(subjects, tmp_path):
    own = shutil.copytree(subjects, tmp_path / "in")
    (own / "Ann" / "slide a" / "1.png").write_bytes(b"")
    (own / "Bob <1>" / "x.png").write_bytes(b"no image")
    answer = leukoscope("smear", own, "-o", tmp_path / "out", "--by-folder", "--no-types")
    assert answer.code == 0
    assert "Bob <1>: left out, none of 1 field could be read" in answer.out
    page = Page(tmp_path / "out" / "index.html").text
    assert "1 subject could not be read and is left out" in page
    assert "1 unreadable" in page
    assert not (tmp_path / "out" / "Bob <1>").exists()
    (own / "Ann" / "slide b" / "1.png").write_bytes(b"")
    for _ in range(2):  # nothing is left that the second call would take for a stopped one
        assert "no subject could be read; Ann: none of 2" in refusal(
            "smear", own, "-o", tmp_path / "other", "--by-folder", "--no-types")
    for _ in range(2):
        assert "none of 1 field could be read" in refusal(
            "smear", own / "Bob <1>", "-o", tmp_path / "one", "--no-types")


def test_folders_that_do_not_say_who_the_subjects_are(subjects, tmp_path):
    out = tmp_path / "out"
    said = refusal("smear", subjects, "-o", out, "--by-folder", "--no-types", "--subject", "x")
    assert "folders name the subjects" in said
    said = refusal("smear", subjects / "Bob <1>" / "x.png", "-o", out, "--by-folder", "--no-types")
    assert "--by-folder takes folders, one for each subject" in said
    own = shutil.copytree(subjects, tmp_path / "in")
    shutil.copy(own / "Bob <1>" / "x.png", own / "stray.png")
    assert "stray.png lies beside folders of subjects" in refusal("smear", own, "-o", out, "--by-folder", "--no-types")


def test_folders_of_one_name_are_told_apart_by_the_folder_above(tmp_path):
    for path in ("healthy/1/a.png", "ill/1/a.png", "ill/2/a.png"):
        save(phantom(1).pixels[:64, :64], tmp_path / path)
    found = subjects_of([tmp_path / "healthy", tmp_path / "ill"], tmp_path / "out")
    assert [(one.name, one.folder) for one in found] == [("healthy/1", "healthy_1"), ("ill/1", "ill_1"), ("2", "2")]
    assert [len(one.fields.sources) for one in found] == [1, 1, 1]


def test_an_interrupted_call_says_how_it_goes_on(fields, tmp_path, monkeypatch):
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(smear_command, "smear_listed", stopped)
    answer = leukoscope("smear", fields, "-o", tmp_path / "out", "--no-types")
    assert answer.code == 130
    assert "repeat the command with --resume to continue" in answer.err


def test_what_an_earlier_call_has_written_is_no_field_and_no_subject(subjects, tmp_path):
    own = shutil.copytree(subjects, tmp_path / "in")
    first = smear_fields([own / "Ann"], own / "Ann" / "count", types=False)
    second = smear_fields([own / "Ann"], own / "Ann" / "again", types=False)
    assert [field.image for field in second.fields] == [field.image for field in first.fields]
    smear_subjects([own], own / "all", types=False)
    assert [one.name for one in subjects_of([own], own / "more")] == ["Ann", "Bob <1>"]
    assert "was written by an earlier call" in refusal("smear", own / "Ann" / "count", "-o", tmp_path / "x",
                                                       "--no-types")


def test_names_are_cut_where_a_file_system_would_not_take_them():
    names = unique_names(["ä" * 120 + "1", "ä" * 120 + "2", "short"], set())
    assert names == ["ä" * 90, "ä" * 90 + "_2", "short"]


def test_each_field_is_looked_at_once(tmp_path, monkeypatch):
    looked = []
    survey = find.survey
    monkeypatch.setattr(find, "survey", lambda source: looked.append(source) or survey(source))
    for seed in (1, 2):
        Image.fromarray(render_field(240, 180, seed=seed).pixels).save(tmp_path / f"{seed}.png")
    smear_fields([tmp_path], tmp_path / "out", types=False)
    assert len(looked) == 2
