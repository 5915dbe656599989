"""Shortcuts: can the label, or the source, be guessed from colours that are not of the cell?

Nearest neighbours in colour statistics, cross-validated by unit. Knows no pixels, only their statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.spatial import KDTree

from ..errors import LeukoscopeError
from ..files import JsonObject
from ..leaks.splits import make_splits, unit_numbers
from ..recipes.sections import Split
from ..stats.estimate import Estimate
from ..stats.rates import cluster_rate, wilson
from .measure import BORDER, COLOURS

MOST = 4000
"""Cells in the check, at most: a random sample of larger sets."""
FOLDS = 5
NEIGHBOURS = 10
"""Compared with a forest of 60 trees on cells of PBC, Chula and BCCD: correct as often from borders, up to 6 points
less often from all colours, in one fiftieth of the time and without a further library."""
FEATURES = {"border": BORDER, "colour": COLOURS}


@dataclass(frozen=True)
class Shortcut:
    """How well `target` ("label" or "source") is guessed from `features` ("border": the outer frame, "colour": all).

    accuracy: on held-out units, with its interval by unit; majority: the rate of always guessing the most frequent.
    """

    target: str
    features: str
    accuracy: Estimate
    majority: float
    classes: int
    cells: int

    @property
    def lift(self) -> float:
        """(accuracy - majority) / (1 - majority), at the lower end of the interval of the accuracy; at least 0."""
        low = self.accuracy.low if self.accuracy.low is not None else self.majority
        return max(0.0, (low - self.majority) / (1 - self.majority))

    def to_dict(self) -> JsonObject:
        return {"target": self.target, "features": self.features, "accuracy": self.accuracy.to_dict(),
                "majority": self.majority, "classes": self.classes, "cells": self.cells, "lift": self.lift}


def find_shortcuts(manifest: pl.DataFrame, measures: pl.DataFrame, pairs: pl.DataFrame, target: str,
                   seed: int) -> tuple[list[Shortcut], str]:
    """The check for each set of features, and why it was not possible ("" if it was)."""
    cells = manifest.join(measures, on="cell_id").filter(pl.col(target).is_not_null() & (pl.col(target) != ""))
    cells = cells.with_columns(pl.col(target).alias("label"), pl.lit(None, pl.String).alias("split")).sort("cell_id")
    counts = cells["label"].value_counts()
    cells = cells.filter(pl.col("label").is_in(counts.filter(pl.col("count") >= FOLDS)["label"].implode()))
    if cells["label"].n_unique() < 2:
        return [], f"fewer than two {target}s with at least {FOLDS} cells"
    if cells.height > MOST:
        cells = cells.sample(MOST, seed=seed).sort("cell_id")
    reason = ""
    for folds in range(FOLDS, 1, -1):
        try:
            splits = make_splits(cells, Split(folds=folds, validation=0), seed=seed, pairs=pairs)
            break
        except LeukoscopeError as error:
            reason = error.what
    else:
        return [], reason
    fold_of = splits.filter(pl.col("part") == "test").join(cells.with_row_index("row"), on="cell_id").sort(
        "row")["fold"].to_numpy()
    units = unit_numbers(cells, pairs=pairs)
    labels = cells["label"].to_numpy()
    majority = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    shortcuts = []
    for name, columns in FEATURES.items():
        right = _right(cells.select(columns).to_numpy(), labels, fold_of)
        _, number = np.unique(units, return_inverse=True)
        totals = np.bincount(number)
        rate = (wilson(int(right.sum()), len(right)) if (totals == 1).all() else
                cluster_rate(np.bincount(number, right).astype(np.int64), totals, unit="subject or group"))
        shortcuts.append(Shortcut(target, name, rate, majority, cells["label"].n_unique(), cells.height))
    return shortcuts, ""


def _right(features: np.ndarray, labels: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Whether each cell's label is guessed correctly from its neighbours in the other folds: bool (n,)."""
    names, codes = np.unique(labels, return_inverse=True)
    right = np.zeros(len(labels), bool)
    for fold in np.unique(fold_of):
        test = fold_of == fold
        mean, spread = features[~test].mean(0), features[~test].std(0)
        scaled = (features - mean) / np.where(spread > 0, spread, 1)
        count = min(NEIGHBOURS, int((~test).sum()))
        neighbours = KDTree(scaled[~test]).query(scaled[test], k=count)
        distances, nearest = (np.reshape(part, (-1, count)) for part in neighbours)
        votes = np.zeros((int(test.sum()), len(names)))
        np.add.at(votes, (np.arange(len(votes))[:, None], codes[~test][nearest]), 1 / (distances + 1e-6))
        right[test] = votes.argmax(1) == codes[test]
    return right
