"""`evaluate` and `compare` on tables of anybody's predictions, as programs write them and as people get them wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, top_k_accuracy_score

from command import leukoscope, refusal
from leukoscope.evaluation.evaluate import evaluate
from leukoscope.evaluation.pooled import pooled_estimates
from leukoscope.evaluation.predictions_table import read_predictions
from leukoscope.evaluation.table import Cells, IntervalOptions
from page_reader import Page, check_numbers

NAMES = ("blast", "lymphocyte", "monocyte", "neutrophil")


def predictions(seed: int = 0, cells: int = 160, skill: float = 1.6) -> pl.DataFrame:
    """Columns as somebody else might call them; the labels do not depend on the skill."""
    random = np.random.default_rng(seed)
    labels, noise = random.integers(0, len(NAMES), cells), random.normal(size=(cells, len(NAMES)))
    noise[np.arange(cells), labels] += skill
    p = np.exp(noise) / np.exp(noise).sum(1, keepdims=True)
    return pl.DataFrame({
        "image": [f"{k:04d}.png" for k in range(cells)], "patient": [f"{k % 20:03d}" for k in range(cells)],
        "label": [NAMES[k] for k in labels], **{f"prob_{name}": p[:, k].round(8) for k, name in enumerate(NAMES)},
        "stain": ["Wright", "Giemsa"] * (cells // 2)})


def written(folder: Path, frame: pl.DataFrame, name: str = "theirs.csv") -> Path:
    frame.write_csv(folder / name)
    return folder / name


def test_columns_are_found_and_ids_keep_their_zeros(tmp_path):
    given = read_predictions(written(tmp_path, predictions()))
    assert given.classes == NAMES
    assert given.table["subject"].head(2).to_list() == ["000", "001"]
    assert given.table["cell_id"][7] == "0007.png"
    assert given.table["stain"].unique().sort().to_list() == ["Giemsa", "Wright"]
    assert given.columns["subject"] == "patient"
    assert given.remarks == ()


def test_subjects_that_have_lost_their_zeros_are_named(tmp_path):
    frame = predictions().with_columns(patient=pl.when(pl.col("image") < "0010.png").then(
        pl.col("patient").str.strip_chars_start("0")).otherwise("patient"))
    remark, = [text for text in read_predictions(written(tmp_path, frame)).remarks if "leading zeros" in text]
    assert '"003" (7 cells) and "3" (1 cell)' in remark
    assert remark.endswith("write them alike and evaluate again")
    answer = leukoscope("evaluate", tmp_path / "theirs.csv", "-o", tmp_path / "out")
    assert remark in answer.out
    assert "leading zeros" in Page(tmp_path / "out" / "report.html").text


def test_pooled_figures_are_those_of_sklearn(tmp_path):
    given = read_predictions(written(tmp_path, predictions()))
    overall = evaluate(given.table.drop("stain"), given.classes, rounds=200).overall
    labels = np.array([NAMES.index(name) for name in given.table["label"]])
    p = given.table.select(f"p_{name}" for name in NAMES).to_numpy()
    one_hot = np.eye(len(NAMES))[labels]
    expected = {"micro_auc": roc_auc_score(one_hot, p, average="micro"),
                "micro_average_precision": average_precision_score(one_hot, p, average="micro"),
                "micro_f1": f1_score(labels, p.argmax(1), average="micro"),
                "top_2_accuracy": top_k_accuracy_score(labels, p, k=2),
                "top_3_accuracy": top_k_accuracy_score(labels, p, k=3)}
    for name, value in expected.items():
        own = overall[name]
        assert own.value == pytest.approx(value, abs=1e-9), name
        assert own.low is not None
        assert own.high is not None
        assert own.low < value < own.high
        assert own.method.startswith("bootstrap by subject")
    assert "top_5_accuracy" not in overall


def test_the_micro_interval_covers_the_truth_when_cells_are_independent():
    random, covered = np.random.default_rng(0), 0

    def drawn(cells: int) -> Cells:
        labels, noise = random.integers(0, 3, cells), random.normal(size=(cells, 3))
        noise[np.arange(cells), labels] += 1.0
        p = np.exp(noise) / np.exp(noise).sum(1, keepdims=True)
        every = np.arange(cells)
        return Cells(NAMES[:3], labels, p.argmax(1), p, np.zeros(cells, int), np.full(cells, None), every, cells,
                     "cell")

    many = drawn(60_000)
    truth = roc_auc_score(np.eye(3)[many.labels], many.probabilities, average="micro")
    for seed in range(60):
        own = pooled_estimates(drawn(120), IntervalOptions(rounds=400, seed=seed))["micro_auc"]
        covered += (own.low or 1) <= truth <= (own.high or 0)
    assert covered >= 53  # of 60; at 95 % below that in one of 40 runs


def test_the_command_needs_no_model(tmp_path):
    frame = predictions().rename({"label": "diagnosis"})
    table, out = written(tmp_path, frame), tmp_path / "out"
    assert "name it with --column label=NAME" in refusal("evaluate", table, "-o", out)
    answer = leukoscope("evaluate", table, "-o", out, "--column", "label=diagnosis", "--positive", "blast")
    assert answer.code == 0, answer.err
    assert "not checked: which cells the model was trained on" in answer.out
    page = Page(out / "report.html")
    check_numbers(page, json.loads((out / "metrics.json").read_text()))
    assert "as the table “theirs.csv” says" in page.text
    assert "Sensitivity for blast" in page.text
    assert "top-2 accuracy" in page.text
    assert pl.read_parquet(out / "predictions.parquet")["stain"].n_unique() == 2
    assert leukoscope("report", out).code == 0
    assert "already exists" in refusal("evaluate", table, "-o", out, "--column", "label=diagnosis")


def test_tables_are_compared_as_runs_are(tmp_path):
    frames = [predictions(), predictions(skill=2.6)]
    tables = [written(tmp_path, frame, f"model{k}.csv") for k, frame in enumerate(frames)]
    answer = leukoscope("compare", *tables, "-o", tmp_path / "out", "--rounds", "200", "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    right = [np.mean(frame["label"].to_numpy() == np.array(NAMES)[frame.select(
        f"prob_{name}" for name in NAMES).to_numpy().argmax(1)]) for frame in frames]
    assert result["pairs"][0]["tests"]["accuracy"]["difference"]["value"] == pytest.approx(right[0] - right[1])
    assert result["order"] == ["model1", "model0"]
    assert "model1 is right more often than model0" in Page(tmp_path / "out" / "compare.html").text
    leukoscope("evaluate", tables[0], "-o", tmp_path / "first")
    again = leukoscope("compare", tmp_path / "first", tables[1], "-o", tmp_path / "again", "--rounds", "200", "--json")
    assert json.loads(again.out)["pairs"][0]["tests"] == result["pairs"][0]["tests"]


def test_what_does_not_compare_is_refused(tmp_path):
    tables = [written(tmp_path, predictions(seed), f"{seed}.csv") for seed in (0, 1)]
    out = tmp_path / "out"
    assert "has label" in refusal("compare", *tables, "-o", out)
    written(tmp_path, predictions()[1:], "1.csv")
    assert "different cells: 1 of 160" in refusal("compare", *tables, "-o", out)
    written(tmp_path, predictions().with_columns(patient=pl.lit("x")), "1.csv")
    assert "has subject" in refusal("compare", *tables, "-o", out)
    written(tmp_path, predictions().rename({"prob_blast": "prob_Blast"}).with_columns(
        pl.col("label").replace("blast", "Blast")), "1.csv")
    assert "its classes are Blast, lymphocyte" in refusal("compare", *tables, "-o", out)
    assert "two or more different tables" in refusal("compare", tables[0], "-o", out)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text("")
    assert "compare tables with tables" in refusal("compare", tables[0], tmp_path / "run", "-o", out)


@pytest.mark.parametrize(("change", "says"), [
    (lambda f: f.drop("prob_blast"), "no column of probabilities for class 'blast'"),
    (lambda f: f.with_columns(pl.col("^prob_.*$") * 100), "percentages: divide them by 100"),
    (lambda f: f.with_columns(pl.col("^prob_.*$").log()), "take the softmax"),
    (lambda f: f.with_columns(prob_blast=pl.col("prob_blast") + 0.02), "add up to 1.02, not 1 (160 rows in all)"),
    (lambda f: f.with_columns(label=pl.when(pl.col("image") == "0003.png").then(pl.lit("Blast")).otherwise("label")),
     "'blast' and 'Blast' differ only in case"),
    (lambda f: f.with_columns(label=pl.col("label").replace("blast", "BLAST")), "label 'BLAST' and class 'blast'"),
    (lambda f: f.with_columns(label=pl.when(pl.col("image") == "0003.png").then(None).otherwise("label")),
     "row 4: column 'label' is empty"),
    (lambda f: f.with_columns(prob_blast=pl.when(pl.col("image") == "0003.png").then(pl.lit("high")).otherwise(
        pl.col("prob_blast").cast(pl.String))), "row 4, column 'prob_blast': 'high' is not a number"),
    (lambda f: f.with_columns(prob_blast=pl.when(pl.col("image") == "0003.png").then(None).otherwise("prob_blast")),
     "a probability is missing"),
    (lambda f: pl.concat([f, f.head(1)]), "'0000.png' appears in rows 1 and 161"),
    (lambda f: f.with_columns(predicted=pl.lit("blast")), "'predicted' is not the most probable class"),
    (lambda f: f.with_columns(fold=pl.lit("first")), "no whole numbers"),
    (lambda f: f.select("image", "label", "patient"), "no columns of probabilities"),
    (lambda f: f.head(0), "the table has no rows"),
])
def test_bad_tables_are_refused_in_one_line(tmp_path, change, says):
    table = written(tmp_path, change(predictions()))
    line = refusal("evaluate", table, "-o", tmp_path / "out")
    assert says in line
    assert str(table) in line
    assert not (tmp_path / "out").exists()


def test_one_score_of_two_classes(tmp_path):
    frame = predictions().filter(pl.col("label").is_in(["blast", "lymphocyte"])).select(
        "image", "label", score=pl.col("prob_blast") / (pl.col("prob_blast") + pl.col("prob_lymphocyte")))
    table = written(tmp_path, frame)
    assert "name it with --positive: blast or lymphocyte" in refusal("evaluate", table, "-o", tmp_path / "x")
    answer = leukoscope("evaluate", table, "-o", tmp_path / "out", "--positive", "blast", "--json")
    result = json.loads(answer.out)
    assert result["metrics"]["per_class"]["blast"]["auc"]["value"] == pytest.approx(
        roc_auc_score(frame["label"] == "blast", frame["score"]))
    assert "no column names the subject" in " ".join(result["summary"])


def test_a_class_without_cells_and_other_separators(tmp_path):
    frame = predictions().filter(pl.col("label") != "monocyte").rename(
        {f"prob_{name}": name for name in NAMES}).drop("patient")
    frame = frame.rename({"monocyte": "p_monocyte", **{name: f"p_{name}" for name in NAMES if name != "monocyte"}})
    frame.write_csv(tmp_path / "german.csv", separator=";", decimal_comma=True)
    answer = leukoscope("evaluate", tmp_path / "german.csv", "-o", tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    metrics = json.loads(answer.out)["metrics"]
    assert metrics["per_class"]["monocyte"]["sensitivity"]["value"] is None
    assert any("'monocyte' has no cell" in note for note in metrics["notes"])


@pytest.mark.parametrize(("options", "says"), [
    (["--data", "cells.csv"], "which --data is not for"), (["--shift"], "which --shift is not for"),
    (["--column", "label"], "expected NAME=COLUMN"), (["--column", "age=x"], "--column age: unknown"),
    (["--column", "label=nothing"], "no column 'nothing'"), (["--positive", "plasma"], "is not a class"),
])
def test_options_of_tables(tmp_path, options, says):
    assert says in refusal("evaluate", written(tmp_path, predictions()), "-o", tmp_path / "out", *options)


def test_options_of_models(tmp_path):
    assert "which --positive is not for" in refusal("evaluate", "packaged", "-o", tmp_path / "out", "--positive", "a")
    assert "--data is missing" in refusal("evaluate", "packaged", "-o", tmp_path / "out")
