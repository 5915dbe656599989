"""What stands first in a page: suspected blasts, and counts that cannot be believed."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from leukoscope.smear.count import differential, without_large_platelets
from leukoscope.smear.field import FoundField, Scale
from leukoscope.smear.findings import blasts_of, doubts_of, finding_of
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
    unlike = doubts_of(count_of({"neutrophil": 60, "lymphocyte": 40}, unknown=30))
    assert unlike[0].startswith("Types are not reliable for this laboratory: 30\u202f% of the leukocytes are unlike")
    assert doubts_of(count_of({"neutrophil": 60, "lymphocyte": 40}, unsure=60))[0].startswith("Types are not reliable")
    assert doubts_of(count_of({"eosinophil": 5})) == []  # too few to judge


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
