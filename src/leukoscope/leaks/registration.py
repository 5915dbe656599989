"""Near copies among thumbnails: spectra that do not change when a cell is turned, then registration.

duplicates.py describes the three steps. Knows only thumbnails: uint8 (n, 64, 64), grey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import polars as pl

from ..progress import OnProgress

THUMBNAIL = 64
"""Side of a thumbnail, px."""

# Measured on 7,116 PBC cells and changed copies of 300 of them; tests/leaks/test_duplicates.py repeats it in part.
RADIUS = 0.25
"""Largest distance of two spectra of unit length; 98 % of copies moved by 2 %, or zoomed by 5 %, lie below 0.2."""
ALIGNED = 0.7
"""Lowest correlation of two aligned spectra that are registered."""
ALIKE = 0.95
"""Lowest correlation of the fine structure of a copy."""
STRETCH = 0.2
"""Largest change of scale, as a logarithm, that a registration may have."""
_CUT_OUT = 0.9
"""Share of the border of an image that is of one level if the cell was cut out along its outline."""
UPRIGHT = 5.0
"""Largest turn in degrees of a copy that counts as not turned."""

SIDE, RINGS, ANGLES, HARMONICS, SEARCHED, COMPONENTS, NEIGHBOURS = 32, 12, 64, 16, 8, 20, 32
REGISTERED = 8
"""Candidates of each cell, the best aligned ones, that are registered."""
THREADS = 4
SHIFTS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))
"""Of the centre, in px of 32."""


@dataclass(frozen=True)
class Near:
    """Two copies: row numbers, 1 - correlation, the turn from first to second in degrees, and whether mirrored."""

    first: int
    second: int
    distance: float
    angle: float
    mirrored: bool

    @property
    def upright(self) -> bool:
        return not self.mirrored and abs(self.angle) <= UPRIGHT


def near_pairs(thumbnails: np.ndarray, on_progress: OnProgress | None = None) -> list[Near]:
    """Pairs of copies, from at most `REGISTERED` candidates of each cell; thumbnails without structure are left out."""
    rows = np.flatnonzero(thumbnails.reshape(len(thumbnails), -1).std(1) > 1)
    if len(rows) < 2:
        return []
    small = np.stack([cv2.resize(t, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for t in thumbnails[rows]])
    spectra = circular_spectra(small)
    first, second, shift = _candidates(small, spectra)
    aligned, angle, mirrored = _align(small, spectra, first, second, shift)
    best = list(_best_of_each(first, second, aligned))
    pairs: list[Near] = []

    def confirm(k: int) -> Near | None:
        return _register(int(rows[first[k]]), int(rows[second[k]]), thumbnails, float(angle[k]), bool(mirrored[k]),
                         SHIFTS[shift[k]])

    with ThreadPoolExecutor(THREADS) as pool:
        for done, near in enumerate(pool.map(confirm, best), 1):
            pairs += [near] if near else []
            if on_progress:
                on_progress(done, len(best))
    return pairs


def circular_spectra(small: np.ndarray, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """complex64 (n, RINGS, HARMONICS), unit length: Fourier terms 1.. along rings of uint8 (n, 32, 32).

    The rings lie around the centre moved by `shift` = (down, right) px. The mean of each ring is left out, and with it
    everything radially even.
    """
    sampling = _sampling(shift)
    result = np.empty((len(small), RINGS, HARMONICS), np.complex64)
    for start in range(0, len(small), 4096):
        grey = small[start:start + 4096].reshape(-1, SIDE * SIDE).astype(np.float32)
        terms = (grey @ sampling).view(np.complex64).reshape(-1, RINGS, HARMONICS)
        length = np.sqrt((np.abs(terms) ** 2).sum((1, 2), keepdims=True))
        result[start:start + 4096] = terms / np.maximum(length, 1e-6)
    return result


@cache
def _sampling(shift: tuple[int, int]) -> np.ndarray:
    """float32 (1024, 2 x RINGS x HARMONICS): bilinear sampling along the rings and their transform, in one matrix."""
    radius = np.arange(1, RINGS + 1) / RINGS * (SIDE / 2 - 2)
    turn = np.arange(ANGLES) * 2 * np.pi / ANGLES
    middle = (SIDE - 1) / 2
    y = middle + shift[0] + radius[:, None] * np.sin(turn)
    x = middle + shift[1] + radius[:, None] * np.cos(turn)
    grid = np.arange(SIDE)
    rows, columns = (np.maximum(0, 1 - np.abs(at[..., None] - grid)) for at in (y, x))
    rings = np.sqrt(radius)[:, None, None, None] * rows[..., :, None] * columns[..., None, :]
    terms = np.fft.rfft(rings, axis=1)[:, 1:HARMONICS + 1].reshape(RINGS * HARMONICS, -1)
    return np.ascontiguousarray(terms.T.astype(np.complex64)).view(np.float32)


def _candidates(small: np.ndarray, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, second, shift): rows whose spectra lie within RADIUS, the nearest NEIGHBOURS of each row and shift."""
    def magnitudes(terms: np.ndarray) -> np.ndarray:
        return np.abs(terms[:, :, :SEARCHED]).reshape(len(terms), -1)

    sample = magnitudes(spectra[:: max(1, len(spectra) // 4000)])
    mean = sample.mean(0)
    _, axes = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    # The axes are orthonormal: a distance between components is never larger than the whole distance.
    axes = axes[:, ::-1][:, :COMPONENTS].astype(np.float32)
    base = (magnitudes(spectra) - mean) @ axes
    tables = []
    for number, shift in enumerate(SHIFTS):
        moved = (magnitudes(circular_spectra(small, shift)) - mean) @ axes
        i, j, distance = _within(base, moved, RADIUS, NEIGHBOURS)
        tables.append(pl.DataFrame({"first": i, "second": j, "distance": distance}).with_columns(shift=pl.lit(number)))
    nearest = (pl.concat(tables).sort("first", "distance", "second").unique(["first", "second"], keep="first",
                                                                           maintain_order=True)
               .group_by("first", maintain_order=True).head(NEIGHBOURS))
    return nearest["first"].to_numpy(), nearest["second"].to_numpy(), nearest["shift"].to_numpy()


def _within(base: np.ndarray, other: np.ndarray, radius: float,
            most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(i, j, squared distance), i != j, of points within `radius`, the nearest `most` of each i.

    In blocks of 8 million distances. Up to 20,000 cells this is faster than a k-d tree or a sorted search, which in 20
    dimensions visit most pairs too.
    """
    others = np.ascontiguousarray(other.T)
    squares = (other ** 2).sum(1)
    block = max(1, 8_000_000 // len(other))
    parts = []
    for start in range(0, len(base), block):
        own = base[start:start + block]
        distance = own @ others
        distance *= -2
        distance += squares
        distance += (own ** 2).sum(1)[:, None]
        distance[np.arange(len(own)), start + np.arange(len(own))] = np.inf
        near = distance < radius ** 2
        crowded = np.flatnonzero(near.sum(1) > most)
        if len(crowded):
            limit = np.partition(distance[crowded], most - 1, axis=1)[:, most - 1:most]
            near[crowded] = distance[crowded] <= limit
        i, j = np.nonzero(near)
        parts.append((i + start, j, distance[i, j]))
    i, j, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return i, j, distance


def _align(small: np.ndarray, spectra: np.ndarray, first: np.ndarray, second: np.ndarray,
           shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best correlation of all turns with and without mirroring, the turn (radians) and whether mirrored."""
    best, turn, mirrored = np.zeros(len(first)), np.zeros(len(first)), np.zeros(len(first), bool)
    for number, offset in enumerate(SHIFTS):
        chosen = np.flatnonzero(shift == number)
        for start in range(0, len(chosen), 4096):
            part = chosen[start:start + 4096]
            a, b = spectra[first[part]], circular_spectra(small[second[part]], offset)
            plain, mirror = _circular(a * b.conj()), _circular(a * b)
            flipped = mirror.max(1) > plain.max(1)
            best[part] = np.where(flipped, mirror.max(1), plain.max(1))
            # a(angle) is b(angle - lag) if plain and b(lag - angle) if mirrored.
            lag = np.where(flipped, mirror.argmax(1), plain.argmax(1)) * 2 * np.pi / ANGLES
            turn[part], mirrored[part] = np.where(flipped, lag, -lag), flipped
    return best, turn, mirrored


def _circular(product: np.ndarray) -> np.ndarray:
    summed = np.zeros((len(product), ANGLES // 2 + 1), np.complex64)
    summed[:, 1:HARMONICS + 1] = product.sum(1)
    return np.fft.irfft(summed, n=ANGLES, axis=1) * (ANGLES / 2)


def _best_of_each(first: np.ndarray, second: np.ndarray, aligned: np.ndarray) -> Iterator[int]:
    """Each unordered pair once, the best first, at most REGISTERED for a cell, none below ALIGNED."""
    pairs: set[tuple[int, int]] = set()
    count: Counter[int] = Counter()
    for k in np.argsort(-aligned, kind="stable"):
        if aligned[k] < ALIGNED:
            return
        a, b = sorted((int(first[k]), int(second[k])))
        if (a, b) not in pairs and min(count[a], count[b]) < REGISTERED:
            pairs.add((a, b))
            count.update((a, b))
            yield int(k)


def _register(first: int, second: int, thumbnails: np.ndarray, turn: float, mirrored: bool,
              shift: tuple[int, int]) -> Near | None:
    """Align `second` to `first` by an affine map, starting from the turn; None unless the fine structure is similar."""
    a, b = thumbnails[first].astype(np.float32), thumbnails[second].astype(np.float32)
    middle = (THUMBNAIL - 1) / 2
    turning = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if mirrored:
        turning = turning @ np.diag([1.0, -1.0])
    start = np.empty((2, 3), np.float32)
    start[:, :2] = turning
    factor = THUMBNAIL / SIDE
    start[:, 2] = middle + factor * np.array([shift[1], shift[0]]) - turning @ np.array([middle, middle])
    y, x = np.mgrid[:THUMBNAIL, :THUMBNAIL] - middle
    disc = y ** 2 + x ** 2 < (THUMBNAIL / 2 - 3) ** 2
    try:
        _, affine = cv2.findTransformECC(a, b, start, cv2.MOTION_AFFINE, (3, 30, 1e-4), disc.astype(np.uint8), 3)
    except cv2.error:
        return None  # it does not converge: no copy
    linear = affine[:, :2].astype(np.float64)
    scales = np.linalg.svd(linear, compute_uv=False)
    if not np.isfinite(affine).all() or scales.min() <= 0 or np.abs(np.log(scales)).max() > STRETCH:
        return None
    similarity = _similarity(a, b, affine, disc)
    if similarity < ALIKE:
        return None
    flipped = bool(np.linalg.det(linear) < 0)
    angle = float(np.degrees(np.arctan2(linear[1, 0], linear[0, 0])))
    if first > second:  # in the other direction: the inverse of a turn is its opposite, that of a mirroring is itself
        first, second, angle = second, first, angle if flipped else -angle
    return Near(first, second, 1 - similarity, angle, flipped)


def _similarity(a: np.ndarray, b: np.ndarray, affine: np.ndarray, disc: np.ndarray) -> float:
    """Correlation of the fine structure where both have pixels. What lies around a cell that was cut out is not
    structure, nor is the outline along which it was cut."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(b, affine, (THUMBNAIL, THUMBNAIL), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    own, other = shown_in(a), cv2.warpAffine(shown_in(b), affine, (THUMBNAIL, THUMBNAIL), flags=flags)
    both = disc & (own > 0.99) & (other > 0.99)
    both = cv2.erode(both.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if both.sum() < 0.15 * disc.sum():
        return 0.0
    fine_a, fine_b = fine_structure(a, own)[both], fine_structure(moved, other)[both]
    if min(fine_a.std(), fine_b.std()) < 0.3:
        return 0.0
    return float(np.corrcoef(fine_a, fine_b)[0, 1])


def shown_in(grey: np.ndarray) -> np.ndarray:
    """1 where a thumbnail shows something, 0 in the even black or grey around a cell that was cut out."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    level = float(np.median(border))
    if (np.abs(border - level) <= 1).mean() < _CUT_OUT:
        return np.ones_like(grey)
    flat = np.pad((np.abs(grey - level) <= 4).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(flat, np.zeros((THUMBNAIL + 4, THUMBNAIL + 4), np.uint8), (0, 0), (2,))
    return (flat[1:-1, 1:-1] != 2).astype(np.float32)


def fine_structure(grey: np.ndarray, shown: np.ndarray, fine: float = 0.7, coarse: float = 4) -> np.ndarray:
    """Details between two blurs (standard deviations, px), from what is shown alone."""
    def blurred(sigma: float) -> np.ndarray:
        return cv2.GaussianBlur(grey * shown, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(shown, (0, 0), sigma), 1e-3)

    return blurred(fine) - blurred(coarse)
