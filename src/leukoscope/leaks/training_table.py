"""The cells that a network was trained on, in about 25 bytes each, for a bundle: their people, and how to recognise
them.

runs/training_overlap.py compares with a run itself, which has thumbnails. Knows no run and no bundle.
"""

from __future__ import annotations

import io
from functools import cache

import cv2
import numpy as np
import polars as pl
from jaxtyping import Int, UInt8

from ..errors import first_line
from ..tables import read_parquet
from .registration import THUMBNAIL, fine_structure, shown_in

SCHEMA = {"source": pl.String(), "subject": pl.String(), "group": pl.String(), "pixels": pl.Binary(),
          "hash": pl.Binary()}
"""Columns of the table. pixels: the first 8 bytes of the SHA-256 of the decoded, cut and resized cell; hash: see
`cell_hash`; both null where the run has no fingerprint."""
PIXEL_BYTES = 8


def training_table(cells: pl.DataFrame, prints: pl.DataFrame | None) -> pl.DataFrame:
    """The table of cells (manifest rows) that a network was trained on, with their fingerprints if there are any. Rows
    are sorted by their hashes, so that the table does not reveal the order of the cells."""
    known = prints if prints is not None else pl.DataFrame(schema={"cell_id": pl.String(), "sha256": pl.String(),
                                                                   "thumbnail": pl.Binary()})
    joined = cells.join(known.select("cell_id", "sha256", "thumbnail"), on="cell_id", how="left")
    pixels = [None if digest is None else bytes.fromhex(digest)[:PIXEL_BYTES] for digest in joined["sha256"]]
    hashes = [None if thumbnail is None else
              cell_hash(np.frombuffer(thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL))
              for thumbnail in joined["thumbnail"]]
    return joined.select("source", "subject", "group").with_columns(
        pl.Series("pixels", pixels, dtype=pl.Binary), pl.Series("hash", hashes, dtype=pl.Binary),
    ).unique().sort("hash", "pixels", "source", "subject", "group", nulls_last=True)


def training_table_bytes(table: pl.DataFrame) -> bytes:
    """The table as a Parquet file."""
    file = io.BytesIO()
    table.write_parquet(file, compression="zstd", compression_level=19, statistics=False)
    return file.getvalue()


def read_training_table(content: bytes) -> pl.DataFrame:
    """Read what `training_table_bytes` wrote. Raises ValueError with what is wrong."""
    try:
        table = read_parquet(content)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(first_line(error)) from error
    if dict(table.schema) != SCHEMA:
        raise ValueError(f"its columns are {', '.join(table.columns)}, expected {', '.join(SCHEMA)}")
    if table.is_empty():
        raise ValueError("it names no cell")
    for name, size in (("pixels", PIXEL_BYTES), ("hash", 16)):
        if (table[name].bin.size() != size).any():
            raise ValueError(f"a value of '{name}' does not have {size} bytes")
    return table


RINGS, ANGLES, BYTES = 8, 16, 16
_INNER, _OUTER = 5.0, 28.0  # px
_BETWEEN = 4  # turns that are tried between two places of a ring
_FINE, _COARSE = 1.0, 3.0  # px: standard deviations of the two blurs whose difference is the fine structure
VIEWS = ((0.0, 0.0, 1.0), *((right, down, 1.0) for right in (-1.0, 0.0, 1.0) for down in (-1.0, 0.0, 1.0)
                            if right or down), (0.0, 0.0, 1.03), (0.0, 0.0, 0.97))
"""Shifts right and down (px of 64) and zooms that are tried for a new cell; a cell of the table has only the first."""
_WITHIN = 0.9  # of the radius of a cell that was cut out: how far the rings reach
_FLAT = 1.0  # standard deviation below which a thumbnail shows nothing
BITS_APART = 7
"""Bits in which a copy may differ. Between 1,500 cells of PBC and 7,116, no two different cells differed in fewer than
9 bits (benchmarks/seen.py; tests/leaks/test_training_table.py repeats a part)."""
BITS_APART_FRAMED = 5
"""The same for cells that were framed, of which only the cell itself is compared: of 1,600 cells of PBC, MLL, LMU and
C-NMC in an earlier, wider frame, none was nearer than 7 bits to another cell of its laboratory but real copies, and of
1,800 none nearer than 8 to a cell of another laboratory. In the frame of now (FRAMING 8), of 20 cells of each of six
laboratories none was nearer than 9 bits to one of up to 600 others of its laboratory, or than 17 to one of 3,000 of the
other laboratories."""
Thumbnail = UInt8[np.ndarray, "64 64"]
Hashes = UInt8[np.ndarray, "n 16"]


def cell_hash(thumbnail: Thumbnail) -> bytes | None:
    """The hash of a cell; None where it shows nothing."""
    if thumbnail.std() <= _FLAT:
        return None
    fine, reach = _fine(thumbnail)
    return np.packbits(_signs(fine, VIEWS[0], reach)[:, ::_BETWEEN]).tobytes()


def all_turns(thumbnail: Thumbnail) -> UInt8[np.ndarray, "m 16"]:
    """Hashes of a cell turned in steps of 360 / 64 degrees, and of its mirror image; the same for a slightly moved
    centre and a slightly changed scale."""
    fine, reach = _fine(thumbnail)
    return np.concatenate([np.packbits(_signs(fine, view, reach).reshape(-1)[_turns()], axis=1) for view in VIEWS])


def nearest(thumbnails: UInt8[np.ndarray, "n 64 64"], known: Hashes) -> tuple[Int[np.ndarray, " n"],
                                                                              Int[np.ndarray, " n"]]:
    """For each thumbnail the nearest row of `known` in any turn, and the number of different bits; -1 and 128 for a
    thumbnail that shows nothing, or if `known` is empty."""
    rows, apart = np.full(len(thumbnails), -1), np.full(len(thumbnails), 8 * BYTES)
    first, second = np.ascontiguousarray(np.ascontiguousarray(known).view(np.uint64).reshape(-1, 2).T)
    for i, thumbnail in enumerate(thumbnails):
        if thumbnail.std() <= _FLAT or not len(known):
            continue
        best = np.full(len(known), 8 * BYTES, np.uint8)
        for low, high in all_turns(thumbnail).view(np.uint64):  # arrays of one word each stay in the cache
            bits = np.bitwise_count(first ^ low)
            bits += np.bitwise_count(second ^ high)
            np.minimum(best, bits, out=best)
        rows[i], apart[i] = best.argmin(), best.min()
    return rows, apart


def _fine(thumbnail: Thumbnail) -> tuple[np.ndarray, float]:
    """The fine structure, and how far the rings reach: over the thumbnail, or over the cell that was cut out."""
    grey = thumbnail.astype(np.float32)
    shown = shown_in(grey)
    reach = 1.0 if shown.all() else round(_WITHIN * float(np.sqrt(shown.sum() / np.pi)) / _OUTER, 1)
    return fine_structure(grey, shown, _FINE, _COARSE), reach


def _signs(fine: np.ndarray, view: tuple[float, float, float], reach: float) -> np.ndarray:
    """(rings, places) bool: where the fine structure is brighter than its surroundings."""
    right, down, zoom = view
    return cv2.remap(fine, *_places(right, down, zoom * reach), cv2.INTER_LINEAR) > 0


@cache
def _turns() -> np.ndarray:
    """(128, 128): positions among all signs of the bits of each hash, turned, and turned and mirrored."""
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
