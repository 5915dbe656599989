"""The differential as it stands after a person's decisions, and how far it is from the machine's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ..smear.count import Differential, differential
from .result import SmearResult
from .state import CONFIRMED, MACHINE, REJECTED, State


@dataclass(frozen=True)
class Standing:
    """A smear as it stands. count: with every decision; rejected, answered: cells; changed: cells whose type is no
    longer the machine's. unsure, flagged: names of the cells that nobody has answered; a flagged one is not among the
    unsure."""

    count: Differential
    rejected: int
    answered: int
    changed: int
    unsure: tuple[str, ...]
    flagged: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; of the unanswered cells their number alone."""
        return asdict(self) | {"unsure": len(self.unsure), "flagged": len(self.flagged)}


def standing(result: SmearResult, state: State, types: Sequence[str]) -> Standing:
    """Count the cells of a smear. Cells that are cut, or damaged and not confirmed by a person, do not count; nor do
    rejected ones. A cell that a person has answered is no longer unsure."""
    names = result.names
    cells = [state.cells[name] for name in names]
    table = result.cells.select("predicted", "unsure", "known", "cut", "damaged", "flag").with_columns(
        pl.Series("name", names, dtype=pl.String), pl.Series("now", [cell[0] for cell in cells], dtype=pl.String),
        pl.Series("how", [cell[1] for cell in cells], dtype=pl.String))
    counted = table.filter(pl.col("how") != REJECTED).with_columns(
        pl.col("now").alias("predicted"), damaged=pl.col("damaged") & (pl.col("how") != CONFIRMED),
        unsure=pl.col("unsure") & (pl.col("how") == MACHINE), known=pl.col("known") | (pl.col("how") != MACHINE))
    waiting = table.filter(pl.col("how") == MACHINE)
    flagged = waiting.filter(pl.col("flag").is_not_null())
    doubtful = pl.col("unsure").fill_null(False) | ~pl.col("known").fill_null(True)
    unsure = waiting.filter(pl.col("flag").is_null() & doubtful & ~pl.col("cut") & ~pl.col("damaged"))
    return Standing(
        differential(counted, types), table.filter(pl.col("how") == REJECTED).height,
        table.height - waiting.height,
        table.filter((pl.col("how") == CONFIRMED) & pl.col("now").ne_missing(pl.col("predicted"))).height,
        tuple(unsure["name"]), tuple(flagged["name"]))
