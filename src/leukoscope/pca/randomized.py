"""Principal components by block Krylov iteration from random directions, for when samples and pixels are both many.

Block Lanczos with full reorthogonalisation (Golub and Underwood 1977; Musco and Musco 2015): every step reads the data
once, in blocks of rows, and the basis keeps all that was learned, so a few steps replace many power iterations. Fresh
random directions join at every step: from one block alone come no more directions of equal variance than it is wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from .blocks import Moments, check_spread, column_blocks, moments, single_blocks
from .exact import Fitted, Tick, Wanted, syrk

GAP = 0.005
"""Least relative fall of the variance after the last component for which the subspace is found to 1e-4."""
RESIDUAL = 3e-4
"""Largest residual of a component, in parts of its distance to the first variance left out, of a subspace found."""
LOST = 2e-5
"""Largest part of the variance that may be missed, by what the last steps brought."""
BLURRED = 1e-5
"""Fall of the variance after the last component, in parts of the total, below which it is sharpened by a step more."""
SMALL = 50
"""Directions below which, or a quarter of which, the matrix is as quick, and a basis of the whole space is fragile."""
STEEP = 5e-8
"""Variance, in parts of the total, below which a component is beyond float32."""


@dataclass(frozen=True, eq=False)
class _Ritz:
    """Eigenpairs within the basis, largest first: values (m,), vectors (m, m), lengths of the residuals (m,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def random_fit(samples: np.ndarray, wanted: Wanted, seed: int, tick: Tick) -> Fitted | None:
    """The `wanted` components, or None where this way does not lead there: there are few directions or the variance
    falls too slowly, a share of it takes too many directions, or components lie so far below the first that float32
    does not hold them.

    samples (n, d). Holds float32 basis vectors of length d: about three a component, at most six and a few hundred.
    """
    n, d = samples.shape
    found = moments(samples)
    check_spread(found, n)
    tick(n)
    if min(n - 1, d) < SMALL or 4 * (wanted.components or 0) > min(n - 1, d):
        return None
    most, width = _sizes(wanted, n, d)
    reached = _krylov(samples, found, wanted, most, width, seed, tick)
    if reached is None:
        return None
    ritz, basis, count = reached
    rows = ritz.vectors[:, : count + width].T.astype(np.float32) @ basis
    del reached, basis
    squares, turn = _refined(samples, found, rows)
    if squares[count - 1] < STEEP * found.total:
        return None
    if _blurred(squares, count, found.total):
        rows = _sharpened(samples, found, turn.T.astype(np.float32) @ rows)
        squares, turn = _refined(samples, found, rows)
    tick(n)
    components = np.empty((count, d), dtype=np.float32)
    for columns in column_blocks(rows, 4):
        np.matmul(turn[:, :count].T.astype(np.float32), rows[:, columns], out=components[:, columns])
    return Fitted(found.mean, components, squares[:count], found.total)


def _blurred(squares: np.ndarray, count: int, total: float) -> bool:
    """Whether the variance falls after the last component, but by little beside what float32 rounds off the first."""
    fall = squares[count - 1] - (squares[count] if count < len(squares) else 0)
    return GAP * squares[count - 1] < fall < BLURRED * total


def _sharpened(samples: np.ndarray, found: Moments, components: np.ndarray) -> np.ndarray:
    """One step further from each component by itself, so that float32 rounds in parts of its own size, not of the
    largest as in the steps before; orthonormal again."""
    return _orthonormal(_covariance_times(samples, found, components))


def _sizes(wanted: Wanted, n: int, d: int) -> tuple[int, int]:
    """The most directions of the basis, and how many a step adds."""
    if wanted.components is None:
        width = min(128, max(16, min(n, d) // 32))
        return min(d, max(min(n, d) // 4, 4 * width)), width
    width = min(128, max(16, wanted.components // 4))
    return min(d, 6 * wanted.components + 8 * width), width


def _krylov(samples: np.ndarray, found: Moments, wanted: Wanted, most: int, width: int, seed: int,
            tick: Tick) -> tuple[_Ritz, np.ndarray, int] | None:
    """Eigenpairs within a Krylov basis (m, d), and how many of them are wanted; None where `most` are too few."""
    n, d = samples.shape
    basis = np.empty((most, d), dtype=np.float32)
    projected = np.zeros((most, most))
    generator = np.random.default_rng(seed)
    new = _orthonormal(generator.standard_normal((width, d), dtype=np.float32))
    size, check, captured = 0, int(1.5 * (wanted.components or 0)) + width, []
    while True:
        start, size = size, min(most, size + len(new))
        basis[start:size] = new[: size - start]
        image = _covariance_times(samples, found, basis[start:size])
        tick(n)
        inner = basis[:size] @ image.T
        projected[:size, start:size] = inner
        projected[start:size, :size] = inner.T
        image -= inner.T @ basis[:size]
        if size >= check or size == most:
            ritz = _ritz(projected[:size, :size], image)
            count = wanted.enough(ritz.values, 1.0)
            captured += [float(ritz.values[:count].sum())] if count else []
            if count is not None and (size == d or _converged(ritz, count, captured)):
                return ritz, basis[:size], count
            if size == most:
                return None
            check = max(2 * wanted.components, size + width // 2) if wanted.components else size + max(width, size // 4)
        fresh = generator.standard_normal((max(2, width // 16), d), dtype=np.float32)
        new = _next(np.concatenate([image, fresh]), basis[:size])


def _converged(ritz: _Ritz, count: int, captured: list[float]) -> bool:
    """Whether the subspace is found, or, where the variance hardly falls after the last component, so that there is
    no subspace to find, the variance kept no longer grows."""
    values, residuals = ritz.values, ritz.residuals
    if count >= len(values):
        return False
    gap = values[:count] - values[count]
    if (residuals[:count] <= RESIDUAL * gap).all():
        return True
    if gap[-1] > GAP * values[count - 1] or len(captured) < 3:
        return False
    before, last = captured[-2] - captured[-3], captured[-1] - captured[-2]
    if not 0 <= last < before:
        return last < LOST * captured[-1] / 10
    ahead = last * last / (before - last)  # if the steps to come bring ever less, as these did
    return ahead <= LOST * captured[-1] and residuals[count - 1] <= 0.05 * values[count - 1]


def _ritz(projected: np.ndarray, image: np.ndarray) -> _Ritz:
    values, vectors = eigh(projected, check_finite=False, driver="evd")
    values, vectors = values[::-1], vectors[:, ::-1]
    last = vectors[len(projected) - len(image):]
    residuals = np.sqrt(np.maximum(np.einsum("ik,ik->k", last, _inner(image) @ last), 0))
    return _Ritz(values, vectors, residuals)


def _covariance_times(samples: np.ndarray, found: Moments, directions: np.ndarray) -> np.ndarray:
    """The covariance, scaled to trace 1, times directions (w, d): float32 (w, d)."""
    image, sums = np.zeros_like(directions), np.zeros(len(directions))
    offset = 0.0
    for block, whole in single_blocks(samples, found):
        if whole:
            offset = (directions @ found.mean.astype(np.float32))
        scores = block @ directions.T
        scores -= offset
        scores /= found.total
        image += scores.T @ block
        if whole:
            sums += scores.sum(axis=0, dtype=np.float64)
    if sums.any():
        image -= np.outer(sums, found.mean).astype(np.float32)
    return image


def _refined(samples: np.ndarray, found: Moments, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values within the span of orthonormal rows (r, d), largest first, and the rotation (r, r)."""
    scatter, sums = np.zeros((len(rows), len(rows)), order="F"), np.zeros(len(rows))
    for block, whole in single_blocks(samples, found):
        scores = (block @ rows.T).astype(np.float64)
        if whole:
            scores -= rows @ found.mean.astype(np.float32)
        sums += scores.sum(axis=0)
        scatter = syrk(1.0, scores.T, beta=1.0, c=scatter, lower=1, overwrite_c=1)
    scatter -= np.outer(sums, sums) / len(samples)
    values, turn = eigh(scatter, lower=True, overwrite_a=True, check_finite=False)
    return values[::-1], turn[:, ::-1]


def _next(image: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What is new in image (w, d), as orthonormal rows orthogonal to the basis; twice is enough (Parlett 1980)."""
    new = _orthonormal(image)
    new -= (new @ basis.T) @ basis
    return _orthonormal(new)


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """Orthonormal rows of the same span, without directions that are rounding only (Stathopoulos and Wu 2002)."""
    for _ in range(2):
        inner = _inner(rows)
        lengths = np.sqrt(inner.diagonal())
        rows, inner, lengths = rows[lengths > 0], inner[np.ix_(lengths > 0, lengths > 0)], lengths[lengths > 0]
        if not len(rows):
            return rows
        values, vectors = eigh(inner / lengths / lengths[:, None], check_finite=False)
        keep = values > 1e-10 * values[-1]
        rows = ((vectors[:, keep] / np.sqrt(values[keep])).T / lengths).astype(np.float32) @ rows
    return rows


def _inner(rows: np.ndarray) -> np.ndarray:
    """rows @ rows.T in float64; rows float32 (w, d)."""
    total = np.zeros((len(rows), len(rows)))
    for columns in column_blocks(rows):
        part = rows[:, columns].astype(np.float64)
        total += part @ part.T
    return total
