"""Bundles on labelled cells from elsewhere: as their run, within the labels, what the guard refuses, and robustness."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from command import leukoscope, refusal
from leukoscope.bundle.bundle import SEEN, open_bundle, write_bundle
from leukoscope.bundle.parts import WEIGHTS
from leukoscope.commands.evaluate import EvaluateOptions, evaluate_model
from leukoscope.commands.export import export_run
from leukoscope.commands.outcome import Outcome
from leukoscope.errors import BundleError, ManifestError, RunError
from leukoscope.evaluation import robustness as shift_measure
from leukoscope.evaluation.corruptions import CORRUPTIONS, STRENGTHS, corrupt, scene_of
from leukoscope.evaluation.robustness import drawn_cells, measure_robustness
from leukoscope.manifest import write_manifest
from leukoscope.predict.classifiers import BundleClassifier, sets_of, within_classes
from leukoscope.predict.labelled import predict_bundle
from leukoscope.predict.run import RunClassifier
from leukoscope.runs.results import json_view
from leukoscope.runs.robustness import Corruption, negative
from leukoscope.runs.run import Run
from leukoscope.runs.training_overlap import trained_in_fold
from leukoscope.stats import Estimate
from leukoscope.text import interval, points
from page_reader import Page, check_numbers
from tiny import make_cells, tiny_recipe, train_on_cpu


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(shift_measure, "ROUNDS", 100)  # intervals are not what is looked at
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    cells = make_cells(folder / "images", counts={"a": 40, "b": 40, "c": 40}).with_columns(source=pl.lit("home"))
    chosen = tiny_recipe(preprocess={"size": 16, "crop": 18}, split={"kind": "holdout", "test": 0.3, "validation": 0.4})
    return train_on_cpu(chosen, cells, folder / "run")


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    export_run(run, out, micrometres=1.0)
    return out


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> pl.DataFrame:
    found = make_cells(tmp_path_factory.mktemp("other") / "images", counts={"a": 14, "b": 20, "c": 8}, seed=5,
                       prefix="o", size=24)
    return found.with_columns(source=pl.lit("away"))


@pytest.fixture(scope="module")
def ours(bundle, cells, tmp_path_factory) -> Outcome:
    return evaluate_model(bundle, cells, tmp_path_factory.mktemp("ours") / "out")


@pytest.fixture(scope="module")
def theirs(run, cells, tmp_path_factory) -> Outcome:
    return evaluate_model(run.folder, cells, tmp_path_factory.mktemp("theirs") / "out")


def p_of(table: pl.DataFrame) -> np.ndarray:
    return table.sort("cell_id").select(pl.selectors.starts_with("p_")).to_numpy()


# As its run

def test_a_bundle_says_what_its_run_says_at_its_temperature(bundle, ours, theirs):
    p, q = (p_of(pl.read_parquet(one.folder / "predictions.parquet")) for one in (ours, theirs))
    warm = q ** (1 / open_bundle(bundle).description.temperature)
    np.testing.assert_allclose(p, warm / warm.sum(1, keepdims=True), atol=1e-4)
    assert ours.metrics["confusion"] == theirs.metrics["confusion"]
    assert ours.metrics["overall"]["accuracy"] == theirs.metrics["overall"]["accuracy"]
    assert ours.metrics["cells"] == 42
    assert json.loads((ours.folder / "guard.json").read_text())["leaks"] == []
    assert json.loads((ours.folder / "metrics.json").read_text()) == ours.metrics


def test_a_run_and_its_bundle_are_judges_alike(run, bundle, cells):
    told, opened = RunClassifier(run), BundleClassifier(open_bundle(bundle))
    pictures = [np.asarray(Image.open(path)) for path in cells["image"][:6]]
    ours, theirs = (np.stack([classifier.prepare(one) for one in pictures]) for classifier in (told, opened))
    assert np.array_equal(ours, theirs)
    p, energy = opened.answer(theirs)
    q, none = told.answer(ours)
    warm = q ** (1 / opened.bundle.description.temperature)
    np.testing.assert_allclose(p, warm / warm.sum(1, keepdims=True), atol=1e-4)
    assert energy is not None
    assert none is None
    assert told.classes == opened.classes


def test_doubts_are_counted_as_the_table_says(bundle, ours):
    outcome, table, doubt = ours, pl.read_parquet(ours.folder / "predictions.parquet"), ours.metrics["doubt"]
    told = open_bundle(bundle).description
    assert doubt["unsure"]["count"] == table["unsure"].sum()
    covered = sum(row["label"] in json.loads(row["set"]) for row in table.iter_rows(named=True))
    assert (doubt["covered"]["count"], doubt["covered"]["total"], doubt["coverage"]) == (covered, 42, 0.95)
    assert doubt["unknown"]["count"] == (table["energy"] < told.least_energy).sum()
    wrong = table.filter(pl.col("label") != pl.col("predicted"))
    assert doubt["wrong_unsure"]["count"] + doubt["wrong_sure"]["count"] == wrong.height
    assert doubt["wrong_unsure"]["total"] == table["unsure"].sum()
    assert any(line.startswith("unsure: ") and "aimed at 95 %" in line for line in outcome.lines)
    assert any(line.startswith("calibration error ") for line in outcome.lines)
    page = Page(outcome.page)
    check_numbers(page, dict(outcome.metrics))
    assert "Does it know when it is wrong?" in page.text
    assert "Their source has another name (away) than that of the training cells (home)" in page.text
    assert "of the bundle “tiny”" in page.text


# Labels

def test_fewer_labels_than_classes_are_evaluated_with_all_or_within_them(bundle, cells, tmp_path):
    some = cells.filter(pl.col("label") != "c")
    whole = evaluate_model(bundle, some, tmp_path / "whole")
    within = evaluate_model(bundle, some, tmp_path / "within", EvaluateOptions(within=True))
    before, after = (pl.read_parquet(tmp_path / name / "predictions.parquet") for name in ("whole", "within"))
    p, q = p_of(before), p_of(after)
    np.testing.assert_allclose(q, p[:, :2] / p[:, :2].sum(1, keepdims=True), atol=1e-12)
    assert (whole.metrics["classes"], within.metrics["classes"]) == (["a", "b", "c"], ["a", "b"])
    right = (p.argmax(1) == before.sort("cell_id")["label"].replace_strict({"a": 0, "b": 1}).to_numpy()).sum()
    assert whole.metrics["overall"]["accuracy"]["count"] == right
    assert within.metrics["overall"]["accuracy"]["count"] >= right
    assert "No cell is of class c; as an answer it is still possible, and then wrong." in Page(whole.page).text
    assert "the probabilities of c were dropped" in Page(within.page).text
    assert within.metrics["doubt"]["covered"]["count"] == whole.metrics["doubt"]["covered"]["count"]
    sizes = np.array([len(json.loads(row)) for row in after["set"]])
    assert after["unsure"].to_list() == (sizes != 1).tolist()
    assert not any("c" in json.loads(row) for row in after["set"])


def test_runs_too_are_evaluated_within_the_labels(run, cells, theirs, tmp_path):
    some = cells.filter(pl.col("label") != "c")
    within = evaluate_model(run.folder, some, tmp_path / "within", EvaluateOptions(within=True))
    p, q = (p_of(pl.read_parquet(folder / "predictions.parquet").filter(pl.col("label") != "c"))
            for folder in (theirs.folder, within.folder))
    np.testing.assert_allclose(q, p[:, :2] / p[:, :2].sum(1, keepdims=True), atol=1e-12)
    assert "doubt" not in within.metrics
    assert "were dropped" in Page(within.page).text


def test_what_is_left_of_probabilities_and_sets():
    p = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0], [0.05, 0.15, 0.8]])
    kept = np.array([True, True, False])
    np.testing.assert_allclose(within_classes(p, kept), [[7 / 9, 2 / 9], [0.5, 0.5], [0.25, 0.75]])
    assert sets_of(p, 0.9, kept).tolist() == [[True, True], [False, False], [False, True]]
    assert sets_of(p, 0.9, np.array([True] * 3)).tolist() == [[True, True, True], [False, False, True],
                                                              [False, True, True]]


def test_labels_that_a_bundle_cannot_judge_are_refused(bundle, cells, tmp_path):
    strange = cells.with_columns(label=pl.when(pl.col("label") == "c").then(pl.lit("platelet")).otherwise("label"))
    with pytest.raises(ManifestError, match=r"not know the label 'platelet' \(8\); its classes are a, b, c: rename"):
        evaluate_model(bundle, strange, tmp_path / "out")
    with pytest.raises(ManifestError, match="no labels"):
        evaluate_model(bundle, cells.with_columns(label=pl.lit(None, pl.String)), tmp_path / "out")
    with pytest.raises(ManifestError, match="all cells are of one class"):
        evaluate_model(bundle, cells.filter(pl.col("label") == "a"), tmp_path / "out", EvaluateOptions(within=True))
    assert not (tmp_path / "out").exists()
    partly = cells.with_columns(label=pl.when(pl.col("label") == "c").then(pl.lit("")).otherwise("label"))
    found = predict_bundle(open_bundle(bundle), partly)
    assert (found.predictions.height, found.left_out.unlabelled) == (34, 8)


def test_damaged_cells_stop_it_or_are_left_out(bundle, cells, tmp_path):
    (tmp_path / "torn.png").write_bytes(Path(cells["image"][3]).read_bytes()[:150])
    torn = cells.with_columns(image=pl.when(pl.col("cell_id") == cells["cell_id"][3]).then(
        pl.lit(str(tmp_path / "torn.png"))).otherwise("image"))
    write_manifest(torn, tmp_path / "torn.parquet")
    said = refusal("evaluate", bundle, "--data", tmp_path / "torn.parquet", "-o", tmp_path / "out")
    assert re.search(r"torn\.png: .*1 of 42 cells are damaged\); repair the files, or .* --skip-damaged", said)
    answer = leukoscope("evaluate", bundle, "--data", tmp_path / "torn.parquet", "-o", tmp_path / "out",
                        "--skip-damaged", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["metrics"]["cells"] == 41
    listed = json.loads((tmp_path / "out" / "left_out.json").read_text())["damaged"]
    assert [one["cell_id"] for one in listed] == [cells["cell_id"][3]]
    assert cells["cell_id"][3] not in pl.read_parquet(tmp_path / "out" / "predictions.parquet")["cell_id"]


# The guard

def test_cells_of_its_training_are_refused_and_those_of_its_test_part_are_not(run, bundle, tmp_path):
    for part, count in (("train", len(run.part(0, "train"))), ("validation", len(run.part(0, "validation")))):
        own = run.manifest.filter(pl.col("cell_id").is_in(run.part(0, part).implode()))
        renamed = own.with_columns(cell_id=pl.lit("new ") + pl.col("cell_id"))
        write_manifest(renamed, tmp_path / "own.parquet")
        said = refusal("evaluate", bundle, "--data", tmp_path / "own.parquet", "-o", tmp_path / "out")
        assert f"those that {bundle} was trained on: {count} ('new " in said
    assert not (tmp_path / "out").exists()
    tested = run.manifest.filter(pl.col("cell_id").is_in(run.part(0, "test").implode()))
    outcome = evaluate_model(bundle, tested, tmp_path / "out")
    assert outcome.metrics["overall"]["accuracy"]["count"] == open_bundle(
        bundle).description.metrics["overall"]["accuracy"]["count"]
    assert "They come from the source of the training cells (home)." in Page(outcome.page).text


def test_a_turned_copy_of_a_training_cell_is_refused(run, bundle, cells, tmp_path):
    first = run.manifest.filter(pl.col("cell_id").is_in(run.part(0, "train").implode())).row(0, named=True)
    Image.open(first["image"]).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "copy.png")
    sneaked = cells.with_columns(image=pl.when(pl.col("cell_id") == cells["cell_id"][0]).then(
        pl.lit(str(tmp_path / "copy.png"))).otherwise("image"))
    write_manifest(sneaked, tmp_path / "sneaked.parquet")
    said = refusal("evaluate", bundle, "--data", tmp_path / "sneaked.parquet", "-o", tmp_path / "out")
    assert f"pairs of turned or mirrored copies between these cells and those that {bundle} was trained on: 1" in said


def rewritten(bundle: Path, out: Path, **parts: bytes | None) -> Path:
    """The bundle anew, with other parts; None leaves one out."""
    opened = open_bundle(bundle)
    every = {**opened.parts, WEIGHTS: (bundle / WEIGHTS).read_bytes(), **parts}
    content = {name: every[name] for name in opened.description.files if every[name] is not None}
    write_bundle(out, opened.description.model_dump(exclude={"digest", "files", "format"}), content)
    return out


def test_a_bundle_that_does_not_say_what_it_has_seen_is_not_checked(bundle, cells, tmp_path):
    old = rewritten(bundle, tmp_path / "old", **{SEEN: None})
    assert open_bundle(old).seen is None
    outcome = evaluate_model(old, cells, tmp_path / "out")
    guard = json.loads((tmp_path / "out" / "guard.json").read_text())
    assert guard["not_checked"] == [f"cells that {old} was trained on (it does not say; export it again)"]
    page = Page(outcome.page).text
    assert "it does not say; export it again" in page
    assert "Not checked for leaks" in page
    assert "could not be checked" in page
    assert "No leak found" not in page
    assert "None of these cells was used for training or selection" not in page
    assert "leak guard (protocol clean): not checked: cells that" in outcome.lines[2]
    assert "not trained on" not in outcome.lines[0]
    broken = rewritten(bundle, tmp_path / "broken", **{SEEN: b"nothing"})
    with pytest.raises(BundleError, match=r"seen\.parquet cannot be read"):
        evaluate_model(broken, cells, tmp_path / "out2")


def test_the_seen_file_is_verified_and_holds_one_fold_and_where_it_began(run, bundle, tmp_path):
    seen = open_bundle(bundle).seen
    assert seen is not None
    assert seen.height == len(run.part(0, "train")) + len(run.part(0, "validation"))
    assert seen["source"].unique().to_list() == ["home"]
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / SEEN).write_bytes((copy / SEEN).read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"seen\.parquet is not the file that the bundle was made with"):
        open_bundle(copy)
    other = make_cells(tmp_path / "other", seed=8, prefix="t", counts={"a": 12, "b": 12, "c": 12})
    second = train_on_cpu(tiny_recipe(preprocess={"size": 16, "crop": 18}, training__epochs=1, network={
        "name": "lenet5", "start": str(run.folder)}), other, tmp_path / "second")
    both, missing = trained_in_fold(second, 0)
    assert missing == ()
    own = len(second.part(0, "train")) + len(second.part(0, "validation"))
    assert both.height == own + seen.height
    assert seen.join(both, on=["pixels", "hash"], how="anti").is_empty()
    recipe = second.folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(run.folder), str(tmp_path / "moved")))
    alone, missing = trained_in_fold(Run(second.folder), 0)
    assert alone.height == own
    assert [why for why in missing if "its start was trained on" in why and "moved" in why]


def test_an_evaluation_overwrites_no_run_and_no_bundle(run, bundle, cells, ours, theirs, tmp_path):
    write_manifest(cells, tmp_path / "cells.parquet")
    for folder, what in ((run.folder, "a run"), (bundle, "a bundle")):
        said = refusal("evaluate", bundle, "--data", tmp_path / "cells.parquet", "-o", folder)
        assert f"holds {what}, which an evaluation would overwrite" in said
    assert "the evaluation of a bundle" in refusal("compare", ours.folder, theirs.folder, "-o", tmp_path / "c")


# Robustness

@pytest.fixture(scope="module")
def shifted(bundle, cells, tmp_path_factory):
    out = tmp_path_factory.mktemp("shift") / "out"
    return out, evaluate_model(bundle, cells, out, EvaluateOptions(robustness=True, corrupted_cells=30))


def test_a_file_is_no_folder_to_write_to(bundle, cells, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        evaluate_model(bundle, cells, tmp_path / "out")


def test_every_condition_is_that_of_the_corrupted_files(shifted, bundle, cells, tmp_path):
    """Corrupted by hand into files, and predicted as any cells."""
    out, _ = shifted
    found = json.loads((out / "shift.json").read_text())
    chosen = drawn_cells(cells, 30, 0)
    assert found["cells"] == chosen.height == 30
    classifier = BundleClassifier(open_bundle(bundle))
    table = pl.read_parquet(out / "shift.parquet")
    assert table.height == 1 + len(CORRUPTIONS) * len(STRENGTHS)
    labels = chosen["label"].replace_strict({"a": 0, "b": 1, "c": 2}).to_numpy()
    for name, strength in (("noise", 5), ("stain_hue", 3), ("defocus", 5), ("brightness", 4)):
        pictures = []
        for row in chosen.iter_rows(named=True):
            pixels = np.asarray(Image.open(row["image"]))
            scene = scene_of(pixels, 18, None)
            pictures.append(classifier.prepare(corrupt(name, strength, pixels, cell_id=row["cell_id"], scene=scene)))
        p, _ = classifier.answer(np.stack(pictures))
        right = p.argmax(1) == labels
        row = table.row(by_predicate=(pl.col("corruption") == name) & (pl.col("strength") == strength), named=True)
        assert row["accuracy"] == pytest.approx(right.mean())
        clean = table.row(by_predicate=pl.col("corruption") == "clean", named=True)
        assert row["drop"] == pytest.approx(clean["accuracy"] - row["accuracy"])
        assert row["drop_low"] <= row["drop"] <= row["drop_high"]
        radius = classifier.radius
        assert radius is not None
        assert row["unsure"] == pytest.approx((sets_of(p, radius, np.ones(3, bool)).sum(1) != 1).mean())
        told = found["corruptions"][name]["strengths"][strength - 1]
        if told["sides"]:
            assert sum(side["count"] for side in told["sides"].values()) == right.sum()
    for name, one in found["corruptions"].items():
        own = table.filter(pl.col("corruption") == name)
        assert one["mean_accuracy"]["value"] == pytest.approx(own["accuracy"].mean())
        assert one["mean_drop"]["value"] == pytest.approx(own["drop"].mean())
    drops = [found["corruptions"][name]["mean_drop"]["value"] for name in found["order"]]
    assert drops == sorted(drops, reverse=True)


def test_the_order_of_the_cells_does_not_matter(bundle, cells):
    classifier = BundleClassifier(open_bundle(bundle))
    _, one = measure_robustness(classifier, cells, classifier.classes, count=12, seed=3)
    shuffled = cells.sample(fraction=1, shuffle=True, seed=1)
    _, two = measure_robustness(classifier, shuffled, classifier.classes, count=12, seed=3)
    assert one.equals(two)
    assert set(drawn_cells(cells, 12, 3)["cell_id"]) != set(drawn_cells(cells, 12, 4)["cell_id"])


def test_cells_are_drawn_by_class_in_their_shares(cells):
    counts = {n: dict(drawn_cells(cells, n, 0).group_by("label").len().iter_rows()) for n in (21, 9, 42, 100)}
    assert counts[21] == {"a": 7, "b": 10, "c": 4}
    assert counts[9] == {"a": 3, "b": 4, "c": 2}
    assert counts[42] == counts[100] == {"a": 14, "b": 20, "c": 8}
    some, more = (set(drawn_cells(cells, n, 0)["cell_id"]) for n in (9, 21))
    assert some < more
    others = cells.filter(pl.col("label") != "a")
    rare = pl.concat([cells.filter(pl.col("label") == "a").head(1), others])  # shares of 0.93, 18.6 and 7.4 cells
    assert dict(drawn_cells(rare, 27, 0).group_by("label").len().iter_rows()) == {"a": 1, "b": 19, "c": 7}


def test_the_page_of_robustness_is_whole(shifted):
    out, outcome = shifted
    page = Page(out / "shift.html")
    for word in ("NaN", "nan ", "None", "inf"):
        assert word not in page.text
    assert "30 of 42 cells, drawn by the seed 0, each class by its share (a 10, b 14, c 6)" in page.text
    assert "It was trained on cells of home, these cells are of away. Where that is another laboratory" in page.text
    assert "The scale of these cells is not known" in page.text
    for one in CORRUPTIONS.values():
        assert one.title in page.text
        assert one.mild in page.text
    found = json.loads((out / "shift.json").read_text())
    for key, value, _ in page.numbers:
        head, _, rest = key.partition(".")
        if head == "all":
            assert value == outcome.metrics["overall"]["accuracy"]["value"]
        elif head == "corruptions":
            name, _, last = rest.partition(".")
            strength, _, figure = last.partition(".")
            own = found["corruptions"][name]
            assert value == (own[last] if not figure else own["strengths"][int(strength) - 1][figure])["value"]
    assert (out / "figures" / "shift" / "example.png").is_file()
    assert 'href="shift.html"' in (out / "report.html").read_text()
    assert any(line.startswith("robustness on 30 of 42 cells: accuracy ") for line in outcome.lines)
    before = (out / "shift.html").read_text()
    (out / "shift.html").unlink()
    assert leukoscope("report", out).code == 0
    again = (out / "shift.html").read_text()
    assert re.sub(r"f\d+-", "f-", again) == re.sub(r"f\d+-", "f-", before)


def test_runs_are_put_under_the_same_corruptions_and_a_known_scale_is_used(run, cells, tmp_path):
    write_manifest(cells, tmp_path / "cells.parquet")
    answer = leukoscope("evaluate", run.folder, "--data", tmp_path / "cells.parquet", "-o", tmp_path / "out", "--shift",
                        "--shift-cells", "12", "--micrometres", "0.9", "--within-labels", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["metrics"]["shift"]["micrometres"] == 0.9
    assert told["metrics"]["shift"]["clean"]["unsure"] is None
    page = Page(tmp_path / "out" / "shift.html")
    assert "scale of these cells is not known" not in page.text
    assert "None" not in page.text
    evaluate_model(run.folder, cells, tmp_path / "out")
    assert not (tmp_path / "out" / "shift.html").exists()  # of another evaluation
    assert "Robustness" not in Page(tmp_path / "out" / "report.html").text


@pytest.mark.parametrize(("option", "value"), [("--shift-cells", "12"), ("--micrometres", "0.9")])
def test_options_of_the_shift_alone_are_refused_without_it(bundle, tmp_path, option, value):
    answer = leukoscope("evaluate", bundle, "--data", tmp_path / "none.parquet", "-o", tmp_path / "out", option, value)
    assert answer.code == 2
    assert f"{option} is for --shift only; add --shift, or leave out {option}" in answer.err


def test_drops_are_losses_in_points():
    drop = Estimate(0.032, 0.015, 0.05, "paired")
    assert interval(negative(drop), points, "", page=True, confidence=None) == "−3.2 (−5.0 to −1.5)"
    assert points(0.0004) == points(-0.0004) == "0.0"
    one = {"value": 0.9, "low": None, "high": None, "method": ""}
    rows = [{"corruption": "x", "strength": k, "accuracy": one, "macro_f1": one, "calibration_error": one,
             "example": "a", "drop": one | {"value": v}} for k, v in enumerate((0.01, 0.04, 0.06, 0.02, 0.3), start=1)]
    table = {"title": "X", "unit": "", "values": [1, 2, 3, 4, 5], "mild": "", "strong": "", "sides": [],
             "strengths": rows, "mean_accuracy": one, "mean_drop": one}
    assert json_view(Corruption, table, Path("shift.json")).robust_up_to == 2


@pytest.fixture(scope="module")
def overlapping(run, cells, tmp_path_factory) -> Path:
    """The cells of elsewhere with three cells of the training under other names, a turned copy of a fourth, and a
    cell of the person of a fifth."""
    folder = tmp_path_factory.mktemp("overlapping")
    trained = run.manifest.filter(pl.col("cell_id").is_in(run.part(0, "train").implode()))
    Image.open(trained["image"][3]).transpose(Image.Transpose.ROTATE_90).save(folder / "copy.png")
    images = [*trained["image"][:3], str(folder / "copy.png"), *cells["image"][4:]]
    write_manifest(cells.with_columns(pl.Series("image", images)), folder / "cells.parquet")
    return folder / "cells.parquet"


@pytest.mark.parametrize("kind", ["run", "bundle"])
def test_every_kind_of_overlap_is_named_at_once_with_the_option_that_leaves_it_out(run, bundle, cells, overlapping,
                                                                                  tmp_path, kind):
    model = run.folder if kind == "run" else bundle
    said = refusal("evaluate", model, "--data", overlapping, "-o", tmp_path / "out")
    assert f"pairs of identical images between these cells and those that {model} was trained on: 3 (" in said
    assert f"pairs of turned or mirrored copies between these cells and those that {model} was trained on: 1" in said
    assert all(f"'{cell}'" in said for cell in cells["cell_id"][:4])
    assert said.count("leave 4 of the 42 cells out with --leave-out-trained") == 1
    answer = leukoscope("evaluate", model, "--data", overlapping, "-o", tmp_path / "out", "--leave-out-trained")
    assert answer.code == 0, answer
    assert "4 of 42 cells left out: 4 that the model was trained on, or of the same people" in answer.out
    left = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert left["cell_id"].to_list() == cells["cell_id"][4:].to_list()
    whole = evaluate_model(model, cells[4:], tmp_path / "whole").metrics
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["overall"] == whole["overall"]
    assert json.loads((tmp_path / "out" / "left_out.json").read_text())["trained"] == 4
    assert "4 cells that the model was trained on" in (tmp_path / "out" / "report.html").read_text()


def test_refusing_needs_no_network(bundle, overlapping, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("the network worked")

    monkeypatch.setattr("leukoscope.predict.classifiers.BundleClassifier.answer", never)
    assert "--leave-out-trained" in refusal("evaluate", bundle, "--data", overlapping, "-o", tmp_path / "out")


def test_where_every_cell_was_trained_on_none_is_left(run, bundle, tmp_path):
    own = run.manifest.filter(pl.col("cell_id").is_in(run.part(0, "train").implode()))
    write_manifest(own, tmp_path / "own.parquet")
    for model in (run.folder, bundle):
        said = refusal("evaluate", model, "--data", tmp_path / "own.parquet", "-o", tmp_path / "out",
                       "--leave-out-trained")
        assert "no cell is left without those; evaluate other cells" in said
