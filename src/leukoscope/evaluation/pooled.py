"""Figures over all classes that pool cells or answers: the true class among the first k answers, and micro averages."""

from __future__ import annotations

import numpy as np

from ..stats.bootstrap import bootstrap_method, cluster_bootstrap, percentile_interval
from ..stats.estimate import Estimate, no_estimate
from ..stats.ranking import rank_cells, ranking_units, weighted_areas
from .table import Cells, IntervalOptions

TOP = (2, 3, 5)


def pooled_estimates(cells: Cells, options: IntervalOptions) -> dict[str, Estimate]:
    """`top_<k>_accuracy` for each k of TOP below the number of classes; micro_f1, which is the accuracy where every
    cell has one label; micro_auc and micro_average_precision, of all classes' probabilities ranked together."""
    every = np.ones(len(cells.labels), bool)
    top = {f"top_{k}_accuracy": cells.rate(in_top(cells, k), every, options) for k in TOP if k < len(cells.classes)}
    return top | {"micro_f1": cells.rate(cells.correct, every, options)} | _areas(cells, options)


def in_top(cells: Cells, k: int) -> np.ndarray:
    """(n,) bool: whether the true class has one of the k largest probabilities; of equal ones, the first classes."""
    best = np.argsort(-cells.probabilities, axis=1, kind="stable")[:, :k]
    return (best == cells.labels[:, None]).any(1)


def _areas(cells: Cells, options: IntervalOptions) -> dict[str, Estimate]:
    """Always by the bootstrap: the probabilities of one cell are not independent of each other."""
    size = len(cells.classes)
    labels = (cells.labels[:, None] == np.arange(size)).ravel()
    scores, clusters = cells.probabilities.ravel(), np.repeat(cells.clusters, size)
    ranking = rank_cells(labels, scores, clusters, cells.count)
    values = weighted_areas(ranking, np.ones((cells.count, 1)))
    names = ("micro_auc", "micro_average_precision")
    if cells.count < 2:
        return {name: no_estimate(f"no interval: one {cells.unit} only", float(value[0]))
                for name, value in zip(names, values, strict=True)}
    units = ranking_units(labels, scores, clusters, options.rounds, np.random.default_rng((options.seed, 2)))
    drawn = cluster_bootstrap(
        {"areas": lambda weights, part: np.stack(weighted_areas(ranking, weights, units.part(part)))}, cells.count,
        options.rounds, options.seed, rows=len(cells.labels))["areas"]
    estimates = {}
    for name, value, replicates in zip(names, values, drawn, strict=True):
        low, high = percentile_interval(replicates, float(value[0]), cells.count, options.confidence)
        estimates[name] = Estimate(float(value[0]), low, high, bootstrap_method(cells.unit, cells.count))
    return estimates
