"""Which format an image file has, its header, and whether the file contains what that states: checks that image
libraries leave out.

Raises ValueError (or struct.error) where a file breaks the rules of its format; read.py adds the name of the file.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import simplejpeg

from .tiff_tags import TIFF_MAGIC

_PNG = b"\x89PNG\r\n\x1a\n"
_FORMATS = {"TIFF": TIFF_MAGIC, "JPEG": b"\xff\xd8\xff", "PNG": _PNG, "BMP": b"BM", "GIF": (b"GIF87a", b"GIF89a"),
            "WebP": b"RIFF"}
"""Images that are read: how their files begin."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_READABLE = "JPEG, PNG, TIFF, HEIC, BMP, GIF or WebP"

MOST_SCANS = 100
"""Scans of a progressive JPEG."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced PNG: the first pixel (x, y), and the steps across and down."""
_BLOCK = 1 << 16  # bytes that are unpacked at once
_PALETTE = 3  # the kind of colours of a PNG whose pixels are places in a palette
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
"""What begins a segment, in the midst of the data of a scan too."""

# Warnings of libjpeg about inexact writers (some telephones), not about the pixels.
_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color transform")
_ICC = b"ICC_PROFILE\0"
_OTHERS = ((0, b"\0\0\0\x0cjP", "JPEG 2000"), (0, b"\xff\x4f\xff\x51", "JPEG 2000"), (0, b"\xff\x0a", "JPEG XL"),
           (0, b"\0\0\0\x0cJXL", "JPEG XL"), (4, b"ftypavif", "AVIF"), (4, b"ftypcrx", "raw data of a camera"),
           (0, b"8BPS", "a Photoshop file"), (0, b"II\xbc\x01", "JPEG XR"), (0, b"ZISRAWFILE", "a Zeiss CZI"),
           (0, b"SIMPLE  =", "FITS"), (0, b"\x89HDF", "HDF5"), (0, b"\0\0\x01\0", "an icon"), (4, b"ftyp", "a film"))
"""Images that are not read: where their sign is, the sign, and the name."""
_NO_IMAGES = {
    b"PK\x03\x04": "a ZIP archive or an office document", b"%PDF": "a PDF document", b"<!DOCTYPE": "a web page",
    b"<html": "a web page", b"<?xml": "an XML file", b"PAR1": "a table", b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip archive", b"7z\xbc\xaf": "a 7z archive"}
"""How files begin that people take for images."""


class JpegHeader(NamedTuple):
    """Size in px as stored, number of colour channels, bits of a sample; the EXIF block and the colour profile (either
    may be empty); density: pixels per inch, or 0 where they are not stated."""

    width: int
    height: int
    channels: int
    bits: int
    exif: bytes
    profile: bytes
    density: float


def format_of(start: bytes) -> str:
    """The format of an image that is read, by the first 12 bytes or more of its file: TIFF, JPEG, PNG, HEIF, BMP, GIF
    or WebP; "" for other files."""
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        return "HEIF"
    return next((name for name, signs in _FORMATS.items() if start.startswith(signs)), "")


def is_image(start: bytes) -> bool:
    """Whether a file that begins so (18 bytes or more) is an image whatever its name is. Text and sound may begin as a
    BMP and a WebP do: of these, more than the sign has to fit."""
    match format_of(start):
        case "BMP":
            return start[6:10] == bytes(4) and start[15:18] == bytes(3)
        case "WebP":
            return start[8:12] == b"WEBP"
        case known:
            return bool(known)


def refusal(start: bytes) -> tuple[str, str]:
    """Of a file that starts so and is not read: what it is, and what to do."""
    other = next((name for sign, name in _NO_IMAGES.items() if start.startswith(sign)), "")
    if other:
        return f"is {other}, not an image", f"expected {_READABLE}"
    known = next((name for at, sign, name in _OTHERS if start[at:].startswith(sign)), "")
    if known:
        return f"is {known}, which is not read", f"save it as {_READABLE}"
    return f"is not an image (it starts with {start!r})", f"expected {_READABLE}"


def jpeg_header(file: BinaryIO) -> JpegHeader:
    """Read the segments of a JPEG up to its frame header (ITU-T T.81, annex B)."""
    file.seek(2)
    exif, density = b"", 0.0
    profile: dict[int, bytes] = {}
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
            bits, height, width, channels = struct.unpack_from(">BHHB", body)
            if not width or not height:
                raise ValueError(f"the frame header says {width} x {height} px")
            whole = b"".join(profile[part] for part in sorted(profile))
            return JpegHeader(width, height, channels, bits, exif, whole, density)
        if kind == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        elif kind == 0xE2 and body.startswith(_ICC) and len(body) > 14:
            profile[body[12]] = body[14:]
        elif kind == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            unit, across, down = struct.unpack_from(">BHH", body, 7)
            density = float(across) * {1: 1.0, 2: 2.54}.get(unit, 0.0) if across == down else 0.0


def check_scans(content: bytes) -> None:
    """Raise ValueError for a JPEG of more scans than anybody writes: each goes over all pixels, however few bytes it
    has."""
    if content.count(b"\xff\xda") <= MOST_SCANS:  # behind the image, and in thumbnails, they may be anything
        return
    at, scans = 2, 0
    while (marker := _MARKER.search(content, at)) is not None and marker[1] != b"\xd9":
        scans += marker[1] == b"\xda"
        if scans > MOST_SCANS:
            raise ValueError(f"it has more than {MOST_SCANS} scans, and photographs have some ten")
        length = content[marker.end():marker.end() + 2]
        at = marker.end() + (0 if marker[1] == b"\xd8" else int.from_bytes(length, "big"))


def is_harmless(error: ValueError) -> bool:
    """Whether a strict decoder complains of the way a JPEG is written, not of its pixels."""
    return any(harmless in str(error) for harmless in _HARMLESS)


def check_jpeg(content: bytes, channels: int = 3) -> None:
    """Raise ValueError where libjpeg warns of corrupt data in a JPEG of 8 bits: other decoders fill such parts in.
    channels: of the image, 4 for CMYK."""
    try:
        simplejpeg.decode_jpeg(content, colorspace="CMYK" if channels == 4 else "GRAY", strict=True)
    except ValueError as error:
        if not is_harmless(error):
            raise


def check_png(file: BinaryIO) -> None:
    """Raise ValueError unless every chunk is complete and has the right checksum: Pillow does not check all of them."""
    for _ in _png_chunks(file):
        pass
    file.seek(0)


def plain_png(file: BinaryIO) -> bytes:
    """A PNG with nothing but its pixels, their palette and what is transparent: of other parts libpng warns on the
    terminal. Raises ValueError where it is damaged."""
    check_png_pixels(file, exact=True)
    content, kept = [_PNG], {b"IHDR", b"IDAT", b"IEND", b"tRNS"}
    for kind, body in _png_chunks(file):
        if kind == b"IHDR" and body[9] == _PALETTE:
            kept.add(b"PLTE")
        if kind in kept:
            content += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))]
        elif kind[:1].isupper() and kind != b"PLTE":
            raise ValueError(f"it needs a part of an unknown kind, {kind!r}")
    return b"".join(content)


def check_png_pixels(file: BinaryIO, *, exact: bool = False) -> None:
    """Raise ValueError where the pixels of a PNG end too early, which Pillow leaves black; exact: or go on too long."""
    expected, length, unpacked = 0, 0, zlib.decompressobj()
    for kind, body in _png_chunks(file):
        if kind == b"IHDR":
            expected = _png_bytes(bytes(body))
        for at in range(0, len(body) if kind == b"IDAT" else 0, _BLOCK):
            waiting: bytes | memoryview = body[at:at + _BLOCK]
            while waiting and not unpacked.eof and length <= expected:  # what comes after the pixels may be very long
                length += len(unpacked.decompress(waiting, max(expected + 1 - length, 1)))
                waiting = unpacked.unconsumed_tail
    if length < expected or (exact and length > expected):
        raise ValueError(f"its pixels have {'more than ' * (length > expected)}{min(length, expected):,} bytes, "
                         f"expected {expected:,}")
    file.seek(0)


def _png_bytes(head: bytes) -> int:
    """Bytes of the pixels of a PNG, with the byte that begins each row. head: its IHDR."""
    width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    bits *= {2: 3, 4: 2, 6: 4}.get(colours, 1)
    parts = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in (
        _PASSES if interlaced else ((0, 0, 1, 1),))]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in parts if columns > 0)


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, memoryview]]:
    """The kind and content of each chunk. Raises ValueError for one that is cut off or damaged."""
    file.seek(len(_PNG))
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
        yield kind, data[at + 8:end]
        at = end + 4


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do. False where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
