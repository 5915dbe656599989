"""How well the laboratory can be told from what a network sees in cells, and what accuracy is left where the laboratory
says nothing of the class.

By linear probes (ridge regression), fitted and tested on cells of different people, slides or images. The features are
given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int64

from ..runs.laboratories import LaboratoryShortcut
from ..stats.estimate import number_clusters

EACH = 40
"""Cells of a class and laboratory that are enough."""
FOLDS = 5
LEAST = 5
"""Cells of a class and laboratory below which they take no part where the two are balanced."""
_RIDGE = 0.03  # on features of variance 1, over the number of cells


def laboratory_shortcut(features: Float64[np.ndarray, "n features"], labels: Sequence[str], sources: Sequence[str],
                        units: Int64[np.ndarray, " n"], frequency: Float64[np.ndarray, " n"], not_trained_on: str,
                        rng: np.random.Generator) -> LaboratoryShortcut:
    """labels, sources: class and laboratory of each cell; units: what is independent; frequency: how many cells of the
    data each of these cells stands for."""
    label, source, unit = np.asarray(labels), np.asarray(sources), number_clusters(units)[0]
    folds = (rng.permutation(unit.max() + 1) % FOLDS)[unit]
    names, laboratory = np.unique(source, return_inverse=True)
    kinds, kind = np.unique(label, return_inverse=True)
    each = _evenly(laboratory)
    table = np.zeros((len(kinds), len(names)))
    np.add.at(table, (kind, laboratory), each)
    from_class = table.argmax(1)[kind] == laboratory
    told = _told(features, laboratory, folds, lambda rows: _evenly(laboratory[rows])) == laboratory
    where, shared = _complete(label, source)
    as_is = balanced = None
    if shared:
        here = np.isin(source, where) & np.isin(label, shared)
        often, pairs = frequency[here], kind[here] * len(names) + laboratory[here]
        as_is, balanced = (float(np.average(
            _told(features[here], kind[here], folds[here], weigh) == kind[here], weights=weigh(slice(None))))
            for weigh in (lambda rows: often[rows], lambda rows: _evenly(pairs[rows])))
    by_features, by_class = (float(np.average(right, weights=each)) for right in (told, from_class))
    return LaboratoryShortcut(not_trained_on, len(label), by_features, by_class, 1 / len(names), where, shared, as_is,
                              balanced)


def _evenly(groups: np.ndarray) -> np.ndarray:
    """(n,) weights of cells with which every group (n,) ints counts the same."""
    return 1 / np.bincount(groups)[groups]


def _told(features: np.ndarray, target: np.ndarray, folds: np.ndarray,
          weigh: Callable[[np.ndarray | slice], np.ndarray]) -> np.ndarray:
    """(n,) the target (n,) ints that a linear probe of the other folds gives each cell. weigh: from some of the cells
    to their weights."""
    wanted, told = np.eye(target.max() + 1)[target], np.full(len(target), -1)
    for fold in np.unique(folds):
        rest = folds != fold
        if not rest.any():
            continue
        own = weigh(rest)
        own = own / own.sum()
        mean = own @ features[rest]
        spread = np.sqrt(own @ (features[rest] - mean)**2)
        scaled = (features - mean) / np.where(spread > 0, spread, 1) / np.sqrt(features.shape[1])
        prior = own @ wanted[rest]
        gram = (scaled[rest] * own[:, None]).T @ scaled[rest] + _RIDGE / features.shape[1] * np.eye(features.shape[1])
        slopes = np.linalg.solve(gram, (scaled[rest] * own[:, None]).T @ (wanted[rest] - prior))
        told[~rest] = (scaled[~rest] @ slopes + prior).argmax(1)
    return told


def _complete(label: np.ndarray, source: np.ndarray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The laboratories and classes, two or more of each, every one of which has LEAST cells of every other; those that
    make the most pairs. Empty where there are none."""
    names = np.unique(source).tolist()
    has = {kind: {name for name in names if ((label == kind) & (source == name)).sum() >= LEAST}
           for kind in np.unique(label).tolist()}
    best: tuple[tuple[str, ...], tuple[str, ...]] = (), ()
    for count in range(2, len(names) + 1):
        for chosen in combinations(names, count):
            shared = tuple(kind for kind, where in has.items() if where.issuperset(chosen))
            if len(shared) > 1 and count * len(shared) >= len(best[0]) * len(best[1]):
                best = chosen, shared
    return best
