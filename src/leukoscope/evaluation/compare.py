"""Several kinds of networks on the same cells: their metrics, which differences are real, how alike their answers are.

A kind is one recipe, trained once or several times from other weights. Every test is paired, cell by cell, clustered
by subject where subjects are known, and corrected for the number of pairs (Holm). Reads no files and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..stats.bootstrap import cluster_bootstrap, percentile_interval
from ..stats.estimate import ROUNDING, Comparison, Estimate, no_estimate, student_beyond, student_quantile
from ..stats.paired import holm, paired_difference
from ..stats.repeats import add_variances, between_kinds, repeated_difference, repeated_rate
from ..stats.several import area_difference, rank_over_blocks, same_answers, with_trainings
from ..text import join
from . import confusion
from .results import BlockRanks, Compared, ComparedKind, Metrics, Pair, PairTest, Rank
from .table import Cells

ROUNDS = 2000
LEVEL = 0.05
BINARY = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "auc", "log_loss")
SEVERAL = ("accuracy", "macro_sensitivity", "macro_ppv", "macro_f1", "macro_auc", "log_loss")
TESTED = ("accuracy", "sensitivity", "specificity", "auc", "macro_sensitivity", "macro_f1", "macro_auc")
"""The metrics whose differences are tested."""
RATES = ("accuracy", "sensitivity", "specificity")
"""Shares of cells (of two classes): what is paired is whether a cell was classified correctly."""
AREAS = ("auc", "macro_auc")
RESAMPLED = (("ppv", "npv", "f1"), ("macro_sensitivity", "macro_ppv", "macro_f1"))
"""The other metrics that follow from a confusion matrix: of a positive class, and means over classes."""


@dataclass(frozen=True)
class Kind:
    """One kind of network. cells, metrics: of each training, on the same cells in the same order; trainings: the seed
    and the number of each."""

    name: str
    cells: tuple[Cells, ...]
    metrics: tuple[Metrics, ...]
    trainings: tuple[tuple[int, int], ...]

    @property
    def correct(self) -> np.ndarray:
        """(trainings, n) whether each cell was classified correctly."""
        return np.stack([cells.correct for cells in self.cells])

    def estimates(self, name: str, positive: str) -> list[Estimate]:
        """One metric of each training."""
        per_class = positive and name not in ("accuracy", "log_loss")
        return [(metrics.per_class[positive].estimates if per_class else metrics.overall)[name]
                for metrics in self.metrics]

    def values(self, name: str, positive: str) -> np.ndarray:
        """(trainings,) one metric of each training, NaN where it is not defined."""
        return np.array([estimate.value for estimate in self.estimates(name, positive)], float)


def compare(kinds: Sequence[Kind], *, positive: str = "", confidence: float = 0.95, rounds: int = ROUNDS,
            seed: int = 0) -> Compared:
    """Compare kinds that classified the same cells. positive: the class whose metrics are compared; "": means over all.
    """
    cells, estimates = kinds[0].cells[0], []
    for kind in kinds:
        several = len(kind.cells) > 1
        replicates = _replicates([kind], positive, rounds, seed, units=True)[0] if several else {}
        estimates.append({name: _estimate(kind, name, positive, replicates.get(name), confidence)
                          for name in (BINARY if positive else SEVERAL)})
    pairs = _pairs(kinds, positive, _replicates(kinds, positive, rounds, seed), confidence)
    accuracy = [own["accuracy"].value or 0.0 for own in estimates]
    order = sorted(range(len(kinds)), key=lambda i: -accuracy[i])
    by_accuracy = tuple(kinds[i].name for i in order)
    against_best = {name: pair.tests["accuracy"].holm for pair in pairs for name in (pair.first, pair.second)
                    if by_accuracy[0] in (pair.first, pair.second)}
    return Compared(
        len(cells.labels), cells.classes, positive, cells.unit, cells.count, confidence, rounds,
        tuple(ComparedKind(kind.name, len(kind.cells), rank, own)
              for kind, rank, own in zip(kinds, _ranks(kinds, rounds, seed), estimates, strict=True)),
        by_accuracy, pairs, _blocks(kinds, confidence), answer(by_accuracy, [accuracy[i] for i in order], against_best))


def answer(order: Sequence[str], accuracy: Sequence[float], against_best: Mapping[str, float | None]) -> str:
    """Which kind is right most often, and which others it differs from: one or two sentences. order: names by falling
    accuracy; against_best: name -> corrected p value of the test against the best."""
    first = [name for name, value in zip(order, accuracy, strict=True) if value == accuracy[0]]
    if len(first) > 1:
        more = "" if len(first) == len(order) else ", and more often than the others, as far as these cells go"
        return f"{join(first)} are right equally often{more}."
    best, apart, like = order[0], [], []
    for other in order[1:]:
        p = against_best[other]
        (apart if p is not None and p < LEVEL else like).append(other)
    if not apart:
        return f"{best} is right most often, but on these cells it is not significantly better than any other."
    if len(order) == 2:
        return f"{best} is right more often than {apart[0]}."
    if not like:
        return f"{best} is right most often, and more often than each of the others: {join(apart)}."
    return (f"{best} is right most often. On these cells it is significantly better than {join(apart)}, and not "
            f"significantly better than {join(like)}.")


def _replicates(kinds: Sequence[Kind], positive: str, rounds: int, seed: int, *,
                units: bool = False) -> list[dict[str, np.ndarray]]:
    """Of each kind, metric -> (rounds,): the mean over its trainings, all kinds on the same draws of clusters. units:
    with the pseudo-units that leave a class without errors uncertain, as `evaluate` does."""
    cells = kinds[0].cells[0]
    size, names = len(cells.classes), RESAMPLED[0 if positive else 1]

    def statistic(own: Cells) -> Callable[[np.ndarray, slice], np.ndarray]:
        matrix, counts = confusion.confusion_matrix(own), confusion.counts_by_cluster(own)
        used, added = confusion.classes_used(matrix), np.zeros((size, size, rounds))
        if units:
            added = confusion.confusion_units(own, matrix, rounds, np.random.default_rng((seed, 1)))

        def of_rounds(weights: np.ndarray, part: slice) -> np.ndarray:
            drawn = (counts @ weights).reshape(size, size, -1) + added[:, :, part]
            if not positive:
                overall = confusion.overall_metrics(drawn, used)
                return np.stack([overall[name] for name in names])
            by_class = confusion.class_metrics(drawn)
            return np.stack([by_class[name][cells.classes.index(positive)] for name in names])

        return of_rounds

    drawn = cluster_bootstrap({f"{i} {j}": statistic(own) for i, kind in enumerate(kinds)
                               for j, own in enumerate(kind.cells)}, cells.count, rounds, seed, rows=size * size)
    means = [np.mean([drawn[f"{i} {j}"] for j in range(len(kind.cells))], axis=0) for i, kind in enumerate(kinds)]
    return [dict(zip(names, mean, strict=True)) for mean in means]


def _estimate(kind: Kind, name: str, positive: str, replicates: np.ndarray | None, confidence: float) -> Estimate:
    """One metric of a kind: as in its report, or the mean of several trainings, its interval wider as they differ more.
    """
    estimates, values, cells = kind.estimates(name, positive), kind.values(name, positive), kind.cells[0]
    if len(estimates) == 1:
        return estimates[0]
    if not np.isfinite(values).all():
        return no_estimate(f"undefined in one of {len(values)} trainings")
    value = float(values.mean())
    own = _own_cells(cells, name, positive) if name in RATES else np.ones(len(cells.labels), bool)
    if len(np.unique(cells.clusters[own])) < 2:
        return no_estimate(f"no interval: one {cells.unit} only", value)
    if name in RATES:
        return repeated_rate(kind.correct[:, own], None if cells.independent else cells.clusters[own], confidence)
    if replicates is not None:
        low, high = percentile_interval(replicates, value, cells.count, confidence)
    else:  # not computed from a confusion matrix: the mean of the trainings' own intervals
        bounds = np.array([(estimate.low, estimate.high) for estimate in estimates], float)
        if not np.isfinite(bounds).all():
            return no_estimate("no interval in one of the trainings", value)
        low, high = (bounds.mean(0) + value - values.mean()).tolist()
    low, high = with_trainings(value, low, high, values, confidence)
    top = np.inf if name == "log_loss" else 1.0
    return Estimate(value, max(low, 0.0), min(high, top), f"over {cells.unit}s and {len(values)} trainings")


def _pairs(kinds: Sequence[Kind], positive: str, replicates: Sequence[dict[str, np.ndarray]],
           confidence: float) -> tuple[Pair, ...]:
    """Every pair of kinds: the test of each metric with p values corrected over all pairs, and their agreement."""
    pairs, tests = list(combinations(range(len(kinds)), 2)), {}
    for name in (name for name in (BINARY if positive else SEVERAL) if name in TESTED):
        raw = [_test(kinds[i], kinds[j], name, positive, replicates[i], replicates[j], confidence) for i, j in pairs]
        adjusted = iter(holm(np.array([test.p_value for test in raw if test.p_value is not None], float)).tolist())
        tests[name] = [PairTest(test.difference, test.p_value, test.test,
                                None if test.p_value is None else next(adjusted)) for test in raw]
    return tuple(Pair(kinds[i].name, kinds[j].name, {name: of_pairs[row] for name, of_pairs in tests.items()},
                      _agreement(kinds[i], kinds[j])) for row, (i, j) in enumerate(pairs))


def _test(first: Kind, second: Kind, name: str, positive: str, ours: dict[str, np.ndarray],
          theirs: dict[str, np.ndarray], confidence: float) -> Comparison:
    """Whether a metric differs. ours, theirs: replicates of those that are neither rates nor areas."""
    cells = first.cells[0]
    clusters = None if cells.independent else cells.clusters
    if name in RATES:
        own = _own_cells(cells, name, positive)
        correct = [kind.correct[:, own] for kind in (first, second)]
        within = None if clusters is None else clusters[own]
        if within is not None and len(np.unique(within)) < 2:
            value = float(correct[0].mean() - correct[1].mean()) if own.any() else None
            return Comparison(no_estimate("no interval: one cluster only", value), None, "none")
        if len(correct[0]) + len(correct[1]) > 2 and own.sum() > 1:
            return repeated_difference(correct[0], correct[1], within, confidence)
        return paired_difference(correct[0][0], correct[1][0], within, confidence)
    if name in AREAS:
        wanted = [cells.classes.index(positive)] if positive else range(len(cells.classes))
        shown = [k for k in wanted if (cells.labels == k).any() and (cells.labels != k).any()]
        if not shown:
            return Comparison(no_estimate("undefined: one class only"), None, "none")
        scores = [np.stack([own.probabilities[:, shown].T for own in kind.cells]) for kind in (first, second)]
        return area_difference(cells.labels == np.array(shown)[:, None], scores[0], scores[1], clusters, confidence)
    return _bootstrapped(first.values(name, positive), second.values(name, positive), ours[name] - theirs[name], cells,
                         confidence)


def _own_cells(cells: Cells, name: str, positive: str) -> np.ndarray:
    """(n,) bool: the cells that a rate is of: all, those of the positive class, or the others."""
    if name == "accuracy":
        return np.ones(len(cells.labels), bool)
    return (cells.labels == cells.classes.index(positive)) == (name == "sensitivity")


def _bootstrapped(first: np.ndarray, second: np.ndarray, replicates: np.ndarray, cells: Cells,
                  confidence: float) -> Comparison:
    """The difference of two metrics, first and second (trainings,). Its variance is that of the bootstrap over clusters
    and, of several trainings, that between them; Student's t."""
    test = f"t, bootstrap by {cells.unit}"
    value = float(first.mean() - second.mean())
    known = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or not known.size:
        return Comparison(no_estimate("undefined: nothing to divide by"), None, test)
    if cells.count < 2:
        return Comparison(no_estimate(f"no interval: one {cells.unit} only", value), None, test)
    test += " and trainings" if len(first) + len(second) > 2 else ""
    over_clusters = float(known.var(ddof=1)) * cells.count / (cells.count - 1), cells.count - 1.0
    total, freedom = add_variances([over_clusters, *between_kinds(first, second)])
    if total < ROUNDING:
        return Comparison(no_estimate("no interval: nothing varies", value), 1.0 if value == 0 else None, test)
    reach = student_quantile((1 + confidence) / 2, freedom) * float(np.sqrt(total))
    return Comparison(Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0), test),
                      2 * student_beyond(abs(value) / np.sqrt(total), freedom), test)


def _agreement(first: Kind, second: Kind) -> dict[str, float | None]:
    every = [same_answers(own.predicted, other.predicted, own.labels)
             for own in first.cells for other in second.cells]
    means = {key: float(np.mean([pair[key] for pair in every])) for key in every[0]}
    return {key: mean if np.isfinite(mean) else None for key, mean in means.items()}


def _ranks(kinds: Sequence[Kind], rounds: int, seed: int) -> list[Rank]:
    from scipy.stats import rankdata  # late: it takes most of a second to import

    cells, generator = kinds[0].cells[0], np.random.default_rng((seed, 2))
    hits = [np.stack([cells.by_cluster(correct) for correct in kind.correct]) for kind in kinds]
    times = [generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=rounds) for own in hits]
    sizes = cells.by_cluster(np.ones(len(cells.labels), bool))

    def statistic(weights: np.ndarray, part: slice) -> np.ndarray:
        total = sizes @ weights
        rates = [np.einsum("tr,rt->r", own @ weights / total, drawn[part]) / len(own)
                 for own, drawn in zip(hits, times, strict=True)]
        return rankdata(-np.round(np.stack(rates), 12), axis=0)

    ranks = cluster_bootstrap({"ranks": statistic}, cells.count, rounds, seed, rows=len(kinds))["ranks"]
    best = ranks == ranks.min(0)
    return [Rank(float(own.mean()), float(np.quantile(own, 0.025)), float(np.quantile(own, 0.975)),
                 float((top / best.sum(0)).mean())) for own, top in zip(ranks, best, strict=True)]


def _blocks(kinds: Sequence[Kind], confidence: float) -> BlockRanks | None:
    """Ranks over folds and trainings; None where there is only one block, or the kinds do not have the same trainings
    and folds of the same cells."""
    rows = [{(training, int(fold)): cells.folds == fold
             for training, cells in zip(kind.trainings, kind.cells, strict=True) for fold in np.unique(cells.folds)}
            for kind in kinds]
    blocks = sorted(rows[0])
    if len(blocks) < 2 or any(sorted(own) != blocks for own in rows):
        return None
    if any(not np.array_equal(own[block], rows[0][block]) for own in rows[1:] for block in blocks):
        return None
    correct = [dict(zip(kind.trainings, kind.correct, strict=True)) for kind in kinds]
    scores = np.array([[own[training][rows[0][training, fold]].mean() for own in correct] for training, fold in blocks])
    return BlockRanks(**vars(rank_over_blocks(scores, confidence)), accuracy=tuple(map(tuple, scores.tolist())))
