"""The predictions table, checked and turned into arrays; and which cells belong together.

Knows nothing of figures: a table that passes here can be evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import LeukoscopeError
from ..stats.estimate import number_clusters

TEXT = ("cell_id", "subject", "group", "label", "predicted")
TOLERANCE = 1e-3  # a table that was rounded to four digits on its way through CSV still passes


@dataclass(frozen=True)
class Cells:
    """Cells (or subjects) with labels and probabilities, in the order of their ids.

    labels, predicted: (n,) positions in `classes`; probabilities: (n, classes); folds: (n,). clusters: (n,) numbers
    from 0 to count - 1 of what is independent, named by `unit`. subjects: (n,) names, None where not known.
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

    def by_cluster(self, cells: np.ndarray) -> np.ndarray:
        """How many of some cells (n,) bool are in each cluster, (count,) int."""
        return np.bincount(self.clusters[cells], minlength=self.count)


def read_cells(predictions: pl.DataFrame, classes: Sequence[str], name: str = "predictions") -> Cells:
    """Check a predictions table (docs/statistics.md lists its columns). LeukoscopeError names row, column and mend."""
    classes = _check_classes(classes)
    if not isinstance(predictions, pl.DataFrame):
        raise LeukoscopeError(f"{name}: expected a polars DataFrame, got {type(predictions).__name__}",
                              "read the table with polars")
    columns = ("cell_id", "subject", "group", "fold", "label", "predicted", *(f"p_{c}" for c in classes))
    missing = [column for column in columns if column not in predictions.columns]
    if missing:
        raise LeukoscopeError(f"{name}: no column '{missing[0]}' (it has {', '.join(predictions.columns) or 'none'})",
                              f"expected {', '.join(columns)}")
    further = [c for c in predictions.columns if c.startswith("p_") and c not in columns]
    if further:
        raise LeukoscopeError(f"{name}: column '{further[0]}' is of no class", f"the classes are {', '.join(classes)}")
    if predictions.is_empty():
        raise LeukoscopeError(f"{name}: the table has no rows", "predict some cells first")
    table = _typed(predictions.select(columns).with_row_index("row", offset=1), name)
    _check_ids(table, name)
    table = table.sort("cell_id")
    labels, predicted = (_positions(table, column, classes, name) for column in ("label", "predicted"))
    probabilities = table.select(f"p_{c}" for c in classes).to_numpy().astype(np.float64)
    _check_probabilities(table, probabilities, predicted, classes, name)
    clusters, count, unit = _clusters(table)
    return Cells(classes, labels, predicted, probabilities, table["fold"].to_numpy(),
                 np.array(table["subject"].to_list(), dtype=object), clusters, count, unit)


def _check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(classes, str) or len(classes) < 2 or len(set(classes)) < len(classes):
        raise LeukoscopeError(f"classes are {classes!r}, expected two or more different names", "name each class once")
    return tuple(classes)


def _typed(table: pl.DataFrame, name: str) -> pl.DataFrame:
    series = []
    for column in table.columns:
        kind = pl.String() if column in TEXT else pl.Int64() if column in ("row", "fold") else pl.Float64()
        try:
            series.append(table[column].cast(kind, strict=True))
        except pl.exceptions.PolarsError as error:
            wrong = (table[column].cast(kind, strict=False).is_null() & table[column].is_not_null()).arg_true()
            row = wrong[0] if len(wrong) else 0
            what = f"{name}, row {row + 1}, column '{column}': '{table[column][row]}' is not of type {kind}"
            raise LeukoscopeError(what, "write text there" if column in TEXT else "write numbers there") from error
    typed = pl.DataFrame(series).with_columns(pl.col("subject", "group").replace("", None))
    for column in ("cell_id", "fold", "label", "predicted"):
        empty = typed[column].is_null().arg_true()
        if len(empty):
            raise LeukoscopeError(f"{name}, row {empty[0] + 1}: column '{column}' is empty",
                                  "leave out cells that have none" if column == "label" else "give every cell one")
    return typed


def _check_ids(table: pl.DataFrame, name: str) -> None:
    twice = table.filter(pl.col("cell_id").is_duplicated())
    if twice.height:
        rows = twice.filter(pl.col("cell_id") == twice["cell_id"][0])["row"].to_list()
        raise LeukoscopeError(f"{name}: cell_id '{twice['cell_id'][0]}' stands in rows {rows[0]} and {rows[1]}",
                              "give one row a cell")


def _positions(table: pl.DataFrame, column: str, classes: tuple[str, ...], name: str) -> np.ndarray:
    known = {c: i for i, c in enumerate(classes)}
    positions = np.array([known.get(value, -1) for value in table[column]])
    wrong = np.flatnonzero(positions < 0)
    if wrong.size:
        row = table.row(int(wrong[table["row"].to_numpy()[wrong].argmin()]), named=True)
        raise LeukoscopeError(f"{name}, row {row['row']} ('{row['cell_id']}'): {column} '{row[column]}' is no class",
                              f"the classes are {', '.join(classes)}")
    return positions


def _check_probabilities(table: pl.DataFrame, p: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...],
                         name: str) -> None:
    def fail(wrong: np.ndarray, text: str, hint: str) -> None:
        if wrong.any():
            at = np.flatnonzero(wrong)
            at = int(at[table["row"].to_numpy()[at].argmin()])
            row = table.row(at, named=True)
            values = ", ".join(f"p_{c} {value:.4g}" for c, value in zip(classes, p[at], strict=True))
            raise LeukoscopeError(f"{name}, row {row['row']} ('{row['cell_id']}'): {text} ({values})", hint)

    fail((~np.isfinite(p)).sum(1) > 0, "a probability is missing or not a number", "predict this cell again")
    outside = ((p < -TOLERANCE) | (p > 1 + TOLERANCE)).sum(1) > 0
    fail(outside, "a probability is outside 0 to 1", "write softmax outputs")
    fail(np.abs(p.sum(1) - 1) > TOLERANCE, "the probabilities do not add up to 1", "write softmax outputs")
    chosen = np.take_along_axis(p, predicted[:, None], 1)[:, 0]
    fail(chosen < p.max(1) - TOLERANCE, "'predicted' is not the most probable class",
         "predicted is the class of the largest probability")


def _clusters(table: pl.DataFrame) -> tuple[np.ndarray, int, str]:
    """Cells that share a subject or a group, directly or through others: a group may hold several ids of one person."""
    n = table.height
    cells, owners, start = [], [], n
    for column in ("subject", "group"):
        known = table[column].is_not_null().to_numpy()
        names, numbers = np.unique(table[column].drop_nulls().to_numpy(), return_inverse=True)
        cells.append(np.flatnonzero(known))
        owners.append(start + numbers.reshape(-1))
        start += len(names)
    rows, columns = np.concatenate(cells), np.concatenate(owners)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(start, start))
    parts = cast("np.ndarray", connected_components(graph, directed=False)[1])[:n]
    clusters, count = number_clusters(parts)
    if count == n:
        return np.arange(n), n, "cell"
    return clusters, count, "subject" if table["subject"].is_not_null().any() else "group"
