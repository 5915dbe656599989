"""Two observers, or a machine and an observer, who typed the same cells one by one: Cohen's kappa. Reads two tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..datasets.labels import alike
from ..errors import LeukoscopeError
from ..runs.stored import Result
from ..stats.agreement import Weights, cohen_kappa
from ..stats.bootstrap import bootstrap_method, cluster_bootstrap, percentile_interval
from ..stats.estimate import Estimate, number_clusters
from ..stats.rates import bootstrap_rate, wilson
from ..text import join, plural
from .count_tables import SMEAR, TYPE
from .given_table import find_column, read_given

CELL = ("cell_id", "cell", "image")
ROUNDS = 2000


@dataclass(frozen=True)
class Typed:
    """One observer's types, one row for each cell. cells, types, smears: columns; smears is None if not known."""

    file: str
    table: pl.DataFrame
    unlabelled: int


@dataclass(frozen=True)
class ClassAgreement:
    """One type: how many cells the first and the second called so, and both; kappa of this type against the rest."""

    first: int
    second: int
    both: int
    kappa: Estimate


@dataclass(frozen=True)
class Observers(Result):
    """What agreement.json holds of cells. table: rows the first observer, columns the second. linear, quadratic:
    weighted kappas, None where no order of the types was given."""

    first: str
    second: str
    confidence: float
    classes: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    same: Estimate
    kappa: Estimate
    per_class: Mapping[str, ClassAgreement]
    remarks: tuple[str, ...]
    linear: Estimate | None = None
    quadratic: Estimate | None = None

    @property
    def cells(self) -> int:
        return sum(map(sum, self.table))


def read_typed(path: Path, *, machine: bool) -> Typed | None:
    """One row a cell: its id and its type, and its smear where a column names it; None where the table has no column of
    cells or types. machine: `predicted` is taken where there are several columns of types."""
    if path.is_dir():
        return None
    frame = read_given(path, (*CELL, *SMEAR, *TYPE))
    kinds = ("predicted", "type", "class", "label") if machine else TYPE
    cell, kind, smear = (find_column(frame, names) for names in (CELL, kinds, (*reversed(SMEAR), "group")))
    if not cell or not kind:
        return None
    twice = frame[cell].filter(frame[cell].is_duplicated()).drop_nulls()
    if len(twice):
        raise LeukoscopeError(f"{path}: {cell} '{twice[0]}' has {(twice == twice[0]).sum()} rows",
                              "give each cell one row")
    table = pl.DataFrame({"cell": frame[cell], "type": frame[kind],
                          "smear": frame[smear] if smear else pl.Series([None] * frame.height, dtype=pl.String)})
    known = table.drop_nulls(["cell", "type"])
    if known.is_empty():
        raise LeukoscopeError(f"{path}: column '{kind}' is empty", "give the type of each cell")
    return Typed(str(path), known, frame.height - known.height)


def compare_observers(first: Typed, second: Typed, *, order: Sequence[str] = (), merge: Mapping[str, str] | None = None,
                      confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> Observers:
    """Compare two observers of the same cells; cells of one only are named and left out. order: of all types, for the
    weighted kappas. merge: type -> the type it belongs to. With smears known, intervals are by smear. Raises
    LeukoscopeError where they share no cell."""
    both = first.table.join(second.table, on="cell", suffix="_second")
    if both.is_empty():
        raise LeukoscopeError(f"{first.file} and {second.file} have no cell in common",
                              f"'{first.table['cell'][0]}' is a cell of one, '{second.table['cell'][0]}' of the other: "
                              "name the cells alike")
    into = {alike(old): new for old, new in (merge or {}).items()}
    names: dict[str, str] = {}
    columns = [[_name(into.get(alike(kind), kind), names) for kind in map(str, both[column])]
               for column in ("type", "type_second")]
    classes = _classes(names, order)
    places = {name: k for k, name in enumerate(classes)}
    ours, theirs = (np.array([places[name] for name in column]) for column in columns)
    smears = both.select(pl.coalesce("smear", "smear_second"))["smear"]
    clusters, count = number_clusters(smears.to_numpy()) if not smears.null_count() else (np.arange(len(ours)), 0)
    tables = np.zeros((len(classes), len(classes), max(count, 1)), np.int64)
    np.add.at(tables, (ours, theirs, clusters if count else np.zeros_like(clusters)), 1)  # type: ignore[arg-type]

    def kappa(tables: np.ndarray, weights: Weights = "none") -> Estimate:
        alone = cohen_kappa(tables.sum(2), confidence, weights)
        return alone if alone.value is None or not count else _by_smear(alone.value, tables, weights, confidence,
                                                                        rounds, seed)

    hits = np.bincount(clusters, ours == theirs).astype(np.int64)
    same = (bootstrap_rate(hits, np.bincount(clusters), confidence, rounds, seed, "smear") if count else
            wilson(int(hits.sum()), len(ours), confidence))
    table = tables.sum(2)
    per_class = {name: ClassAgreement(int(table[k].sum()), int(table[:, k].sum()), int(table[k, k]),
                                      kappa(_against_rest(tables, k))) for k, name in enumerate(classes)}
    return Observers(
        first.file, second.file, confidence, tuple(classes), tuple(map(tuple, table.tolist())), same, kappa(tables),
        per_class, tuple(_remarks(first, second, both.height, count)),
        kappa(tables, "linear") if order else None, kappa(tables, "quadratic") if order else None)


def _name(kind: str, names: dict[str, str]) -> str:
    """The first way in which a type was written, for all ways that look alike."""
    return names.setdefault(alike(kind), kind)


def _classes(names: Mapping[str, str], order: Sequence[str]) -> list[str]:
    missing = [name for key, name in names.items() if key not in map(alike, order)]
    if order and missing:
        raise LeukoscopeError(f"order: {join(missing)} {'is' if len(missing) == 1 else 'are'} not in it",
                              "name every type once, from the first to the last")
    return [names[alike(name)] for name in order if alike(name) in names] if order else sorted(names.values())


def _against_rest(tables: np.ndarray, k: int) -> np.ndarray:
    """(2, 2, smears) one class against the rest, of (classes, classes, smears)."""
    ours, theirs, both = tables[k].sum(0), tables[:, k].sum(0), tables[k, k]
    return np.array([[tables.sum((0, 1)) - ours - theirs + both, theirs - both], [ours - both, both]])


def _by_smear(value: float, tables: np.ndarray, weights: Weights, confidence: float, rounds: int,
              seed: int) -> Estimate:
    count = tables.shape[2]
    if count < 2:
        return Estimate(value, None, None, "no interval: one smear only")

    def statistic(drawn: np.ndarray, _: slice) -> np.ndarray:
        each = np.moveaxis((tables @ drawn).round().astype(np.int64), 2, 0)
        return np.array([cohen_kappa(table, confidence, weights).value for table in each], float)

    drawn = cluster_bootstrap({"kappa": statistic}, count, rounds, seed)["kappa"]
    low, high = percentile_interval(drawn, value, count, confidence, (-1.0, 1.0))
    return Estimate(value, low, high, bootstrap_method("smear", count))


def _remarks(first: Typed, second: Typed, cells: int, smears: int) -> list[str]:
    remarks = []
    for own in (first, second):
        alone = own.table.height - cells
        if alone:
            remarks.append(f"{plural(alone, 'cell')} of {own.file} {'is' if alone == 1 else 'are'} not in the other "
                           f"table and left out.")
        if own.unlabelled:
            remarks.append(f"{plural(own.unlabelled, 'row')} of {own.file} {'has' if own.unlabelled == 1 else 'have'} "
                           "no type and left out.")
    return [*remarks, f"{plural(cells, 'cell')} of {plural(smears, 'smear')}: intervals are by smear." if smears else
            "The smears of the cells are not known: cells are taken as independent."]
