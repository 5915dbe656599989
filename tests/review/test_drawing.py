"""Cells that a person draws: outlined as the finder does, and in the record, the count and every export."""

from __future__ import annotations

import csv
import json
import uuid
import zipfile
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from leukoscope.files import read_json, write_json
from leukoscope.images.read import read_image
from leukoscope.manifest import read_manifest
from leukoscope.review.database import writing
from leukoscope.review.journal import add as store
from leukoscope.review.journal import next_event
from leukoscope.review.shapes import filled
from leukoscope.review.smear import Review, engine_of, verify
from leukoscope.smear.geojson import Polygon
from leukoscope.smear.point import cell_at, look_at, split_cell
from leukoscope.smear.source import ArrayField

HOW = ("machine", "confirmed", "rejected", "absent")


@pytest.fixture
def missed(folder, sit):
    """A workbench whose machine has missed a whole cell, and the row that it would have had."""
    cells = pl.read_parquet(folder / "cells.parquet")
    row = cells.filter(~pl.col("cut")).row(3, named=True)
    own = (pl.col("field") == row["field"]) & (pl.col("number") == row["number"])
    cells.filter(~own).write_parquet(folder / "cells.parquet")
    outlines = read_json(folder / f"{row['field']}.geojson")
    outlines["features"] = [one for one in outlines["features"] if one["properties"]["name"] != str(row["number"])]
    write_json(folder / f"{row['field']}.geojson", outlines)
    with sit([folder]) as bench:
        yield bench, row


def field_of(bench, name: str) -> int:
    return [field["name"] for field in bench.smear["fields"]].index(name)


def add(bench, row, status: int = 200, **more):
    """Click the middle of a cell."""
    return bench.send("cells", status, field=field_of(bench, row["field"]),
                      point=[row["centre_x"], row["centre_y"]], **more)


def whole(bench) -> list[int]:
    """Places of the cells that no border cuts."""
    return [place for place, cut in enumerate(bench.smear["cells"]["cut"]) if not cut]


def shown(bench, place: int) -> dict:
    return bench.client.get(f"{bench.path}/cells/{place}").json()


def how(bench, place: int) -> str:
    return HOW[bench.smear["cells"]["how"][place]]


def test_a_missed_cell_is_outlined_measured_and_typed_as_smear_would(missed):
    bench, row = missed
    before = bench.smear["standing"]["total"]
    said = add(bench, row)
    assert said["drawn_how"] == ["outlined by the finder"]
    review = next(iter(bench.desk.seats.values())).review
    got = review.cells.row(said["drawn"][0])
    assert got["number"] > row["number"]
    for key in row.keys() - {"number", "image"}:
        assert got[key] == (pytest.approx(row[key], rel=1e-3, abs=1e-3) if isinstance(row[key], float) else row[key])
    assert said["standing"]["total"] == before + 1
    assert said["added"]["cells"]["now"] == [[one["name"] for one in said["types"]].index(row["predicted"])]
    tile = bench.client.get(f"{bench.path}/cells/{said['drawn'][0]}.jpg")
    assert tile.status_code == 200
    assert "immutable" not in tile.headers["cache-control"]


def test_a_message_that_comes_again_draws_nothing_again(missed):
    bench, row = missed
    key = str(uuid.uuid4())
    first, again = add(bench, row, key=key), add(bench, row, key=key)
    assert first["drawn"] == again["drawn"]
    assert first["seq"] == again["seq"]


def test_where_the_finder_sees_nothing_a_circle_stands_for_the_cell(bench):
    field = bench.smear["fields"][0]
    cells = next(iter(bench.desk.seats.values())).review.result.cells.filter(pl.col("field") == field["name"])
    apart = [(x, y) for x in range(100, field["width"] - 100, 40) for y in range(100, field["height"] - 100, 40)
             if all(np.hypot(x - a, y - b) > 150 for a, b in cells.select("centre_x", "centre_y").rows())]
    said = bench.send("cells", field=0, point=list(map(float, apart[0])))
    assert "a circle of 12 µm: the finder sees no cell there" in said["drawn_how"][0]
    one = shown(bench, said["drawn"][0])
    assert one["drawn"] == said["drawn_how"][0]
    assert ["Cell, diameter", "12.0 µm"] in one["measures"]


def test_no_cell_is_drawn_twice_or_outside_or_in_a_signed_smear(bench):
    review = next(iter(bench.desk.seats.values())).review
    row = review.cells.row(whole(bench)[0])
    assert "there is a cell there already, " in add(bench, row, 409)["error"]
    bench.send("decisions", cells=whole(bench)[:1], did="reject")
    assert "is rejected; restore it" in add(bench, row, 409)["error"]
    assert "outside the field" in bench.send("cells", 409, field=0, point=[90_000.0, 5.0])["error"]
    assert bench.send("cells", 404, field=99, point=[5.0, 5.0])["error"].startswith("no field 99")
    bench.answer_all()
    bench.send("signature", text="")
    drawings = {"cells": {"field": 0, "point": [9.0, 9.0]}, "split": {"cell": 0}, "join": {"cells": [0, 1]}}
    for what, body in drawings.items():
        assert "is locked" in bench.send(what, 409, **body)["error"]


def test_a_photograph_that_has_gone_is_named(bench):
    review = next(iter(bench.desk.seats.values())).review
    found = review.result.photograph(review.result.summary.fields[0])
    assert found
    moved = found[0].with_suffix(".away")
    found[0].rename(moved)
    try:
        said = bench.send("cells", 409, field=0, point=[9.0, 9.0])["error"]
    finally:
        moved.rename(found[0])
    assert f"the photograph of field {review.result.summary.fields[0].name} is missing" in said


def test_a_cell_is_split_and_joined_again_without_losing_a_pixel(bench):
    place = whole(bench)[0]
    drawing = next(iter(bench.desk.seats.values())).drawing
    review = drawing._review
    mask, left, top = drawing.mask(review.cells, review.state(), place)
    before = bench.smear["standing"]["total"]
    said = bench.send("split", cell=place)
    assert [how(bench, one) for one in (place, *said["drawn"])] == ["absent", "machine", "machine"]
    parts = [drawing.mask(review.cells, review.state(), one) for one in said["drawn"]]
    both = np.zeros_like(mask, np.int8)
    for part, x, y in parts:
        both[y - top:y - top + part.shape[0], x - left:x - left + part.shape[1]] += part
    np.testing.assert_array_equal(both, mask)
    joined = bench.send("join", cells=said["drawn"])
    again, x, y = drawing.mask(review.cells, review.state(), joined["drawn"][0])
    np.testing.assert_array_equal(again, mask)
    assert (x, y) == (left, top)
    assert [how(bench, one) for one in said["drawn"]] == ["absent", "absent"]
    assert abs(bench.smear["standing"]["total"] - before) <= 1  # its type may be another one


def test_each_pixel_of_a_split_cell_goes_to_the_nearer_middle():
    rng = np.random.default_rng(5)
    pixels = rng.integers(215, 235, (200, 300, 3)).astype(np.uint8)
    y, x = np.mgrid[:200, :300]
    mask = (np.hypot(x - 110, y - 100) < 32) | (np.hypot(x - 170, y - 100) < 32)
    pixels[mask] = (90, 50, 140)
    first, second = split_cell(look_at(ArrayField(pixels), 0.2), mask, 0, 0)
    assert first.centre == pytest.approx((110, 100), abs=2)
    assert second.centre == pytest.approx((170, 100), abs=2)
    assert int(first.cell.sum() + second.cell.sum()) == int(mask.sum())
    left, right = split_cell(look_at(ArrayField(pixels), 0.2), mask, 0, 0, [(100.0, 100.0), (190.0, 100.0)])
    assert left.x + left.width - 1 == 145
    assert right.x == 146


def test_what_cannot_be_split_or_joined_is_refused_in_words(bench):
    places, fields = whole(bench), bench.smear["cells"]["field"]
    same = [place for place in places if fields[place] == fields[places[0]]]
    other = next(place for place in places if fields[place] != fields[places[0]])
    assert "of one field are joined" in bench.send("join", 409, cells=[places[0], other])["error"]
    assert "of one field are joined" in bench.send("join", 409, cells=[places[0], places[0]])["error"]
    assert "lie apart" in bench.send("join", 409, cells=[same[0], same[-1]])["error"]
    assert "almost empty" in bench.send("split", 409, cell=places[0], middles=[[0.0, 0.0], [1.0, 1.0]])["error"]
    assert "two cells have two middles" in bench.send("split", 409, cell=places[0], middles=[[0.0, 0.0]])["error"]
    bench.send("split", cell=places[0])
    for what, body in (("split", {"cell": places[0]}), ("decisions", {"cells": [places[0]], "did": "confirm"})):
        assert "is not there any more" in bench.send(what, 409, **body)["error"]


def test_drawing_is_undone_and_done_again_and_the_record_holds(missed):
    bench, row = missed
    begun = bench.smear["standing"]
    place = add(bench, row)["drawn"][0]
    parts = bench.send("split", cell=place)["drawn"]
    bench.send("decisions", cells=parts[:1], did="type", type="basophil")
    for _ in range(3):
        bench.send("undo")
    assert bench.smear["standing"] == begun
    assert [how(bench, one) for one in (place, *parts)] == ["absent"] * 3
    assert "nothing to undo" in bench.send("undo", 409)["error"]
    for _ in range(3):
        bench.send("redo")
    assert [how(bench, one) for one in (place, *parts)] == ["absent", "confirmed", "machine"]
    found = verify(bench.folder, bench.db.shared())
    assert (found.broken, found.events) == ("", 10)
    kinds = [event["kind"] for event in bench.client.get(f"{bench.path}/history").json()]
    assert kinds == ["imported", "drawn", "drawn", "decided", *["undone"] * 3, *["redone"] * 3]
    page = bench.client.get(f"/smears/{bench.path.rsplit('/')[-1]}/history").text
    assert "Added a missed cell, outlined by the finder" in page
    assert "Split a cell in two" in page


def test_what_another_person_has_typed_since_is_not_undone(missed, sit_at):
    bench, row = missed
    place = add(bench, row)["drawn"][0]
    other = sit_at(bench)
    other.post("/api/v1/me", json={"name": "Bob"})
    answer = other.post(f"{bench.path}/decisions", json={
        "key": str(uuid.uuid4()), "since": bench.smear["seq"], "cells": [place], "did": "confirm"})
    assert answer.status_code == 200
    assert "was changed by Bob since" in bench.send("undo", 409)["error"]


def test_another_server_sees_drawn_cells_and_goes_on_numbering(missed):
    bench, row = missed
    place = add(bench, row)["drawn"][0]
    again = Review.open(bench.folder, bench.db.shared())
    try:
        assert again.cells.names[place] == bench.smear["fields"][field_of(bench, row["field"])]["name"] + \
            f"/{again.cells.row(place)['number']}"
        again.decide("decision-1", "Bob", [place], "type", "basophil", again.state().seq)
    finally:
        again.close()
    assert shown(bench, place)["type"] == "basophil"
    bench.send("split", cell=place, since=bench.smear["seq"])
    numbers = [bench.smear["cells"]["number"][one] for one in range(place, place + 3)]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


def test_every_export_has_the_drawn_cells_and_none_that_is_gone(missed, tmp_path):
    bench, row = missed
    place = add(bench, row)["drawn"][0]
    parts = bench.send("split", cell=place)["drawn"]
    bench.send("decisions", cells=parts, did="type", type="basophil")
    names = next(iter(bench.desk.seats.values())).review.cells.names
    def fetch(name: str) -> bytes:
        return bench.client.get(f"{bench.path}/export/{name}").content

    rows = [f"{one['field']}/{one['number']}" for one in csv.DictReader(StringIO(fetch("cells.csv").decode()))]
    assert {names[one] for one in parts} <= set(rows)
    assert names[place] not in rows
    with zipfile.ZipFile(BytesIO(fetch("outlines.zip"))) as file:
        features = {f"{row['field']}/{one['properties']['name']}": one
                    for one in json.loads(file.read(f"{row['field']}.geojson"))["features"]}
    assert names[place] not in features
    own = features[names[parts[0]]]
    assert own["properties"]["classification"]["name"] == "basophil"
    area = filled(own["geometry"], 0, 0, 1200, 900).sum()
    assert own["properties"]["measurements"]["Cell area px^2"] == area
    (tmp_path / "cells.parquet").write_bytes(fetch("confirmed.parquet"))
    manifest = read_manifest(tmp_path / "cells.parquet")
    assert sorted(manifest["cell_id"]) == sorted(f"S1/{names[one]}" for one in parts)


def test_without_the_bundle_that_typed_the_smear_a_drawn_cell_has_no_type(folder, sit):
    summary = read_json(folder / "summary.json")
    summary["plan"]["bundle"] = "0" * 64
    write_json(folder / "summary.json", summary)
    with sit([folder]) as bench:
        said = bench.send("split", cell=whole(bench)[0])
        assert said["added"]["cells"]["now"] == [None, None]
        assert all("give the type yourself" in one for one in said["drawn_how"])
        assert "has no type" in bench.send("decisions", 409, cells=said["drawn"], did="confirm")["error"]


def test_a_record_that_draws_a_cell_twice_is_found_out(missed):
    bench, row = missed
    add(bench, row)
    review = next(iter(bench.desk.seats.values())).review
    body = dict(review.state().last.body)
    digest, engine = review.result.digest, engine_of(review.result, bench.db.shared())
    with writing(engine, digest) as connection:
        store(connection, digest, next_event(review.state().last, "forged-1", "Eve", "drawn", body))
    engine.dispose()
    assert "draws a cell that exists already" in verify(bench.folder, bench.db.shared()).broken


def test_the_pixels_of_an_outline_are_those_whose_middles_it_holds():
    square: Polygon = {"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 4], [1, 4], [1, 1]],
                                                          [[2, 2], [3, 2], [3, 3], [2, 3], [2, 2]]]}
    expected = np.zeros((6, 7), bool)
    expected[1:4, 1:5] = True
    expected[2, 2] = False
    np.testing.assert_array_equal(filled(square, 0, 0, 7, 6), expected)


def test_a_faint_cell_is_found_where_one_points(counted):
    """A cell so pale that the finder leaves it out is outlined at a lower threshold, about where it lies."""
    table = pl.read_parquet(counted / "cells.parquet")
    row = table.filter(~pl.col("cut")).row(2, named=True)
    pixels = read_image(Path(row["image"])).astype(np.float64)
    x, y, width, height = (row[key] for key in ("x", "y", "width", "height"))
    found = False
    for strength in (0.5, 0.35, 0.25):
        pale = pixels.copy()
        window = np.s_[y - 4:y + height + 4, x - 4:x + width + 4]
        white = np.median(pixels.reshape(-1, 3), axis=0)
        pale[window] = white + strength * (pixels[window] - white)
        cell, drawn = cell_at(look_at(ArrayField(pale.astype(np.uint8)), row["micrometres_per_pixel"]),
                              row["centre_x"], row["centre_y"])
        assert cell.centre == pytest.approx((row["centre_x"], row["centre_y"]), abs=0.35 * width)
        found |= "threshold of" in drawn or "circle" in drawn
    assert found
