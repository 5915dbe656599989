"""Arrays in a stranger's .npz file. Sizes are taken from the directory and the headers before anything is unpacked."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import first_line

_MOST_ARRAYS = 32
_ENTRY = b"PK\1\2"  # begins each entry of the directory


def read_arrays(content: bytes, names: Sequence[str], most: int) -> list[np.ndarray]:
    """The arrays of these names. most: bytes that any array of the file may have. Raises ValueError with what is
    wrong."""
    if content[content.rfind(b"PK\5\6") - _MOST_ARRAYS * 200:].count(_ENTRY) > _MOST_ARRAYS:
        raise ValueError(f"it holds more than {_MOST_ARRAYS} arrays")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > _MOST_ARRAYS:
                raise ValueError(f"it holds more than {_MOST_ARRAYS} arrays")
            for entry in archive.infolist():
                _check_header(archive, entry, most)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            absent = next((name for name in names if name not in arrays), None)
            if absent is not None:
                raise ValueError(f"it holds no {absent}")
            return [np.asarray(arrays[name]) for name in names]
    except Exception as error:  # a damaged file raises errors of many classes
        raise ValueError(first_line(error)) from error


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> None:
    """The header of an array states no more bytes than its entry unpacks to, and that is bounded."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{entry.filename} is packed in a way that is not used here")
    if entry.file_size > most:
        raise ValueError(f"{entry.filename} would unpack to {entry.file_size:,} bytes")
    with archive.open(entry) as opened:
        version = np.lib.format.read_magic(opened)
        read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, kind = read(opened)
        if not kind.hasobject and math.prod(shape) * kind.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename} states {math.prod(shape) * kind.itemsize:,} bytes and holds "
                             f"{entry.file_size:,}")
