"""Cells of a run, as examples and as pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from .errors import LeukoscopeError
from .images import read_cell, read_image
from .runs import Run


def first_of_each_class(run: Run) -> dict[str, str]:
    """Label -> the first tested cell of the class, for those classes that have one."""
    first = {name: run.predictions.filter(pl.col("label") == name)["cell_id"].head(1).to_list() for name in run.classes}
    return {name: found[0] for name, found in first.items() if found}


def example_cell(run: Run) -> str:
    """The first tested cell, of the first class if it has one: the same for every run on the same split."""
    return next(iter(first_of_each_class(run).values()))


def cell_pixels(run: Run, cell: str) -> np.ndarray:
    """The pixels of a cell_id of the run, or of a file."""
    rows = run.manifest.filter(pl.col("cell_id") == cell)
    if rows.height:
        row = rows.row(0, named=True)
        if row.get("copy"):
            raise LeukoscopeError(f"{cell}: a changed copy, which is in no file", f"name its cell: {row['original']}")
        return read_cell(row)
    if Path(cell).is_file():
        return read_image(Path(cell))
    raise LeukoscopeError(f"{cell}: neither a cell of {run.folder} nor a file",
                          f"cells are named in {run.folder / 'manifest.parquet'}, such as {run.manifest['cell_id'][0]}")
