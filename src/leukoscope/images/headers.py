"""Headers of image files, and whether the file contains what they state: checks that image libraries leave out.

Raises ValueError (or struct.error) where a file breaks the rules of its format; read.py adds the name of the file.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Field type of TIFF -> bytes of a value (TIFF 6.0, section 2, and BigTIFF)."""


class JpegHeader(NamedTuple):
    """Size in px as stored, number of colour channels, and the EXIF block (may be empty)."""

    width: int
    height: int
    channels: int
    exif: bytes


def jpeg_header(file: BinaryIO) -> JpegHeader:
    """Read the segments of a JPEG up to its frame header (ITU-T T.81, annex B)."""
    file.seek(2)
    exif = b""
    while True:
        marker = file.read(2)
        while marker == b"\xff\xff":  # fill bytes are allowed before a marker
            marker = b"\xff" + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0x00, 0xD9, 0xDA):
            raise ValueError("the file is truncated or corrupt before the frame header")
        kind = marker[1]
        if kind == 0x01 or 0xD0 <= kind <= 0xD8:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        body = file.read(length - 2) if length > 2 else b""
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            _, height, width, channels = struct.unpack_from(">BHHB", body)
            if not width or not height:
                raise ValueError(f"the frame header says {width} x {height} px")
            return JpegHeader(width, height, channels, exif)
        if kind == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = body


def orientation(exif: bytes) -> int:
    """The orientation of an EXIF block, 1 to 8; 1 if it is absent or unreadable, as the pixels are not damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if (tag, kind) == (0x0112, 3) and 1 <= value <= 8:
            return value
    return 1


def check_png(file: BinaryIO) -> None:
    """Raise ValueError unless every chunk is complete and has the right checksum: Pillow does not check all of them."""
    file.seek(len(PNG_MAGIC))
    data = memoryview(file.read())
    at, kind = 0, b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise ValueError("the file is truncated")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise ValueError("the file is truncated")
        if zlib.crc32(data[at + 4:end]) != struct.unpack_from(">I", data, end)[0]:
            raise ValueError(f"wrong checksum in the chunk {kind!r}")
        at = end + 4
    file.seek(0)


def tiff_pages(file: BinaryIO) -> tuple[int, str]:
    """Number of directories that lie in the file with all their values, and what is wrong with the next one ("" at the
    end): Pillow only warns and continues."""
    pages = 0
    try:
        for _ in _tiff_directories(file):
            pages += 1
    except ValueError as error:
        return pages, str(error)
    finally:
        file.seek(0)
    return pages, ""


def _tiff_directories(file: BinaryIO) -> Iterator[int]:
    """Offset of each directory. ValueError where one, or a value of it, lies outside the file, or comes twice."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", start, 2)[0] == 43
    count_format, link_format = (f"{order}Q", f"{order}Q") if big else (f"{order}H", f"{order}I")
    entry_bytes, inline_bytes = (20, 8) if big else (12, 4)
    (at,) = struct.unpack_from(link_format, start, 8 if big else 4)
    offsets: set[int] = set()
    while at:
        if at in offsets:
            raise ValueError("TIFF directories form a loop")
        offsets.add(at)
        here = at
        (count,) = struct.unpack(count_format, _read_at(file, at, struct.calcsize(count_format)))
        at += struct.calcsize(count_format)
        if at + count * entry_bytes > size:
            raise ValueError("the file is truncated: a directory extends beyond its end")
        entries = _read_at(file, at, count * entry_bytes)
        for entry in range(0, len(entries), entry_bytes):
            kind, = struct.unpack_from(f"{order}H", entries, entry + 2)
            values, = struct.unpack_from(link_format, entries, entry + 4)
            length = values * _TIFF_BYTES.get(kind, 1)
            (place,) = struct.unpack_from(link_format, entries, entry + entry_bytes - inline_bytes)
            if length > inline_bytes and place + length > size:
                raise ValueError("the file is truncated: a value of its directory lies beyond its end")
        (at,) = struct.unpack(link_format, _read_at(file, at + count * entry_bytes, inline_bytes))
        yield here


def check_pieces(file: BinaryIO, offsets: tuple[int, ...], lengths: tuple[int, ...]) -> None:
    """Raise ValueError unless all strips or tiles of a TIFF lie in the file."""
    size = os.fstat(file.fileno()).st_size
    if any(length <= 0 or offset + length > size for offset, length in zip(offsets, lengths, strict=False)):
        raise ValueError("the file is truncated: a strip or tile of pixels lies beyond its end")


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    content = file.read(length)
    if len(content) < length:
        raise ValueError("the file is truncated: its directory lies beyond its end")
    return content
