"""Attributes of cells, such as the shape of the nucleus, from a table beside the images: WBCAtt's eleven, or one's own.

Joins them to an index by the id of the cell, else by the name of its image. Knows nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import polars as pl

from ..errors import DatasetError, first_line
from ..manifest import ATTRIBUTE, SCHEMA
from ..tables import UnreadableTable, as_text, meant, read_any_csv, read_parquet
from ..text import plural
from .base import Index
from .labels import alike

IMAGES = ("image", "img_name", "image_name", "img", "file", "filename", "file_name", "path")
"""What the column of image names may be called, whatever its case."""
NO_ATTRIBUTE = frozenset({*SCHEMA, *IMAGES, "id", "class"})


def with_attributes(index: Index, file: Path) -> Index:
    """The index with a column `attribute_...` for each further column of a table, and notes on what does not fit.

    The table has a row for each cell, named by `cell_id` or by the name of its image. Raises DatasetError for a table
    without attributes, with two rows for one cell, or of which no row fits.
    """
    frame = _read(file)
    columns = {name.casefold(): name for name in reversed(frame.columns)}
    key = "cell_id" if "cell_id" in columns else next((name for name in IMAGES if name in columns), "")
    if not key:
        raise DatasetError(f"{file}: no column of cells (it has {', '.join(frame.columns)})",
                           "call the column of cell ids cell_id, or that of image names image")
    names = {column: ATTRIBUTE + column.removeprefix(ATTRIBUTE) for column in frame.columns
             if column.casefold() not in NO_ATTRIBUTE}
    if not names:
        raise DatasetError(f"{file}: no column of attributes (it has {', '.join(frame.columns)})",
                           "add a column for each attribute, such as nucleus_shape")
    new = [*names.values()]
    twice = next((name for name in new if new.count(name) > 1 or name in index.manifest.columns), "")
    if twice:
        raise DatasetError(f"{file}: the attribute {twice} occurs twice", "rename or remove one of the columns")
    keys = frame[columns[key]]
    of_cell = index.manifest["cell_id"] if key == "cell_id" else index.manifest["image"].map_elements(
        _last, return_dtype=pl.String)
    keys = keys if key == "cell_id" else keys.map_elements(_last, return_dtype=pl.String)
    _check_once(keys, file, "rows", "keep one row for each cell")
    _check_once(of_cell.filter(of_cell.is_in(keys.drop_nulls().to_list())), file, "cells",
                "several cells have this image: give a column cell_id instead")
    table = frame.select(pl.Series("_key", keys), *(pl.col(old).alias(new) for old, new in names.items())).drop_nulls(
        "_key")
    if table.is_empty():
        raise DatasetError(f"{file}: no row names a cell", "fill in the column of cells")
    joined = index.manifest.with_columns(of_cell.alias("_key")).join(table, on="_key", how="left",
                                                                     maintain_order="left").drop("_key")
    fits = int(of_cell.is_in(table["_key"].to_list()).sum())
    if not fits:
        raise DatasetError(f"{file}: no row is of a cell in this folder (its first row is of '{table['_key'][0]}')",
                           "give the table that belongs to these images")
    notes = [f"{plural(len(names), 'attribute')} of {fits:,} of {len(of_cell):,} cells from {file}"]
    if table.height > fits:
        notes.append(f"{plural(table.height - fits, 'row')} of {file} {'is' if table.height - fits == 1 else 'are'} of "
                     "cells that are not in this index")
    notes += _other_labels(index, frame, columns, keys, of_cell, file)
    return replace(index, manifest=joined, notes=(*index.notes, *notes))


def _read(file: Path) -> pl.DataFrame:
    """The table as text. Raises DatasetError."""
    try:
        frame = read_parquet(file) if file.suffix.lower() == ".parquet" else read_any_csv(file, IMAGES)[0]
        return frame.select(meant(as_text(frame[name])).alias(name.strip()) for name in frame.columns)
    except FileNotFoundError as error:
        raise DatasetError(f"{file}: no such file", "name a table of attributes, a row for each cell") from error
    except UnreadableTable as error:
        raise DatasetError(f"{file}: {error.reason}", error.hint) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{file}: not a readable table ({first_line(error)})", "export it again") from error


def _last(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _check_once(keys: pl.Series, file: Path, what: str, hint: str) -> None:
    twice = keys.filter(keys.is_duplicated() & keys.is_not_null())
    if len(twice):
        raise DatasetError(f"{file}: '{twice[0]}' is in {(keys == twice[0]).sum()} {what}", hint)


def _other_labels(index: Index, frame: pl.DataFrame, columns: Mapping[str, str], keys: pl.Series, of_cell: pl.Series,
                  file: Path) -> list[str]:
    """A note where the table names other labels than the index."""
    if "label" not in columns:
        return []
    theirs = pl.DataFrame({"_key": keys, "theirs": frame[columns["label"]]}).drop_nulls()
    both = index.manifest.select("cell_id", "label").with_columns(of_cell.alias("_key")).join(theirs, on="_key")
    differ = [row for row in both.drop_nulls().iter_rows(named=True) if alike(row["label"]) != alike(row["theirs"])]
    if not differ:
        return []
    first, have = differ[0], "has" if len(differ) == 1 else "have"
    return [f"{plural(len(differ), 'cell')} {have} another label in {file} (the first: '{first['cell_id']}', "
            f"{first['label']}, there {first['theirs']}); the label of the index is used"]
