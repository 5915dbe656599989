"""Each laboratory is tested by a network of the others: splits, guard, figures, page and card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from command import leukoscope, refusal
from leukoscope.commands.export import export_run
from leukoscope.commands.train import run_experiment
from leukoscope.errors import ManifestError, RunError
from leukoscope.evaluation.laboratories import evaluate_laboratories
from leukoscope.evaluation.laboratory_shortcut import laboratory_shortcut
from leukoscope.leaks.guard import check_leaks
from leukoscope.leaks.splits import laboratory_names, make_splits
from leukoscope.manifest import make_manifest, write_manifest
from leukoscope.recipes import Split, make_recipe
from leukoscope.report.html import render
from leukoscope.runs.results import read_laboratories, read_results
from leukoscope.runs.run import Run
from leukoscope.train.lightning_module import draw_weights
from page_reader import Page
from tiny import make_cells, tiny_recipe

BY_LABORATORY = Split(kind="laboratory", validation=0.2)


def three_laboratories(root: Path) -> pl.DataFrame:
    """Classes a, b in every laboratory; c in two of them; the third alone has d."""
    tables = []
    for number, (name, counts) in enumerate({
            "delhi": {"a": 9, "b": 8, "c": 7}, "lima": {"a": 8, "b": 9, "c": 6}, "oslo": {"a": 8, "b": 7}}.items()):
        cells = make_cells(root / name, counts=counts, strength=0.5, seed=number, prefix=name)
        tables.append(cells.with_columns(pl.lit(name).alias("source")))
    extra = make_cells(root / "more", counts={"c": 5}, strength=0.5, seed=9, prefix="oslo-d").with_columns(
        pl.lit("oslo").alias("source"), pl.lit("d").alias("label"))
    return make_manifest(pl.concat([*tables, extra]))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    root = tmp_path_factory.mktemp("laboratories")
    recipe = tiny_recipe(data={"positive": "a"}, split={"kind": "laboratory", "validation": 0.2})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOSCOPE_CACHE", str(root / "cache"))
        outcome = run_experiment(recipe, three_laboratories(root / "cells"), root / "run")
    assert outcome.lines[0].startswith("not trained on delhi: accuracy ")
    return Run(root / "run")


def test_every_laboratory_is_the_test_part_once_and_in_no_other_part_then(tmp_path):
    cells = three_laboratories(tmp_path)
    splits = make_splits(cells, BY_LABORATORY, seed=1).join(cells.select("cell_id", "source", "label"), on="cell_id")
    for fold, name in enumerate(laboratory_names(cells)):
        own = splits.filter(pl.col("fold") == fold)
        assert set(own.filter(pl.col("part") == "test")["source"]) == {name}
        assert name not in set(own.filter(pl.col("part") != "test")["source"])
        assert (own["part"] == "validation").any()
    again = make_splits(cells.sample(fraction=1, shuffle=True, seed=3), BY_LABORATORY, seed=1)
    assert again.sort("fold", "cell_id").equals(
        splits.select("cell_id", "fold", "part").sort("fold", "cell_id"))


def test_a_class_of_one_unit_stays_in_training(tmp_path):
    cells = three_laboratories(tmp_path).with_columns(
        pl.when(pl.col("label") == "d").then(pl.lit("one")).otherwise(None).alias("group"))
    splits = make_splits(cells, BY_LABORATORY, seed=1).join(cells.select("cell_id", "label"), on="cell_id")
    assert set(splits.filter((pl.col("label") == "d") & (pl.col("fold") < 2))["part"]) == {"train"}


def test_the_guard_names_a_laboratory_on_both_sides(tmp_path):
    cells = three_laboratories(tmp_path)
    recipe = make_recipe({"name": "r", "network": {"name": "lenet5"}, "split": {"kind": "laboratory"}})
    splits = make_splits(cells, BY_LABORATORY, seed=1)
    assert not check_leaks(cells, splits, recipe).leaks
    # A cell of Lima trains the network that tests Lima, and another one of Delhi is tested in its place.
    swapped = splits.with_columns(part=pl.when(pl.col("fold") != 1).then(pl.col("part")).when(
        pl.col("cell_id") == "limaa000").then(pl.lit("train")).otherwise(pl.col("part")))
    swapped = swapped.with_columns(part=pl.when((pl.col("fold") == 0) & (pl.col("cell_id") == "limaa000")).then(
        pl.lit("test")).otherwise(pl.col("part")))
    paper = recipe.model_copy(update={"protocol": "paper"})
    leaks = [leak for leak in check_leaks(cells, swapped, paper).leaks if leak.kind == "laboratory"]
    assert [(leak.fold, leak.count) for leak in leaks] == [(0, 1), (1, 1)]
    assert "'lima' in " in leaks[0].text


@pytest.mark.parametrize(("change", "message"), [
    (pl.lit(None, pl.String), "name no laboratory"), (pl.lit("oslo"), "all cells are of one laboratory \\('oslo'\\)")])
def test_without_two_laboratories_it_is_refused(tmp_path, change, message):
    with pytest.raises(ManifestError, match=message):
        make_splits(three_laboratories(tmp_path).with_columns(change.alias("source")), BY_LABORATORY, seed=0)


def test_figures_are_within_the_classes_that_a_laboratory_shares(run):
    found = read_laboratories(run.folder)
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["delhi", "lima", "oslo"]
    assert rows["oslo"].answers == ("a", "b")
    assert (rows["oslo"].cells, rows["oslo"].left_out) == (15, 5)  # no other laboratory has d
    assert rows["delhi"].answers == ("a", "b", "c")
    predictions = run.predictions.filter((pl.col("fold") == 2) & pl.col("label").is_in(["a", "b"]))
    right = (predictions["p_a"] > predictions["p_b"]) == (predictions["label"] == "a")
    assert rows["oslo"].accuracy.value == pytest.approx(right.mean())
    assert found.accuracy == pytest.approx(np.mean([row.accuracy.value or 0 for row in found.rows]))
    assert found.worst == min(found.rows, key=lambda row: row.accuracy.value or 0).name
    assert all(row.area is not None and row.sensitivity is not None for row in found.rows)


def test_a_laboratory_does_not_calibrate_itself():
    """One that is always right with little confidence, two that are always sure and often wrong."""
    rng = np.random.default_rng(0)
    rows = []
    for fold, (sure, accuracy) in enumerate(((0.6, 1.0), (0.99, 0.6), (0.99, 0.6))):
        for number in range(200):
            label = "ab"[number % 2]
            answer = label if rng.random() < accuracy else "ba"[number % 2]
            p = {f"p_{name}": sure if name == answer else 1 - sure for name in "ab"}
            rows.append({"cell_id": f"{fold}-{number}", "subject": None, "group": None, "fold": fold, "label": label,
                         "predicted": answer, **p})
    table = pl.DataFrame(rows, schema_overrides={"subject": pl.String, "group": pl.String})
    names = {0: "x", 1: "y", 2: "z"}
    found = evaluate_laboratories(table, ("a", "b"), names, dict.fromkeys(names, ("a", "b")), positive="a")
    x, y, _ = found.rows
    assert x.temperature > 2  # the others are far too sure
    assert x.covered.value == 1
    assert y.temperature != x.temperature
    assert found.accuracy == pytest.approx((1 + 0.6 + 0.6) / 3, abs=0.05)


def test_an_operating_point_is_chosen_on_the_other_laboratories():
    """Of two laboratories half of the positive cells score little: 95 % of the cells of both take the lowest score."""
    rows = []
    for fold, scores in enumerate(((0.9, 0.2), (0.4, 0.4), (0.8, 0.3))):
        for number in range(40):
            p = scores[number // 2 % 2] if number % 2 == 0 else 0.1 * (number % 4)
            rows.append({"cell_id": f"{fold}-{number}", "subject": None, "group": None, "fold": fold,
                         "label": "ab"[number % 2], "predicted": "a" if p > 0.5 else "b", "p_a": p, "p_b": 1 - p})
    table = pl.DataFrame(rows, schema_overrides={"subject": pl.String, "group": pl.String})
    names = {0: "x", 1: "y", 2: "z"}
    found = evaluate_laboratories(table, ("a", "b"), names, dict.fromkeys(names, ("a", "b")), positive="a")
    points = {row.name: row.point for row in found.rows}
    assert points["x"] is not None
    assert points["x"].threshold == pytest.approx(0.3)  # y and z; 95 % of both take the lowest of z
    assert points["y"] is not None
    assert points["y"].threshold == pytest.approx(0.2)
    assert points["z"] is not None
    assert points["z"].sensitivity is not None
    assert points["z"].specificity is not None
    called = [row["p_a"] >= points["z"].threshold for row in rows[80:]]
    assert points["z"].sensitivity.value == pytest.approx(np.mean(called[::2]))
    assert points["z"].specificity.value == pytest.approx(1 - np.mean(called[1::2]))
    assert type(found).from_dict(found.to_dict()) == found


def test_without_an_operating_point_the_page_has_no_column_for_it(run):
    """As in a run of an earlier version, or where one laboratory alone has positive cells."""
    found = read_laboratories(run.folder)
    rows = tuple(replace(row, point=None) for row in found.rows)
    without = render("report_laboratories.html", laboratories=replace(found, positive="a", rows=rows), shortcut=None)
    assert "A laboratory that was not trained on" in without
    assert "perating point" not in without


def test_page_and_card_say_what_to_expect_elsewhere(run, tmp_path):
    page = Page(run.folder / "report.html")
    assert "A laboratory that was not trained on" in page.text
    assert "each laboratory by a network that was trained on the others only" in page.text
    found = read_laboratories(run.folder)
    described = export_run(run, tmp_path / "bundle", laboratories=found)
    assert described["temperature"] == pytest.approx(found.temperature)
    assert described["radius"] in (None, pytest.approx(found.radius))
    assert described["metrics"]["elsewhere"]["worst"] == found.worst
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "In a laboratory that it was not trained on" in card
    assert "| oslo | 15 |" in card
    stored = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    assert stored["metrics"]["elsewhere"]["rows"][0]["name"] == "delhi"


def test_a_run_says_how_well_the_laboratory_can_be_told(run):
    found, page = read_results(run.folder).shortcut, Page(run.folder / "report.html")
    assert found is not None
    assert (found.not_trained_on, found.cells, found.chance) == ("delhi", 67, pytest.approx(1 / 3))
    assert (found.laboratories, found.classes) == (("delhi", "lima", "oslo"), ("a", "b"))
    assert found.sentence.replace("\u202f", " ") in page.text


def balanced_cells(shortcut: float, type_: float, seed: int = 0) -> dict:
    """600 cells of two laboratories and two classes; nine in ten of the first laboratory are of the first class. Two
    features: the laboratory and the class, seen through noise; strengths in its standard deviations."""
    rng = np.random.default_rng(seed)
    laboratory = np.repeat([0, 1], 300)
    kind = np.where(rng.random(600) < 0.9, laboratory, 1 - laboratory)
    features = rng.normal(size=(600, 2)) + np.stack([shortcut * laboratory, type_ * kind], axis=1)
    return {"features": features, "labels": np.array(["a", "b"])[kind], "sources": np.array(["x", "y"])[laboratory],
            "units": np.arange(600), "frequency": np.ones(600), "not_trained_on": "x", "rng": rng}


def test_a_shortcut_is_what_falls_when_laboratory_and_class_are_balanced():
    only_laboratory = laboratory_shortcut(**balanced_cells(6, 0))
    assert only_laboratory.laboratory > 0.99
    assert only_laboratory.from_class == pytest.approx(0.9, abs=0.03)
    assert only_laboratory.as_is is not None
    assert only_laboratory.balanced is not None
    assert only_laboratory.as_is == pytest.approx(0.9, abs=0.03)  # the class is guessed from the laboratory
    assert only_laboratory.balanced == pytest.approx(0.5, abs=0.08)
    both = laboratory_shortcut(**balanced_cells(0, 6))
    assert both.balanced is not None
    assert both.balanced > 0.99
    assert both.laboratory == pytest.approx(both.from_class, abs=0.05)


def test_laboratories_without_common_classes_cannot_be_balanced():
    cells = balanced_cells(6, 0)
    cells["labels"] = cells["sources"]
    found = laboratory_shortcut(**cells)
    assert (found.laboratories, found.classes, found.as_is, found.balanced) == ((), (), None, None)
    assert "cannot be balanced" in found.sentence


def test_a_run_of_another_split_has_no_laboratories(tmp_path):
    with pytest.raises(RunError, match="its split is not by laboratory"):
        read_laboratories(tmp_path)


def test_laboratories_and_classes_are_drawn_evenly():
    labels = np.repeat([0, 0, 1], [900, 100, 50])
    laboratories = np.repeat([0, 1, 1], [900, 100, 50])
    weights = draw_weights("laboratory", labels, laboratories)
    assert weights is not None
    large, small = weights[:900].sum(), weights[900:1000].sum()
    assert large + small == pytest.approx(weights[1000:].sum())
    assert large / small == pytest.approx((250 / 100) ** 0.5)
    assert draw_weights("none", labels, laboratories) is None
    assert draw_weights("sampler", labels, laboratories)[:1000].sum() == pytest.approx(1)  # type: ignore[index]


def test_tables_are_joined_and_cells_of_two_tables_are_refused(tmp_path, capsys):
    first, second = (make_cells(tmp_path / name, counts={"a": 3, "b": 2}, seed=seed) for seed, name in enumerate("xy"))
    first = first.with_columns(pl.lit("7").alias("subject"), pl.lit("x-lab").alias("source"))
    second = second.with_columns(pl.lit("7").alias("subject"))
    write_manifest(first, tmp_path / "x.parquet")
    write_manifest(second, tmp_path / "hospital.csv")
    out = tmp_path / "all.parquet"
    answer = leukoscope("data", "join", tmp_path / "x.parquet", tmp_path / "hospital.csv", "-o", out)
    assert "10 cells of 2 laboratories" in answer.out
    joined = pl.read_parquet(out)
    assert set(joined["source"]) == {"x-lab", "hospital"}
    assert set(joined["subject"]) == {"x-lab/7", "hospital/7"}
    assert joined["cell_id"].n_unique() == 10
    assert "counted twice" in refusal("data", "join", tmp_path / "x.parquet", tmp_path / "x.parquet", "-o",
                                      tmp_path / "y.parquet")
