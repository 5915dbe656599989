"""The count as it stands, against the same count by the tables of `smear`."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from leukoscope.review.cells import Cells
from leukoscope.review.count import standing
from leukoscope.review.state import ABSENT, CONFIRMED, HOW, MACHINE, REJECTED, State
from leukoscope.smear.count import differential

TYPES = ("neutrophil", "lymphocyte", "erythroblast", "platelet", "smudge")


def cells_of(rng: np.random.Generator, count: int, says: bool) -> Cells:
    """Random cells; says: whether the bundle can say that a cell is unsure or unlike those of training."""
    def chance(share: float, missing: float = 0.0) -> list[bool | None]:
        return [None if rng.random() < missing else bool(rng.random() < share) for _ in range(count)]

    told = chance(0.3, 0.2) if says else [None] * count
    table = pl.DataFrame({
        "field": ["a"] * count, "number": list(range(1, count + 1)), "cut": chance(0.2), "damaged": chance(0.2),
        "flag": [None if rng.random() < 0.8 else "blast" for _ in range(count)], "unsure": told, "known": told[::-1],
        "predicted": [None if rng.random() < 0.1 else str(rng.choice(TYPES)) for _ in range(count)]},
        schema_overrides={**dict.fromkeys(("unsure", "known", "cut", "damaged"), pl.Boolean),
                          **dict.fromkeys(("field", "flag", "predicted"), pl.String)})
    return Cells(table, count, TYPES)


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_count_is_that_of_the_tables_of_smear(seed: int, says: bool):
    rng = np.random.default_rng(seed)
    cells = cells_of(rng, 0 if seed == 3 else 80, says)
    kinds = [str(rng.choice((*TYPES, "added"))) if rng.random() < 0.4 else was for was in cells.table["predicted"]]
    hows = [str(rng.choice(HOW, p=(0.5, 0.3, 0.1, 0.1))) for _ in kinds]
    state = State(dict(zip(cells.names, zip(kinds, hows, strict=True), strict=True)))
    now = standing(cells, state, (*TYPES, "added"))
    how = pl.col("how")
    table = cells.table.with_columns(pl.Series("now", kinds, dtype=pl.String), pl.Series("how", hows, dtype=pl.String))
    there = table.filter(~how.is_in([REJECTED, ABSENT])).with_columns(
        pl.col("now").alias("predicted"), damaged=pl.col("damaged") & (how != CONFIRMED),
        unsure=pl.col("unsure") & (how == MACHINE), known=pl.col("known") | (how != MACHINE))
    assert now.count == differential(there, (*TYPES, "added"))
    waiting = table.filter(how == MACHINE)
    doubt = pl.col("unsure").fill_null(False) | ~pl.col("known").fill_null(True)
    assert len(now.flagged) == waiting.filter(pl.col("flag").is_not_null()).height
    assert len(now.unsure) == waiting.filter(
        pl.col("flag").is_null() & doubt & ~pl.col("cut") & ~pl.col("damaged")).height
    assert now.answered == table.filter(how.is_in([CONFIRMED, REJECTED])).height
    assert now.rejected == hows.count(REJECTED)


def test_without_reliable_types_shares_wait_for_a_person():
    cells = cells_of(np.random.default_rng(5), 60, True)
    was = cells.table["predicted"].to_list()

    def shares(hows: list[str]) -> list[float | None]:
        state = State(dict(zip(cells.names, zip(was, hows, strict=True), strict=True)))
        count = standing(cells, state, TYPES, reliable=False).count
        assert count.total > 0
        return [kind.share.value for kind in count.types if kind.share is not None]

    assert shares([MACHINE] * 60) == [None, None]
    some = [MACHINE if kind == "lymphocyte" else CONFIRMED for kind in was]
    assert shares(some) == [None, None]
    others = [CONFIRMED if kind in ("neutrophil", "lymphocyte") else MACHINE for kind in was]
    assert sum(share or 0 for share in shares(others)) == pytest.approx(1)
