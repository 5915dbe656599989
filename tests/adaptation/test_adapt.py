"""`leukoscope adapt`: a tiny bundle fitted to a laboratory whose colours are others."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from command import leukoscope, refusal
from leukoscope.bundle.bundle import open_bundle
from leukoscope.commands.adapt import AdaptOptions, adapt
from leukoscope.errors import BundleError, LeakError, ManifestError
from leukoscope.manifest import write_manifest
from leukoscope.predict.model import Model
from tiny import make_cells

TURNED = {"a": "b", "b": "c", "c": "a"}
"""The colour of each class in the other laboratory is that of another class here."""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> pl.DataFrame:
    """Cells of six slides."""
    cells = make_cells(tmp_path_factory.mktemp("elsewhere"), counts=dict.fromkeys("abc", 24), strength=0.5, seed=5)
    return cells.with_columns(label=pl.col("label").replace(TURNED),
                              group=pl.Series([f"slide {row % 6}" for row in range(cells.height)]))


@pytest.fixture(scope="module")
def fitted(bundle, elsewhere, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fitted") / "ours.zip"
    outcome = adapt(bundle, elsewhere, out, AdaptOptions(name="St Elsewhere"))
    assert outcome.page.name == "ours.html"
    assert [row["name"] for row in outcome.metrics["by_group"]] == [f"slide {number}" for number in range(6)]
    assert all(row["cells"] == 12 and row["before"] < row["after"] for row in outcome.metrics["by_group"])
    return out


def test_the_bundle_learns_the_laboratory(bundle, fitted, elsewhere):
    adapted = open_bundle(fitted).description.adapted
    assert adapted is not None
    assert adapted["before"]["value"] < 0.4
    assert adapted["after"]["value"] > 0.8
    assert adapted["digest"] == open_bundle(bundle).description.digest
    assert (adapted["counts"], adapted["groups"]) == (dict.fromkeys("abc", 24), 6)
    answers = Model(open_bundle(fitted)).predict(elsewhere["image"].to_list())
    assert (answers["predicted"] == elsewhere["label"]).mean() > 0.9
    assert answers.select(f"p_{name}" for name in "abc").sum_horizontal().to_numpy() == pytest.approx(1, abs=1e-5)


def test_the_base_is_left_as_it_was(bundle, elsewhere):
    answers = Model(open_bundle(bundle)).predict(elsewhere["image"].to_list())
    assert (answers["predicted"] == elsewhere["label"]).mean() < 0.4


def test_page_and_card_say_what_it_brought(fitted):
    page = fitted.with_suffix(".html").read_text(encoding="utf-8")
    assert "fitted to St Elsewhere" in page
    assert "without any cell of its own group" in page
    assert "What more cells bring" in page
    assert "By group" in page
    assert page.count('<th scope="row">slide ') == 6
    assert "Fitted to 72 confirmed cells of St Elsewhere" in open_bundle(fitted).parts["MODEL_CARD.md"].decode()


def test_confirmed_cells_are_cells_that_it_was_trained_on(fitted, elsewhere, tmp_path):
    with pytest.raises(LeakError):
        adapt(fitted, elsewhere, tmp_path / "again")


def test_a_changed_head_is_refused(fitted, tmp_path):
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(fitted) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:-1] if name == "head.npz" else old.read(name))
    with pytest.raises(BundleError, match=r"head\.npz is not the file that the bundle was made with"):
        open_bundle(other)


@pytest.mark.parametrize("slides", [1, 6])
def test_one_slide_is_said(bundle, elsewhere, slides, tmp_path):
    cells = elsewhere.with_columns(group=pl.Series([f"slide {row % slides}" for row in range(elsewhere.height)]))
    adapt(bundle, cells, tmp_path / "ours")
    page = (tmp_path / "ours.html").read_text(encoding="utf-8")
    assert ("All confirmed cells are of one group" in page) == (slides == 1)


def test_rows_of_the_page_are_the_people_where_they_are_known(bundle, elsewhere, tmp_path):
    number = pl.int_range(pl.len())
    cells = elsewhere.with_columns(subject=pl.format("person {}", number % 4), group=pl.format("slide {}", number % 12))
    outcome = adapt(bundle, cells, tmp_path / "ours")
    assert [row["name"] for row in outcome.metrics["by_group"]] == [f"person {one}" for one in range(4)]


def test_cells_without_slides_are_said(bundle, elsewhere, tmp_path):
    outcome = adapt(bundle, elsewhere.with_columns(group=pl.lit(None, pl.String)), tmp_path / "ours")
    assert any(line.startswith("It is not known of every cell from which slide it is.") for line in outcome.lines)
    page = (tmp_path / "ours.html").read_text(encoding="utf-8")
    assert "expect less on other slides" in page
    assert "right before" not in page


def test_too_few_cells_are_refused(bundle, elsewhere, tmp_path):
    few = elsewhere.group_by("label").head(4)
    with pytest.raises(ManifestError, match="too few confirmed cells: 4 a, 4 b and 4 c; confirm at least 5 cells"):
        adapt(bundle, few, tmp_path / "ours")
    one = elsewhere.filter(pl.col("label") == "a")
    with pytest.raises(ManifestError, match="too few confirmed cells: 24 a; confirm at least 5 cells of at least two"):
        adapt(bundle, one, tmp_path / "ours")


def test_a_type_with_few_cells_stays_as_it_was(bundle, elsewhere, tmp_path):
    rare = pl.concat([elsewhere.filter(pl.col("label") != "c"), elsewhere.filter(pl.col("label") == "c").head(2)])
    outcome = adapt(bundle, rare, tmp_path / "ours")
    assert "left out: 2 cells of the type c: fewer than 5, so it stays as it was" in outcome.lines


def test_labels_that_contradict_each_other_are_refused(bundle, elsewhere, tmp_path):
    twice = elsewhere.head(1).with_columns(cell_id=pl.lit("again"), label=pl.lit("a"))
    with pytest.raises(ManifestError, match="the labels contradict each other: 1 pair of copies of one cell have two"):
        adapt(bundle, pl.concat([elsewhere, twice]), tmp_path / "ours")


def test_labels_without_sense_do_not_help(bundle, tmp_path):
    """Noise under shuffled labels: nothing is written."""
    cells = make_cells(tmp_path / "cells", strength=0.0, seed=8)
    rng = np.random.default_rng(0)
    cells = cells.with_columns(label=pl.Series(rng.permutation(cells["label"].to_list())))
    base = Model(open_bundle(bundle)).predict(cells["image"].to_list())
    if np.mean((base["predicted"] == cells["label"]).to_numpy()) < 0.3:
        pytest.skip("the model is worse than chance on this noise")
    with pytest.raises(ManifestError, match="fitting to these cells does not help"):
        adapt(bundle, cells, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_damaged_images(bundle, elsewhere, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = elsewhere.head(1).with_columns(cell_id=pl.lit("broken"), image=pl.lit(str(tmp_path / "broken.png")))
    write_manifest(pl.concat([elsewhere, broken]), tmp_path / "cells.parquet")
    assert "1 of 73 cells are damaged" in refusal("adapt", bundle, "--data", tmp_path / "cells.parquet", "-o",
                                                  tmp_path / "ours")
    answer = leukoscope("adapt", bundle, "--data", tmp_path / "cells.parquet", "-o", tmp_path / "ours",
                        "--skip-damaged", "--json")
    assert json.loads(answer.out)["metrics"]["adapted"]["counts"] == dict.fromkeys("abc", 24)


def test_what_adapt_needs(bundle, tmp_path):
    assert "name the confirmed cells; either --data cells.parquet, or --review smear/" in refusal(
        "adapt", bundle, "-o", tmp_path / "ours")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert "no such file or folder" in refusal("adapt", bundle, "--data", tmp_path / "no.parquet", "-o", tmp_path / "o")
