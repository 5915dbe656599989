"""The packed cache: the cells of a manifest, decoded, cropped and resized once, in one memory-mapped file.

A cache file is found by a key over everything that its pixels depend on: the files (path, size, times of change), the
boxes, the order, crop and size. It is written beside and renamed under a lock, so that it is whole or not there, and
its length and index are checked when it is opened. Old files may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import filelock
import numpy as np
import platformdirs
import polars as pl

from .errors import ImageError, LeukoscopeError, ManifestError
from .files import atomic_path
from .images import Pixels, crop_centre, cut_cell, read_image, resize
from .manifest import BOX
from .recipe import Preprocess

Progress = Callable[[int, int], None]

_MAGIC = b"LKCELLS1"
"""Also the version: changes when the layout, the decoding or the resampling does."""
_HEADER = struct.Struct("<8sQQQ32s")


@dataclass(frozen=True)
class Damaged:
    """A cell that could not be decoded, and why."""

    cell_id: str
    image: str
    reason: str


Outcome = tuple[int, Pixels | Damaged]
"""Number of a row, and its pixels or its damage."""


@dataclass(frozen=True, eq=False)
class PackedCells:
    """Decoded cells: `pixels[i]` (uint8 RGB, size x size) is the cell `cell_ids[i]`; read-only, mapped from `path`.

    damaged: the cells that were left out. key: changes with anything that the pixels depend on.
    """

    cell_ids: tuple[str, ...]
    pixels: np.memmap
    damaged: tuple[Damaged, ...]
    key: str
    path: Path

    def __reduce__(self) -> tuple[Callable[..., PackedCells], tuple[Path, str]]:
        # Another process maps the file again instead of being sent its pixels.
        return _reopen, (self.path, self.key)


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
    folder = cache or Path(os.environ.get("LEUKOSCOPE_CACHE") or platformdirs.user_cache_path("leukoscope"))
    path = Path(folder) / "cells" / f"{key}.cells"
    packed = _open(path, key)
    if packed is None:
        with _cache_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):
                packed = _open(path, key)
                if packed is None:
                    _build(path, rows, preprocess, workers or usable_cores(), on_progress)
                    packed = _open(path, key)
    if packed is None:
        raise LeukoscopeError(f"{path}: the packed cells changed while they were opened", "run the command again")
    _check_damaged(packed, len(rows), skip_damaged)
    return packed


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_damaged(packed: PackedCells, total: int, skip_damaged: bool) -> None:
    damaged = packed.damaged
    if not damaged or (skip_damaged and packed.cell_ids):
        return
    first = damaged[0]
    counted = f"{first.reason} (cell '{first.cell_id}'; {len(damaged)} of {total} cells are damaged)"
    mend = "none is left to work with" if skip_damaged else "mend the files, or leave them out with --skip-damaged"
    raise ImageError(first.image, counted, mend)


def _key(rows: list[dict[str, Any]], preprocess: Preprocess) -> str:
    """Over all that the packed pixels depend on. No file is read: the time of the last change of a file's content or
    entry (ctime) cannot be set back by copying tools, as the time of its last writing can."""
    digest = hashlib.sha256(_MAGIC + f"{preprocess.crop} {preprocess.size}\n".encode())
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


def _build(path: Path, rows: list[dict[str, Any]], preprocess: Preprocess, workers: int,
           on_progress: Progress | None) -> None:
    for left in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        left.unlink(missing_ok=True)  # of a killed build: whoever builds this key holds its lock
    cell_bytes = preprocess.size**2 * 3
    damaged: dict[int, Damaged] = {}
    with (atomic_path(path) as beside, open(beside, "w+b") as file,
          closing(_decoded(rows, preprocess, workers)) as outcomes):
        for done, (row, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Damaged):
                damaged[row] = outcome
            else:
                file.seek(_HEADER.size + row * cell_bytes)
                file.write(outcome.data)
            if on_progress:
                on_progress(done, len(rows))
        kept = [row for row in range(len(rows)) if row not in damaged]
        _close_gaps(file, kept, cell_bytes)
        index = json.dumps({"cell_ids": [rows[row]["cell_id"] for row in kept],
                            "damaged": [asdict(damaged[row]) for row in sorted(damaged)]}).encode()
        file.seek(_HEADER.size + len(kept) * cell_bytes)
        file.write(index)
        file.truncate()
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, len(kept), preprocess.size, len(index), hashlib.sha256(index).digest()))


def _close_gaps(file: BinaryIO, kept: list[int], cell_bytes: int) -> None:
    """Move the cells that are kept up to where damaged ones left a gap."""
    for place, row in enumerate(kept):
        if place != row:
            file.seek(_HEADER.size + row * cell_bytes)
            cell = file.read(cell_bytes)
            file.seek(_HEADER.size + place * cell_bytes)
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
            cell = crop_centre(cut_cell(image, rows[number]), preprocess.crop)
            outcomes.append((number, resize(cell, preprocess.size)))
        except ImageError as error:
            outcomes.append((number, _damage(rows[number], error)))
    return outcomes


def _damage(row: Mapping[str, Any], error: ImageError) -> Damaged:
    return Damaged(row["cell_id"], row["image"], error.reason)


def _open(path: Path, key: str) -> PackedCells | None:
    """Map a cache file; None where there is none or it is not whole, so that it is built."""
    try:
        with open(path, "rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return None
            magic, count, size, index_bytes, digest = _HEADER.unpack(header)
            pixel_bytes = count * size**2 * 3
            whole = _HEADER.size + pixel_bytes + index_bytes
            if magic != _MAGIC or os.fstat(file.fileno()).st_size != whole:
                return None
            file.seek(_HEADER.size + pixel_bytes)
            index = file.read(index_bytes)
            if hashlib.sha256(index).digest() != digest:
                return None
            mapped = np.memmap(file, np.uint8, "r", 0, (_HEADER.size + max(pixel_bytes, 1),))
    except OSError:
        return None
    pixels = cast(np.memmap, mapped[_HEADER.size:_HEADER.size + pixel_bytes].reshape(count, size, size, 3))
    content = json.loads(index)
    return PackedCells(tuple(content["cell_ids"]), pixels, tuple(Damaged(**d) for d in content["damaged"]), key, path)


def _reopen(path: Path, key: str) -> PackedCells:
    packed = _open(path, key)
    if packed is None:
        raise LeukoscopeError(f"{path}: the packed cells are gone or damaged", "run the command again")
    return packed


@contextmanager
def _cache_errors(folder: Path) -> Iterator[None]:
    """Say of a full or unwritable cache folder which one it is and how to choose another."""
    try:
        yield
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LeukoscopeError(f"{folder}: the packed cells cannot be written there ({reason})",
                              "free some space, or name another folder in LEUKOSCOPE_CACHE") from error
