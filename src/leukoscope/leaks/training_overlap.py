"""Are these cells, or others of the same people, in the training table of a model?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from ..errors import LeakError
from ..recipes.recipe import Protocol
from .guard import EXAMPLES, KINDS, Leak, Verdict
from .registration import THUMBNAIL
from .training_table import BITS_APART, PIXEL_BYTES, nearest


def table_overlap(where: str, table: pl.DataFrame, cells: pl.DataFrame, prints: pl.DataFrame,
                  protocol: Protocol, bits: int = BITS_APART) -> Verdict:
    """Which of the cells (manifest rows, with fingerprints made after the bundle's own preparation) are in the training
    table of `where`: by subject and group within a source, as identical cells, or as copies, whose hashes differ in at
    most `bits` bits."""
    return joined_verdict(protocol, [
        *(same_people(where, name, table, cells, protocol) for name in ("subject", "group")),
        _same_cells(where, table, prints, protocol, bits)])


def joined_verdict(protocol: Protocol, verdicts: list[Verdict]) -> Verdict:
    """Several verdicts as one."""
    return Verdict(protocol, *(tuple(entry for v in verdicts for entry in getattr(v, part))
                               for part in ("checked", "not_checked", "leaks")))


def same_people(where: str, name: str, trained: pl.DataFrame, cells: pl.DataFrame, protocol: Protocol) -> Verdict:
    """Subjects (or groups) of these cells in the training of `where`, of the same source: the same name elsewhere may
    be another person."""
    what = f"{name}s that {where} was trained on"
    if trained[name].is_null().all() or cells[name].is_null().all():
        return Verdict(protocol, (), (f"{what} (not known on both sides)",), ())
    theirs = trained.select("source", name).unique().filter(pl.col(name).is_not_null())
    own = cells.join(theirs, on=["source", name], how="semi", nulls_equal=True)
    shared = own[name].unique().sort()
    if shared.is_empty():
        return Verdict(protocol, (what,), (), ())
    examples = tuple(f"'{value}'" for value in shared.head(EXAMPLES))
    text = f"{name}s of these cells that {where} was trained on: {len(shared)} ({_listed(examples, len(shared))})"
    return Verdict(protocol, (what,), (), (
        Leak(name, None, ("train", "test"), len(shared), examples, text, tuple(own["cell_id"])),))


def image_leak(where: str, kind: str, count: int, examples: tuple[str, ...], cells: tuple[str, ...]) -> Leak:
    """`count` pairs of one kind between these cells and the training cells of `where`. cells: those here."""
    return Leak(kind, None, ("train", "test"), count, examples, f"{KINDS[kind][0]} between these cells and those that "
                f"{where} was trained on: {count} ({_listed(examples, count)})", cells)


def _listed(examples: tuple[str, ...], count: int) -> str:
    return ", ".join([*examples, *(["..."] if count > len(examples) else [])])


def refuse_overlap(verdict: Verdict, hint: str = "leave those cells out of the manifest") -> None:
    """Raise LeakError with every kind of leak, under protocol "clean"."""
    if verdict.protocol == "clean" and verdict.leaks:
        raise LeakError("; ".join(leak.text for leak in verdict.leaks),
                        f"{hint}: a network recognises cells that it was trained on")


def without_overlap(verdict: Verdict, cells: pl.Series, leave_out: bool) -> tuple[np.ndarray, Verdict]:
    """Which of the cells (ids) are evaluated, (n,) bool, and what is then to be said of them. leave_out: those that
    the model was trained on. Raises LeakError as `refuse_overlap`, and where no cell is left."""
    leaked = {cell for leak in verdict.leaks for cell in leak.cells}
    if not leave_out or not leaked:
        refuse_overlap(verdict, f"leave {len(leaked):,} of the {len(cells):,} cells out with --leave-out-trained")
        return np.ones(len(cells), bool), verdict
    kept = ~cells.is_in(list(leaked)).to_numpy()
    if not kept.any():
        refuse_overlap(replace(verdict, protocol="clean"), "no cell is left without those; evaluate other cells")
    return kept, replace(verdict, leaks=())


def _same_cells(where: str, table: pl.DataFrame, prints: pl.DataFrame, protocol: Protocol, bits: int) -> Verdict:
    what = f"cells that {where} was trained on"
    known = table.filter(pl.col("pixels").is_not_null())
    if known.is_empty():
        return Verdict(protocol, (), (f"{what} (it has no fingerprints)",), ())
    partly = "" if known.height == table.height else (
        f" ({known.height:,} of {table.height:,}; the others have no fingerprint)")
    here = prints.filter(pl.col("sha256").is_not_null())
    there = set(known["pixels"])
    same = pl.Series([bytes.fromhex(digest)[:PIXEL_BYTES] in there for digest in here["sha256"]], dtype=pl.Boolean)
    others = here.filter(~same)
    hashes = np.frombuffer(b"".join(known["hash"].drop_nulls()), np.uint8).reshape(-1, 16)
    thumbnails = np.frombuffer(b"".join(others["thumbnail"]), np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)
    _, apart = nearest(thumbnails, hashes)
    cells = {"identical": here.filter(same)["cell_id"], "augmented": others["cell_id"].filter(apart <= bits)}
    return Verdict(protocol, (f"{what}{partly}",), (), tuple(
        image_leak(where, kind, len(ids), tuple(f"'{cell}'" for cell in ids.head(EXAMPLES)), tuple(ids))
        for kind, ids in cells.items() if len(ids)))
