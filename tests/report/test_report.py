"""The page of a run says what the run's files say, stands alone, and survives what users name their classes."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from leukoscope.errors import RunError
from leukoscope.files import read_json, write_json
from leukoscope.manifest import read_manifest
from leukoscope.phantom import write_cells
from leukoscope.recipes import load_recipe
from leukoscope.report import numbers
from leukoscope.report.data import MOST
from leukoscope.report.run import write_report
from leukoscope.report.sentences import recipe_facts
from leukoscope.report.study import write_study
from leukoscope.stats import Estimate, mcnemar_p
from leukoscope.text import percent
from page_reader import Page, check_numbers
from run_folder import FIVE, Plan, build_run

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "$x_{", "A & B", "嗜中性粒细胞")
@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    manifest = write_cells(tmp_path_factory.mktemp("cells"), 2, size=48, subjects=2)
    return [Path(image) for image in manifest["image"]]


@pytest.fixture(scope="module")
def five(tmp_path_factory, cells):
    left_out = {"damaged": [{"cell_id": "smear 9/cell 3", "image": "a/b.png", "reason": "truncated after 120 bytes"}],
                "other_labels": {"platelet": 1211}, "unlabelled": 3, "over_per_class": 0}
    run = build_run(tmp_path_factory.mktemp("five") / "run", Plan(images=cells, cells=300, left_out=left_out))
    return run, Page(write_report(run)), read_json(run / "metrics.json")


def built(folder: Path, **plan: Any) -> tuple[Page, dict[str, Any]]:
    run = build_run(folder / "run", Plan(**plan))
    return Page(write_report(run)), read_json(run / "metrics.json")


def test_every_number_on_the_page_is_the_one_in_the_metrics(five):
    _, page, metrics = five
    check_numbers(page, metrics)
    shown = {key for key, _, _ in page.numbers}
    assert {f"per_class.{c}.{key}" for c in FIVE for key in numbers.PER_CLASS} <= shown
    assert {"overall.accuracy", "overall.kappa", "overall.mcc", "overall.log_loss", "overall.macro_auc",
            "calibration.brier", "calibration.expected_calibration_error"} <= shown
    assert {f"per_fold.{i}.accuracy" for i in range(2)} <= shown


def test_every_interval_stands_beside_its_number(five):
    _, page, metrics = five
    for name in FIVE:
        for key in numbers.PER_CLASS:
            interval = numbers.interval_of(key, Estimate.from_dict(metrics["per_class"][name][key]))
            assert not interval or interval in page.text


def test_the_answer_comes_first(five):
    _, page, metrics = five
    accuracy = percent(metrics["overall"]["accuracy"]["value"])
    weak = min(FIVE, key=lambda c: metrics["per_class"][c]["sensitivity"]["value"])
    right = sum(metrics["confusion"][i][i] for i in range(5))
    first = page.text[:page.text.index("Data and split")]
    assert accuracy in first
    assert f"Weakest class: {weak}" in first
    assert f"Of 300 test cells, {right} were classified correctly and {300 - right} wrongly." in first
    assert "No leak found" in first


def test_the_page_stands_alone(five):
    _, page, _ = five
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert str(attributes.get(name) or "#").startswith(("#", "data:image/"))
        assert not any(name.startswith("on") for name in attributes)
    assert set(re.findall(r"https?://[^\"'\s<)]+", page.raw)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert re.findall(r"url\((?!#)", page.raw) == []
    assert "@import" not in page.raw


def test_ids_are_unique_links_lead_somewhere_and_every_picture_is_described(five):
    _, page, _ = five
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = [str(a["href"]) for tag, a in page.tags if tag == "a"]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert all(a.get("alt") for tag, a in page.tags if tag == "img")
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")


def test_what_was_done_is_said_in_plain_words(five):
    _, page, _ = five
    assert ("WBCsNet-2 was trained from random weights to distinguish 5 classes: neutrophil, eosinophil, basophil, "
            "lymphocyte and monocyte.") in page.text
    assert "tested by 2-fold cross-validation on 300 cells" in page.text
    assert "cells of one subject, and copies of one image, are always in the same part" in page.text
    assert "leukoscope train almotairi2020 --data cells.parquet -o runs/wbc" in page.text
    assert "not a medical device" in page.text


def test_no_change_of_the_training_cells_is_left_unsaid():
    """A row of the table for every key of [augment] that is on."""
    facts = dict(recipe_facts(load_recipe("leukoscope")))
    assert facts["Input"].startswith("equal light, depth of stain and size, 112")
    assert facts["Class balance"] == "classes drawn equally often, laboratories within them evenly"
    assert facts["Optimiser"].startswith("AdamW")
    for words in ("rotation ±180°", "shift", "zoom", "brightness", "contrast", "horizontal flips", "stain ±70",
                  "hue of the stain ±30", "eosin multiplied or divided by up to 2", "light ±15", "blur up to 2.5 px",
                  "noise up to 8 grey", "JPEG down to quality 35", "surroundings cut off for 35"):
        assert words in facts["Augmentation"]
    on = [key for key, value in load_recipe("leukoscope").augment.model_dump().items() if value]
    assert len(facts["Augmentation"].split(", ")) == len(on)


def test_data_and_what_was_left_out_are_counted_and_named(five):
    run, page, _ = five
    counts = read_manifest(run / "manifest.parquet").group_by("label").len()
    for label, cells in counts.iter_rows():
        assert re.search(rf"{label} {cells} 12 \d+–?\d*", page.text)
    assert "1,211 cells of other classes: platelet (1,211)" in page.text
    assert "3 cells without a label" in page.text
    assert "1 damaged image: smear 9/cell 3 truncated after 120 bytes (a/b.png)" in page.text


def test_the_worst_mistakes_are_the_surest_wrong_answers(five):
    run, page, _ = five
    table = pl.read_parquet(run / "predictions.parquet")
    sure = table.select(f"p_{c}" for c in FIVE).to_numpy().max(axis=1)
    wrong = (table["label"] != table["predicted"]).to_numpy()
    order = [table["cell_id"][int(i)] for i in np.argsort(-sure, kind="stable") if wrong[i]][:MOST]
    pictures = [str(a["alt"]) for tag, a in page.tags if tag == "img"]
    assert pictures == [f"cell {name}" for name in order]


def test_figures_are_files_too(five):
    run, _, _ = five
    names = {file.name for file in (run / "figures").glob("*.svg")}
    assert {"confusion.svg", "roc.svg", "precision_recall.svg", "calibration.svg", "sensitivity.svg"} <= names
    for file in (run / "figures").glob("*.svg"):
        ET.parse(file)


def test_the_report_is_drawn_anew_to_the_same_words(five):
    run, page, _ = five
    assert Page(write_report(run)).text == page.text


def test_hostile_names_stay_text(tmp_path):
    page, metrics = built(tmp_path, classes=HOSTILE, cells=120)
    check_numbers(page, metrics)
    assert {tag for tag, _ in page.tags} & {"script"} == set()
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(name in page.text for name in HOSTILE)


def test_images_that_are_gone_are_named_and_stop_nothing(tmp_path):
    page, _ = built(tmp_path, cells=80, folds=1)
    assert not any(tag == "img" for tag, _ in page.tags)
    assert re.search(r"/nowhere/cell_\d+\.png", page.text)


@pytest.mark.parametrize("plan", [
    {"classes": ("healthy", "leukemic"), "positive": "leukemic", "folds": 1, "cells": 200},
    {"classes": ("healthy", "leukemic"), "positive": "leukemic", "folds": 3, "cells": 240, "subjects": 24},
    {"classes": ("rest", "blast"), "folds": 1, "cells": 20, "subjects": 0, "validation": False, "epochs": 1},
    {"classes": tuple(f"type {i} of a leukocyte with a long name" for i in range(12)), "folds": 1, "cells": 240},
], ids=["binary", "binary in folds", "bare", "twelve"])
def test_every_kind_of_run_has_a_page(tmp_path, plan):
    page, metrics = built(tmp_path, **plan)
    check_numbers(page, metrics)
    assert all(name in page.text for name in plan["classes"])
    assert ("Operating point" in page.text) == bool(plan.get("positive"))
    if plan.get("positive"):
        assert {"operating_point.sensitivity", "operating_point.ppv", "subject_level.accuracy"} <= {
            key for key, _, _ in page.numbers}
    if not plan.get("subjects", 1):
        assert "No subject is known for these cells" in page.text


def test_a_paper_run_of_ten_folds_names_each_leak_and_stays_small(tmp_path, cells):
    leaks = [{"kind": "subject", "fold": k, "parts": ["train", "test"], "count": 10 + k, "examples": [],
              "text": f"fold {k}: {10 + k} subjects in two parts"} for k in range(10)]
    leaks.append({"kind": "chosen", "fold": None, "parts": ["test"], "count": 1, "examples": [],
                  "text": "the epoch and weights are chosen on the test part"})
    page, metrics = built(tmp_path, folds=10, cells=5000, subjects=40, protocol="paper", epochs=40, skill=3.0,
                          images=cells, leaks=leaks)
    check_numbers(page, metrics)
    assert "This run contains 11 leaks" in page.text
    assert all(str(leak["text"]) in page.text for leak in leaks)
    assert "No leak found" not in page.text
    assert "the weights used are those that did best on the test part itself" in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) >= 10
    assert len(page.raw.encode()) < 5_000_000


def test_feature_maps_are_taken_in_and_those_too_large_are_named(tmp_path, cells):
    run = build_run(tmp_path / "run", Plan(cells=60, folds=1))
    folder = run / "figures" / "feature_maps"
    folder.mkdir(parents=True)
    shutil.copy(cells[0], folder / "unit_1.png")
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "unit_2.png")
    (folder / "unit_3.png").write_bytes(bytes(300_000))
    page = Page(write_report(run))
    assert [a["alt"] for tag, a in page.tags if tag == "img"] == ["feature maps: unit 1"]
    assert "Not in this page, but in figures/feature_maps: unit_2.png, unit_3.png" in page.text


def test_an_evaluation_on_other_cells_has_a_page(tmp_path, five):
    run, _, metrics = five
    out = tmp_path / "elsewhere"
    out.mkdir()
    for name in ("predictions.parquet", "manifest.parquet", "left_out.json", "guard.json", "metrics.json"):
        shutil.copy(run / name, out / name)
    write_json(out / "evaluation.json", {"run": str(run), "recipe": "almotairi2020"})
    page = Page(write_report(out))
    check_numbers(page, metrics)
    assert "was evaluated on 300 cells outside its own data" in page.text
    assert "None of these cells was used for training or selection." in page.text


def test_a_run_without_its_verdict_says_so(tmp_path):
    run = build_run(tmp_path / "run", Plan(cells=60, folds=1))
    for name in ("guard.json", "left_out.json", "environment.json"):
        (run / name).unlink()
    assert "The result of the leak guard is not in this folder" in Page(write_report(run)).text


@pytest.mark.parametrize(("name", "content", "said"), [
    ("metrics.json", None, "not a finished run"), ("metrics.json", "{", "not valid JSON"),
    ("metrics.json", "{}", "no 'classes' in it"), ("metrics.json", "[]", "no 'classes' in it"),
    ("predictions.parquet", None, "no such file"), ("predictions.parquet", "text", "not a readable table"),
    ("manifest.parquet", "text", "not a readable table"), ("recipe.toml", "name = ", "not valid TOML"),
    ("folds/0/history.csv", "a,b\n1,2\n", "no column 'epoch'"), ("guard.json", "{", "not valid JSON"),
])
def test_a_damaged_run_is_refused_by_the_name_of_the_file(five, tmp_path, name, content, said):
    run = tmp_path / "run"
    shutil.copytree(five[0], run)
    (run / name).unlink() if content is None else (run / name).write_text(content, encoding="utf-8")
    before = (run / "report.html").read_bytes()
    with pytest.raises(RunError, match=re.escape(said)) as refused:
        write_report(run)
    assert str(run) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (run / "report.html").read_bytes() == before


def test_an_empty_history_leaves_its_curve_out(five, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(five[0], run)
    (run / "folds/0/history.csv").write_text("", encoding="utf-8")
    text = Page(write_report(run)).text
    assert "Fold 1" in text
    assert "Fold 0" not in text


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    plan = Plan(cells=200, subjects=0)
    for name, skill in (("none", 1.6), ("1", 3.0), ("deep/2", 1.7)):
        build_run(folder / name, replace(plan, skill=skill))
    write_json(folder / "study.json", {
        "title": "Where the residual unit stands", "runs": ["none", "1", "deep/2"],
        "paper": {"1": {"accuracy": 0.968, "macro_sensitivity": 0.9263}, "none": {"accuracy": 0.961}}})
    return folder, Page(write_study(folder))


def test_a_study_shows_every_run_beside_the_papers_figures(study):
    folder, page = study
    for name in ("none", "1", "deep/2"):
        metrics = read_json(folder / name / "metrics.json")
        for key in ("accuracy", "macro_sensitivity", "macro_auc"):
            assert (f"{name}.overall.{key}", metrics["overall"][key]["value"]) in [(k, v) for k, v, _ in page.numbers]
    assert "96.8 92.63" in page.text
    assert "Where the residual unit stands" in page.text


def test_a_study_compares_cell_by_cell_with_mcnemar_and_holm(study):
    folder, page = study
    files = [folder / name / "predictions.parquet" for name in ("none", "1", "deep/2")]
    tables = [pl.read_parquet(file).sort("cell_id") for file in files]
    right = [(t["label"] == t["predicted"]).to_numpy() for t in tables]
    p_values = [mcnemar_p(int((one & ~right[0]).sum()), int((right[0] & ~one).sum()))[0] for one in right[1:]]
    low, high = np.argsort(p_values)
    adjusted = {int(low): min(1, 2 * p_values[low]), int(high): min(1, max(2 * p_values[low], p_values[high]))}
    for i, one in enumerate(right[1:]):
        difference = f"{100 * (one.mean() - right[0].mean()):+.1f}".replace("-", "−")
        shown = "p < 0.001" if adjusted[i] < 0.001 else f"p = {adjusted[i]:.2g}"
        assert re.search(rf"{re.escape(difference)} \S+ to \S+ {shown}", page.text)


def test_a_study_without_a_file_takes_every_finished_run(study, tmp_path):
    folder, _ = study
    for name in ("none", "1"):
        shutil.copytree(folder / name, tmp_path / "two" / name)
    assert "2 runs compared" in Page(write_study(tmp_path / "two")).text


@pytest.mark.parametrize(("content", "said"), [
    ('{"runs": ["nothing"]}', "no such folder"), ('{"runs": ["../secret"]}', "not a run below this folder"),
    ('{"runs": [3]}', "study.json: 'runs.0': "), ("[]", "expected a table"), ("{", "not valid JSON"),
    ("{}", "no finished run below it"),
])
def test_a_wrong_study_is_refused(tmp_path, content, said):
    (tmp_path / "study.json").write_text(content, encoding="utf-8")
    with pytest.raises(Exception, match=re.escape(said)) as refused:
        write_study(tmp_path)
    assert type(refused.value).__module__ == "leukoscope.errors"
    assert not (tmp_path / "study.html").exists()


def test_metrics_on_disk_are_plain_json(five):
    run, _, metrics = five
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8")) == metrics
