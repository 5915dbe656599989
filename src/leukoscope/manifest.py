"""The manifest: the table of cells, one row each, that everything else starts from.

Reads, checks and writes Parquet or CSV. Knows nothing of data sets and opens no image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from .errors import ManifestError
from .files import atomic_path

TEXT = ("cell_id", "image", "label", "subject", "group", "source", "field")
BOX = ("x", "y", "width", "height")
SCHEMA: dict[str, pl.DataType] = {
    **{name: pl.String() for name in TEXT},
    **{name: pl.Int32() for name in BOX},
    "mask": pl.String(),
    "split": pl.String(),
    "original": pl.String(),
}
"""Columns and types. `original` names the cell of which a materialised augmented copy was made, else it is null."""

REQUIRED = ("cell_id", "image")


def make_manifest(rows: Sequence[Mapping[str, object]] | pl.DataFrame) -> pl.DataFrame:
    """A checked manifest from rows: every column of `SCHEMA` in order and type, then further columns as they came.

    Raises ManifestError for a missing `cell_id` or `image`, a duplicate id, a box of which only a part is given or
    that has no area, or a value that does not fit its column.
    """
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, infer_schema_length=None)
    for name in REQUIRED:
        if name not in frame.columns:
            raise ManifestError(f"the manifest has no column '{name}' (it has {', '.join(frame.columns) or 'none'})",
                                f"add the columns {' and '.join(REQUIRED)}")
    typed = [_typed(frame, name, dtype) for name, dtype in SCHEMA.items()]
    further = [frame[name] for name in frame.columns if name not in SCHEMA]
    manifest = pl.DataFrame([*typed, *further])
    _check_required(manifest)
    _check_boxes(manifest)
    return manifest


def read_manifest(path: Path | str) -> pl.DataFrame:
    """Read and check a manifest; relative image and mask paths are taken from the manifest's own folder."""
    path = Path(path)
    frame = _read_table(path)
    if frame.is_empty():
        raise ManifestError(f"{path}: the manifest has no rows", "index a data set with: leukoscope data index")
    try:
        manifest = make_manifest(frame)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error.what}", error.hint) from error
    folder = path.resolve().parent
    absolute = lambda name: pl.col(name).map_elements(lambda p: str(folder / p), return_dtype=pl.String)  # noqa: E731
    return manifest.with_columns(absolute("image"), absolute("mask"))


def write_manifest(manifest: pl.DataFrame, path: Path | str) -> None:
    """Write Parquet or CSV, by the suffix; paths below the manifest's folder are stored relative to it."""
    path = Path(path)
    folder = path.resolve().parent

    def stored(image: str) -> str:
        absolute = Path(image).absolute()
        return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)

    portable = manifest.with_columns(
        pl.col(name).map_elements(stored, return_dtype=pl.String) for name in ("image", "mask"))
    write_table(portable, path)


def write_table(frame: pl.DataFrame, path: Path | str) -> None:
    """Write any table as Parquet or CSV, by the suffix, whole or not at all."""
    path = Path(path)
    check_table_path(path)
    with atomic_path(path) as beside:
        if path.suffix == ".parquet":
            frame.write_parquet(beside)
        else:
            frame.write_csv(beside)


def check_table_path(path: Path | str) -> None:
    """Raise ManifestError unless the suffix is one that `write_table` knows."""
    if Path(path).suffix not in (".parquet", ".csv"):
        raise ManifestError(f"{path}: tables are written as .parquet or .csv", "end the name in .parquet or .csv")


def split_unit() -> pl.Expr:
    """What must stay in one part of a split: the group, where there is none the subject, else the cell itself."""
    return pl.coalesce(
        pl.lit("group:") + pl.col("group"), pl.lit("subject:") + pl.col("subject"), pl.lit("cell:") + pl.col("cell_id")
    ).alias("unit")


def _read_table(path: Path) -> pl.DataFrame:
    check_table_path(path)
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        texts = {name: dtype for name, dtype in SCHEMA.items() if dtype == pl.String()}  # '007' is no number
        return pl.read_csv(path, infer_schema_length=None, schema_overrides=texts)
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file", "index a data set with: leukoscope data index") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ManifestError(f"{path}: not a readable table ({reason})", "write it again, or export it anew") from error


def _typed(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None] * frame.height, dtype=dtype)
    try:
        typed = frame[name].cast(dtype, strict=True)
        return typed.replace("", None) if dtype == pl.String() and name not in REQUIRED else typed
    except pl.exceptions.PolarsError as error:
        wrong = frame[name].cast(dtype, strict=False).is_null() & frame[name].is_not_null()
        row = wrong.arg_true()
        where = f"row {row[0] + 1}" if len(row) else "a row"
        value = frame[name][row[0]] if len(row) else "?"
        raise ManifestError(f"column '{name}', {where}: '{value}' is not of type {dtype}",
                            f"write {'whole numbers' if dtype.is_integer() else 'text'} there") from error


def _check_required(manifest: pl.DataFrame) -> None:
    for name in REQUIRED:
        empty = (manifest[name].is_null() | (manifest[name] == "")).arg_true()
        if len(empty):
            raise ManifestError(f"column '{name}' is empty in row {empty[0] + 1}", "give every cell one")
    twice = manifest.filter(pl.col("cell_id").is_duplicated())
    if twice.height:
        raise ManifestError(
            f"cell_id '{twice['cell_id'][0]}' stands in {twice.filter(pl.col('cell_id') == twice['cell_id'][0]).height}"
            f" rows ({twice['cell_id'].n_unique()} ids are not unique)", "give every cell an id of its own")


def _check_boxes(manifest: pl.DataFrame) -> None:
    given = manifest.select(pl.sum_horizontal(pl.col(name).is_not_null() for name in BOX).alias("n"))["n"]
    partial = ((given > 0) & (given < len(BOX))).arg_true()
    if len(partial):
        raise ManifestError(f"row {partial[0] + 1} ('{manifest['cell_id'][partial[0]]}') gives only a part of the box",
                            f"give all of {', '.join(BOX)}, or none")
    flat = ((manifest["width"] <= 0) | (manifest["height"] <= 0)).fill_null(False).arg_true()
    if len(flat):
        raise ManifestError(f"row {flat[0] + 1} ('{manifest['cell_id'][flat[0]]}') has a box without area",
                            "give width and height of at least 1 px, or remove the row")


MARK = "~"
"""Between the id of a cell and the number of its copy."""


def without_copies(manifest: pl.DataFrame) -> pl.DataFrame:
    """The manifest without the column `copy`, which is a run's own. ManifestError where rows of it are copies: their
    pixels are in no file."""
    if "copy" not in manifest.columns:
        return manifest
    if manifest["copy"].dtype.is_integer() and (manifest["copy"] > 0).any():
        first = manifest.filter(pl.col("copy") > 0)["cell_id"][0]
        raise ManifestError(f"cell '{first}' is a copy that a run made of '{first.rpartition(MARK)[0]}'",
                            "give the manifest that the run was started with, or leave out the rows with copy > 0")
    return manifest.drop("copy")
