"""Runs and bundles that the version before the folders wrote still open, and answer as they did.

tests/data/older: 32 cells of `tiny.make_cells`, a WBCsNet-2 of 12,600 weights trained for four epochs, and its bundle.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import leukoscope
from leukoscope.commands.report import write_any_report
from leukoscope.errors import LeakError
from leukoscope.images.read import read_cell
from leukoscope.manifest import read_manifest
from leukoscope.predict.run import RunClassifier, predict_run
from leukoscope.runs.run import Run
from tiny import make_cells

OLDER = Path(__file__).parents[1] / "data" / "older"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder, unpacked, beside its cells."""
    folder = tmp_path_factory.mktemp("older")
    shutil.unpack_archive(OLDER / "run.zip", folder / "run")
    make_cells(folder / "run" / "cells", counts={"a": 16, "b": 16}, strength=0.5)
    return folder / "run"


def test_a_run_opens_and_its_network_answers_as_it_did(older: Path) -> None:
    run = Run(older)
    assert run.finished
    tested = run.manifest.join(run.predictions, on="cell_id", how="semi")
    pixels = [RunClassifier(run).prepare(read_cell(row)) for row in tested.iter_rows(named=True)]
    probabilities, _ = RunClassifier(run).answer(np.stack(pixels))
    expected = tested.select("cell_id").join(run.predictions, on="cell_id", how="left", maintain_order="left")
    np.testing.assert_allclose(probabilities, expected.select("p_a", "p_b").to_numpy(), atol=1e-5)


def test_the_guard_knows_the_cells_of_a_run(older: Path) -> None:
    with pytest.raises(LeakError, match="trained on"):
        predict_run(Run(older), read_manifest(older / "manifest.parquet"))


def test_its_page_is_drawn_anew(older: Path) -> None:
    text = write_any_report(older).read_text(encoding="utf-8")
    assert "100.0" in text


def test_a_bundle_opens_and_answers_as_the_run(older: Path) -> None:
    model = leukoscope.load(OLDER / "bundle.zip")
    assert model.classes == ("a", "b")
    rows = Run(older).predictions.sort("cell_id")
    table = model.predict([older / "cells" / f"{cell}.png" for cell in rows["cell_id"]])
    assert table["predicted"].to_list() == rows["predicted"].to_list()
    assert isinstance(table, pl.DataFrame)
