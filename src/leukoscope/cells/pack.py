"""The packed cache: the cells of a manifest, decoded, cropped and resized once, in one memory-mapped file.

The key of the file depends on everything that its pixels depend on: the image files (path, size, times of change), the
boxes, the order, crop and size. `cache.py` describes the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

import polars as pl

from ..errors import ImageError, ManifestError
from ..finder.frame import FRAMING, shaped
from ..images.decode import Damaged, map_rows, usable_cores
from ..images.read import Pixels
from ..manifest import BOX
from ..progress import OnProgress
from ..recipes.sections import Preprocess
from ..tables import Row
from .cache import HEADER_BYTES, PackedCells, cache_path, cached_cells

_VERSION = b"decoded 1"
"""Changes when the decoding or the resampling does."""


def pack_cells(
    manifest: pl.DataFrame,
    preprocess: Preprocess,
    *,
    cache: Path | None = None,
    skip_damaged: bool = False,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> PackedCells:
    """Decode, crop and resize the manifest's cells, or map the file if this was done before.

    In manifest order. With `skip_damaged`, damaged cells are left out and listed; otherwise ImageError names the first
    and counts them. `cache` is a folder, by default $LEUKOSCOPE_CACHE or the user's cache folder; LeukoscopeError when
    it is full or not writable. `workers` threads decode, by default one per core.
    """
    if manifest.is_empty():
        raise ManifestError("the manifest has no cells", "check which labels the recipe uses")
    key = _key(manifest, preprocess)

    def build(file: BinaryIO) -> tuple[list[str], list[Damaged]]:
        return _build(file, manifest, preprocess, workers or usable_cores(), on_progress)

    packed = cached_cells(cache_path(key, cache), key, preprocess.size, 3, build)
    if packed.damaged and not (skip_damaged and packed.cell_ids):
        first, count = packed.damaged[0], len(packed.damaged)
        raise ImageError(
            first.image, f"{first.reason} (cell '{first.cell_id}'; {count} of {manifest.height} cells are damaged)",
            "no cell is left" if skip_damaged else "repair the files, or leave them out with --skip-damaged")
    return packed


def _key(manifest: pl.DataFrame, preprocess: Preprocess) -> str:
    """A hash of everything that the packed pixels depend on. No file is read: ctime, the time at which content or entry
    of a file last changed, cannot be set back by copying tools, as mtime can."""
    refuse = " refuse" if preprocess.smaller == "refuse" and preprocess.crop else ""
    framed = f" {preprocess.frame} {FRAMING}" if preprocess.frame != "image" else ""
    digest = hashlib.sha256(_VERSION + f"{preprocess.crop} {preprocess.size}{refuse}{framed}\n".encode())
    states: dict[str, list[str | int | None]] = {}
    for cell_id, image, *box in manifest.select("cell_id", "image", *BOX).iter_rows():
        if image not in states:
            try:
                state = os.stat(image)
                states[image] = [os.path.abspath(image), state.st_size, state.st_mtime_ns, state.st_ctime_ns]
            except (OSError, ValueError):
                states[image] = [os.path.abspath(image), None]
        digest.update(json.dumps([cell_id, *states[image], *box]).encode() + b"\n")
    return digest.hexdigest()[:32]


def _build(file: BinaryIO, manifest: pl.DataFrame, preprocess: Preprocess, workers: int,
           on_progress: OnProgress | None) -> tuple[list[str], list[Damaged]]:
    def shape(row: Row, cell: Pixels) -> Pixels:
        if preprocess.smaller == "refuse" and min(cell.shape[:2]) < preprocess.crop:
            raise ImageError(row["image"], f"the cell is {cell.shape[1]} x {cell.shape[0]} px, smaller than "
                             f"preprocess.crop = {preprocess.crop}")
        return shaped(cell, preprocess)

    cell_bytes = preprocess.size**2 * 3
    damaged: dict[int, Damaged] = {}
    for row, outcome in map_rows(manifest, shape, workers=workers, on_progress=on_progress):
        if isinstance(outcome, Damaged):
            damaged[row] = outcome
        else:
            file.seek(HEADER_BYTES + row * cell_bytes)
            file.write(outcome.data)
    whole = [row for row in range(manifest.height) if row not in damaged]
    for place, row in enumerate(whole):
        if place != row:  # close the gaps of damaged cells
            file.seek(HEADER_BYTES + row * cell_bytes)
            cell = file.read(cell_bytes)
            file.seek(HEADER_BYTES + place * cell_bytes)
            file.write(cell)
    return manifest["cell_id"][whole].to_list(), [damaged[row] for row in sorted(damaged)]
