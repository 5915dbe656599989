"""The file of packed cells: pixels of many cells of one size, memory-mapped, found by a key in the cache folder.

It is written beside and renamed under a lock, so that it is whole or not there, and its length and index are checked
when it is opened. Old files may be deleted at any time. Knows nothing of where the pixels come from.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

import filelock
import numpy as np
import platformdirs

from ..errors import LeukoscopeError
from ..files import atomic_path

_MAGIC = b"LKCELLS2"
_HEADER = struct.Struct("<8sQQQQ32s")
HEADER_BYTES = _HEADER.size

Build = Callable[[BinaryIO], tuple[list[str], list["Damaged"]]]
"""Writes pixels from `HEADER_BYTES` on; returns the ids of the cells written, in order, and the damaged ones."""


@dataclass(frozen=True)
class Damaged:
    """A cell that could not be decoded, and why."""

    cell_id: str
    image: str
    reason: str


@dataclass(frozen=True, eq=False)
class PackedCells:
    """Decoded cells: `pixels[i]` (uint8, size x size x channels) is the cell `cell_ids[i]`; read-only, mapped from
    `path`. Three channels are RGB, one channel holds grey values or levels of edges.

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


def cache_path(key: str, cache: Path | None = None) -> Path:
    """Where the cells of a key are kept: below `cache`, by default $LEUKOSCOPE_CACHE or the user's cache folder."""
    folder = cache or Path(os.environ.get("LEUKOSCOPE_CACHE") or platformdirs.user_cache_path("leukoscope"))
    return Path(folder) / "cells" / f"{key}.cells"


def cached_cells(path: Path, key: str, size: int, channels: int, build: Build) -> PackedCells:
    """Map a cache file; `build` it first where it is not there or not whole. LeukoscopeError when the folder is full
    or cannot be written."""
    packed = _open(path, key)
    if packed is None:
        with _cache_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):
                packed = _open(path, key)
                if packed is None:
                    _write(path, size, channels, build)
                    packed = _open(path, key)
    if packed is None:
        raise LeukoscopeError(f"{path}: the packed cells changed while they were opened", "run the command again")
    return packed


def derived_cells(source: PackedCells, what: str, cell_ids: tuple[str, ...], channels: int,
                  blocks: Callable[[], Iterable[np.ndarray]]) -> PackedCells:
    """Cells made from other packed cells, beside them in the cache: `blocks` gives their pixels (uint8 (m, size, size,
    channels)), in the order of `cell_ids`. `what` names everything but the source that they depend on."""
    key = hashlib.sha256(json.dumps([source.key, what, cell_ids]).encode()).hexdigest()[:32]

    def build(file: BinaryIO) -> tuple[list[str], list[Damaged]]:
        file.seek(HEADER_BYTES)
        for block in blocks():
            file.write(np.ascontiguousarray(block).data)
        return list(cell_ids), list(source.damaged)

    return cached_cells(source.path.with_name(f"{key}.cells"), key, source.pixels.shape[1], channels, build)


def _write(path: Path, size: int, channels: int, build: Build) -> None:
    for left in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        left.unlink(missing_ok=True)  # of a killed build: whoever builds this key holds its lock
    with atomic_path(path) as beside, open(beside, "w+b") as file:
        kept, damaged = build(file)
        index = json.dumps({"cell_ids": kept, "damaged": [asdict(one) for one in damaged]}).encode()
        file.seek(HEADER_BYTES + len(kept) * size**2 * channels)
        file.write(index)
        file.truncate()
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, len(kept), size, channels, len(index), hashlib.sha256(index).digest()))


def _open(path: Path, key: str) -> PackedCells | None:
    """Map a cache file; None where there is none or it is not whole, so that it is built."""
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_BYTES)
            if len(header) < HEADER_BYTES:
                return None
            magic, count, size, channels, index_bytes, digest = _HEADER.unpack(header)
            pixel_bytes = count * size**2 * channels
            whole = HEADER_BYTES + pixel_bytes + index_bytes
            if magic != _MAGIC or os.fstat(file.fileno()).st_size != whole:
                return None
            file.seek(HEADER_BYTES + pixel_bytes)
            index = file.read(index_bytes)
            if hashlib.sha256(index).digest() != digest:
                return None
            mapped = np.memmap(file, np.uint8, "r", 0, (HEADER_BYTES + max(pixel_bytes, 1),))
    except OSError:
        return None
    flat = mapped[HEADER_BYTES:HEADER_BYTES + pixel_bytes]
    pixels = cast(np.memmap, flat.reshape(count, size, size, channels))
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
