"""What a network has seen, in about 25 bytes a cell, for a bundle: who the cells are of, and how to know them again.

`runs_seen` asks a run itself, which keeps thumbnails; what is common to both stands here. Knows no run and no bundle.
"""

from __future__ import annotations

import io
from functools import cache

import cv2
import numpy as np
import polars as pl
from jaxtyping import Int, UInt8

from .registration import THUMBNAIL

SCHEMA = {"source": pl.String(), "subject": pl.String(), "group": pl.String(), "pixels": pl.Binary(),
          "hash": pl.Binary()}
"""Columns of the table. pixels: the first 8 bytes of the SHA-256 of the decoded, cut and resized cell; hash: see
`seen_hash`; both null where the run kept no fingerprint."""
PIXEL_BYTES = 8


def training_table(cells: pl.DataFrame, prints: pl.DataFrame | None) -> pl.DataFrame:
    """The table of cells (manifest rows) that a network has seen, with their fingerprints where there are any. Rows are
    in the order of their hashes, so that the table tells no order."""
    known = prints if prints is not None else pl.DataFrame(schema={"cell_id": pl.String(), "sha256": pl.String(),
                                                                   "thumbnail": pl.Binary()})
    joined = cells.join(known.select("cell_id", "sha256", "thumbnail"), on="cell_id", how="left")
    pixels = [None if digest is None else bytes.fromhex(digest)[:PIXEL_BYTES] for digest in joined["sha256"]]
    hashes = [None if thumbnail is None else cell_hash(thumbnail_of(thumbnail)) for thumbnail in joined["thumbnail"]]
    return joined.select("source", "subject", "group").with_columns(
        pl.Series("pixels", pixels, dtype=pl.Binary), pl.Series("hash", hashes, dtype=pl.Binary),
    ).unique().sort("hash", "pixels", "source", "subject", "group", nulls_last=True)


def training_table_bytes(table: pl.DataFrame) -> bytes:
    """The table as a Parquet file."""
    file = io.BytesIO()
    table.write_parquet(file, compression="zstd", compression_level=19, statistics=False)
    return file.getvalue()


def read_training_table(content: bytes) -> pl.DataFrame:
    """What `training_table_bytes` gave. Raises ValueError, saying what is wrong with it."""
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


def thumbnail_of(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(THUMBNAIL, THUMBNAIL)


RINGS, ANGLES, BYTES = 8, 16, 16


_INNER, _OUTER = 5.0, 28.0  # px
_BETWEEN = 4  # turns that are tried between two places of a ring


_FINE, _COARSE = 1.0, 3.0  # px: standard deviations of the two blurs whose difference is the fine structure
VIEWS = ((0.0, 0.0, 1.0), *((right, down, 1.0) for right in (-1.0, 0.0, 1.0) for down in (-1.0, 0.0, 1.0)
                            if right or down), (0.0, 0.0, 1.03), (0.0, 0.0, 0.97))
"""Shifts right and down (px of 64) and zooms of a cell that is asked for; a known one has the first alone."""
_FLAT = 1.0  # standard deviation below which a thumbnail shows nothing
BITS_APART = 7
"""Bits by which a copy may differ. Of 1,500 PBC cells tried on 7,116, no other cell came nearer than 9
(benchmarks/seen.py; tests/leaks/test_training_table.py repeats it in part)."""
BITS_APART_FRAMED = 3
"""The same for cells that were brought to one light and scale, which are more alike: of 1,423 PBC cells on 5,693
others, the nearest came to 6, a basophil to a lymphocyte, and the third to 9. Fewer copies are known again."""
Thumbnail = UInt8[np.ndarray, "64 64"]
Hashes = UInt8[np.ndarray, "n 16"]


def cell_hash(thumbnail: Thumbnail) -> bytes | None:
    """The hash of a cell; None where it shows nothing."""
    if thumbnail.std() <= _FLAT:
        return None
    return np.packbits(_signs(_fine(thumbnail), VIEWS[0])[:, ::_BETWEEN]).tobytes()


def all_turns(thumbnail: Thumbnail) -> UInt8[np.ndarray, "m 16"]:
    """Hashes of a cell turned in steps of 360 / 64 degrees, and of its mirror image; the same about a middle that is
    moved by a little, and at a scale that is."""
    fine = _fine(thumbnail)
    return np.concatenate([np.packbits(_signs(fine, view).reshape(-1)[_turns()], axis=1) for view in VIEWS])


def nearest(thumbnails: UInt8[np.ndarray, "n 64 64"], known: Hashes) -> tuple[Int[np.ndarray, " n"],
                                                                              Int[np.ndarray, " n"]]:
    """For each thumbnail the row of `known` that it is nearest to in any turn, and the bits between them; -1 and 128
    for one that shows nothing, or where none is known."""
    rows, apart = np.full(len(thumbnails), -1), np.full(len(thumbnails), 8 * BYTES)
    first, second = np.ascontiguousarray(np.ascontiguousarray(known).view(np.uint64).reshape(-1, 2).T)
    for i, thumbnail in enumerate(thumbnails):
        if thumbnail.std() <= _FLAT or not len(known):
            continue
        best = np.full(len(known), 8 * BYTES, np.uint8)
        for one, other in all_turns(thumbnail).view(np.uint64):  # arrays of one word each stay in the cache
            bits = np.bitwise_count(first ^ one)
            bits += np.bitwise_count(second ^ other)
            np.minimum(best, bits, out=best)
        rows[i], apart[i] = best.argmin(), best.min()
    return rows, apart


def _fine(thumbnail: Thumbnail) -> np.ndarray:
    grey = thumbnail.astype(np.float32)
    return cv2.GaussianBlur(grey, (0, 0), _FINE) - cv2.GaussianBlur(grey, (0, 0), _COARSE)


def _signs(fine: np.ndarray, view: tuple[float, float, float]) -> np.ndarray:
    """(rings, places) bool: where the fine structure is brighter than what is around it."""
    return cv2.remap(fine, *_places(*view), cv2.INTER_LINEAR) > 0


@cache
def _turns() -> np.ndarray:
    """(128, 128): where the bits of each turned, and each turned and mirrored, hash stand among all signs."""
    places = ANGLES * _BETWEEN
    step, angle = np.arange(places)[:, None, None], np.arange(0, places, _BETWEEN)
    rings = places * np.arange(RINGS)[:, None]
    ways = [rings + (way * angle + step) % places for way in (1, -1)]
    return np.concatenate([way.reshape(places, -1) for way in ways])


@cache
def _places(right: float, down: float, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    radius = zoom * np.linspace(_INNER, _OUTER, RINGS)[:, None]
    turn = np.arange(ANGLES * _BETWEEN) * 2 * np.pi / (ANGLES * _BETWEEN)
    middle = (THUMBNAIL - 1) / 2
    return ((middle + right + radius * np.cos(turn)).astype(np.float32),
            (middle + down + radius * np.sin(turn)).astype(np.float32))
