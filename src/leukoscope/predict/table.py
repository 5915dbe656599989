"""The table of predictions: one row for each cell, with probabilities, and with what a bundle doubts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..datasets.left_out import LeftOut
from ..leaks.guard import Verdict


@dataclass(frozen=True)
class Predicted:
    """Predictions on cells from elsewhere: the table, the cells under the model's labels, what was left out, and
    whether cells were in its training."""

    predictions: pl.DataFrame
    manifest: pl.DataFrame
    left_out: LeftOut
    verdict: Verdict


def predictions_table(cells: pl.DataFrame, probabilities: np.ndarray, classes: Sequence[str], *,
                      fold: int) -> pl.DataFrame:
    """The predictions table of cells (manifest rows) and their probabilities (n, classes), in the cells' order."""
    predicted = np.asarray(classes, object)[probabilities.argmax(1)]
    number = pl.lit(fold, dtype=pl.Int64).alias("fold")
    return cells.select("cell_id", "subject", "group", number, "label").with_columns(
        pl.Series("predicted", predicted, dtype=pl.String),
        *(pl.Series(f"p_{name}", probabilities[:, i], dtype=pl.Float64) for i, name in enumerate(classes)))


def doubt_columns(names: np.ndarray, sets: np.ndarray | None, energies: np.ndarray,
                  least_energy: float | None) -> list[pl.Series]:
    """What a bundle doubts: `unsure` (the conformal set does not hold exactly one class), `set` (JSON), `known` (the
    energy is that of cells like those of training) and `energy`; null where it cannot say. sets: (n, names) bool."""
    unsure = texts = known = [None] * len(energies)
    if sets is not None:
        unsure, texts = sets.sum(1) != 1, [json.dumps(names[row].tolist(), ensure_ascii=False) for row in sets]
    if least_energy is not None:
        known = energies >= least_energy
    return [pl.Series("unsure", unsure, dtype=pl.Boolean), pl.Series("set", texts, dtype=pl.String),
            pl.Series("known", known, dtype=pl.Boolean), pl.Series("energy", energies, dtype=pl.Float32)]


def mean_over_folds(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """One row a cell, with fold 0 and the mean of the probabilities that several folds give it."""
    names = [f"p_{name}" for name in classes]
    cells = predictions.group_by("cell_id", maintain_order=True).agg(
        pl.first("subject", "group", "label"), pl.mean(*names))
    return predictions_table(cells, cells.select(names).to_numpy(), classes, fold=0)
