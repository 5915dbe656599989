"""Labels that part a class without anyone seeing it are named, with the setting that merges them; and how many cells a
training or an evaluation leaves out is said."""

from __future__ import annotations

import re
import shlex
import unicodedata
from pathlib import Path

import polars as pl
import pytest

from cases import write_noise
from command import leukoscope, refusal
from leukoscope.datasets import get_dataset
from leukoscope.datasets.labels import alike, label_warning, same_labels, unknown_alike
from leukoscope.datasets.left_out import LeftOut
from leukoscope.images.decode import Damaged
from leukoscope.manifest import read_manifest, write_manifest
from leukoscope.recipes.recipe import parse_setting
from tiny import make_cells

NFC, NFD = (unicodedata.normalize(form, "éosinophile") for form in ("NFC", "NFD"))
RECIPE = """name = "small"
[preprocess]
size = 32
[network]
name = "lenet5"
[training]
epochs = 1
[split]
kind = "holdout"
validation = 0
test = 0.4
"""


@pytest.mark.parametrize("other", [
    "Lymphocyte", "lymphocyte ", " lymphocyte", "lymphocyte\u00a0", "lymphocyte\u200b", "\ufefflymphocyte",
    "lympho\u00adcyte", "lymph\u043ecyte", "LYMPHOCYTE", "ｌymphocyte", "lymphocyte\t"])
def test_labels_that_look_alike_are_the_same(other):
    assert alike(other) == alike("lymphocyte")
    (kept, merged), = same_labels({"lymphocyte": 3, other: 2, "monocyte": 9})
    assert (kept, merged) == ("lymphocyte", other)


def test_different_labels_stay_different():
    labels = ["lymphocyte", "lymphocytes", "band neutrophil", "bandneutrophil", "eosinophile", NFC, "1", "l", "I"]
    assert same_labels(dict.fromkeys(labels, 1)) in ([], [["I", "l"]])
    assert same_labels({"eosinophile": 1, NFC: 1}) == []
    assert label_warning({"a": 1, "b": 2}) == ""


@pytest.mark.parametrize("variants", [
    ("Lymphocyte", "lymphocyte"), ("neutrophil", "neutrophil "), (NFC, NFD), ("a b", "a\u00a0b", "a  b"),
    ("it's", "It's"), ('"x"', '"X"'), ("\U0001d7d9", "1"), ("a\\b", "A\\b")])
def test_the_setting_merges_what_it_names(variants):
    counts = {label: number + 1 for number, label in enumerate(variants)}
    warning = label_warning(counts, {"old": "new"})
    setting, = re.findall(r"--set (.*)$", warning)
    value, = shlex.split(setting)
    key, merge = parse_setting(value)
    assert key == "data.merge"
    assert merge == {"old": "new"} | dict.fromkeys(variants[:-1], variants[-1])
    assert value.isprintable()
    assert unicodedata.is_normalized("NFC", value)


def test_the_line_of_cells_that_are_left_out():
    assert LeftOut().line(30) == ""
    assert LeftOut(other_labels={"Lymphocyte": 5, "b": 15}).line(10) == (
        '20 of 30 cells left out: labels "b" (15), "Lymphocyte" (5)')
    assert LeftOut((Damaged("a", "a.png", "truncated"),), unlabelled=2, over_per_class=3).line(4) == (
        "6 of 10 cells left out: 2 without a label; 3 above data.per_class; 1 damaged")
    many = LeftOut(other_labels={f"c{i:02d}": 1 for i in range(12)}).line(4)
    assert many.endswith('"c09" (1), 2 more labels')


def test_labels_that_look_like_a_class_of_a_model():
    assert unknown_alike(["a", "b"], ["a"]) == []
    assert 'rename "A" to "a", "b " to "b"' in unknown_alike(["A", "b ", "x", "a"], ["a", "b"])[0]


def test_index_audit_and_training_say_it(tmp_path: Path):
    for part, labels in (("train", ("Lymphocyte", "neutrophil", NFC)), ("test", ("lymphocyte", "neutrophil ", NFD))):
        for number, label in enumerate(labels):
            write_noise(tmp_path / "cells" / part / label, [f"{i}.png" for i in range(5)], width=64, height=64,
                        seed=number + 10 * len(part))
    cells, merge = tmp_path / "cells.parquet", "data.merge="
    answer = leukoscope("data", "index", "folder", tmp_path / "cells", "--option", "depth=2", "-o", cells)
    assert answer.code == 0
    assert merge in answer.out
    audited = leukoscope("data", "audit", cells, "-o", tmp_path / "audit")
    assert "warning: labels that differ only in case, blanks or Unicode form" in audited.out
    (tmp_path / "r.toml").write_text(RECIPE)
    trained = leukoscope("train", tmp_path / "r.toml", "--data", cells, "-o", tmp_path / "run", "--set",
                         'data.classes=["lymphocyte","neutrophil"]')
    assert trained.code == 0, trained
    assert '20 of 30 cells left out: labels "Lymphocyte" (5)' in trained.err.partition("epoch 1/1")[0]
    assert '20 of 30 cells left out: labels "Lymphocyte" (5)' in trained.out
    setting, = shlex.split(re.findall(r"--set (.*)", trained.err)[0])
    merged = leukoscope("train", tmp_path / "r.toml", "--data", cells, "-o", tmp_path / "all", "--set", setting)
    assert merged.code == 0, merged
    assert "left out" not in merged.err + merged.out
    assert pl.read_parquet(tmp_path / "all" / "predictions.parquet")["label"].n_unique() == 3


def test_evaluation_says_it(run, bundle, tmp_path: Path):
    cells = make_cells(tmp_path / "new", seed=9)
    spoilt = cells.with_columns(label=pl.when(pl.col("cell_id") < "a004").then(pl.lit("A "))
                                .when(pl.col("cell_id") > "c009").then(None).otherwise(pl.col("label")))
    write_manifest(spoilt, tmp_path / "new.parquet")
    answer = leukoscope("evaluate", run.folder, "--data", tmp_path / "new.parquet", "-o", tmp_path / "out")
    assert answer.code == 0, answer
    assert '6 of 36 cells left out: label "A " (4); 2 without a label' in answer.out
    assert 'rename "A " to "a" in the table of cells' in answer.out
    line = refusal("evaluate", bundle, "--data", tmp_path / "new.parquet", "-o", tmp_path / "out2")
    assert 'rename "A " to "a"' in line


def test_a_table_loses_the_blanks_around_its_labels(tmp_path: Path):
    write_noise(tmp_path, ["1.png", "2.png"])
    (tmp_path / "t.csv").write_text("image,label\n1.png,x\n2.png,x \u00a0\n", encoding="utf-8")
    assert get_dataset("table").index(tmp_path / "t.csv").found == {"x": 2}
    (tmp_path / "m.csv").write_text("cell_id,image,label\n1,1.png,x\n2,2.png,x \n", encoding="utf-8")
    assert read_manifest(tmp_path / "m.csv")["label"].to_list() == ["x", "x"]
