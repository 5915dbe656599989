"""The predictions table, checked and turned into arrays; and which cells belong together.

Computes no metrics: a table that passes here can be evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import LeukoscopeError
from ..stats.estimate import Estimate, number_clusters
from ..stats.rates import bootstrap_rate, wilson

TEXT = ("cell_id", "subject", "group", "label", "predicted")
TOLERANCE = 1e-3  # a table whose numbers were rounded to four digits, in a CSV file for example, still passes


@dataclass(frozen=True)
class IntervalOptions:
    """confidence: of the intervals, 0 to 1; rounds, seed: of the bootstrap."""

    confidence: float = 0.95
    rounds: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Cells:
    """Cells (or subjects) with labels and probabilities, in the order of their ids.

    labels, predicted: (n,) positions in `classes`; probabilities: (n, classes); folds: (n,). clusters: (n,) numbers
    from 0 to count - 1 of what is independent, which `unit` names. subjects: (n,) names, None where not known.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    folds: np.ndarray
    subjects: np.ndarray
    clusters: np.ndarray
    count: int
    unit: str

    @property
    def independent(self) -> bool:
        """Every cell is a cluster of its own."""
        return self.count == len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool: the predicted class is the label."""
        return self.labels == self.predicted

    def by_cluster(self, cells: np.ndarray) -> np.ndarray:
        """How many of some cells (n,) bool are in each cluster, (count,) int."""
        return np.bincount(self.clusters[cells], minlength=self.count)

    def rate(self, hits: np.ndarray, among: np.ndarray, options: IntervalOptions | None = None) -> Estimate:
        """The share of some cells, `among` (n,) bool, that are `hits`: Wilson's interval where cells are independent,
        else the bootstrap by cluster."""
        how, hits = options or IntervalOptions(), hits & among
        if self.independent:
            return wilson(int(hits.sum()), int(among.sum()), how.confidence)
        return bootstrap_rate(self.by_cluster(hits), self.by_cluster(among), how.confidence, how.rounds, how.seed,
                              self.unit)


def read_cells(predictions: pl.DataFrame, classes: Sequence[str], name: str = "predictions") -> Cells:
    """Check a predictions table (docs/statistics.md lists its columns). LeukoscopeError names `name`, row and column.
    """
    columns = _check_columns(predictions, classes, name)
    table = _typed(predictions.select(columns), name)
    twice = table["cell_id"].is_duplicated()
    if twice.any():
        rows = (table["cell_id"] == table["cell_id"].filter(twice)[0]).arg_true()
        raise LeukoscopeError(f"{name}: cell_id '{table['cell_id'][rows[0]]}' appears in rows {rows[0] + 1} and "
                              f"{rows[1] + 1}", "give each cell one row")

    def refuse(wrong: np.ndarray, text: Callable[[int], str], hint: str) -> None:
        for row in np.flatnonzero(wrong)[:1].tolist():
            raise LeukoscopeError(f"{name}, row {row + 1} ('{table['cell_id'][row]}'): {text(row)}", hint)

    def check(wrong: np.ndarray, text: str, hint: str = "write softmax outputs") -> None:
        refuse(wrong, lambda row: f"{text} ({', '.join(f'{c} {v:.4g}' for c, v in zip(names, p[row], strict=True))})",
               hint)

    positions, listed = {c: i for i, c in enumerate(classes)}, f"the classes are {', '.join(classes)}"
    labels, predicted = (np.array([positions.get(value, -1) for value in table[c]]) for c in ("label", "predicted"))
    refuse(labels < 0, lambda row: f"label '{table['label'][row]}' is not a class", listed)
    refuse(predicted < 0, lambda row: f"predicted '{table['predicted'][row]}' is not a class", listed)
    names = columns[6:]
    p = table.select(names).to_numpy().astype(np.float64)
    check((~np.isfinite(p)).sum(1) > 0, "a probability is missing or not a number", "predict this cell again")
    check(((p < -TOLERANCE) | (p > 1 + TOLERANCE)).sum(1) > 0, "a probability is outside 0 to 1")
    check(np.abs(p.sum(1) - 1) > TOLERANCE, "the probabilities do not add up to 1")
    check(np.take_along_axis(p, predicted[:, None], 1)[:, 0] < p.max(1) - TOLERANCE,
          "'predicted' is not the most probable class", "predicted must be the class of the largest probability")
    order = table["cell_id"].arg_sort().to_numpy()
    table = table[order]
    return Cells(tuple(classes), labels[order], predicted[order], p[order], table["fold"].to_numpy(),
                 np.array(table["subject"].to_list(), dtype=object), *clusters_of(table))


def _check_columns(predictions: pl.DataFrame, classes: Sequence[str], name: str) -> list[str]:
    if isinstance(classes, str) or len(classes) < 2 or len(set(classes)) < len(classes):
        raise LeukoscopeError(f"classes are {classes!r}, expected two or more different names", "name each class once")
    if not isinstance(predictions, pl.DataFrame):
        raise LeukoscopeError(f"{name}: expected a polars DataFrame, got {type(predictions).__name__}",
                              "read the table with polars")
    columns = ["cell_id", "subject", "group", "fold", "label", "predicted", *(f"p_{c}" for c in classes)]
    present = predictions.columns
    for column in columns:
        if column not in present:
            raise LeukoscopeError(f"{name}: no column '{column}' (it has {', '.join(present) or 'none'})",
                                  f"expected {', '.join(columns)}")
    for column in present:
        if column.startswith("p_") and column not in columns:
            raise LeukoscopeError(f"{name}: column '{column}' belongs to no class",
                                  f"the classes are {', '.join(classes)}")
    if predictions.is_empty():
        raise LeukoscopeError(f"{name}: the table has no rows", "predict some cells first")
    return columns


def _typed(table: pl.DataFrame, name: str) -> pl.DataFrame:
    series = []
    for column in table.columns:
        kind = pl.String() if column in TEXT else pl.Int64() if column == "fold" else pl.Float64()
        try:
            series.append(table[column].cast(kind, strict=True))
        except pl.exceptions.PolarsError as error:
            wrong = (table[column].cast(kind, strict=False).is_null() & table[column].is_not_null()).arg_true()
            row = wrong[0] if len(wrong) else 0
            what = f"{name}, row {row + 1}, column '{column}': '{table[column][row]}' is not of type {kind}"
            raise LeukoscopeError(what, f"write {'text' if column in TEXT else 'numbers'} in this column") from error
    typed = pl.DataFrame(series).with_columns(pl.col("subject", "group").replace("", None))
    for column in ("cell_id", "fold", "label", "predicted"):
        for row in typed[column].is_null().arg_true()[:1]:
            raise LeukoscopeError(f"{name}, row {row + 1}: column '{column}' is empty",
                                  "leave out cells without a label" if column == "label" else "fill it in every row")
    return typed


def clusters_of(table: pl.DataFrame) -> tuple[np.ndarray, int, str]:
    """Cells (with `subject` and `group`) that share one of these, directly or through others: a group may hold several
    ids of one person. Gives the cluster of each cell, how many there are, and what they are: cells, subjects where
    every cell has one, else groups."""
    n = table.height
    cells, owners, start = [], [], n
    for column in ("subject", "group"):
        names, numbers = np.unique(table[column].drop_nulls().to_numpy(), return_inverse=True)
        cells.append(table[column].is_not_null().arg_true().to_numpy())
        owners.append(start + numbers.reshape(-1))
        start += len(names)
    rows, columns = np.concatenate(cells), np.concatenate(owners)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(start, start))
    parts = cast("np.ndarray", connected_components(graph, directed=False)[1])[:n]
    clusters, count = number_clusters(parts)
    if count == n:
        return np.arange(n), n, "cell"
    return clusters, count, "group" if table["subject"].null_count() else "subject"
