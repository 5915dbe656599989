"""All cells of a smear in one table: those that the machine found, then those that persons have drawn. Rows never move:
the place of a cell is its address for as long as the smear is reviewed. Knows no decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..smear.flag import ORDER
from ..tables import Row


@dataclass(frozen=True, eq=False)
class Cells:
    """table: as `smear` writes it, one row a cell; machine: how many of them, the first ones, the machine found;
    classes: its types."""

    table: pl.DataFrame
    machine: int
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return self.table.height

    def row(self, place: int) -> Row:
        """A cell by its place."""
        return self.table.row(place, named=True)

    def with_drawn(self, rows: Iterable[Row]) -> Cells:
        """The same and the cells that persons drew. rows: as `smear` writes them; unknown columns are left out."""
        columns = self.table.columns
        more = pl.DataFrame([[row.get(name) for name in columns] for row in rows], schema=self.table.schema,
                            orient="row")
        return Cells(pl.concat([self.table, more]), self.machine, self.classes)

    @cached_property
    def names(self) -> list[str]:
        """Of each cell, its lasting name: field and number."""
        return [f"{field}/{number}" for field, number in self.table.select("field", "number").iter_rows()]

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of a cell by its name."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def sure(self) -> list[float | None]:
        """Of each cell, the machine's probability of its type, in percent; None without one."""
        columns = {name: self.table[f"p_{name}"].to_list() for name in self.classes
                   if f"p_{name}" in self.table.columns}
        values = [columns[name][row] if name in columns else None
                  for row, name in enumerate(self.table["predicted"].to_list())]
        return [None if value is None else round(100 * value, 1) for value in values]

    @cached_property
    def doubtful(self) -> list[bool]:
        """Of each cell, whether the machine is unsure of it, or it is unlike those of training."""
        doubt = pl.col("unsure").fill_null(False) | ~pl.col("known").fill_null(True)
        return self.table.select(doubt).to_series().to_list()

    @cached_property
    def order(self) -> list[int]:
        """The rows in the order in which to look at them: flagged ones, doubtful ones, then the least probable first.
        """
        flags = {flag: place for place, flag in enumerate(ORDER)}
        keys = [(flags.get(flag, len(ORDER)), not doubt, 101.0 if sure is None else sure)
                for flag, doubt, sure in zip(self.table["flag"].to_list(), self.doubtful, self.sure, strict=True)]
        return sorted(range(len(keys)), key=keys.__getitem__)

    @cached_property
    def columns(self) -> Columns:
        """What a count needs."""
        def said(name: str) -> NDArray[np.int8]:
            return self.table[name].cast(pl.Int8).fill_null(-1).to_numpy()

        return Columns(self.table["cut"].fill_null(False).to_numpy(), self.table["damaged"].fill_null(False).to_numpy(),
                       said("unsure"), said("known"), self.table["flag"].is_not_null().to_numpy(),
                       self.table["predicted"].to_list())


@dataclass(frozen=True, eq=False)
class Columns:
    """Of each cell: cut, damaged, flagged: bool; unsure, known: 1, 0, or -1 where the bundle cannot say; predicted."""

    cut: NDArray[np.bool_]
    damaged: NDArray[np.bool_]
    unsure: NDArray[np.int8]
    known: NDArray[np.int8]
    flagged: NDArray[np.bool_]
    predicted: Sequence[str | None]
