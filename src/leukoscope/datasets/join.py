"""Several tables of cells as one, for training over laboratories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ..errors import ManifestError
from ..manifest import make_manifest, read_manifest

_NAMES = ("cell_id", "subject", "group")


def join_manifests(paths: Sequence[Path]) -> pl.DataFrame:
    """One manifest of all cells. A table without sources gets its file name as source. Ids, subjects and groups that
    two tables use are of different cells and people, so the source is put before them. Raises ManifestError for one
    table only, or for cells that are in two tables."""
    if len(paths) < 2:
        raise ManifestError("one table of cells was given, and two or more can be joined", "name the other tables")
    tables = [read_manifest(path).with_columns(pl.col("source").fill_null(path.stem)) for path in paths]
    for first, (path, table) in enumerate(zip(paths, tables, strict=True)):
        for other, again in zip(paths[:first], tables[:first], strict=True):
            box = ["image", "x", "y"]
            both = table.select(box).join(again.select(box), on=box, how="inner", nulls_equal=True)
            if both.height:
                raise ManifestError(f"{both['image'][0]} is in {other} and in {path}",
                                    f"{both.height} cells would be counted twice; leave one of the tables out")
    return make_manifest(pl.concat(_distinct(tables), how="diagonal_relaxed"))


def _distinct(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """The tables with the source before what another one uses too."""
    for name in _NAMES:
        used = Counter(value for table in tables for value in table[name].drop_nulls().unique())
        shared = [value for value, count in used.items() if count > 1]
        own = pl.col(name)
        apart = pl.when(own.is_in(shared)).then(pl.col("source") + "/" + own).otherwise(own).alias(name)
        tables = [table.with_columns(apart) for table in tables]
    return list(tables)
