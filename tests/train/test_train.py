"""Training: what a run leaves, that it repeats, and what chooses cells and weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn import functional

from leukoscope.cells import CellBatches, channel_statistics, pack_cells
from leukoscope.cells.input_steps import InputSteps
from leukoscope.errors import ImageError
from leukoscope.images.resample import resize
from leukoscope.runs.network import fresh_network, read_weights
from leukoscope.train.lightning_module import epoch_seed
from tiny import history, make_cells, tiny_recipe, train_on_cpu

# What a run leaves


def test_a_run_leaves_everything_that_the_design_names(folds):
    run, _ = folds
    names = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    of_run = {"recipe.toml", "manifest.parquet", "splits.parquet", "guard.json", "left_out.json", "environment.json",
              "predictions.parquet", "validation.parquet", "metrics.json", "fingerprints.parquet"}
    of_fold = {f"folds/{fold}/{name}" for fold in (0, 1) for name in (
        "history.csv", "weights.safetensors", "fold.json", "predictions.parquet", "validation.parquet")}
    events = {name for name in names if "/tensorboard/events.out.tfevents." in name}
    assert names == of_run | of_fold | events
    assert {name.split("/")[1] for name in events} == {"0", "1"}


def test_every_cell_is_tested_once_with_probabilities(folds, cells):
    run, _ = folds
    table = run.predictions
    assert sorted(table["cell_id"]) == sorted(cells["cell_id"])
    assert table.columns == ["cell_id", "subject", "group", "fold", "label", "predicted", "p_a", "p_b", "p_c"]
    probabilities = table.select("p_a", "p_b", "p_c").to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=0, atol=1e-12)
    assert [run.classes[i] for i in probabilities.argmax(1)] == table["predicted"].to_list()
    for fold in (0, 1):
        assert set(table.filter(pl.col("fold") == fold)["cell_id"]) == set(run.part(fold, "test"))
        assert run.validation is not None
        assert set(run.validation.filter(pl.col("fold") == fold)["cell_id"]) == set(run.part(fold, "validation"))


def test_a_network_learns_what_there_is_to_learn(tmp_path):
    run = train_on_cpu(tiny_recipe(training__epochs=8), make_cells(tmp_path / "cells", strength=0.5), tmp_path / "run")
    assert run.metrics["overall"]["accuracy"]["value"] == 1.0
    losses = history(run)["train_loss"]
    assert losses[0] > 0.9
    assert losses[-1] < 0.1


def test_fold_json_says_what_was_done(folds):
    run, _ = folds
    facts = run.fold(1)
    weights = read_weights(run.fold_folder(1) / "weights.safetensors")
    assert facts["parameters"] == sum(value.numel() for value in weights.values()) == 15_331
    assert (facts["fold"], facts["epochs"], facts["stopped_early"], facts["selected_on"]) == (1, 3, False, "validation")


def test_the_environment_is_kept(folds):
    run, _ = folds
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0] or torch.__version__
    assert environment["seed"] == 0
    assert environment["seconds"] > 0


def test_events_tell_the_whole_way_in_order(folds):
    _, events = folds
    phases = [event.phase for event in events]
    order = ["pack", "fingerprint", "batch", "epoch", "fold", "evaluate", "done"]
    assert [phases.index(phase) for phase in order] == sorted(phases.index(phase) for phase in order)
    epochs = [(e.fold, e.epoch, e.done, e.total) for e in events if e.phase == "epoch"]
    assert epochs == [(fold, epoch, epoch, 3) for fold in (0, 1) for epoch in (1, 2, 3)]
    batches = [(e.done, e.total) for e in events if e.phase == "batch" and e.fold == 0 and e.epoch == 2]
    assert batches == [(i + 1, len(batches)) for i in range(len(batches))]
    assert [(e.done, e.total) for e in events if e.phase == "fold"] == [(1, 2), (2, 2)]


def test_tensorboard_shows_the_history(folds):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = folds
    log = EventAccumulator(str(run.fold_folder(0) / "tensorboard")).Reload()
    shown = [(point.step, point.value) for point in log.Scalars("validation_loss")]
    assert shown == [(row["epoch"], pytest.approx(row["validation_loss"], rel=1e-6))
                     for row in history(run).iter_rows(named=True)]


# That it repeats, and that it is what it says


def test_the_same_recipe_gives_the_same_predictions_and_another_seed_others(folds, cells, tmp_path):
    run, _ = folds
    again = train_on_cpu(run.recipe, cells, tmp_path / "again")
    assert again.predictions.equals(run.predictions)
    assert (again.fold_folder(1) / "weights.safetensors").read_bytes() \
        == (run.fold_folder(1) / "weights.safetensors").read_bytes()
    other = train_on_cpu(run.recipe.model_copy(update={"seed": 1}), cells, tmp_path / "other")
    assert not other.predictions.sort("cell_id").select("p_a").equals(run.predictions.sort("cell_id").select("p_a"))


def test_the_global_generator_is_left_alone(cells, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_on_cpu(tiny_recipe(training__epochs=1), cells, tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("balance", ["none", "weights", "sampler"])
def test_training_is_the_loop_that_the_recipe_says(balance, tmp_path):
    """The same steps without Lightning: SGD with momentum and weight decay on a loss with class weights."""
    cells = make_cells(tmp_path / "cells", counts={"a": 16, "b": 8, "c": 8})
    chosen = tiny_recipe(training__balance=balance, training__weight_decay=0.01, training__label_smoothing=0.1,
                         split__validation=0.0, augment={"rotation": 90})
    run = train_on_cpu(chosen, cells, tmp_path / "run")

    packed = pack_cells(run.manifest, chosen.preprocess)
    labels = np.array([run.classes.index(label) for label in run.manifest["label"]])
    learned = np.flatnonzero(run.manifest["cell_id"].is_in(run.part(0, "train").to_list()).to_numpy())
    mean, std = channel_statistics(packed.pixels, learned)
    counts = np.bincount(labels[learned])
    each = len(learned) / (3 * counts)
    torch.manual_seed(epoch_seed(0, 0))
    network = fresh_network(run.recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    batches = CellBatches(packed, learned, labels[learned], batch_size=8, augment=chosen.augment,
                          steps=InputSteps(chosen.preprocess, chosen.edges, mean, std),
                          seed=epoch_seed(0, 0) % 2**32, shuffle=True,
                          weights=each[labels[learned]] if balance == "sampler" else None)
    weight = torch.tensor(each, dtype=torch.float32) if balance == "weights" else torch.ones(3)
    for epoch in range(3):
        batches.set_epoch(epoch)
        for images, truth, _ in batches:
            logits = network(images.contiguous(memory_format=torch.channels_last))
            losses = functional.cross_entropy(logits, truth, weight=weight, label_smoothing=0.1,
                                              reduction="none")
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
    for name, value in read_weights(run.fold_folder(0) / "weights.safetensors").items():
        np.testing.assert_allclose(value, network.state_dict()[name].numpy(), rtol=1e-5, atol=1e-7, err_msg=name)


def test_bfloat16_gives_nearly_the_same(cells, tmp_path):
    exact = train_on_cpu(tiny_recipe(training__epochs=1), cells, tmp_path / "exact")
    rough = train_on_cpu(tiny_recipe(training__epochs=1, training__precision="bf16"), cells, tmp_path / "rough")
    assert history(rough)["train_loss"][0] != history(exact)["train_loss"][0]
    assert history(rough)["train_loss"][0] == pytest.approx(history(exact)["train_loss"][0], rel=0.02)


# What normalisation sees


@pytest.mark.parametrize("fit_on", ["train", "all"])
def test_normalisation_is_fitted_on_the_training_part_alone_unless_a_paper_did_not(fit_on, cells, tmp_path):
    run = train_on_cpu(tiny_recipe(split__fit_on=fit_on, protocol="paper", training__epochs=1), cells, tmp_path / "run")
    chosen = run.part(0, "train").to_list() if fit_on == "train" else cells["cell_id"].to_list()
    paths = cells.filter(pl.col("cell_id").is_in(chosen))["image"]
    pixels = np.stack([resize(np.asarray(Image.open(path)), 16) for path in paths]).reshape(-1, 3) / 255
    np.testing.assert_allclose(run.fold(0)["mean"], pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(run.fold(0)["std"], pixels.std(0), rtol=1e-12)
    leaks = json.loads((run.folder / "guard.json").read_text())["leaks"]
    assert [leak["kind"] for leak in leaks] == ([] if fit_on == "train" else ["fitted"])


def test_without_normalisation_values_stay_in_0_to_1(cells, tmp_path):
    run = train_on_cpu(tiny_recipe(preprocess__normalise="none", training__epochs=1), cells, tmp_path / "run")
    assert (run.fold(0)["mean"], run.fold(0)["std"]) == ([0, 0, 0], [1, 1, 1])


# What chooses the weights


def test_the_best_weights_by_validation_are_kept(folds):
    run, _ = folds
    assert run.validation is not None
    for fold in (0, 1):
        rows = history(run, fold)
        best = rows.sort(["validation_accuracy", "validation_loss"], descending=[True, False]).row(0, named=True)
        kept = run.validation.filter(pl.col("fold") == fold)
        own = np.array([row[f"p_{row['label']}"] for row in kept.iter_rows(named=True)])
        assert run.fold(fold)["best_epoch"] == best["epoch"]
        assert (kept["predicted"] == kept["label"]).mean() == pytest.approx(best["validation_accuracy"])
        assert -np.log(own).mean() == pytest.approx(best["validation_loss"], rel=1e-5)


def test_a_paper_may_choose_on_the_test_part_and_the_run_says_so(cells, tmp_path):
    chosen = tiny_recipe(protocol="paper", split__select_on="test", split__validation=0.0)
    run = train_on_cpu(chosen, cells, tmp_path / "run")
    accuracy = (run.predictions["predicted"] == run.predictions["label"]).mean()
    assert accuracy == pytest.approx(history(run)["validation_accuracy"].max())
    assert run.fold(0)["selected_on"] == "test"
    assert run.validation is None


def test_without_a_validation_part_the_last_epoch_is_kept(cells, tmp_path):
    run = train_on_cpu(tiny_recipe(split__validation=0.0), cells, tmp_path / "run")
    assert (run.fold(0)["selected_on"], run.fold(0)["best_epoch"]) == ("last epoch", 3)
    assert history(run)["validation_loss"].is_null().all()


def test_training_stops_when_nothing_gets_better(cells, tmp_path):
    chosen = tiny_recipe(training__epochs=9, training__patience=2, training__learning_rate=1e-30)
    run = train_on_cpu(chosen, cells, tmp_path / "run")
    assert (run.fold(0)["best_epoch"], run.fold(0)["epochs"], run.fold(0)["stopped_early"]) == (1, 3, True)
    assert history(run).height == 3


def test_cosine_falls_from_the_whole_rate_to_nearly_none(cells, tmp_path):
    run = train_on_cpu(tiny_recipe(training__schedule="cosine", training__epochs=4), cells, tmp_path / "run")
    expected = [0.05 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert history(run)["learning_rate"].to_list() == pytest.approx(expected)


# Which cells


def test_classes_merge_and_per_class_choose_the_cells_and_count_the_others(cells, tmp_path):
    mixed = cells.with_columns(pl.when(pl.col("cell_id").is_in(["a000", "a001"])).then(None)
                               .when(pl.col("cell_id") == "b003").then(pl.lit("")).otherwise("label").alias("label"))
    chosen = tiny_recipe(data={"classes": ["c", "A"], "merge": {"a": "A"}, "per_class": 8})
    run = train_on_cpu(chosen, mixed, tmp_path / "run")
    assert run.classes == ("c", "A")
    assert dict(run.manifest.group_by("label").len().iter_rows()) == {"c": 8, "A": 8}
    left_out = json.loads((run.folder / "left_out.json").read_text())
    assert left_out == {"damaged": [], "other_labels": {"b": 11}, "over_per_class": 4 + 2, "unlabelled": 3}


def test_a_damaged_image_stops_the_run_or_is_left_out_and_named(cells, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(cells["image"][3]).read_bytes()[:300])
    torn = cells.with_columns(pl.when(pl.col("cell_id") == "a003").then(pl.lit(str(broken)))
                              .otherwise("image").alias("image"))
    with pytest.raises(ImageError, match=r"broken\.png"):
        train_on_cpu(tiny_recipe(training__epochs=1), torn, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = train_on_cpu(tiny_recipe(training__epochs=1), torn, tmp_path / "run", skip_damaged=True)
    assert "a003" not in run.manifest["cell_id"]
    damaged = json.loads((run.folder / "left_out.json").read_text())["damaged"]
    assert [(row["cell_id"], row["image"]) for row in damaged] == [("a003", str(broken))]
