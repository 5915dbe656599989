"""Counting a smear from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import leukoscope
from leukoscope.commands.count import count_smear
from leukoscope.errors import LeukoscopeError
from leukoscope.phantom import render_field


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    return render_field(640, 480, seed=4, types={"neutrophil": 4, "lymphocyte": 2}).pixels


def test_an_array_is_counted_as_its_file_is(field: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(field).save(tmp_path / "field.png")
    one, other = count_smear(field), count_smear([tmp_path / "field.png"], out=tmp_path / "out")
    assert one.cells.height >= 4
    assert one.cells.drop("field", "image", strict=False).equals(other.cells.drop("field", "image", strict=False))
    assert one.differential.equals(other.differential)
    assert (tmp_path / "out" / "smear.html").read_text(encoding="utf-8") == other.page


def test_the_differential_adds_up_and_is_shown(field: np.ndarray) -> None:
    count = count_smear([field, field])
    shares = count.differential["share"].drop_nulls()
    assert shares.sum() == pytest.approx(1)
    assert count.differential["cells"].sum() <= count.cells.height
    assert "2 fields" in repr(count)
    assert "immature granulocyte" in count._repr_html_()


def test_what_is_no_photograph_is_refused() -> None:
    with pytest.raises(LeukoscopeError, match="not a photograph"):
        leukoscope.count_smear(np.zeros((4, 4), np.uint8))
