"""Counting on a slide: each leukocyte of the monolayer once, whatever the regions; what is left out; stopped runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from command import leukoscope, refusal
from leukoscope import __version__
from leukoscope.commands import slide_region
from leukoscope.commands.slide_inputs import SlideInput
from leukoscope.commands.slide_plan import SlideJob, SlidePlan, plan_slide
from leukoscope.commands.smear_field import ScaleChoice
from leukoscope.commands.smear_slides import SlideOptions, smear_slide
from leukoscope.finder.network import predict_around, predict_maps
from leukoscope.images.stain import optical_density
from leukoscope.phantom.slide import BLACK, GLASS, WHITE, PhantomSlide
from leukoscope.phantom.slide_files import write_slide
from leukoscope.review.result import read_result
from leukoscope.slides import open_slide
from leukoscope.slides.grid import squares_of
from leukoscope.slides.monolayer import measure_squares
from leukoscope.slides.path import battlement
from leukoscope.slides.regions import doubles, keeps, regions_of_all
from leukoscope.slides.tissue import find_tissue
from leukoscope.slides.zones import unevenness, zones
from leukoscope.smear.skim import could_be_nuclei
from leukoscope.smear.summary import SmearSummary, ZoneCount

ALL = SlideOptions(types=False, target=None, workers=1)
PATH = SlideOptions(types=False, target=1_000_000, workers=1)
MONOLAYER_PX = (1008, 0, 2880, 2016)
"""left, top, right, bottom of the squares that are of the monolayer as a whole."""


@pytest.fixture(scope="session")
def file(small: PhantomSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(small, tmp_path_factory.mktemp("small") / "blood.svs")


def count(file: Path, out: Path, options: SlideOptions, **more: Any) -> SmearSummary:
    return smear_slide(SlideInput(file, "", ""), out, options, **more)


@pytest.fixture(scope="session")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every leukocyte, in regions of several squares."""
    out = tmp_path_factory.mktemp("all") / "out"
    count(file, out, ALL)
    return out


@pytest.fixture(scope="session")
def by_squares(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, square by square along the battlement."""
    out = tmp_path_factory.mktemp("path") / "out"
    count(file, out, PATH)
    return out


def centres(folder: Path) -> list[tuple[float, float]]:
    return sorted(pl.read_parquet(folder / "cells.parquet").select("centre_x", "centre_y").rows())


def truth(small: PhantomSlide) -> list[tuple[float, float]]:
    left, top, right, bottom = MONOLAYER_PX
    middles = [(cell.x + (cell.width - 1) / 2, cell.y + (cell.height - 1) / 2) for cell in small.cells]
    return [(x, y) for x, y in middles if left <= x < right and top <= y < bottom]


def test_every_leukocyte_of_the_monolayer_is_found_once(small: PhantomSlide, whole: Path):
    found, true = centres(whole), truth(small)
    assert len(true) > 8
    nearest = [sum(np.hypot(x - a, y - b) < 12 for a, b in found) for x, y in true]
    assert nearest.count(1) >= 0.97 * len(true)
    assert max(nearest) == 1  # none twice
    assert len(found) == sum(nearest)  # and nothing else


def test_regions_do_not_matter(whole: Path, by_squares: Path):
    first, second = (pl.read_parquet(folder / "cells.parquet").sort("centre_y", "centre_x").drop("number")
                     for folder in (whole, by_squares))
    assert first.select("x", "y", "width", "height").equals(second.select("x", "y", "width", "height"))


def test_squares_are_told_apart(whole: Path):
    table = pl.read_parquet(whole / "squares.parquet")
    kinds = {(row, column): kind for row, column, kind in table.select("row", "column", "kind").rows()}
    assert all(kinds[row, column] == "monolayer" for row in (0, 1) for column in (1, 2))
    assert (kinds[0, 0], kinds[1, 0]) == ("thick", "thick")
    assert (kinds[2, 1], kinds[2, 2]) == ("out of focus", "out of focus")
    looked = table.filter("looked")
    assert looked.height == 4
    assert looked["found"].sum() == pl.read_parquet(whole / "cells.parquet").height


def test_results_are_those_of_fields_in_places_of_the_slide(whole: Path, file: Path):
    cells, summary = pl.read_parquet(whole / "cells.parquet"), SmearSummary.read(whole)
    features = json.loads((whole / "blood.geojson").read_text())["features"]
    annotations = json.loads((whole / "cells.coco.json").read_text())["annotations"]
    assert len(features) == len(annotations) == cells.height == summary.differential.found
    assert [one["properties"]["name"] for one in features] == [str(n) for n in range(1, cells.height + 1)]
    boxes = {n: tuple(box) for n, *box in cells.select("number", "x", "y", "width", "height").rows()}
    for number, feature in enumerate(features, start=1):
        ring = np.array(feature["geometry"]["coordinates"][0])
        x, y, width, height = boxes[number]
        assert ring.min(axis=0) == pytest.approx((x, y), abs=1)
        assert ring.max(axis=0) == pytest.approx((x + width, y + height), abs=1)
        assert tuple(annotations[number - 1]["bbox"]) == boxes[number]
    assert summary.slide is not None
    assert summary.area_mm2 == pytest.approx(1872 * 2016 * 0.25**2 / 1e6, rel=0.05)
    assert sum(zone.leukocytes for zone in summary.slide.zones) == summary.differential.total
    page = (whole / "smear.html").read_text()
    assert "svg class=\"field slide\"" in page
    assert "By part of the smear" in page
    assert read_result(whole).missing() == []
    assert not (whole / ".parts").exists()


def planned(file: Path, parts: Path, micrometres: float | None = None) -> SlidePlan:
    """What is to be looked at, without counting."""
    return plan_slide(SlideJob(str(file), str(parts), "", "", str(file), "slide", "", None, False, micrometres, 1,
                               __version__))


def test_the_scale_of_the_file_is_used_and_a_wrong_one_is_not(small: PhantomSlide, file: Path, tmp_path: Path):
    assert planned(file, tmp_path / "right").choice == ScaleChoice(0.25, "file")
    wrong = write_slide(replace(small, micrometres_per_pixel=0.9), tmp_path / "wrong.tif", pyramid=False)
    plan = planned(wrong, tmp_path / "wrong")
    assert plan.choice.micrometres == pytest.approx(0.25, rel=0.1)
    assert any("the file states 0.9 um a pixel" in remark and "not used" in remark for remark in plan.remarks)
    assert any("no coarser levels" in remark for remark in plan.remarks)


def test_without_a_scale_the_red_cells_give_it_and_a_given_one_is_checked(small: PhantomSlide, tmp_path: Path):
    none = write_slide(small, tmp_path / "none.tif", scale=False)
    plan = planned(none, tmp_path / "none")
    assert (plan.choice.origin, plan.choice.micrometres) == ("red cells", pytest.approx(0.25, rel=0.1))
    assert any("does not say how large a pixel is" in remark for remark in plan.remarks)
    plan = planned(none, tmp_path / "given", 0.36)
    assert plan.choice.micrometres == 0.36
    assert any("red cells say 0.2" in remark for remark in plan.remarks)


def test_black_and_white_tiles_are_said_and_not_counted(small: PhantomSlide, tmp_path: Path):
    zones = small.zones.copy()
    zones[0:2, 2:4], zones[2:4, 4:6] = BLACK, WHITE
    file = write_slide(replace(small, zones=zones), tmp_path / "gaps.tif")
    summary = count(file, tmp_path / "out", ALL)
    table = pl.read_parquet(tmp_path / "out" / "squares.parquet")
    kinds = {(row, column): kind for row, column, kind in table.select("row", "column", "kind").rows()}
    assert kinds[0, 1] == kinds[1, 2] == "not recorded"
    assert any("2 squares of the smear" in remark and "nothing was recorded" in remark
               for remark in summary.fields[0].remarks)
    for x, y in centres(tmp_path / "out"):
        assert zones[int(y // 480), int(x // 480)] not in (BLACK, WHITE)


def test_a_stopped_count_goes_on_to_the_same_rows(file: Path, by_squares: Path, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count(file, tmp_path / "out", PATH, on_progress=stop)
    assert not (tmp_path / "out" / "summary.json").exists()
    worked: list[int] = []
    before = slide_region._counted
    monkeypatch.setattr(slide_region, "_counted", lambda job, plan, region: worked.append(region.number) or before(
        job, plan, region))
    count(file, tmp_path / "out", PATH, resume=True)
    assert worked == [2, 3]  # nothing is done twice
    for name in ("cells.parquet", "squares.parquet"):
        assert pl.read_parquet(tmp_path / "out" / name).equals(
            pl.read_parquet(by_squares / name).with_columns(pl.col(pl.String)))


def test_types_and_a_target_through_the_command_line(file: Path, tmp_path: Path):
    answer = leukoscope("smear", file, "-o", tmp_path / "out", "--target", 3, "--workers", 1, "--subject", "Ann")
    assert answer.code == 0, answer.err
    summary = SmearSummary.read(tmp_path / "out")
    assert summary.slide is not None
    assert summary.slide.target == 3
    assert summary.differential.total >= 3
    assert summary.slide.looked < 4
    assert summary.subject == "Ann"
    assert "squares of the monolayer" in answer.out or "square of the monolayer" in answer.out
    assert "is not empty" in refusal("smear", file, "-o", tmp_path / "out")


def test_too_few_leukocytes_are_said(by_squares: Path):
    remarks = SmearSummary.read(by_squares).remarks
    assert any("fewer than the 1000000 that were asked for" in remark for remark in remarks)


def test_damaged_tiles_cost_their_part_only(small: PhantomSlide, whole: Path, tmp_path: Path):
    path = write_slide(small, tmp_path / "damaged.tif")
    with tifffile.TiffFile(path) as opened:
        page: Any = opened.pages[0]
        place = 5 * -(-page.imagewidth // 256) + 6  # within the square in the second row and column
        offset, length = page.dataoffsets[place], page.databytecounts[place]
    content = bytearray(path.read_bytes())
    content[offset:offset + length] = bytes(length)
    path.write_bytes(content)
    with open_slide(path) as slide, pytest.raises(Exception, match="cannot be decoded"):
        slide.read(6 * 256, 5 * 256, 10, 10)
    summary = count(path, tmp_path / "out", PATH)
    kinds = {(row, column): kind for row, column, kind in pl.read_parquet(
        tmp_path / "out" / "squares.parquet").select("row", "column", "kind").rows()}
    said = " ".join(summary.fields[0].remarks)
    assert kinds[1, 1] == "damaged"
    assert "1 square of the smear cannot be read and was not counted" in said
    assert summary.slide is not None
    assert summary.slide.looked == 3
    side = 1008
    others = [(x, y) for x, y in centres(whole) if (int(y // side), int(x // side)) != (1, 1)]
    assert np.allclose(centres(tmp_path / "out"), others, atol=0.5)


@pytest.mark.parametrize("kind", ["section", "glass", "noise"])
def test_what_is_no_smear_is_refused_in_one_line(small: PhantomSlide, tmp_path: Path, kind: str):
    rng = np.random.default_rng(1)
    if kind == "glass":
        pixels = np.full((2000, 2400, 3), 244, np.uint8)
    elif kind == "noise":
        pixels = rng.integers(0, 255, (2000, 2400, 3), dtype=np.uint8)
    else:
        pixels = section(rng)
    tifffile.imwrite(tmp_path / "other.svs", pixels, tile=(256, 256), photometric="rgb", compression="jpeg",
                     metadata=None, resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
    line = refusal("smear", tmp_path / "other.svs", "-o", tmp_path / "out", "--workers", 1, "--no-types")
    assert str(tmp_path / "other.svs") in line
    assert not (tmp_path / "out" / "smear.html").exists()


def section(rng: np.random.Generator) -> np.ndarray:
    """Stained tissue: pink everywhere, with many purple nuclei of all sizes and shapes, and fibres."""
    import cv2

    pixels = np.full((2000, 2400, 3), (228, 160, 190), np.uint8)
    for _ in range(500):
        x, y = (int(value) for value in rng.integers(0, 2400, 2))
        cv2.line(pixels, (x, y), (x + int(rng.integers(-300, 300)), y + int(rng.integers(-60, 60))), (205, 120, 165),
                 int(rng.integers(2, 12)))
    for _ in range(3000):
        middle = tuple(int(value) for value in rng.integers(0, 2400, 2))
        axes = tuple(int(value) for value in rng.integers(6, 30, 2))
        cv2.ellipse(pixels, middle, axes, float(rng.uniform(0, 180)), 0, 360, (95, 60, 140), cv2.FILLED)
    return cv2.GaussianBlur(pixels, (0, 0), 1.5)


def test_options_that_contradict_are_refused(file: Path, tmp_path: Path):
    assert "--all and --target" in refusal("smear", file, "-o", tmp_path / "a", "--all", "--target", 100)
    assert "--by-folder" in refusal("smear", file, "-o", tmp_path / "a", "--by-folder")
    assert "--workers 0" in refusal("smear", file, "-o", tmp_path / "a", "--workers", 0)
    assert "--target -1" in refusal("smear", file, "-o", tmp_path / "a", "--target", -1)
    (tmp_path / "fields").mkdir()
    (tmp_path / "fields" / "a.png").touch()
    assert "are for slides" in refusal("smear", tmp_path / "fields", "-o", tmp_path / "a", "--all")
    (tmp_path / "empty.svs").touch()
    assert "empty.svs: is not a slide" in refusal("smear", tmp_path / "empty.svs", "-o", tmp_path / "a", "--all")
    Path(shutil.copy(file, tmp_path / "cut.svs")).write_bytes(file.read_bytes()[:100_000])
    assert "cut.svs" in refusal("smear", tmp_path / "cut.svs", "-o", tmp_path / "a")


# ------------------------------------------------------------------------------------------------ parts

def test_the_path_visits_each_square_once_and_runs_across():
    wanted = {(row, column) for row in range(12) for column in range(20) if (row - 6)**2 + (column - 10)**2 / 3 < 30}
    path = battlement(wanted, along_rows=True)
    assert len(path) == len(wanted)
    assert set(path) == wanted
    first = path[:16]
    assert {column for _, column in first} <= set(range(9, 12))  # one band of three
    assert first == sorted(first, key=lambda place: place[0])  # across the smear
    assert battlement([(column, row) for row, column in wanted], along_rows=False) == [(c, r) for r, c in path]
    assert battlement([], along_rows=True) == []


def test_cells_at_seams_are_kept_by_both_sides_and_then_once():
    squares = squares_of(9000, 5000, 0.25)
    side = squares.side
    first, second, *_ = regions_of_all([(0, column) for column in range(8)], squares)
    seam = 4 * side
    assert keeps(first, squares, seam - 3, 50)
    assert keeps(second, squares, seam - 3, 50)
    assert keeps(first, squares, seam - 30, 50)
    assert not keeps(second, squares, seam - 30, 50)
    assert not keeps(second, squares, seam - 1, 50, slack=0)
    boxes = [(seam - 20, 40, 40, 40), (seam - 19, 40, 40, 41), (seam - 20, 82, 40, 40), (seam + 500, 40, 40, 40)]
    assert doubles(boxes, [0, 1, 1, 1]) == {1}
    assert doubles(boxes, [0, 0, 0, 0]) == set()  # a region has no cell twice
    assert first.window[0] == 0
    assert first.window[2] == seam + squares.margin


def test_squares_cover_a_slide_once():
    squares = squares_of(5000, 3001, 0.5)
    area = sum(squares.window(row, column)[2] * squares.window(row, column)[3]
               for row in range(squares.rows) for column in range(squares.columns))
    assert area == 5000 * 3001
    assert {squares.at(x - 0.5, y - 0.5) for x, y in ((0, 0), (squares.side, 0), (squares.side - 1, 3000))} == {
        (0, 0), (0, 1), (3000 // squares.side, 0)}


def test_an_empty_slide_has_no_squares(phantom: PhantomSlide, tmp_path: Path):
    bare = replace(phantom, zones=np.full_like(phantom.zones, GLASS), chosen=phantom.chosen % 2)
    with open_slide(write_slide(bare, tmp_path / "bare.svs")) as slide:
        assert find_tissue(slide).mask.mean() < 0.05


def test_zones_and_unevenness():
    areas = {(row, column): 0.06 for row in range(6) for column in range(9)}
    even = [((row, column), "neutrophil") for row, column in areas for _ in range(3)]
    parts = zones(areas, even)
    assert [part.name for part in parts] == ["upper left", "upper middle", "upper right", "middle left", "middle",
                                             "middle right", "lower left", "lower middle", "lower right"]
    assert sum(part.leukocytes for part in parts) == len(even)
    assert sum(part.mm2 for part in parts) == pytest.approx(54 * 0.06)
    assert unevenness(parts) == ""
    crowded = [*even, *(((0, 0), "lymphocyte") for _ in range(60))]
    assert "to the mm²" in unevenness(zones(areas, crowded))
    assert "the types differ" in unevenness(zones(areas, crowded))
    assert unevenness([ZoneCount("middle", 1, 0.06, 50, {"neutrophil": 50})]) == ""


def test_skimming_gives_the_answers_of_the_whole(phantom: PhantomSlide):
    field = next(field for field in phantom.library["monolayer"] if any(c.type != "platelet" for c in field.cells))
    density = optical_density(field.pixels, np.median(field.pixels.reshape(-1, 3), axis=0))
    places = could_be_nuclei(density, 0.25)
    assert 0 < places.mean() < 0.1
    full, part = predict_maps(density), predict_around(density, places, 40)
    near = part.any(axis=0)
    assert near.mean() < 0.9
    assert np.abs(full - part)[:, near].max() < 1e-4


def test_measuring_needs_no_pyramid(small: PhantomSlide, file: Path, tmp_path: Path):
    flat = write_slide(small, tmp_path / "flat.tif", pyramid=False)
    with open_slide(file) as first, open_slide(flat) as second:
        squares = squares_of(first.width, first.height, 0.25)
        kinds = [[(one.row, one.column, one.kind) for one in measure_squares(slide, squares, find_tissue(slide))]
                 for slide in (first, second)]
    assert kinds[0] == kinds[1]
