"""The files of a bundle, read from a folder or a ZIP file within fixed sizes.

Sizes are taken from the folder, the directory of the ZIP file and the headers before anything is read. What the files
say is checked elsewhere.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import IO

from ..errors import BundleError, first_line
from ..text import escaped, plain

DESCRIPTION = "bundle.json"
SEEN = "seen.parquet"
"""The cells that it was trained and chosen on, for the leak guard. Older bundles have none."""
HEAD = "head.npz"
"""What was fitted to one laboratory (head.py)."""
WEIGHTS = "weights.safetensors"
"""For torch; prediction does not need it, so its content is not held in memory."""
OPTIONAL = (SEEN, WEIGHTS, HEAD)
"""What a bundle may lack: older ones name no cells, small ones hold no weights for PyTorch, and only those that were
adapted to a laboratory have a head."""
FILES = ("model.onnx", WEIGHTS, "recipe.toml", "golden.npz", "MODEL_CARD.md", SEEN, HEAD)
AGAIN = "export it again, or download it again"
MOST_BYTES = 2 * 2**30
"""Size of a bundle, unpacked, at most."""
MOST = {DESCRIPTION: 2**21, "model.onnx": 2**30, WEIGHTS: 2**30, "recipe.toml": 2**18, "golden.npz": 2**25,
        "MODEL_CARD.md": 2**20, SEEN: 2**28, HEAD: 2**24}
"""Size of each file at most, bytes."""
SMALL = 2**24
"""Bytes below which a file may be packed or sparse to any degree."""
MOST_PACKED = 20
"""A larger file may unpack to this multiple of what is stored: trained weights hardly shrink."""
LONGEST_FAULT = 400
"""Characters of what is said of a bundle: names in it may be of any length."""
_HEADER = 2**21
"""Size of the header of the weights at most, bytes."""
_DIRECTORY = 2**20
"""Size of the directory of a ZIP file at most, bytes."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways of packing whose output is bounded while it is unpacked."""
_BLOCK = 2**20


@dataclass(frozen=True, repr=False)
class Parts:
    """The files of a bundle. content: of each but the weights; digests: the SHA-256 of each, in hexadecimal."""

    content: Mapping[str, bytes]
    digests: Mapping[str, str]


def damaged(path: Path, what: str, hint: str = AGAIN) -> BundleError:
    return BundleError(f"{path}: {plain(what, LONGEST_FAULT)}", hint)


def error_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it has none; what is no text is written out."""
    return escaped(first_line(error))


def check_replaceable(out: Path, overwrite: bool) -> None:
    """Raise BundleError where writing a bundle would replace something; `overwrite` allows it, but never for a folder
    that holds something else than a bundle."""
    if not out.exists():
        return
    if not overwrite:
        raise BundleError(f"{out}: already exists", "name another bundle with -o, or use --overwrite")
    zipped = out.suffix == ".zip"
    if zipped == out.is_dir() or (not zipped and not {path.name for path in out.iterdir()} <= {DESCRIPTION, *FILES}):
        raise BundleError(f"{out}: is not a bundle, and a bundle would replace it",
                          "name another bundle with -o")


def check_sizes(path: Path, sizes: Mapping[str, int], stored: Mapping[str, int] | None = None) -> None:
    """Raise BundleError where a file is larger than it may be, or larger than its stored size explains."""
    for name, size in sizes.items():
        if size > MOST.get(name, MOST_BYTES):
            raise damaged(path, f"{name} has {size:,} bytes, and at most {MOST.get(name, MOST_BYTES):,} are allowed",
                          "do not use this bundle")
        if stored and size > SMALL and size > MOST_PACKED * stored[name]:
            raise damaged(path, f"{name} would unpack from {stored[name]:,} to {size:,} bytes",
                          "do not use this bundle")
    if sum(sizes.values()) > MOST_BYTES:
        raise damaged(path, f"has {sum(sizes.values()):,} bytes, and at most {MOST_BYTES:,} are allowed",
                      "do not use this bundle")


def read_parts(path: Path) -> Parts:
    """Read a bundle's files. Raises BundleError where it is none, or a file is too large or cannot be read."""
    return _read_zip(path) if path.is_file() else _read_folder(path)


def _read_folder(path: Path) -> Parts:
    if not (path / DESCRIPTION).is_file():
        if (path / "metrics.json").is_file():
            raise BundleError(f"{path}: a run, not a bundle", f"make one: leukoscope export {path} -o BUNDLE")
        what = f"holds no {DESCRIPTION}" if path.is_dir() else "no such file or folder"
        raise BundleError(f"{path}: not a bundle ({what})", "name one that leukoscope export has made")
    files = {name: path / name for name in (DESCRIPTION, *FILES) if (path / name).is_file()}
    sizes, stored = {}, {}
    try:
        for name, file in files.items():
            with file.open("rb") as opened:
                sizes[name], stored[name] = _sizes(opened)
        check_sizes(path, sizes, stored)
        read = {}
        for name, file in files.items():
            with file.open("rb") as opened:
                read[name] = _read(path, name, opened, sizes[name])
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error_line(error)})") from error
    return _parts(read)


def _sizes(opened: IO[bytes]) -> tuple[int, int]:
    """The size of an open file, and how many of these bytes are stored: a sparse file has holes."""
    descriptor = opened.fileno()
    size = os.fstat(descriptor).st_size
    if size <= SMALL or not hasattr(os, "SEEK_DATA"):
        return size, size
    stored = place = 0
    try:
        while place < size and stored * MOST_PACKED < size:
            start = os.lseek(descriptor, place, os.SEEK_DATA)
            place = os.lseek(descriptor, start, os.SEEK_HOLE)
            stored += place - start
    except OSError as error:
        if error.errno != errno.ENXIO:  # ENXIO: no more data
            return size, size  # a file system that does not say
    return size, stored


class _Directory(io.BufferedReader):
    """A ZIP file whose directory is read only where it is small."""

    opening = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.opening and size is not None and size > _DIRECTORY:
            raise zipfile.BadZipFile("its directory is too large")
        return super().read(size)


def _read_zip(path: Path) -> Parts:
    try:
        with _Directory(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            file.opening = False
            entries = {info.filename: info for info in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise BundleError(f"{path}: holds a file twice", "do not use this bundle")
            if DESCRIPTION not in entries:
                raise BundleError(f"{path}: not a bundle (holds no {DESCRIPTION})",
                                  "name one that leukoscope export has made")
            if sum(info.compress_size for info in entries.values()) > path.stat().st_size:
                raise damaged(path, "states more packed bytes than the file holds", "do not use this bundle")
            check_sizes(path, {name: info.file_size for name, info in entries.items()},
                        {name: info.compress_size for name, info in entries.items()})
            read = {}
            for name in (DESCRIPTION, *FILES):
                if name in entries:
                    if entries[name].compress_type not in _METHODS:
                        raise damaged(path, f"{name} is packed in a way that bundles are not", "pack it with deflate")
                    with archive.open(name) as opened:
                        read[name] = _read(path, name, opened, entries[name].file_size)
    except BundleError:
        raise
    except Exception as error:  # a damaged ZIP file raises errors of many classes
        raise damaged(path, f"not a bundle, or a damaged one ({error_line(error)})") from error
    return _parts(read)


def _parts(read: Mapping[str, tuple[bytes, str]]) -> Parts:
    return Parts({name: content for name, (content, _) in read.items() if name != WEIGHTS},
                 {name: digest for name, (_, digest) in read.items()})


def _read(path: Path, name: str, opened: IO[bytes], size: int) -> tuple[bytes, str]:
    """The content of a file, empty for the weights, and its SHA-256. BundleError where its header does not fit its
    size, or it is not `size` bytes long."""
    digest, blocks, length = hashlib.sha256(), [], 0
    if name == WEIGHTS:
        length = _check_weights(path, opened, size, digest)
    while block := opened.read(min(_BLOCK, size + 1 - length)):
        length += len(block)
        digest.update(block)
        if name != WEIGHTS:
            blocks.append(block)
        if length > size:
            break
    if length != size:
        raise damaged(path, f"{name} is not {size:,} bytes long, as it says")
    return b"".join(blocks), digest.hexdigest()


def _check_weights(path: Path, opened: IO[bytes], size: int, digest: hashlib._Hash) -> int:
    """Read the header of safetensors, and hold the places that it states against the size of the file. Returns the
    bytes that were read."""
    first = opened.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or length > min(_HEADER, size - 8):
        raise damaged(path, f"{WEIGHTS} is no file of weights")
    header = opened.read(length)
    digest.update(first + header)
    try:
        tensors = [value for key, value in json.loads(header).items() if key != "__metadata__"]
        end = max((index(tensor["data_offsets"][1]) for tensor in tensors), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise damaged(path, f"{WEIGHTS} is no file of weights ({error_line(error)})") from error
    if end != size - 8 - length:
        raise damaged(path, f"the header of {WEIGHTS} states {end:,} bytes, and the file holds {size - 8 - length:,}")
    return 8 + length
