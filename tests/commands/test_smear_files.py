"""Photographs as laboratories have them, through the command line: one field counted once, at the scale that its file
states, and everything else that lay in the input named. The files of shared/cases where they are, and look-alikes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image

from command import leukoscope, refusal
from damaged import bomb_png
from leukoscope.commands import smear_field
from leukoscope.commands.smear_field import ScaleChoice, choose_scale
from leukoscope.commands.smear_resume import FieldScale
from leukoscope.predict import found
from leukoscope.smear import ArrayField
from page_reader import Page
from smear_fields import SCALE, phantom, save


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of inputs that failed; tests that need it are skipped where there is none."""
    given = os.environ.get("LEUKOSCOPE_CASES")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases: {folder} is not there (set LEUKOSCOPE_CASES)")
    return folder


def smear(*arguments: object) -> dict:
    answer = leukoscope("smear", *arguments, "--no-types", "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def areas(out: Path, *, whole: bool = True) -> list[float]:
    """Of the cells, um2, in order."""
    cells = pl.read_parquet(out / "cells.parquet")
    return sorted(cells.filter(~pl.col("cut") if whole else pl.lit(True))["cell_area_um"].to_list())


# The cases

def test_reduced_pages_are_no_fields(cases, tmp_path):
    plain = smear(cases / "lab" / "00-reference" / "field.jpg", "-o", tmp_path / "plain")
    summary = smear(cases / "lab" / "01-pyramid-pages" / "field.tif", "-o", tmp_path / "out")
    (field,) = summary["fields"]
    assert (field["width"], field["height"]) == (800, 600)
    assert field["micrometres_per_pixel"] == pytest.approx(0.1, rel=0.08)
    assert summary["differential"]["found"] == plain["differential"]["found"] == 6
    assert np.allclose(areas(tmp_path / "out"), areas(tmp_path / "plain"), rtol=0.1)
    assert "a reduced copy" in summary["left_out"][0]["reason"]


def test_planes_of_focus_are_counted_once(cases, tmp_path):
    summary = smear(cases / "lab" / "02-zstack" / "stack.tif", "-o", tmp_path / "out")
    (field,) = summary["fields"]
    assert "3 pages show one field in planes of focus: the sharpest" in field["remarks"][0]


def test_layouts_of_tiff(cases, tmp_path):
    answer = leukoscope("predict", "packaged", cases / "lab" / "04-planar16", "-o", tmp_path / "planar.parquet")
    assert answer.code == 0
    first, second = pl.read_parquet(tmp_path / "planar.parquet").drop("cell", "image").rows()
    assert first == second
    leukoscope("predict", "packaged", cases / "lab" / "05-tiff-headers", "-o", tmp_path / "headers.parquet")
    table = pl.read_parquet(tmp_path / "headers.parquet")
    errors = dict(zip([Path(image).name for image in table["image"]], table["error"], strict=True))
    assert "32-bit values" in errors.pop("float.tif")
    assert list(errors.values()) == [None, None, None]


@pytest.mark.parametrize(("name", "truth"), [("macrocytic", [150.2, 98.4, 96.7]), ("microcytic", [150.2, 66.6, 98.4])])
def test_the_stated_scale_is_used(cases, name, truth, tmp_path):
    """Red cells of 9.0 and 6.2 um in fields of 0.1 um a pixel."""
    (field,) = smear(cases / "lab" / "06-stored-scale" / f"{name}.ome.tif", "-o", tmp_path / "out")["fields"]
    assert (field["micrometres_per_pixel"], field["scale_from"]) == (0.1, "file")
    assert np.allclose(areas(tmp_path / "out"), sorted(truth), rtol=0.06)
    assert "as the file states" in Page(tmp_path / "out" / "smear.html").text


def test_what_is_left_out_is_named_everywhere(cases, tmp_path):
    answer = leukoscope("smear", cases / "lab" / "16-skipped-formats" / "fields", "-o", tmp_path / "out", "--no-types")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    page = Page(tmp_path / "out" / "smear.html").text
    assert len(summary["fields"]) == 1
    assert [Path(one["image"]).name for one in summary["left_out"]] == ["b.jp2", "s.svs"]
    assert [Path(one["image"]).name for one in summary["unreadable"]] == ["IMG_0001.HEIC"]
    for name in ("b.jp2", "s.svs", "IMG_0001.HEIC"):
        assert name in answer.out
        assert name in page


def test_headers_that_would_fill_the_memory_are_a_line_each(cases, tmp_path):
    for name, says in (("01-png-100Mx1-memoryerror", "a side is over the limit of 65,535 px"),
                       ("02-tiff-huge-tile-memoryerror", "do not suit an image")):
        answer = leukoscope("predict", "packaged", cases / "attack" / name, "-o", tmp_path / f"{name}.parquet")
        assert answer.code == 0
        errors = pl.read_parquet(tmp_path / f"{name}.parquet")["error"]
        assert errors.null_count() == 2
        assert says in errors.drop_nulls().item()


# Look-alikes

def test_one_input_that_fails_is_one_line_whatever_it_raises(tmp_path, monkeypatch):
    """Also after the first look, and when the run is continued."""
    folder = tmp_path / "fields"
    for number in range(3):
        save(phantom(number).pixels, folder / f"{number}.png")
    (folder / "wide.png").write_bytes(bomb_png(100_000_000, 1))
    inside = smear_field.search

    def failing(field: ArrayField, *more: object, **options: object):
        if np.array_equal(field.pixels, phantom(1).pixels):
            raise RecursionError("too deep")
        return inside(field, *more, **options)  # type: ignore

    monkeypatch.setattr(smear_field, "search", failing)
    summary = smear(folder, "-o", tmp_path / "out", "--micrometres", SCALE)
    assert [field["name"] for field in summary["fields"]] == ["0", "2"]
    reasons = {Path(one["image"]).name: one["reason"] for one in summary["unreadable"]}
    assert reasons["1.png"] == "it cannot be worked on (RecursionError: too deep)"
    assert "over the limit of 65,535" in reasons["wide.png"]
    assert not (tmp_path / "out" / "1.png").exists()
    again = leukoscope("smear", folder, "-o", tmp_path / "out", "--micrometres", SCALE, "--no-types", "--resume")
    assert again.code == 0
    line = refusal("smear", folder / "1.png", "-o", tmp_path / "one", "--micrometres", SCALE, "--no-types")
    assert "no field could be worked on" in line


def test_a_cell_without_a_stained_nucleus_stops_nothing(tmp_path, monkeypatch):
    """The built-in model answers for no such cell."""
    save(phantom(0).pixels, tmp_path / "field.png")
    frame_of, done = found.cell_frame, []

    def unstained(*given):
        done.append(given)
        return replace(frame_of(*given), found=len(done) > 1)

    monkeypatch.setattr(found, "cell_frame", unstained)
    assert leukoscope("smear", tmp_path / "field.png", "-o", tmp_path / "out", "--micrometres", SCALE).code == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["differential"]["damaged"] >= 1
    assert "1 cell could not be typed and is called damaged: no cell found: nothing looks like a nucleus" in (
        summary["fields"][0]["remarks"][0])
    cells = pl.read_parquet(tmp_path / "out" / "cells.parquet")
    assert cells.filter(pl.col("predicted").is_null())["damaged"].to_list() == [True]
    coco = json.loads((tmp_path / "out" / "cells.coco.json").read_text())
    assert coco["categories"][-1]["name"] == "leukocyte"
    assert len(coco["annotations"]) == cells.height


def stored(path: Path, micrometres: float) -> Path:
    """A phantom field whose file states this size of its pixels."""
    per_centimetre = 10_000 / micrometres
    tifffile.imwrite(path, phantom(0).pixels, photometric="rgb", metadata=None, resolutionunit="CENTIMETER",
                     resolution=(per_centimetre, per_centimetre))
    return path


def test_a_stated_scale_is_used_contradicted_or_refused_and_never_silently_wrong(tmp_path):
    for stated, expected, source, says in (
            (SCALE, SCALE, "file", ""), (1.4 * SCALE, 1.4 * SCALE, "file", "the scale was stated by the file as 0.21"),
            (4 * SCALE, SCALE, "red cells", "the file states 0.6 um a pixel (TIFF resolution), but"),
            (1.0, SCALE, "red cells", "which programs write where nothing was calibrated: not used"),
            (25_400 / 300, SCALE, "red cells", "")):
        name = f"{stated:.4g}"
        (field,) = smear(stored(tmp_path / f"{name}.tif", stated), "-o", tmp_path / name)["fields"]
        assert field["micrometres_per_pixel"] == pytest.approx(expected, rel=0.001 if source == "file" else 0.1)
        assert field["scale_from"] == source
        assert any(says in remark for remark in field["remarks"]) if says else not field["remarks"]
    (field,) = smear(stored(tmp_path / "given.tif", 0.3), "-o", tmp_path / "given", "--micrometres", SCALE)["fields"]
    assert "the file states 0.3 um a pixel (TIFF resolution), and 0.15 was given" in field["remarks"]


def test_few_red_cells_do_not_outweigh_the_file():
    few, many = (FieldScale("", 0.4, count, 0.1, "OME") for count in (9, 10))
    assert choose_scale(few, [few], None) == ScaleChoice(0.1, "file")
    assert choose_scale(many, [many], None).micrometres is None
    assert "but 10 red cells say 0.4: not used" in choose_scale(many, [many], None).remark
    other = FieldScale("", 0.2, 30)
    assert choose_scale(other, [few, other], None).origin == "other fields"


def test_a_large_tiff_is_read_by_windows(tmp_path, monkeypatch):
    pixels = np.ascontiguousarray(phantom(0).pixels)
    monkeypatch.setattr(smear_field, "LARGE", pixels.shape[0] * pixels.shape[1] - 1)
    whole = smear(save(pixels, tmp_path / "whole.png"), "-o", tmp_path / "whole", "--micrometres", SCALE)
    for name, options in (("lzw", {"compression": "lzw"}), ("tiles", {"tile": (128, 64)}),
                          ("deep", {"compression": "zlib", "tile": (64, 64)})):
        samples = pixels.astype(np.uint16) * 257 if name == "deep" else pixels
        tifffile.imwrite(tmp_path / f"{name}.tif", samples, photometric="rgb", metadata=None, **options)  # type: ignore
        by_windows = smear(tmp_path / f"{name}.tif", "-o", tmp_path / name, "--micrometres", SCALE)
        assert by_windows["differential"] == whole["differential"]


def test_subjects_by_folder_name_what_belongs_to_none(tmp_path):
    for number, name in enumerate(("a", "b")):
        save(phantom(number).pixels, tmp_path / "in" / name / "1.png")
    (tmp_path / "in" / "a" / "extra.jp2").write_bytes(b"x")
    (tmp_path / "in" / "list.docx").write_bytes(b"x")
    (tmp_path / "in" / "empty").mkdir()
    answer = leukoscope("smear", tmp_path / "in", "-o", tmp_path / "out", "--by-folder", "--no-types", "--micrometres",
                        SCALE)
    assert answer.code == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {Path(one["image"]).name: one["reason"] for one in summary["left_out"]} == {
        "empty": "is a folder without a photograph", "list.docx": "lies beside the folders of the subjects"}
    page = Page(tmp_path / "out" / "index.html").text
    for name in ("list.docx", "empty"):
        assert name in page
        assert name in answer.out
    assert "extra.jp2" in answer.out
    assert "extra.jp2" in Page(tmp_path / "out" / "a" / "smear.html").text


def test_a_count_has_the_same_cells_whatever_file_the_field_is_in(tmp_path):
    pixels = phantom(0).pixels
    small = np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    with tifffile.TiffWriter(tmp_path / "copies.tif") as tiff:
        for page in (pixels, small):
            tiff.write(page, photometric="rgb", metadata=None)
    tifffile.imwrite(tmp_path / "focus.tif", np.stack([np.asarray(cv2.GaussianBlur(pixels, (0, 0), 2)), pixels]),
                     photometric="rgb", metadata={"axes": "ZYXS"})
    tifffile.imwrite(tmp_path / "channels.tif", np.moveaxis(pixels, -1, 0), photometric="minisblack",
                     metadata={"axes": "CYX"})
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    counts = [smear(tmp_path / name, "-o", tmp_path / name.replace(".", "_"))["differential"]
              for name in ("plain.png", "copies.tif", "focus.tif", "channels.tif")]
    assert counts[1:] == counts[:1] * 3
