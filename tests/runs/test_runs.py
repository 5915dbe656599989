"""The run folder, opened: what it gives back, what is refused; and prediction with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from leukoscope.cells import pack_cells
from leukoscope.commands.evaluate import evaluate_run
from leukoscope.datasets.left_out import LeftOut
from leukoscope.errors import LeakError, LeukoscopeError, ManifestError, RunError
from leukoscope.evaluation.operating_point import choose_threshold
from leukoscope.finder.frame import FRAMING
from leukoscope.predict.inside import feature_maps
from leukoscope.predict.run import predict_cells, predict_run
from leukoscope.runs.network import load_network
from leukoscope.runs.run import Run
from tiny import make_cells, tiny_recipe, train_on_cpu


@pytest.fixture(scope="module")
def run(cells, tmp_path_factory) -> Run:
    recipe = tiny_recipe(split={"kind": "kfold", "folds": 2, "validation": 0.25}, preprocess={"size": 16, "crop": 18},
                         data={"merge": {"a": "A"}}, training__epochs=2)
    return train_on_cpu(recipe, cells, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "copy"))


def test_a_run_gives_back_what_was_trained(run, cells):
    again = Run(run.folder)
    assert again.recipe == run.recipe
    assert again.classes == ("A", "b", "c")
    assert again.manifest["cell_id"].to_list() == cells["cell_id"].to_list()
    assert again.manifest["image"].to_list() == cells["image"].to_list()
    assert (again.all_folds, again.folds, again.finished) == ((0, 1), (0, 1), True)
    parts = pl.concat([again.part(0, part) for part in ("train", "validation", "test")])
    assert sorted(parts) == sorted(cells["cell_id"])


def test_the_loaded_network_predicts_what_the_run_predicted(run):
    packed = pack_cells(run.manifest, run.recipe.preprocess)
    for fold in run.folds:
        module, stages = load_network(run, fold)
        assert not module.training
        expected = run.predictions.filter(pl.col("fold") == fold)
        rows = np.array([packed.cell_ids.index(cell) for cell in expected["cell_id"]])
        got = predict_cells(module, packed, rows, stages, batch_size=5)
        np.testing.assert_allclose(got, expected.select(pl.selectors.starts_with("p_")).to_numpy(), rtol=0, atol=1e-6)


def test_loading_draws_no_random_numbers(run):
    state = torch.get_rng_state()
    load_network(run, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_cells_from_elsewhere_get_the_mean_of_the_folds(run, tmp_path):
    other = make_cells(tmp_path / "other", seed=1, prefix="other", counts={"a": 5, "b": 4, "c": 3}, size=30)
    result = predict_run(run, other)
    packed = pack_cells(other, run.recipe.preprocess)
    each = [predict_cells(*_first(run, fold, packed), batch_size=3) for fold in run.folds]
    got = result.predictions.select("p_A", "p_b", "p_c").to_numpy()
    np.testing.assert_allclose(got, np.mean(each, axis=0), rtol=0, atol=1e-6)
    assert result.predictions["label"].to_list() == ["A"] * 5 + ["b"] * 4 + ["c"] * 3
    assert result.predictions["fold"].unique().to_list() == [0]
    assert result.verdict.leaks == ()
    assert result.left_out == LeftOut(trained=0)


def _first(run: Run, fold: int, packed):
    module, stages = load_network(run, fold)
    return module, packed, np.arange(len(packed.cell_ids)), stages


def test_cells_that_were_trained_on_are_refused_under_any_name(run, cells, tmp_path):
    shutil.copy(cells["image"][0], tmp_path / "renamed.png")
    Image.open(cells["image"][20]).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    other = make_cells(tmp_path / "other", seed=1, prefix="other")
    for number, (name, kind) in enumerate([("renamed", "identical"), ("mirrored", "turned or mirrored")]):
        row = pl.col("cell_id") == f"othera00{number}"
        sneaked = other.with_columns(pl.when(row).then(pl.lit(str(tmp_path / f"{name}.png"))).otherwise("image")
                                     .alias("image"))
        with pytest.raises(LeakError, match=f"{kind}.*'othera00{number}' is '(a000|b008)' of that run"):
            predict_run(run, sneaked)


def test_an_evaluation_elsewhere_chooses_its_threshold_on_all_folds_and_spares_the_run(copy, tmp_path):
    recipe = copy / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('positive = ""', 'positive = "b"'))
    other = make_cells(tmp_path / "other", seed=1, prefix="other")
    outcome = evaluate_run(copy, other, tmp_path / "out")
    seen = Run(copy).validation
    assert seen is not None
    mean = seen.group_by("cell_id").agg(pl.first("label"), pl.mean("p_b"))
    threshold = choose_threshold((mean["label"] == "b").to_numpy(), mean["p_b"].to_numpy())
    assert outcome.metrics["operating_point"]["threshold"] == pytest.approx(threshold)
    assert seen["fold"].n_unique() == 2
    predictions = (copy / "predictions.parquet").read_bytes()
    with pytest.raises(RunError, match="holds a run, which an evaluation would overwrite; name another folder"):
        evaluate_run(copy, other, copy)
    assert (copy / "predictions.parquet").read_bytes() == predictions
    with pytest.raises(ManifestError, match="no labels"):
        evaluate_run(copy, other.with_columns(label=pl.lit(None, pl.String)), tmp_path / "unlabelled")
    assert not (tmp_path / "unlabelled").exists()


def test_cells_that_the_start_was_trained_on_are_refused_too(run, cells, tmp_path):
    other = make_cells(tmp_path / "other", seed=1, prefix="other", strength=0.3)
    recipe = tiny_recipe(preprocess={"size": 16, "crop": 18}, training__epochs=1, data={"merge": {"a": "A"}},
                         network={"name": "lenet5", "start": str(run.folder)})
    transferred = train_on_cpu(recipe, other, tmp_path / "transferred")
    trained = cells.filter(pl.col("cell_id").is_in(run.part(0, "train")))
    with pytest.raises(LeakError, match=f"cells and those that {run.folder} was trained on"):
        predict_run(transferred, trained)
    tested = cells.filter(pl.col("cell_id").is_in(run.part(0, "test")))
    assert predict_run(transferred, tested).verdict.leaks == ()
    path = transferred.folder / "recipe.toml"
    path.write_text(path.read_text().replace(str(run.folder), str(tmp_path / "moved")))
    verdict = predict_run(Run(transferred.folder), trained).verdict
    assert [why for why in verdict.not_checked if "its start was trained on" in why and "moved" in why]


def test_labels_the_run_does_not_know_are_counted_or_refused(run, tmp_path):
    other = make_cells(tmp_path / "other", seed=1, prefix="other", counts={"a": 4, "b": 4, "c": 4})
    some = other.with_columns(label=pl.Series([None, "", "x", "a"] + ["b"] * 4 + ["y"] * 4))
    result = predict_run(run, some)
    assert result.manifest["label"].to_list() == ["A"] + ["b"] * 4
    assert (result.left_out.other_labels, result.left_out.unlabelled) == ({"x": 1, "y": 4}, 2)
    with pytest.raises(ManifestError, match=r"no cell has a label that the run knows \(A, b, c\); labels there: z"):
        predict_run(run, other.with_columns(label=pl.lit("z")))
    unlabelled = predict_run(run, other.with_columns(label=pl.lit(None, pl.String)))
    assert unlabelled.predictions["label"].is_null().all()
    assert unlabelled.predictions.height == 12


def test_feature_maps_are_those_of_the_network_on_the_prepared_cell(run, cells):
    pixels = np.asarray(Image.open(cells["image"][7]))
    maps = feature_maps(run, 1, pixels)
    assert {unit: values.shape for unit, values in maps.items()} == {"unit1": (6, 6, 6), "unit2": (16, 1, 1)}
    packed = pack_cells(run.manifest, run.recipe.preprocess)
    module, stages = load_network(run, 1)
    scaled = (packed.pixels[7] / 255 - stages.mean) / stages.std
    image = torch.from_numpy(scaled.astype(np.float32)).movedim(-1, 0)[None]
    with torch.inference_mode():
        np.testing.assert_allclose(maps["unit1"], module.get_submodule("unit1")(image)[0], rtol=1e-4, atol=1e-5)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        Run(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"it has no recipe\.toml"):
        Run(tmp_path)


def test_an_unfinished_run_is_named_with_how_to_finish_it(copy, cells):
    (copy / "metrics.json").unlink()
    (copy / "folds" / "1" / "fold.json").unlink()
    with pytest.raises(RunError, match=r"not finished \(1 of 2 folds are done\); finish it with: .* --resume"):
        predict_run(Run(copy), cells)
    with pytest.raises(RunError, match="fold 1 is not finished"):
        load_network(Run(copy), 1)
    with pytest.raises(RunError, match="no fold 5; it has folds 0 to 1"):
        load_network(Run(copy), 5)


def read_everything(folder: Path) -> None:
    run = Run(folder)
    assert run.predictions.height == run.manifest.height
    load_network(run, 0)


@pytest.mark.parametrize("name", ["folds/0/weights.safetensors", "folds/0/fold.json", "splits.parquet", "recipe.toml",
                                  "manifest.parquet", "predictions.parquet"])
@pytest.mark.parametrize("damage", [b"", b"\x00\xff garbage"])
def test_damaged_files_of_a_run_are_named(name, damage, copy):
    (copy / name).write_bytes(damage)
    with pytest.raises(LeukoscopeError, match=Path(name).name.replace(".", r"\.")):
        read_everything(copy)


def test_weights_of_another_recipe_are_named(copy):
    recipe = copy / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("size = 16", "size = 20"))
    with pytest.raises(RunError, match=r"hidden1\.1\.weight is \(120, 16\), but the network .* expects \(120, 64\)"):
        load_network(Run(copy), 0)


def test_a_run_whose_cells_were_framed_otherwise_is_refused(copy):
    """Else its network would be shown what it was not trained on, and nobody would know."""
    recipe, fold = copy / "recipe.toml", copy / "folds" / "0" / "fold.json"
    recipe.write_text(recipe.read_text().replace('frame = "image"', 'frame = "light"'))
    facts = json.loads(fold.read_text())
    assert facts["framing"] is None
    for told, good in ((FRAMING, True), (FRAMING - 1, False), (None, False)):
        fold.write_text(json.dumps(facts | {"framing": told}))
        if good:
            load_network(Run(copy), 0)
            continue
        with pytest.raises(RunError, match="fold 0 was trained on cells that another version framed differently"):
            load_network(Run(copy), 0)


def test_a_run_without_fingerprints_says_what_was_not_checked(copy, tmp_path):
    (copy / "fingerprints.parquet").unlink()
    result = predict_run(Run(copy), make_cells(tmp_path / "other", seed=1, prefix="other"))
    assert "keeps no fingerprints" in json.dumps(result.verdict.to_dict())
