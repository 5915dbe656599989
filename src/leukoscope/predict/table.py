"""The table of predictions: one row a cell, with probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ..leaks.guard import Verdict


@dataclass(frozen=True)
class Predicted:
    """Predictions of a run on cells from elsewhere: the table, the cells under the run's labels, what was left out
    (as in left_out.json), and whether the run had seen them in training."""

    predictions: pl.DataFrame
    manifest: pl.DataFrame
    left_out: dict[str, Any]
    verdict: Verdict


def predictions_table(cells: pl.DataFrame, probabilities: np.ndarray, classes: Sequence[str], *,
                      fold: int) -> pl.DataFrame:
    """The predictions table of cells (manifest rows) and their probabilities (n, classes), in the cells' order."""
    predicted = np.asarray(classes, object)[probabilities.argmax(1)]
    number = pl.lit(fold, dtype=pl.Int64).alias("fold")
    return cells.select("cell_id", "subject", "group", number, "label").with_columns(
        pl.Series("predicted", predicted, dtype=pl.String),
        *(pl.Series(f"p_{name}", probabilities[:, i], dtype=pl.Float64) for i, name in enumerate(classes)))


def mean_over_folds(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """One row a cell, as of one fold 0: the mean of the probabilities that several folds give it."""
    names = [f"p_{name}" for name in classes]
    cells = predictions.group_by("cell_id", maintain_order=True).agg(
        pl.first("subject", "group", "label"), pl.mean(*names))
    return predictions_table(cells, cells.select(names).to_numpy(), classes, fold=0)
