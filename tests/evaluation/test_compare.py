"""Comparing runs: what is tested, with which test, what is refused, and what the paper's own figures can show."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command import leukoscope, refusal
from leukoscope.commands.compare import compare_runs
from leukoscope.commands.evaluate import evaluate_run
from leukoscope.commands.train import run_experiment
from leukoscope.errors import RunError
from leukoscope.evaluation.compare import Kind, answer, compare
from leukoscope.evaluation.compare_runs import read_kinds
from leukoscope.evaluation.costs import pareto
from leukoscope.evaluation.evaluate import evaluate
from leukoscope.evaluation.ranking import mean_curve
from leukoscope.evaluation.results import Compared, Curves
from leukoscope.evaluation.table import read_cells
from leukoscope.figures.compare import cliques
from leukoscope.manifest import make_manifest, write_manifest
from leukoscope.papers.shalini2022_tables import (
    MATRICES,
    OWN,
    least_p,
    published_figures,
    published_rates,
    told_apart,
    what_the_paper_shows,
)
from leukoscope.stats import delong_test, holm, mcnemar, paired_difference, repeated_difference, wilson
from tiny import make_cells, tiny_recipe, train_on_cpu

PRINTED = {  # Table 2 of Shalini and Angel Viji 2022: accuracy, sensitivity, specificity, PPV, NPV
    "googlenet": (95.3846, 96.1538, 94.6154, 94.697, 96.0938),
    "resnet101": (96.9231, 95.3846, 98.4615, 98.4127, 95.5224),
    "resnet152": (97.3077, 96.9231, 97.6923, 97.6744, 96.9466), "vgg16": (98.0769, 100, 96.1538, 96.2963, 100),
    "vgg19": (98.8462, 98.4615, 99.2308, 99.2248, 98.4733), "resnet50": (99.6154, 100, 99.2308, 99.2366, 100)}


def table(right: np.ndarray, labels: np.ndarray, *, subjects: np.ndarray | None = None, seed: int = 0,
          classes: tuple[str, ...] = ("healthy", "leukemic"), folds: int = 1) -> pl.DataFrame:
    """Predictions that are right where `right` says so, with probabilities that rank them in between."""
    rng = np.random.default_rng(seed)
    said = np.where(right, labels, (labels + 1) % len(classes))
    share = rng.uniform(0.55, 0.99, labels.size)
    p = np.full((labels.size, len(classes)), ((1 - share) / (len(classes) - 1))[:, None].repeat(len(classes), 1)) \
        if len(classes) > 1 else share[:, None]
    p[np.arange(labels.size), said] = share
    return pl.DataFrame({
        "cell_id": [f"c{i:05d}" for i in range(labels.size)],
        "subject": pl.Series([None if subjects is None else f"s{subjects[i]}" for i in range(labels.size)],
                             dtype=pl.String),
        "group": pl.Series([None] * labels.size, dtype=pl.String), "fold": np.arange(labels.size) % folds,
        "label": [classes[i] for i in labels], "predicted": [classes[i] for i in said],
        **{f"p_{name}": p[:, i] for i, name in enumerate(classes)}})


def kind(name: str, *tables: pl.DataFrame, positive: str = "leukemic") -> Kind:
    classes = sorted(tables[0]["label"].unique())
    return Kind(name, tuple(read_cells(one, classes) for one in tables),
                tuple(evaluate(one, classes, positive=positive, rounds=200) for one in tables),
                tuple((0, repeat) for repeat in range(len(tables))))


def compared(kinds: Sequence[Kind], **options: Any) -> dict[str, Any]:
    """What compare.json holds of them; it reads back as the same."""
    found = compare(kinds, **options)
    assert Compared.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    return found.to_dict()


def published(name: str, shift: int = 0) -> pl.DataFrame:
    """130 leukemic and 130 healthy images, judged as a network of the paper; which ones are wrong starts at `shift`."""
    found, missed, healthy, false = MATRICES[name]
    labels = np.repeat([1, 0], [found + missed, healthy + false])
    right = np.ones(260, bool)
    right[(np.arange(missed) + shift) % 130] = False
    right[130 + (np.arange(false) + shift) % 130] = False
    return table(right, labels, seed=shift)


# The paper's own figures

@pytest.mark.parametrize("name", PRINTED)
def test_six_confusion_matrices_give_the_thirty_figures_of_the_paper(name):
    found = evaluate(published(name), ["healthy", "leukemic"], positive="leukemic", rounds=200).to_dict()
    ours = [found["overall"]["accuracy"]["value"],
            *(found["per_class"]["leukemic"][key]["value"] for key in ("sensitivity", "specificity", "ppv", "npv"))]
    assert [round(100 * value, 4) for value in ours] == [pytest.approx(value, abs=6e-5) for value in PRINTED[name]]
    assert list(published_figures()[name].values()) == pytest.approx(ours)
    accuracy = published_rates(name)["accuracy"]
    assert accuracy == wilson(round(2.6 * PRINTED[name][0]), 260)


def test_two_images_of_260_separate_nothing():
    """ResNet-50 against VGG-19, 259 against 257: whichever images they are, the comparison finds no difference."""
    for shift in (0, 1, 5, 60):
        found = compared([kind("resnet50", published("resnet50")), kind("vgg19", published("vgg19", shift))],
                        positive="leukemic", rounds=200)
        test = found["pairs"][0]["tests"]["accuracy"]
        assert test["difference"]["value"] == pytest.approx(2 / 260)
        assert test["difference"]["low"] < 0 < test["difference"]["high"]
        assert test["p_value"] >= least_p("resnet50", "vgg19") == 0.5
        assert found["answer"] == ("resnet50 is right most often, but on these cells it is not significantly "
                                   "better than any other.")
    assert wilson(259, 260).low == pytest.approx(0.979, abs=5e-4)
    assert wilson(257, 260).high == pytest.approx(0.996, abs=5e-4)


def test_the_least_p_is_that_of_the_most_favourable_pairing():
    for name in MATRICES:
        if name == OWN:
            continue
        pairs = [(published(OWN), published(name, shift)) for shift in range(0, 130, 5)]
        right = [[(one["label"] == one["predicted"]).to_numpy() for one in pair] for pair in pairs]
        ps = [mcnemar(first, second).p_value for first, second in right]
        assert min(ps) >= least_p(OWN, name) - 1e-12  # type: ignore[type-var, operator]  # none is None
        assert ps[0] == pytest.approx(least_p(OWN, name))  # the same images wrong, as far as there are
    assert {name for name, p in told_apart().items() if p < 0.05} == {"googlenet"}
    assert {name for name, p in told_apart(2).items() if p >= 0.05} == {"vgg19"}
    sentence = what_the_paper_shows()
    assert "significantly from googlenet, but not from resnet101, resnet152, vgg16 and vgg19" in sentence
    assert "with twice as many images, from all but vgg19." in sentence


# The tests

def three_kinds(seed: int = 0, n: int = 400, subjects: int | None = None) -> list[Kind]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    own = None if subjects is None else rng.integers(subjects, size=n)
    hard = rng.random(n)
    return [kind(name, table((hard + rng.normal(0, 0.1, n)) > cut, labels, subjects=own, seed=i))
            for i, (name, cut) in enumerate((("one", 0.1), ("two", 0.12), ("three", 0.3)))]


def test_every_p_value_is_that_of_its_own_test_corrected_over_all_pairs():
    kinds = three_kinds()
    found = compared(kinds, positive="leukemic", rounds=500)
    names = [(pair["first"], pair["second"]) for pair in found["pairs"]]
    assert names == list(combinations(("one", "two", "three"), 2))
    pairs = list(combinations(kinds, 2))
    raw = [mcnemar(a.correct[0], b.correct[0]) for a, b in pairs]
    for pair, expected, adjusted in zip(found["pairs"], raw, holm(np.array([c.p_value for c in raw])), strict=True):
        test = pair["tests"]["accuracy"]
        assert test["p_value"] == expected.p_value
        assert test["difference"] == expected.difference.to_dict()
        assert test["holm"] == adjusted
    areas = [delong_test(a.cells[0].labels == 1, a.cells[0].probabilities[:, 1], b.cells[0].probabilities[:, 1])
             for a, b in pairs]
    for pair, expected in zip(found["pairs"], areas, strict=True):
        assert pair["tests"]["auc"]["p_value"] == pytest.approx(expected.p_value, rel=0.03, abs=1e-6)
        assert pair["tests"]["auc"]["difference"]["value"] == pytest.approx(expected.difference.value, abs=1e-12)
    assert set(found["pairs"][0]["tests"]) == {"accuracy", "sensitivity", "specificity", "auc"}
    assert found["answer"].startswith(f"{found['order'][0]} is right most often. On these cells it is significantly "
                                      "better than three, and not significantly better than ")


def test_subjects_are_drawn_whole():
    """Every subject's cells judged alike: as uncertain as the number of subjects, and told so."""
    subjects = np.repeat(np.arange(20), 50)
    labels = subjects % 2
    rng = np.random.default_rng(3)
    first, second = (rng.random(20) < share for share in (0.9, 0.6))
    kinds = [kind(name, table(right[subjects], labels, subjects=subjects, seed=i))
             for i, (name, right) in enumerate((("one", first), ("two", second)))]
    found = compared(kinds, positive="leukemic", rounds=1000)
    test = found["pairs"][0]["tests"]["accuracy"]
    expected = paired_difference(first, second, np.arange(20))
    assert (test["difference"]["low"], test["difference"]["high"]) == pytest.approx(
        (expected.difference.low, expected.difference.high))
    wide = found["pairs"][0]["tests"]["sensitivity"]["difference"]
    assert wide["high"] - wide["low"] > 0.3
    assert (found["unit"], found["clusters"]) == ("subject", 20)
    some = [kind(name, table(right[subjects], labels, subjects=subjects, seed=i).with_columns(
        subject=pl.when(pl.col("subject") != "s3").then("subject")))
            for i, (name, right) in enumerate((("one", first), ("two", second)))]
    unknown = compared(some, positive="leukemic", rounds=200)  # cells of no known subject are not said to be subjects
    assert (unknown["unit"], unknown["clusters"]) == ("group", 19 + int((subjects == 3).sum()))
    alone = compared([kind(name, table(right[subjects], labels, seed=i))
                     for i, (name, right) in enumerate((("one", first), ("two", second)))],
                    positive="leukemic", rounds=1000)
    narrow = alone["pairs"][0]["tests"]["sensitivity"]["difference"]
    assert wide["high"] - wide["low"] > 3 * (narrow["high"] - narrow["low"])


def test_sensitivity_and_specificity_are_tested_on_the_cells_of_one_class():
    kinds = three_kinds()
    found = compared(kinds, positive="leukemic", rounds=200)
    for pair, (a, b) in zip(found["pairs"], combinations(kinds, 2), strict=True):
        for name, number in (("sensitivity", 1), ("specificity", 0)):
            own = a.cells[0].labels == number
            expected = mcnemar(a.correct[0][own], b.correct[0][own])
            assert pair["tests"][name]["difference"] == expected.difference.to_dict()
            assert pair["tests"][name]["p_value"] == expected.p_value


def test_the_bootstrap_of_mean_sensitivity_agrees_with_its_variance_by_hand():
    """Of two classes, the mean of two differences of independent paired rates."""
    kinds = three_kinds(n=3000)
    found = compared(kinds, rounds=4000)
    for pair, (a, b) in zip(found["pairs"], combinations(kinds, 2), strict=True):
        change = a.correct[0].astype(float) - b.correct[0]
        classes = [change[a.cells[0].labels == k] for k in (0, 1)]
        value = sum(own.mean() for own in classes) / 2
        reach = 1.96 * np.sqrt(sum(own.var() / own.size for own in classes)) / 2
        test = pair["tests"]["macro_sensitivity"]
        assert test["difference"]["value"] == pytest.approx(value, abs=1e-12)
        assert (test["difference"]["low"], test["difference"]["high"]) == pytest.approx(
            (value - reach, value + reach), abs=0.002)
        assert test["test"] == "t, bootstrap by cell"


def test_trainings_of_one_kind_are_tested_together():
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=500)
    tables = [[table(rng.random(500) < share, labels, seed=10 * i + j) for j in range(3)]
              for i, share in enumerate((0.9, 0.8))]
    kinds = [kind(name, *own) for name, own in zip(("one", "two"), tables, strict=True)]
    found = compared(kinds, positive="leukemic", rounds=500)
    expected = repeated_difference(kinds[0].correct, kinds[1].correct)
    test = found["pairs"][0]["tests"]["accuracy"]
    assert test["p_value"] == expected.p_value
    assert test["difference"]["low"] == expected.difference.low
    assert [row["trainings"] for row in found["kinds"]] == [3, 3]
    for name in ("sensitivity", "ppv", "f1", "auc", "log_loss"):
        estimates = [m.overall[name] if name == "log_loss" else m.per_class["leukemic"].estimates[name]
                     for m in kinds[0].metrics]
        ours, single = found["kinds"][0]["figures"][name], estimates[0].to_dict()
        assert ours["value"] == pytest.approx(np.array([estimate.value for estimate in estimates], float).mean())
        assert ours["low"] < ours["value"] < ours["high"]
        # A mean of three is surer of its cells than one is, but how they differ is added.
        assert ours["high"] - ours["low"] > 0.4 * (single["high"] - single["low"])
    assert found["blocks"]["blocks"] == 3


def test_kinds_that_answer_alike_do_not_differ_and_share_the_first_rank():
    labels = np.arange(200) % 2
    right = np.arange(200) % 9 != 0
    kinds = [kind(name, table(right, labels)) for name in ("one", "two")]
    found = compared(kinds, positive="leukemic", rounds=200)
    pair = found["pairs"][0]
    assert all(test["p_value"] == 1.0 for test in pair["tests"].values())
    assert pair["agreement"] == {"same": 1.0, "kappa": 1.0, "shared_errors": 1.0}
    assert [row["rank"]["mean"] for row in found["kinds"]] == [1.5, 1.5]
    assert [row["rank"]["best"] for row in found["kinds"]] == [0.5, 0.5]


def test_several_classes_are_compared_by_means_over_classes():
    rng = np.random.default_rng(5)
    labels = rng.integers(3, size=600)
    kinds = [kind(name, table(rng.random(600) < share, labels, seed=i, classes=("a", "b", "c"), folds=4), positive="")
             for i, (name, share) in enumerate((("one", 0.95), ("two", 0.7)))]
    found = compared(kinds, rounds=500)
    assert set(found["pairs"][0]["tests"]) == {"accuracy", "macro_sensitivity", "macro_f1", "macro_auc"}
    macro = [kind.metrics[0].to_dict()["overall"]["macro_auc"]["value"] for kind in kinds]
    assert found["pairs"][0]["tests"]["macro_auc"]["difference"]["value"] == pytest.approx(macro[0] - macro[1])
    assert found["blocks"]["mean_ranks"] == [1.0, 2.0]
    assert all(test["holm"] < 0.01 for test in found["pairs"][0]["tests"].values())


def test_two_kinds_alone_are_told_apart_in_one_sentence():
    assert answer(["a", "b"], [0.9, 0.8], {"b": 0.001}) == "a is right more often than b."
    assert answer(["a", "b"], [0.9, 0.9], {}) == "a and b are right equally often."
    assert answer(["a", "b", "c"], [0.9, 0.9, 0.8], {}).startswith("a and b are right equally often, and more often")


def test_a_class_without_mistakes_keeps_its_doubt_in_several_trainings():
    labels = np.arange(40) % 2
    right = np.ones(40, bool)
    wrong = np.arange(40) % 5 != 0
    kinds = [kind(name, *(table(own, labels, seed=seed) for seed in (0, 1)))
             for name, own in (("one", right), ("two", wrong))]
    found = compared(kinds, positive="leukemic", rounds=500)
    once = kind("one", table(right, labels)).metrics[0].per_class["leukemic"].estimates
    for name in ("sensitivity", "specificity", "ppv", "npv", "f1"):
        ours = found["kinds"][0]["figures"][name]
        assert ours["value"] == 1.0
        assert 0.5 < ours["low"] < 0.96
        assert ours["low"] == pytest.approx(once[name].low, abs=0.12)


def test_three_subjects_that_lean_one_way_are_not_proof():
    """Of three subjects the signs agree by chance in one of four cases; that is no p of a thousandth."""
    subjects = np.repeat(np.arange(3), 40)
    labels = np.tile(np.arange(40) % 2, 3)
    rng = np.random.default_rng(0)
    first, second = np.ones(120, bool), np.ones(120, bool)
    for subject, mistakes in enumerate((2, 4, 9)):
        second[np.flatnonzero(subjects == subject)[rng.permutation(40)[:mistakes]]] = False
    first[::37] = False
    kinds = [kind(name, table(right, labels, subjects=subjects, seed=i), positive="")
             for i, (name, right) in enumerate((("one", first), ("two", second)))]
    tests = compared(kinds, rounds=1000)["pairs"][0]["tests"]
    assert all(tests[name]["p_value"] > 0.05 for name in ("accuracy", "macro_sensitivity", "macro_f1"))


def test_subjects_that_change_alike_give_no_p_value():
    subjects = np.repeat(np.arange(3), 14)
    right = np.tile(np.arange(14) > 1, 3)
    found = paired_difference(np.ones(42, bool), right, subjects)
    assert (found.p_value, found.difference.low) == (None, None)
    assert found.difference.method == "no interval: the clusters do not vary"


def test_one_subject_gives_figures_without_intervals():
    labels = np.arange(40) % 2
    rng = np.random.default_rng(0)
    subjects = np.zeros(40, int)
    kinds = [kind(name, *(table(rng.random(40) < 0.8, labels, subjects=subjects, seed=s) for s in range(count)))
             for name, count in (("one", 2), ("two", 1))]
    found = compared(kinds, positive="leukemic", rounds=200)
    assert all(test["p_value"] is None for test in found["pairs"][0]["tests"].values())
    assert found["kinds"][0]["figures"]["accuracy"]["low"] is None


def test_what_one_training_may_owe_to_luck_is_taken_from_the_others():
    """One training against three keeps its level: trainings vary by 4 points, the kinds do not differ."""
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(300):
        shares = 0.8 + 0.04 * rng.normal(size=4)
        right = np.stack([rng.random(400) < share for share in shares])
        rejected += repeated_difference(right[:1], right[1:]).p_value < 0.05  # type: ignore[operator]  # it varies
    assert rejected / 300 < 0.09


def test_blocks_are_the_same_folds_of_the_same_training():
    labels = np.arange(80) % 2
    rng = np.random.default_rng(1)
    tables = {name: [table(rng.random(80) < 0.8, labels, seed=s, folds=folds) for s in range(count)]
              for name, folds, count in (("a", 4, 1), ("b", 4, 1), ("c", 2, 2))}
    kinds = {name: kind(name, *own) for name, own in tables.items()}
    assert compared([kinds["a"], kinds["b"]], positive="leukemic", rounds=200)["blocks"]["blocks"] == 4
    assert compared([kinds["a"], kinds["c"]], positive="leukemic", rounds=200)["blocks"] is None
    turned = Kind("d", kinds["c"].cells[::-1], kinds["c"].metrics[::-1], ((0, 1), (0, 0)))
    found = compared([kinds["c"], turned], positive="leukemic", rounds=200)["blocks"]
    assert all(row[0] == row[1] for row in found["accuracy"])  # the same trainings, named in another order


# Fronts and cliques

@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_a_kind_is_on_the_front_unless_another_is_as_good_for_less(points):
    front = pareto([a for a, _ in points], [float(c) for _, c in points])
    for (mine, spent), on in zip(points, front, strict=True):
        beaten = any((a >= mine and c <= spent) and (a, c) != (mine, spent) for a, c in points)
        assert on == (not beaten)
    assert any(front)


def test_a_kind_without_a_cost_is_on_no_front():
    assert pareto([0.9, 0.8], [None, 3.0]) == [False, True]


def test_the_mean_curve_is_the_mean_of_the_classes_at_each_false_positive_rate():
    labels = np.arange(60) % 3
    one = evaluate(table(labels != 9, labels, classes=("a", "b", "c")), ("a", "b", "c"), rounds=100)
    assert mean_curve(tuple(one.curves.values()))["tpr"] == [1.0] * 501
    steps = [Curves({"fpr": fpr, "tpr": (0.0, top, 1.0)}, {}) for fpr, top in (((0.0, 0.0, 1.0), 0.8),
                                                                             ((0.0, 0.5, 1.0), 0.5))]
    mean = mean_curve(steps)
    assert (mean["fpr"][250], mean["tpr"][250]) == (0.5, pytest.approx((0.9 + 0.5) / 2))


def test_cliques_are_the_longest_runs_within_the_critical_difference():
    means = np.array([1.0, 1.5, 2.2, 4.0])
    assert cliques(means, 1.0) == [(0, 1), (1, 2)]
    assert cliques(means, 1.3) == [(0, 2)]
    assert cliques(means, 0.4) == []
    assert cliques(means, 9.0) == [(0, 3)]


# Run folders

@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two trainings of LeNet-5, one of a small ResNet-31 and one of LeNet-5 with other changes, on the same cells."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOSCOPE_CACHE", str(folder / "cache"))
        cells = make_cells(folder / "images", counts={"a": 40, "b": 40}, size=40, strength=0.05)
        write_manifest(cells, folder / "cells.parquet")
        shared = {"preprocess": {"size": 32}, "data": {"positive": "b"}, "training__epochs": 1,
                  "split": {"kind": "kfold", "folds": 2, "validation": 0.0}}
        for name, more in (("lenet", {}), ("lenet-again", {"training__repeat": 1}),
                           ("resnet", {"network": {"name": "resnet31"}}),
                           ("turned", {"augment": {"rotation": 20}}),
                           ("copied", {"augment": {"rotation": 20, "copies": {"a": 50}}})):
            train_on_cpu(tiny_recipe(**shared, **more), cells, folder / name)
        train_on_cpu(tiny_recipe(**{**shared, "split": {"kind": "kfold", "folds": 4, "validation": 0.0}}), cells,
                     folder / "four-folds")
    return folder


def test_runs_of_one_recipe_are_trainings_of_one_kind(runs):
    matched = read_kinds([runs / name for name in ("lenet", "resnet", "lenet-again")])
    assert [(k.name, len(k.cells)) for k in matched.kinds] == [("lenet5", 2), ("resnet31", 1)]
    assert matched.positive == "b"
    assert matched.remarks == ()
    same_network = read_kinds([runs / "lenet", runs / "turned"])
    assert [k.name for k in same_network.kinds] == ["lenet", "turned"]
    other = read_kinds([runs / "lenet", runs / "four-folds"])
    assert "did not learn from the same cells" in other.remarks[0]


def test_a_run_whose_cells_were_copied_is_compared_with_one_without_copies(runs):
    """The copies give their cells a group, which holds no other tested cell."""
    copied = pl.read_parquet(runs / "copied" / "predictions.parquet")
    assert copied["group"].is_not_null().any()
    matched = read_kinds([runs / "lenet", runs / "copied"])
    assert [k.name for k in matched.kinds] == ["lenet", "copied"]
    assert all(k.cells[0].independent for k in matched.kinds)


def test_the_command_writes_a_page_that_holds_what_it_says(runs, tmp_path):
    found = leukoscope("compare", *(runs / name for name in ("lenet", "lenet-again", "resnet", "turned")),
                       "-o", tmp_path / "c", "--rounds", "200", "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)
    kept = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert told == kept
    assert len(told["pairs"]) == 3
    first = next(k for k in told["kinds"] if k["trainings"] == 1)
    metrics = json.loads((Path(first["runs"][0]) / "metrics.json").read_text())
    assert first["figures"]["accuracy"]["value"] == metrics["overall"]["accuracy"]["value"]
    assert all(k["cost"]["prediction_ms"] > 0 for k in told["kinds"])
    resnet = next(k["cost"] for k in told["kinds"] if k["cost"]["parameters"] > 400_000)
    facts = json.loads((runs / "resnet" / "folds" / "0" / "fold.json").read_text())
    assert resnet["parameters"] == facts["parameters"]
    page = (tmp_path / "c" / "compare.html").read_text()
    assert told["answer"].split(",")[0] in page
    assert "<svg" in page
    assert "NaN" not in page
    again = tmp_path / "c" / "compare.html"
    again.unlink()
    assert leukoscope("report", tmp_path / "c").out.strip() == str(again)
    assert re.sub(r"f\d+-", "", again.read_text()) == re.sub(r"f\d+-", "", page)  # figures are numbered through
    pairs = pl.read_csv(tmp_path / "c" / "pairs.csv")
    assert pairs.height == 3 * 4
    lines = leukoscope("compare", runs / "lenet", runs / "resnet", "-o", tmp_path / "d", "--no-time")
    assert "lenet5 minus resnet31:" in lines.out
    assert "ms" not in lines.out


def test_evaluations_of_runs_on_the_same_cells_are_compared(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "images", counts={"a": 20, "b": 20}, size=40, seed=9, prefix="new")
    for name in ("lenet", "resnet"):
        evaluate_run(runs / name, cells, tmp_path / name)
    _, found = compare_runs([tmp_path / "lenet", tmp_path / "resnet"], tmp_path / "out", rounds=200, timed=False)
    assert found["cells"] == 40
    assert {k["name"] for k in found["kinds"]} == {"lenet5", "resnet31"}
    assert "holds an evaluation" in refusal("compare", tmp_path / "lenet", tmp_path / "resnet", "-o",
                                            tmp_path / "lenet")
    lost = tmp_path / "lost"
    shutil.copytree(tmp_path / "resnet", lost)
    (lost / "evaluation.json").write_text(json.dumps({"run": "/nowhere/resnet50"}))
    assert "the evaluation of /nowhere/resnet50, which no longer exists" in refusal(
        "compare", tmp_path / "lenet", lost, "-o", tmp_path / "x")
    assert "different cells: 80 of 80 cells of" in refusal("compare", runs / "lenet", tmp_path / "resnet",
                                                           "-o", tmp_path / "x")


def test_runs_that_do_not_match_are_refused_with_the_reason(runs, tmp_path):
    def altered(name: str, change) -> Path:
        shutil.copytree(runs / "resnet", tmp_path / name)
        path = tmp_path / name / "predictions.parquet"
        change(pl.read_parquet(path)).write_parquet(path)
        return tmp_path / name

    first = runs / "lenet"
    fewer = altered("fewer", lambda t: t.filter(pl.col("cell_id") != "a003"))
    with pytest.raises(RunError, match=r"different cells: 1 of 80 cells of .*lenet are not in .*fewer, such as 'a003'"):
        read_kinds([first, fewer])
    twice = altered("twice", lambda t: pl.concat([t, t.head(1)]))
    with pytest.raises(RunError, match="twice: a cell has more than one prediction"):
        read_kinds([first, twice])
    label = altered("label", lambda t: t.with_columns(
        label=pl.when(pl.col("cell_id") == "b001").then(pl.lit("a")).otherwise("label")))
    with pytest.raises(RunError, match=r"cell 'b001' has label 'b' in .*lenet and 'a' in"):
        read_kinds([first, label])
    subject = altered("subject", lambda t: t.with_columns(subject=pl.lit("x")))
    with pytest.raises(RunError, match=r"cell 'a000' has subject None in .* and 'x' in"):
        read_kinds([first, subject])
    assert "a run is listed twice" in refusal("compare", first, first, "-o", tmp_path / "o")
    assert "2 trainings of one recipe: nothing to compare with" in refusal(
        "compare", first, runs / "lenet-again", "-o", tmp_path / "o")
    assert "one run: nothing to compare with" in refusal("compare", first, "-o", tmp_path / "o")
    assert "not a run" in refusal("compare", first, tmp_path / "nothing", "-o", tmp_path / "o")
    again = Path(shutil.copytree(first, tmp_path / "again"))
    with pytest.raises(RunError, match=r"lenet and .*again are the same training: recipe, seed and .*; leave one out"):
        read_kinds([first, again, runs / "resnet"])
    with pytest.raises(RunError, match=r"are the same training: .* equal; give runs of at least two recipes"):
        read_kinds([first, again])
    bare = altered("bare", lambda t: t.drop("group"))
    with pytest.raises(RunError, match=r"bare: predictions\.parquet has no column 'group'"):
        read_kinds([first, bare])
    (bare / "metrics.json").write_text("[]")
    pl.read_parquet(first / "predictions.parquet").write_parquet(bare / "predictions.parquet")
    with pytest.raises(RunError, match=r"bare: metrics\.json does not hold the metrics of an evaluation"):
        read_kinds([first, bare])
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "compare.json").write_text("[]")
    assert "compare the runs again" in refusal("report", tmp_path / "damaged")
    assert "holds a run" in refusal("compare", first, runs / "resnet", "-o", runs / "resnet")
    assert "rounds is 5, expected 100" in refusal("compare", first, runs / "resnet", "-o", tmp_path / "o",
                                                  "--rounds", "5")
    assert not (tmp_path / "o").exists()


def test_other_classes_are_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "images", counts={"a": 12, "c": 12}, size=40)
    run_experiment(tiny_recipe(training__epochs=1), make_manifest(cells), tmp_path / "other")
    said = refusal("compare", runs / "lenet", tmp_path / "other", "-o", tmp_path / "o")
    assert "lenet has the classes a, b, " in said
