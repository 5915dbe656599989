"""The one way to open a table: a path names one file, whatever characters it has.

Polars takes brackets, asterisks and question marks in a path for a pattern; here they are ordinary characters.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from polars.exceptions import ComputeError, PanicException

Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)


def read_parquet(source: Path | str | bytes) -> pl.DataFrame:
    """A Parquet file, or the content of one. Raises polars' errors and OSError where it is missing or damaged."""
    return _opened(lambda: pl.read_parquet(source, glob=False))


def read_csv(path: Path | str, **options: Any) -> pl.DataFrame:
    """A CSV file. options: of `polars.read_csv`. Raises as `read_parquet`."""
    return _opened(lambda: pl.read_csv(path, glob=False, **options))


def scan(path: Path | Sequence[Path], *, texts: Sequence[str] = ()) -> pl.LazyFrame:
    """A .parquet, .csv or .jsonl file, or several Parquet files one below the other, read when they are needed.

    texts: columns of a CSV file that hold text whatever they look like, such as the id 007."""
    if not isinstance(path, Path):
        return _opened(lambda: pl.scan_parquet(list(path), glob=False))
    ways: dict[str, Callable[[], pl.LazyFrame]] = {
        ".parquet": lambda: pl.scan_parquet(path, glob=False), ".csv": lambda: pl.scan_csv(
            path, glob=False, schema_overrides=dict.fromkeys(texts, pl.String)),
        ".jsonl": lambda: pl.scan_ndjson(glob.escape(str(path)))}
    return _opened(ways[path.suffix.lower()])


def _opened(read: Callable[[], Table]) -> Table:
    try:
        return read()
    except PanicException as error:  # polars', for some damaged files; no Exception, so that it would end the program
        raise ComputeError("the file is damaged") from error
