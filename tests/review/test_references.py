"""Cells of known type beside a doubtful one, and where the model looks."""

from __future__ import annotations

import json
import shutil
import uuid
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image

from leukoscope.files import read_json, write_json
from leukoscope.phantom import TYPES, render_cell
from leukoscope.predict.model import load
from leukoscope.review.explaining import occlusion
from leukoscope.review.references import phantom_of, phantom_tile
from leukoscope.smear.find import find_leukocytes
from leukoscope.smear.source import ArrayField


def beside(bench, place: int, client=None) -> list[dict]:
    answer = (client or bench.client).get(f"{bench.path}/cells/{place}/references")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_persons_own_confirmed_cells_come_first_and_else_the_phantoms(bench, sit_at):
    cells = next(iter(bench.desk.seats.values())).review.result.cells
    kind = "neutrophil"
    own = [place for place, (name, cut, damaged) in enumerate(cells.select("predicted", "cut", "damaged").rows())
           if name == kind and not cut and not damaged]
    rows = beside(bench, own[0])
    assert rows[0]["type"] == kind
    assert not rows[0]["own"]
    assert all(bench.client.get(src).headers["content-type"] == "image/jpeg" for src in rows[0]["cells"])
    bench.send("decisions", cells=own[:3], did="confirm")
    bench.send("decisions", cells=own[3:4], did="reject")
    rows = beside(bench, own[0])
    assert rows[0]["own"]
    shown = {int(src.rpartition("/")[2].partition(".")[0]) for src in rows[0]["cells"]}
    assert shown == set(own[1:3])  # not the cell itself, and none that was rejected
    assert all(bench.client.get(src).status_code == 200 for src in rows[0]["cells"])
    other = sit_at(bench)
    other.post("/api/v1/me", json={"name": "Bob"})
    assert not beside(bench, own[0], other)[0]["own"]
    bench.send("decisions", cells=[own[1]], did="type", type="basophil", since=2)
    assert {int(src.rpartition("/")[2].partition(".")[0]) for src in beside(bench, own[0])[0]["cells"]} == {own[2]}


def test_the_types_are_those_that_the_cell_may_have(bench):
    seat = next(iter(bench.desk.seats.values()))
    table = seat.review.result.cells
    place = int(np.flatnonzero(table["unsure"].fill_null(False).to_numpy())[0])
    row = table.row(place, named=True)
    probable = sorted((name for name in seat.review.result.classes), key=lambda name: -row[f"p_{name}"])
    assert [one["type"] for one in beside(bench, place)] == probable[:3]
    shown = bench.client.get(f"{bench.path}/cells/{place}").json()
    assert shown["set"] == json.loads(row["set"])
    bench.send("decisions", cells=[place], did="type", type="blast")
    assert [one["type"] for one in beside(bench, place)] == list(dict.fromkeys(["blast", *probable]))[:3]


def test_confirmed_cells_of_another_smear_help_too(folder, sit, tmp_path):
    second = shutil.copytree(folder, tmp_path / "second")
    with sit([folder, second]) as bench:
        keys = list(bench.desk.seats)
        cells = next(iter(bench.desk.seats.values())).review.result.cells
        place = next(n for n, (kind, cut) in enumerate(cells.select("predicted", "cut").rows())
                     if kind == "lymphocyte" and not cut)
        bench.client.post(f"/api/v1/smears/{keys[1]}/decisions", json={
            "key": str(uuid.uuid4()), "since": 0, "cells": [place], "did": "confirm"})
        assert [src.split("/")[4] for src in beside(bench, place)[0]["cells"]] == [keys[1]]


@pytest.mark.parametrize(("kind", "expected"), [
    ("neutrophil", "neutrophil"), ("immature granulocyte", "ig"), ("promyelocyte", "ig"), ("blast", "lymphoblast"),
    ("band_neutrophil", "neutrophil"), ("smudge cell", ""), ("<b>", "")])
def test_types_are_found_in_the_phantom_by_their_usual_names(kind: str, expected: str):
    assert phantom_of(kind) == expected


def test_cells_of_the_phantom_have_the_scale_of_the_gallery(bench):
    for kind in TYPES:
        picture = Image.open(BytesIO(phantom_tile(kind, 0)))
        assert picture.size == (160, 160)
    assert bench.client.get("/api/v1/phantom/neutrophil/99.jpg").status_code == 404
    assert bench.client.get("/api/v1/phantom/unicorn/0.jpg").status_code == 404


def test_covering_the_nucleus_matters_more_than_covering_the_corner():
    model = load()
    field = ArrayField(render_cell("neutrophil", size=300, micrometres_per_pixel=0.1, seed=3).pixels)
    found = find_leukocytes(field, pixel=0.1)
    assert len(found.cells) == 1
    _, drops = occlusion(model, found, found.even or field, "neutrophil")
    corners = [drops[0, 0], drops[0, -1], drops[-1, 0], drops[-1, -1]]
    assert drops[2:5, 2:5].max() > 3 * max(np.abs(corners).max(), 0.02)


def test_an_explanation_is_a_picture_and_is_refused_without_the_bundle(folder, sit):
    with sit([folder]) as bench:
        assert bench.client.get(f"{bench.path}/cells/3").json()["explained"]
        answer = bench.client.get(f"{bench.path}/cells/3/explanation.jpg")
        picture = np.asarray(Image.open(BytesIO(answer.content)).convert("RGB"), np.int16)
        assert (picture[..., 0] - picture[..., 1] > 90).mean() > 0.005  # red, which no stain has
    summary = read_json(folder / "summary.json")
    summary["plan"]["bundle"] = "0" * 64
    write_json(folder / "summary.json", summary)
    with sit([folder]) as bench:
        answer = bench.client.get(f"{bench.path}/cells/3/explanation.jpg")
        assert answer.status_code == 409
        assert "the bundle that typed this smear is not there" in answer.json()["error"]
    untyped = pl.read_parquet(folder / "cells.parquet").with_columns(predicted=pl.lit(None, dtype=pl.String))
    untyped.write_parquet(folder / "cells.parquet")
    with sit([folder]) as bench:
        assert not bench.client.get(f"{bench.path}/cells/3").json()["explained"]
