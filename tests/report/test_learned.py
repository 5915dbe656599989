"""Learned microscopes beside frozen ones on the page of a study."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from leukoscope.report.learned import learned_table
from leukoscope.report.study import write_study
from leukoscope.runs.results import read_results
from page_reader import Page
from run_folder import Plan, build_run


def test_learned_is_compared_with_frozen_cell_by_cell(tmp_path):
    for name, optics, skill in (("learned", {"pool": 2}, 3.0), ("frozen", {"pool": 2, "learn": []}, 1.0),
                                ("coarse", {"pool": 4}, 2.0)):
        build_run(tmp_path / name, Plan(cells=160, folds=1, optics=optics, skill=skill))
    runs = [read_results(tmp_path / name) for name in ("learned", "frozen", "coarse")]
    tables = learned_table(runs)
    assert len(tables) == 1
    assert len(tables[0].rows) == 1  # nothing to compare the coarse one with
    name, _, frozen, learned, gain, _ = tables[0].rows[0]
    right = [float(np.mean((run.predictions["label"] == run.predictions["predicted"]).to_numpy())) for run in runs]
    assert name == "N = 2, learned"
    assert str(learned).startswith(f"{100 * right[0]:.1f} (")
    assert str(frozen).startswith(f"{100 * right[1]:.1f} (")
    assert str(gain).startswith(f"+{100 * (right[0] - right[1]):.1f} (")
    page = Page(write_study(tmp_path))
    assert "Does learning the microscope help?" in page.text
    assert learned_table(runs[:1]) == []


@pytest.mark.parametrize("other", [True, False])
def test_other_cells_are_not_compared(tmp_path, other):
    build_run(tmp_path / "a", Plan(cells=60, folds=1, optics={"pool": 2}))
    run = build_run(tmp_path / "b", Plan(cells=60, folds=1, optics={"pool": 2, "learn": []}))
    if other:
        table = pl.read_parquet(run / "predictions.parquet")
        table.with_columns(pl.col("cell_id") + "x").write_parquet(run / "predictions.parquet")
    assert ("Does learning the microscope help?" in Page(write_study(tmp_path)).text) is not other
