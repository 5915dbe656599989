"""The differential: how many leukocytes of each type, with intervals. Knows the answers of a model, and no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ..stats import Estimate, wilson
from .field import FoundCell

RAGGED = 0.85
"""Solidity of the outline below which a cell is called damaged: smudged, torn, or not one cell. docs/smear.md says how
often that is."""
ZERO = 3.0
"""Where none was seen, fewer than this are to be expected in as much, with 95 % confidence (Poisson, -ln 0.05)."""
FEW = 100
"""Leukocytes below which a differential is remarked upon."""

_APART = ("erythroblast", "normoblast", "platelet", "thrombocyte", "smudge", "artefact", "artifact", "debris",
          "stain", "red_cell", "erythrocyte", "background")


@dataclass(frozen=True)
class TypeCount:
    """A class: its cells, their share of all that are counted (None, with the reason, for what is no leukocyte and
    counted apart), and how many of them are unsure, or unlike those of training (None where the bundle cannot say)."""

    name: str
    cells: int
    share: Estimate | None
    unsure: int | None
    unknown: int | None


@dataclass(frozen=True)
class Differential:
    """total: leukocytes that are counted. apart: other cells that the model names, such as erythroblasts.

    found: all outlines; cut: by the border of a field; damaged: of the others. unsure, unknown: of the counted ones,
    and None where the bundle cannot say. types: every class, in the model's order.
    """

    total: int
    apart: int
    found: int
    cut: int
    damaged: int
    unsure: int | None
    unknown: int | None
    types: tuple[TypeCount, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def is_damaged(cell: FoundCell) -> bool:
    """Whether the outline is too ragged for one whole cell."""
    return cell.morphometry.cell_solidity < RAGGED


def is_leukocyte(name: str) -> bool:
    """Whether a class belongs to the differential, by its name: erythroblasts, platelets and debris do not."""
    plain = name.lower().replace(" ", "_").replace("-", "_")
    return not any(word in plain for word in _APART)


def differential(cells: pl.DataFrame, classes: Sequence[str]) -> Differential:
    """Count cells, one a row: cut, damaged (bool), and with classes predicted, unsure, known (None where not told).

    Shares are of the leukocytes that are neither cut nor damaged, with Wilson's 95 % interval. Several fields of one
    smear make one count. Without classes there are no types, and the total is of all that are whole.
    """
    whole = cells.filter(~pl.col("cut") & ~pl.col("damaged"))
    if not classes:
        return Differential(whole.height, 0, *_left_out(cells), None, None, ())
    counted = whole.filter(pl.col("predicted").is_in([name for name in classes if is_leukocyte(name)]))
    types = []
    for name in classes:
        own = whole.filter(pl.col("predicted") == name)
        share = wilson(own.height, counted.height) if is_leukocyte(name) else None
        types.append(TypeCount(name, own.height, share, *_doubts(own, whole)))
    return Differential(counted.height, whole.height - counted.height, *_left_out(cells), *_doubts(counted, whole),
                        tuple(types))


def meaning(found: Differential, mm2: float | None, fields: int) -> str:
    """What a count says in words. mm2: area of all fields in square millimetres, None where it is not known."""
    if found.found == 0:
        if not fields:
            return "No field looks like a blood smear, so there is nothing to count."
        where = f"{fields} field{'s' if fields != 1 else ''}" + (f" ({mm2:.3g} mm²)" if mm2 else "")
        bound = f": fewer than {ZERO / mm2:,.0f} per mm²" if mm2 else ""
        return (f"No leukocyte was found in {where}, so there is no differential. With 95 % confidence fewer than "
                f"{ZERO:g} are to be expected in as much smear{bound}.")
    if found.total == 0:
        return "No leukocyte could be counted: all cells are cut by a border, damaged, or no leukocytes."
    if found.total < FEW and found.types:
        few = f"{found.total} leukocyte{'s are' if found.total != 1 else ' is'} few"
        return f"{few}: a differential is usually of 100 or 200, and the intervals show what this one leaves open."
    return ""


def _left_out(cells: pl.DataFrame) -> tuple[int, int, int]:
    return (cells.height, int(cells["cut"].sum() or 0), cells.filter(~pl.col("cut") & pl.col("damaged")).height)


def _doubts(cells: pl.DataFrame, told: pl.DataFrame) -> tuple[int | None, int | None]:
    """(unsure, unlike those of training): None where the answers of all cells, `told`, have nothing of it."""
    unsure = None if told["unsure"].null_count() == told.height else int(cells["unsure"].sum() or 0)
    unknown = None if told["known"].null_count() == told.height else cells.filter(~pl.col("known")).height
    return unsure, unknown
