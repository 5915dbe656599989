"""What a network has seen, in about 25 bytes a cell, for a bundle: who the cells are of, and how to know them again.

`runs_seen` asks a run itself, which keeps thumbnails; what is common to both stands here. Knows no run and no bundle.
"""

from __future__ import annotations

import io

import numpy as np
import polars as pl

from .duplicates_near import THUMBNAIL
from .errors import LeakError
from .leaks import EXAMPLES, KINDS, Leak, Verdict
from .recipe import Protocol
from .seen_hash import BITS_APART, cell_hash, nearest

SCHEMA = {"source": pl.String(), "subject": pl.String(), "group": pl.String(), "pixels": pl.Binary(),
          "hash": pl.Binary()}
"""Columns of the table. pixels: the first 8 bytes of the SHA-256 of the decoded, cut and resized cell; hash: see
`seen_hash`; both null where the run kept no fingerprint."""
PIXEL_BYTES = 8


def seen_table(cells: pl.DataFrame, prints: pl.DataFrame | None) -> pl.DataFrame:
    """The table of cells (manifest rows) that a network has seen, with their fingerprints where there are any. Rows are
    in the order of their hashes, so that the table tells no order."""
    known = prints if prints is not None else pl.DataFrame(schema={"cell_id": pl.String(), "sha256": pl.String(),
                                                                   "thumbnail": pl.Binary()})
    joined = cells.join(known.select("cell_id", "sha256", "thumbnail"), on="cell_id", how="left")
    pixels = [None if digest is None else bytes.fromhex(digest)[:PIXEL_BYTES] for digest in joined["sha256"]]
    hashes = [None if thumbnail is None else cell_hash(_thumbnail(thumbnail)) for thumbnail in joined["thumbnail"]]
    return joined.select("source", "subject", "group").with_columns(
        pl.Series("pixels", pixels, dtype=pl.Binary), pl.Series("hash", hashes, dtype=pl.Binary),
    ).unique().sort("hash", "pixels", "source", "subject", "group", nulls_last=True)


def seen_bytes(table: pl.DataFrame) -> bytes:
    """The table as a Parquet file."""
    file = io.BytesIO()
    table.write_parquet(file, compression="zstd", compression_level=19, statistics=False)
    return file.getvalue()


def read_seen(content: bytes) -> pl.DataFrame:
    """What `seen_bytes` gave. Raises ValueError, saying what is wrong with it."""
    try:
        table = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if dict(table.schema) != SCHEMA:
        raise ValueError(f"its columns are {', '.join(table.columns)}, expected {', '.join(SCHEMA)}")
    for name, size in (("pixels", PIXEL_BYTES), ("hash", 16)):
        if (table[name].bin.size() != size).any():
            raise ValueError(f"a value of '{name}' is not of {size} bytes")
    return table


def seen_there(where: str, table: pl.DataFrame, cells: pl.DataFrame, prints: pl.DataFrame,
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


def refuse_seen(verdict: Verdict) -> None:
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
    thumbnails = np.stack([_thumbnail(one) for one in others["thumbnail"]]) if others.height else np.empty((0, 64, 64))
    _, apart = nearest(thumbnails.astype(np.uint8), hashes)
    found = {"identical": here.filter(same)["cell_id"], "augmented": others["cell_id"].filter(apart <= bits)}
    return Verdict(protocol, (f"{what}{partly}",), (), tuple(
        image_leak(where, kind, len(ids), tuple(f"'{one}'" for one in ids.head(EXAMPLES)))
        for kind, ids in found.items() if len(ids)))


def _thumbnail(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(THUMBNAIL, THUMBNAIL)
