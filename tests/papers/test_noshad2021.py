"""`leukoscope reproduce noshad2021`: on C-NMC and ALL-IDB1 in their layouts, on two classes of a manifest; refusals."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from command import leukoscope, refusal
from leukoscope.errors import DatasetError
from leukoscope.evaluation.evaluate import evaluate
from leukoscope.evaluation.results import ClassMetrics
from leukoscope.manifest import make_manifest, read_manifest, write_manifest
from leukoscope.papers.noshad2021 import read_task
from leukoscope.papers.noshad2021_tables import PRINTED_INTERVALS, PUBLISHED, comparison, study_tables
from leukoscope.papers.request import Request
from leukoscope.phantom import write_cells
from leukoscope.recipes import load_recipe
from leukoscope.runs.run import Run
from leukoscope.stats import Estimate
from leukoscope.text import TERMINAL

DATA = Path(__file__).parents[1] / "data"
FAST = ("--scale", "small", "--set", "training.epochs=1", "--set", "preprocess.size=32", "--set", "split.folds=2")
SMALLER = ("--set", 'data.classes=["lymphocyte", "lymphoblast"]', "--set", "data.positive=lymphoblast",
           "--set", "augment.copies={lymphocyte = 26, lymphoblast = 18}", "--set", "pca.components=0",
           "--set", "pca.variance=0.9")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """A manifest of 2 x 24 phantom cells of 8 subjects."""
    folder = tmp_path_factory.mktemp("two")
    cells = write_cells(folder / "images", 24, labels=("lymphocyte", "lymphoblast"), subjects=8, size=48)
    write_manifest(cells, folder / "cells.parquet")
    return folder / "cells.parquet"


@pytest.fixture(scope="module")
def cnmc(tmp_path_factory, data_folder) -> Path:
    """A hundredth of the official training files as phantom cells, and a small preliminary test set."""
    make = runpy.run_path(str(DATA / "cnmc" / "make.py"))
    root = tmp_path_factory.mktemp("cnmc")
    make["make"](root, subjects=0, cells=0, preliminary=8, final=0, side=60)
    return make["make_phantom"](root, data_folder / "cnmc" / "official_files.csv.gz", side=60, share=0.008)


@pytest.fixture(scope="module")
def reproduced(cnmc, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "repro"
    answer = leukoscope("reproduce", "noshad2021", "--data", cnmc, "-o", out, "--protocol", "both", *FAST)
    assert answer.code == 0, answer.err
    return out, answer.out


def request(data: Path) -> Request:
    return Request(data, Path("nowhere"), "full", ["clean"])


def row(text: str, part: str, name: str) -> str:
    block = text[text.index(f"\n{part}\n"):]
    return next(line for line in block.splitlines() if line.startswith(f"{name}  "))


def percent(estimate) -> str:
    return f"{100 * estimate['value']:.1f} ({100 * estimate['low']:.1f}-{100 * estimate['high']:.1f})"


def test_the_tables_of_the_paper_stand_beside_ours(reproduced):
    out, printed = reproduced
    metrics = Run(out / "clean").metrics
    line = row(printed, "Test part", "accuracy")
    assert "98.80 (98.17-99.23)" in line
    assert percent(metrics["overall"]["accuracy"]) in line
    line = row(printed, "Test part", "leukemic: sensitivity")
    assert "99.64 (98.95-99.88)" in line
    assert percent(metrics["per_class"]["leukemic"]["sensitivity"]) in line
    for protocol in ("clean", "paper"):
        external = json.loads((out / f"{protocol}-preliminary" / "metrics.json").read_text())
        assert percent(external["overall"]["accuracy"]) in row(printed, "Official preliminary test set", "accuracy")
    assert "99.55" in row(printed, "Validation part", "accuracy")
    assert "0.9881 (0.9829-0.9932)" in row(printed, "Test part", "AUC of labels")


def test_it_says_what_can_be_concluded(reproduced):
    out, printed = reproduced
    page = (out / "study.html").read_text(encoding="utf-8").translate(TERMINAL)
    for start in ("Does the paper's 98.80 % survive?", "With subjects kept apart: AUC"):
        sentence = next(line for line in printed.splitlines() if line.startswith(start))
        assert sentence.replace("'", "&#39;") in page
    assert ", others 0.913 (EfficientNet-B1" in sentence
    assert ", others 91.04 % (winner of the C-NMC challenge" in sentence
    assert "How many subjects would settle it: clean minus published" in printed


def test_the_page_says_the_same(reproduced):
    out, printed = reproduced
    page = (out / "study.html").read_text(encoding="utf-8").translate(TERMINAL)
    for name in ("accuracy", "AUC of probabilities", "AUC of labels"):
        for text in row(printed, "Test part", name).split("  "):
            assert text.strip() in page
    assert (out / "clean" / "report.html").stat().st_size > 10_000


def test_the_clean_protocol_keeps_children_together_and_the_papers_does_not(reproduced):
    out, _ = reproduced
    clean, paper = Run(out / "clean"), Run(out / "paper")
    assert json.loads((out / "clean" / "guard.json").read_text())["leaks"] == []
    kinds = {leak["kind"] for leak in json.loads((out / "paper" / "guard.json").read_text())["leaks"]}
    assert kinds >= {"subject", "fitted"}
    assert "principal components are fitted on all cells" in (out / "paper" / "guard.json").read_text()
    parts = clean.splits.join(clean.manifest, on="cell_id").group_by("fold", "group").agg(pl.col("part").n_unique())
    assert parts["part"].max() == 1
    originals = clean.manifest.filter(pl.col("original").is_null())
    assert sorted(clean.predictions["cell_id"]) == sorted(originals["cell_id"])  # each once, no copy
    assert paper.predictions.height == paper.part(0, "test").len() == paper.part(1, "test").len()
    assert not paper.predictions["cell_id"].is_duplicated().any()


def test_predictions_of_held_out_folds_are_the_mean_of_the_networks(reproduced):
    run = Run(reproduced[0] / "paper")
    each = pl.concat([pl.read_parquet(run.fold_folder(fold) / "predictions.parquet") for fold in run.folds])
    mean = each.group_by("cell_id").agg(pl.mean("p_leukemic")).sort("cell_id")
    assert run.predictions.sort("cell_id")["p_leukemic"].to_list() == pytest.approx(mean["p_leukemic"].to_list())
    folds = run.metrics["per_fold"]
    assert [fold["cells"] for fold in folds] == [run.predictions.height] * 2


def test_protocols_are_compared_by_what_one_network_can(reproduced):
    """The mean of several networks is better than each, and would pass for an effect of the protocol."""
    out, printed = reproduced
    folds = Run(out / "paper").metrics["per_fold"]
    mean = sum(fold["accuracy"]["value"] for fold in folds) / len(folds)
    _, _, _, paper, _ = re.split(r"  +", row(printed, "Test part", "accuracy"))
    assert paper.startswith(f"{100 * mean:.1f} (")


def test_components_are_fitted_on_the_training_part_alone_under_clean(reproduced):
    from leukoscope.pca import load_pca

    for protocol in ("clean", "paper"):
        run = Run(reproduced[0] / protocol)
        for fold in run.folds:
            pca = load_pca(run.fold_folder(fold) / "pca.safetensors")
            assert pca.samples == (run.part(fold, "train").len() if protocol == "clean" else run.manifest.height)


def test_it_goes_on_where_it_was(reproduced, cnmc):
    out, printed = reproduced
    answer = leukoscope("reproduce", "noshad2021", "--data", cnmc, "-o", out, "--protocol", "both", *FAST, "--resume")
    assert answer.code == 0, answer.err
    assert answer.out == printed


def test_allidb1_in_its_layout(tmp_path):
    make = runpy.run_path(str(DATA / "allidb1" / "make.py"))["make"]
    root = make(tmp_path / "data", {number: ((80, 45),) if number % 2 else () for number in range(1, 29)})
    answer = leukoscope("reproduce", "noshad2021", "--data", root, "-o", tmp_path / "out", "--protocol", "paper", *FAST,
                        "--set", "preprocess.size=32", "--set", "pca.components=4", "--set", "pca.variance=0")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("noshad2021-allidb, small scale")
    assert "100.00 (77.10-100.00)" in row(answer.out, "Test part", "accuracy")


def test_the_counts_of_a_whole_set_are_those_of_the_paper():
    for name, counts, cells, tested in (
            ("noshad2021-allidb", {"healthy": 749, "leukemic": 809}, 108, 22),
            ("noshad2021-cnmc", {"healthy": 4200, "leukemic": 4200}, 3389 + 4200, 1680)):  # so many originals
        recipe = load_recipe(name, protocol="paper")
        assert recipe.augment.copies == counts
        assert (recipe.split.folds, recipe.training.epochs, recipe.training.factor) == (4, 10, 0.3)
        assert round(recipe.split.test * cells) == tested


def test_two_classes_of_a_manifest(two, tmp_path):
    answer = leukoscope("reproduce", "noshad2021", "--data", two, "-o", tmp_path / "out", *FAST,
                        "--set", "data.positive=lymphoblast")
    assert answer.code == 0, answer.err
    assert "its numbers are scaled to 19 of lymphocyte and 19 of lymphoblast" in answer.out
    assert row(answer.out, "Test part", "accuracy").split()[1] == "-"  # not the paper's cells: nothing stands beside
    run = Run(tmp_path / "out" / "clean")
    assert run.classes == ("lymphocyte", "lymphoblast")
    assert (run.folder / "figures" / "input").is_dir()
    names = sorted(path.name[0] for path in (run.folder / "figures" / "input").glob("*.png"))
    assert names == ["1", "2", "3", "4"]


def test_published_figures_agree_with_each_other():
    """Means and the areas of labels follow from the rates that the tables print, to the rounding of two digits."""
    for parts in PUBLISHED.values():
        for table in parts.values():
            mean = (table["positive.sensitivity"] + table["positive.specificity"]) / 2
            assert table["macro_sensitivity"] == pytest.approx(mean, abs=1e-4)
            assert table.get("label_auc", mean) == pytest.approx(mean, abs=1e-4)
    for recipe, intervals in PRINTED_INTERVALS.items():
        for figure, (low, high) in intervals.items():
            assert low <= PUBLISHED[recipe]["test"][figure] <= high


def test_inflation_is_the_difference_with_the_two_intervals_squared_and_added():
    def metrics(low, value, high):
        estimate = Estimate(value, low, high, "m")
        figures: dict[str, Estimate] = dict.fromkeys(
            ["accuracy", "macro_sensitivity", "macro_ppv", "macro_f1"], estimate)
        own: dict[str, Estimate] = dict.fromkeys(
            ["sensitivity", "specificity", "ppv", "f1", "auc", "label_auc"], estimate)
        return replace(evaluated, overall=figures, per_class=dict.fromkeys(("n", "p"), ClassMetrics(2, own)))

    evaluated = evaluate(pl.DataFrame({
        "cell_id": ["1", "2", "3", "4"], "subject": None, "group": None, "fold": 0, "label": ["n", "n", "p", "p"],
        "predicted": ["n", "p", "p", "p"], "p_n": [0.9, 0.4, 0.2, 0.1], "p_p": [0.1, 0.6, 0.8, 0.9]},
        schema_overrides={"subject": pl.String, "group": pl.String}), ["n", "p"], positive="p", rounds=100)

    rows = comparison({"clean": {"test": metrics(0.7, 0.8, 0.87)}, "paper": {"test": metrics(0.93, 0.96, 0.98)}}, "")
    first = rows[0]
    assert first.paper is None
    assert first.inflation is not None
    assert first.inflation.value == pytest.approx(0.16)
    assert first.inflation.low == pytest.approx(0.16 - (0.03**2 + 0.07**2) ** 0.5)
    assert first.inflation.high == pytest.approx(0.16 + (0.02**2 + 0.1**2) ** 0.5)
    assert "+16.0 (+8.4 to +26.2)" in study_tables(rows, ["clean", "paper"])[0].lines()[2]


def change(two: Path, out: Path, **columns: pl.Expr) -> Path:
    write_manifest(read_manifest(two).with_columns(**columns), out)
    return out


def test_one_class_is_refused(two, tmp_path):
    only = change(two, tmp_path / "one.parquet", label=pl.lit("leukemic"))
    line = refusal("reproduce", "noshad2021", "--data", only, "-o", tmp_path / "out", *FAST)
    assert "noshad2021 needs two classes; labels of the cells: leukemic;" in line


def test_a_label_that_no_map_knows_is_refused(two, tmp_path):
    odd = pl.when(pl.col("cell_id") == read_manifest(two)["cell_id"][3]).then(pl.lit("smudge"))
    three = change(two, tmp_path / "three.parquet", label=odd.otherwise("label"))
    line = refusal("reproduce", "noshad2021", "--data", three, "-o", tmp_path / "out", *FAST)
    assert "noshad2021 needs two classes; labels of the cells: lymphoblast, lymphocyte, smudge;" in line
    assert "data.classes" in line
    line = refusal("train", "noshad2021-cnmc", "--data", two, "-o", tmp_path / "out", *FAST)
    assert "class 'healthy' has no cells (labels: lymphoblast, lymphocyte)" in line


def test_which_class_is_looked_for_must_be_said(two, tmp_path):
    line = refusal("reproduce", "noshad2021", "--data", two, "-o", tmp_path / "out", *FAST)
    assert "positive class not specified; the classes are lymphoblast and lymphocyte" in line
    assert "--set data.positive=" in line


def test_a_fold_without_positives_is_refused(two, tmp_path):
    few = pl.when(pl.col("subject") == read_manifest(two)["subject"][0]).then(pl.lit("leukemic"))
    one = change(two, tmp_path / "few.parquet", label=few.otherwise(pl.lit("healthy")))
    line = refusal("reproduce", "noshad2021", "--data", one, "-o", tmp_path / "out", *FAST)
    assert "class 'leukemic'" in line
    assert "1 units" in line


def test_more_components_than_cells_are_refused_with_the_largest_number(two, tmp_path):
    line = refusal("reproduce", "noshad2021", "--data", two, "-o", tmp_path / "out", *FAST,
                   "--set", "data.positive=lymphoblast", "--set", "pca.components=60", "--set", "pca.variance=0")
    assert "pca.components = 60" in line
    most = int(line.split("at most ")[1].split()[0])
    assert f"set pca.components to {most} or fewer" in line
    run = leukoscope("reproduce", "noshad2021", "--data", two, "-o", tmp_path / "again", *FAST,
                     "--set", "data.positive=lymphoblast", "--set", f"pca.components={most}",
                     "--set", "pca.variance=0")
    assert run.code == 0, run.err


def test_constant_images_go_through(tmp_path):
    """A black cell fires nowhere; its input is all zeros, and nothing becomes NaN."""
    cells = write_cells(tmp_path / "images", 16, labels=("lymphocyte", "lymphoblast"), subjects=8, size=48)
    for place in (0, 20):
        Image.new("RGB", (48, 48), (9, 9, 9)).save(cells["image"][place])
    write_manifest(cells, tmp_path / "cells.parquet")
    answer = leukoscope("reproduce", "noshad2021", "--data", tmp_path / "cells.parquet", "-o", tmp_path / "out", *FAST,
                        "--set", "data.positive=lymphoblast", "--set", "split.validation=0.3")
    assert answer.code == 0, answer.err
    table = Run(tmp_path / "out" / "clean").predictions
    assert table["p_lymphoblast"].is_finite().all()


def test_only_constant_images_are_refused(tmp_path):
    rows = []
    for i in range(32):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (40, 40), (3 * i, 3 * i, 3 * i)).save(path)
        rows.append({"cell_id": f"c{i}", "image": str(path), "label": ("healthy", "leukemic")[i % 2]})
    write_manifest(make_manifest(rows), tmp_path / "cells.parquet")
    line = refusal("reproduce", "noshad2021", "--data", tmp_path / "cells.parquet", "-o", tmp_path / "out", *FAST)
    assert "no variance" in line


def test_other_folders_and_transfer_are_refused(two, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="neither C-NMC 2019 nor ALL-IDB1"):
        read_task(request(tmp_path / "empty"))
    line = refusal("reproduce", "noshad2021", "--data", two, "-o", tmp_path / "out", "--transfer", two)
    assert "noshad2021 has no transfer to another data set" in line


def test_a_damaged_file_of_an_official_folder_is_named_or_left_out(cnmc, tmp_path):
    root = shutil.copytree(cnmc, tmp_path / "data")
    broken = sorted(root.rglob("*_all.bmp"))[3]
    broken.write_bytes(b"")
    line = refusal("reproduce", "noshad2021", "--data", root, "-o", tmp_path / "out", *FAST)
    assert str(broken) in line
    assert "--skip-damaged" in line
    answer = leukoscope("reproduce", "noshad2021", "--data", root, "-o", tmp_path / "out", *FAST, "--skip-damaged",
                        "--set", "network.name=lenet5")
    assert answer.code == 0, answer.err
    assert f"Damaged and left out: {broken}" in answer.out
    assert broken.name in (tmp_path / "out" / "study.html").read_text()


def test_a_preliminary_set_that_was_trained_on_is_not_used_and_said(cnmc, tmp_path):
    root = shutil.copytree(cnmc, tmp_path / "data")
    tested = sorted((root / "validation_data").rglob("*.bmp"))
    for one, known in zip(tested, sorted((root / "training_data").rglob("*_all.bmp"))[::5], strict=False):
        one.write_bytes(known.read_bytes())
    answer = leukoscope("reproduce", "noshad2021", "--data", root, "-o", tmp_path / "out", *FAST,
                        "--set", "network.name=lenet5")
    assert answer.code == 0, answer.err
    assert "The preliminary test set was not used under protocol clean: pairs of identical images" in answer.out
    assert "Official preliminary test set" not in answer.out


def test_the_papers_tables_stand_beside_its_own_cells_and_class_alone(two, cnmc, tmp_path):
    renamed = pl.col("label").replace({"lymphocyte": "healthy", "lymphoblast": "leukemic"})
    assert not read_task(request(change(two, tmp_path / "named.parquet", label=renamed))).of_paper
    task = read_task(request(cnmc))
    assert task.of_paper
    write_manifest(task.cells, tmp_path / "cnmc.parquet")
    assert read_task(request(tmp_path / "cnmc.parquet")).of_paper
    answer = leukoscope("reproduce", "noshad2021", "--data", cnmc, "-o", tmp_path / "out", *FAST,
                        "--set", "network.name=lenet5", "--set", "data.positive=healthy")
    assert answer.code == 0, answer.err
    assert "98.80" not in answer.out


def test_both_folders_are_looked_at_before_anything_is_trained(two, tmp_path):
    (tmp_path / "out" / "paper").mkdir(parents=True)
    (tmp_path / "out" / "paper" / "notes.txt").write_text("mine")
    line = refusal("reproduce", "noshad2021", "--data", two, "-o", tmp_path / "out", "--protocol", "both", *FAST,
                   "--set", "data.positive=lymphoblast")
    assert f"{tmp_path / 'out' / 'paper'}: is not empty" in line
    assert not (tmp_path / "out" / "clean").exists()


def test_a_refused_number_of_components_leaves_no_folder(two, tmp_path):
    refusal("reproduce", "noshad2021", "--data", two, "-o", tmp_path / "out", *FAST,
            "--set", "data.positive=lymphoblast", "--set", "pca.components=60", "--set", "pca.variance=0")
    assert not (tmp_path / "out").exists()


def test_every_variant_of_the_ablation_tests_the_same_cells(two, tmp_path):
    answer = leukoscope("train", "noshad2021-ablation", "--data", two, "-o", tmp_path / "out", *FAST, *SMALLER,
                        "--set", "network.name=lenet5")
    assert answer.code == 0, answer.err
    names = list(load_recipe("noshad2021-ablation").variants)
    runs = {name: Run(tmp_path / "out" / name) for name in names}
    first = runs["whole"]
    for name, run in runs.items():
        assert sorted(run.predictions["cell_id"]) == sorted(first.predictions["cell_id"])
        assert run.recipe.pca.used == (name not in ("no-pca", "colour"))
    assert first.manifest["copy"].max() == 1
    assert "copy" not in runs["changed-anew"].manifest.columns
    assert "not tested on the same cells" not in (tmp_path / "out" / "study.html").read_text()
