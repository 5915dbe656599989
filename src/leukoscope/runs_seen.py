"""Has an earlier run seen these cells, or others of the same subjects?

By fingerprints, so that other names, folders or formats do not hide it, and by subject and group within a source.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from .duplicates import duplicate_pairs
from .errors import LeakError, RunError
from .leaks import EXAMPLES, KINDS, Leak, Verdict
from .recipe import Protocol
from .runs import Run

START_FOLD = 0
"""The fold of an earlier run that weights are taken from: a fixed one, so that no score has a say in it."""


def seen_cells(run: Run, cells: pl.DataFrame, prints: pl.DataFrame, folds: tuple[int, ...],
               protocol: Protocol) -> Verdict:
    """Which of the cells (manifest rows, and their fingerprints made with the run's preprocessing) were in the training
    or validation part of these folds of `run`, or of the run that its weights started from, and so on: as they are or
    nearly, turned or mirrored, or by another cell of the same subject or group of the same source."""
    verdict = _seen_there(run, cells, prints, folds, protocol)
    if not run.recipe.network.start:
        return verdict
    try:
        start = Run(Path(run.recipe.network.start).expanduser())
        earlier = seen_cells(start, cells, prints, (START_FOLD,), protocol)
    except RunError as error:
        why = f"cells that its start was trained on ({error.what})"
        return replace(verdict, not_checked=(*verdict.not_checked, why))
    further = earlier.not_checked
    if start.recipe.preprocess.crop != run.recipe.preprocess.crop:
        further += (f"near-identical images among those of {start.folder} (it cut its cells otherwise)",)
    return replace(verdict, checked=verdict.checked + earlier.checked, not_checked=verdict.not_checked + further,
                   leaks=verdict.leaks + earlier.leaks)


def _seen_there(run: Run, cells: pl.DataFrame, prints: pl.DataFrame, folds: tuple[int, ...],
                protocol: Protocol) -> Verdict:
    splits = run.splits.filter(pl.col("fold").is_in(folds) & (pl.col("part") != "test"))
    trained = run.manifest.join(splits.select("cell_id").unique(), on="cell_id", how="semi")
    verdicts = [_same_people(run, name, trained, cells, protocol) for name in ("subject", "group")]
    verdicts.append(_same_images(run, prints, splits, protocol))
    return Verdict(protocol, *(tuple(entry for v in verdicts for entry in getattr(v, part))
                               for part in ("checked", "not_checked", "leaks")))


def _same_people(run: Run, name: str, trained: pl.DataFrame, cells: pl.DataFrame, protocol: Protocol) -> Verdict:
    """Subjects (or groups) in training there and here, of one source: elsewhere an equal name says nothing."""
    what = f"{name}s that {run.folder} was trained on"
    if trained[name].is_null().all() or cells[name].is_null().all():
        return Verdict(protocol, (), (f"{what} (not known on both sides)",), ())
    theirs = trained.select("source", name).unique().filter(pl.col(name).is_not_null())
    shared = cells.join(theirs, on=["source", name], how="semi", nulls_equal=True)[name].unique().sort()
    if shared.is_empty():
        return Verdict(protocol, (what,), (), ())
    examples = tuple(f"'{value}'" for value in shared.head(EXAMPLES))
    text = f"{name}s of these cells that {run.folder} was trained on: {len(shared)} ({', '.join(examples)})"
    return Verdict(protocol, (what,), (), (Leak(name, None, ("train", "test"), len(shared), examples, text),))


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
            leaks.append(Leak(kind, None, ("train", "test"), rows.height, examples,
                              f"{KINDS[kind][0]} between these cells and those that {run.folder} was trained on: "
                              f"{rows.height} ({examples[0]})"))
    return Verdict(protocol, (f"cells that {run.folder} was trained on",), (), tuple(leaks))


def refuse_seen(verdict: Verdict) -> None:
    """Raise LeakError with the first leak, under protocol "clean"."""
    if verdict.protocol == "clean" and verdict.leaks:
        raise LeakError(verdict.leaks[0].text, "leave those cells out of the manifest; a network knows what it was "
                        "trained on")


def _example(first: str, second: str) -> str:
    new, old = (first, second) if first.startswith("new:") else (second, first)
    return f"'{new[4:]}' is '{old[4:]}' there"
