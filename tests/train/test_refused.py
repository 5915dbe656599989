"""Training: what is refused, and why; and transfer, which may be refused too."""

from __future__ import annotations

import json

import filelock
import polars as pl
import pytest
import torch

from leukoscope.errors import LeakError, LeukoscopeError, ManifestError, RecipeError, RunError
from leukoscope.runs.network import read_weights
from leukoscope.runs.run import Run
from tiny import make_cells, tiny_recipe, train_on_cpu


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> pl.DataFrame:
    return make_cells(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def earlier(cells, tmp_path_factory) -> Run:
    """A finished run of two folds."""
    chosen = tiny_recipe(split={"kind": "kfold", "folds": 2, "validation": 0.25})
    return train_on_cpu(chosen, cells, tmp_path_factory.mktemp("runs") / "earlier")


@pytest.mark.parametrize(("overrides", "error", "said"), [
    ({"data": {"classes": ["a", "d"]}}, ManifestError, r"class 'd' has no cells \(labels: a, b, c\)"),
    ({"data": {"classes": ["a", "bb"]}}, ManifestError, r"class 'bb' has no cells .*; did you mean b\? correct"),
    ({"data": {"classes": ["b", "bb"]}}, ManifestError, r"class 'bb' has no cells .*; correct data.classes"),
    ({"data": {"classes": ["a"]}}, ManifestError, r"only 1 class \(a\), but training needs two"),
    ({"data": {"positive": "x"}}, ManifestError, "data.positive = 'x' is not one of the labels a, b, c"),
    ({"network__name": "lenet6"}, RecipeError, "no network 'lenet6'"),
    ({"preprocess__size": 12}, RecipeError, "preprocess.size = 12"),
    ({"split__validation": 0.0, "training__patience": 3}, RecipeError, "need a validation part"),
    ({"network__start": "nowhere"}, RecipeError, "network.start = 'nowhere': nowhere: not a run .*start=RUN"),
])
def test_a_refused_experiment_leaves_nothing(overrides, error, said, cells, tmp_path):
    with pytest.raises(error, match=said):
        train_on_cpu(tiny_recipe(**overrides), cells, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_published_weights_that_cannot_be_had_are_missed_before_anything_is_written(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.delenv("no_proxy", raising=False)
    chosen = tiny_recipe(network={"name": "resnet18", "pretrained": True}, preprocess__size=32)
    with pytest.raises(RecipeError, match=r"network\.pretrained: https://.*cannot be downloaded .*pretrained = false"):
        train_on_cpu(chosen, cells, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_leak_is_refused_before_anything_is_written(cells, tmp_path):
    parts = cells.with_columns(split=pl.Series(["train", "validation", "test"] * 12))
    copy = parts.with_columns(pl.when(pl.col("cell_id") == "a002").then(pl.lit(cells["image"][0]))
                              .otherwise("image").alias("image"))
    with pytest.raises(LeakError, match=r"'a000' .train. and 'a002' .test."):
        train_on_cpu(tiny_recipe(split={"kind": "official"}), copy, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    paper = tiny_recipe(split={"kind": "official"}, protocol="paper", training__epochs=1)
    run = train_on_cpu(paper, copy, tmp_path / "run")
    assert [leak["kind"] for leak in json.loads((run.folder / "guard.json").read_text())["leaks"]] == ["identical"]


def test_a_folder_that_holds_something_is_not_written_to(earlier, cells, tmp_path):
    with pytest.raises(RunError, match="contains a run already; continue it with --resume"):
        train_on_cpu(earlier.recipe, cells, earlier.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(RunError, match="is not empty"):
        train_on_cpu(earlier.recipe, cells, tmp_path / "mine")
    with pytest.raises(RunError, match="not a run"):
        train_on_cpu(earlier.recipe, cells, tmp_path / "mine", resume=True)
    with pytest.raises(RunError, match="is a file, not a folder"):
        train_on_cpu(earlier.recipe, cells, tmp_path / "mine" / "thesis.txt")


def test_a_loss_that_leaves_the_numbers_is_an_error_with_the_mend(cells, tmp_path):
    wild = tiny_recipe(network={"name": "wbcsnet", "options": {"width": 0.1}}, training__learning_rate=10.0,
                       training__epochs=5)
    for resume in (False, True):
        with pytest.raises(RunError, match=r"loss became NaN or infinite in epoch \d of fold 0; lower training.learn"):
            train_on_cpu(wild, cells, tmp_path / "run", resume=resume)
    assert not Run(tmp_path / "run").finished


def test_two_processes_do_not_train_one_run(earlier, cells, tmp_path):
    with filelock.FileLock(earlier.folder / ".lock"), pytest.raises(RunError, match="another process is training"):
        train_on_cpu(earlier.recipe, cells, earlier.folder, resume=True)


def test_a_batch_that_devices_cannot_share_is_refused(cells, tmp_path):
    with pytest.raises(RecipeError, match=r"training\.batch_size = 8 cannot be divided by 3 devices"):
        train_on_cpu(tiny_recipe(), cells, tmp_path / "run", devices=3)
    with pytest.raises(LeukoscopeError, match="devices = 0"):
        train_on_cpu(tiny_recipe(), cells, tmp_path / "run", devices=0)


# Transfer


def test_transfer_keeps_and_freezes_what_it_says(tmp_path):
    options = {"network": {"name": "wbcsnet2", "options": {"width": 0.05}}}
    start = train_on_cpu(tiny_recipe(**options), make_cells(tmp_path / "first"), tmp_path / "start")
    few = make_cells(tmp_path / "second", counts={"a": 8, "b": 8}, seed=1, prefix="new")
    chosen = tiny_recipe(network={**options["network"], "start": str(start.folder), "frozen": ["unit1", "unit2"]})
    run = train_on_cpu(chosen, few, tmp_path / "run")
    before = read_weights(start.fold_folder(0) / "weights.safetensors")
    after = read_weights(run.fold_folder(0) / "weights.safetensors")
    alike = {name for name in after if after[name].shape == before[name].shape}
    same = {name for name in alike if torch.equal(after[name], before[name])}
    frozen = {name for name in after if name.startswith(("unit1.", "unit2."))}
    assert {name for name in frozen if "running_mean" in name} != set()
    assert same == frozen
    assert after["last.weight"].shape[0] == 2


def test_transferred_weights_are_those_of_the_run(tmp_path):
    start = train_on_cpu(tiny_recipe(), make_cells(tmp_path / "first"), tmp_path / "start")
    chosen = tiny_recipe(network={"name": "lenet5", "start": str(start.folder)}, training__learning_rate=1e-30)
    run = train_on_cpu(chosen, make_cells(tmp_path / "second", seed=1, prefix="new"), tmp_path / "run")
    before = read_weights(start.fold_folder(0) / "weights.safetensors")
    after = read_weights(run.fold_folder(0) / "weights.safetensors")
    assert {name for name in after if torch.equal(after[name], before[name])} \
        == {name for name in after if not name.startswith("last.")}


def test_cells_that_the_earlier_run_was_trained_on_are_not_tested(earlier, cells, tmp_path):
    chosen = tiny_recipe(network__start=str(earlier.folder), training__epochs=1)
    renamed = cells.with_columns(pl.format("other_{}", "cell_id").alias("cell_id"))
    with pytest.raises(LeakError, match=r"pairs of identical images between these cells and those that .* trained on"):
        train_on_cpu(chosen, renamed, tmp_path / "run")
    paper = tiny_recipe(network__start=str(earlier.folder), training__epochs=1, protocol="paper")
    run = train_on_cpu(paper, renamed, tmp_path / "run")
    assert {leak["kind"] for leak in json.loads((run.folder / "guard.json").read_text())["leaks"]} == {"identical"}


def test_a_start_that_framed_its_cells_otherwise_is_asked_with_its_own_frame(earlier, cells, tmp_path):
    renamed = cells.with_columns(pl.format("other_{}", "cell_id").alias("cell_id"))
    framed = tiny_recipe(network__start=str(earlier.folder), training__epochs=1, preprocess__frame="cell")
    with pytest.raises(LeakError, match=r"pairs of identical images between these cells and those that .* trained on"):
        train_on_cpu(framed, renamed, tmp_path / "run")


@pytest.mark.parametrize(("network", "size", "said"), [
    ({"keep": ["unit9"]}, 16, "network.keep: lenet5 has no unit 'unit9'; its units: unit1, unit2, hidden1"),
    ({"keep": ["unit1"], "frozen": ["unit2"]}, 16, "network.frozen: 'unit2' is not taken from network.start"),
    ({"frozen": ["unit1", "unit2", "hidden1", "hidden2", "last"]}, 16, "nothing is left to train"),
    ({}, 24, r"network.keep: the shape of hidden1.1.weight is .*size = 16\), but .*size = 24\)"),
    ({"name": "wbcsnet"}, 16, "is missing, or unlike that of"),
])
def test_a_transfer_that_does_not_fit_says_why(network, size, said, earlier, cells, tmp_path):
    chosen = tiny_recipe(network={"name": "lenet5", "start": str(earlier.folder), **network}, preprocess__size=size)
    with pytest.raises(RecipeError, match=said):
        train_on_cpu(chosen, cells, tmp_path / "run")


@pytest.mark.parametrize(("network", "size", "devices", "batch", "refused"), [
    ("resnet18", 32, 1, 1, True), ("resnet18", 32, 2, 2, True), ("resnet18", 32, 2, 4, False),
    ("resnet18", 64, 1, 1, False), ("googlenet", 32, 1, 1, True), ("efficientnet_b0", 32, 1, 1, True),
    ("lenet5", 32, 1, 1, False), ("wbcsnet2", 70, 1, 1, False)])
def test_a_batch_of_one_cell_is_refused_where_the_network_normalises_over_it(network, size, devices, batch, refused):
    from leukoscope.train.fold import Hardware
    from leukoscope.train.train import _check

    recipe = tiny_recipe(network__name=network, preprocess__size=size, training__batch_size=batch,
                         data__classes=["a", "b"])
    if not refused:
        _check(recipe, Hardware("cpu", devices))
        return
    with pytest.raises(RecipeError, match=rf"training.batch_size = {batch}.*: {network} normalises over the batch and "
                                          "needs 2"):
        _check(recipe, Hardware("cpu", devices))
