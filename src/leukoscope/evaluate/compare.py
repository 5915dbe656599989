"""Several kinds of networks on the same cells: their figures, which differences are real, how alike they answer.

A kind is one recipe, trained once or several times from other weights. Every test is paired, cell by cell, clustered
by subject where subjects are known, and corrected for the number of pairs (Holm). Reads no files and draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata
from scipy.stats import t as student

from ..stats.bootstrap import cluster_bootstrap, percentile_interval
from ..stats.estimate import ROUNDING, Comparison, Estimate, no_estimate
from ..stats.paired import holm, paired_difference
from ..stats.repeats import between_kinds, repeated_difference, repeated_rate
from ..stats.several import agreement, area_difference, rank_over_blocks, with_trainings
from ..text import join
from .confusion import (
    class_figures,
    classes_used,
    confusion_matrix,
    confusion_units,
    counts_by_cluster,
    overall_figures,
)
from .table import Cells

ROUNDS = 2000
LEVEL = 0.05
BINARY = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "auc", "log_loss")
SEVERAL = ("accuracy", "macro_sensitivity", "macro_ppv", "macro_f1", "macro_auc", "log_loss")
TESTED = ("accuracy", "sensitivity", "specificity", "auc", "macro_sensitivity", "macro_f1", "macro_auc")
"""Of the figures, those whose differences are tested."""
RATES = ("accuracy", "sensitivity", "specificity")
"""Shares of cells (of two classes): what is paired is whether a cell was judged rightly."""
AREAS = ("auc", "macro_auc")


@dataclass(frozen=True)
class Kind:
    """One kind of network. cells: what each of its trainings said of the same cells in the same order; metrics: what
    `evaluate` made of each; trainings: the seed and the number of each."""

    name: str
    cells: tuple[Cells, ...]
    metrics: tuple[Mapping[str, Any], ...]
    trainings: tuple[tuple[int, int], ...]

    @property
    def right(self) -> np.ndarray:
        """(trainings, n) whether each cell was judged rightly."""
        return np.stack([one.labels == one.predicted for one in self.cells])


def figures_of(positive: str) -> tuple[str, ...]:
    """The figures that are compared: of the positive class of a binary task, else means over classes."""
    return BINARY if positive else SEVERAL


def compare(kinds: Sequence[Kind], *, positive: str = "", confidence: float = 0.95, rounds: int = ROUNDS,
            seed: int = 0) -> dict[str, Any]:
    """What compare.json holds, costs aside. positive: the class that is looked for, or "".

    All kinds judge the same cells, as `compare_read` makes sure.
    """
    cells = kinds[0].cells[0]
    replicates = _replicates(kinds, positive, rounds, seed)
    names = figures_of(positive)
    several = [_replicates([kind], positive, rounds, seed, doubt=True)[0] if len(kind.cells) > 1 else {}
               for kind in kinds]
    estimates = [{name: _estimate(kind, name, positive, several[i].get(name), confidence) for name in names}
                 for i, kind in enumerate(kinds)]
    pairs = _pairs(kinds, positive, replicates, confidence)
    order = sorted(range(len(kinds)), key=lambda i: -(estimates[i]["accuracy"].value or 0.0))
    ranks = _ranks(kinds, rounds, seed)
    return {
        "cells": len(cells.labels), "classes": list(cells.classes), "positive": positive, "unit": cells.unit,
        "clusters": cells.count, "confidence": confidence, "rounds": rounds,
        "kinds": [{"name": kind.name, "trainings": len(kind.cells), "rank": ranks[i],
                   "figures": {name: found.to_dict() for name, found in estimates[i].items()}}
                  for i, kind in enumerate(kinds)],
        "order": [kinds[i].name for i in order], "pairs": pairs, "blocks": _blocks(kinds, confidence),
        "answer": answer([kinds[i].name for i in order], [estimates[i]["accuracy"].value or 0.0 for i in order], pairs),
    }


def trained_once(found: Mapping[str, Any]) -> str:
    """What has to be said where kinds were trained once, else ""."""
    once = [kind["name"] for kind in found["kinds"] if kind["trainings"] == 1]
    if not once:
        return ""
    if len(once) == len(found["kinds"]):
        return "Each was trained once, so how its training happened to go is in no interval and no test."
    return (f"{join(once)} {'was' if len(once) == 1 else 'were'} trained once: how that happened to go is in no "
            "interval, and tests against kinds that were trained several times take it to vary as theirs does.")


def answer(order: Sequence[str], accuracy: Sequence[float], pairs: Sequence[Mapping[str, Any]]) -> str:
    """Who is right most often, and from whom the data can tell it apart: one or two sentences. order: names by falling
    accuracy."""
    first = [name for name, value in zip(order, accuracy, strict=True) if value == accuracy[0]]
    if len(first) > 1:
        more = "" if len(first) == len(order) else ", and more often than the others, as far as these cells go"
        return f"{join(first)} are right equally often{more}."
    best = order[0]
    apart, like = [], []
    for other in order[1:]:
        pair = next(p for p in pairs if {p["first"], p["second"]} == {best, other})
        p = pair["tests"]["accuracy"]["holm"]
        (apart if p is not None and p < LEVEL else like).append(other)
    if not apart:
        return f"{best} is right most often, but these cells tell it apart from none of the others."
    if len(order) == 2 and apart:
        return f"{best} is right more often than {apart[0]}."
    if not like:
        return f"{best} is right most often, and more often than each of the others: {join(apart)}."
    return (f"{best} is right most often. These cells tell it apart from {join(apart)}, and do not tell it apart from "
            f"{join(like)}.")


def _clusters(cells: Cells) -> np.ndarray | None:
    return None if cells.independent else cells.clusters


def _from_matrix(matrix: np.ndarray, names: Sequence[str], used: dict[str, np.ndarray], positive: int | None,
                 ) -> dict[str, np.ndarray]:
    """Those of the figures that a confusion matrix gives, for one matrix or for all rounds at once."""
    overall = overall_figures(matrix, used)
    found = {name: overall[name] for name in names if name in overall}
    if positive is not None:
        own = class_figures(matrix)
        found |= {name: own[name][positive] for name in names if name in own}
    return found


def _replicates(kinds: Sequence[Kind], positive: str, rounds: int, seed: int, *,
                doubt: bool = False) -> list[dict[str, np.ndarray]]:
    """Of each kind, figure -> (rounds,): the mean over its trainings, all kinds on the same draws of clusters. doubt:
    with the pseudo-units that keep a class without mistakes from being certain, as `evaluate` has them."""
    cells, names = kinds[0].cells[0], figures_of(positive)
    size, place = len(cells.classes), cells.classes.index(positive) if positive else None
    statistics = {}
    keys = list(_from_matrix(confusion_matrix(cells), names, classes_used(confusion_matrix(cells)), place))
    for i, kind in enumerate(kinds):
        for j, one in enumerate(kind.cells):
            counts, used = counts_by_cluster(one), classes_used(confusion_matrix(one))
            units = (confusion_units(one, confusion_matrix(one), rounds, np.random.default_rng((seed, 1))) if doubt
                     else np.zeros((size, size, rounds)))

            def statistic(weights: np.ndarray, part: slice, counts: Any = counts, used: Any = used,
                          units: Any = units) -> np.ndarray:
                drawn = (counts @ weights).reshape(size, size, -1) + units[:, :, part]
                found = _from_matrix(drawn, names, used, place)
                return np.stack([found[key] for key in keys])

            statistics[f"{i} {j}"] = statistic
    drawn = cluster_bootstrap(statistics, cells.count, rounds, seed, rows=size * size)
    means = [np.mean([drawn[f"{i} {j}"] for j in range(len(kind.cells))], axis=0) for i, kind in enumerate(kinds)]
    return [dict(zip(keys, mean, strict=True)) for mean in means]


def _values(kind: Kind, name: str, positive: str) -> list[dict[str, Any]]:
    """The estimate of one figure in the metrics of each training."""
    per_class = positive and name not in ("accuracy", "log_loss")
    return [metrics["per_class"][positive][name] if per_class else metrics["overall"][name] for metrics in kind.metrics]


def _estimate(kind: Kind, name: str, positive: str, replicates: np.ndarray | None, confidence: float) -> Estimate:
    """One figure of a kind: as its report has it, or of several trainings their mean, widened by how they differ."""
    found = _values(kind, name, positive)
    if len(found) == 1:
        return Estimate.from_dict(found[0])
    values = np.array([one["value"] if one["value"] is not None else np.nan for one in found])
    if not np.isfinite(values).all():
        return no_estimate(f"undefined in one of {len(values)} trainings")
    value, cells = float(values.mean()), kind.cells[0]
    own = _own_cells(cells, name, positive) if name in RATES else np.ones(len(cells.labels), bool)
    if len(np.unique(cells.clusters[own])) < 2:
        return no_estimate(f"no interval: one {cells.unit} only", value)
    if name in RATES:
        return repeated_rate(kind.right[:, own], None if cells.independent else cells.clusters[own], confidence)
    if replicates is not None:
        low, high = percentile_interval(replicates, value, cells.count, confidence)
    else:  # what is no share of a confusion matrix: the mean of the trainings' own intervals
        bounds = [(one["low"], one["high"]) for one in found]
        if any(low is None or high is None for low, high in bounds):
            return no_estimate("no interval in one of the trainings", value)
        low, high = (float(v) for v in np.mean(bounds, axis=0) + value - values.mean())
    low, high = with_trainings(value, low, high, values, confidence)
    top = np.inf if name == "log_loss" else 1.0
    return Estimate(value, max(low, 0.0), min(high, top), f"over {cells.unit}s and {len(values)} trainings")


def _pairs(kinds: Sequence[Kind], positive: str, replicates: Sequence[dict[str, np.ndarray]],
           confidence: float) -> list[dict[str, Any]]:
    """Every pair of kinds: the tests of each figure with p values corrected over all pairs, and their agreement."""
    names = [name for name in figures_of(positive) if name in TESTED]
    pairs = list(combinations(range(len(kinds)), 2))
    tests: dict[str, list[Comparison]] = {
        name: [_test(kinds[i], kinds[j], name, positive, replicates[i], replicates[j], confidence) for i, j in pairs]
        for name in names}
    adjusted = {name: _holm([one.p_value for one in found]) for name, found in tests.items()}
    labels = kinds[0].cells[0].labels
    return [{"first": kinds[i].name, "second": kinds[j].name,
             "tests": {name: tests[name][row].to_dict() | {"holm": adjusted[name][row]} for name in names},
             "agreement": _agreement(kinds[i], kinds[j], labels)} for row, (i, j) in enumerate(pairs)]


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    known = [i for i, p in enumerate(p_values) if p is not None]
    corrected = holm(np.array([p_values[i] for i in known], dtype=float))
    by_place = dict(zip(known, corrected.tolist(), strict=True))
    return [by_place.get(i) for i in range(len(p_values))]


def _test(first: Kind, second: Kind, name: str, positive: str, ours: dict[str, np.ndarray],
          theirs: dict[str, np.ndarray], confidence: float) -> Comparison:
    cells = first.cells[0]
    clusters = _clusters(cells)
    if name in RATES:
        own = _own_cells(cells, name, positive)
        return _test_rates(first.right[:, own], second.right[:, own], None if clusters is None else clusters[own],
                           confidence)
    if name in AREAS:
        return _test_areas(first, second, positive, clusters, confidence)
    values = [np.array([one["value"] for one in _values(kind, name, positive)], float) for kind in (first, second)]
    return _bootstrapped(values[0], values[1], ours[name] - theirs[name], cells, confidence)


def _own_cells(cells: Cells, name: str, positive: str) -> np.ndarray:
    """(n,) bool: the cells that a rate is of: all, those of the positive class, or the others."""
    if name == "accuracy":
        return np.ones(len(cells.labels), bool)
    return (cells.labels == cells.classes.index(positive)) == (name == "sensitivity")


def _test_rates(first: np.ndarray, second: np.ndarray, clusters: np.ndarray | None, confidence: float) -> Comparison:
    """first, second: (trainings, n) whether each cell was judged rightly."""
    if clusters is not None and len(np.unique(clusters)) < 2:
        value = float(first.mean() - second.mean()) if first.size else None
        return Comparison(no_estimate("no interval: one cluster only", value), None, "none")
    if len(first) + len(second) > 2 and first.shape[1] > 1:
        return repeated_difference(first, second, clusters, confidence)
    return paired_difference(first[0], second[0], clusters, confidence)


def _test_areas(first: Kind, second: Kind, positive: str, clusters: np.ndarray | None,
                confidence: float) -> Comparison:
    cells = first.cells[0]
    wanted = [cells.classes.index(positive)] if positive else list(range(len(cells.classes)))
    shown = [k for k in wanted if (cells.labels == k).any() and (cells.labels != k).any()]
    if not shown:
        return Comparison(no_estimate("undefined: one class only"), None, "none")
    labels = cells.labels == np.array(shown)[:, None]
    scores = [np.stack([one.probabilities[:, shown].T for one in kind.cells]) for kind in (first, second)]
    return area_difference(labels, scores[0], scores[1], clusters, confidence)


def _bootstrapped(first: np.ndarray, second: np.ndarray, replicates: np.ndarray, cells: Cells,
                  confidence: float) -> Comparison:
    """The difference of two figures, with the variance that the bootstrap over clusters finds and, of several
    trainings, that between them added, and Student's t."""
    test = f"t, bootstrap by {cells.unit}"
    value = float(first.mean() - second.mean())
    known = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or not known.size:
        return Comparison(no_estimate("undefined: nothing to divide by"), None, test)
    if cells.count < 2:
        return Comparison(no_estimate(f"no interval: one {cells.unit} only", value), None, test)
    test += " and trainings" if len(first) + len(second) > 2 else ""
    parts = [(float(known.var(ddof=1)) * cells.count / (cells.count - 1), cells.count - 1.0),
             *between_kinds(first, second)]
    total = sum(variance for variance, _ in parts)
    if total < ROUNDING:
        return Comparison(no_estimate("no interval: nothing varies", value), 1.0 if value == 0 else None, test)
    freedom = total**2 / sum(variance**2 / own for variance, own in parts)
    reach = float(student.ppf((1 + confidence) / 2, freedom)) * float(np.sqrt(total))
    return Comparison(Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0), test),
                      2 * float(student.sf(abs(value) / np.sqrt(total), freedom)), test)


def _agreement(first: Kind, second: Kind, labels: np.ndarray) -> dict[str, float | None]:
    """Means over all pairs of trainings, one of each kind."""
    found = [agreement(one.predicted, other.predicted, labels) for one in first.cells for other in second.cells]
    means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    return {key: mean if np.isfinite(mean) else None for key, mean in means.items()}


def _ranks(kinds: Sequence[Kind], rounds: int, seed: int) -> list[dict[str, Any]]:
    """Ranks by accuracy (1 is best) when cells, by cluster, and trainings are drawn again: mean, the middle 95 % of
    the rounds, and the share of rounds in which the kind is best (shared where several are)."""
    cells = kinds[0].cells[0]
    generator = np.random.default_rng((seed, 2))
    drawn = []
    sums = [[cells.by_cluster(right) for right in kind.right] for kind in kinds]
    chosen = [generator.multinomial(len(kind.cells), np.full(len(kind.cells), 1 / len(kind.cells)), size=rounds)
              for kind in kinds]
    sizes = cells.by_cluster(np.ones(len(cells.labels), bool))

    def statistic(weights: np.ndarray, part: slice) -> np.ndarray:
        total = sizes @ weights
        rates = [np.einsum("tr,rt->r", np.stack(own) @ weights / total, times[part]) / len(own)
                 for own, times in zip(sums, chosen, strict=True)]
        return rankdata(-np.round(np.stack(rates), 12), axis=0)

    drawn = cluster_bootstrap({"ranks": statistic}, cells.count, rounds, seed, rows=len(kinds))["ranks"]
    top = drawn == drawn.min(0)
    return [{"mean": float(own.mean()), "low": float(np.quantile(own, 0.025)), "high": float(np.quantile(own, 0.975)),
             "best": float((top[i] / top.sum(0)).mean())} for i, own in enumerate(drawn)]


def _blocks(kinds: Sequence[Kind], confidence: float) -> dict[str, Any] | None:
    """Ranks over folds and trainings; None where one block is all, or the kinds have not the same folds of the same
    cells in trainings of the same numbers."""
    rows = [{(training, int(fold)): one.folds == fold for training, one in zip(kind.trainings, kind.cells, strict=True)
             for fold in np.unique(one.folds)} for kind in kinds]
    blocks = sorted(rows[0])
    if len(blocks) < 2 or any(sorted(own) != blocks for own in rows):
        return None
    if any(not np.array_equal(own[block], rows[0][block]) for own in rows[1:] for block in blocks):
        return None
    right = [dict(zip(kind.trainings, kind.right, strict=True)) for kind in kinds]
    scores = np.array([[own[training][rows[0][training, fold]].mean() for own in right] for training, fold in blocks])
    return rank_over_blocks(scores, confidence).to_dict() | {"accuracy": scores.tolist()}
