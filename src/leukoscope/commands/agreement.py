"""Two counts of the same smears, or two observers of the same cells: read, compare, write a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ..errors import LeukoscopeError
from ..evaluation.agreement import Agreement, Limit, TypeAgreement, compare_counts
from ..evaluation.count_tables import read_counts
from ..evaluation.observers import Observers, compare_observers, read_typed
from ..files import JsonObject, write_json
from ..manifest import write_table
from ..report.agreement import PAGE, RESULT, agreement_lines, write_agreement
from ..runs.stored import to_json

FILES = (RESULT, PAGE, "agreement.csv")


@dataclass(frozen=True)
class AgreementOptions:
    """merge: type -> the type it belongs to. leave_out: types that are not compared. limits: what makes a smear
    abnormal; none: the default. order: of the types, for weighted kappas of observers."""

    merge: Mapping[str, str] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    limits: Sequence[Limit] = ()
    order: Sequence[str] = ()


def compare_agreement(machine: Path, reference: Path, out: Path,
                      options: AgreementOptions | None = None) -> tuple[list[str], JsonObject]:
    """Compare two tables: of cells where both name single cells, else of counts. Writes agreement.json, agreement.csv
    and agreement.html; gives the lines for a terminal and what agreement.json holds."""
    options = options or AgreementOptions()
    first, second = read_typed(machine, machine=True), read_typed(reference, machine=False)
    if first is not None and second is not None:
        result: Agreement | Observers = compare_observers(first, second, order=options.order, merge=options.merge)
        rows = [{"first": row, "second": column, "cells": result.table[i][j]}
                for i, row in enumerate(result.classes) for j, column in enumerate(result.classes)]
    else:
        counts = [read_counts(path, machine=own, merge=options.merge, leave_out=options.leave_out)
                  for path, own in ((machine, True), (reference, False))]
        result = compare_counts(*counts, limits=options.limits)
        rows = [_row(kind) for kind in result.types]
    content = to_json(result)
    write_json(out / RESULT, content)
    write_table(pl.DataFrame(rows, infer_schema_length=None), out / "agreement.csv")
    page = write_agreement(content, out)
    return [*agreement_lines(content), f"report: {page}"], content


def _row(kind: TypeAgreement) -> JsonObject:
    """A type in one row of agreement.csv: every figure with its interval."""
    figures = {"bias": kind.bias, "lower_limit": kind.lower, "upper_limit": kind.upper,
               **{f"{name}_{part}": getattr(line, part)
                  for name, line in (("passing_bablok", kind.passing_bablok), ("deming", kind.deming))
                  for part in ("slope", "intercept")},
               **{f"within_rumke_{limit.cells}": limit.smears for limit in kind.within_rumke}, "chance": kind.chance}
    return {"type": kind.name, "smears": len(kind.machine)} | {
        f"{name}{end}": getattr(own, part)
        for name, own in figures.items() for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))}


def limit_of(text: str) -> Limit:
    """`blast=1` (abnormal from 1 %), or `neutrophil=40-75` (outside 40 to 75 %). Raises LeukoscopeError."""
    name, _, ends = text.rpartition("=")
    parts = [part.strip().rstrip("%").strip() for part in re.split(r"[-\u2013]", ends)]
    try:
        values = [float(part) / 100 for part in parts]
    except ValueError:
        values = []
    if not name.strip() or not values or len(values) > 2 or not all(0 <= v <= 10 for v in values) or (
            values != sorted(values)):
        raise LeukoscopeError(f"--abnormal {text}: not a limit in percent",
                              "for example --abnormal blast=1 (1 % or more), or neutrophil=40-75 (outside it)")
    return Limit(name.strip(), values[0] if len(values) == 2 else None, values[-1])


def pair_of(text: str) -> tuple[str, str]:
    """`band=neutrophil`. Raises LeukoscopeError."""
    old, _, new = text.partition("=")
    if not old.strip() or not new.strip():
        raise LeukoscopeError(f"--merge {text}: expected OLD=NEW", "for example --merge band=neutrophil")
    return old.strip(), new.strip()
