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
_COLOURS = 8  # of missing parts, and of what looks like one
_LIKE, _AS_PLAIN = 12, 20  # grey levels: what differs less is of one colour; the most by which JPEG changes an edge
_BRIGHT = 80  # percentile of grey levels: a place without cells
_GOES_ON = 0.3  # share of what lies around a part of one colour, above which that colour goes on
_LEAST_WHITE = 0.3  # share of a side of a white frame that is so, after JPEG
_EVEN = 1.2  # brightest over darkest background below which light counts as even
_ORDER = 2  # of the polynomial
_ROUNDS = 12
_DARKER = 0.02  # natural logarithm: pixels this much darker than the surface are cells
_GRID = 96  # px along the longer side, for the surface


def unrecorded(pixels: UInt8[np.ndarray, "height width 3"]) -> Bool[np.ndarray, "height width"]:
    """Where nothing was recorded: dark parts that join the border, and frames and tiles of one colour."""
    brightest = cv2.medianBlur(np.ascontiguousarray(pixels.max(axis=2)), 3) if min(pixels.shape[:2]) > 3 else \
        pixels.max(axis=2)
    darkest = pixels.min(axis=2)
    usual = float(np.median(brightest[brightest > _BLACK])) if brightest.max() > _BLACK else 0.0
    hidden = _at_border(brightest < (min(_DARK, _DARK_SHARE * usual) or 1))
    hidden |= _tiles(brightest <= _BLACK, brightest < usual / 2) | _white_parts(darkest)
    hidden |= _plain_parts(pixels, hidden)
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
        if _is_blocky(piece, _FULL):
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


def _plain_parts(pixels: UInt8[np.ndarray, "height width 3"], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames and tiles of any one colour: pixels that are exactly as their neighbours, which no camera records over a
    larger part, and whose colour ends where they do; but white, which `_white_parts` finds. known: what was not
    recorded anyway."""
    kernel = np.ones((_SPECK, _SPECK), np.uint8)
    plain = (cv2.dilate(pixels, kernel) == cv2.erode(pixels, kernel)).all(axis=2) & ~known
    parts = np.zeros_like(plain)
    if plain.mean() < _LEAST:
        return parts
    plain = cv2.dilate(plain.astype(np.uint8), kernel).astype(bool) & ~known
    codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    colours, counts = np.unique(codes[plain], return_counts=True)
    colours = colours[np.argsort(-counts)][:min(_COLOURS, int((counts >= _LEAST * plain.size).sum()))]
    for code in colours.tolist():
        own, colour = codes == code, np.array([code >> 16, code >> 8 & 255, code & 255], np.int16)
        others = pixels[~own & ~known & ~parts]
        usual = np.percentile(others, _BRIGHT, axis=0).astype(np.int16) if len(others) else colour
        if np.abs(usual - colour).max() < _LIKE or colour.min() >= _WHITE:
            continue  # an even background
        apart, from_usual = (np.abs(pixels.astype(np.int16) - one) for one in (colour, usual))
        near = (apart.sum(axis=2) < from_usual.sum(axis=2)) & (apart.max(axis=2) <= _AS_PLAIN)
        wide = cv2.morphologyEx((plain & own).astype(np.uint8), cv2.MORPH_OPEN, np.ones((_BLOCK + 1,) * 2, np.uint8))
        found = _tiles(wide.astype(bool), near)  # lines that somebody has drawn are narrower
        within, beyond = (cv2.dilate(found.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)).astype(bool)
                          for reach in (_BLOCK, _BLOCK + _SPECK))
        beside = beyond & ~within & ~known
        if not beside.any() or (apart[beside].max(axis=1) <= _LIKE).mean() <= _GOES_ON:
            parts |= found
    return parts


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
        if count and np.rot90(white, quarters)[:count].mean() >= _LEAST_WHITE:
            side[:count] = True
    return parts if parts.all() or white[~parts].mean() <= _GOES_ON else np.zeros_like(parts)


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
