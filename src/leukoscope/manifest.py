"""The manifest: the table of cells, one row for each, that everything else starts from.

Reads, checks and writes Parquet or CSV. Knows nothing of data sets and opens no image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from .errors import ManifestError, first_line
from .filenames import check_table_path
from .files import atomic_path
from .tables import UnreadableTable, as_text, harmless, meant, read_any_csv, read_parquet, writable
from .text import is_text

TEXT = ("cell_id", "image", "label", "subject", "group", "source", "field")
BOX = ("x", "y", "width", "height")
SCHEMA: dict[str, pl.DataType] = {
    **{name: pl.String() for name in TEXT},
    **{name: pl.Int32() for name in BOX},
    "mask": pl.String(),
    "split": pl.String(),
    "original": pl.String(),
}
"""Columns and types. `original` is the cell from which an augmented copy on disk was made, else null."""

REQUIRED = ("cell_id", "image")
NAMES = ("label", "subject", "group", "source", "field", "split")
"""Columns of names, where `NA` in a CSV file is no name."""
ATTRIBUTE = "attribute_"
"""How the names of further columns begin that describe a cell, such as `attribute_nucleus_shape`. Their values are
texts; audits and reports show them."""
INDEX_FIRST = "index a data set with: leukoscope data index"


def make_manifest(rows: Sequence[Mapping[str, object]] | pl.DataFrame) -> pl.DataFrame:
    """A checked manifest from rows: all columns of `SCHEMA` in this order and type, then further columns unchanged, but
    attributes as text.

    Raises ManifestError for a missing `cell_id` or `image`, a duplicate id, an incomplete box, a box without area, or a
    value of the wrong type.
    """
    frame = rows if isinstance(rows, pl.DataFrame) else _frame(rows)
    for name in REQUIRED:
        if name not in frame.columns:
            raise ManifestError(f"the manifest has no column '{name}' (it has {', '.join(frame.columns) or 'none'})",
                                f"add the columns {' and '.join(REQUIRED)}")
    typed = [_typed(frame, name, dtype) for name, dtype in SCHEMA.items()]
    further = [_typed(frame, name, pl.String()) if name.startswith(ATTRIBUTE) else frame[name]
               for name in frame.columns if name not in SCHEMA]
    manifest = pl.DataFrame([*typed, *further])
    _check_required(manifest)
    _check_boxes(manifest)
    return manifest


def _frame(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """ManifestError for a text with characters that no table can hold: parts of others, as of names that are no text.
    """
    try:
        return pl.DataFrame(rows, infer_schema_length=None)
    except UnicodeEncodeError as error:
        for number, row in enumerate(rows, 1):
            for name, value in row.items():
                if isinstance(value, str) and not is_text(value):
                    raise ManifestError(f"column '{name}', row {number}: {value!a} is not text in Unicode",
                                        "rename it") from error
        raise


def read_manifest(path: Path | str) -> pl.DataFrame:
    """Read and check a manifest; relative paths of images and masks start from the manifest's folder.

    Names of columns may have blanks around them and another case. In CSV, columns may be separated by commas,
    semicolons or tabs, and `NA` and the like in a column of names is no value. ManifestError also for subjects or
    groups that are only true and false."""
    path = Path(path)
    frame = _read_table(path)
    if frame.is_empty():
        raise ManifestError(f"{path}: the manifest has no rows", INDEX_FIRST)
    try:
        manifest = make_manifest(frame)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error.what}", error.hint) from error
    for name in ("subject", "group"):
        values = manifest[name].drop_nulls().unique()
        if len(values) and values.is_in(["true", "false"]).all():
            raise ManifestError(f"{path}: column '{name}' holds only true and false, which name no {name}",
                                "put names or numbers into it, or remove it")
    folder = path.resolve().parent
    if not is_text(str(folder)):
        raise ManifestError(f"{path}: the name of its folder is not UTF-8, so that no table can hold the paths of its "
                            "images", "rename the folder")
    absolute = lambda name: pl.col(name).map_elements(lambda p: str(folder / p), return_dtype=pl.String)  # noqa: E731
    return manifest.with_columns(absolute("image"), absolute("mask"))


def attributes_of(frame: pl.DataFrame) -> list[str]:
    """The columns of a table that hold attributes of its cells."""
    return [name for name in frame.columns if name.startswith(ATTRIBUTE) and name != ATTRIBUTE]


def write_manifest(manifest: pl.DataFrame, path: Path | str) -> None:
    """Write Parquet or CSV, by the suffix; paths below the manifest's folder are written relative to it."""
    path = Path(path)
    folder = path.resolve().parent

    def stored(image: str) -> str:
        absolute = Path(image).absolute()
        return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)

    portable = manifest.with_columns(
        pl.col(name).map_elements(stored, return_dtype=pl.String) for name in ("image", "mask"))
    write_table(portable, path)


def write_table(frame: pl.DataFrame | pl.LazyFrame, path: Path | str) -> None:
    """Write any table as Parquet or CSV, by the suffix, completely or not at all; a lazy one a few rows at a time. In
    CSV, texts that a spreadsheet program would compute get an apostrophe (`tables.harmless`)."""
    check_table_path(path)
    with atomic_path(path) as partial, writable(partial) as target:
        if isinstance(frame, pl.LazyFrame):
            frame.sink_parquet(target) if partial.suffix == ".parquet" else harmless(frame).sink_csv(target)
        elif partial.suffix == ".parquet":
            frame.write_parquet(target)
        else:
            harmless(frame).write_csv(target)


def _read_table(path: Path) -> pl.DataFrame:
    check_table_path(path)
    try:
        if path.suffix == ".parquet":
            return _standard_names(read_parquet(path))
        frame = _standard_names(read_any_csv(path, [name for name in SCHEMA if name not in BOX], numbers=True,
                                             texts=ATTRIBUTE)[0])
        return frame.with_columns(meant(frame[name].cast(pl.String)) for name in frame.columns
                                  if name in NAMES or name.startswith(ATTRIBUTE))
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file", INDEX_FIRST) from error
    except UnreadableTable as error:
        raise ManifestError(f"{path}: {error.reason}", error.hint) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ManifestError(f"{path}: not a readable table ({first_line(error)})",
                            "write or export it again") from error


def _standard_names(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with the names of `SCHEMA` where a column has such a name but for its case and blanks around it."""
    present = {name.strip().casefold(): name for name in reversed(frame.columns)}
    return frame.rename({present[name]: name for name in SCHEMA if name not in frame.columns and name in present
                         and (name not in BOX or present[name].strip() == name)})


def _typed(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None] * frame.height, dtype=dtype)
    column, kind = frame[name], "whole numbers" if dtype.is_integer() else "text"
    try:
        if dtype == pl.String():
            typed = as_text(column)
            return typed if name in REQUIRED else typed.replace("", None)
        column = column.fill_nan(None) if column.dtype.is_float() else column
        where = _wrong_number(column, dtype)
        if not where:
            return column.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise ManifestError(f"column '{name}': {column.dtype} is not of type {dtype}",
                            f"this column needs {kind}") from error
    raise ManifestError(f"column '{name}'{where} is not of type {dtype}", f"this column needs {kind}")


def _wrong_number(column: pl.Series, dtype: pl.DataType) -> str:
    """Where a column holds something else than whole numbers of this type; "" where it does not."""
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Null)):
        return f": {column.dtype}"
    whole = column.cast(dtype, strict=False)
    wrong = whole.is_null() & column.is_not_null()
    wrong = wrong | (whole != column).fill_null(False) if column.dtype.is_float() else wrong
    row = wrong.arg_true()
    return f", row {row[0] + 1}: '{str(column[row[0]])[:80]}'" if len(row) else ""


def _check_required(manifest: pl.DataFrame) -> None:
    for name in REQUIRED:
        empty = (manifest[name].is_null() | (manifest[name] == "")).arg_true()
        if len(empty):
            raise ManifestError(f"column '{name}' is empty in row {empty[0] + 1}", "give a value for every cell")
    duplicates = manifest["cell_id"].filter(manifest["cell_id"].is_duplicated())
    if len(duplicates):
        raise ManifestError(f"cell_id '{duplicates[0]}' is used in {(duplicates == duplicates[0]).sum()} rows "
                            f"({duplicates.n_unique()} ids are not unique)", "every cell needs its own id")


def _check_boxes(manifest: pl.DataFrame) -> None:
    given = manifest.select(pl.sum_horizontal(pl.col(name).is_not_null() for name in BOX).alias("n"))["n"]
    partial = ((given > 0) & (given < len(BOX))).arg_true()
    if len(partial):
        raise ManifestError(f"row {partial[0] + 1} ('{manifest['cell_id'][partial[0]]}') has an incomplete box",
                            f"give all of {', '.join(BOX)}, or none of them")
    flat = ((manifest["width"] <= 0) | (manifest["height"] <= 0)).fill_null(False).arg_true()
    if len(flat):
        raise ManifestError(f"row {flat[0] + 1} ('{manifest['cell_id'][flat[0]]}') has a box without area",
                            "give width and height of at least 1 px, or remove the row")


MARK = "~"
"""Separates the id of a cell from the number of its copy."""


def without_copies(manifest: pl.DataFrame) -> pl.DataFrame:
    """The manifest without the column `copy`, which only a run uses. Raises ManifestError where a row is a copy: its
    pixels are in no file."""
    if "copy" not in manifest.columns:
        return manifest
    if manifest["copy"].dtype.is_integer() and (manifest["copy"] > 0).any():
        first = manifest.filter(pl.col("copy") > 0)["cell_id"][0]
        raise ManifestError(f"cell '{first}' is a copy that a run made of '{first.rpartition(MARK)[0]}'",
                            "use the manifest that the run was started with, or leave out the rows with copy > 0")
    return manifest.drop("copy")
