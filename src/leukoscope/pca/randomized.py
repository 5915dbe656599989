"""Principal components by block Krylov iteration from random directions, for when samples and pixels are both many.

Block Lanczos with full reorthogonalisation (Golub and Underwood 1977; Musco and Musco 2015): every step reads the data
once, in blocks of rows, and the basis keeps the directions of all steps, so a few steps replace many power iterations.
Fresh random directions join at every step: one block alone gives no more directions of equal variance than it is wide.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from .blocks import Moments, check_spread, measure, single_blocks, slices
from .exact import Fitted, Target, Tick, syrk

GAP = 0.005
"""Least relative fall of the variance after the last component for which the subspace is found to 1e-4."""
RESIDUAL = 3e-4
"""Largest residual of a component, in parts of its distance to the first variance left out, of a converged subspace."""
LOST = 2e-5
"""Largest part of the variance that may be missed, judged by what the last steps added."""
BLURRED = 1e-5
"""Fall of the variance after the last component, in parts of the total, below which one more step sharpens it."""
SMALL = 50
"""With fewer directions than this, or four times as many components as directions, the matrix is as fast, and a basis
of almost the whole space is fragile."""
STEEP = 5e-8
"""Variance, in parts of the total, below which float32 does not hold a component."""


class _Ritz(NamedTuple):
    """Eigenpairs within the basis, largest first: values (m,), vectors (m, m), lengths of the residuals (m,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def random_fit(samples: np.ndarray, target: Target, seed: int, tick: Tick) -> Fitted | None:
    """The components of the target; None where this method cannot find them: there are few directions, the variance
    falls too slowly, a share of it takes too many directions, or components are so far below the first that float32
    does not hold them.

    samples (n, d). Holds float32 basis vectors of length d: about three per component, at most six and a few hundred.
    """
    n, d = samples.shape
    moments = measure(samples)
    check_spread(moments, n)
    tick(n)
    if min(n - 1, d) < SMALL or 4 * (target.components or 0) > min(n - 1, d):
        return None
    converged = _krylov(samples, moments, target, seed, tick)
    if converged is None:
        return None
    rows, count = converged
    squares, turn = _refined(samples, moments, rows)
    if squares[count - 1] < STEEP * moments.total:
        return None
    fall = squares[count - 1] - (squares[count] if count < len(squares) else 0)
    if GAP * squares[count - 1] < fall < BLURRED * moments.total:
        # One step more from each component by itself, so that float32 rounds in parts of its own size, not of the
        # largest as in the steps before.
        rows = _orthonormal(_covariance_times(samples, moments, turn.T.astype(np.float32) @ rows))
        squares, turn = _refined(samples, moments, rows)
    tick(n)
    components = np.empty((count, d), dtype=np.float32)
    for columns in slices(rows, 1, 4):
        np.matmul(turn[:, :count].T.astype(np.float32), rows[:, columns], out=components[:, columns])
    return Fitted(moments.mean, components, squares[:count], moments.total)


def _krylov(samples: np.ndarray, moments: Moments, target: Target, seed: int,
            tick: Tick) -> tuple[np.ndarray, int] | None:
    """Orthonormal rows that span the components and a little more, and how many components they are; None where they
    do not converge within the largest basis allowed."""
    (n, d), wanted = samples.shape, target.components
    width = min(128, max(16, min(n, d) // 32 if wanted is None else wanted // 4))
    most = min(d, max(min(n, d) // 4, 4 * width) if wanted is None else 6 * wanted + 8 * width)
    basis, projected = np.empty((most, d), dtype=np.float32), np.zeros((most, most))
    generator = np.random.default_rng(seed)
    new = _orthonormal(generator.standard_normal((width, d), dtype=np.float32))
    size, check, captured = 0, int(1.5 * (wanted or 0)) + width, []
    while True:
        start, size = size, min(most, size + len(new))
        basis[start:size] = new[: size - start]
        image = _covariance_times(samples, moments, basis[start:size])
        tick(n)
        inner = basis[:size] @ image.T
        projected[:size, start:size] = inner
        projected[start:size, :size] = inner.T
        image -= inner.T @ basis[:size]
        if size >= check or size == most:
            ritz = _ritz(projected[:size, :size], image)
            count = target.reached(ritz.values, 1.0)
            captured += [float(ritz.values[:count].sum())] if count else []
            if count is not None and (size == d or _converged(ritz, count, captured)):
                del image, new  # their memory is needed here
                return ritz.vectors[:, : count + width].T.astype(np.float32) @ basis[:size], count
            if size == most:
                return None
            check = max(2 * wanted, size + width // 2) if wanted else size + max(width, size // 4)
        fresh = generator.standard_normal((max(2, width // 16), d), dtype=np.float32)
        # What is new, orthogonal to the basis; twice is enough (Parlett 1980).
        new = _orthonormal(np.concatenate([image, fresh]))
        new -= (new @ basis[:size].T) @ basis[:size]
        new = _orthonormal(new)


def _converged(ritz: _Ritz, count: int, captured: list[float]) -> bool:
    """Whether the subspace is found. Where the variance hardly falls after the last component there is no one
    subspace to find: then whether the variance that is kept no longer grows."""
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
    ahead = last * last / (before - last)  # if further steps add ever less, as these did
    return ahead <= LOST * captured[-1] and residuals[count - 1] <= 0.05 * values[count - 1]


def _ritz(projected: np.ndarray, image: np.ndarray) -> _Ritz:
    values, vectors = eigh(projected, check_finite=False, driver="evd")
    values, vectors = values[::-1], vectors[:, ::-1]
    last = vectors[len(projected) - len(image):]
    return _Ritz(values, vectors, np.sqrt(np.maximum(np.einsum("ik,ik->k", last, _inner(image) @ last), 0)))


def _covariance_times(samples: np.ndarray, moments: Moments, directions: np.ndarray) -> np.ndarray:
    """The covariance, scaled to trace 1, times directions (w, d): float32 (w, d)."""
    image, sums, offset = np.zeros_like(directions), np.zeros(len(directions)), 0.0
    for block, whole in single_blocks(samples, moments):
        if whole:
            offset = directions @ moments.mean.astype(np.float32)
        scores = block @ directions.T
        scores -= offset
        scores /= moments.total
        image += scores.T @ block
        if whole:
            sums += scores.sum(axis=0, dtype=np.float64)
    if sums.any():
        image -= np.outer(sums, moments.mean).astype(np.float32)
    return image


def _refined(samples: np.ndarray, moments: Moments, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values within the span of orthonormal rows (r, d), largest first, and the rotation (r, r)."""
    scatter, sums = np.zeros((len(rows), len(rows)), order="F"), np.zeros(len(rows))
    for block, whole in single_blocks(samples, moments):
        scores = (block @ rows.T).astype(np.float64)
        if whole:
            scores -= rows @ moments.mean.astype(np.float32)
        sums += scores.sum(axis=0)
        scatter = syrk(1.0, scores.T, beta=1.0, c=scatter, lower=1, overwrite_c=1)
    scatter -= np.outer(sums, sums) / len(samples)
    values, turn = eigh(scatter, lower=True, overwrite_a=True, check_finite=False)
    return values[::-1], turn[:, ::-1]


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """Orthonormal rows of the same span, without directions that are rounding errors (Stathopoulos and Wu 2002)."""
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
    for columns in slices(rows, 1):
        part = rows[:, columns].astype(np.float64)
        total += part @ part.T
    return total
