"""The file of packed cells: pixels of many cells of one size, memory-mapped; its name in the cache folder is a key.

It is written under another name and renamed under a lock, so that it is either complete or missing. Its length and
index are checked when it is opened. Old files may be deleted at any time. Knows nothing of the source of the pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

import filelock
import numpy as np
import platformdirs

from ..errors import LeukoscopeError
from ..files import atomic_path
from ..images.decode import Damaged

_MAGIC = b"LKCELLS2"
_HEADER = struct.Struct("<8sQQQQ32s")
HEADER_BYTES = _HEADER.size

Build = Callable[[BinaryIO], tuple[list[str], list[Damaged]]]
"""Writes pixels from `HEADER_BYTES` on; returns the ids of the cells written, in order, and the damaged cells."""


@dataclass(frozen=True, eq=False)
class PackedCells:
    """Decoded cells: `pixels[i]` (uint8, size x size x channels) is the cell `cell_ids[i]`; read-only, mapped from
    `path`. Three channels are RGB, one channel holds grey values or levels of edges.

    damaged: the cells that were left out. key: changes with everything that the pixels depend on.
    """

    cell_ids: tuple[str, ...]
    pixels: np.memmap
    damaged: tuple[Damaged, ...]
    key: str
    path: Path

    def __reduce__(self) -> tuple[Callable[..., PackedCells], tuple[Path, str]]:
        # Another process maps the file again; the pixels are not sent.
        return _reopen, (self.path, self.key)


def cache_path(key: str, cache: Path | None = None) -> Path:
    """The file of a key: below `cache`, by default $LEUKOSCOPE_CACHE or the user's cache folder."""
    folder = cache or Path(os.environ.get("LEUKOSCOPE_CACHE") or platformdirs.user_cache_path("leukoscope"))
    return Path(folder) / "cells" / f"{key}.cells"


def cached_cells(path: Path, key: str, size: int, channels: int, build: Build) -> PackedCells:
    """Map a cache file; `build` it first where it is missing or incomplete. LeukoscopeError when the folder is full or
    not writable."""
    packed = _open(path, key)
    if packed is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):
                packed = _open(path, key)
                if packed is None:
                    _write(path, size, channels, build)
                    packed = _open(path, key)
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise LeukoscopeError(f"{path.parent}: packed cells cannot be written to this folder ({reason})",
                                  "free some space, or set LEUKOSCOPE_CACHE to another folder") from error
    if packed is None:
        raise LeukoscopeError(f"{path}: the packed cells changed while they were opened", "run the command again")
    return packed


def derived_cells(source: PackedCells, what: str, cell_ids: tuple[str, ...], channels: int,
                  blocks: Callable[[], Iterable[np.ndarray]]) -> PackedCells:
    """Cells made from other packed cells, in the same cache folder. `blocks` gives their pixels (uint8 (m, size, size,
    channels)) in the order of `cell_ids`. `what` states everything that they depend on except the source."""
    key = hashlib.sha256(json.dumps([source.key, what, cell_ids]).encode()).hexdigest()[:32]

    def build(file: BinaryIO) -> tuple[list[str], list[Damaged]]:
        file.seek(HEADER_BYTES)
        for block in blocks():
            file.write(np.ascontiguousarray(block).data)
        return list(cell_ids), list(source.damaged)

    return cached_cells(source.path.with_name(f"{key}.cells"), key, source.pixels.shape[1], channels, build)


def _write(path: Path, size: int, channels: int, build: Build) -> None:
    for leftover in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        leftover.unlink(missing_ok=True)  # of a killed build: this process holds the lock of the key
    with atomic_path(path) as beside, open(beside, "w+b") as file:
        cell_ids, damaged = build(file)
        index = json.dumps({"cell_ids": cell_ids, "damaged": [asdict(cell) for cell in damaged]}).encode()
        file.seek(HEADER_BYTES + len(cell_ids) * size**2 * channels)
        file.write(index)
        file.truncate()
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, len(cell_ids), size, channels, len(index), hashlib.sha256(index).digest()))


def _open(path: Path, key: str) -> PackedCells | None:
    """Map a cache file; None where it is missing or incomplete."""
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_BYTES)
            if len(header) < HEADER_BYTES:
                return None
            magic, count, size, channels, index_bytes, digest = _HEADER.unpack(header)
            pixel_bytes = count * size**2 * channels
            if magic != _MAGIC or os.fstat(file.fileno()).st_size != HEADER_BYTES + pixel_bytes + index_bytes:
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
        raise LeukoscopeError(f"{path}: the packed cells are missing or damaged", "run the command again")
    return packed
