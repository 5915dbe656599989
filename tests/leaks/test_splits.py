"""Splits are complete, fair and repeatable; the guard names every leak; and a leak makes a score too good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leukoscope.auditing.measure import COLUMNS, measure
from leukoscope.errors import LeakError, ManifestError, RecipeError, RunError
from leukoscope.images.read import read_image
from leukoscope.leaks.duplicates import duplicate_pairs
from leukoscope.leaks.guard import check_leaks
from leukoscope.leaks.splits import make_splits, unit_numbers
from leukoscope.manifest import make_manifest
from leukoscope.recipes import Recipe, Split, make_recipe
from leukoscope.stats import paired_difference

PAIR = {"kind": "identical", "distance": 0.0}


def cells(labels: str, **columns: list[Any]) -> pl.DataFrame:
    """A manifest with one cell for each letter of `labels`."""
    ids = [f"c{i:03d}" for i in range(len(labels))]
    return make_manifest(pl.DataFrame({"cell_id": ids, "image": ids, "label": list(labels), **columns}))


def recipe(protocol: str = "paper", training: dict[str, Any] | None = None, **split: Any) -> Recipe:
    return make_recipe({"name": "r", "protocol": protocol, "network": {"name": "lenet5"}, "split": split,
                        "training": training or {}})


def table(*rows: tuple[str, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"cell_id": pl.String, "fold": pl.Int32, "part": pl.String}, orient="row")


@st.composite
def manifests(draw: st.DrawFn, mixed: bool = True) -> pl.DataFrame:
    """Cells of up to 30 units: subjects, groups or single cells; units have cells of one class unless `mixed`."""
    rows: list[dict[str, Any]] = []
    for unit in range(draw(st.integers(8, 24))):
        kind = draw(st.sampled_from(["subject", "group", "both", "none"]))
        label = draw(st.sampled_from("ab"))
        for _ in range(1 if kind == "none" else draw(st.integers(1, 4))):
            own = draw(st.sampled_from("ab")) if mixed else label
            rows.append({"cell_id": f"c{len(rows):03d}", "image": "i", "label": own,
                         "subject": f"s{unit}" if kind in ("subject", "both") else None,
                         "group": f"g{unit}" if kind in ("group", "both") else None})
    order = draw(st.permutations(range(len(rows))))
    return make_manifest([rows[i] for i in order])


def parts(splits: pl.DataFrame, manifest: pl.DataFrame) -> pl.DataFrame:
    return splits.join(manifest, on="cell_id").with_columns(pl.col("part").alias("in"))


@settings(max_examples=40, deadline=None)
@given(manifests(), st.integers(2, 4), st.sampled_from([0.0, 0.2]), st.integers(0, 5))
def test_folds_are_disjoint_complete_and_keep_units_whole(
        manifest: pl.DataFrame, folds: int, validation: float, seed: int) -> None:
    split = Split(folds=folds, validation=validation)
    try:
        splits = make_splits(manifest, split, seed=seed)
    except (RecipeError, ManifestError):
        held = manifest.with_columns(unit=unit_numbers(manifest)).group_by("label").agg(pl.col("unit").n_unique())
        if held.height == 2 and held["unit"].to_numpy().min() >= 2 * folds and validation == 0:
            raise
        return
    wanted = {"train", "test"} | ({"validation"} if validation else set())
    for fold in range(folds):
        one = splits.filter(pl.col("fold") == fold)
        assert sorted(one["cell_id"]) == sorted(manifest["cell_id"])
        assert set(one["part"]) == wanted
    tested = splits.filter(pl.col("part") == "test")["cell_id"]
    assert sorted(tested) == sorted(manifest["cell_id"])
    full = parts(splits, manifest.with_columns(unit=unit_numbers(manifest)))
    assert full.group_by("fold", "unit").agg(pl.col("part").n_unique())["part"].max() == 1
    assert full.group_by("fold", "part").agg(pl.col("label").n_unique())["label"].min() == manifest["label"].n_unique()
    assert not check_leaks(manifest, splits, recipe("clean", folds=folds)).leaks


@settings(max_examples=20, deadline=None)
@given(manifests(), st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_rows_does_not_matter(manifest: pl.DataFrame, random: Any, seed: int) -> None:
    order = list(range(manifest.height))
    random.shuffle(order)
    try:
        one = make_splits(manifest, Split(folds=3), seed=seed)
    except (RecipeError, ManifestError):
        return
    other = make_splits(manifest[order], Split(folds=3), seed=seed)
    assert other["cell_id"].head(manifest.height).to_list() == manifest[order]["cell_id"].to_list()
    assert one.sort("fold", "cell_id").equals(other.sort("fold", "cell_id"))


@settings(max_examples=40, deadline=None)
@given(manifests(mixed=False), st.integers(2, 4), st.integers(0, 3))
def test_a_class_is_at_most_one_unit_away_from_its_even_share(manifest: pl.DataFrame, folds: int, seed: int) -> None:
    try:
        splits = make_splits(manifest, Split(folds=folds, validation=0), seed=seed)
    except (RecipeError, ManifestError):
        return
    full = parts(splits, manifest.with_columns(unit=unit_numbers(manifest))).filter(pl.col("part") == "test")
    for (_,), own in full.group_by("label"):
        largest = own.group_by("unit").len()["len"].max()
        counts = own.group_by("fold").len()["len"].to_numpy()
        assert np.abs(counts - own.height / folds).max() <= largest


@settings(max_examples=40, deadline=None)
@given(st.text("abc", min_size=12, max_size=80), st.integers(2, 5), st.integers(0, 3))
def test_by_image_every_class_is_parted_to_the_cell(labels: str, folds: int, seed: int) -> None:
    manifest = cells(labels)
    if len(set(labels)) < 2 or min(labels.count(c) for c in set(labels)) < folds:
        with pytest.raises((RecipeError, ManifestError)):
            make_splits(manifest, Split(folds=folds, by="image", validation=0), seed=seed)
        return
    splits = make_splits(manifest, Split(folds=folds, by="image", validation=0), seed=seed)
    tests = parts(splits, manifest).filter(pl.col("part") == "test").group_by("fold", "label").len()
    for label in set(labels):
        counts = tests.filter(pl.col("label") == label)["len"]
        assert np.ptp(counts.to_numpy()) <= 1


def test_a_seed_repeats_and_another_differs() -> None:
    manifest = cells("ab" * 40)
    one, same, other = (make_splits(manifest, Split(folds=4), seed=s) for s in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_holdout_takes_the_shares_that_were_asked_for() -> None:
    manifest = cells("a" * 200 + "b" * 100)
    splits = parts(make_splits(manifest, Split(kind="holdout", test=0.2, validation=0.25), seed=0), manifest)
    counts = {key: n for *key, n in splits.group_by("part", "label").len().iter_rows() for key in [tuple(key)]}
    assert counts == {("test", "a"): 40, ("test", "b"): 20, ("validation", "a"): 40, ("validation", "b"): 20,
                      ("train", "a"): 120, ("train", "b"): 60}


def test_official_parts_are_kept_and_validation_is_carved_from_training() -> None:
    official = ["train"] * 40 + ["test"] * 10
    manifest = cells("ab" * 25, split=official)
    splits = make_splits(manifest, Split(kind="official", validation=0.25), seed=0)
    assert splits.filter(pl.col("part") == "test")["cell_id"].to_list() == manifest["cell_id"].to_list()[40:]
    assert splits["part"].value_counts().sort("part")["count"].to_list() == [10, 30, 10]
    given_validation = cells("ab" * 25, split=["train"] * 30 + ["validation"] * 10 + ["test"] * 10)
    kept = make_splits(given_validation, Split(kind="official"), seed=0)
    assert kept["part"].to_list() == given_validation["split"].to_list()


def test_units_join_subject_group_copies_and_pairs() -> None:
    manifest = make_manifest([
        {"cell_id": "a", "image": "i", "subject": "1"}, {"cell_id": "b", "image": "i", "subject": "1", "group": "g"},
        {"cell_id": "c", "image": "i", "group": "g"}, {"cell_id": "d", "image": "i"},
        {"cell_id": "e", "image": "i", "original": "d"}, {"cell_id": "f", "image": "i"},
        {"cell_id": "g", "image": "i", "original": "gone"}, {"cell_id": "h", "image": "i", "original": "gone"},
        {"cell_id": "1", "image": "i"}])
    pairs = pl.DataFrame([{"first": "d", "second": "f", **PAIR}, {"first": "f", "second": "not here", **PAIR}])
    units = dict(zip(manifest["cell_id"], unit_numbers(manifest, pairs=pairs).tolist(), strict=True))
    assert units == {"1": 0, "a": 1, "b": 1, "c": 1, "d": 2, "e": 2, "f": 2, "g": 3, "h": 3}
    assert len(set(unit_numbers(manifest, by="image", pairs=pairs).tolist())) == 9


@pytest.mark.parametrize(("manifest", "split", "says"), [
    (cells("aaab" * 2), Split(folds=3), "class 'b' has 2 cells in 2 units .* 3 parts need at least 3"),
    (cells("aaabbb", subject=["1", "2", "3", "4", "4", "4"]), Split(folds=2), "class 'b' has 3 cells in 1 units"),
    (cells("aabb"), Split(folds=2, validation=0.5), "split.validation = 0.5 .*fold 0 of 2.* class 'a' has 1 cells"),
    (cells("ab"), Split(folds=3), "split.folds = 3: there are 2 cells; use at most 2 folds"),
    (cells("aaaa"), Split(folds=2), "all 4 cells have the label 'a'"),
    (cells("ab").with_columns(label=pl.Series(["a", None])), Split(folds=2), "1 of 2 cells have no label .*'c001'"),
    (cells("abab"), Split(kind="holdout", test=0), "a hold-out needs a test part"),
    (cells("abab"), Split(kind="official"), "4 of 4 cells have no official part .*'c000' has None"),
    (cells("abab", split=["train", "train", "test", "exam"]), Split(kind="official"), "'c003' has 'exam'"),
    (cells("abab", split=["train", "train", "test", "train"]), Split(kind="official", validation=0),
     "the official test part has no cell of class 'b'"),
    (cells("abab")[:0], Split(), "no cells to split"),
])
def test_a_split_that_cannot_be_is_refused_in_one_line(manifest: pl.DataFrame, split: Split, says: str) -> None:
    with pytest.raises((RecipeError, ManifestError), match=says) as caught:
        make_splits(manifest, split, seed=0)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_the_five_class_cells_of_bccd_are_too_few_for_ten_folds(data_folder: Path) -> None:
    files = sorted((data_folder / "bccd5").glob("*/*.jpg"))
    manifest = make_manifest([{"cell_id": f.stem, "image": str(f), "label": f.parent.name} for f in files])
    with pytest.raises(RecipeError, match=r"split.folds = 10: class 'Basophil' has 3 cells in 3 units"):
        make_splits(manifest, Split(folds=10), seed=0)
    splits = make_splits(manifest, Split(folds=3), seed=0)
    assert parts(splits, manifest).filter(label="Basophil").group_by("fold", "part").len()["len"].to_list() == [1] * 9


@pytest.fixture(scope="module")
def official(data_folder: Path) -> pl.DataFrame:
    """The labelled training cells of C-NMC 2019 as a manifest with hashes; column fold: the official fold."""
    listed = pl.read_csv(data_folder / "cnmc/official_files.csv.gz", schema_overrides={"subject": pl.String})
    return make_manifest(listed.filter(pl.col("fold").is_not_null()).select(
        cell_id="path", image="path", label="label", subject=pl.col("subject").str.to_uppercase(), sha256="sha256",
        fold="fold"))


def test_cnmc_by_group_is_whole_and_even(official: pl.DataFrame) -> None:
    pairs = duplicate_pairs(official.select("cell_id", "sha256"))
    splits = make_splits(official, Split(folds=5), seed=0, pairs=pairs)
    assert not check_leaks(official, splits, recipe("clean", folds=5), pairs=pairs).leaks
    tests = parts(splits, official.drop("fold")).filter(pl.col("part") == "test")
    assert tests.group_by("fold").len()["len"].is_between(0.9 * 10_661 / 5, 1.15 * 10_661 / 5).all()
    rates = tests.group_by("fold").agg((pl.col("label") == "all").mean())["label"]
    assert np.abs(rates.to_numpy() - (official["label"] == "all").to_numpy().mean()).max() < 0.06


def test_the_official_folds_of_cnmc_leak_94_identical_pairs(official: pl.DataFrame) -> None:
    numbers = sorted(official["fold"].unique())
    splits = pl.concat([official.select(
        "cell_id", pl.lit(f, pl.Int32).alias("fold"),
        pl.when(pl.col("fold") == name).then(pl.lit("test")).otherwise(pl.lit("train")).alias("part"))
        for f, name in enumerate(numbers)])
    pairs = duplicate_pairs(official.select("cell_id", "sha256"))
    verdict = check_leaks(official.drop("fold"), splits, recipe(folds=len(numbers)), pairs=pairs)
    assert {leak.kind for leak in verdict.leaks} == {"identical"}
    assert sum(leak.count for leak in verdict.leaks) == 2 * 94  # each pair in the fold of either cell
    by_hash = check_leaks(official.drop("fold"), splits, recipe(folds=len(numbers)))
    assert [(leak.fold, leak.count) for leak in by_hash.leaks] == [(leak.fold, leak.count) for leak in verdict.leaks]


def test_a_subject_or_group_in_two_parts_is_named() -> None:
    manifest = cells("abab", subject=["1", "1", "2", "3"], group=[None, "g", None, "g"])
    splits = table(("c000", 0, "train"), ("c001", 0, "test"), ("c002", 0, "train"), ("c003", 0, "validation"))
    verdict = check_leaks(manifest, splits, recipe(kind="holdout"))
    assert [(leak.kind, leak.fold, leak.parts, leak.count, leak.examples) for leak in verdict.leaks] == [
        ("subject", 0, ("train", "test"), 1, ("'1' in train and test",)),
        ("group", 0, ("validation", "test"), 1, ("'g' in validation and test",))]
    assert verdict.leaks[0].text == "fold 0: 1 subjects in two parts ('1' in train and test)"


def test_duplicates_and_copies_across_parts_are_named_by_kind() -> None:
    manifest = cells("ababab", original=[None, "c000", None, None, None, None])
    splits = table(("c000", 0, "train"), ("c001", 0, "test"), ("c002", 0, "train"), ("c003", 0, "test"),
                   ("c004", 0, "test"), ("c005", 0, "test"))
    pairs = pl.DataFrame({"first": ["c002", "c002", "c000", "c003"], "second": ["c003", "c004", "c005", "c004"],
                          "kind": ["near", "augmented", "identical", "identical"], "distance": [0.01, 0.02, 0.0, 0.0]})
    verdict = check_leaks(manifest, splits, recipe(kind="holdout"), pairs=pairs)
    assert [(leak.kind, leak.count) for leak in verdict.leaks] == [
        ("identical", 1), ("near", 1), ("augmented", 1), ("copy", 1)]
    assert verdict.leaks[0].examples == ("'c000' (train) and 'c005' (test)",)
    assert verdict.leaks[3].examples == ("'c001' (test), original 'c000' (train)",)


def test_copies_of_an_original_that_is_not_there_belong_together() -> None:
    manifest = cells("ab", original=["x", "x"])
    verdict = check_leaks(manifest, table(("c000", 0, "train"), ("c001", 0, "test")), recipe(kind="holdout"))
    assert [leak.kind for leak in verdict.leaks] == ["copy"]


@pytest.mark.parametrize(("split", "training", "kind", "says"), [
    ({"fit_on": "all"}, {}, "fitted", "normalisation is fitted on all cells"),
    ({"select_on": "test"}, {}, "chosen", "chosen on the test part"),
    ({"validation": 0}, {"patience": 5}, "chosen", r"early stopping \(training.patience = 5\) could only use"),
    ({"validation": 0}, {"schedule": "plateau"}, "chosen", "learning rate .* could only use the test"),
])
def test_what_the_recipe_leaks_is_named(split: dict[str, Any], training: dict[str, Any], kind: str, says: str) -> None:
    manifest = cells("ab" * 12)
    chosen = recipe(folds=2, training=training, **split)
    verdict = check_leaks(manifest, make_splits(manifest, chosen.split, seed=0), chosen)
    assert [leak.kind for leak in verdict.leaks] == [kind]
    with pytest.raises(LeakError, match=says):
        type(verdict)("clean", verdict.checked, verdict.not_checked, verdict.leaks).enforce()


def test_clean_refuses_in_one_line_and_paper_only_names() -> None:
    manifest = cells("ab" * 30, subject=[str(i // 6) for i in range(60)])
    splits = make_splits(manifest, Split(folds=3, by="image"), seed=0)
    named = check_leaks(manifest, splits, recipe("paper", folds=3, by="image"))
    named.enforce()
    assert len(named.leaks) == 3
    assert "in 3 folds" in named.summary[0]
    refused = check_leaks(manifest, splits, recipe("clean", folds=3))
    with pytest.raises(LeakError) as caught:
        refused.enforce()
    said = str(caught.value)
    assert said.startswith("fold 0: 10 subjects in two parts ('0' in train")
    assert "split.by = 'group'" in said
    assert "\n" not in said
    assert check_leaks(manifest, make_splits(manifest, Split(folds=3), seed=0), recipe("clean", folds=3)).leaks == ()


def test_the_verdict_says_what_could_not_be_checked() -> None:
    manifest = cells("abab", subject=["1", None, None, None])
    splits = table(*((f"c00{i}", 0, part) for i, part in enumerate(("train", "test", "train", "test"))))
    verdict = check_leaks(manifest, splits, recipe(kind="holdout"))
    assert "subjects (known for 1 of 4 cells)" in verdict.checked
    assert any(line.startswith("groups") for line in verdict.not_checked)
    assert any("duplicate images" in line for line in verdict.not_checked)
    assert set(verdict.to_dict()) == {"protocol", "checked", "not_checked", "leaks", "summary"}


@pytest.mark.parametrize(("splits", "says"), [
    (table(("c000", 0, "train"), ("c001", 0, "test"), ("c002", 0, "train")), "fold 0 has 3 cells, the manifest 4"),
    (table(*((f"c00{i}", 0, "train") for i in (0, 1, 2, 2))), "cell 'c002' is in fold 0 more than once"),
    (table(*((f"c00{i}", 0, "train") for i in (0, 1, 2, 9))), "cell 'c009' is not in the manifest"),
    (table(*((f"c00{i}", 0, "exam") for i in range(4))), "has part 'exam'"),
    (table(), "the table is empty"),
    (table(*((f"c00{i}", 0, "train") for i in range(4))), "each cell must be tested exactly once"),
])
def test_a_table_that_is_no_split_is_refused(splits: pl.DataFrame, says: str) -> None:
    with pytest.raises(RunError, match=says):
        check_leaks(cells("abab"), splits, recipe(folds=2))


def copies_of(pixels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Two copies, as papers store them on disk before they split: turned, mirrored, a little brighter."""
    made = []
    for _ in range(2):
        height, width = pixels.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-180, 180)), 1)
        moved = cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
        made.append(np.clip(moved[:, ::rng.choice([-1, 1])] * rng.uniform(0.97, 1.03), 0, 255).astype(np.uint8))
    return made


def test_augmented_copies_across_parts_make_a_score_too_good(data_folder: Path) -> None:
    """On real cells: a nearest neighbour in colour and texture, the same copies, split by image and by original."""
    rng = np.random.default_rng(0)
    rows, features = [], []
    for file in sorted((data_folder / "pbc/PBC_dataset_normal_DIB").glob("[blmn]*/*.jpg"))[::24]:
        pixels = read_image(file)
        for number, copy in enumerate([pixels, *copies_of(pixels, rng)]):
            rows.append({"cell_id": f"{file.stem}-{number}", "image": str(file), "label": file.parent.name,
                         "original": f"{file.stem}-0" if number else None})
            features.append(measure(np.ascontiguousarray(copy)))
    manifest = make_manifest(rows)
    values = np.nan_to_num(np.array(features))[:, COLUMNS.index("sharpness"):]
    right: dict[str, np.ndarray] = {}
    for by in ("image", "group"):
        split = recipe("paper" if by == "image" else "clean", folds=4, by=by, validation=0)
        splits = make_splits(manifest, split.split, seed=0)
        verdict = check_leaks(manifest, splits, split)
        assert [leak.kind for leak in verdict.leaks] == (["copy"] * 4 if by == "image" else [])
        right[by] = guessed(values, manifest, splits)
    # The copies of a cell are not independent, so the interval of the paired difference is clustered by original.
    family = manifest.select(pl.coalesce("original", "cell_id"))["original"].to_numpy()
    gain = paired_difference(right["image"], right["group"], family).difference
    assert len(np.unique(family)) > 120
    assert gain.low is not None
    assert gain.low > 0.05, f"by image {right['image'].mean():.3f}, by original {right['group'].mean():.3f}"


def guessed(values: np.ndarray, manifest: pl.DataFrame, splits: pl.DataFrame) -> np.ndarray:
    labels = manifest["label"].to_numpy()
    right = np.zeros(len(labels), bool)
    for (_,), fold in splits.group_by("fold", maintain_order=True):
        test = (fold["part"] == "test").to_numpy()
        nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(1)).fit(values[~test], labels[~test])
        right[test] = nearest.predict(values[test]) == labels[test]
    return right
