"""Training with a microscope in front of the network: what moves, at which rate, what a run keeps of it, that it goes
on and repeats; and cells that are refused because they have no colours or are smaller than the crop."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from leukoscope.cells import CellBatches, pack_cells
from leukoscope.cells.input_steps import plain_steps
from leukoscope.errors import ImageError, RecipeError, RunError
from leukoscope.optics import Microscope, microscope_of
from leukoscope.predict.run import predict_cells, predict_run
from leukoscope.recipes import Optics, Recipe
from leukoscope.runs.network import fresh_network, load_network, read_weights
from leukoscope.runs.run import Run
from leukoscope.train import checkpoint as train_checkpoint
from leukoscope.train.epochs import Event
from leukoscope.train.lightning_module import epoch_seed, optimizer_for, training_seed
from tiny import history, make_cells, tiny_recipe, train_on_cpu

NOISY: dict[str, Any] = {"constraint": "sum", "photons": 2000.0, "read_noise": 10.0}
NAMES = ("lamps", "mask", "wavefront")


def optical_recipe(optics: dict[str, Any] | None = None, **overrides: Any) -> Recipe:
    """A recipe of tests/tiny.py whose lenet5 sees the 16 px of a sensor behind a microscope."""
    preprocess = {"size": 32, "normalise": "none"} | overrides.pop("preprocess", {})
    found = {"simulate": True, "pool": 2, "grid": 15, "window": 15} | (optics or {})
    return tiny_recipe(preprocess=preprocess, optics=found, **overrides)


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> pl.DataFrame:
    return make_cells(tmp_path_factory.mktemp("cells"), size=32)


@pytest.fixture(scope="module")
def noisy(cells, tmp_path_factory) -> Run:
    """A finished run behind a noisy camera."""
    chosen = optical_recipe({**NOISY, "learning_rate": 0.5}, training__epochs=4)
    return train_on_cpu(chosen, cells, tmp_path_factory.mktemp("runs") / "noisy")


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return read_weights(run.fold_folder(0) / "weights.safetensors")


def same_weights(one: Run, other: Run) -> bool:
    ours, theirs = weights_of(one), weights_of(other)
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


# What moves, and at which rate


@pytest.mark.parametrize("learn", [(), ("illumination",), ("pupil",), ("aberration",),
                                   ("illumination", "pupil", "aberration")])
def test_what_is_learned_moves_and_what_is_frozen_stays_exactly(learn, cells, tmp_path):
    chosen = optical_recipe({"learn": learn, "learning_rate": 1.0, "defocus": 0.1}, training__epochs=1,
                            training__weight_decay=0.1)
    after = weights_of(train_on_cpu(chosen, cells, tmp_path / "run"))
    before = Microscope(chosen.optics).state_dict()
    assert {f"microscope.{name}" for name in before} == {name for name in after if name.startswith("microscope.")}
    moved = {name: after[f"microscope.{name}"] != before[name] for name in NAMES}
    learned = {"illumination": "lamps", "pupil": "mask", "aberration": "wavefront"}
    assert {name for name in NAMES if moved[name].any()} == {learned[part] for part in learn}
    if "illumination" in learn:
        assert moved["lamps"].all()
    if "pupil" in learn:  # outside of the aperture not even a decay of weights reaches the mask
        inside = Microscope(chosen.optics).amplitude()
        assert moved["mask"][inside > 0.9].all()
        assert not moved["mask"][inside == 0].any()


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_the_optics_are_a_group_of_their_own_with_their_own_rate_and_no_decay(kind):
    chosen = optical_recipe({"learning_rate": 0.3}, training__optimizer=kind, training__weight_decay=0.01,
                            data={"classes": ["a", "b"]})
    network = fresh_network(chosen)
    names = {id(value): name for name, value in network.named_parameters()}
    groups = optimizer_for(chosen, network).param_groups
    held = [{names[id(value)] for value in group["params"]} for group in groups]
    assert held == [{name for name in names.values() if not name.startswith("microscope.")},
                    {"microscope.lamps", "microscope.mask"}]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert [group["pace"] for group in groups] == pytest.approx([1.0, 6.0])
    for optics in ({"learn": ()}, {"simulate": False}):
        frozen = optical_recipe(optics, data={"classes": ["a", "b"]})
        assert [group["pace"] for group in optimizer_for(frozen, fresh_network(frozen)).param_groups] == [1.0]


@pytest.mark.parametrize("repeat", [0, 3])
def test_training_is_the_loop_that_the_recipe_says(repeat, cells, tmp_path):
    """The same steps without Lightning: SGD with two rates under one cosine, decay of the network's weights alone."""
    chosen = optical_recipe({**NOISY, "learning_rate": 0.4}, training__weight_decay=0.01, training__schedule="cosine",
                            training__repeat=repeat, split__validation=0.0, augment={"rotation": 90})
    run = train_on_cpu(chosen, cells, tmp_path / "run")

    packed = pack_cells(run.manifest, chosen.preprocess)
    labels = np.array([run.classes.index(label) for label in run.manifest["label"]])
    learned = np.flatnonzero(run.manifest["cell_id"].is_in(run.part(0, "train").to_list()).to_numpy())
    seed = 0 if repeat == 0 else epoch_seed(0, repeat, 0) % 2**32
    torch.manual_seed(epoch_seed(seed, 0))
    network = fresh_network(run.recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub
    optics = [network.microscope.lamps, network.microscope.mask]
    others = [value for name, value in network.named_parameters() if not name.startswith("microscope.")]
    optimizer = torch.optim.SGD([{"params": others, "lr": 0.0, "weight_decay": 0.01}, {"params": optics, "lr": 0.0}],
                                momentum=0.9)
    batches = CellBatches(packed, learned, labels[learned], batch_size=8, augment=chosen.augment,
                          steps=plain_steps(chosen), seed=epoch_seed(seed, 0) % 2**32, shuffle=True)
    for epoch in range(3):
        batches.set_epoch(epoch)
        torch.manual_seed(epoch_seed(seed, 0, epoch + 1, 0))
        for group, rate in zip(optimizer.param_groups, (0.05, 0.4), strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * epoch / 3))
        for images, truth, _ in batches:
            optimizer.zero_grad()
            functional.cross_entropy(network(images.contiguous(memory_format=torch.channels_last)), truth).backward()
            optimizer.step()
    expected = network.state_dict()
    for name, value in weights_of(run).items():
        np.testing.assert_allclose(value, expected[name].numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_lamps_are_learned_that_tell_classes_of_equal_brightness_apart(tmp_path):
    """Red and green cells are equally bright under equal lamps: a monochrome sensor sees no difference."""
    two = make_cells(tmp_path / "cells", size=32, strength=0.3, counts={"a": 24, "b": 24})
    learned, frozen = (train_on_cpu(
        optical_recipe({"learning_rate": 0.1, "learn": learn}, network={"name": "wbcsnet2", "options": {"width": 0.05}},
                       training={"epochs": 12, "optimizer": "adam", "learning_rate": 0.003, "batch_size": 4}),
        two, tmp_path / str(len(learn))) for learn in (("illumination",), ()))
    assert learned.metrics["overall"]["accuracy"]["value"] >= 0.9
    assert frozen.metrics["overall"]["accuracy"]["value"] <= 0.8
    last = pl.read_csv(learned.fold_folder(0) / "optics.csv").row(-1, named=True)
    assert abs(last["lamp_red"] - last["lamp_green"]) > 0.3


def test_the_optics_of_an_earlier_run_may_be_kept_as_they_are(noisy, cells, tmp_path):
    chosen = optical_recipe(NOISY, network={"name": "lenet5", "start": str(noisy.folder), "frozen": ["microscope"]},
                            training__epochs=1)
    new = make_cells(tmp_path / "new", size=32, seed=1, prefix="new")
    before, after = weights_of(noisy), weights_of(train_on_cpu(chosen, new, tmp_path / "run"))
    assert {name for name in after if torch.equal(after[name], before[name])} \
        == {f"microscope.{name}" for name in NAMES}


def test_a_loss_that_leaves_the_numbers_is_an_error_behind_a_microscope_too(cells, tmp_path):
    wild = optical_recipe({"constraint": "sum"}, network={"name": "wbcsnet", "options": {"width": 0.1}},
                          training__learning_rate=10.0, training__epochs=5)
    with pytest.raises(RunError, match=r"loss became NaN or infinite in epoch \d of fold 0; lower training\.learning"):
        train_on_cpu(wild, cells, tmp_path / "run")


# What a run keeps of it


def test_optics_csv_says_where_the_microscope_stood_after_each_epoch(noisy):
    table = pl.read_csv(noisy.fold_folder(0) / "optics.csv")
    network, _ = load_network(noisy, 0)
    microscope = microscope_of(network)
    assert microscope is not None
    assert table.columns == ["epoch", *microscope.summary()]
    assert table["epoch"].to_list() == [1, 2, 3, 4]
    best = noisy.fold(0)["best_epoch"]
    assert best < 4
    assert table.row(best - 1, named=True) == pytest.approx({"epoch": best, **microscope.summary()}, rel=1e-6)
    assert table["lamp_red"].n_unique() == 4  # so no other row is the best one's
    np.testing.assert_allclose(table.select(pl.selectors.starts_with("lamp_")).to_numpy().sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(table.select(pl.selectors.starts_with("ring_")).to_numpy().max(1), 1, atol=1e-12)
    assert history(noisy).columns == ["epoch", "train_loss", "train_accuracy", "validation_loss",
                                      "validation_accuracy", "learning_rate", "seconds"]
    assert history(noisy)["learning_rate"].unique().to_list() == [0.05]  # the network's


def test_a_run_without_a_microscope_keeps_no_optics(cells, tmp_path):
    events: list[Event] = []
    run = train_on_cpu(tiny_recipe(training__epochs=1), cells, tmp_path / "run", on_event=events.append)
    assert list(run.folder.rglob("optics.csv")) == []
    (metrics,) = [event.metrics for event in events if event.phase == "epoch"]
    assert list(metrics) == history(run).columns


def test_a_loaded_run_predicts_what_was_stored_and_noise_does_not_depend_on_the_batch(noisy):
    packed = pack_cells(noisy.manifest, noisy.recipe.preprocess)
    rows = np.array([packed.cell_ids.index(cell) for cell in noisy.predictions["cell_id"]])
    stored = noisy.predictions.select(pl.selectors.starts_with("p_")).to_numpy()
    network, stages = load_network(noisy, 0)
    for size in (1, 5, 64):
        np.testing.assert_allclose(predict_cells(network, packed, rows, stages, batch_size=size), stored, rtol=0,
                                   atol=1e-6)
    backwards = predict_cells(network, packed, rows[::-1], stages, batch_size=4)
    np.testing.assert_allclose(backwards[::-1], stored, rtol=0, atol=1e-6)
    quiet = fresh_network(optical_recipe({"constraint": "sum"}, data={"classes": noisy.classes})).eval()
    quiet.load_state_dict(network.state_dict())
    without = predict_cells(quiet, packed, rows, stages, batch_size=64)
    assert np.abs(without - stored).max() > 1e-4  # there was noise


def test_cells_from_elsewhere_are_predicted_through_the_microscope(noisy, tmp_path):
    other = make_cells(tmp_path / "other", size=32, seed=2, prefix="other")
    packed = pack_cells(other, noisy.recipe.preprocess)
    network, stages = load_network(noisy, 0)
    got = predict_run(noisy, other, batch_size=7).predictions.select(pl.selectors.starts_with("p_")).to_numpy()
    np.testing.assert_allclose(got, predict_cells(network, packed, np.arange(36), stages, batch_size=36), rtol=0,
                               atol=1e-6)


@pytest.mark.parametrize(("name", "value", "said"), [
    ("lamps", math.nan, r"microscope\.lamps holds a value that is not a number; train the run again"),
    ("lamps", -1e30, r"every weight of microscope\.lamps is zero, so no light reaches the sensor; train the run again"),
    ("mask", math.inf, r"microscope\.mask holds a value that is not a number"),
    ("mask", -1e30, r"every weight of microscope\.mask is zero, so no light reaches the sensor"),
    ("wavefront", math.nan, r"microscope\.wavefront holds a value that is not a number"),
])
def test_weights_that_make_no_microscope_are_refused_with_their_file(name, value, said, noisy, tmp_path):
    folder = shutil.copytree(noisy.folder, tmp_path / "copy")
    path = folder / "folds" / "0" / "weights.safetensors"
    weights = read_weights(path)
    weights[f"microscope.{name}"].fill_(value)
    save_file(weights, path)
    with pytest.raises(RunError, match=rf"weights\.safetensors: {said}"):
        load_network(Run(folder), 0)


def test_weights_without_a_microscope_are_not_those_of_the_recipe(noisy, tmp_path):
    folder = shutil.copytree(noisy.folder, tmp_path / "copy")
    path = folder / "folds" / "0" / "weights.safetensors"
    save_file({name: value for name, value in read_weights(path).items() if name != "microscope.mask"}, path)
    with pytest.raises(RunError, match=r"microscope\.mask is missing, but the network .* expects \(15, 15\)"):
        load_network(Run(folder), 0)


# That it repeats, again and anew


def test_a_repeated_training_has_the_same_parts_and_other_weights(cells, tmp_path):
    chosen = {repeat: tiny_recipe(training__repeat=repeat, training__epochs=1, augment={"rotation": 90})
              for repeat in (0, 1, 2)}
    runs = {repeat: train_on_cpu(recipe, cells, tmp_path / str(repeat)) for repeat, recipe in chosen.items()}
    for name in ("splits.parquet", "manifest.parquet", "fingerprints.parquet"):
        assert len({(run.folder / name).read_bytes() for run in runs.values()}) == 1
    assert not same_weights(runs[0], runs[1])
    assert not same_weights(runs[1], runs[2])
    starts = [epoch_seed(training_seed(recipe), 0) for recipe in chosen.values()]
    assert len(set(starts)) == 3
    assert same_weights(train_on_cpu(chosen[2], cells, tmp_path / "again"), runs[2])
    other_split = tiny_recipe(training__repeat=2, training__epochs=1, augment={"rotation": 90}, seed=1)
    assert not train_on_cpu(other_split, cells, tmp_path / "seed").splits.equals(runs[2].splits)


def test_the_seed_of_a_first_training_is_the_recipes():
    assert [training_seed(tiny_recipe(seed=seed)) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]
    seeds = [training_seed(tiny_recipe(seed=seed, training__repeat=repeat)) for seed in range(5) for repeat in range(5)]
    assert len(set(seeds)) == 25
    assert all(0 <= seed < 2**32 for seed in seeds)


class Stopped(Exception):
    """In the middle of a training."""


@pytest.mark.parametrize("moment", [("epoch", 2), ("batch", 4)])
def test_a_stopped_run_goes_on_to_the_same_weights_behind_a_noisy_camera(moment, noisy, cells, tmp_path, monkeypatch):
    def stop(event: Event) -> None:
        if (event.phase, event.epoch) == moment:
            raise Stopped

    monkeypatch.setattr(train_checkpoint, "SECONDS_BETWEEN", 0.0)
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        train_on_cpu(noisy.recipe, cells, out, on_event=stop)
    done = torch.load(out / "folds" / "0" / "last.ckpt", weights_only=True)["progress"]["epoch"]
    assert done == moment[1] - (moment[0] == "batch")
    events: list[Event] = []
    run = train_on_cpu(noisy.recipe, cells, out, resume=True, on_event=events.append)
    assert [event.epoch for event in events if event.phase == "epoch"] == list(range(done + 1, 5))
    assert same_weights(run, noisy)
    assert run.predictions.equals(noisy.predictions)
    assert (run.fold_folder(0) / "optics.csv").read_text() == (noisy.fold_folder(0) / "optics.csv").read_text()
    with pytest.raises(RunError, match=r"started with optics\.photons = 2000\.0, now it is 3000\.0"):
        train_on_cpu(optical_recipe({**NOISY, "learning_rate": 0.5, "photons": 3000.0}, training__epochs=4), cells, out,
                     resume=True)


# Cells that are refused


def with_image(cells: pl.DataFrame, row: int, path: Path) -> pl.DataFrame:
    return cells.with_columns(pl.when(pl.col("cell_id") == cells["cell_id"][row]).then(pl.lit(str(path)))
                              .otherwise("image").alias("image"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_cells_are_refused_by_a_microscope_and_by_nothing_else(mode, cells, tmp_path):
    for path in cells["image"]:
        Image.open(path).convert("L").convert(mode).save(tmp_path / Path(path).name)
    grey = cells.with_columns(pl.col("image").map_elements(lambda p: str(tmp_path / Path(p).name), pl.String))
    chosen = optical_recipe(training__epochs=1)
    said = (r"optics: all cells are grey \(three equal channels\), so lamps of different colour have no effect; use "
            r"images in colour, or set optics\.simulate = false")
    with pytest.raises(RecipeError, match=said):
        train_on_cpu(chosen, grey, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    last = len(cells) - 1
    assert train_on_cpu(chosen, with_image(grey, last, Path(cells["image"][last])), tmp_path / "one").finished
    plain = chosen.model_copy(update={"optics": Optics()})
    assert train_on_cpu(plain, grey, tmp_path / "plain").finished


@pytest.fixture
def one_small(cells, tmp_path) -> pl.DataFrame:
    """The cells, of which b001 is 32 px wide and 24 px high."""
    pixels = np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    return with_image(cells, 13, tmp_path / "small.png")


def cropped(smaller: str, crop: int = 28) -> Recipe:
    return tiny_recipe(preprocess={"size": 16, "crop": crop, "smaller": smaller}, training__epochs=1)


def test_a_cell_smaller_than_the_crop_is_refused_or_left_out_and_listed(one_small, tmp_path):
    said = r"small\.png: the cell is 32 x 24 px, smaller than preprocess\.crop = 28 \(cell 'b001'; 1 of 36 cell"
    with pytest.raises(ImageError, match=said):
        train_on_cpu(cropped("refuse"), one_small, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = train_on_cpu(cropped("refuse"), one_small, tmp_path / "run", skip_damaged=True)
    assert set(one_small["cell_id"]) - set(run.manifest["cell_id"]) == {"b001"}
    assert json.loads((run.folder / "left_out.json").read_text())["damaged"] == [{
        "cell_id": "b001", "image": str(tmp_path / "small.png"),
        "reason": "the cell is 32 x 24 px, smaller than preprocess.crop = 28"}]
    again = train_on_cpu(cropped("refuse"), one_small, tmp_path / "run", resume=True)
    assert again.metrics == run.metrics


def test_a_cell_smaller_than_the_crop_is_kept_unless_that_is_refused(one_small, tmp_path):
    run = train_on_cpu(cropped("keep"), one_small, tmp_path / "run")
    assert run.manifest["cell_id"].to_list() == one_small["cell_id"].to_list()
    assert train_on_cpu(cropped("refuse", 24), one_small, tmp_path / "fits").manifest.height == 36  # not smaller
    assert train_on_cpu(cropped("refuse", 0), one_small, tmp_path / "whole").manifest.height == 36


def test_the_packed_cells_of_the_two_are_not_shared(one_small, tmp_path):
    def pack(smaller: str, crop: int = 28):
        return pack_cells(one_small, cropped(smaller, crop).preprocess, cache=tmp_path / "cache", skip_damaged=True)

    kept, refused = pack("keep"), pack("refuse")
    assert kept.path != refused.path
    assert (len(kept.cell_ids), len(refused.cell_ids)) == (36, 35)
    assert (len(kept.damaged), [found.cell_id for found in refused.damaged]) == (0, ["b001"])
    np.testing.assert_array_equal(np.delete(kept.pixels, 13, 0), refused.pixels)
    again_kept, again_refused = pack("keep"), pack("refuse")
    assert (again_kept.path, again_refused.path) == (kept.path, refused.path)
    assert [found.cell_id for found in again_refused.damaged] == ["b001"]
    assert pack("refuse", 0).path == pack("keep", 0).path  # without a crop there is nothing to refuse
    boxed = one_small.with_columns(*(pl.lit(value, pl.Int32).alias(name) for name, value in
                                     (("x", 2), ("y", 0), ("width", 20), ("height", 24))))
    with pytest.raises(ImageError, match=r"the cell is 20 x 24 px, smaller than preprocess\.crop = 28"):  # of its box
        pack_cells(boxed, cropped("refuse").preprocess, cache=tmp_path / "cache")


def test_lamps_that_go_out_in_training_are_a_run_error(cells, tmp_path):
    wild = optical_recipe(network={"name": "wbcsnet", "options": {"width": 0.1}}, training__learning_rate=10.0,
                          training__epochs=5)
    with pytest.raises(RunError, match="training"):
        train_on_cpu(wild, cells, tmp_path / "run")


def test_densenet_trains_where_one_cell_is_left_for_the_last_batch(tmp_path):
    cells = make_cells(tmp_path / "cells", size=32, counts={"a": 6, "b": 5})
    recipe = tiny_recipe(preprocess__size=32, network={"name": "densenet121"}, training__epochs=1,
                         split__validation=0.0, split__test=0.2, training__batch_size=8)
    assert train_on_cpu(recipe, cells, tmp_path / "run").finished


def test_nothing_left_to_train_is_refused(noisy, tmp_path):
    units = ("unit1", "unit2", "hidden1", "hidden2", "last")
    for learn, frozen in (((), units), (("pupil",), ("microscope", *units))):
        recipe = optical_recipe({"learn": learn}, training__epochs=1, network={
            "name": "lenet5", "start": str(noisy.folder), "keep": ["microscope", "gain", *units], "frozen": frozen})
        with pytest.raises(RecipeError, match="nothing is left to train"):
            train_on_cpu(recipe, make_cells(tmp_path / "cells", size=32, seed=1, prefix="n"), tmp_path / "run")


def test_a_start_that_refused_small_cells_can_be_used_for_small_cells(tmp_path):
    start = train_on_cpu(tiny_recipe(preprocess={"size": 16, "crop": 32, "smaller": "refuse"}, training__epochs=1),
                         make_cells(tmp_path / "a", size=32), tmp_path / "start")
    small = make_cells(tmp_path / "b", size=24, seed=1, prefix="n")
    recipe = tiny_recipe(preprocess={"size": 16, "crop": 20}, training__epochs=1,
                         network={"name": "lenet5", "start": str(start.folder)})
    assert train_on_cpu(recipe, small, tmp_path / "run").finished


def test_a_cell_smaller_than_the_crop_names_the_key(tmp_path):
    with pytest.raises(ImageError, match=r"preprocess\.crop = 32"):
        train_on_cpu(tiny_recipe(preprocess={"size": 16, "crop": 32, "smaller": "refuse"}),
                     make_cells(tmp_path / "a", size=24), tmp_path / "run")


def test_an_input_too_small_without_any_pool_is_not_mended_by_pool(tmp_path):
    with pytest.raises(RecipeError) as caught:
        train_on_cpu(optical_recipe({"pool": 1}, preprocess={"size": 12}), make_cells(tmp_path / "a"), tmp_path / "run")
    assert "pool to 1 or less" not in caught.value.hint
