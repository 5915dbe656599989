"""How evenly a field was lit: a smooth surface over it for each channel, drawn through places without cells.

A surface of second order describes light that falls off to a side or to the corners. Light that rises and falls is
found by colour: cells absorb more green than red, or less blue, and a dark place without cells does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from numpy.typing import NDArray

from .stain import common_peak

_EVEN = 1.2  # brightest over darkest background below which light counts as even
_ORDER = 2  # of the polynomial
_ROUNDS, _FINE_ROUNDS = 12, 4
_DARKER = 0.02  # natural logarithm: pixels this much darker than the surface are cells
_GRID = 96  # px along the longer side, for the polynomial
_FINE, _BLOCK = 384, 3  # px along the longer side for light that rises and falls, and along a block of it
_LEVELS = 128  # of colour, in one of natural logarithm
_ALIKE = 0.04  # natural logarithm of green, and of blue, over red: places without cells differ less from the usual one
_CLEAR, _FEWEST = 0.3, 0.15  # share of a block without cells, and of blocks in the field, from which on they tell light
_WAVES, _STRIPES = 12, 48  # half waves over the field: both ways together, and along one side (lamps that flicker)
_STIFF = 3e-5  # against waves where no background is seen
_BANDS, _SHOWN, _BEND = 0.3, 0.8, 4  # natural logarithm: how much rows or columns of a field with little background
# rise and fall; share of a row that must be recorded; order of what is no rise and fall, such as one large cell
_DARK = 80  # median grey level of green up to which a field is no bright one, such as a negative
_ENDS = (4, 96)  # percentiles of the background between which its brightness is measured
_BRIGHT, _PARTS = 90, 6  # percentile of green that is background in most places, and parts of each side
_BETTER, _WELL, _ILL = 0.6, 0.125, 0.3  # what may be left of the unevenness for waves to describe it, as a share and
# as a natural logarithm; and from which on nothing does: red cells that are as grey as the background leave 0.24


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a place without cells, over a field. coefficients: for each channel, of the products of a function
    of y and one of x (`_functions`; -1 to 1 over the field); the exponential of their sum is the light over its mean.
    evened: whether the field is even without it."""

    coefficients: Float64[np.ndarray, "3 down across"]
    evened: bool = True

    def at(self, x: Float64[np.ndarray, " width"], y: Float64[np.ndarray, " height"]
           ) -> Float32[np.ndarray, "height width 3"]:
        """Relative light at places (-1 to 1)."""
        return np.exp(self.logs_at(x, y)).astype(np.float32)

    def logs_at(self, x: Float64[np.ndarray, " width"], y: Float64[np.ndarray, " height"],
                ) -> Float64[np.ndarray, "height width 3"]:
        """Its natural logarithm there."""
        count = self.coefficients.shape[1]
        down, across = _functions(y, count), _functions(x, count)
        return np.stack([down @ one @ across.T for one in self.coefficients], axis=-1)


def uneven_light(pixels: UInt8[np.ndarray, "height width 3"],
                 hidden: Bool[np.ndarray, "height width"]) -> Light | None:
    """The light of a field; None where it is even. hidden: where nothing was recorded."""
    small, seen = _reduced(pixels, hidden, _GRID)
    height, width = seen.shape
    products = [(i, j) for j in range(_ORDER + 1) for i in range(_ORDER + 1 - j)]
    terms = _terms(np.linspace(-1, 1, width), np.linspace(-1, 1, height), products)[seen.ravel()]
    if seen.sum() < 10 * len(products):
        return None
    logs = np.log(np.maximum(small[seen], 1.0))
    found = np.stack([_surface(terms, logs[:, channel]) for channel in range(3)])
    found[:, 0] -= (terms @ found.T).mean(axis=0)
    spread = np.ptp(terms @ found.T, axis=0).max()
    plain = Light(_placed(found, products, _ORDER + 1))
    return _rising_and_falling(pixels, hidden, plain) or (plain if spread > np.log(_EVEN) else None)


def _rising_and_falling(pixels: NDArray[np.uint8], hidden: NDArray[np.bool_], plain: Light) -> Light | None:
    """Light that a polynomial does not describe; None where that is all there is. What cannot be described with waves
    either is not `evened`."""
    small, seen = _reduced(pixels, hidden, _FINE)
    height, width = seen.shape
    logs = np.log(np.maximum(small, 1.0)) - plain.logs_at(_middles(width), _middles(height))
    across, down = width // _BLOCK, height // _BLOCK
    clear = np.asarray(_without_cells(logs, seen)[:down * _BLOCK, :across * _BLOCK], np.float32)
    share = cv2.resize(clear, (across, down), interpolation=cv2.INTER_AREA)
    sums = cv2.resize(logs[:down * _BLOCK, :across * _BLOCK].astype(np.float32) * clear[..., None], (across, down),
                      interpolation=cv2.INTER_AREA)
    known = share > _CLEAR
    if known.mean() < _FEWEST:  # too little to be described: only bands over the whole width or height are noticed
        banded = np.median(small[seen, 1]) > _DARK and _rise_and_fall(logs[..., 1], seen) > _BANDS
        return Light(plain.coefficients, evened=False) if banded else None
    background = sums[known].astype(np.float64) / share[known][:, None]
    before = _spread_of(background[:, 1])
    if before < np.log(_EVEN):
        return None
    products = _waves()
    terms = _terms(_middles(across), _middles(down), products)[known.ravel()]
    found = _waved_surface(terms, background, np.array([sum(max(k - _ORDER, 0)**2 for k in pair) for pair in products]))
    after = _spread_of(background[:, 1] - terms @ found[1])
    uneven = _unevenness(logs, seen)
    if after < min(_BETTER * before, _WELL):
        waved = _placed(found, products, _ORDER + 1 + _STRIPES)
        waved[:, 0, 0] -= (terms @ found.T).mean(axis=0)
        rest = logs - Light(waved).logs_at(_middles(width), _middles(height))
        if _unevenness(rest, seen) < _BETTER * uneven:  # else red cells were taken for background
            waved[:, :_ORDER + 1, :_ORDER + 1] += plain.coefficients
            return Light(waved)
    return Light(plain.coefficients, evened=False) if max(after, uneven) > _ILL else None


def _without_cells(logs: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Places of the colour of the background, however dark they are. logs: natural logarithms of grey levels."""
    green, blue = logs[..., 1] - logs[..., 0], logs[..., 2] - logs[..., 0]
    levels = np.rint(green[seen] * _LEVELS).clip(-_LEVELS, _LEVELS).astype(np.int16) + _LEVELS
    usual = (common_peak(np.bincount(levels, minlength=2 * _LEVELS + 1)) - _LEVELS) / _LEVELS
    clear = seen & (np.abs(green - usual) < _ALIKE)
    bright = clear & (logs[..., 1] >= np.median(logs[clear, 1])) if clear.any() else clear
    # Plasma of lymphocytes and monocytes absorbs red as much as green, but no blue.
    return clear & (np.abs(blue - np.median(blue[bright])) < _ALIKE) if bright.any() else clear


def _rise_and_fall(logs: NDArray[np.float64], seen: NDArray[np.bool_]) -> float:
    """How much the brighter pixels of whole rows, or of whole columns, rise and fall several times over the field."""
    spreads = [0.0]
    for values, shown in ((logs, seen), (logs.T, seen.T)):
        at = np.flatnonzero(shown.mean(axis=1) > _SHOWN)
        if len(at) > 8 * _BEND:
            levels = np.array([np.percentile(values[row][shown[row]], _BRIGHT) for row in at])
            places = np.linspace(-1, 1, len(shown))[at]
            spreads.append(_spread_of(levels - np.polynomial.Polynomial.fit(places, levels, _BEND)(places)))
    return max(spreads)


def _unevenness(logs: NDArray[np.float64], seen: NDArray[np.bool_]) -> float:
    """How much the brighter pixels differ between rows, between columns or between parts of a field."""
    height, width = seen.shape
    spreads = []
    for down, across in ((height, 1), (1, width), (_PARTS, _PARTS)):
        pieces = [(piece, shown) for row, of_row in zip(np.array_split(logs[..., 1], down), np.array_split(seen, down),
                                                        strict=True)
                  for piece, shown in zip(np.array_split(row, across, axis=1), np.array_split(of_row, across, axis=1),
                                          strict=True)]
        levels = [np.percentile(piece[shown], _BRIGHT) for piece, shown in pieces if shown.mean() > _CLEAR]
        spreads.append(_spread_of(np.array(levels)) if levels else 0.0)
    return max(spreads)


def _spread_of(values: NDArray[np.float64]) -> float:
    return float(np.ptp(np.percentile(values, _ENDS)))


def _reduced(pixels: NDArray[np.uint8], hidden: NDArray[np.bool_], side: int,
             ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A field with a longer side of `side` px, and where all of a pixel was recorded."""
    scale = side / max(pixels.shape[:2])
    size = max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    if not hidden.any():
        return small, np.ones(small.shape[:2], bool)
    return small, cv2.resize(hidden.astype(np.float32), size, interpolation=cv2.INTER_AREA) < 0.01


def _surface(terms: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """A polynomial through the brighter pixels: those that lie below it are cells, and count less each round."""
    weights = np.ones(len(logs))
    coefficients = np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        scaled = terms * weights[:, None]
        coefficients = np.asarray(np.linalg.lstsq(scaled, logs * weights, rcond=None)[0], np.float64)
        weights = _counting(terms @ coefficients - logs)
    return coefficients


def _waved_surface(terms: NDArray[np.float64], logs: NDArray[np.float64], stiff: NDArray[np.float64],
                   ) -> NDArray[np.float64]:
    """The same with waves, for all channels (3, terms) at once. stiff: how much each term is held back."""
    weights = np.ones(len(logs))
    coefficients = np.zeros((terms.shape[1], 3))
    for _ in range(_FINE_ROUNDS):
        weighted = (terms * weights[:, None]).T / len(logs)
        coefficients = np.asarray(np.linalg.solve(weighted @ terms + np.diag(_STIFF * stiff + 1e-9), weighted @ logs),
                                  np.float64)
        weights = _counting((terms @ coefficients - logs)[:, 1])
    return coefficients.T


def _counting(below: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much pixels count that lie so far below a surface."""
    return np.where(below > _DARKER, np.exp(-below / 0.1) * 0.3, 1.0)


def _middles(count: int) -> NDArray[np.float64]:
    return 2 * (np.arange(count) + 0.5) / count - 1


def _functions(places: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Functions along a side at places (-1 to 1), (places, count): powers to _ORDER, then waves of one half wave, of
    two and so on."""
    powers = [places**k for k in range(_ORDER + 1)]
    return np.stack([*powers, *(np.cos(k * np.pi * (places + 1) / 2) for k in range(1, count - _ORDER))], axis=1)


def _waves() -> list[tuple[int, int]]:
    """The products (function of x, function of y) that describe light that rises and falls."""
    first, last = _ORDER + 1, _ORDER + 1 + _STRIPES
    both = [(i, j) for i in range(first, first + _WAVES) for j in range(first, first + _WAVES)
            if i + j - 2 * _ORDER <= _WAVES]
    plain = [(i, j) for j in range(first) for i in range(first - j)]
    return [*plain, *((i, 0) for i in range(first, last)), *((0, j) for j in range(first, last)), *both]


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], products: list[tuple[int, int]]) -> NDArray[np.float64]:
    """Products of functions of x and of y at all places of a grid, (y places * x places, products)."""
    count = max(max(pair) for pair in products) + 1
    across, down = _functions(x, count), _functions(y, count)
    columns, rows = (list(kind) for kind in zip(*products, strict=True))
    return (down[:, None, rows] * across[None, :, columns]).reshape(-1, len(products))


def _placed(found: NDArray[np.float64], products: list[tuple[int, int]], count: int) -> NDArray[np.float64]:
    """Coefficients (3, products) as a table by the functions of y and of x."""
    table = np.zeros((3, count, count))
    columns, rows = (list(kind) for kind in zip(*products, strict=True))
    table[:, rows, columns] = found
    return table
