"""`leukoscope smear`: squares cut for a model, the differential, tables, GeoJSON, COCO, the page, and bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from scipy.stats import norm

from command import leukoscope, refusal
from leukoscope.commands.export import export_run
from leukoscope.commands.smear import smear_fields
from leukoscope.commands.smear_field import common_scale
from leukoscope.errors import LeukoscopeError
from leukoscope.figures.smear import reduced
from leukoscope.images.read import read_image
from leukoscope.phantom import render_field
from leukoscope.smear import ArrayField, FoundCell, FoundField, find_leukocytes
from leukoscope.smear.count import differential, is_leukocyte, meaning
from leukoscope.smear.crops import cut_square, square_about
from leukoscope.smear.formats import outlines
from leukoscope.smear.measure import measure
from page_reader import Page
from smear_fields import SCALE, phantom, save


def disc(diameter: float, x: float, y: float, side: int = 120) -> tuple[ArrayField, FoundCell]:
    """A dark disc on white, and it as a cell."""
    rows, columns = np.mgrid[:side, :side]
    inside = np.hypot(columns - x, rows - y) <= diameter / 2
    pixels = np.repeat(np.where(inside, 40, 240).astype(np.uint8)[..., None], 3, axis=2)
    where = np.argwhere(inside)
    (top, left), (bottom, right) = where.min(0), where.max(0) + 1
    mask = np.ascontiguousarray(inside[top:bottom, left:right])
    sizes = measure(pixels[top:bottom, left:right], mask, mask, np.full(3, 240.0), None)
    return ArrayField(pixels), FoundCell(int(left), int(top), int(right - left), int(bottom - top), (x, y), mask, mask,
                                         False, 1.0, sizes)


@pytest.fixture(scope="module")
def fields(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("fields")
    return [save(phantom(seed).pixels, folder / f"field {seed}.png") for seed in (1, 2)]


@pytest.fixture(scope="module")
def typed(fields, bundle, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("typed") / "smear"
    answer = leukoscope("smear", *fields, "-o", out, "--bundle", bundle, "--micrometres", SCALE, "--subject", "S <1>")
    assert answer.code == 0, answer
    return out


def found_of(fields: Sequence[Path]) -> list[FoundField]:
    return [find_leukocytes(read_image(path), pixel=SCALE) for path in fields]


def in_order(folder: Path) -> pl.DataFrame:
    """The cells as they were found: in the table flagged ones stand first."""
    return pl.read_parquet(folder / "cells.parquet").sort("field", "number")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ cutting

@pytest.mark.parametrize(("wanted", "scale"), [(0.1, 0.1), (0.1, 0.2), (0.2, 0.1), (0.3, 0.1), (0.13, 0.1)])
def test_a_disc_is_cut_in_the_middle_and_at_the_scale_of_the_model(wanted, scale):
    diameter = 30.0
    field, cell = disc(diameter, 155.0, 163.0, side=330)
    image = cut_square(field, square_about(cell, 90, wanted=wanted, scale=scale))
    assert image.shape == (90, 90, 3)
    dark = (240.0 - image[..., 0]) / 200
    assert math.sqrt(4 * dark.sum() / math.pi) == pytest.approx(diameter * scale / wanted, rel=0.03)
    rows, columns = np.mgrid[:90, :90]
    for axis in (rows, columns):
        assert (axis * dark).sum() / dark.sum() == pytest.approx(44.5, abs=0.75 * max(scale / wanted, 1))


def test_without_scales_a_square_is_one_and_a_half_times_the_box():
    _, cell = disc(31.0, 55.0, 63.0)
    assert (cell.width, cell.height) == (31, 31)
    for known in ({}, {"wanted": 0.1}, {"scale": 0.1}):
        assert square_about(cell, 64, **known).side == 47


def test_beyond_the_border_a_field_is_mirrored():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    _, cell = disc(9.0, 2.0, 17.0, side=20)
    square = square_about(cell, 15, wanted=1.0, scale=1.0)
    assert (square.left, square.top, square.side) == (-5, 10, 15)
    expected = np.pad(pixels, ((40, 40), (40, 40), (0, 0)), mode="reflect")
    assert np.array_equal(cut_square(ArrayField(pixels), square), expected[50:65, 35:50])


def test_a_square_may_be_larger_than_the_field_but_not_without_bound():
    field, cell = disc(9.0, 20.0, 20.0, side=40)
    assert cut_square(field, square_about(cell, 32, wanted=10.0, scale=1.0)).shape == (32, 32, 3)
    with pytest.raises(LeukoscopeError, match=r"square of 32,000 px; correct the scale"):
        cut_square(field, square_about(cell, 32, wanted=1000.0, scale=1.0))


def test_a_picture_in_strips_is_the_picture():
    pixels = phantom(1).pixels
    import cv2

    whole = cv2.resize(pixels, (125, 100), interpolation=cv2.INTER_AREA)
    assert phantom(1).pixels.shape == (400, 500, 3)
    assert np.array_equal(reduced(ArrayField(pixels), 125), whole)
    tall = np.concatenate([pixels] * 3)
    assert np.array_equal(reduced(ArrayField(tall), 300), cv2.resize(tall, (125, 300), interpolation=cv2.INTER_AREA))


# ------------------------------------------------------------------------------------------------ counting

def counted(rows: Sequence[tuple[str, bool, bool, bool | None, bool | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"predicted": pl.String, "cut": pl.Boolean, "damaged": pl.Boolean,
                                      "unsure": pl.Boolean, "known": pl.Boolean}, orient="row")


def wilson_by_hand(count: int, total: int) -> tuple[float, float]:
    """Both solutions p of (share - p)^2 = z^2 p (1 - p) / n."""
    z2 = norm.ppf(0.975)**2
    share = count / total
    low, high = sorted(np.roots(np.array([1 + z2 / total, -2 * share - z2 / total, share**2])).real)
    return float(low), float(high)


def test_the_differential_is_wilsons_of_whole_leukocytes():
    rows = [*[("neutrophil", False, False, False, True)] * 12, *[("lymphocyte", False, False, True, True)] * 5,
            ("lymphocyte", False, False, True, False), ("neutrophil", True, False, False, True),
            ("neutrophil", False, True, False, True), ("neutrophil", True, True, False, True),
            *[("erythroblast", False, False, True, False)] * 2]
    found = differential(counted(rows), ["neutrophil", "lymphocyte", "basophil", "erythroblast"])
    assert (found.total, found.apart, found.found, found.cut, found.damaged) == (18, 2, 23, 2, 1)
    assert (found.nucleated, found.platelets) == (2, None)
    assert (found.unsure, found.unknown) == (6, 1)
    assert [(one.name, one.cells, one.unsure, one.unknown) for one in found.types] == [
        ("neutrophil", 12, 0, 0), ("lymphocyte", 6, 6, 1), ("basophil", 0, 0, 0), ("erythroblast", 2, 2, 2)]
    for one in found.types[:3]:
        assert one.share is not None
        assert one.share.value == one.cells / 18
        assert (one.share.low, one.share.high) == pytest.approx(wilson_by_hand(one.cells, 18), abs=1e-9)
    assert found.types[3].share is None


def test_a_bundle_that_cannot_doubt_counts_no_doubts():
    found = differential(counted([("a", False, False, None, None)] * 3), ["a", "b"])
    assert (found.total, found.unsure, found.unknown, found.types[0].unsure) == (3, None, None, None)


def test_what_is_no_leukocyte_is_known_by_its_name():
    assert [name for name in ("neutrophil", "Erythroblast", "platelets", "smudge cell", "ig", "lymphoblast", "Monocyte")
            if not is_leukocyte(name)] == ["Erythroblast", "platelets", "smudge cell"]


def test_none_found_says_what_may_still_be_there():
    none = differential(counted([]), ["a"])
    assert none.types[0].share is not None
    assert none.types[0].share.value is None
    said = meaning(none, 0.5, 3)
    assert "No leukocyte was found in 3 fields (0.5 mm²)" in said
    assert "fewer than 6 per mm²" in said
    assert math.exp(-3.0) == pytest.approx(0.05, abs=3e-4)  # the chance of none where three are to be expected


# ------------------------------------------------------------------------------------------------ outlines

def test_a_polygon_of_a_mask_runs_between_its_pixels():
    mask = np.zeros((7, 9), bool)
    mask[1:6, 2:8] = True
    mask[3, 4] = False
    (outer, hole), = outlines(mask, 10, 20)
    assert shoelace(outer.tolist()) == pytest.approx(30 - 0.5, abs=0.01)  # each corner loses an eighth
    assert shoelace(hole.tolist()) == pytest.approx(0.5)
    assert outer.min(axis=0).tolist() == [12, 21]
    assert outer.max(axis=0).tolist() == [18, 26]


def shoelace(points: Sequence[Sequence[float]]) -> float:
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, [*points[1:], points[0]], strict=True))) / 2


def test_geojson_has_the_areas_of_the_masks(typed, fields):
    rows = {(row["field"], row["number"]): (row["flag"], row["flag_reason"])
            for row in in_order(typed).iter_rows(named=True)}
    for path, found in zip(fields, found_of(fields), strict=True):
        told = read(typed / f"{path.stem}.geojson")
        assert len(told["features"]) == len(found.cells) >= 6
        assert len({feature["id"] for feature in told["features"]}) == len(found.cells)
        for number, (feature, cell) in enumerate(zip(told["features"], found.cells, strict=True), start=1):
            shape, more = feature["geometry"], feature["properties"]
            polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
            assert sum(shoelace(rings[0]) - sum(map(shoelace, rings[1:])) for rings in polygons) == pytest.approx(
                cell.cell.sum(), rel=0.02)
            points = np.array([point for rings in polygons for ring in rings for point in ring])
            assert (points >= 0).all()
            assert (points <= (found.width, found.height)).all()
            assert points.min(axis=0).tolist() == [cell.x, cell.y]
            assert points.max(axis=0).tolist() == [cell.x + cell.width, cell.y + cell.height]
            assert all(ring[0] == ring[-1] for rings in polygons for ring in rings)
            assert (more["objectType"], more["name"]) == ("detection", str(number))
            assert more["classification"]["name"] in "abc"
            assert more["measurements"]["Cell area px^2"] == cell.cell.sum()
            row = rows[path.stem, number]
            assert (more["flag"], more["flag_reason"]) == row
            assert more.get("metadata") == ({"flag": row[0], "flag_reason": row[1]} if row[0] else None)
            assert more["measurements"]["Cell area µm^2"] == pytest.approx(cell.cell.sum() * SCALE**2)


def test_coco_agrees_with_itself_and_with_the_masks(typed, fields):
    told, found = read(typed / "cells.coco.json"), found_of(fields)
    assert [(one["id"], one["file_name"], one["width"], one["height"]) for one in told["images"]] == [
        (number, str(path), 500, 400) for number, path in enumerate(fields, start=1)]
    assert [one["name"] for one in told["categories"]] == ["a", "b", "c"]
    cells = [(image, cell) for image, field in enumerate(found, start=1) for cell in field.cells]
    assert [one["id"] for one in told["annotations"]] == list(range(1, len(cells) + 1))
    kinds = {one["id"]: one["name"] for one in told["categories"]}
    predicted = in_order(typed)["predicted"].to_list()
    assert [(one["flag"], one["flag_reason"]) for one in told["annotations"]] == in_order(typed).select(
        "flag", "flag_reason").rows()
    for one, (image, cell), name in zip(told["annotations"], cells, predicted, strict=True):
        assert (one["image_id"], one["bbox"], one["area"]) == (image, list(cell.box), cell.cell.sum())
        assert kinds[one["category_id"]] == name
        points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in one["segmentation"]])
        assert [*points.min(axis=0), *np.ptp(points, axis=0)] == pytest.approx(one["bbox"])


# ------------------------------------------------------------------------------------------------ the folder

def test_the_table_is_what_find_leukocytes_finds(typed, fields):
    table, check_complete = pl.read_parquet(typed / "cells.parquet"), pl.read_csv(typed / "cells.csv")
    assert check_complete.columns == table.columns
    assert check_complete["cell_area_px"].to_list() == table["cell_area_px"].to_list()
    rows = in_order(typed).iter_rows(named=True)
    for path, found in zip(fields, found_of(fields), strict=True):
        for number, cell in enumerate(found.cells, start=1):
            row, sizes = next(rows), cell.morphometry
            assert (row["field"], row["number"], row["subject"]) == (path.stem, number, "S <1>")
            assert (row["x"], row["y"], row["width"], row["height"]) == cell.box
            assert (row["cut"], row["score"], row["lobes"]) == (cell.cut, cell.score, sizes.lobes)
            assert row["cell_area_px"] == sizes.cell_area
            assert row["cell_diameter_um"] == pytest.approx(sizes.cell_diameter * SCALE)
            assert (row["nucleus_red"], row["nucleus_green"], row["nucleus_blue"]) == sizes.nucleus_colour
            assert sum(row[f"p_{name}"] for name in "abc") == pytest.approx(1, abs=1e-5)
            assert row[f"p_{row['predicted']}"] == max(row[f"p_{name}"] for name in "abc")
    assert next(rows, None) is None


def test_the_model_is_shown_the_squares_at_its_own_scale(typed, fields, bundle):
    from leukoscope.predict.model import load

    model = load(bundle)
    path = fields[0]
    pixels = read_image(path)
    cells = find_leukocytes(pixels, pixel=SCALE).cells
    squares = [square_about(cell, 18, wanted=1.0, scale=SCALE) for cell in cells]
    answers = model.predict(cut_square(ArrayField(pixels), square) for square in squares)
    assert square_about(cells[0], 18, wanted=1.0, scale=SCALE).side == 120  # 18 um
    own = in_order(typed).filter(pl.col("field") == path.stem)
    assert own["predicted"].to_list() == answers["predicted"].to_list()
    np.testing.assert_allclose(own["energy"], answers["energy"], rtol=1e-5)


def test_the_summary_counts_the_table(typed):
    summary, table = read(typed / "summary.json"), pl.read_parquet(typed / "cells.parquet")
    whole = table.filter(~pl.col("cut") & ~pl.col("damaged"))
    count = summary["differential"]
    assert (count["found"], count["total"], count["cut"]) == (table.height, whole.height, table["cut"].sum())
    for one in count["types"]:
        assert one["cells"] == (whole["predicted"] == one["name"]).sum()
        assert (one["share"]["low"], one["share"]["high"]) == pytest.approx(
            wilson_by_hand(one["cells"], whole.height), abs=1e-9)
    assert count["unsure"] == whole["unsure"].sum()
    assert count["unknown"] == (~whole["known"]).sum()
    assert summary["area_mm2"] == pytest.approx(2 * 0.075 * 0.060)
    assert sorted([*summary["files"], "summary.json"]) == sorted(path.name for path in typed.iterdir())


def test_the_page_holds_the_numbers_and_every_outline(typed):
    page, summary = Page(typed / "smear.html"), read(typed / "summary.json")
    table = pl.read_parquet(typed / "cells.parquet")
    count = summary["differential"]
    assert f"{count['found']} cells found, {count['total']} counted as leukocytes" in page.text
    for one in count["types"]:
        if one["share"]["value"] not in (0, 1):
            low, high = (f"{100 * one['share'][end]:.1f}" for end in ("low", "high"))
            assert f"{low}–{high}" in page.text
    assert "For research use only." in page.text
    assert "S <1>" in page.text
    shapes = [attributes for tag, attributes in page.tags if tag == "path" and attributes.get("class") == "halo"]
    assert len(shapes) == table.height
    shown = {attributes["data-shows"] for tag, attributes in page.tags if tag == "input"}
    assert len(shown) == table["predicted"].n_unique() + 1
    groups = {attributes.get("class") for tag, attributes in page.tags if tag == "g"}
    assert shown - {"numbers"} <= groups
    links = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert all(str(link).startswith(("data:image/", "#")) for link in links)
    assert len(page.raw) < 20_000_000


def test_the_annotated_picture_differs_along_the_outlines_only(typed, fields):
    for path, found in zip(fields, found_of(fields), strict=True):
        before, after = (read_image(one).astype(int) for one in (path, typed / f"{path.stem}.png"))
        changed = np.abs(after - before).sum(axis=2) > 0
        assert changed[found.labels() > 0].any()
        near = np.zeros(changed.shape, bool)
        for cell in found.cells:
            near[max(cell.y - 4, 0):cell.y + cell.height + 4, max(cell.x - 4, 0):cell.x + cell.width + 4] = True
        assert not changed[~near].any()


# ------------------------------------------------------------------------------------------------ scales

def test_all_fields_are_measured_by_the_median_scale(tmp_path):
    paths = [save(phantom(seed).pixels, tmp_path / "in" / f"{seed}.png") for seed in (1, 2, 3)]
    summary = smear_fields([tmp_path / "in"], tmp_path / "out", types=False)
    own = [find_leukocytes(read_image(path)).scale.micrometres_per_pixel for path in paths]
    known = sorted(scale for scale in own if scale is not None)
    assert len(set(known)) == 3
    assert [field.micrometres_per_pixel for field in summary.fields] == [known[1]] * 3
    assert {field.scale_from for field in summary.fields} == {"other fields"}


def test_the_median_scale_leaves_out_what_is_not_known_or_too_coarse():
    assert common_scale([0.1, None, 0.3, 0.9, 0.2]) == 0.2
    assert common_scale([None, 0.9]) is None


def test_a_field_of_another_magnification_keeps_its_own_scale(tmp_path):
    for number, scale in enumerate((SCALE, SCALE, 0.5)):
        save(phantom(number + 1, scale).pixels, tmp_path / "in" / f"{number}.png")
    summary = smear_fields([tmp_path / "in"], tmp_path / "out", types=False)
    last = summary.fields[2]
    assert last.micrometres_per_pixel == pytest.approx(0.5, rel=0.1)
    assert any("another magnification" in remark for remark in last.remarks)


# ------------------------------------------------------------------------------------------------ bad input

def test_without_a_bundle_cells_are_found_and_measured_only(fields, tmp_path):
    answer = leukoscope("smear", fields[0], "-o", tmp_path / "out", "--no-types")
    assert answer.code == 0
    assert "No types were asked for" in answer.out
    table = pl.read_parquet(tmp_path / "out" / "cells.parquet")
    assert table.height >= 6
    assert table["predicted"].null_count() == table.height
    assert not [name for name in table.columns if name.startswith("p_")]
    page = Page(tmp_path / "out" / "smear.html")
    assert "No types were asked for" in page.text
    assert "Differential" not in page.text
    assert {one["name"] for one in read(tmp_path / "out" / "cells.coco.json")["categories"]} == {"leukocyte"}


def test_a_field_without_a_leukocyte_is_a_count_of_none(bundle, tmp_path):
    empty = render_field(500, 400, seed=4, micrometres_per_pixel=SCALE, types={"platelet": 2})
    answer = leukoscope("smear", save(empty.pixels, tmp_path / "empty.png"), "-o", tmp_path / "out", "--bundle", bundle)
    assert answer.code == 0
    assert "No leukocyte was found in 1 field" in answer.out
    summary = read(tmp_path / "out" / "summary.json")
    assert summary["differential"]["total"] == 0
    assert all(one["share"]["value"] is None for one in summary["differential"]["types"])
    assert "With 95 % confidence fewer than 3" in Page(tmp_path / "out" / "smear.html").text
    assert pl.read_parquet(tmp_path / "out" / "cells.parquet").height == 0


def test_a_photograph_of_something_else_is_called_so(bundle, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    answer = leukoscope("smear", save(noise, tmp_path / "noise.png"), "-o", tmp_path / "out", "--bundle", bundle)
    assert answer.code == 0
    assert "does not look like a blood smear" in answer.out
    assert "does not look like a blood smear" in Page(tmp_path / "out" / "smear.html").text
    assert read(tmp_path / "out" / "summary.json")["fields"][0]["is_smear"] is False


def test_cells_of_eight_pixels_are_too_few(tmp_path):
    small = render_field(300, 240, seed=3, micrometres_per_pixel=7.5 / 8)
    answer = leukoscope("smear", save(small.pixels, tmp_path / "small.png"), "-o", tmp_path / "out", "--no-types")
    assert answer.code == 0
    assert "too few to outline leukocytes" in answer.out


def test_a_damaged_file_is_named_and_the_others_go_on(fields, tmp_path):
    bad = tmp_path / "broken.png"
    bad.write_bytes(fields[0].read_bytes()[:4000])
    answer = leukoscope("smear", bad, fields[0], "-o", tmp_path / "out", "--no-types")
    assert answer.code == 0
    assert "broken.png: left out" in answer.out
    summary = read(tmp_path / "out" / "summary.json")
    assert [Path(one["image"]).name for one in summary["unreadable"]] == ["broken.png"]
    assert [field["name"] for field in summary["fields"]] == [fields[0].stem]
    assert "1 file could not be read" in Page(tmp_path / "out" / "smear.html").text
    line = refusal("smear", bad, "-o", tmp_path / "other", "--no-types")
    assert "none of 1 field could be read" in line
    assert "broken.png" in line


def test_pages_that_a_truncated_stack_lacks_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([phantom(seed).pixels for seed in (1, 2, 3)]), photometric="rgb")
    content = (tmp_path / "stack.tif").read_bytes()
    (tmp_path / "stack.tif").write_bytes(content[:-200])  # of its three directories the last two lie at the end
    answer = leukoscope("smear", tmp_path / "stack.tif", "-o", tmp_path / "out", "--no-types")
    assert answer.code == 0, answer
    summary = read(tmp_path / "out" / "summary.json")
    names = [field["name"] for field in summary["fields"]]
    missing = {one["image"].rpartition("#")[2]: one["reason"] for one in summary["unreadable"]}
    assert names == [f"stack_{page}" for page in range(len(names))]
    assert set(missing) == {str(page) for page in range(len(names), 3)}
    assert missing
    for page, reason in missing.items():
        assert f"page {page} is missing: the file should have 3" in reason
        assert f"stack.tif#{page}: left out, page {page} is missing" in answer.out
    assert f"{len(missing)} file" in Page(tmp_path / "out" / "smear.html").text


def test_a_folder_that_is_not_empty_is_refused_unless_told(fields, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    save(phantom(1).pixels, tmp_path / "in" / "first.png")
    assert leukoscope("smear", tmp_path / "in", "-o", out, "--no-types").code == 0
    (out / "mine.txt").write_text("kept")
    assert "is not empty" in refusal("smear", fields[0], "-o", out, "--no-types")
    assert leukoscope("smear", fields[0], "-o", out, "--overwrite", "--no-types").code == 0
    left = {path.name for path in out.iterdir()}
    assert "first.png" not in left
    assert {f"{fields[0].stem}.png", "mine.txt", "summary.json"} <= left


def test_fields_are_never_written_over(tmp_path):
    path = save(phantom(1).pixels, tmp_path / "in" / "field.png")
    before = path.read_bytes()
    assert "are in the folder for the results" in refusal("smear", path, "-o", path.parent, "--overwrite")
    assert "are in the folder for the results" in refusal("smear", path.parent, "-o", path.parent, "--overwrite")
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["field.png"]


def test_refusals_name_the_input(fields, bundle, tmp_path):
    out = tmp_path / "out"
    assert "nowhere.png" in refusal("smear", tmp_path / "nowhere.png", "-o", out)
    assert "not a bundle" in refusal("smear", fields[0], "-o", out, "--bundle", tmp_path)
    assert "expected 0.01 to 5" in refusal("smear", fields[0], "-o", out, "--no-types", "--micrometres", "50")
    assert "bundle.json" in refusal("smear", fields[0], "-o", bundle, "--no-types", "--overwrite")
    assert not out.exists()


def test_a_bundle_without_its_scale_is_remarked_upon(run, fields, tmp_path):
    export_run(run, tmp_path / "bundle")
    answer = leukoscope("smear", fields[0], "-o", tmp_path / "out", "--bundle", tmp_path / "bundle", "--json")
    assert answer.code == 0
    summary = json.loads(answer.out)
    assert summary == read(tmp_path / "out" / "summary.json")
    assert "does not say how many micrometres" in summary["remarks"][0]
    assert "one and a half times their size" in Page(tmp_path / "out" / "smear.html").text


def test_fields_of_one_name_keep_apart(tmp_path):
    for folder in ("a", "b"):
        save(phantom(1).pixels, tmp_path / "in" / folder / "cells.png")
    summary = smear_fields([tmp_path / "in"], tmp_path / "out", types=False, micrometres=SCALE)
    assert [field.name for field in summary.fields] == ["cells_2", "cells_3"]
    assert {"cells_2.png", "cells_3.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
