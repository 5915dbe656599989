"""Where a field shows no smear at all, and how evenly it was lit. Finds no cells.

Nothing is recorded outside the round view of an eyepiece, in a frame around a picture and where a tile of a scan is
missing. Uneven light is a smooth surface over the field, one for each channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from numpy.typing import NDArray

_DARK, _DARK_SHARE = 60, 0.3  # grey level, and share of the median one: pixels (all channels) that are darker than
# both and join the border were not recorded
_BLACK = 4  # grey level of a missing tile, in all channels
_WHITE = 252  # grey level of a white frame or tile, in all channels
_LEAST = 0.002  # share of the field: less than this is no missing part
_FULL = 0.97  # of its box: a frame or tile is a rectangle
_FULL_NOTCH = 0.9  # of its box: what a tile lacks of a rectangle, after JPEG
_STRAIGHT = 0.9  # share of a row or column of a frame or tile that is nearer to its grey level than to the smear's
_BLOCK = 16  # px: so far into a tile JPEG mixes it with what lies beside it
_SPECK = 5  # px: what JPEG leaves of a tile at its edge is narrower
_NOTCHES = 40  # rectangles that a missing part may lack of a larger one
_GOES_ON = 0.3  # share of what lies around a part of one colour, above which that colour goes on
_LEAST_WHITE, _CLEAN = 0.3, 0.995  # share of a side of a white frame that is so, after JPEG; and far from its edge
_LEAST_SHOWN = 0.05  # share of the field that a white frame leaves; a white background with few cells leaves less
_EVEN = 1.2  # brightest over darkest background below which light counts as even
_ORDER = 2  # of the polynomial
_ROUNDS = 12
_DARKER = 0.02  # natural logarithm: pixels this much darker than the surface are cells
_GRID = 96  # px along the longer side, for the surface


def unrecorded(pixels: UInt8[np.ndarray, "height width 3"]) -> Bool[np.ndarray, "height width"]:
    """Where nothing was recorded: dark parts that join the border, and black or white frames and tiles."""
    brightest = cv2.medianBlur(np.ascontiguousarray(pixels.max(axis=2)), 3) if min(pixels.shape[:2]) > 3 else \
        pixels.max(axis=2)
    darkest = pixels.min(axis=2)
    usual = float(np.median(brightest[brightest > _BLACK])) if brightest.max() > _BLACK else 0.0
    hidden = _at_border(brightest < (min(_DARK, _DARK_SHARE * usual) or 1))
    hidden |= _tiles(brightest <= _BLACK, brightest < usual / 2) | _white_parts(darkest)
    return hidden if hidden.mean() >= _LEAST else np.zeros_like(hidden)


def _at_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces of a mask that reach the border of the field, where they take up some of it."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    pieces = np.asarray(pieces, np.int32)
    chosen = np.zeros(count, bool)
    chosen[np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])] = True
    chosen &= stats[:, cv2.CC_STAT_AREA] >= _LEAST * mask.size
    chosen[0] = False
    return chosen[pieces]


def _tiles(mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces of a mask that are rectangles, or made of some, but not the whole field. near: pixels whose grey level
    is nearer to that of such a piece than to the usual one."""
    parts = np.zeros_like(mask)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((_SPECK, _SPECK), np.uint8))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    for number, (left, top, width, height, area) in enumerate(np.asarray(stats, int).tolist()):
        if number == 0 or not _LEAST * mask.size <= area < mask.size:
            continue
        if area >= _FULL * width * height and width * height < mask.size:
            ends = [left, top, left + width, top + height]
            for _ in range(_BLOCK):
                ends = _grown(near, *ends)
            parts[ends[1]:ends[3], ends[0]:ends[2]] = True
            continue
        piece = (pieces[top:top + height, left:left + width] == number).astype(np.uint8)
        piece = cv2.morphologyEx(piece, cv2.MORPH_CLOSE, np.ones((_BLOCK + 1, _BLOCK + 1), np.uint8)).astype(bool)
        # A background of one colour with a few cells is no part; nor are cells the gaps of one.
        if piece.mean() < _FULL and area >= _FULL * piece.sum() and _is_blocky(piece, _FULL):
            parts |= _spread(pieces == number, near)
    return parts


def _is_blocky(piece: NDArray[np.bool_], full: float, depth: int = 3) -> bool:
    """Whether a piece of a mask is a rectangle, a share `full` of its box or more, or what is left of one without
    others, such as an L."""
    if piece.mean() >= full:
        return True
    count, rest, stats, _ = cv2.connectedComponentsWithStats((~piece).astype(np.uint8), connectivity=4)
    stats = np.asarray(stats, int)
    notches = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= (1 - _FULL) / 4 * piece.size]
    specks = (~piece).sum() - stats[notches, cv2.CC_STAT_AREA].sum()
    if depth == 0 or not 0 < len(notches) <= _NOTCHES or specks > (1 - _FULL) * piece.size:
        return False
    boxes = [(number, *stats[number, :4].tolist()) for number in notches]
    return all(_is_blocky(np.asarray(rest[top:top + height, left:left + width] == number), _FULL_NOTCH, depth - 1)
               for number, left, top, width, height in boxes)


def _spread(piece: NDArray[np.bool_], near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A piece with what belongs to it up to _BLOCK px further, as far as that is wide."""
    spread, beside = piece.astype(np.uint8), (piece | near).astype(np.uint8)
    for _ in range(_BLOCK):
        spread = np.minimum(cv2.dilate(spread, np.ones((3, 3), np.uint8)), beside)
    return cv2.morphologyEx(spread, cv2.MORPH_OPEN, np.ones((_SPECK, _SPECK), np.uint8)).astype(bool) | piece


def _grown(near: NDArray[np.bool_], left: int, top: int, right: int, bottom: int) -> list[int]:
    """The ends of a box, one pixel further on each side where the line beside it belongs to it."""
    lines = (near[top:bottom, left - 1:left], near[top - 1:top, left:right], near[top:bottom, right:right + 1],
             near[bottom:bottom + 1, left:right])
    return [end + step if line.size and line.mean() >= _STRAIGHT else end
            for end, step, line in zip((left, top, right, bottom), (-1, -1, 1, 1), lines, strict=True)]


def _white_parts(darkest: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Frames of whole rows and columns, and rectangles inside. A background that is white itself is no frame: it goes
    on between the cells. darkest: the grey level of the darkest channel."""
    white = darkest >= _WHITE
    parts = np.zeros_like(white)
    if not white.any() or white.all():
        return parts
    near = darkest > (255 + float(np.median(darkest[~white]))) / 2
    parts |= _tiles(white, near)
    for quarters in range(4):  # the frame's side is at the top each time
        side = np.rot90(parts, quarters)
        count = _run(np.rot90(near, quarters).mean(axis=1) >= _STRAIGHT)
        own = np.rot90(white, quarters)
        if count and own[:count].mean() >= _LEAST_WHITE and (count <= _BLOCK or own[:count - _BLOCK].mean() >= _CLEAN):
            side[:count] = True
    shown = ~parts
    return parts if shown.mean() >= _LEAST_SHOWN and white[shown].mean() <= _GOES_ON else np.zeros_like(parts)


def _run(values: NDArray[np.bool_]) -> int:
    """How many of the first values are true."""
    return len(values) if values.all() else int(np.argmin(values))


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a place without cells, over a field: for each channel the coefficients of a polynomial in x and y
    (-1 to 1 over the field) whose exponential is the light over its mean, (3, terms)."""

    coefficients: Float64[np.ndarray, "3 terms"]

    def at(self, x: Float64[np.ndarray, " width"], y: Float64[np.ndarray, " height"]
           ) -> Float32[np.ndarray, "height width 3"]:
        """Relative light at places (-1 to 1)."""
        terms = np.stack([y[:, None] ** j * x[None] ** i for i, j in _powers()], axis=-1)
        return np.exp(terms @ self.coefficients.T).astype(np.float32)


def uneven_light(pixels: UInt8[np.ndarray, "height width 3"],
                 hidden: Bool[np.ndarray, "height width"]) -> Light | None:
    """The light of a field; None where it is even. hidden: where nothing was recorded."""
    scale = _GRID / max(pixels.shape[:2])
    size = max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    seen = cv2.resize(hidden.astype(np.float32), size, interpolation=cv2.INTER_AREA) < 0.01
    x, y = np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1])
    terms = np.stack([np.broadcast_to(y[:, None] ** j * x[None] ** i, seen.shape) for i, j in _powers()], axis=-1)
    if seen.sum() < 10 * terms.shape[-1]:
        return None
    terms_seen, logs = terms[seen], np.log(np.maximum(small[seen], 1.0))
    coefficients = np.stack([_surface(terms_seen, logs[:, channel]) for channel in range(3)])
    coefficients[:, 0] -= (terms_seen @ coefficients.T).mean(axis=0)
    spread = np.ptp(terms_seen @ coefficients.T, axis=0).max()
    return Light(coefficients) if spread > np.log(_EVEN) else None


def _surface(terms: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """A polynomial through the brighter pixels: those that lie below it are cells, and count less each round."""
    weights = np.ones(len(logs))
    coefficients = np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        scaled = terms * weights[:, None]
        coefficients = np.asarray(np.linalg.lstsq(scaled, logs * weights, rcond=None)[0], np.float64)
        below = terms @ coefficients - logs
        weights = np.where(below > _DARKER, np.exp(-below / 0.1) * 0.3, 1.0)
    return coefficients


def _powers() -> list[tuple[int, int]]:
    return [(i, j) for i in range(_ORDER + 1) for j in range(_ORDER + 1 - i)]
