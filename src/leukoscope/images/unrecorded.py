"""Where a field shows no smear at all: outside the round view of an eyepiece, in a frame around a picture, and where a
tile of a scan is missing. Finds no cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

_DARK, _DARK_SHARE = 60, 0.3  # grey level, and share of the usual one: pixels (all channels) that are darker than both
# and join the border were not recorded
_BRIGHT = 95  # percentile of grey levels that is one of the smear, also where most of the field was not recorded
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
_OF_ONE, _LIKE = 0.995, 4  # share of a row or column of a frame of one colour, and grey levels by which it differs
_ELSEWHERE, _ELSEWHERE_INSIDE, _LOOKS_LIKE = 0.005, 0.1, 16  # share of the rest that looks like it at most, also
# where it goes all around; and grey levels
_INSIDE = 0.5  # share of the field that such a frame leaves; an even background around a few cells leaves less
_LEAST_SHOWN = 0.05  # share of the field that a white frame leaves; a white background with few cells leaves less


def unrecorded(pixels: UInt8[np.ndarray, "height width 3"]) -> Bool[np.ndarray, "height width"]:
    """Where nothing was recorded: dark parts that join the border, black or white frames and tiles, and frames of
    another colour."""
    brightest = cv2.medianBlur(np.ascontiguousarray(pixels.max(axis=2)), 3) if min(pixels.shape[:2]) > 3 else \
        pixels.max(axis=2)
    darkest = pixels.min(axis=2)
    bright = brightest[brightest > max(_BLACK, _DARK_SHARE * float(np.percentile(brightest, _BRIGHT)))]
    usual = float(np.median(bright)) if len(bright) else 0.0
    hidden = _at_border(brightest < (min(_DARK, _DARK_SHARE * usual) or 1))
    hidden |= _tiles(brightest <= _BLACK, brightest < usual / 2) | _white_parts(darkest) | _frame(pixels)
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


def _frame(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Rows and columns along the sides that are of one colour, neither black nor white, which the rest does not have:
    a background that is even goes on between the cells."""
    frame = np.zeros(pixels.shape[:2], bool)
    sides = [_even_rows(np.rot90(pixels, quarters)) for quarters in range(4)]
    colour = max(sides)[1]
    ends = [end if np.abs(np.subtract(own, colour)).max() <= _LIKE else 0 for end, own in sides]
    if not any(ends) or max(colour) < _DARK or min(colour) >= _WHITE:
        return frame
    apart = np.abs(pixels.astype(np.int16) - np.array(colour, np.int16))
    inside = pixels[_within(frame.shape, ends)]
    if inside.size == 0:
        return frame
    from_inside = np.abs(pixels.astype(np.int16) - np.median(inside, axis=(0, 1)).astype(np.int16))
    near = apart.sum(axis=2) < from_inside.sum(axis=2)
    ends = [end and end + _run(np.rot90(near, quarters)[end:end + _BLOCK].mean(axis=1) >= _STRAIGHT)
            for quarters, end in enumerate(ends)]
    rest = apart.max(axis=2)[_within(frame.shape, ends)] <= _LOOKS_LIKE
    if rest.size > _INSIDE * frame.size and rest.mean() <= (_ELSEWHERE_INSIDE if all(ends) else _ELSEWHERE):
        frame[:] = True
        frame[_within(frame.shape, ends)] = False
    return frame


def _even_rows(pixels: NDArray[np.uint8]) -> tuple[int, tuple[int, ...]]:
    """How many of the first rows are of the colour of the first one, and this colour."""
    colour = np.median(pixels[0], axis=0).astype(np.int16)
    if (np.abs(pixels[0] - colour).max(axis=1) <= _LIKE).mean() < _OF_ONE:
        return 0, (0, 0, 0)
    alike = (np.abs(pixels - colour).max(axis=2) <= _LIKE).mean(axis=1) >= _OF_ONE
    return _run(alike), tuple(colour.tolist())


def _within(shape: tuple[int, ...], ends: Sequence[int]) -> tuple[slice, slice]:
    """The rows and columns inside a frame. ends: its width at the top, right, bottom and left."""
    top, right, bottom, left = ends
    return slice(top, max(shape[0] - bottom, top)), slice(left, max(shape[1] - right, left))


def _run(values: NDArray[np.bool_]) -> int:
    """How many of the first values are true."""
    return len(values) if values.all() else int(np.argmin(values))
