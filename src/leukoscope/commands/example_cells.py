"""Example cells of a run, their pixels, and their changed copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from ..cells.augment import changed_pixels, sample_changes
from ..cells.augmented_copies import copies_table, copy_numbers
from ..errors import LeukoscopeError
from ..figures.common import save_png
from ..figures.pipeline import CopiedCell, copies_sheet
from ..finder.frame import shaped
from ..images.read import read_cell, read_image
from ..runs.run import Run

COPIED, COPIES = 3, 6
"""Cells of a class, and copies of each, on a sheet."""


def tested_cells(run: Run) -> pl.DataFrame:
    """The predictions of tested cells, without changed copies, which are in no file."""
    if "copy" not in run.manifest.columns:
        return run.predictions
    return run.predictions.join(run.manifest.filter(pl.col("copy") == 0), on="cell_id", how="semi",
                                maintain_order="left")


def first_of_each_class(run: Run) -> dict[str, str]:
    """Label -> the first tested cell of the class, for the classes that have tested cells."""
    tested = tested_cells(run)
    first = {name: tested.filter(pl.col("label") == name)["cell_id"].head(1).to_list() for name in run.classes}
    return {name: cells[0] for name, cells in first.items() if cells}


def draw_copies(run: Run) -> None:
    """Draw some cells of each class beside their first copies, where the run has copies."""
    if "copy" not in run.manifest.columns:
        return
    originals = run.manifest.filter(pl.col("copy") == 0)
    done = copies_table(run.manifest, run.recipe.augment, seed=run.recipe.seed)
    rows = []
    for label in run.classes:
        for cell in done.filter(pl.col("label") == label)["original"].unique(maintain_order=True).head(COPIED):
            rows.append(_copied(run, cell, originals, done.filter(pl.col("original") == cell).sort("copy")))
    if rows:
        save_png(copies_sheet(rows), run.folder / "figures" / "copies" / "cells_and_their_copies.png")


def _copied(run: Run, cell: str, originals: pl.DataFrame, done: pl.DataFrame) -> CopiedCell:
    preprocess = run.recipe.preprocess
    pixels = shaped(cell_pixels(run, cell), preprocess)
    some = done.head(COPIES)
    _, numbers = copy_numbers(originals["cell_id"].to_list(), some)
    changes = sample_changes(run.recipe.augment, seed=run.recipe.seed, epoch=0, cells=numbers, size=len(pixels))
    copies = changed_pixels(np.repeat(pixels[None], some.height, axis=0), changes)
    return CopiedCell(cell, done["label"][0], pixels, list(zip(copies, some.iter_rows(named=True), strict=True)))


def example_cell(run: Run) -> str:
    """The first tested cell of the first class that has one, so the same for every run on the same split; the first
    cell of the run where only copies are tested."""
    return next(iter(first_of_each_class(run).values()), run.manifest["cell_id"][0])


def cell_pixels(run: Run, cell: str) -> np.ndarray:
    """The pixels of a cell_id of the run, or of a file."""
    rows = run.manifest.filter(pl.col("cell_id") == cell)
    if rows.height:
        row = rows.row(0, named=True)
        if row.get("copy"):
            raise LeukoscopeError(f"{cell}: a changed copy, which is in no file",
                                  f"name its original: {row['original']}")
        return read_cell(row)
    if Path(cell).is_file():
        return read_image(Path(cell))
    raise LeukoscopeError(f"{cell}: neither a cell of {run.folder} nor a file",
                          f"for the names of cells see {run.folder / 'manifest.parquet'}, such as "
                          f"{run.manifest['cell_id'][0]}")
