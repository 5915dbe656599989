"""Was an earlier run trained on these cells, or on others of the same subjects?

Compares fingerprints, so that other names, folders or formats do not matter, and subject and group within a source.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from ..errors import RunError
from ..leaks.duplicates import duplicate_pairs
from ..leaks.guard import EXAMPLES, KINDS, Verdict
from ..leaks.training_overlap import image_leak, joined_verdict, same_people
from ..leaks.training_table import training_table
from ..recipes.recipe import Protocol
from .run import Run

START_FOLD = 0
"""The fold of an earlier run whose weights are used as a start: a fixed one, so that no score influences the choice."""


def run_overlap(run: Run, cells: pl.DataFrame, prints: pl.DataFrame, folds: tuple[int, ...],
                protocol: Protocol) -> Verdict:
    """Which of the cells were in the training or validation part of these folds of `run`, or of the run that its
    weights started from, and so on: the same image (nearly, turned or mirrored too), or a cell of the same subject or
    group of the same source.

    cells, prints: rows of a manifest, and their fingerprints made with the preprocessing of the run.
    """
    splits = _trained(run, folds)
    cells_there = run.manifest.join(splits.select("cell_id").unique(), on="cell_id", how="semi")
    verdict = joined_verdict(protocol, [
        *(same_people(str(run.folder), name, cells_there, cells, protocol) for name in ("subject", "group")),
        _same_images(run, prints, splits, protocol)])
    try:
        start = _start(run)
        if start is None:
            return verdict
        earlier = run_overlap(start, cells, prints, (START_FOLD,), protocol)
    except RunError as error:
        return replace(verdict, not_checked=(*verdict.not_checked, _unknown(error)))
    if _framed_differently(start, run):
        earlier = replace(earlier, not_checked=(*earlier.not_checked, _not_near(str(start.folder))))
    return joined_verdict(protocol, [verdict, earlier])


def trained_in_fold(run: Run, fold: int) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The training table (leaks/training_table.py) of one fold of a run and of the runs that its weights started from;
    and what is not known, with the reason."""
    cells = run.manifest.join(_trained(run, (fold,)).select("cell_id").unique(), on="cell_id", how="semi",
                              maintain_order="left")
    if "copy" in cells.columns:
        cells = cells.filter(pl.col("copy") == 0)
    own = training_table(cells, run.fingerprints)
    try:
        start = _start(run)
        if start is None:
            return own, ()
        earlier, unknown = trained_in_fold(start, START_FOLD)
    except RunError as error:
        return own, (_unknown(error),)
    if _framed_differently(start, run):
        unknown += (_not_near(start.folder.name),)
    return pl.concat([own, earlier]).unique(maintain_order=True), unknown


def _trained(run: Run, folds: tuple[int, ...]) -> pl.DataFrame:
    """The splits of the cells that training used: those of the training and validation parts."""
    return run.splits.filter(pl.col("fold").is_in(folds) & (pl.col("part") != "test"))


def _start(run: Run) -> Run | None:
    """The run that the weights started from."""
    return Run(Path(run.recipe.network.start).expanduser()) if run.recipe.network.start else None


def _unknown(error: RunError) -> str:
    return f"cells that its start was trained on ({error.what})"


def _not_near(start: str) -> str:
    return f"near-identical images among those of {start} (it framed its cells differently)"


def _framed_differently(first: Run, second: Run) -> bool:
    """Whether thumbnails of the two show different parts of a cell, or different light."""
    keys = {"crop", "frame"}
    return first.recipe.preprocess.model_dump(include=keys) != second.recipe.preprocess.model_dump(include=keys)


def _same_images(run: Run, prints: pl.DataFrame, splits: pl.DataFrame, protocol: Protocol) -> Verdict:
    what = f"cells that {run.folder} was trained on"
    if run.fingerprints is None:
        return Verdict(protocol, (), (f"{what} (it keeps no fingerprints)",), ())
    old = run.fingerprints.join(splits.select("cell_id").unique(), on="cell_id", how="semi", maintain_order="left")
    both = pl.concat([table.with_columns((pl.lit(prefix) + pl.col("cell_id")).alias("cell_id"))
                      for prefix, table in (("old:", old), ("new:", prints))])
    pairs = duplicate_pairs(both).filter(
        pl.col("first").str.starts_with("old:") != pl.col("second").str.starts_with("old:"))
    leaks = []
    for kind in KINDS:
        rows = pairs.filter(pl.col("kind") == kind)
        if rows.height:
            examples = tuple(_example(first, second) for first, second in rows.head(EXAMPLES).select(
                "first", "second").iter_rows())
            own = pl.concat([rows["first"], rows["second"]]).unique(maintain_order=True)
            leaks.append(image_leak(str(run.folder), kind, rows.height, examples,
                                    tuple(name[4:] for name in own if name.startswith("new:"))))
    return Verdict(protocol, (what,), (), tuple(leaks))


def _example(first: str, second: str) -> str:
    new, old = (first, second) if first.startswith("new:") else (second, first)
    return f"'{new[4:]}' is '{old[4:]}' of that run"
