"""Cells to look at first: those that a model types as immature, and those that look like blasts by size and shape. A
rule that guides the eye, not a diagnosis. Knows rows of `cells_table`, and no pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from ..tables import Row
from .count import LEUKOCYTE, NUCLEATED, PLATELET, kind_of, plain_name

BLAST, BLAST_LIKE, IMMATURE = "blast", "blast-like", "immature"
ORDER = (BLAST, BLAST_LIKE, IMMATURE, NUCLEATED)
"""The kinds of flag, in the order in which to look at them."""
MICROMETRES = (10.0, 20.0)
RATIO = 4.0
ROUND = 0.85
"""The rule: a lymphoblast is 10 to 20 um across, with a round to oval nucleus and a ratio of nucleus to cytoplasm of
4:1 to 7:1 (Rodak, Carr, Clinical Hematology Atlas, 5th ed. 2017). ROUND is the roundness of an oval twice as long as
wide; one lobe excludes segmented cells. docs/smear.md says how many mature cells meet the rule too."""

_BLASTS = ("blast", "leukemic", "leukaemic")
_IMMATURE = ("immature", "myelocyte", "prolymphocyte", "promonocyte", "precursor")


def immaturity(name: str) -> str:
    """The flag of a class by its name: "blast", "immature", "nucleated red cell", or "" for mature and other cells."""
    plain, kind = plain_name(name), kind_of(name)
    if kind == NUCLEATED:
        return NUCLEATED
    if kind != LEUKOCYTE:
        return ""
    if any(word in plain for word in _BLASTS):
        return BLAST
    return IMMATURE if plain == "ig" or any(word in plain for word in _IMMATURE) else ""


def blast_like(row: Row) -> str:
    """Why a cell looks like a blast, in words, or "". row: of `cells_table`; cells that are cut or damaged or have no
    scale are not judged."""
    diameter, lobes, roundness = row["cell_diameter_um"], row["lobes"], row["nucleus_roundness"]
    if row["cut"] or row["damaged"] or diameter is None or not MICROMETRES[0] <= diameter <= MICROMETRES[1]:
        return ""
    ratio = row["nucleus_to_cytoplasm"]  # None where no cytoplasm is seen
    if lobes != 1 or roundness is None or roundness < ROUND or (ratio is not None and ratio < RATIO):
        return ""
    amount = "no cytoplasm seen" if ratio is None else f"N:C {ratio:.1f}"
    return f"{amount}, one round nucleus, {diameter:.1f} µm"


def flag_of(row: Row) -> tuple[str | None, str | None]:
    """(flag, reason in words) for a row of `cells_table`; (None, None) for a cell that need not come first."""
    name = row["predicted"]
    flag = immaturity(name) if name is not None else ""
    shape = "" if name is not None and kind_of(name) == PLATELET else blast_like(row)
    sure = row.get(f"p_{name}")
    typed = f"typed as {name}" + ("" if sure is None else f" ({100 * sure:.0f} %)") if flag else ""
    if flag in ("", IMMATURE) and shape:
        flag = BLAST_LIKE
    if typed and shape:
        return flag, f"{typed}; shaped as a blast: {shape}"
    return flag or None, typed or shape or None


def flagged(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the columns `flag` and `flag_reason`, behind the cell's number."""
    flags = [flag_of(row) for row in table.iter_rows(named=True)]
    columns = [pl.Series(name, [flag[place] for flag in flags], dtype=pl.String)
               for place, name in enumerate(("flag", "flag_reason"))]
    at = table.columns.index("number") + 1
    return table.select(*table.columns[:at], *columns, *table.columns[at:])


def flagged_first(table: pl.DataFrame) -> pl.DataFrame:
    """The same rows: flagged ones first, in the order in which to look at them; the others as they were."""
    return table.sort(pl.col("flag").replace_strict(ORDER, range(len(ORDER)), default=len(ORDER),
                                                    return_dtype=pl.Int8), maintain_order=True)


def counted(flags: Mapping[str, int]) -> str:
    """How many cells have each flag, in words: "2 blast-like, 1 nucleated red cell"; "" for none."""
    nouns = (BLAST, NUCLEATED)
    return ", ".join(f"{flags[kind]:,} {kind}{'s' if kind in nouns and flags[kind] > 1 else ''}"
                     for kind in ORDER if flags.get(kind))


def blasts_known(classes: Sequence[str]) -> bool:
    """Whether any class of a model is a blast."""
    return any(immaturity(name) == BLAST for name in classes)
