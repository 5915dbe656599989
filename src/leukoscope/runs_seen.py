"""Has an earlier run seen these cells? By fingerprints, so that other names, folders or formats do not hide it."""

from __future__ import annotations

import polars as pl

from .duplicates import duplicate_pairs
from .errors import LeakError
from .leaks import EXAMPLES, KINDS, Leak, Verdict
from .recipe import Protocol
from .runs import Run


def seen_cells(run: Run, prints: pl.DataFrame, folds: tuple[int, ...], protocol: Protocol) -> Verdict:
    """Which of the cells in `prints` (fingerprints, made with the run's preprocessing) were in the training or
    validation part of these folds of `run`, as they are or nearly, turned or mirrored."""
    known = run.fingerprints
    if known is None:
        return Verdict(protocol, (), (f"cells that {run.folder} was trained on (it keeps no fingerprints)",), ())
    splits = run.splits.filter(pl.col("fold").is_in(folds) & (pl.col("part") != "test"))
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
