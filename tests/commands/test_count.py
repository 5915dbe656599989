"""Counting a smear from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import leukoscope
from command import leukoscope as command
from leukoscope.bundle.bundle import open_bundle, write_bundle
from leukoscope.commands.count import count_smear
from leukoscope.commands.smear_subjects import smear_subjects
from leukoscope.errors import LeukoscopeError
from leukoscope.files import read_json
from leukoscope.phantom import render_field
from leukoscope.predict.model import packaged_model
from page_reader import Page
from smear_fields import save


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


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model, to which every cell is unlike those of training."""
    bundle, out = open_bundle(packaged_model()), tmp_path_factory.mktemp("elsewhere") / "elsewhere.zip"
    parts = {name: content for name, content in bundle.parts.items() if name in bundle.description.files}
    write_bundle(out, bundle.description.content() | {"least_energy": 1000.0}, parts)
    return out


def test_in_a_laboratory_unlike_all_of_training_there_is_no_differential(
        field: np.ndarray, elsewhere: Path, tmp_path: Path) -> None:
    count = count_smear([field, field], model=elsewhere, out=tmp_path / "out")
    summary, said = count.summary, "Types are not reliable for this laboratory"
    assert summary.unreliable.startswith(said)
    assert count.differential["cells"].sum() >= summary.differential.total >= 3
    assert count.differential.select("share", "low", "high").null_count().row(0) == 3 * (count.differential.height,)
    assert count.cells["unsure"].all()
    assert summary.differential.unsure == summary.differential.total
    assert "no differential" in repr(count)
    assert said in count._repr_html_()
    stored = read_json(tmp_path / "out" / "summary.json")
    assert next(iter(stored)) == "unreliable"
    assert stored["unreliable"] == summary.unreliable
    assert all(kind["share"] is None or kind["share"]["value"] is None for kind in stored["differential"]["types"])
    page = Page(tmp_path / "out" / "smear.html")
    assert said in page.text
    assert page.text.index(said) < page.text.index("What the model calls these cells; not a differential")
    assert "Differential, with 95 % intervals" not in count.page
    files = [save(field, tmp_path / f"{name}.png") for name in "ab"]
    answer = command("smear", *files, "-o", tmp_path / "again", "--bundle", elsewhere)
    assert answer.out.startswith(said)
    assert " % " not in answer.out.split("called by the model")[1].splitlines()[0]


def test_the_index_of_subjects_says_so_too(field: np.ndarray, elsewhere: Path, tmp_path: Path) -> None:
    for name in "ab":
        for number in (1, 2):
            save(field, tmp_path / "in" / name / f"{number}.png")
    out = tmp_path / "out"
    subjects = smear_subjects([tmp_path / "in"], out, bundle=elsewhere)
    assert subjects.unreliable.startswith("Types are not reliable for this laboratory in 2 of 2 smears")
    table = pl.read_csv(out / "subjects.csv")
    assert not table["types_reliable"].any()
    assert all(table[name].null_count() == 2 for name in table.columns if name.startswith("share_"))
    assert "types are not reliable: no differential" in Page(out / "index.html").text


def test_phantoms_are_like_enough_and_a_laboratory_that_nobody_trained_on_is_not(data_folder) -> None:
    """Photographs of pig blood through an eyepiece: no model knows their types."""
    fields = [render_field(640, 480, seed=(11, seed), white_cells=2).pixels for seed in range(4)]
    phantoms = count_smear(fields).summary
    assert phantoms.differential.total >= 10
    assert not phantoms.unreliable
    files = sorted((data_folder / "phone_pig").glob("**/*.jpg"))
    assert count_smear(files[::len(files) // 8][:8]).summary.unreliable
