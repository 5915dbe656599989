"""The packed cache: the cells of a manifest, decoded, cropped and resized once, in one memory-mapped file.

The file is found by a key over everything that its pixels depend on: the files (path, size, times of change), the
boxes, the order, crop and size. `cache.py` says how it is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from ..errors import ImageError, ManifestError
from ..images.decode import usable_cores
from ..images.frame import FRAMING, shaped
from ..images.read import Pixels, cut_cell, read_image
from ..manifest import BOX
from ..recipes.sections import Preprocess
from .cache import HEADER_BYTES, Damaged, PackedCells, cache_path, cached_cells

Progress = Callable[[int, int], None]

_VERSION = b"decoded 1"
"""Changes when the decoding or the resampling does."""

Outcome = tuple[int, Pixels | Damaged]
"""Number of a row, and its pixels or its damage."""


def pack_cells(
    manifest: pl.DataFrame,
    preprocess: Preprocess,
    *,
    cache: Path | None = None,
    skip_damaged: bool = False,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> PackedCells:
    """Decode, crop and resize the manifest's cells, or map the file where this was done before.

    In manifest order. Damaged cells are left out and listed with `skip_damaged`, else ImageError names the first and
    counts them. `cache` is a folder, by default $LEUKOSCOPE_CACHE or the user's cache folder; LeukoscopeError when it
    is full or cannot be written. `workers` threads decode, by default one a core.
    """
    if manifest.is_empty():
        raise ManifestError("the manifest has no cells", "check which labels the recipe keeps")
    rows = manifest.select("cell_id", "image", *BOX).rows(named=True)
    key = _key(rows, preprocess)

    def build(file: BinaryIO) -> tuple[list[str], list[Damaged]]:
        return _build(file, rows, preprocess, workers or usable_cores(), on_progress)

    packed = cached_cells(cache_path(key, cache), key, preprocess.size, 3, build)
    _check_damaged(packed, len(rows), skip_damaged)
    return packed


def _check_damaged(packed: PackedCells, total: int, skip_damaged: bool) -> None:
    damaged = packed.damaged
    if not damaged or (skip_damaged and packed.cell_ids):
        return
    first = damaged[0]
    counted = f"{first.reason} (cell '{first.cell_id}'; {len(damaged)} of {total} cells are damaged)"
    hint = "none is left to work with" if skip_damaged else "mend the files, or leave them out with --skip-damaged"
    raise ImageError(first.image, counted, hint)


def _key(rows: list[dict[str, Any]], preprocess: Preprocess) -> str:
    """Over all that the packed pixels depend on. No file is read: the time of the last change of a file's content or
    entry (ctime) cannot be set back by copying tools, as the time of its last writing can."""
    refuse = " refuse" if preprocess.smaller == "refuse" and preprocess.crop else ""
    framed = f" {preprocess.frame} {FRAMING}" if preprocess.frame != "image" else ""
    digest = hashlib.sha256(_VERSION + f"{preprocess.crop} {preprocess.size}{refuse}{framed}\n".encode())
    states: dict[str, list[Any]] = {}
    for row in rows:
        image = row["image"]
        if image not in states:
            states[image] = _state(image)
        line = [row["cell_id"], *states[image], *(row[name] for name in BOX)]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()[:32]


def _state(image: str) -> list[Any]:
    try:
        found = os.stat(image)
    except (OSError, ValueError):
        return [os.path.abspath(image), None]
    return [os.path.abspath(image), found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _build(file: BinaryIO, rows: list[dict[str, Any]], preprocess: Preprocess, workers: int,
           on_progress: Progress | None) -> tuple[list[str], list[Damaged]]:
    cell_bytes = preprocess.size**2 * 3
    damaged: dict[int, Damaged] = {}
    with closing(_decoded(rows, preprocess, workers)) as outcomes:
        for done, (row, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Damaged):
                damaged[row] = outcome
            else:
                file.seek(HEADER_BYTES + row * cell_bytes)
                file.write(outcome.data)
            if on_progress:
                on_progress(done, len(rows))
    kept = [row for row in range(len(rows)) if row not in damaged]
    _close_gaps(file, kept, cell_bytes)
    return [rows[row]["cell_id"] for row in kept], [damaged[row] for row in sorted(damaged)]


def _close_gaps(file: BinaryIO, kept: list[int], cell_bytes: int) -> None:
    """Move the cells that are kept up to where damaged ones left a gap."""
    for place, row in enumerate(kept):
        if place != row:
            file.seek(HEADER_BYTES + row * cell_bytes)
            cell = file.read(cell_bytes)
            file.seek(HEADER_BYTES + place * cell_bytes)
            file.write(cell)


def _decoded(rows: list[dict[str, Any]], preprocess: Preprocess, workers: int) -> Generator[Outcome, None, None]:
    """The outcome of every row, in any order; each image is decoded once, however many cells it holds."""
    images: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        images.setdefault(row["image"], []).append(number)
    waiting: deque[Future[list[Outcome]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for numbers in images.values():
            waiting.append(pool.submit(_decode, rows, numbers, preprocess))
            if len(waiting) > 4 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(rows: list[dict[str, Any]], numbers: list[int], preprocess: Preprocess) -> list[Outcome]:
    """All cells of one image."""
    outcomes: list[Outcome] = []
    try:
        image = read_image(rows[numbers[0]]["image"])
    except ImageError as error:
        return [(number, _damage(rows[number], error)) for number in numbers]
    for number in numbers:
        try:
            whole = cut_cell(image, rows[number])
            if preprocess.smaller == "refuse" and min(whole.shape[:2]) < preprocess.crop:
                raise _too_small(rows[number], whole, preprocess.crop)
            outcomes.append((number, shaped(whole, preprocess)))
        except ImageError as error:
            outcomes.append((number, _damage(rows[number], error)))
    return outcomes


def _too_small(row: Mapping[str, Any], cell: Pixels, crop: int) -> ImageError:
    return ImageError(row["image"], f"the cell is {cell.shape[1]} x {cell.shape[0]} px, smaller than "
                      f"preprocess.crop = {crop}")


def _damage(row: Mapping[str, Any], error: ImageError) -> Damaged:
    return Damaged(row["cell_id"], row["image"], error.reason)
