"""Were these cells, or others of the same people, in the training table of a model?"""

from __future__ import annotations

import numpy as np
import polars as pl

from ..errors import LeakError
from ..recipes.recipe import Protocol
from .guard import EXAMPLES, KINDS, Leak, Verdict
from .training_table import BITS_APART, PIXEL_BYTES, nearest, thumbnail_of


def table_overlap(where: str, table: pl.DataFrame, cells: pl.DataFrame, prints: pl.DataFrame,
                  protocol: Protocol, bits: int = BITS_APART) -> Verdict:
    """Which of the cells (manifest rows, and their fingerprints made with the bundle's preparation) are in the table of
    what `where` was trained on: by subject and group within a source, as they are, or as copies, whose hashes are at
    most `bits` apart."""
    return joined_verdict(protocol, [
        *(same_people(where, name, table, cells, protocol) for name in ("subject", "group")),
        _same_cells(where, table, prints, protocol, bits)])


def joined_verdict(protocol: Protocol, verdicts: list[Verdict]) -> Verdict:
    """What several looks have found, as one."""
    return Verdict(protocol, *(tuple(entry for v in verdicts for entry in getattr(v, part))
                               for part in ("checked", "not_checked", "leaks")))


def same_people(where: str, name: str, trained: pl.DataFrame, cells: pl.DataFrame, protocol: Protocol) -> Verdict:
    """Subjects (or groups) in training there and here, of one source: elsewhere an equal name says nothing."""
    what = f"{name}s that {where} was trained on"
    if trained[name].is_null().all() or cells[name].is_null().all():
        return Verdict(protocol, (), (f"{what} (not known on both sides)",), ())
    theirs = trained.select("source", name).unique().filter(pl.col(name).is_not_null())
    shared = cells.join(theirs, on=["source", name], how="semi", nulls_equal=True)[name].unique().sort()
    if shared.is_empty():
        return Verdict(protocol, (what,), (), ())
    examples = tuple(f"'{value}'" for value in shared.head(EXAMPLES))
    text = f"{name}s of these cells that {where} was trained on: {len(shared)} ({', '.join(examples)})"
    return Verdict(protocol, (what,), (), (Leak(name, None, ("train", "test"), len(shared), examples, text),))


def image_leak(where: str, kind: str, count: int, examples: tuple[str, ...]) -> Leak:
    """So many pairs of one kind between cells here and those of the training of `where`."""
    return Leak(kind, None, ("train", "test"), count, examples,
                f"{KINDS[kind][0]} between these cells and those that {where} was trained on: {count} ({examples[0]})")


def refuse_overlap(verdict: Verdict) -> None:
    """Raise LeakError with the first leak, under protocol "clean"."""
    if verdict.protocol == "clean" and verdict.leaks:
        raise LeakError(verdict.leaks[0].text, "leave those cells out of the manifest; a network knows what it was "
                        "trained on")


def _same_cells(where: str, table: pl.DataFrame, prints: pl.DataFrame, protocol: Protocol, bits: int) -> Verdict:
    what = f"cells that {where} was trained on"
    known = table.filter(pl.col("pixels").is_not_null())
    if known.is_empty():
        return Verdict(protocol, (), (f"{what} (it keeps no fingerprints)",), ())
    partly = "" if known.height == table.height else f" ({known.height:,} of {table.height:,}, the others left none)"
    here = prints.filter(pl.col("sha256").is_not_null())
    there = set(known["pixels"])
    same = pl.Series([bytes.fromhex(digest)[:PIXEL_BYTES] in there for digest in here["sha256"]], dtype=pl.Boolean)
    others = here.filter(~same)
    hashes = np.frombuffer(b"".join(known["hash"].drop_nulls()), np.uint8).reshape(-1, 16)
    thumbnails = (np.stack([thumbnail_of(one) for one in others["thumbnail"]]) if others.height
                  else np.empty((0, 64, 64)))
    _, apart = nearest(thumbnails.astype(np.uint8), hashes)
    found = {"identical": here.filter(same)["cell_id"], "augmented": others["cell_id"].filter(apart <= bits)}
    return Verdict(protocol, (f"{what}{partly}",), (), tuple(
        image_leak(where, kind, len(ids), tuple(f"'{one}'" for one in ids.head(EXAMPLES)))
        for kind, ids in found.items() if len(ids)))
