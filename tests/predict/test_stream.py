"""Prediction by a bundle: streams, what cannot be read, stopping and going on, Python."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image

import leukoscope as package
from command import leukoscope, refusal
from leukoscope.bundle.bundle import Bundle, open_bundle
from leukoscope.errors import ImageError, LeukoscopeError
from leukoscope.images.read import read_image
from leukoscope.manifest import make_manifest, write_manifest
from leukoscope.predict import batches
from leukoscope.predict import stream as streaming
from leukoscope.predict.model import load
from leukoscope.predict.sources import look_through
from leukoscope.predict.stream import predict_stream
from tiny import make_cells


@pytest.fixture(scope="module")
def bundle(bundle) -> Bundle:
    """The bundle of all tests, opened."""
    return open_bundle(bundle)


@pytest.fixture(scope="module")
def folder(bundle) -> Path:
    return bundle.path


@pytest.fixture
def cells(tmp_path) -> Path:
    make_cells(tmp_path / "cells", counts={"a": 5, "b": 6}, seed=4)
    return tmp_path / "cells"


def expected(bundle: Bundle, images: list[np.ndarray]) -> np.ndarray:
    from leukoscope.images.resample import crop_centre, resize

    return bundle.probabilities(np.stack([resize(crop_centre(image, 18), 16) for image in images]))[0]


def test_a_folder_gives_a_row_an_image_in_the_order_of_their_names(bundle, cells, tmp_path):
    seen = []
    found = predict_stream(bundle, [cells], tmp_path / "p.parquet",
                           on_progress=lambda done, total: seen.append((done, total)))
    table = pl.read_parquet(found.table)
    files = sorted(cells.glob("*.png"))
    assert table["image"].to_list() == [str(file) for file in files]
    p = table.select("p_a", "p_b", "p_c").to_numpy()
    np.testing.assert_allclose(p, expected(bundle, [read_image(file) for file in files]), atol=1e-5)
    assert table["predicted"].to_list() == [bundle.classes[i] for i in p.argmax(1)]
    assert sum(found.counts.values()) == found.cells == 11
    assert seen[-1] == (11, 11)
    told = bundle.description
    assert told.radius is not None
    for row in table.iter_rows(named=True):
        inside = {name for name in bundle.classes if row[f"p_{name}"] >= 1 - told.radius} | {row["predicted"]}
        assert set(json.loads(row["set"])) == inside
        assert row["unsure"] == (len(inside) != 1)
        assert row["known"] == (row["energy"] >= told.least_energy)
    assert found.unsure == table["unsure"].sum()
    assert not list(tmp_path.glob(".p.parquet*"))


def test_files_patterns_manifests_and_pages_are_all_listed(bundle, cells, tmp_path):
    pages = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="rgb")
    whole = Image.new("RGB", (60, 40), (200, 100, 50))
    whole.paste(Image.open(cells / "a000.png"), (10, 5))
    whole.save(tmp_path / "field.png")
    box = {"cell_id": "boxed", "image": str(tmp_path / "field.png"), "x": 10, "y": 5, "width": 20, "height": 20}
    write_manifest(make_manifest([box]), tmp_path / "boxes.parquet")
    inputs = [cells / "a000.png", str(cells / "b*.png"), tmp_path / "stack.tif", tmp_path / "boxes.parquet", cells]
    names = [source.name for source in look_through(inputs).sources]
    assert names == [str(cells / "a000.png"), *(str(cells / f"b{i:03d}.png") for i in range(6)),
                     *(f"{tmp_path / 'stack.tif'}#{page}" for page in range(3)), "boxed",
                     *(str(cells / f"a{i:03d}.png") for i in range(1, 5))]
    table = pl.read_parquet(predict_stream(bundle, inputs, tmp_path / "p.parquet").table)
    assert table["cell"].to_list() == names
    alone, boxed = table.filter(pl.col("cell").is_in([str(cells / "a000.png"), "boxed"])).select("p_a").to_series()
    assert alone == pytest.approx(boxed, abs=1e-6)
    of_pages = table.filter(pl.col("page").is_not_null())
    p = of_pages.select("p_a", "p_b", "p_c").to_numpy()
    np.testing.assert_allclose(p, expected(bundle, list(pages)), atol=1e-5)


def test_what_cannot_be_read_is_a_row_with_its_reason(bundle, cells, tmp_path):
    (cells / "a001.png").write_bytes(b"")
    (cells / "b003.png").write_bytes((cells / "b003.png").read_bytes()[:200])
    found = predict_stream(bundle, [cells], tmp_path / "p.csv")
    table = pl.read_csv(found.table)
    assert (found.cells, found.damaged) == (11, 2)
    wrong = table.filter(pl.col("error").is_not_null())
    assert [Path(image).name for image in wrong["image"]] == ["a001.png", "b003.png"]
    assert wrong.select("predicted", "unsure", "p_a", "energy").null_count().row(0) == (2, 2, 2, 2)
    assert table.filter(pl.col("error").is_null())["predicted"].null_count() == 0


@pytest.mark.parametrize("told", [True, False])
def test_every_page_of_a_truncated_stack_has_a_row(bundle, told, tmp_path):
    """Pages one after the other, cut off in the fourth; with and without a description of how many there were."""
    pages = np.random.default_rng(0).integers(0, 255, (5, 20, 20, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for page in pages:
            writer.write(page, photometric="rgb", metadata=None,
                         description='{"shape": [5, 20, 20, 3]}' if told else None)
    with tifffile.TiffFile(tmp_path / "stack.tif") as tiff:
        after = tiff.pages[3].dataoffsets[0] + 100  # type: ignore[union-attr]  # a page, no frame
    (tmp_path / "stack.tif").write_bytes((tmp_path / "stack.tif").read_bytes()[:after])
    table = pl.read_parquet(predict_stream(bundle, [tmp_path / "stack.tif"], tmp_path / "p.parquet").table)
    assert table["page"].to_list() == [0, 1, 2, 3, 4]
    assert table["error"].is_null().to_list() == [True] * 3 + [False] * 2
    whole = bundle.probabilities(np.stack([streaming.prepared(page, bundle.description) for page in pages[:3]]))[0]
    np.testing.assert_allclose(table.select("p_a", "p_b", "p_c").to_numpy()[:3], whole, atol=1e-5)
    assert "a strip or tile of pixels lies beyond its end" in table["error"][3]
    assert ("page 4 is missing: the file should have 5" if told else "page 4 and all after it are missing") in (
        table["error"][4])


def test_a_stack_that_has_fewer_pages_than_it_says_lacks_them(tmp_path):
    page = np.zeros((20, 20, 3), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", page, photometric="rgb", metadata=None,
                     description="ImageJ=1.53\nimages=3\nframes=3\n")
    sources = look_through([tmp_path / "stack.tif"]).sources
    assert [(source.page, bool(source.missing)) for source in sources] == [(0, False), (1, True), (2, True)]
    assert np.array_equal(sources[0].read(), page)
    with pytest.raises(ImageError, match="page 2 is missing: the file should have 3"):
        sources[2].read()


def test_names_that_are_no_text_links_and_pictures_that_stand_otherwise(bundle, cells, tmp_path):
    (cells / "away.png").symlink_to(tmp_path / "gone.png")
    odd = os.fsencode(cells) + b"/caf\xe9.png"
    Path(os.fsdecode(odd)).write_bytes((cells / "a000.png").read_bytes())
    found = predict_stream(bundle, [cells], tmp_path / "p.parquet")
    table = pl.read_parquet(found.table)
    assert (found.cells, found.damaged) == (13, 1)
    assert table.filter(pl.col("error").is_not_null())["image"].to_list() == [str(cells / "away.png")]
    assert any(name.endswith("caf\\udce9.png") for name in table["cell"])


def test_json_lines_hold_the_same_rows(bundle, cells, tmp_path):
    predict_stream(bundle, [cells], tmp_path / "p.jsonl")
    predict_stream(bundle, [cells], tmp_path / "p.parquet")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["predicted"] for line in lines] == pl.read_parquet(tmp_path / "p.parquet")["predicted"].to_list()


def test_a_stopped_prediction_goes_on_without_doing_work_twice_or_losing_a_row(bundle, cells, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "PART", 4)
    whole = pl.read_parquet(predict_stream(bundle, [cells], tmp_path / "whole.parquet").table)
    read = []
    inside = streaming.predict_sources

    def counted(bundle, sources, *, on_progress=None):
        if len(read) == 2 and stop:
            raise KeyboardInterrupt
        read.append([source.name for source in sources])
        return inside(bundle, sources, on_progress=on_progress)

    monkeypatch.setattr(streaming, "predict_sources", counted)
    stop = True
    with pytest.raises(KeyboardInterrupt):
        predict_stream(bundle, [cells], tmp_path / "p.parquet")
    assert not (tmp_path / "p.parquet").exists()
    with pytest.raises(LeukoscopeError, match=r"a stopped run; continue with --resume"):
        predict_stream(bundle, [cells], tmp_path / "p.parquet")
    with pytest.raises(LeukoscopeError, match="a stopped run of other images or of another bundle"):
        predict_stream(bundle, [cells / "a000.png"], tmp_path / "p.parquet", resume=True)
    moved = cells / "b000.png"
    kept = moved.read_bytes(), moved.stat()
    moved.write_bytes((cells / "a000.png").read_bytes())
    with pytest.raises(LeukoscopeError, match="a stopped run of other images"):
        predict_stream(bundle, [cells], tmp_path / "p.parquet", resume=True)
    stop = False
    predict_stream(bundle, [cells], tmp_path / "other.parquet")
    assert kept[0] != moved.read_bytes()
    read.clear()
    stop = True
    shutil.rmtree(tmp_path / ".p.parquet.parts")
    with pytest.raises(KeyboardInterrupt):
        predict_stream(bundle, [cells], tmp_path / "p.parquet")
    stop = False
    whole = pl.read_parquet(tmp_path / "other.parquet")
    found = predict_stream(bundle, [cells], tmp_path / "p.parquet", resume=True)
    assert [len(names) for names in read] == [4, 4, 3]
    assert sorted(name for names in read for name in names) == sorted(whole["cell"])
    assert pl.read_parquet(found.table).equals(whole)
    assert predict_stream(bundle, [cells], tmp_path / "p.parquet", resume=True) == found  # done: nothing to go on with
    with pytest.raises(LeukoscopeError, match="holds predictions of other cells"):
        predict_stream(bundle, [cells / "a000.png"], tmp_path / "p.parquet", resume=True)
    assert len(read) == 3


def test_the_batch_that_a_cell_comes_in_does_not_matter(bundle, cells, monkeypatch):
    sources = look_through([cells]).sources
    whole = streaming.predict_sources(bundle, sources)
    monkeypatch.setattr(batches, "BATCH", 2)
    few = streaming.predict_sources(bundle, sources)
    np.testing.assert_allclose(whole["p_a"], few["p_a"], atol=1e-6)
    assert whole.drop("^p_.*$", "energy").equals(few.drop("^p_.*$", "energy"))


def test_a_bundle_without_validation_marks_nothing(bundle):
    told = bundle.description.model_copy(update={"radius": None, "least_energy": None})
    table = streaming.verdicts(told, np.array([[0.9, 0.05, 0.05]], np.float32), np.array([1.0], np.float32))
    assert table["predicted"].to_list() == ["a"]
    assert table.select("unsure", "set", "known").row(0) == (None, None, None)


# Python

def test_python_takes_paths_arrays_and_pictures(folder, cells):
    model = package.load(folder)
    files = sorted(cells.glob("*.png"))
    arrays = [np.array(Image.open(file)) for file in files]
    by_file = model.predict(files)
    assert by_file.equals(model.predict(arrays))
    assert by_file.equals(model.predict(Image.open(file) for file in files))
    assert by_file.height == 11
    assert model.predict(files[0]).equals(by_file[:1])
    assert model.predict(arrays[0]).equals(by_file[:1])
    assert model.predict(Image.open(files[0])).equals(by_file[:1])
    assert model.predict(np.stack(arrays)).equals(by_file)
    assert model.predict([]).columns == by_file.columns
    assert model.classes == ("a", "b", "c")


def test_python_and_files_agree_on_pictures_that_are_not_plain(folder, cells, tmp_path):
    model = load(folder)
    picture = Image.open(cells / "a000.png")
    alpha = picture.copy()
    alpha.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 20), (20, 1)).astype(np.uint8)))
    alpha.save(tmp_path / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(np.array(picture.convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for file in (tmp_path / "alpha.png", tmp_path / "turned.jpg", tmp_path / "deep.png"):
        by_file, by_picture = model.predict(file), model.predict(Image.open(file))
        np.testing.assert_allclose(by_file["p_a"], by_picture["p_a"], atol=1e-6)
    for wrong in (None, b"bytes", 3):
        with pytest.raises(LeukoscopeError, match="is not an image"):
            model.predict([wrong])  # type: ignore[list-item]  # on purpose


def test_python_refuses_what_is_no_image(folder, tmp_path):
    model = load(str(folder))
    with pytest.raises(LeukoscopeError, match=r"an array of float64 \(4, 4, 3\) is not an image"):
        model.predict([np.zeros((4, 4, 3))])
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(ImageError):
        model.predict(tmp_path / "x.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "y.png")
    closed = Image.open(tmp_path / "y.png")
    closed.close()
    masked = np.ma.masked_greater(np.full((20, 20, 3), 9, np.uint8), 5)
    for wrong, says in ((None, "NoneType is not"), (5, "int is not"), (b"bytes", "bytes is not"),
                        (masked, "masked pixels"), (closed, "cannot be read: Operation on closed image")):
        with pytest.raises(LeukoscopeError, match=says):
            model.predict(wrong)  # type: ignore[arg-type]  # on purpose


def test_hidden_pictures_are_named_and_no_litter_is(tmp_path):
    for name in ("a.png", ".b.png", "._a.png", "Thumbs.db", ".c.txt"):
        (tmp_path / name).write_bytes(b"x")
    listed = look_through([tmp_path])
    assert [Path(source.image).name for source in listed.sources] == ["a.png"]
    assert [(Path(one.name).name, one.reason) for one in listed.left_out] == [
        (".b.png", "is hidden (its name begins with a dot)")]


def test_a_model_shows_itself_in_a_line_and_in_a_table(folder):
    model = load(folder)
    assert repr(model) == f"Model(tiny, 3 classes: a, b, c; from {folder})"
    shown, described = model._repr_html_(), model.description
    for part in ("a, b and c", "16 x 16 px", f"{described.metrics['cells']} test cells", str(folder), "For research",
                 f"{described.trained['cells']} cells"):
        assert part in shown
    assert f"{100 * described.metrics['overall']['accuracy']['value']:.1f}" in shown
    odd = replace(model, bundle=replace(model.bundle, description=described.model_copy(update={"title": "<b>&"})))
    assert "<caption>&lt;b&gt;&amp;." in odd._repr_html_()


# The command

def test_the_command_says_what_it_found(folder, cells, tmp_path):
    (cells / "a001.png").write_bytes(b"")
    for number in range(5):
        (cells / f"{number}.jp2").write_bytes(b"something")
    answer = leukoscope("predict", folder, cells, "-o", tmp_path / "p.parquet", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["cells"], told["damaged"]) == (11, 1)
    assert told["left_out"] == [[str(cells / f"{n}.jp2"), "is JPEG 2000 (save it as TIFF or PNG)"] for n in range(5)]
    assert pl.read_parquet(told["table"]).height == 11
    said = leukoscope("predict", folder, cells, "-o", tmp_path / "p.csv").out
    assert "11 cells: 1 cannot be read" in said
    assert "already exists" in refusal("predict", folder, cells, "-o", tmp_path / "p.csv")
    assert leukoscope("predict", folder, cells, "-o", tmp_path / "p.csv", "--overwrite").code == 0


def test_refusals_name_the_input_and_the_mend(folder, run, cells, tmp_path):
    said = refusal("predict", folder, cells, "-o", tmp_path / "p.xls")
    assert "predictions are written as .parquet, .csv, .jsonl" in said
    assert "no such file or folder" in refusal("predict", folder, tmp_path / "none", "-o", tmp_path / "p.csv")
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refusal("predict", folder, tmp_path / "empty", "-o", tmp_path / "p.csv")
    said = refusal("predict", run.folder, cells, "-o", tmp_path / "p.csv")
    assert "a run, not a bundle; make one: leukoscope export" in said
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"x")
    assert "model.onnx is not the file" in refusal("predict", damaged, cells, "-o", tmp_path / "p.csv")


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_a_table_of_something_else_is_not_gone_on_with(bundle, cells, tmp_path, name):
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(LeukoscopeError, match="not a table of this bundle's predictions"):
        predict_stream(bundle, [cells], tmp_path / name, resume=True)


class Killed(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("moment", ["before", "renamed", "half"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_kill_between_the_table_and_the_removal_of_its_parts_loses_nothing(bundle, cells, tmp_path, monkeypatch,
                                                                             moment, suffix):
    out = tmp_path / f"p{suffix}"
    whole = predict_stream(bundle, [cells], out)
    content = out.read_bytes()
    out.unlink()

    def die(*_, **__):
        if out.exists():
            if moment == "half":
                (tmp_path / f".{out.name}.parts.joined" / "plan.json").unlink()
            raise Killed
        return True

    with monkeypatch.context() as patch:
        patch.setattr(streaming.shutil, "rmtree", lambda path, **_: die())
        if moment == "before":
            patch.setattr(Path, "rename", die)
        with pytest.raises(Killed):
            predict_stream(bundle, [cells], out)
    assert len(list(tmp_path.glob(".p.*"))) == 1
    assert predict_stream(bundle, [cells], out, resume=True) == whole
    assert out.read_bytes() == content
    assert not list(tmp_path.glob(".p.*"))


def test_a_part_that_somebody_removes_meanwhile_is_named_and_made_again(bundle, cells, tmp_path, monkeypatch):
    whole = predict_stream(bundle, [cells], tmp_path / "whole.csv")
    written, out = streaming.write_table, tmp_path / "p.csv"
    monkeypatch.setattr(streaming, "PART", 4)

    def removed(table: pl.DataFrame, path: Path) -> None:
        written(table, path)
        if path.name == "000002.parquet":
            (path.parent / "000001.parquet").unlink()

    with monkeypatch.context() as patch:
        patch.setattr(streaming, "write_table", removed)
        with pytest.raises(LeukoscopeError, match=r"000001\.parquet is missing.*; repeat it with --resume"):
            predict_stream(bundle, [cells], out)
    assert not out.exists()
    assert predict_stream(bundle, [cells], out, resume=True) == replace(whole, table=out)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("ids", [["NA", "null"], ["true", "TRUE"], ["1.0", "01"], ["1e5", "9" * 30], ["=1", "'=1"],
                                 ["2020-01-01", "00:01"], [" 7", "7"], ["a\tb", 'a"b']])
def test_a_finished_table_of_any_ids_goes_on(bundle, cells, tmp_path, ids):
    images = sorted(cells.glob("*.png"))
    write_manifest(make_manifest([{"cell_id": name, "image": str(image)} for name, image in zip(ids, images,
                                                                                             strict=False)]),
                   tmp_path / "m.parquet")
    for suffix in (".csv", ".parquet", ".jsonl"):
        done = predict_stream(bundle, [tmp_path / "m.parquet"], tmp_path / f"n{suffix}")
        assert predict_stream(bundle, [tmp_path / "m.parquet"], tmp_path / f"n{suffix}", resume=True) == done


def test_a_finished_table_of_ids_that_look_like_numbers_goes_on(bundle, cells, tmp_path):
    first, second, *_ = sorted(cells.glob("*.png"))
    write_manifest(make_manifest([{"cell_id": "007", "image": str(first)}, {"cell_id": "012", "image": str(second)}]),
                   tmp_path / "m.parquet")
    for suffix in (".csv", ".parquet", ".jsonl"):
        done = predict_stream(bundle, [tmp_path / "m.parquet"], tmp_path / f"n{suffix}")
        assert predict_stream(bundle, [tmp_path / "m.parquet"], tmp_path / f"n{suffix}", resume=True) == done


def test_a_finished_table_without_an_answer_goes_on(bundle, tmp_path):
    """Such a table does not say of which type its columns are."""
    (tmp_path / "empty.png").touch()
    for suffix in (".csv", ".parquet", ".jsonl"):
        done = predict_stream(bundle, [tmp_path / "empty.png"], tmp_path / f"n{suffix}")
        assert (done.cells, done.damaged, done.unsure) == (1, 1, 0)
        assert predict_stream(bundle, [tmp_path / "empty.png"], tmp_path / f"n{suffix}", resume=True) == done


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-a.png", "@a.png", "'=a.png"])
def test_names_that_a_spreadsheet_would_compute_are_harmless_in_csv_only(bundle, cells, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    next(cells.glob("*.png")).rename(name)
    for suffix in (".csv", ".parquet"):
        done = predict_stream(bundle, [name], tmp_path / f"n{suffix}")
        assert predict_stream(bundle, [name], tmp_path / f"n{suffix}", resume=True) == done
    assert pl.read_parquet(tmp_path / "n.parquet")["cell"].to_list() == [name]
    assert pl.read_csv(tmp_path / "n.csv")["cell"].to_list() == [f"'{name}"]
