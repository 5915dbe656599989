"""Tables that other people and programs wrote: opened as text, their columns found by name. Computes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from ..errors import LeukoscopeError, first_line
from ..tables import UnreadableTable, as_text, meant, read_any_csv, read_parquet

AGAIN = "write or export it again"


def read_given(path: Path, names: Collection[str] = ()) -> pl.DataFrame:
    """A .csv, .tsv or .parquet file with every column as text, so that ids keep their zeros; null where there is no
    value. names: columns that are looked for. Raises LeukoscopeError for a file that is no table or has no rows."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".parquet"):
        raise LeukoscopeError(f"{path}: not a table", "tables end in .csv or .parquet; save a spreadsheet as CSV UTF-8")
    try:
        frame = read_parquet(path) if path.suffix.lower() == ".parquet" else read_any_csv(path, names)[0]
        texts = {name.strip(): as_text(frame[name]) for name in frame.columns if not frame[name].dtype.is_nested()}
    except UnreadableTable as error:
        raise LeukoscopeError(f"{path}: {error.reason}", error.hint) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise LeukoscopeError(f"{path}: not a readable table ({first_line(error)})", AGAIN) from error
    if frame.is_empty():
        raise LeukoscopeError(f"{path}: the table has no rows", AGAIN)
    return pl.DataFrame([meant(texts[name]).alias(name) for name in texts])


def find_column(frame: pl.DataFrame, names: Sequence[str]) -> str:
    """The first of some names that a table has a column for, whatever its case; "" for none."""
    present = {name.casefold(): name for name in reversed(frame.columns)}
    return next((present[name] for name in names if name in present), "")


def numbers_in(frame: pl.DataFrame, name: str, path: Path) -> pl.Series | None:
    """A column as numbers; None where nothing in it is one. LeukoscopeError where only some are."""
    column = frame[name]
    typed = column.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    wrong = (typed.is_null() & column.is_not_null()).arg_true()
    if typed.null_count() == typed.len():
        return None
    if len(wrong):
        raise LeukoscopeError(f"{path}, row {wrong[0] + 1}, column '{name}': '{column[wrong[0]]}' is not a number",
                              "write numbers in this column, or none")
    return typed
