"""EXIF orientation: read from the block of a file, and undone."""

from __future__ import annotations

import struct

import numpy as np
from jaxtyping import UInt8

_BACKWARDS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""EXIF orientation -> steps down and right, where an axis is reversed."""


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


def turned(pixels: UInt8[np.ndarray, "height width 3"], orientation: int) -> UInt8[np.ndarray, "height width 3"]:
    """Undo an EXIF orientation: values above 4 swap the axes; then one or both axes may be reversed."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down, right = _BACKWARDS.get(orientation, (1, 1))
    return pixels[::down, ::right]


def stored_window(orientation: int, window: tuple[int, int, int, int], size: tuple[int, int],
                  ) -> tuple[int, int, int, int]:
    """Where a window (left, top, width, height) of an upright image of `size` (width, height) lies in the stored one.
    """
    (left, top, width, height), (down, right) = window, _BACKWARDS.get(orientation, (1, 1))
    left = left if right == 1 else size[0] - left - width
    top = top if down == 1 else size[1] - top - height
    return (top, left, height, width) if orientation >= 5 else (left, top, width, height)
