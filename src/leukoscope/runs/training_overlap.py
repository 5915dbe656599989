"""Has an earlier run seen these cells, or others of the same subjects?

By fingerprints, so that other names, folders or formats do not hide it, and by subject and group within a source.
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
"""The fold of an earlier run that weights are taken from: a fixed one, so that no score has a say in it."""


def run_overlap(run: Run, cells: pl.DataFrame, prints: pl.DataFrame, folds: tuple[int, ...],
                protocol: Protocol) -> Verdict:
    """Which of the cells (manifest rows, and their fingerprints made with the run's preprocessing) were in the training
    or validation part of these folds of `run`, or of the run that its weights started from, and so on: as they are or
    nearly, turned or mirrored, or by another cell of the same subject or group of the same source."""
    verdict = _fold_overlap(run, cells, prints, folds, protocol)
    if not run.recipe.network.start:
        return verdict
    try:
        start = Run(Path(run.recipe.network.start).expanduser())
        earlier = run_overlap(start, cells, prints, (START_FOLD,), protocol)
    except RunError as error:
        why = f"cells that its start was trained on ({error.what})"
        return replace(verdict, not_checked=(*verdict.not_checked, why))
    further = earlier.not_checked
    if _cut_otherwise(start, run):
        further += (f"near-identical images among those of {start.folder} (it cut its cells otherwise)",)
    return replace(verdict, checked=verdict.checked + earlier.checked, not_checked=verdict.not_checked + further,
                   leaks=verdict.leaks + earlier.leaks)


def _fold_overlap(run: Run, cells: pl.DataFrame, prints: pl.DataFrame, folds: tuple[int, ...],
                  protocol: Protocol) -> Verdict:
    splits = _learned(run, folds)
    trained = run.manifest.join(splits.select("cell_id").unique(), on="cell_id", how="semi")
    return joined_verdict(protocol, [
        *(same_people(str(run.folder), name, trained, cells, protocol) for name in ("subject", "group")),
        _same_images(run, prints, splits, protocol)])


def _learned(run: Run, folds: tuple[int, ...]) -> pl.DataFrame:
    return run.splits.filter(pl.col("fold").is_in(folds) & (pl.col("part") != "test"))


def trained_in_fold(run: Run, fold: int) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The training table (leaks/training_table.py) of one fold of a run and of the runs that its weights started from;
    and the runs whose cells are not known, with the reason."""
    cells = run.manifest.join(_learned(run, (fold,)).select("cell_id").unique(), on="cell_id", how="semi",
                              maintain_order="left")
    if "copy" in cells.columns:
        cells = cells.filter(pl.col("copy") == 0)
    own = training_table(cells, run.fingerprints)
    if not run.recipe.network.start:
        return own, ()
    try:
        start = Run(Path(run.recipe.network.start).expanduser())
        earlier, missing = trained_in_fold(start, START_FOLD)
    except RunError as error:
        return own, (f"cells that its start was trained on ({error.what})",)
    if _cut_otherwise(start, run):
        missing += (f"near-identical images among those of {start.folder.name} (it cut its cells otherwise)",)
    return pl.concat([own, earlier]).unique(maintain_order=True), missing


def _cut_otherwise(one: Run, other: Run) -> bool:
    """Whether thumbnails of one show another part of a cell, or another light, than those of the other."""
    keys = {"crop", "frame"}
    return one.recipe.preprocess.model_dump(include=keys) != other.recipe.preprocess.model_dump(include=keys)


def _same_images(run: Run, prints: pl.DataFrame, splits: pl.DataFrame, protocol: Protocol) -> Verdict:
    known = run.fingerprints
    if known is None:
        return Verdict(protocol, (), (f"cells that {run.folder} was trained on (it keeps no fingerprints)",), ())
    old = known.join(splits.select("cell_id").unique(), on="cell_id", how="semi", maintain_order="left")
    both = pl.concat([table.with_columns((pl.lit(prefix) + pl.col("cell_id")).alias("cell_id"))
                      for prefix, table in (("old:", old), ("new:", prints))])
    pairs = duplicate_pairs(both)
    across = pairs.filter(pl.col("first").str.starts_with("old:") != pl.col("second").str.starts_with("old:"))
    leaks = []
    for kind in KINDS:
        rows = across.filter(pl.col("kind") == kind)
        if rows.height:
            examples = tuple(_example(first, second) for first, second in rows.head(EXAMPLES).select(
                "first", "second").iter_rows())
            leaks.append(image_leak(str(run.folder), kind, rows.height, examples))
    return Verdict(protocol, (f"cells that {run.folder} was trained on",), (), tuple(leaks))


def _example(first: str, second: str) -> str:
    new, old = (first, second) if first.startswith("new:") else (second, first)
    return f"'{new[4:]}' is '{old[4:]}' there"
