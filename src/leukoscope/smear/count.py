"""The differential: how many leukocytes of each type, with intervals. Knows a model's answers, and no pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ..stats.estimate import Estimate, no_estimate
from ..stats.rates import wilson
from .field import FoundCell, FoundField
from .scale import RED_CELL

RAGGED = 0.85
"""Solidity of the outline below which a cell is called damaged: smudged, torn, or not one cell. docs/smear.md says how
often that happens."""
ZERO = 3.0
"""Where none was found, fewer than this are to be expected in as much smear, with 95 % confidence (Poisson, -ln 0.05).
"""
FEW = 100
"""Leukocytes below which a remark says that they are few."""

LEUKOCYTE, NUCLEATED, PLATELET, OTHER = "leukocyte", "nucleated red cell", "platelet", "other"
"""What kind of thing a class can be. Only leukocytes are in the differential."""
_WORDS = {
    NUCLEATED: ("erythroblast", "normoblast", "megaloblast", "rubriblast", "rubricyte", "nrbc", "nucleated_red"),
    PLATELET: ("platelet", "thrombocyte", "plt"),
    OTHER: ("smudge", "artefact", "artifact", "debris", "stain", "red_cell", "red_blood", "rbc", "erythrocyte",
            "background")}


@dataclass(frozen=True)
class TypeCount:
    """A class and its kind (see `kind_of`); its cells, and how many of them are unsure or unlike those of training
    (None where the bundle cannot say).

    share: of all counted leukocytes, 0 to 1; None for other kinds. per_hundred: nucleated red cells per 100 leukocytes,
    as haematology counts them; None for other kinds."""

    name: str
    kind: str
    cells: int
    share: Estimate | None
    per_hundred: Estimate | None
    unsure: int | None
    unknown: int | None


@dataclass(frozen=True)
class Tally:
    """Whole cells of one class: all, those that are unsure, and those that are unlike the cells of training."""

    cells: int
    unsure: int
    unknown: int


@dataclass(frozen=True)
class Differential:
    """Numbers of cells. total: leukocytes that are counted. apart: whole cells of other kinds.

    nucleated: nucleated red cells, and per_hundred leukocytes; platelets: set aside; None without such a class.
    found: all outlines; cut: by the border of a field; damaged: of those not cut. unsure, unknown (unlike those of
    training): of the counted ones; None where the bundle cannot say. types: every class, in the model's order.
    """

    total: int
    apart: int
    nucleated: int | None
    per_hundred: Estimate | None
    platelets: int | None
    found: int
    cut: int
    damaged: int
    unsure: int | None
    unknown: int | None
    types: tuple[TypeCount, ...]


def is_damaged(cell: FoundCell) -> bool:
    """Whether the outline is too ragged for one whole cell."""
    return cell.morphometry.cell_solidity < RAGGED


def kind_of(name: str) -> str:
    """What a class is of, by its name: "leukocyte", "nucleated red cell", "platelet" or "other" (debris, smudges)."""
    plain = plain_name(name)
    return next((kind for kind, words in _WORDS.items() if any(word in plain for word in words)), LEUKOCYTE)


def is_leukocyte(name: str) -> bool:
    """Whether a class belongs to the differential, by its name: erythroblasts, platelets and debris do not."""
    return kind_of(name) == LEUKOCYTE


def plain_name(name: str) -> str:
    """A class's name as it is compared: lower case, words joined by "_"."""
    return name.lower().replace(" ", "_").replace("-", "_")


def per_hundred(cells: int, leukocytes: int) -> Estimate:
    """Cells per 100 leukocytes, with a 95 % interval: Wilson's for their share of both together, as a ratio. Undefined
    without leukocytes."""
    share = wilson(cells, cells + leukocytes)
    if leukocytes == 0 or share.low is None or share.high is None:
        return no_estimate("undefined: no leukocytes", total=0)
    return Estimate(100 * cells / leukocytes, 100 * share.low / (1 - share.low), 100 * share.high / (1 - share.high),
                    "wilson of the share, as a ratio", cells, leukocytes)


def differential(cells: pl.DataFrame, classes: Sequence[str]) -> Differential:
    """Count cells, one row each: cut, damaged (bool) and, with classes, predicted, unsure, known (null where the bundle
    cannot say).

    Shares are of the leukocytes that are neither cut nor damaged, with Wilson's 95 % interval. Several fields of one
    smear make one count. Without classes there are no types, and the total is of all whole cells.
    """
    whole = cells.filter(~pl.col("cut") & ~pl.col("damaged"))
    tallies = {}
    for name in classes:
        own = whole.filter(pl.col("predicted") == name)
        tallies[name] = Tally(own.height, int(own["unsure"].sum() or 0), own.filter(~pl.col("known")).height)
    left_out = (cells.height, int(cells["cut"].sum() or 0), cells.filter(~pl.col("cut") & pl.col("damaged")).height)
    says = (whole["unsure"].null_count() < whole.height, whole["known"].null_count() < whole.height) if classes \
        else (False, False)
    return differential_of(tallies, whole.height, left_out, says)


def differential_of(tallies: Mapping[str, Tally], whole: int, left_out: tuple[int, int, int],
                    says: tuple[bool, bool]) -> Differential:
    """The differential of whole cells that are counted already. tallies: of each class, in the model's order; left_out:
    outlines, cut ones, and damaged ones that are not cut; says: whether the bundle says of any whole cell that it is
    unsure, or unlike those of training."""
    if not tallies:
        return Differential(whole, 0, None, None, None, *left_out, None, None, ())
    kinds = {name: kind_of(name) for name in tallies}
    total = sum(own.cells for name, own in tallies.items() if kinds[name] == LEUKOCYTE)
    types: list[TypeCount] = []
    aside: dict[str, int] = dict.fromkeys((NUCLEATED, PLATELET), 0)
    for name, own in tallies.items():
        share = wilson(own.cells, total) if kinds[name] == LEUKOCYTE else None
        ratio = per_hundred(own.cells, total) if kinds[name] == NUCLEATED else None
        types.append(TypeCount(name, kinds[name], own.cells, share, ratio, own.unsure if says[0] else None,
                               own.unknown if says[1] else None))
        if kinds[name] in aside:
            aside[kinds[name]] += own.cells
    nucleated, platelets = (aside[kind] if kind in kinds.values() else None for kind in aside)
    ratio = None if nucleated is None else per_hundred(nucleated, total)
    leukocytes = [own for name, own in tallies.items() if kinds[name] == LEUKOCYTE]
    return Differential(total, whole - total, nucleated, ratio, platelets, *left_out,
                        sum(own.unsure for own in leukocytes) if says[0] else None,
                        sum(own.unknown for own in leukocytes) if says[1] else None, tuple(types))


def without_large_platelets(answers: pl.DataFrame, found: FoundField, classes: Sequence[str]) -> pl.DataFrame:
    """Answers (predicted, unsure, set, p_<class>; one row for each cell of the field) in which no cell wider than a red
    cell is a platelet: the next probable class takes its place, and the cell is unsure."""
    platelets = [name for name in classes if kind_of(name) == PLATELET]
    others = [name for name in classes if name not in platelets]
    red_cell = found.scale.red_cell_diameter or (
        RED_CELL / found.scale.micrometres_per_pixel if found.scale.micrometres_per_pixel else None)
    if not platelets or not others or red_cell is None or not found.cells:
        return answers
    wide = pl.Series([cell.morphometry.cell_diameter > red_cell for cell in found.cells], dtype=pl.Boolean)
    wrong = (answers["predicted"].is_in(platelets) & wide).fill_null(False)
    if not wrong.any():
        return answers
    best = answers.select(f"p_{name}" for name in others).to_numpy().argmax(axis=1)
    kept = [json.dumps([name for name in json.loads(text or "[]") if name not in platelets], ensure_ascii=False)
            for text in answers["set"]]
    changed = answers.with_columns(
        pl.Series("predicted", [others[place] for place in best]), pl.Series("set", kept), pl.lit(True).alias("unsure"),
        *(pl.lit(0.0).cast(answers[f"p_{name}"].dtype).alias(f"p_{name}") for name in platelets))
    total = pl.sum_horizontal(f"p_{name}" for name in others)
    changed = changed.with_columns((pl.col(f"p_{name}") / total).cast(answers[f"p_{name}"].dtype) for name in others)
    return answers.with_columns(pl.when(wrong).then(changed[name]).otherwise(answers[name]).alias(name)
                                for name in answers.columns)


def meaning(count: Differential, mm2: float | None, fields: int) -> str:
    """What a count means, in words, where that is not obvious. mm2: area of all `fields` in mm², or None."""
    if count.found == 0:
        if not fields:
            return "No field looks like a blood smear, so there is nothing to count."
        where = f"{fields} field{'s' if fields != 1 else ''}" + (f" ({mm2:.3g} mm²)" if mm2 else "")
        bound = f": fewer than {ZERO / mm2:,.0f} per mm²" if mm2 else ""
        return (f"No leukocyte was found in {where}, so there is no differential. With 95 % confidence fewer than "
                f"{ZERO:g} are to be expected in the same area{bound}.")
    if count.total == 0:
        return "No leukocyte could be counted: all cells are cut by a border, damaged, or no leukocytes."
    if count.total < FEW and count.types:
        few = f"{count.total} leukocyte{'s are' if count.total != 1 else ' is'} few"
        return f"{few}: a differential is usually of 100 or 200. The shares of so few are uncertain."
    return ""
