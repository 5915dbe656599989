"""Counts of smears as people keep them: one row for each smear, each smear and type, or each cell. Compares
nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..datasets.labels import alike
from ..errors import LeukoscopeError
from ..text import join
from .given_table import find_column, numbers_in, read_given

SMEAR = ("smear", "sample", "slide", "subject")
CELL = ("cell_id", "cell", "number")
TYPE = ("type", "label", "predicted", "class")
CELLS = ("cells", "count")
_OF_FOLDERS = ("subjects.parquet", "cells.parquet")


@dataclass(frozen=True)
class Counts:
    """cells: (smears, types) whole numbers. file: what they were read from; ignored: columns that hold no counts."""

    file: str
    smears: tuple[str, ...]
    types: tuple[str, ...]
    cells: np.ndarray
    ignored: tuple[str, ...] = ()

    def total(self, used: Sequence[int]) -> np.ndarray:
        """(smears,) cells of some types, by their places."""
        return self.cells[:, list(used)].sum(1)


def read_counts(path: Path, *, machine: bool, merge: Mapping[str, str] | None = None,
                leave_out: Collection[str] = ()) -> Counts:
    """The counts in a table, or in a folder of `leukoscope smear`.

    machine: of the machine, where a table has both (columns `machine_<type>` and `cells_<type>`, as the workbench
    exports them). merge: type -> the type it belongs to; leave_out: types that are not compared. Raises
    LeukoscopeError that names file, row and column.
    """
    file = _table_of(path)
    frame = read_given(file, (*SMEAR, *TYPE, *CELLS))
    smear = find_column(frame, SMEAR)
    if not smear:
        raise LeukoscopeError(f"{file}: no column that names the smear (it has {', '.join(frame.columns)})",
                              f"call it {join(SMEAR, 'or')}")
    empty = frame[smear].is_null().arg_true()
    if len(empty):
        raise LeukoscopeError(f"{file}, row {empty[0] + 1}: column '{smear}' is empty", "name the smear in every row")
    kinds = ("machine", *TYPE) if machine else TYPE
    kind, number, cell = (find_column(frame, names) for names in (kinds, CELLS, CELL))
    if kind and number and not cell:
        counts = _long(frame, file, smear, kind, number)
    elif kind and cell:
        counted = frame.filter(_is_counted(frame, machine) & pl.col(kind).is_not_null())
        counts = _summed(frame[smear], counted[smear], counted[kind], np.ones(counted.height, np.int64), file)
    else:
        counts = _wide(frame, file, smear, ("machine_", "cells_") if machine else ("cells_",))
    counts = _merged(counts, merge or {}, leave_out)
    if not counts.types:
        raise LeukoscopeError(f"{file}: no column of counts (it has {', '.join(frame.columns)})",
                              "give one column for each type, with numbers of cells")
    return counts


def _table_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in _OF_FOLDERS if (path / name).is_file()), None)
    if found is None:
        raise LeukoscopeError(f"{path}: not a folder that leukoscope smear wrote", "name a table of counts")
    return found


def _wide(frame: pl.DataFrame, file: Path, smear: str, prefixes: Sequence[str]) -> Counts:
    prefix = next((each for each in prefixes if any(name.startswith(each) for name in frame.columns)), "")
    columns, ignored = {}, []
    for name in frame.columns:
        if name == smear or not name.startswith(prefix):
            continue
        values = numbers_in(frame, name, file)
        if values is None or name.casefold() == "total":
            ignored.append(name)
        else:
            columns[name.removeprefix(prefix)] = _whole(values, frame[smear], name, file)
    twice = frame[smear].filter(frame[smear].is_duplicated())
    if len(twice):
        raise LeukoscopeError(f"{file}: smear '{twice[0]}' has {(twice == twice[0]).sum()} rows",
                              "give each smear one row")
    cells = np.array(list(columns.values()), np.int64).reshape(len(columns), frame.height).T
    _check_total(frame, cells, file, smear)
    return Counts(str(file), tuple(frame[smear]), tuple(columns), cells, tuple(ignored))


def _whole(values: pl.Series, smears: pl.Series, name: str, file: Path) -> np.ndarray:
    where = f"{file}, smear '{{}}', column '{name}'"
    empty = values.is_null().arg_true()
    if len(empty):
        raise LeukoscopeError(f"{where.format(smears[empty[0]])}: empty", "write 0 where no cell of this type was seen")
    for row, value in enumerate(values.to_list()):
        if value != round(value) or value < 0:
            raise LeukoscopeError(f"{where.format(smears[row])}: {value:g} is not a number of cells",
                                  "write how many cells were counted, not percentages")
    return values.cast(pl.Int64).to_numpy()


def _check_total(frame: pl.DataFrame, cells: np.ndarray, file: Path, smear: str) -> None:
    """A column `total` has to be the sum of its row."""
    name = find_column(frame, ("total",))
    stated = numbers_in(frame, name, file) if name else None
    for row, value in enumerate(stated.to_list() if stated is not None else []):
        if value is not None and value != cells[row].sum():
            raise LeukoscopeError(f"{file}, smear '{frame[smear][row]}': {name} is {value:g}, its types add up to "
                                  f"{cells[row].sum()}", "correct the row")


def _long(frame: pl.DataFrame, file: Path, smear: str, kind: str, number: str) -> Counts:
    values = numbers_in(frame, number, file)
    if values is None or frame[kind].null_count():
        raise LeukoscopeError(f"{file}: columns '{kind}' and '{number}' need a value in every row", "fill them in")
    cells = _whole(values, frame[smear], number, file)
    twice = frame.select(smear, kind).is_duplicated().arg_true()
    if len(twice):
        row = frame.row(twice[0], named=True)
        raise LeukoscopeError(f"{file}: smear '{row[smear]}' has two rows of type '{row[kind]}'", "give it one row")
    return _summed(frame[smear], frame[smear], frame[kind], cells, file)


def _is_counted(frame: pl.DataFrame, machine: bool) -> pl.Expr:
    """Which cells a smear's count counts: neither cut nor damaged, and not rejected by the person who reviewed it."""
    if "counted" in frame.columns and not machine:
        return pl.col("counted") == "true"
    aside = [pl.col(name).fill_null("false") == "true" for name in ("cut", "damaged") if name in frame.columns]
    return ~pl.any_horizontal(pl.lit(False), *aside)


def _summed(every: pl.Series, smears: pl.Series, kinds: pl.Series, numbers: np.ndarray, file: Path) -> Counts:
    """every: the smears, those too that have no row."""
    names, types = every.unique(maintain_order=True).to_list(), kinds.unique(maintain_order=True).to_list()
    cells = np.zeros((len(names), len(types)), np.int64)
    places = {name: i for i, name in enumerate(names)}, {name: i for i, name in enumerate(types)}
    for smear, kind, number in zip(smears, kinds, numbers.tolist(), strict=True):
        cells[places[0][smear], places[1][kind]] += number
    return Counts(str(file), tuple(names), tuple(types), cells)


def _merged(counts: Counts, merge: Mapping[str, str], leave_out: Collection[str]) -> Counts:
    """Types under the name that they are compared by; two that differ in nothing a reader sees are refused."""
    into = {alike(old): new for old, new in merge.items()}
    gone = {alike(name) for name in leave_out}
    names = [into.get(alike(name), name) for name in counts.types]
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if alike(counts.types[place]) not in gone and alike(name) not in gone:
            groups.setdefault(alike(name), []).append(place)
    for places in groups.values():
        own = [counts.types[place] for place in places if alike(counts.types[place]) not in into]
        if len({alike(name) for name in own}) < len(own):
            raise LeukoscopeError(f"{counts.file}: types {join(repr(name) for name in own)} differ only in case or "
                                  "blanks", "make one column of them")
    return Counts(counts.file, counts.smears, tuple(names[places[0]] for places in groups.values()),
                  np.stack([counts.total(places) for places in groups.values()], axis=1) if groups else
                  np.zeros((len(counts.smears), 0), np.int64), counts.ignored)
