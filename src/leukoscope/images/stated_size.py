"""The size in px that the header of an image states, before anything is decoded: a decoder would allocate it.

Raises ValueError where there is no such header.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import cast

from PIL import WebPImagePlugin

_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, by the number that JPEG XL stores instead of a width."""
MOST_COMPONENTS = 5
"""Of a JPEG 2000: cyan, magenta, yellow, black and alpha."""
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"


def jpeg2000_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG 2000 codestream or file (ITU-T T.800, A.5.1)."""
    at = content.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(content) < at + 42:
        raise ValueError("the JPEG 2000 of a strip or tile has no header")
    right, down, left, top, components = struct.unpack_from(">4I16xH", content, at + 8)
    if components > MOST_COMPONENTS:
        raise ValueError(f"the JPEG 2000 of a strip or tile has {components:,} components")
    return right - left, down - top


def png_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a PNG."""
    if len(content) < 24:
        raise ValueError("the PNG of a strip or tile has no header")
    return cast(tuple[int, int], struct.unpack_from(">2I", content, 16))


def webp_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a WebP."""
    return WebPImagePlugin.WebPImageFile(BytesIO(content)).size


def jpegxl_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG XL codestream, or of the one in a container (ISO/IEC 18181-1, D.2, and 18181-2)."""
    stream = _codestream(content) if content.startswith(_CONTAINER) else content
    if not stream.startswith(b"\xff\x0a") or len(stream) < 4:
        raise ValueError("the JPEG XL of a strip or tile has no header")
    bits = int.from_bytes(stream[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(eighths: bool) -> int:
        return 8 * (take(5) + 1) if eighths else take((9, 13, 18, 30)[take(2)]) + 1

    eighths = bool(take(1))
    height = side(eighths)
    ratio = take(3)
    across, down = _RATIOS[ratio]
    return height * across // down if ratio else side(eighths), height


def _codestream(content: bytes) -> bytes:
    """The first bytes of the codestream in a container of boxes."""
    at = 0
    while at + 16 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, at + 8)
            head = 16
        if kind in (b"jxlc", b"jxlp"):
            return content[at + head + (4 if kind == b"jxlp" else 0):][:64]
        if size < head:  # 0: to the end of the file
            break
        at += size
    return b""
