"""Cells cut out for a model: what is said where they have too few pixels for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from leukoscope import count_smear
from leukoscope.phantom import render_field
from leukoscope.smear.crops import scale_remarks
from leukoscope.smear.find import find_leukocytes


@dataclass(frozen=True)
class Input:
    """Of a model: what `scale_remarks` asks of it."""

    frame: str = "cell"
    crop: int = 0
    size: int = 96
    micrometres: float | None = None


@pytest.fixture(scope="module")
def cell():
    """A found cell as if it was so many px wide."""
    found = find_leukocytes(render_field(640, 480, seed=(11, 0), white_cells=2).pixels).cells[0]
    return lambda width: replace(found, width=width, height=width)


def test_cells_that_a_framing_model_must_enlarge_are_remarked_upon(cell):
    assert scale_remarks(Input(), [cell(100), cell(100), cell(10)], 0.1) == []
    assert scale_remarks(Input(), [], 0.6) == []
    (said,) = scale_remarks(Input(), [cell(25), cell(25), cell(100)], None)
    assert said.startswith("leukocytes are 25 px wide, enlarged 2.7 times for the model, and lack detail")


def test_a_model_of_one_scale_is_told_of_a_coarser_one(cell):
    assert scale_remarks(Input("image", 70, 70, 0.2), [cell(50)], 0.25) == []
    (said,) = scale_remarks(Input("image", 70, 70, 0.2), [cell(50)], 0.5)
    assert "cells are enlarged 2.5 times and lack detail" in said


def test_photographs_of_few_pixels_say_that_cells_lack_detail(data_folder):
    (field,) = count_smear([min((data_folder / "phone_pig").rglob("*.jpg"))]).summary.fields
    assert field.cells
    assert any("lack detail" in remark for remark in field.remarks)
