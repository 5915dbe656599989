"""Cells to be looked at first, what is counted apart, and squares for a bundle that frames cells by itself."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from leukoscope.commands.smear_field import ScaleChoice, process_field
from leukoscope.commands.smear_resume import FieldScale
from leukoscope.errors import LeukoscopeError
from leukoscope.figures.palette import colours_of
from leukoscope.finder.frame import Frame
from leukoscope.predict.sources import Source
from leukoscope.smear import FoundCell, FoundField, Scale, find_leukocytes
from leukoscope.smear.count import differential, kind_of, per_hundred
from leukoscope.smear.crops import cut_square, square_for
from leukoscope.smear.flag import counted, flag_of, flagged_first, immaturity
from leukoscope.smear.formats import NamedField, cells_table, coco_annotations, geojson
from smear_fields import SCALE, nested_discs, phantom, save


def row_of(cell: FoundCell, predicted: str | None = None, sure: float = 0.6) -> dict:
    """The cell's row in the table."""
    scale = None if cell.morphometry.cell_diameter_um is None else 0.1
    found = FoundField(240, 240, (cell,), Scale(scale, "given", "", 0, None), (240.0, 240.0, 240.0), True, ())
    answers = None if predicted is None else pl.DataFrame(
        {"predicted": [predicted], "unsure": [False], "set": ["[]"], "known": [True], "energy": [1.0],
         f"p_{predicted}": [sure]})
    return cells_table([NamedField("field", "field.png", found)], answers).row(0, named=True)


# Names

@pytest.mark.parametrize(("names", "flag"), [
    (("lymphoblast", "Myeloblast", "blasts", "leukemic"), "blast"),
    (("ig", "IG", "immature_granulocyte", "promyelocyte", "Metamyelocyte", "precursor"), "immature"),
    (("erythroblast", "Normoblast", "nucleated red cell", "nRBC"), "nucleated red cell"),
    (("neutrophil", "band neutrophil", "lymphocyte", "platelet", "mature", "signet", "healthy"), "")])
def test_what_is_immature_is_known_by_its_name(names, flag):
    assert [immaturity(name) for name in names] == [flag] * len(names)


def test_what_is_no_leukocyte_is_of_one_kind_each():
    kinds = {"erythroblast": "nucleated red cell", "nucleated_red_cell": "nucleated red cell", "platelet": "platelet",
             "Giant Thrombocyte": "platelet", "PLT": "platelet", "red_cell": "other", "RBC": "other",
             "Red blood cell": "other", "nRBC": "nucleated red cell", "smudge": "other", "lymphoblast": "leukocyte"}
    assert {name: kind_of(name) for name in kinds} == kinds


# The rule

def test_a_round_nucleus_that_fills_a_large_cell_looks_like_a_blast_from_a_ratio_of_four_on():
    """Of nested discs the ratio is known: d2 / (D2 - d2)."""
    for ratio in (1.5, 3.6, 4.4, 9.0):
        cell = nested_discs(140, 140 * math.sqrt(ratio / (1 + ratio)))[1]
        flag, reason = flag_of(row_of(cell))
        assert cell.morphometry.nucleus_to_cytoplasm == pytest.approx(ratio, rel=0.05)
        assert flag == ("blast-like" if ratio >= 4 else None)
        assert reason == (f"N:C {cell.morphometry.nucleus_to_cytoplasm:.1f}, one round nucleus, 14.0 µm"
                          if ratio >= 4 else None)


def test_a_cell_without_cytoplasm_looks_like_a_blast_and_says_so():
    assert flag_of(row_of(nested_discs(140, 140)[1])) == (
        "blast-like", "no cytoplasm seen, one round nucleus, 14.0 µm")


@pytest.mark.parametrize("diameter", [90, 210])
def test_what_is_smaller_or_larger_than_a_lymphoblast_does_not(diameter):
    assert flag_of(row_of(nested_discs(diameter, 0.95 * diameter)[1])) == (None, None)


def test_only_whole_cells_of_a_known_scale_with_one_round_lobe_are_judged():
    cell = nested_discs(140, 130)[1]
    assert flag_of(row_of(cell))[0] == "blast-like"
    assert flag_of(row_of(replace(cell, cut=True))) == (None, None)
    assert flag_of(row_of(nested_discs(140, 130, scale=None)[1])) == (None, None)
    for other in ({"lobes": 2}, {"nucleus_roundness": 0.84}, {"cell_solidity": 0.8}):
        assert flag_of(row_of(replace(cell, morphometry=replace(cell.morphometry, **other)))) == (None, None)


def test_types_and_shapes_are_said_together():
    blast, mature = nested_discs(140, 130)[1], nested_discs(140, 70)[1]
    assert flag_of(row_of(mature, "ig")) == ("immature", "typed as ig (60 %)")
    flag, reason = flag_of(row_of(blast, "ig"))
    assert flag == "blast-like"
    assert str(reason).startswith("typed as ig (60 %); shaped as a blast: N:C 6")
    assert flag_of(row_of(blast, "lymphocyte"))[0] == "blast-like"
    assert flag_of(row_of(blast, "lymphoblast"))[0] == "blast"
    assert flag_of(row_of(blast, "erythroblast"))[0] == "nucleated red cell"
    assert flag_of(row_of(blast, "platelet")) == (None, None)
    assert flag_of(row_of(mature, "lymphocyte")) == (None, None)


def test_flagged_cells_stand_first_and_the_others_as_they_were():
    flags = [None, "nucleated red cell", "immature", None, "blast", "blast-like", "immature"]
    table = pl.DataFrame({"number": range(7), "flag": flags})
    assert flagged_first(table)["number"].to_list() == [4, 5, 2, 6, 1, 0, 3]


def test_flags_are_counted_in_words():
    assert counted({"immature": 2, "blast": 1, "nucleated red cell": 11, "blast-like": 1200}) == (
        "1 blast, 1,200 blast-like, 2 immature, 11 nucleated red cells")
    assert counted({"blast": 0}) == counted({}) == ""


# Counting

def test_nucleated_red_cells_are_counted_per_100_leukocytes_and_platelets_set_aside():
    names = ["neutrophil"] * 40 + ["erythroblast"] * 6 + ["platelet"] * 5 + ["smudge"] * 2
    table = pl.DataFrame({"predicted": names, "cut": False, "damaged": False, "unsure": False, "known": True})
    found = differential(table, ["neutrophil", "lymphocyte", "erythroblast", "platelet", "smudge"])
    assert (found.total, found.apart, found.nucleated, found.platelets) == (40, 13, 6, 5)
    assert [one.share.value for one in found.types if one.share] == [1.0, 0.0]
    assert found.per_hundred is not None
    assert (found.per_hundred.value, found.types[2].per_hundred) == (15.0, found.per_hundred)
    assert [one.per_hundred for one in found.types if one.name != "erythroblast"] == [None] * 4
    assert differential(table, ["neutrophil", "lymphocyte"]).per_hundred is None


def test_the_interval_per_100_leukocytes_holds_the_truth_as_often_as_it_says():
    """Of n leukocytes and nucleated red cells together the red ones are binomial: 25 per 100 is a share of 0.2."""
    total, inside = 200, []
    for red in range(total):
        found = per_hundred(red, total - red)
        assert found.low is not None
        assert found.high is not None
        inside.append(found.low <= 25 <= found.high)
    covered = float(np.sum(binom.pmf(np.flatnonzero(inside), total, 0.2)))
    assert 0.935 < covered < 0.965
    assert per_hundred(300, 100).value == 300
    assert per_hundred(4, 0).value is None


# Class maps

def test_a_class_that_the_map_does_not_know_is_named():
    cell = nested_discs(140, 70)[1]
    row, named = row_of(cell, "lymphocyte"), NamedField("field", "f", FoundField(
        240, 240, (cell,), Scale(0.1, "given", "", 0, None), (240.0, 240.0, 240.0), True, ()))
    for refused in (lambda: geojson(named, [row], colours_of(["neutrophil"])),
                    lambda: coco_annotations(named, [row], ["neutrophil", "monocyte"])):
        with pytest.raises(LeukoscopeError, match="cell 1 of field is typed as 'lymphocyte', which is not among"):
            refused()


# Bundles that frame cells by themselves

def framed(**changed) -> SimpleNamespace:
    return SimpleNamespace(**({"frame": "cell", "crop": 0, "size": 16, "micrometres": None} | changed))


def test_such_a_bundle_is_shown_the_pixels_of_the_field_around_the_cell():
    field, cell = nested_discs(61, 40, side=200)
    square = square_for(framed(), cell, 0.1)  # type: ignore[arg-type]  # what is asked of a description
    assert (square.side, square.size) == (135, 135)  # 2.2 times 61
    assert np.array_equal(cut_square(field, square), field.pixels[33:168, 33:168])
    for scale in (None, 0.3):  # the scale of the field is nothing to it
        assert square_for(framed(crop=18, micrometres=1.0), cell, scale) == square  # type: ignore[arg-type]
    small = nested_discs(20, 10, side=200)[1]
    assert square_for(framed(), small, None).side == 80  # type: ignore[arg-type]


def test_such_a_bundle_types_a_field_without_remarks_about_scale(tmp_path):
    seen: list[np.ndarray] = []
    framed_at: list[Frame] = []

    def predict_some(images, frames):
        seen.extend(images)
        framed_at.extend(frames)
        return pl.DataFrame({"predicted": ["lymphocyte"] * len(seen), "unsure": False, "set": "[]", "known": True,
                             "energy": 1.0, "p_lymphocyte": 0.9}), ()

    path = save(phantom(1).pixels, tmp_path / "field.png")
    model = SimpleNamespace(predict_some=predict_some, classes=("lymphocyte",),
                            description=framed(crop=18, micrometres=0.01))
    result = process_field(Source(str(path), str(path)), "field", model, FieldScale("", None, 0),  # type: ignore[arg-type]
                           ScaleChoice(SCALE), subject="", colours=colours_of(["lymphocyte"]), out=tmp_path)
    longest = result.table.select(pl.max_horizontal("width", "height")).to_series()
    assert [image.shape for image in seen] == [(math.ceil(2.2 * side), math.ceil(2.2 * side), 3) for side in longest]
    assert len(seen) == len(framed_at) >= 6
    for row, image, frame in zip(result.table.rows(named=True), seen, framed_at, strict=True):
        middle = (image.shape[0] - 1) / 2  # the outlines that were found say where the cell lies in its picture
        assert (frame.x, frame.y) == pytest.approx((middle, middle), abs=0.2 * max(row["width"], row["height"]))
        assert frame.side < image.shape[0] * 1.05
    assert not [remark for remark in result.summary.remarks if "bundle" in remark]
    first = result.table.row(0, named=True)
    assert first["y"] == 0  # cut by the border, beyond which lies nothing but light
    left, top = (round(first[name] - (seen[0].shape[0] - 1) / 2) for name in ("centre_x", "centre_y"))
    white = np.rint(find_leukocytes(phantom(1).pixels, pixel=SCALE).white)
    around = np.full((1000, 1100, 3), white, np.uint8)
    around[300:700, 300:800] = phantom(1).pixels
    side = seen[0].shape[0]
    assert np.array_equal(seen[0], around[top + 300:top + 300 + side, left + 300:left + 300 + side])
