"""Duplicates: the same cell twice, as identical pixels, as a near copy, or turned and mirrored.

A cell has a fingerprint: the hash of its pixels and a small grey thumbnail. Near copies are searched in three steps,
each on the pairs that the step before has left:

1. Circular spectra. Rings around the centre are Fourier-transformed along the angle, without the radially even parts
   (the dark disc that all cells have). The magnitudes do not change when a cell is turned or mirrored, and by the
   triangle inequality no pair that correlates when aligned has a larger distance than `RADIUS`. Nine shifts of the
   centre are tried.
2. The turn and mirroring that align two spectra best, and their correlation then (`ALIGNED`).
3. An affine registration of the thumbnails (Evangelidis and Psarakis 2008, doi 10.1109/TPAMI.2008.113), and the
   correlation of their fine structure after it (`ALIKE`): similar cells reach 0.92, copies 0.96 and more, so that no
   chains of similar cells form.

Covered: recompression, noise, resizing, brightness, contrast, gamma, stain and camera colour, any rotation, mirroring,
shifts up to 3 % of the side, zoom and shear up to 5 %, and mixtures of these. Not covered: larger shifts and zooms,
elastic changes. Decodes through images/read.py; knows nothing of labels and splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import cv2
import numpy as np
import polars as pl

from ..images.decode import Damaged
from ..images.read import Pixels
from ..images.resample import crop_centre, resize
from ..progress import OnProgress
from .registration import THUMBNAIL, near_pairs

PAIRS = {"first": pl.String(), "second": pl.String(), "kind": pl.String(), "distance": pl.Float64(),
         "angle": pl.Float64(), "mirrored": pl.Boolean()}
"""Columns of `duplicate_pairs`."""

LISTED_IN_FULL = 20
"""Of up to so many identical cells every pair is listed; of more, only pairs with the first, and near copies of the
first ones."""

@dataclass(frozen=True)
class Fingerprint:
    """sha256: of the decoded pixels and their shape. thumbnail: uint8 (64, 64), grey, of the centred square."""

    sha256: str
    thumbnail: np.ndarray


def fingerprint(pixels: Pixels) -> Fingerprint:
    """The fingerprint of one cell, uint8 (h, w, 3) RGB."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    square = resize(crop_centre(pixels, min(pixels.shape[:2])), THUMBNAIL)
    return Fingerprint(digest.hexdigest(), cv2.cvtColor(square, cv2.COLOR_RGB2GRAY))


def fingerprint_pixels(cell_ids: Sequence[str], pixels: np.ndarray,
                       on_progress: OnProgress | None = None) -> pl.DataFrame:
    """The table of fingerprints of packed pixels uint8 (n, S, S, 3), which are read one cell at a time."""
    if len(cell_ids) != len(pixels):
        raise ValueError(f"{len(cell_ids)} cell ids for {len(pixels)} cells")
    prints: list[Fingerprint | Damaged | None] = []
    for done, cell in enumerate(pixels, 1):
        prints.append(fingerprint(np.asarray(cell)))
        if on_progress:
            on_progress(done, len(pixels))
    return prints_table(list(cell_ids), prints)


def prints_table(cell_ids: Sequence[str], prints: Sequence[Fingerprint | Damaged | None]) -> pl.DataFrame:
    """`[cell_id, sha256, thumbnail, damaged]`, one row for each cell. Of a cell that cannot be decoded, `sha256` and
    `thumbnail` are null, and `damaged` gives the reason."""
    known = [p if isinstance(p, Fingerprint) else None for p in prints]
    return pl.DataFrame({
        "cell_id": pl.Series(cell_ids, dtype=pl.String),
        "sha256": pl.Series([p and p.sha256 for p in known], dtype=pl.String),
        "thumbnail": pl.Series([p and p.thumbnail.tobytes() for p in known], dtype=pl.Binary),
        "damaged": pl.Series([p.reason if isinstance(p, Damaged) else None for p in prints], dtype=pl.String),
    })


def duplicate_pairs(prints: pl.DataFrame, on_progress: OnProgress | None = None) -> pl.DataFrame:
    """`[first, second, kind, distance, angle, mirrored]`: pairs of copies of one cell, `first < second`.

    kind: "identical" (same pixels), "near" (the same view, changed in quality or colour), "augmented" (turned or
    mirrored). distance: 1 - correlation of the fine structure when aligned, 0 for identical. angle (degrees, -180 to
    180) and mirrored: how `first` is turned onto `second`; null for identical. A table with only `cell_id` and `sha256`
    gives the identical pairs.
    """
    known = prints.filter(pl.col("sha256").is_not_null()).sort("cell_id")
    same = known.group_by("sha256").agg("cell_id").filter(pl.col("cell_id").list.len() > 1)["cell_id"]
    pairs: list[tuple[str, str, str, float, float | None, bool | None]] = [
        (a, b, "identical", 0.0, None, None) for ids in map(list, same)
        for a, b in (combinations(ids, 2) if len(ids) <= LISTED_IN_FULL else product(ids[:1], ids[1:]))]
    if "thumbnail" in known.columns and known.height > 1:
        single = known.unique("sha256", keep="first", maintain_order=True).filter(pl.col("thumbnail").is_not_null())
        thumbnails = np.frombuffer(b"".join(single["thumbnail"]), np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)
        cells = dict(known.group_by("sha256").agg("cell_id").iter_rows())
        groups = [cells[sha256][:LISTED_IN_FULL] for sha256 in single["sha256"]]
        for near in near_pairs(thumbnails, on_progress):
            kind = "near" if near.upright else "augmented"
            for first, second in product(groups[near.first], groups[near.second]):
                turn = near.angle if first < second or near.mirrored else -near.angle
                pairs.append((min(first, second), max(first, second), kind, near.distance, turn, near.mirrored))
    return pl.DataFrame(pairs, schema=PAIRS, orient="row").sort("distance", "first", "second")
