"""Inputs that failed at first, each through the command line with its right result: those of shared/cases that no test
of their own folder runs. Skipped where they are not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from cases import case
from command import leukoscope, refusal


@dataclass(frozen=True)
class Leukocyte:
    """A leukocyte of a case: its box in px, area in um2, and whether the border of the field cuts it."""

    box: tuple[int, int, int, int]
    area: float
    cut: bool


def truth(folder: Path, name: str, shift: int = 0) -> list[Leukocyte]:
    """The leukocytes that a text of a case states; platelets are none. shift: px of a frame around the field."""
    found = re.findall(r"(\w+) box (\d+),(\d+),(\d+),(\d+) ([\d.]+) um2 (whole=True|whole=False|cut|whole)",
                       (folder / name).read_text())
    return [Leukocyte((int(x) + shift, int(y) + shift, int(width), int(height)), float(area),
                      cut in ("cut", "whole=False"))
            for kind, x, y, width, height, area, cut in found if kind != "platelet"]


def overlap(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    sides = [max(min(first[i] + first[i + 2], second[i] + second[i + 2]) - max(first[i], second[i]), 0) for i in (0, 1)]
    common = sides[0] * sides[1]
    return common / (first[2] * first[3] + second[2] * second[3] - common)


def count(image: Path, out: Path) -> tuple[dict, list[dict]]:
    """The summary of its only field, and the rows of its cells."""
    answer = leukoscope("smear", image, "-o", out, "--no-types", "--json")
    assert answer.code == 0, answer.err
    (field,) = json.loads(answer.out)["fields"]
    return field, pl.read_parquet(out / "cells.parquet").rows(named=True)


def check(cells: list[dict], expected: list[Leukocyte], hidden=lambda box: False) -> None:
    """Each whole leukocyte is found whole at its size; and nothing is found where none is. hidden: whether a part of a
    box was not recorded."""
    boxes = [tuple(cell[name] for name in ("x", "y", "width", "height")) for cell in cells]
    for leukocyte in expected:
        best = max(range(len(cells)), key=lambda i: overlap(boxes[i], leukocyte.box))
        if not leukocyte.cut and not hidden(leukocyte.box):
            assert overlap(boxes[best], leukocyte.box) > 0.7, leukocyte
            assert not cells[best]["cut"], leukocyte
            assert cells[best]["cell_area_um"] == pytest.approx(leukocyte.area, rel=0.2)
        elif overlap(boxes[best], leukocyte.box) > 0.2:
            assert cells[best]["cut"], leukocyte
    for box in boxes:
        assert max(overlap(box, leukocyte.box) for leukocyte in expected) > 0.1, box


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return case("lab/00-reference", tmp_path)


def test_a_round_view(reference, tmp_path):
    expected = truth(reference, "case.txt")
    field, cells = count(case("lab/07-black-circle", tmp_path) / "circle330.jpg", tmp_path / "out")

    def hidden(box: tuple[int, int, int, int]) -> bool:
        corners = [(box[0] + i * box[2], box[1] + j * box[3]) for i in (0, 1) for j in (0, 1)]
        return max((x - 400) ** 2 + (y - 300) ** 2 for x, y in corners) > 330 ** 2

    check(cells, expected, hidden)
    assert field["micrometres_per_pixel"] == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("name", "shift"), [("08-black-frame/frame.jpg", 4), ("09-white-frame/frame.jpg", 60)])
def test_a_frame(reference, name, shift, tmp_path):
    folder = case(f"lab/{Path(name).parent}", tmp_path)
    field, cells = count(folder / Path(name).name, tmp_path / "out")
    check(cells, truth(reference, "case.txt", shift))
    assert field["micrometres_per_pixel"] == pytest.approx(0.1, rel=0.1)
    assert any("shows nothing" in remark for remark in field["remarks"])


def test_a_white_tile(reference, tmp_path):
    field, cells = count(case("lab/09-white-frame", tmp_path) / "tile.jpg", tmp_path / "out")
    expected = truth(reference, "case.txt")
    for cell in cells:
        box = tuple(cell[name] for name in ("x", "y", "width", "height"))
        best = max(expected, key=lambda leukocyte: overlap(box, leukocyte.box))
        assert cell["cut"] or (not best.cut and overlap(box, best.box) > 0.7)
    assert field["micrometres_per_pixel"] == pytest.approx(0.1, rel=0.1)


def test_uneven_light(tmp_path):
    folder = case("lab/10-uneven-light", tmp_path)
    field, cells = count(folder / "light101_25.jpg", tmp_path / "a")
    check(cells, truth(folder, "light101_25.truth.txt"))
    assert field["micrometres_per_pixel"] == pytest.approx(0.1, rel=0.1)
    field, cells = count(folder / "light_30.jpg", tmp_path / "b")
    assert field["micrometres_per_pixel"] == pytest.approx(0.1, rel=0.1)
    whole = [cell for cell in cells if not cell["cut"]]
    assert abs(len(cells) - 13) <= 1
    assert abs(len(whole) - 10) <= 1
    assert all(50 < cell["cell_area_um"] < 300 for cell in whole)


def test_brackets(tmp_path):
    field = case("lab/11-brackets", tmp_path) / "Slide 3 [repeat]" / "f1.jpg"
    for out, given in (("out [1]", field), ("by folder", field.parent)):
        options = ("--by-folder",) if given == field.parent else ()
        assert leukoscope("smear", given, "-o", tmp_path / out, "--no-types", *options).code == 0
    assert pl.read_parquet((tmp_path / "out [1]" / "cells.parquet").read_bytes()).height > 0
    (tmp_path / "p [1]").mkdir()
    assert leukoscope("predict", "packaged", field.parent, "-o", tmp_path / "p [1]" / "p.csv").code == 0


def test_a_name_in_latin1(reference, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(reference / "field.jpg", tmp_path / "in" / os.fsdecode(b"Pr\xe9l.jpg"))
    shutil.copy(reference / "field.jpg", tmp_path / "in" / "other.jpg")
    for options in ((), ("--resume",)):
        assert leukoscope("smear", tmp_path / "in", "-o", tmp_path / "out", "--no-types", *options).code == 0
    assert len(json.loads((tmp_path / "out" / "summary.json").read_text())["fields"]) == 2
    subject = ("--subject", os.fsdecode(b"Ren\xe9"))
    assert leukoscope("smear", reference / "field.jpg", "-o", tmp_path / "x", "--no-types", *subject).code == 0
    assert set(pl.read_parquet(tmp_path / "x" / "cells.parquet")["subject"]) == {"Ren\\udce9"}


def test_labels_that_differ_invisibly(tmp_path):
    folder = case("research/01-label-variants", tmp_path)
    subprocess.run([sys.executable, "make.py"], cwd=folder, check=True)
    answer = leukoscope("data", "index", "folder", folder / "cells", "--option", "depth=2", "-o",
                        tmp_path / "c.parquet")
    assert "labels that differ only in case, blanks or Unicode form" in answer.out
    assert "data.merge=" in answer.out
    audited = leukoscope("data", "audit", tmp_path / "c.parquet", "-o", tmp_path / "audit")
    assert "labels that differ only in case" in audited.out


@pytest.mark.parametrize(("name", "says"), [
    ("deep", "tables or lists are nested more than 12 deep"), ("int", "a number has too many digits")])
def test_recipes_of_thousands_of_brackets_and_digits(name, says, tmp_path):
    folder = case("attack/21-toml-deep", tmp_path)
    (tmp_path / "cells.csv").write_text("cell_id,image,label\na,a.png,a\n")
    line = refusal("train", folder / f"{name}.toml", "--data", tmp_path / "cells.csv", "-o", tmp_path / "run")
    assert says in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "says"), [
    ("bin", "column 'label': Binary is not of type String"), ("list", "column 'label': List(String) is not of type"),
    ("xlist", "column 'x': List(Int64) is not of type Int32")])
def test_manifests_of_other_types(name, says, tmp_path):
    folder = case("attack/03-manifest-parquet", tmp_path)
    line = refusal("predict", "packaged", folder / f"{name}.parquet", "-o", tmp_path / "out.csv")
    assert says in line
    assert not (tmp_path / "out.csv").exists()


def test_ids_that_are_numbers(tmp_path):
    """Its images are not there: each is a row with its error, and the finished table is known again."""
    folder = case("attack/26-predict-resume-ids", tmp_path)
    answers = [leukoscope("predict", "packaged", folder / "num.parquet", "-o", tmp_path / "out.csv", *options)
               for options in ((), ("--resume",))]
    assert [answer.code for answer in answers] == [0, 0], answers
