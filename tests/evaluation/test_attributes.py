"""Which attributes go with the errors: the test against SciPy, statsmodels and permutations; from manifest to page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2_contingency
from statsmodels.stats.contingency_tables import StratifiedTable

from command import leukoscope, refusal
from leukoscope.evaluation.attributes import RARER, errors_by_attribute
from leukoscope.manifest import read_manifest
from leukoscope.report.run import write_report
from leukoscope.stats.strata import within_strata
from page_reader import Page
from run_folder import Plan, build_run

CLOSE = 1e-6


def cells_with(seed: int, n: int = 400, kinds: int = 3, effect: float = 0.0):
    """Right answers, values and strata; the value follows the stratum, and `effect` makes value 0 harder."""
    random = np.random.default_rng(seed)
    strata = random.integers(0, 4, n)
    values = np.where(random.random(n) < 0.4, strata % kinds, random.integers(0, kinds, n))
    return random.random(n) < 0.9 - 0.12 * strata - effect * (values == 0), values, strata


def test_one_stratum_is_pearsons_chi_squared():
    right, values, _ = cells_with(1)
    got = within_strata(right, values, np.zeros(len(right), int))
    table = np.array([[((values == v) & (right == r)).sum() for v in range(3)] for r in (True, False)])
    expected: Any = chi2_contingency(table, correction=False)[0]
    assert got.statistic == pytest.approx((len(right) - 1) / len(right) * expected, abs=CLOSE)
    assert got.freedom == 2


@pytest.mark.parametrize("seed", range(4))
def test_two_values_are_mantel_and_haenszels(seed):
    right, values, strata = cells_with(seed, kinds=2, effect=0.1)
    tables = [np.array([[((values == v) & (right == r) & (strata == s)).sum() for r in (True, False)] for v in (0, 1)])
              for s in range(4)]
    expected: Any = StratifiedTable([table.astype(float) for table in tables]).test_null_odds(correction=False)
    got = within_strata(right, values, strata)
    assert (got.statistic, got.p_value) == pytest.approx((expected.statistic, expected.pvalue), abs=CLOSE)


def test_p_values_are_those_of_permutations_within_classes():
    right, values, strata = cells_with(3, effect=0.12)
    got, random, beyond = within_strata(right, values, strata), np.random.default_rng(0), 0
    assert got.statistic is not None
    for _ in range(1500):
        shuffled = values.copy()
        for s in range(4):
            own = np.flatnonzero(strata == s)
            shuffled[own] = values[random.permutation(own)]
        beyond += (within_strata(right, shuffled, strata).statistic or 0.0) >= got.statistic
    assert got.p_value == pytest.approx(beyond / 1500, abs=4 * np.sqrt(0.25 / 1500) / 2)


def test_an_attribute_that_only_follows_the_class_is_not_found():
    right, _, strata = cells_with(5)
    got = within_strata(right, strata % 2, strata)
    assert got.p_value is None
    assert "always the same" in got.test


def test_cells_of_a_subject_do_not_count_as_independent():
    """A property of the subject alone: the test by cell finds it far too often, that by subject as often as it says."""
    random, naive, honest = np.random.default_rng(2), 0, 0
    subject, one_class = np.repeat(np.arange(20), 15), np.zeros(300, int)
    right, values = np.zeros(300, bool), np.zeros(300, int)
    for _ in range(300):
        rate = np.clip(random.normal(0.7, 0.25, 20), 0, 1)[subject]
        right, values = random.random(300) < rate, (random.permutation(20) % 2)[subject]
        naive += (within_strata(right, values, one_class).p_value or 1) < 0.05
        honest += (within_strata(right, values, one_class, subject).p_value or 1) < 0.05
    assert naive > 90
    assert 3 <= honest <= 33
    few = within_strata(right[:30], values[:30] + np.arange(30) % 3, one_class[:30], subject[:30])
    assert "too few" in few.test


def test_few_subjects_are_enough_where_the_effect_is_large():
    random = np.random.default_rng(3)
    subject = np.repeat(np.arange(5), 200)
    values = random.permutation(1000) % 2
    right = random.random(1000) < np.where(values == 1, 0.95, 0.45)
    got = within_strata(right, values, np.zeros(1000, int), subject)
    assert got.p_value is not None
    assert got.p_value < 0.001


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in whose manifest one attribute goes with the errors and another follows the class."""
    folder = build_run(tmp_path_factory.mktemp("run") / "run", Plan(cells=400, subjects=0))
    manifest, random = read_manifest(folder / "manifest.parquet"), np.random.default_rng(0)
    wrong = pl.read_parquet(folder / "predictions.parquet").select(
        "cell_id", wrong=pl.col("label") != pl.col("predicted"))
    cells = manifest.join(wrong, on="cell_id", how="left", maintain_order="left")
    torn = cells["wrong"].fill_null(False).to_numpy() & (random.random(manifest.height) < 0.6)
    manifest.with_columns(
        attribute_edge=pl.Series(np.where(torn, "torn", "smooth")),
        attribute_lobes=pl.when(pl.col("label") == "neutrophil").then(pl.lit("many")).otherwise(pl.lit("01")),
        attribute_side=pl.Series(random.choice(["left", "right"], manifest.height)),
        attribute_number=pl.Series([str(k) for k in range(manifest.height)])).write_parquet(folder / "manifest.parquet")
    return folder


def test_the_report_says_which_attribute_goes_with_the_errors(run):
    page = Page(write_report(run))
    assert "Edge: cells with “torn” are classified correctly in" in page.text
    assert "p < 0.001" in page.text
    stored = json.loads((run / "attributes.json").read_text())
    by_name = {row["name"]: row for row in stored["attributes"]}
    assert by_name["edge"]["holm"] < 0.001
    assert by_name["lobes"]["p_value"] is None
    assert by_name["side"]["holm"] > 0.05
    assert by_name["edge"]["holm"] == pytest.approx(2 * by_name["edge"]["p_value"])  # two were tested
    values = {row["value"]: row for row in by_name["edge"]["values"]}
    assert values["torn"]["accuracy"]["value"] == 0
    assert values["torn"]["expected"] > 0.5
    assert by_name["number"]["values"] == []  # as many values as cells: taken together as rare, so nothing to test


def test_rare_values_are_taken_together(run):
    manifest = read_manifest(run / "manifest.parquet")
    few = ["a"] * 4 + ["b"] * 5 + ["c"] * (manifest.height - 9)
    table = manifest.select("cell_id", attribute_x=pl.Series(few))
    result = errors_by_attribute(pl.read_parquet(run / "predictions.parquet"), json.loads(
        (run / "metrics.json").read_text())["classes"], table)
    assert result is not None
    assert {row.value: row.cells for row in result.attributes[0].values} == {RARER: 9, "c": manifest.height - 9}


def test_a_table_of_predictions_may_have_attributes(run, tmp_path):
    predictions = pl.read_parquet(run / "predictions.parquet")
    predictions.join(read_manifest(run / "manifest.parquet").select("cell_id", "attribute_edge"),
                     on="cell_id").write_csv(tmp_path / "table.csv")
    answer = leukoscope("evaluate", tmp_path / "table.csv", "-o", tmp_path / "of")
    assert answer.code == 0, answer.err
    assert "torn" in Page(tmp_path / "of" / "report.html").text


def images(folder, names=("BA_1.png", "BA_2.png", "LY_3.png")):
    from PIL import Image

    for name in names:
        file = folder / "cells" / {"B": "basophil", "L": "lymphocyte"}[name[0]] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), "white").save(file)  # nothing is stained, so the stain is not known
    return folder / "cells"


@pytest.mark.parametrize(("table", "says"), [
    ("image,shape\n", "no row names a cell"), ("image,shape\n,round\n", "no row names a cell"),
    ("image,shape,attribute_shape\nBA_1.png,a,b\n", "the attribute attribute_shape occurs twice")])
def test_a_table_of_attributes_that_cannot_be_joined_is_refused_in_a_line(table, says, tmp_path):
    (tmp_path / "attributes.csv").write_text(table)
    cells = images(tmp_path)
    assert says in refusal("data", "index", "folder", cells, "--attributes", tmp_path / "attributes.csv", "-o",
                           tmp_path / "cells.parquet")


def test_attributes_are_joined_kept_and_audited(tmp_path):
    root = images(tmp_path)
    (tmp_path / "of.csv").write_text(
        "img_name,label,nucleus_shape,stage\nBA_1.jpg.png,Basophil,x,1\nBA_1.png,Basophil,Round,01\n"
        "BA_2.png,Monocyte,round,02\nLY_3.png,lymphocyte,NA,03\n")
    out = tmp_path / "cells.csv"
    answer = leukoscope("data", "index", "folder", root, "--attributes", tmp_path / "of.csv", "-o", out)
    assert answer.code == 0, answer.err
    assert "2 attributes of 3 of 3 cells" in answer.out
    assert "1 cell has another label" in answer.out
    assert "1 row of" in answer.out
    manifest = read_manifest(out)
    assert manifest.sort("image")["attribute_stage"].to_list() == ["01", "02", "03"]
    assert manifest.sort("image")["attribute_nucleus_shape"].to_list() == ["Round", "round", None]
    assert leukoscope("data", "audit", out, "-o", tmp_path / "audit").code == 0
    content = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert any("'Round' and 'round' differ only in case" in line for line in content["verdict"])
    assert content["attributes"][1]["with_class"] == pytest.approx(1.0)
    assert "nucleus_shape" in Page(tmp_path / "audit" / "audit.html").text
    # A table that has such columns already keeps them.
    again = tmp_path / "again.parquet"
    assert leukoscope("data", "index", "table", out, "-o", again).code == 0
    assert read_manifest(again).sort("image")["attribute_stage"].to_list() == ["01", "02", "03"]


@pytest.mark.parametrize(("text", "says"), [
    ("stage\n1\n", "no column of cells"), ("image,label\nBA_1.png,x\n", "no column of attributes"),
    ("image,stage\nBA_1.png,x\nBA_1.png,y\n", "'BA_1.png' is in 2 rows"),
    ("image,stage\nother.png,x\n", "no row is of"), ("", "the file is empty")])
def test_tables_that_do_not_fit_are_refused(tmp_path, text, says):
    (tmp_path / "of.csv").write_text(text)
    assert says in refusal("data", "index", "folder", images(tmp_path), "--attributes", tmp_path / "of.csv", "-o",
                           tmp_path / "cells.csv")


def test_wbcatt(data_folder, tmp_path):
    table = data_folder / "pbc" / "wbcatt_attributes.csv"
    if not table.is_file():
        pytest.skip("WBCAtt is not here")
    out = tmp_path / "cells.parquet"
    answer = leukoscope("data", "index", "pbc", table.parent, "--view", "five", "--attributes", table, "-o", out)
    assert "11 attributes of 4,416 of 4,416 cells" in answer.out
    assert read_manifest(out)["attribute_nucleus_shape"].n_unique() == 6
