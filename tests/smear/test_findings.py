"""What stands first in a page: suspected blasts, and counts that cannot be believed."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from leukoscope.smear.count import differential, without_large_platelets
from leukoscope.smear.field import FoundField, Scale
from leukoscope.smear.findings import blasts_of, doubted, doubts_of, finding_of, unreliable, without_shares
from smear_fields import nested_discs

CLASSES = ["basophil", "eosinophil", "lymphocyte", "neutrophil", "platelet", "blast"]


def count_of(counts: dict[str, int], *, unknown: int = 0, unsure: int = 0):
    names = [name for name, number in counts.items() for _ in range(number)]
    table = pl.DataFrame({"predicted": names, "cut": False, "damaged": False,
                          "unsure": np.arange(len(names)) < unsure, "known": np.arange(len(names)) >= unknown})
    return differential(table, CLASSES)


def elsewhere(*rates: tuple[float, float]) -> dict:
    return {"rows": [{"sensitivity": {"value": sensitivity}, "specificity": {"value": specificity}}
                     for sensitivity, specificity in rates]}


def test_many_blasts_come_first_with_the_model_s_own_mistakes_taken_out():
    """Rogan and Gladen: (share + specificity - 1) / (sensitivity + specificity - 1)."""
    blasts = blasts_of(count_of({"blast": 40, "neutrophil": 60}), elsewhere((0.9, 0.96), (0.8, 0.9)))
    assert blasts is not None
    assert (blasts.cells, blasts.leukocytes, blasts.share.value) == (40, 100, 0.4)
    assert blasts.corrected.value == pytest.approx((0.4 + 0.93 - 1) / (0.85 + 0.93 - 1))
    assert blasts.share.low is not None
    assert blasts.share.high is not None
    assert blasts.corrected.low == pytest.approx((blasts.share.low + 0.9 - 1) / (0.9 + 0.9 - 1))
    assert blasts.corrected.high == pytest.approx((blasts.share.high + 0.96 - 1) / (0.8 + 0.96 - 1))
    said = finding_of(blasts)
    assert said.startswith("Blasts suspected: review first. The model calls 40 of 100 leukocytes blasts")
    assert "Corrected for its own mistakes, 42" in said


def test_more_blasts_than_the_model_finds_elsewhere_are_not_certain_for_that():
    """All of twelve cells: the lower end is that of a model that finds every blast, (low + 0.6 - 1) / 0.6."""
    blasts = blasts_of(count_of({"blast": 12}), elsewhere((0.5, 0.6), (0.45, 0.99)))
    assert blasts is not None
    assert blasts.share.low == pytest.approx(0.7575, abs=1e-4)
    assert (blasts.corrected.value, blasts.corrected.high) == (1, 1)
    assert blasts.corrected.low == pytest.approx((0.7575 + 0.6 - 1) / 0.6, abs=1e-3)


def test_few_blasts_may_be_mistakes_and_that_is_said():
    blasts = blasts_of(count_of({"blast": 5, "neutrophil": 95}), elsewhere((0.9, 0.9)))
    assert "So many can come from its own mistakes alone" in finding_of(blasts)
    assert finding_of(blasts_of(count_of({"blast": 1, "neutrophil": 99}), None)) == ""
    assert finding_of(blasts_of(count_of({"neutrophil": 99}), None)) == ""
    assert blasts_of(count_of({"platelet": 3}), None) is None  # no leukocyte


def test_without_error_rates_nothing_is_corrected():
    for unknown in (None, elsewhere(), elsewhere((0.3, 0.5))):
        blasts = blasts_of(count_of({"blast": 40, "neutrophil": 60}), unknown)
        assert blasts is not None
        assert blasts.corrected.value is None
        assert "How often it errs elsewhere is not known." in finding_of(blasts)


def test_counts_that_cannot_be_believed_are_remarked_upon():
    assert doubts_of(count_of({"neutrophil": 60, "lymphocyte": 36, "basophil": 4})) == []
    assert doubts_of(count_of({"neutrophil": 70, "basophil": 23}))[0].startswith("25 % basophils is more than".replace(
        " %", "\u202f%"))
    assert "eosinophils" in doubts_of(count_of({"eosinophil": 95, "neutrophil": 5}))[0]
    assert doubts_of(count_of({"neutrophil": 60, "lymphocyte": 40}, unsure=60))[0].startswith("60\u202f% of the leukoc")
    assert doubts_of(count_of({"eosinophil": 5})) == []  # too few to judge


def test_marrow_is_asked_about():
    classes = ["neutrophil", "immature granulocyte", "erythroblast", "blast"]

    def doubts(*counts: int) -> list[str]:
        names = [name for name, number in zip(classes, counts, strict=True) for _ in range(number)]
        table = pl.DataFrame({"predicted": names, "cut": False, "damaged": False, "unsure": False, "known": True})
        return doubts_of(differential(table, classes))

    assert doubts(60, 40, 30, 0) == ["40 immature cells and 30 nucleated red cells beside 100 leukocytes: is this bone "
                                     "marrow? These counts are meant for blood."]
    assert doubts(60, 40, 2, 0) == []  # a left shift
    assert doubts(95, 5, 40, 0) == []  # of a newborn, or haemolysis
    assert doubts(3, 3, 3, 0) == []  # too few to judge


@pytest.mark.parametrize(("unknown", "total", "said"), [
    (30, 100, True), (7, 32, True), (3, 10, True), (2, 2, False), (3, 40, False), (5, 100, False), (0, 50, False)])
def test_types_are_not_reliable_where_more_cells_are_unlike_training_than_chance_explains(unknown, total, said):
    """More than 5 % by the lower end of Wilson's interval, and three cells at least."""
    count = count_of({"neutrophil": total}, unknown=unknown)
    low = unknown / total + 1.959964**2 / (2 * total) - 1.959964 * np.sqrt(
        unknown / total * (1 - unknown / total) / total + 1.959964**2 / (4 * total**2))
    assert said == (unknown >= 3 and low / (1 + 1.959964**2 / total) > 0.05)
    assert bool(unreliable(count)) == said
    if said:
        assert f"the {total} cells (leukoscope review)" in unreliable(count)


def test_unreliable_types_are_unsure_and_have_no_shares():
    names = ["neutrophil"] * 6 + ["platelet", None]
    table = pl.DataFrame({"predicted": names, "cut": False, "damaged": False, "unsure": [False] * 7 + [None],
                          "known": [False] * 4 + [True] * 3 + [None]})
    after = doubted(table, CLASSES)
    assert after["unsure"].to_list() == [True] * 7 + [None]
    count = without_shares(differential(after, CLASSES), "why")
    assert (count.total, count.unsure, count.unknown) == (6, 6, 4)
    neutrophils = next(kind for kind in count.types if kind.name == "neutrophil")
    assert neutrophils.share is not None
    assert (neutrophils.cells, neutrophils.share.value, neutrophils.share.low, neutrophils.share.method) == (
        6, None, None, "why")
    assert next(kind for kind in count.types if kind.name == "platelet").share is None
    calm = table.with_columns(pl.lit(True).alias("known"))
    assert doubted(calm, CLASSES).equals(calm)
    assert doubted(table, ()).equals(table)


def test_no_cell_wider_than_a_red_cell_is_a_platelet():
    cells = tuple(nested_discs(width, width // 2)[1] for width in (40, 140))
    found = FoundField(240, 240, cells, Scale(0.1, "red cells", "", 20, 75.0), (240.0, 240.0, 240.0), True, ())
    answers = pl.DataFrame({
        "predicted": ["platelet", "platelet"], "unsure": [False, False], "set": ['["platelet"]', '["platelet"]'],
        "known": [True, True], "p_lymphocyte": [0.02, 0.15], "p_neutrophil": [0.03, 0.05], "p_platelet": [0.95, 0.8]})
    changed = without_large_platelets(answers, found, ["lymphocyte", "neutrophil", "platelet"])
    assert changed["predicted"].to_list() == ["platelet", "lymphocyte"]
    assert changed["unsure"].to_list() == [False, True]
    assert changed.row(1, named=True)["p_lymphocyte"] == pytest.approx(0.75)
    assert [json.loads(text) for text in changed["set"]] == [["platelet"], []]
    assert changed.columns == answers.columns
    nowhere = FoundField(240, 240, cells, Scale(None, "none", "", 0, None), (240.0, 240.0, 240.0), True, ())
    assert without_large_platelets(answers, nowhere, ["lymphocyte", "platelet"]).equals(answers)
