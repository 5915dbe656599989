"""Evaluation of a predictions table: the matrices of the papers, scikit-learn, subjects, folds, the edges."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from leukoscope.errors import LeukoscopeError
from leukoscope.evaluation.evaluate import evaluate
from leukoscope.evaluation.results import Metrics

FIVE = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
ALMOTAIRI = [[1401, 10, 0, 0, 1], [13, 70, 0, 0, 0], [0, 0, 10, 0, 0], [0, 0, 0, 502, 15], [10, 0, 0, 13, 119]]
TWO = ("leukemic", "healthy")


def table(labels: Any, probabilities: np.ndarray, classes: tuple[str, ...], *, subjects: Any = None, groups: Any = None,
          folds: Any = None) -> pl.DataFrame:
    n = len(labels)
    return pl.DataFrame({
        "cell_id": [f"cell-{i:05d}" for i in range(n)],
        "subject": pl.Series(subjects if subjects is not None else [None] * n, dtype=pl.String),
        "group": pl.Series(groups if groups is not None else [None] * n, dtype=pl.String),
        "fold": folds if folds is not None else [0] * n,
        "label": [classes[k] for k in labels],
        "predicted": [classes[k] for k in probabilities.argmax(1)],
        **{f"p_{c}": probabilities[:, k] for k, c in enumerate(classes)},
    })


def from_matrix(matrix: Any, classes: tuple[str, ...]) -> pl.DataFrame:
    """A table with just this confusion matrix."""
    matrix = np.asarray(matrix)
    size = len(classes)
    labels, predicted = (np.repeat(side.ravel(), matrix.ravel()) for side in np.indices(matrix.shape))
    return table(labels, np.full((len(labels), size), 0.1 / size) + 0.9 * np.eye(size)[predicted], classes)


def random_table(n: int, classes: int, *, subjects: int = 0, seed: int = 0, skill: float = 1.5,
                 by_subject: bool = False) -> tuple[pl.DataFrame, tuple[str, ...], np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    names = tuple(f"class {k}" for k in range(classes))
    owner = generator.integers(max(subjects, 1), size=n)
    labels = owner % classes if by_subject else generator.integers(classes, size=n)
    logits = generator.normal(size=(n, classes)) + skill * np.eye(classes)[labels]
    logits += generator.normal(size=(max(subjects, 1), classes))[owner] * 1.2 if subjects else 0
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    owners = [f"s{s}" for s in owner] if subjects else None
    return table(labels, p, names, subjects=owners, folds=generator.integers(3, size=n)), names, labels, p


def every_estimate(metrics: Any) -> list[dict[str, Any]]:
    if isinstance(metrics, dict):
        if "low" in metrics and "value" in metrics:
            return [metrics]
        return [e for value in metrics.values() for e in every_estimate(value)]
    return [e for value in metrics for e in every_estimate(value)] if isinstance(metrics, list) else []


def check_bounds(metrics: dict[str, Any]) -> None:
    found = every_estimate(metrics)
    assert found
    for estimate in found:
        if estimate["low"] is not None:
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
        else:
            assert len(estimate["method"]) > 8, estimate  # it says why
    json.dumps(metrics, allow_nan=False)


def test_almotairi_matrix() -> None:
    """papers/almotairi2020.md: 2,102 of 2,164 cells (0.97135, there rounded up to 0.9714), mean recall 0.9289."""
    result = evaluate(from_matrix(ALMOTAIRI, FIVE), FIVE, rounds=200).to_dict()
    assert result["confusion"] == ALMOTAIRI
    assert result["cells"] == 2164
    overall = result["overall"]
    assert overall["accuracy"]["value"] == pytest.approx(0.9714, abs=1e-4)
    assert (overall["accuracy"]["count"], overall["accuracy"]["total"]) == (2102, 2164)
    assert round(overall["macro_sensitivity"]["value"], 4) == 0.9289
    assert overall["balanced_accuracy"] == overall["macro_sensitivity"]
    assert overall["weighted_sensitivity"]["value"] == pytest.approx(overall["accuracy"]["value"])
    basophil = result["per_class"]["basophil"]["sensitivity"]
    assert (basophil["value"], basophil["method"]) == (1.0, "wilson")
    assert basophil["low"] == pytest.approx(10 / (10 + 1.959964**2))
    assert overall["macro_sensitivity"]["low"] < 0.91  # ten basophils, all right, leave their doubt in the mean


# papers/shalini2022.md: true leukemic and true healthy of 130 each; all thirty figures of the table follow.
@pytest.mark.parametrize(("true", "rest", "printed"), [
    (125, 123, (95.3846, 96.1538, 94.6154, 94.697, 96.0938)),
    (124, 128, (96.9231, 95.3846, 98.4615, 98.4127, 95.5224)),
    (126, 127, (97.3077, 96.9231, 97.6923, 97.6744, 96.9466)),
    (130, 125, (98.0769, 100.0, 96.1538, 96.2963, 100.0)),
    (128, 129, (98.8462, 98.4615, 99.2308, 99.2248, 98.4733)),
    (130, 129, (99.6154, 100.0, 99.2308, 99.2366, 100.0)),
], ids=["GoogLeNet", "ResNet-101", "ResNet-152", "VGG-16", "VGG-19", "ResNet-50"])
def test_shalini_table(true: int, rest: int, printed: tuple[float, ...]) -> None:
    result = evaluate(from_matrix([[true, 130 - true], [130 - rest, rest]], TWO), TWO, positive="leukemic",
                      rounds=100).to_dict()
    own = result["per_class"]["leukemic"]
    ours = [result["overall"]["accuracy"], *(own[name] for name in ("sensitivity", "specificity", "ppv", "npv"))]
    assert [e["value"] * 100 for e in ours] == pytest.approx(printed, abs=5.1e-5)
    assert own["fpr"]["value"] == pytest.approx(1 - own["specificity"]["value"])
    assert own["fnr"]["value"] == pytest.approx(1 - own["sensitivity"]["value"])
    assert own["fnr"]["high"] == pytest.approx(1 - own["sensitivity"]["low"])


def test_noshad_tables_4_and_5() -> None:
    """C-NMC test part of 836 + 844 cells: 3 leukemic and 17 healthy cells wrong; ALL-IDB: all 22 right."""
    result = evaluate(from_matrix([[833, 3], [17, 827]], TWO), TWO, rounds=100).to_dict()
    leukemic, healthy, overall = result["per_class"]["leukemic"], result["per_class"]["healthy"], result["overall"]
    printed = {"sensitivity": (99.64, 97.98, 98.81), "specificity": (97.98, 99.64, 98.81),
               "ppv": (98.00, 99.63, 98.81), "f1": (98.81, 98.79, 98.80)}
    for name, values in printed.items():
        ours = (leukemic[name]["value"], healthy[name]["value"], overall[f"macro_{name}"]["value"])
        assert [100 * v for v in ours] == pytest.approx(values, abs=0.016)  # the paper cuts rather than rounds
    assert (overall["accuracy"]["low"], overall["accuracy"]["high"]) == pytest.approx((0.9817, 0.9923), abs=5e-5)
    perfect = evaluate(from_matrix([[9, 0], [0, 13]], TWO), TWO, rounds=400).to_dict()
    for estimate in (*perfect["overall"].values(), *perfect["per_class"]["leukemic"].values()):
        if isinstance(estimate, dict) and estimate["value"] == 1:
            assert estimate["high"] == 1
            assert estimate["low"] < 0.93  # 22 cells cannot say more, whatever the figure


@pytest.mark.parametrize("classes", [2, 4])
def test_figures_agree_with_scikit_learn(classes: int) -> None:
    frame, names, y, p = random_table(400, classes, seed=3)
    result = evaluate(frame, names, rounds=100).to_dict()
    predicted, overall = p.argmax(1), result["overall"]
    expected = {
        "accuracy": reference.accuracy_score(y, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(y, predicted),
        "macro_ppv": reference.precision_score(y, predicted, average="macro"),
        "weighted_ppv": reference.precision_score(y, predicted, average="weighted"),
        "macro_f1": reference.f1_score(y, predicted, average="macro"),
        "weighted_f1": reference.f1_score(y, predicted, average="weighted"),
        "kappa": reference.cohen_kappa_score(y, predicted),
        "mcc": reference.matthews_corrcoef(y, predicted),
        "log_loss": reference.log_loss(y, p),
        "macro_auc": np.mean([reference.roc_auc_score(y == k, p[:, k]) for k in range(classes)]),
    }
    assert {k: overall[k]["value"] for k in expected} == pytest.approx(expected)
    assert result["calibration"]["brier"]["value"] == pytest.approx(
        reference.brier_score_loss(y, p) if classes > 2 else reference.brier_score_loss(y, p[:, 1]))
    for k, name in enumerate(names):
        own = result["per_class"][name]
        assert own["auc"]["value"] == pytest.approx(reference.roc_auc_score(y == k, p[:, k]))
        assert own["average_precision"]["value"] == pytest.approx(reference.average_precision_score(y == k, p[:, k]))
        curve = result["curves"][name]
        assert reference.auc(curve["roc"]["fpr"], curve["roc"]["tpr"]) == pytest.approx(own["auc"]["value"], abs=2e-3)
        assert max(len(curve["roc"]["fpr"]), len(curve["pr"]["recall"])) <= 200
        assert (curve["roc"]["fpr"][0], curve["roc"]["tpr"][-1], curve["pr"]["recall"][-1]) == (0, 1, 1)
    check_bounds(result)


def test_roc_points_are_rates_at_their_thresholds() -> None:
    frame, names, y, p = random_table(3000, 2, seed=1)
    curve = evaluate(frame, names, rounds=100).to_dict()["curves"]["class 1"]["roc"]
    assert curve["thresholds"][0] is None
    for fpr, tpr, threshold in list(zip(curve["fpr"], curve["tpr"], curve["thresholds"], strict=True))[1:]:
        assert tpr == pytest.approx((p[y == 1, 1] >= threshold).mean())
        assert fpr == pytest.approx((p[y == 0, 1] >= threshold).mean())


def test_calibration_error_is_the_gap_of_equally_filled_bins() -> None:
    frame, names, y, p = random_table(150, 3, seed=2)
    calibration = evaluate(frame, names, rounds=300).to_dict()["calibration"]
    sure, right = np.sort(p.max(1)), (p.argmax(1) == y)[np.argsort(p.max(1))]
    bins = np.array_split(np.arange(150), 15)
    expected = sum(abs(right[b].mean() - sure[b].mean()) * len(b) for b in bins) / 150
    assert calibration["expected_calibration_error"]["value"] == pytest.approx(expected)
    assert [b["count"] for b in calibration["bins"]] == [10] * 15
    assert calibration["bins"][3]["accuracy"]["count"] == right[bins[3]].sum()
    assert calibration["bins"][3]["confidence"] == pytest.approx(sure[bins[3]].mean())


def test_probabilities_that_are_true_have_a_calibration_error_near_zero() -> None:
    generator = np.random.default_rng(0)
    p = generator.uniform(0, 1, 4000)
    frame = table((generator.random(4000) > p).astype(int), np.stack([p, 1 - p], 1), TWO)
    error = evaluate(frame, TWO, rounds=200).to_dict()["calibration"]["expected_calibration_error"]
    assert error["value"] < 0.03
    assert error["low"] < 0.01  # the bins' own noise makes the figure too large, and the interval knows


def test_subjects_widen_intervals_and_name_the_method() -> None:
    frame, names, *_ = random_table(1500, 3, subjects=25, seed=5)
    known = evaluate(frame, names, rounds=500).to_dict()
    unknown = evaluate(frame.with_columns(subject=pl.lit(None, pl.String)), names, rounds=500).to_dict()
    assert known["overall"]["accuracy"]["value"] == unknown["overall"]["accuracy"]["value"]
    width = [r["overall"]["accuracy"]["high"] - r["overall"]["accuracy"]["low"] for r in (known, unknown)]
    assert width[0] > 1.3 * width[1]
    assert known["overall"]["accuracy"]["method"] == "bootstrap by subject"
    assert unknown["overall"]["accuracy"]["method"] == "wilson"
    assert unknown["per_class"]["class 0"]["auc"]["method"] == "delong"
    assert (known["subjects"], unknown["subjects"]) == (25, None)
    assert known["calibration"]["bins"][0]["accuracy"]["method"] == "wilson by subject"
    check_bounds(known)
    check_bounds(unknown)


def test_a_cell_a_subject_is_as_no_subject() -> None:
    frame, names, *_ = random_table(120, 2, seed=6)
    alone = evaluate(frame.with_columns(subject=pl.col("cell_id")), names, rounds=200).to_dict()
    assert alone["overall"] == evaluate(frame, names, rounds=200).to_dict()["overall"]
    assert alone["subject_level"]["accuracy"]["count"] == alone["overall"]["accuracy"]["count"]


def test_groups_stand_in_for_subjects_and_join_them() -> None:
    frame, names, *_ = random_table(200, 2, subjects=20, seed=7)
    groups = frame.with_columns(group=pl.col("subject"), subject=pl.lit(None, pl.String))
    by_group = evaluate(groups, names, rounds=200).to_dict()
    by_subject = evaluate(frame, names, rounds=200).to_dict()
    assert by_group["overall"]["accuracy"]["method"] == "bootstrap by group"
    assert by_group["overall"]["accuracy"]["low"] == by_subject["overall"]["accuracy"]["low"]
    pairs = pl.concat_str(pl.lit("g"), (pl.col("subject").str.slice(1).cast(pl.Int32) // 10).cast(pl.String))
    joined = evaluate(frame.with_columns(group=pairs), names, rounds=200).to_dict()
    assert joined["overall"]["accuracy"]["method"] == "bootstrap by subject (few: 2)"  # 20 ids of two persons


def test_subject_level_takes_the_mean_of_a_subjects_cells() -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55], [0.45, 0.55], [0.9, 0.1]])
    frame = table([0, 0, 1, 1, 1, 1], p, TWO, subjects=["a", "a", "b", "c", "c", "c"])
    level = evaluate(frame, TWO, rounds=200).to_dict()["subject_level"]
    assert level["subjects"] == 3
    assert level["confusion"] == [[1, 0], [1, 1]]  # a: 0.65 right; b: 0.8 right; c: 0.4 wrong
    assert (level["accuracy"]["count"], level["accuracy"]["method"]) == (2, "wilson")
    assert level["per_class"]["leukemic"]["sensitivity"]["total"] == 1


def test_a_subject_with_two_labels_has_no_subject_level_and_says_so() -> None:
    frame, names, *_ = random_table(60, 2, subjects=4)
    result = evaluate(frame, names, rounds=100).to_dict()
    assert result["subject_level"] is None
    assert any("no subject level: subject 's0' has cells of several classes" in note for note in result["notes"])


def test_one_subject_gives_figures_without_intervals() -> None:
    frame, names, *_ = random_table(50, 2, subjects=1)
    result = evaluate(frame, names, rounds=100).to_dict()
    assert result["overall"]["accuracy"]["low"] is None
    assert result["overall"]["accuracy"]["method"] == "no interval: one subject only"
    assert all(e["low"] is None for e in every_estimate(result["overall"]))


def test_an_absent_class_is_left_out_and_named() -> None:
    frame, names, *_ = random_table(200, 3, seed=8)
    result = evaluate(frame.filter(pl.col("label") != "class 2"), names, rounds=200).to_dict()
    absent, overall = result["per_class"]["class 2"], result["overall"]
    assert absent["support"] == 0
    for name in ("sensitivity", "ppv", "npv", "f1", "fnr", "auc", "average_precision"):
        assert absent[name]["value"] is None
        assert "class 2" in absent[name]["method"]
    assert absent["specificity"]["total"] == result["cells"]  # how often it is called by mistake is still known
    present = [result["per_class"][c]["sensitivity"]["value"] for c in names[:2]]
    assert overall["macro_sensitivity"]["value"] == pytest.approx(np.mean(present))
    assert overall["macro_sensitivity"]["method"].endswith("mean over 2 of 3 classes")
    assert "class 2" not in result["curves"]
    assert any("'class 2' has no cell" in note for note in result["notes"])
    check_bounds(result)


def test_a_class_that_is_never_predicted_has_no_ppv() -> None:
    result = evaluate(from_matrix([[5, 0, 1], [2, 0, 3], [0, 0, 9]], FIVE[:3]), FIVE[:3], rounds=200).to_dict()
    assert result["per_class"]["eosinophil"]["ppv"]["method"] == "undefined: no cell was predicted as 'eosinophil'"
    assert result["per_class"]["eosinophil"]["f1"]["value"] == 0
    assert result["overall"]["macro_ppv"]["method"].endswith("mean over 2 of 3 classes")
    check_bounds(result)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_handful_of_cells_of_one_class(n: int) -> None:
    result = evaluate(from_matrix([[n, 0], [0, 0]], TWO), TWO, positive="leukemic", rounds=100).to_dict()
    assert result["per_class"]["leukemic"]["sensitivity"]["value"] == 1
    assert result["per_class"]["leukemic"]["auc"]["value"] is None
    assert result["overall"]["macro_auc"]["value"] is None
    assert result["overall"]["kappa"]["value"] is None
    check_bounds(result)


def test_three_cells_all_right_leave_their_doubt_in_the_mean() -> None:
    """bccd5 has three basophils: a mean over classes must not take their 3 of 3 for certain."""
    many = evaluate(from_matrix([[190, 10], [10, 190]], TWO), TWO, rounds=1000).to_dict()["overall"]
    few = evaluate(from_matrix([[190, 10, 0], [10, 190, 0], [0, 0, 3]], FIVE[:3]), FIVE[:3], rounds=1000).to_dict()
    three = few["overall"]["macro_sensitivity"]
    assert three["value"] - three["low"] > 3 * (many["macro_sensitivity"]["value"] - many["macro_sensitivity"]["low"])


@settings(deadline=None, max_examples=8)
@given(st.integers(2, 60), st.integers(2, 4), st.integers(0, 8), st.integers(0, 10_000), st.floats(0, 8))
def test_any_table_gives_bounds_that_hold_and_valid_json(n: int, classes: int, subjects: int, seed: int,
                                                         skill: float) -> None:
    frame, names, *_ = random_table(n, classes, subjects=subjects, seed=seed, skill=skill, by_subject=seed % 2 == 0)
    found = evaluate(frame, names, positive=names[0], validation=frame, rounds=100, seed=seed)
    result = found.to_dict()
    assert Metrics.from_dict(json.loads(json.dumps(result))) == found
    check_bounds(result)
    assert sum(map(sum, result["confusion"])) == n


def test_the_order_of_the_rows_does_not_matter_and_the_seed_repeats() -> None:
    frame, names, *_ = random_table(300, 3, subjects=12, seed=9)
    first = evaluate(frame, names, rounds=200, seed=4).to_dict()
    assert evaluate(frame.sample(fraction=1, shuffle=True, seed=1), names, rounds=200, seed=4).to_dict() == first
    assert evaluate(frame, names, rounds=200, seed=5).to_dict()["overall"]["accuracy"] != first["overall"]["accuracy"]


def test_folds_are_reported_one_by_one() -> None:
    frame, names, *_ = random_table(300, 2, seed=10)
    result = evaluate(frame, names, rounds=100).to_dict()
    assert result["folds"] == [0, 1, 2]
    assert [row["cells"] for row in result["per_fold"]] == frame.sort("fold").group_by(
        "fold", maintain_order=True).len()["len"].to_list()
    one = evaluate(frame.filter(pl.col("fold") == 1), names, rounds=100).to_dict()
    assert result["per_fold"][1]["accuracy"] == one["overall"]["accuracy"]


def test_the_operating_point_is_chosen_on_validation_fold_by_fold() -> None:
    generator = np.random.default_rng(0)
    scores = np.r_[generator.uniform(0.5, 1, 200), generator.uniform(0, 0.6, 200)]
    folds = np.tile([0, 1], 200)
    scores = np.where(folds == 1, scores / 2, scores)  # the second fold's network is less sure of everything
    labels = np.r_[np.zeros(200, dtype=int), np.ones(200, dtype=int)]
    validation = table(labels, np.stack([scores, 1 - scores], 1), TWO, folds=folds)
    fresh = np.r_[generator.uniform(0.5, 1, 200), generator.uniform(0, 0.6, 200)] / (1 + folds)
    test = table(labels, np.stack([fresh, 1 - fresh], 1), TWO, folds=folds)
    point = evaluate(test, TWO, positive="leukemic", validation=validation, rounds=100).to_dict()["operating_point"]
    assert (point["class"], point["chosen_on"], point["target_sensitivity"]) == ("leukemic", "validation", 0.99)
    for row in point["fold_thresholds"]:
        own = np.sort(scores[(labels == 0) & (folds == row["fold"])])
        assert row["threshold"] == own[1]  # 99 of 100 score this or more
    called = fresh >= np.array([row["threshold"] for row in point["fold_thresholds"]])[folds]
    assert point["sensitivity"]["count"] == called[labels == 0].sum()
    assert point["specificity"]["count"] == (~called)[labels == 1].sum()
    assert point["sensitivity"]["value"] > 0.97


def test_a_cell_may_be_validated_in_several_folds() -> None:
    """Under k-fold each fold draws its own validation part from what it does not test; the parts overlap."""
    labels = np.tile([0, 1], 50)
    scores = np.where(labels == 0, 0.8, 0.2) + np.linspace(-0.1, 0.1, 100)
    probabilities = np.stack([scores, 1 - scores], 1)
    test = table(labels, probabilities, TWO, folds=np.arange(100) // 50)
    once = table(labels, probabilities, TWO)
    parts = [once.head(60).with_columns(fold=pl.lit(1)), once.tail(60).with_columns(fold=pl.lit(0))]
    point = evaluate(test, TWO, positive=TWO[0], validation=pl.concat(parts),
                     rounds=100).to_dict()["operating_point"]
    assert [row["threshold"] for row in point["fold_thresholds"]] == [
        scores[40:][labels[40:] == 0].min(), scores[:60][labels[:60] == 0].min()]
    twice = pl.concat([*parts, parts[0].head(1)])
    with pytest.raises(LeukoscopeError, match=r"validation predictions of fold 1: cell_id '.*' .* rows 1 and 61"):
        evaluate(test, TWO, positive=TWO[0], validation=twice, rounds=100)


def test_without_validation_there_is_no_operating_point_and_the_notes_say_so() -> None:
    frame, names, *_ = random_table(60, 2)
    for validation, reason in ((None, "no validation predictions"), (frame.head(0), "no validation predictions"),
                               (frame.filter(pl.col("label") != "class 0"), "has no cell of class 'class 0'")):
        result = evaluate(frame, names, positive="class 0", validation=validation, rounds=100).to_dict()
        assert result["operating_point"] is None
        assert any(reason in note for note in result["notes"])
    assert evaluate(frame, names, rounds=100).to_dict()["operating_point"] is None


@pytest.mark.parametrize(("options", "text"), [
    ({"positive": "blast"}, "positive class 'blast' is not a class"), ({"rounds": 5}, "rounds is 5"),
    ({"confidence": 95.0}, "confidence is 95.0")])
def test_wrong_options_are_named(options: dict[str, Any], text: str) -> None:
    frame, names, *_ = random_table(20, 2)
    with pytest.raises(LeukoscopeError, match=text):
        evaluate(frame, names, **options)
