"""A cell in 16 bytes: which way its fine structure goes at 128 places on eight rings about its middle.

Turning a cell moves the places along their rings, mirroring reverses them, and how bright or how stained it is changes
no sign. So the hash of a copy is that of the cell, but for a few bits; nothing of the picture can be told from it.
Knows only thumbnails: uint8 (64, 64), grey, as `duplicates.fingerprint` makes them.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from .duplicates_near import THUMBNAIL

RINGS, ANGLES, BYTES = 8, 16, 16
_INNER, _OUTER = 5.0, 28.0  # px
_BETWEEN = 4  # turns that are tried between two places of a ring
_FINE, _COARSE = 1.0, 3.0  # px: standard deviations of the two blurs whose difference is the fine structure
_FLAT = 1.0  # standard deviation below which a thumbnail shows nothing
BITS_APART = 8
"""Bits by which a copy may differ. Of 1,500 PBC cells tried on 7,116, no other cell came nearer than 10
(tests/test_seen.py repeats it in part)."""
_BLOCK = 16

Thumbnail = UInt8[np.ndarray, "64 64"]
Hashes = UInt8[np.ndarray, "n 16"]


def cell_hash(thumbnail: Thumbnail) -> bytes | None:
    """The hash of a cell; None where it shows nothing."""
    if thumbnail.std() <= _FLAT:
        return None
    return np.packbits(_signs(thumbnail)[:, ::_BETWEEN]).tobytes()


def all_turns(thumbnail: Thumbnail) -> UInt8[np.ndarray, "m 16"]:
    """Hashes of a cell turned in steps of 360 / 64 degrees, and of its mirror image."""
    signs = _signs(thumbnail)
    turned = [np.roll(way, step, axis=1)[:, ::_BETWEEN] for way in (signs, signs[:, ::-1])
              for step in range(ANGLES * _BETWEEN)]
    return np.unique(np.packbits(np.stack(turned).reshape(len(turned), -1), axis=1), axis=0)


def nearest(thumbnails: UInt8[np.ndarray, "n 64 64"], known: Hashes) -> tuple[Int[np.ndarray, " n"],
                                                                             Int[np.ndarray, " n"]]:
    """For each thumbnail the row of `known` that it is nearest to in any turn, and the bits between them; -1 and 128
    for one that shows nothing, or where none is known."""
    rows, apart = np.full(len(thumbnails), -1), np.full(len(thumbnails), 8 * BYTES)
    words = np.ascontiguousarray(known).view(np.uint64).reshape(-1, 2)
    for i, thumbnail in enumerate(thumbnails):
        if thumbnail.std() <= _FLAT or not len(words):
            continue
        turns = all_turns(thumbnail).view(np.uint64)
        for start in range(0, len(turns), _BLOCK):
            block = turns[start:start + _BLOCK, None]
            bits = np.bitwise_count(block ^ words[None]).sum(-1, dtype=np.uint8).min(0)
            best = int(bits.argmin())
            if bits[best] < apart[i]:
                rows[i], apart[i] = best, int(bits[best])
    return rows, apart


def _signs(thumbnail: Thumbnail) -> np.ndarray:
    """(rings, places) bool: where the fine structure is brighter than what is around it."""
    grey = thumbnail.astype(np.float32)
    fine = cv2.GaussianBlur(grey, (0, 0), _FINE) - cv2.GaussianBlur(grey, (0, 0), _COARSE)
    return cv2.remap(fine, *_places(), cv2.INTER_LINEAR) > 0


@cache
def _places() -> tuple[np.ndarray, np.ndarray]:
    radius = np.linspace(_INNER, _OUTER, RINGS)[:, None]
    turn = np.arange(ANGLES * _BETWEEN) * 2 * np.pi / (ANGLES * _BETWEEN)
    middle = (THUMBNAIL - 1) / 2
    return tuple((middle + radius * way(turn)).astype(np.float32)  # type: ignore[return-value]  # two of them
                 for way in (np.cos, np.sin))
