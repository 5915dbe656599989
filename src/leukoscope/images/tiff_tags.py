"""The directories of a TIFF and the values of their tags, from the file itself. Decodes no pixels.

Only what lies in the file is read, each value when it is asked for: a header may state anything.
Raises ValueError where a file breaks the rules of TIFF 6.0 or BigTIFF.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PAGES = 10_000
"""Directories of a file; more are not read."""
MOST_TAGS, MOST_ENTRIES = 1_000, 1_000_000
"""Tags of a directory, and of all directories: images have some twenty, and directories that overlap cost nothing."""
LONGEST_TEXT = 16_000_000
"""Bytes of a text that is read: descriptions in OME-XML of thousands of planes are as long."""

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP = 266, 270, 273, 274, 277, 278
PAGE_NAME, OLD_JPEG = 285, 513
STRIP_LENGTHS, LARGEST_VALUE, X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT = 279, 281, 282, 283, 284, 296
FAX, SOFTWARE, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_LENGTHS = (
    292, 305, 317, 320, 322, 323, 324, 325)
SUB_DIRECTORIES, INKS, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 330, 332, 338, 339, 347
YCBCR_COEFFICIENTS, SUBSAMPLING, BLACK_AND_WHITE = 529, 530, 532
DEPTH, PROFILE, EXIF, COLOUR_SPACE, INTEROPERABILITY = 32997, 34675, 34665, 40961, 40965
_PIXELS = {STRIP_OFFSETS, TILE_OFFSETS, OLD_JPEG, SUB_DIRECTORIES}
"""Tags of which a directory of an image has one: where its pixels, or the full image behind it, lie."""
MANY = 20
"""Directories from which on those of a file are remembered."""
_SETTLED = 200_000_000  # ns: a file that was changed more recently may change again without another time of change

_TYPES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4", 11: "f4", 12: "f8",
          13: "u4", 16: "u8", 17: "i8", 18: "u8"}
"""Field type -> NumPy's type; types 5 and 10 are pairs."""
_BYTES = {kind: int(name[1]) * (2 if kind in (5, 10) else 1) for kind, name in _TYPES.items()}


@dataclass(frozen=True)
class Directory:
    """One directory: where it begins, and for each tag its type, how many values it has and where they are; count: of
    tags, of which some may be there twice."""

    offset: int
    entries: Mapping[int, tuple[int, int, int]]
    count: int


@dataclass(frozen=True, eq=False)
class Tiff:
    """An open TIFF. order: of bytes, "<" or ">". directories: those of the main chain that are whole and hold an image.
    broken: what is wrong with the next one, or ""."""

    file: BinaryIO
    order: str
    big: bool
    size: int
    directories: tuple[Directory, ...]
    broken: str

    def numbers(self, directory: Directory, tag: int, default: tuple[float, ...] = (), most: int = 10_000_000,
                ) -> tuple[float, ...]:
        """The values of a tag, at most `most`; pairs as fractions, 0 where a fraction has no value."""
        if tag not in directory.entries:
            return default
        kind, count, place = directory.entries[tag]
        if count > most or kind == 2 or kind not in _TYPES:
            raise ValueError(f"tag {tag} of a directory has {count:,} values of type {kind}")
        return self._values(kind, count, place)

    def _values(self, kind: int, count: int, place: int) -> tuple[float, ...]:
        values = np.frombuffer(read_at(self.file, place, count * _BYTES[kind]), self.order + _TYPES[kind])
        if kind in (5, 10):
            return tuple(top / bottom if bottom else 0.0 for top, bottom in values.reshape(-1, 2).tolist())
        return tuple(values.tolist())

    def number(self, directory: Directory, tag: int, default: int) -> int:
        """The first value of a tag."""
        if tag not in directory.entries:
            return default
        kind, count, place = directory.entries[tag]
        if not count or kind == 2 or kind not in _TYPES:
            raise ValueError(f"tag {tag} of a directory has {count:,} values of type {kind}")
        return int(self._values(kind, 1, place)[0])

    def content(self, directory: Directory, tag: int, first: int | None = None) -> bytes:
        """The bytes of a tag, or so many of them; empty without one or where it is too long for what it should be."""
        kind, count, place = directory.entries.get(tag, (7, 0, 0))
        length = count * _BYTES.get(kind, 1)
        length = length if first is None else min(length, first)
        return read_at(self.file, place, length) if 0 < length <= LONGEST_TEXT else b""

    def text(self, directory: Directory, tag: int, first: int | None = None) -> str:
        """A text, or so many bytes of it, without the null bytes at its end."""
        content = self.content(directory, tag, first)
        try:
            return content.decode("utf-8").rstrip("\0 ")
        except UnicodeDecodeError:
            return content.decode("latin-1").rstrip("\0 ")

    def sub_directories(self, directory: Directory, tag: int = SUB_DIRECTORIES) -> list[Directory]:
        """Those that a directory points to (reduced copies, or the full image behind a thumbnail; EXIF by another tag),
        at most 32."""
        return [self._directory(int(place))[0] for place in self.numbers(directory, tag, most=32)]

    def _directory(self, at: int) -> tuple[Directory, int]:
        """The directory at an offset, and where the next one begins (0 for none)."""
        count_format, link_format = (f"{self.order}Q",) * 2 if self.big else (f"{self.order}H", f"{self.order}I")
        entry_bytes, inline_bytes = (20, 8) if self.big else (12, 4)
        start = at
        (count,) = struct.unpack(count_format, read_at(self.file, at, struct.calcsize(count_format)))
        at += struct.calcsize(count_format)
        if at + count * entry_bytes > self.size:
            raise ValueError("the file is truncated: a directory extends beyond its end")
        if count > MOST_TAGS:
            raise ValueError(f"a directory has {count:,} tags, more than {MOST_TAGS:,}")
        content = read_at(self.file, at, count * entry_bytes)
        entries: dict[int, tuple[int, int, int]] = {}
        fields = struct.iter_unpack(f"{self.order}HH{2 * link_format[1]}", content)
        for number, (tag, kind, values, link) in enumerate(fields, 1):
            length = values * _BYTES.get(kind, 1)
            place = link if length > inline_bytes else at + number * entry_bytes - inline_bytes
            if place + length > self.size:
                raise ValueError("the file is truncated: a value of its directory lies beyond its end")
            entries.setdefault(tag, (kind, values, place))
        (link,) = struct.unpack(link_format, read_at(self.file, at + count * entry_bytes, inline_bytes))
        return Directory(start, entries, count), link


_remembered: dict[str, tuple[tuple[int, int, int, int], Tiff]] = {}


def open_tiff(file: BinaryIO) -> Tiff:
    """Read the directories of a TIFF, at most MOST_PAGES; those of the last file of many pages are remembered, so that
    reading it page by page takes no longer for each page."""
    state = os.fstat(file.fileno())
    known = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    last = _remembered.get("last")
    if last is not None and last[0] == known:
        return replace(last[1], file=file)
    tiff = _read_chain(file, state.st_size)
    if len(tiff.directories) >= MANY and time.time_ns() - state.st_mtime_ns > _SETTLED:
        _remembered["last"] = known, tiff
    return tiff


def _read_chain(file: BinaryIO, size: int) -> Tiff:
    start = read_at(file, 0, min(16, size))
    if not start.startswith(TIFF_MAGIC):
        raise ValueError("not a TIFF")
    order = "<" if start[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", start, 2)[0] == 43
    if len(start) < (16 if big else 8):
        raise ValueError("the file is truncated: its header is incomplete")
    (at,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", start, 8 if big else 4)
    tiff = Tiff(file, order, big, size, (), "")
    found: list[Directory] = []
    offsets: set[int] = set()
    entries = 0
    broken = "" if at else "it has no directory"
    try:
        while at:
            if at in offsets:
                raise ValueError("TIFF directories form a loop")
            if len(found) == MOST_PAGES:
                raise ValueError(f"the file has more than {MOST_PAGES:,} pages")
            if entries > MOST_ENTRIES:
                raise ValueError(f"its directories have more than {MOST_ENTRIES:,} tags")
            offsets.add(at)
            directory, at = tiff._directory(at)
            entries += directory.count
            if not {WIDTH, HEIGHT} <= directory.entries.keys() or not _PIXELS & directory.entries.keys():
                raise ValueError("a directory holds no image")
            found.append(directory)
    except ValueError as error:
        broken = str(error)
    return replace(tiff, directories=tuple(found), broken=broken)


def read_at(file: BinaryIO, at: int, length: int) -> bytes:
    """Bytes of a file. ValueError where it ends before."""
    file.seek(at)
    content = file.read(length)
    if len(content) < length:
        raise ValueError("the file is truncated: its directory lies beyond its end")
    return content
