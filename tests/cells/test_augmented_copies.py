"""Changed copies: how many, whose, where they stand in the folds, and what they look like."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leukoscope.cells import CellBatches, pack_cells
from leukoscope.cells.augment import changed_pixels, geometry, sample_changes
from leukoscope.cells.augmented_copies import pack_copies, plan_copies, split_copies, with_copies
from leukoscope.errors import ManifestError, RecipeError, RunError
from leukoscope.leaks.guard import check_leaks
from leukoscope.leaks.splits import make_splits
from leukoscope.manifest import make_manifest, without_copies
from leukoscope.recipes import Augment, Preprocess, Recipe, Split, make_recipe
from leukoscope.runs.network import read_weights
from tiny import make_cells, tiny_recipe, train_on_cpu

KINDS = ("kfold", "holdout", "holdout-kfold")


def manifest(counts: dict[str, int], subjects: int = 0) -> pl.DataFrame:
    return make_manifest([{"cell_id": f"{label}{i}", "image": f"{label}{i}.png", "label": label,
                           "subject": f"{label}-{i % subjects}" if subjects else None}
                          for label, count in counts.items() for i in range(count)])


def recipe(split: Split, copies: dict[str, int]) -> Recipe:
    protocol = "clean" if split.by == "group" else "paper"
    return make_recipe({"name": "r", "protocol": protocol, "network": {"name": "lenet5"}, "split": split.model_dump(),
                        "augment": {"rotation": 30, "copies": copies}})


def planned(cells: pl.DataFrame, split: Split, copies: dict[str, int], seed: int = 0):
    splits = make_splits(cells, split, seed=seed)
    plan = plan_copies(cells, splits, copies, seed=seed)
    return splits, plan, split_copies(splits, plan, split, seed=seed)


@given(st.sampled_from(KINDS), st.sampled_from(["group", "image"]), st.integers(8, 20), st.integers(8, 20),
       st.integers(0, 60), st.integers(0, 99))
def test_what_holds_for_every_plan(kind, by, healthy, leukemic, wanted, seed):
    cells = manifest({"healthy": healthy, "leukemic": leukemic})
    split = Split(kind=kind, by=by, folds=3, test=0.25, validation=0.25)
    splits, plan, whole = planned(cells, split, {"healthy": wanted} if wanted else {}, seed)
    assert plan.height == max(0, wanted - healthy)
    assert plan["cell_id"].n_unique() == plan.height
    assert set(plan["label"]) <= {"healthy"}
    # As many copies of each cell, but for one.
    if plan.height:
        learned = splits.filter((pl.col("part") == "train") & pl.col("cell_id").str.starts_with("healthy"))
        givers = learned["cell_id"].n_unique()
        each = plan.group_by("original").len()["len"].to_list() + [0] * (givers - plan["original"].n_unique())
        assert max(each) - min(each) <= 1
    # Copies are never tested, and never stand in a fold that tests their original.
    parts = whole.join(plan.select("cell_id", "original"), on="cell_id").join(
        splits, left_on=["original", "fold"], right_on=["cell_id", "fold"], suffix="_original")
    assert (parts["part"] != "test").all()
    assert (parts["part_original"] != "test").all()
    if by == "group":
        assert (parts["part"] == "train").all()
        assert (parts["part_original"] == "train").all()
    # The originals stand where they stood, and the guard finds the splits whole.
    assert whole.filter(pl.col("cell_id").is_in(cells["cell_id"].implode())).equals(splits)
    chosen = recipe(split, {"healthy": wanted} if wanted else {})
    verdict = check_leaks(with_copies(cells, plan), whole, chosen)
    assert all(by == "image" for _ in verdict.leaks)


def test_the_guard_names_copies_that_are_validated_away_from_their_originals():
    cells = manifest({"healthy": 30, "leukemic": 30})
    split = Split(kind="holdout-kfold", by="image", folds=4, test=0.2)
    _, plan, whole = planned(cells, split, {"healthy": 90})
    verdict = check_leaks(with_copies(cells, plan), whole, recipe(split, {"healthy": 90}))
    assert {leak.kind for leak in verdict.leaks} >= {"copy"}


def test_papers_validate_each_copy_once():
    cells = manifest({"healthy": 30, "leukemic": 30})
    split = Split(kind="holdout-kfold", by="image", folds=4, test=0.2)
    splits, plan, whole = planned(cells, split, {"healthy": 91})
    own = whole.join(plan.select("cell_id"), on="cell_id", how="semi")
    assert own.filter(pl.col("part") == "validation").group_by("cell_id").len()["len"].to_list() == [1] * 61
    tested = splits.filter(pl.col("part") == "test")["cell_id"].unique()
    assert not plan["original"].is_in(tested.implode()).any()


def test_the_counts_of_the_paper():
    """108 photographs become 1,558, of which 22 are tested and 1,536 left, as section 2.2 and 3 say."""
    cells = manifest({"healthy": 59, "leukemic": 49})
    split = Split(kind="holdout-kfold", by="image", folds=4, test=0.2037)
    splits, plan, whole = planned(cells, split, {"healthy": 749, "leukemic": 809})
    counts = with_copies(cells, plan).group_by("label").len()
    assert dict(counts.iter_rows()) == {"healthy": 749, "leukemic": 809}
    first = whole.filter(pl.col("fold") == 0).group_by("part").len()
    assert dict(first.iter_rows()) == {"test": 22, "train": 1152, "validation": 384}  # 36 batches of 32: Table 3
    assert splits.filter(pl.col("fold") == 0)["part"].value_counts().sort("part").rows()[0] == ("test", 22)


def test_validation_shares_of_copies_under_other_splits_by_image():
    cells = manifest({"healthy": 40, "leukemic": 40})
    split = Split(kind="kfold", by="image", folds=4, validation=0.25)
    _, plan, whole = planned(cells, split, {"healthy": 240})
    own = whole.join(plan.select("cell_id"), on="cell_id", how="semi")
    share = own.group_by("fold").agg((pl.col("part") == "validation").mean())["part"]
    assert ((share - 0.25).abs() < 0.08).all()
    validated = own.filter(pl.col("part") == "validation").group_by("fold").agg("cell_id")["cell_id"].to_list()
    assert len({frozenset(ids) for ids in validated}) == 4


def test_the_plan_depends_on_the_seed_and_not_on_the_rows_order():
    cells = manifest({"healthy": 20, "leukemic": 20})
    split = Split(kind="holdout", test=0.25, validation=0.2)
    _, plan, whole = planned(cells, split, {"healthy": 35})
    _, turned, turned_whole = planned(cells.reverse(), split, {"healthy": 35})
    assert set(plan["cell_id"]) == set(turned["cell_id"])
    assert set(whole.rows()) == set(turned_whole.rows())
    _, other, _ = planned(cells, split, {"healthy": 35}, seed=1)
    assert set(plan["cell_id"]) != set(other["cell_id"])


def test_copies_carry_subject_and_group_or_the_id_of_their_cell():
    known = manifest({"healthy": 8, "leukemic": 8}, subjects=4)
    split = Split(kind="holdout", test=0.25, validation=0.0)
    _, plan, _ = planned(known, split, {"healthy": 12})
    whole = with_copies(known, plan)
    copies = whole.filter(pl.col("copy") > 0).join(known, left_on="original", right_on="cell_id", suffix="_original")
    assert copies["subject"].equals(copies["subject_original"], check_names=False)
    assert whole["group"].is_null().all()
    alone = manifest({"healthy": 8, "leukemic": 8})
    _, plan, _ = planned(alone, split, {"healthy": 12})
    whole = with_copies(alone, plan)
    copies = whole.filter(pl.col("copy") > 0)
    assert copies["group"].equals(copies["original"], check_names=False)
    assert whole.filter(pl.col("group").is_not_null() & (pl.col("copy") == 0))["cell_id"].to_list() \
        == whole.filter(pl.col("cell_id").is_in(copies["original"].implode()))["group"].to_list()


def test_a_label_that_no_cell_has_is_refused():
    cells = manifest({"healthy": 8, "leukemic": 8})
    with pytest.raises(RecipeError, match=r"augment\.copies: no cell has the label 'sick' .*healthy, leukemic"):
        planned(cells, Split(kind="holdout", test=0.25, validation=0.0), {"sick": 12})


def test_pixels_are_those_of_the_originals_and_of_their_changes(tmp_path: Path):
    cells = make_cells(tmp_path / "images", counts={"a": 5, "b": 5}, size=24)
    packed = pack_cells(cells, Preprocess(size=20), cache=tmp_path / "cache")
    split, augment = Split(kind="holdout", test=0.2, validation=0.0), Augment(rotation=30, flip_horizontal=True)
    _, plan, _ = planned(cells, split, {"a": 11})
    whole = pack_copies(packed, plan, augment, seed=3)
    assert whole.cell_ids == (*packed.cell_ids, *plan["cell_id"])
    assert np.array_equal(whole.pixels[:10], packed.pixels)
    for place, (original, turn) in enumerate(plan.select("original", "copy").iter_rows(), start=10):
        row = packed.cell_ids.index(original)
        changes = sample_changes(augment, seed=3, epoch=0, cells=np.array([row + (turn << 40)]), size=20)
        assert np.array_equal(whole.pixels[place], changed_pixels(packed.pixels[row:row + 1], changes)[0])
        assert not np.array_equal(whole.pixels[place], packed.pixels[row])
    again = pack_copies(packed, plan, augment, seed=3)
    assert again.path == whole.path
    assert pack_copies(packed, plan, augment, seed=4).path != whole.path
    assert pack_copies(packed, plan.clear(), augment, seed=3) is packed


@pytest.mark.parametrize("by", ["group", "image"])
def test_a_run_with_copies_goes_on_to_the_same_numbers(tmp_path: Path, monkeypatch, by: str):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "images", counts={"a": 16, "b": 12}, size=24)
    chosen = tiny_recipe(
        protocol="clean" if by == "group" else "paper", preprocess={"size": 20, "input": "edges", "normalise": "image"},
        pca={"components": 4}, augment={"rotation": 30, "copies": {"a": 14, "b": 20}},
        split={"kind": "holdout-kfold", "test": 0.25, "folds": 2, "by": by}, training__epochs=1)
    whole = train_on_cpu(chosen, cells, tmp_path / "run")
    assert whole.manifest.group_by("label").len().sort("label").rows() == [("a", 14), ("b", 20)]
    assert whole.manifest["original"].is_not_null().sum() == 8
    assert whole.validation is not None
    kept = whole.predictions, whole.validation, read_weights(whole.fold_folder(1) / "weights.safetensors")
    (whole.folder / "metrics.json").unlink()
    shutil.rmtree(whole.fold_folder(1))
    again = train_on_cpu(chosen, cells, tmp_path / "run", resume=True)
    weights = read_weights(again.fold_folder(1) / "weights.safetensors")
    assert again.predictions.equals(kept[0])
    assert again.validation is not None
    assert again.validation.equals(kept[1])
    assert all(torch.equal(weights[name], value) for name, value in kept[2].items())
    with pytest.raises(RunError, match=r"started with augment\.copies"):
        train_on_cpu(chosen.model_copy(update={"augment": Augment(rotation=30, copies={"a": 14, "b": 21})}), cells,
                     tmp_path / "run", resume=True)


def test_an_id_that_looks_like_a_copys_is_refused():
    cells = make_manifest([*manifest({"healthy": 8, "leukemic": 8}).rows(named=True),
                           {"cell_id": "healthy0~1", "image": "x.png", "label": "leukemic"}])
    with pytest.raises(ManifestError, match=r"cell 'healthy0~1' has the name of a copy of 'healthy0'; rename it"):
        planned(cells, Split(kind="holdout", test=0.25, validation=0.0), {"healthy": 80})


def test_copies_of_a_run_are_refused_as_cells_of_another():
    cells = manifest({"healthy": 8, "leukemic": 8})
    _, plan, _ = planned(cells, Split(kind="holdout", test=0.25, validation=0.0), {"healthy": 12})
    whole = with_copies(cells, plan)
    with pytest.raises(ManifestError, match=r"cell 'healthy\d~1' is a copy that a run made of 'healthy\d'"):
        without_copies(whole)
    assert without_copies(whole.filter(pl.col("copy") == 0)).columns == cells.columns
    assert without_copies(cells.with_columns(copy=pl.lit("second print"))).columns == cells.columns
    assert without_copies(cells) is cells


def test_cells_that_are_changed_anew_are_as_few_as_with_copies(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "images", counts={"a": 16, "b": 12}, size=24)
    made = [train_on_cpu(
        tiny_recipe(preprocess={"size": 20, "input": source}, pca={"components": 3}, training__epochs=1,
                    augment={"rotation": 30, "copies": {"a": 12, "b": 20}, "anew": anew}),
        cells, tmp_path / f"{source}{anew}") for source in ("edges", "grey") for anew in (False, True)]
    originals = made[0].manifest.filter(pl.col("copy") == 0)["cell_id"].to_list()
    for number, run in enumerate(made):
        anew = number % 2 == 1
        assert run.manifest.filter(~pl.col("cell_id").str.contains("~"))["cell_id"].to_list() == originals
        assert run.manifest.height == (24 if anew else 32)
        assert run.predictions["cell_id"].to_list() == made[0].predictions["cell_id"].to_list()
        assert 0 < run.fold(0)["mean"][0] < 1  # of the levels, in [0, 1]


def test_an_epoch_shows_as_many_as_with_copies_and_none_of_them_alike(tmp_path: Path, monkeypatch):
    """`anew`: the training cells of each class come so often that they make up its number, never twice the same."""
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "images", counts={"a": 16, "b": 12}, size=24)
    shown = []
    inside = CellBatches.__iter__

    def watch(self: CellBatches):
        for batch in inside(self):
            if self.shuffle:
                shown.append(batch)
            yield batch

    monkeypatch.setattr(CellBatches, "__iter__", watch)
    chosen = tiny_recipe(preprocess={"size": 20}, training__epochs=1,
                         augment={"rotation": 30, "copies": {"a": 30, "b": 40}, "anew": True})
    run = train_on_cpu(chosen, cells, tmp_path / "run")
    learned = run.part(0, "train")
    rows = torch.cat([batch.rows for batch in shown]).tolist()
    labels = [run.manifest["label"][row] for row in rows]
    left = {label: run.manifest.filter((pl.col("label") == label) & ~pl.col("cell_id").is_in(learned.implode())).height
            for label in ("a", "b")}
    assert {label: labels.count(label) + left[label] for label in ("a", "b")} == {"a": 30, "b": 40}
    assert {run.manifest["cell_id"][row] for row in rows} == set(learned)
    images = torch.cat([batch.images for batch in shown]).flatten(1)
    assert len(torch.unique(images, dim=0)) == len(rows)


def test_before_the_split_copies_are_parted_as_cells_of_their_own():
    """108 fields brought to 1,235 a class, 260 of them tested: nearly all are copies of fields that are trained on."""
    cells = manifest({"healthy": 59, "leukemic": 49})
    plan = plan_copies(cells, None, {"healthy": 1235, "leukemic": 1235}, seed=0)
    assert set(plan["original"]) == set(cells["cell_id"])
    whole = with_copies(cells, plan)
    split = Split(kind="holdout", by="image", copies="before", test=0.10527, validation=0.1)
    splits = make_splits(whole, split, seed=0)
    tested = whole.filter(pl.col("cell_id").is_in(splits.filter(pl.col("part") == "test")["cell_id"].implode()))
    assert dict(tested.group_by("label").len().iter_rows()) == {"healthy": 130, "leukemic": 130}
    learned = whole.filter(pl.col("cell_id").is_in(splits.filter(pl.col("part") == "train")["cell_id"].implode()))
    known = set(learned["original"].fill_null(learned["cell_id"]))
    assert sum(origin in known for origin in tested["original"].fill_null(tested["cell_id"])) >= 255
    verdict = check_leaks(whole, splits, make_recipe({
        "name": "r", "protocol": "paper", "network": {"name": "lenet5"}, "split": split.model_dump(),
        "augment": {"rotation": 30, "copies": {"healthy": 1235, "leukemic": 1235}}}))
    assert "copy" in {leak.kind for leak in verdict.leaks}


def test_copies_before_the_split_are_refused_under_the_clean_protocol():
    with pytest.raises(RecipeError, match=r"split\.copies = 'before': a leak, which protocol = 'clean' does not allow"):
        make_recipe({"name": "r", "network": {"name": "lenet5"}, "split": {"copies": "before"},
                     "augment": {"rotation": 9, "copies": {"a": 9}}})


@pytest.mark.parametrize("augment", [{}, {"rotation": 9, "copies": {"a": 9}, "anew": True}])
def test_copies_before_the_split_need_copies(augment):
    with pytest.raises(RecipeError, match=r"split\.copies = 'before': there are no copies to split; set"):
        make_recipe({"name": "r", "protocol": "paper", "network": {"name": "lenet5"}, "augment": augment,
                     "split": {"copies": "before", "by": "image"}})


def test_a_run_whose_copies_are_tested_goes_on_and_names_what_was_done_to_each(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "images", counts={"a": 16, "b": 12}, size=24)
    chosen = tiny_recipe(
        protocol="paper", preprocess={"size": 20}, training__epochs=1,
        augment={"rotation": 30, "zoom": 0.2, "copies": {"a": 24, "b": 24}},
        split={"kind": "holdout", "test": 0.3, "validation": 0.2, "by": "image", "copies": "before"})
    run = train_on_cpu(chosen, cells, tmp_path / "run")
    copies = run.manifest.filter(pl.col("copy") > 0)
    assert run.predictions["cell_id"].is_in(copies["cell_id"].implode()).any()
    first = run.predictions
    (run.folder / "metrics.json").unlink()
    shutil.rmtree(run.fold_folder(0))
    assert train_on_cpu(chosen, cells, tmp_path / "run", resume=True).predictions.equals(first)
    done = pl.read_csv(run.folder / "copies.csv")
    assert done["cell_id"].to_list() == copies["cell_id"].to_list()
    assert done["original"].to_list() == copies["original"].to_list()
    assert done["rotation"].abs().max() <= 30  # type: ignore[operator]  # polars: any literal
    assert done["zoom"].is_between(0.8, 1.2).all()
    assert (done["shear"] == 0).all()
    # The parameters alone give the pixels.
    row = done.row(0, named=True)
    packed = pack_cells(cells, chosen.preprocess)
    original = packed.cell_ids.index(row["original"])
    matrices = geometry(20, **{name: np.array([row[name]]) for name in (
        "rotation", "shear", "shift_x", "shift_y", "zoom", "flip_horizontal", "flip_vertical")})
    unchanged = sample_changes(None, seed=0, epoch=0, cells=np.array([0]), size=20)
    again = changed_pixels(packed.pixels[original:original + 1], replace(unchanged, matrices=matrices, moves=True))
    kept = pack_copies(packed, copies, chosen.augment, seed=chosen.seed)
    assert np.array_equal(again[0], kept.pixels[28])
