"""Principal components by eigenvalues of a second-moment matrix: of the samples (Gram) or of the pixels (covariance).

Sums are float64. Squaring halves the digits, so components whose variance is more than nine decades below the first
one's come from a further pass over the data, without the components before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh, get_blas_funcs

from ..errors import LeukoscopeError
from .blocks import Moments, block_mean, centred, check_spread, slices, squared, too_large, usable_raw

RESOLVED = 1e-9
"""Eigenvalues from here to 1, in parts of the largest, are right to seven digits."""
RANK = 1e-10
"""Singular values below this, in parts of the largest, count as rounding: a direction of the first pass is off by up
to EPS / RESOLVED, and the next pass finds that error as a direction of its own."""
SINGLE = 1e-3
"""Least part of the root of the total variance for which float32 products give a component to 1e-4."""
EPS = float(np.finfo(np.float64).eps)

syrk: Any = get_blas_funcs("syrk", dtype=np.float64)
"""a @ a.T added to a triangle in place; scipy gives these functions no type."""

Tick = Callable[[int], None]
"""Called with the number of samples or pixels that were worked through since the last call."""


class Target(NamedTuple):
    """A number of components, or the least share of the variance that they keep."""

    components: int | None
    share: float | None

    def reached(self, squares: np.ndarray, total: float) -> int | None:
        """How many of these squared singular values, largest first, are enough; None where more are needed."""
        if self.components is not None:
            return self.components if len(squares) >= self.components else None
        assert self.share is not None
        enough = np.flatnonzero(np.cumsum(squares) >= (self.share - 1e-9) * total)
        return int(enough[0]) + 1 if len(enough) and self.share < 1 else None


class Fitted(NamedTuple):
    """mean float64 (d,), components float32 (k, d), squared singular values float64 (k,), and their total."""

    mean: np.ndarray
    components: np.ndarray
    squares: np.ndarray
    total: float


def too_many(components: int, largest: int, why: str) -> LeukoscopeError:
    """The error for more components than the samples have."""
    return LeukoscopeError(f"components is {components}, but at most {largest} are possible: {why}",
                           f"ask for {largest} or fewer, or use more samples")


def gram_fit(samples: np.ndarray, target: Target, tick: Tick) -> Fitted:
    """By the Gram matrix (n, n), in two passes over blocks of columns. samples (n, d), best with n <= d."""
    n, d = samples.shape
    mean = np.empty(d)

    def second_moment(head: np.ndarray | None) -> np.ndarray:
        gram = np.zeros((n, n), order="F")
        for columns in slices(samples, 1):
            block = samples[:, columns].astype(np.float64)
            if head is None:
                mean[columns] = block_mean(block)
                tick(block.shape[1])
            block -= mean[columns]
            if head is not None:
                block -= head @ (head.T @ block)
            gram = syrk(1.0, block.T, beta=1.0, c=gram, trans=1, lower=1, overwrite_c=1)
        return gram

    squares, vectors, total = _eigenpairs(second_moment, target, n, d, mean)
    # Components from the eigenvectors (n, k) of the Gram matrix; those of small variance with float64 products.
    weights = (vectors / np.sqrt(squares)).T
    single = int(np.searchsorted(-squares, -(SINGLE**2) * total))
    first, rest = weights[:single].astype(np.float32), weights[single:]
    components = np.empty((len(squares), d), dtype=np.float32)
    raw = usable_raw(samples, Moments(mean, total))  # the vectors sum to zero, so any mean drops out
    for columns in slices(samples, 1):
        block = samples[:, columns]
        if single:
            np.matmul(first, block if raw else centred(block, mean[columns]), out=components[:single, columns])
        if single < len(squares):
            components[single:, columns] = rest @ (block - mean[columns])
        tick(block.shape[1])
    return Fitted(mean, components, squares, total)


def covariance_fit(samples: np.ndarray, target: Target, tick: Tick) -> Fitted:
    """By the covariance matrix (d, d), in one pass over blocks of rows. samples (n, d), best with d <= n."""
    n, d = samples.shape
    mean = np.zeros(d)

    def second_moment(head: np.ndarray | None) -> np.ndarray:
        scatter = np.zeros((d, d), order="F")
        for rows in slices(samples, 0):
            block = samples[rows].astype(np.float64)
            if head is None:  # Chan et al. 1979: right for any size of the mean, and of its drift from row to row
                before, count = rows.start, len(block)
                own = block_mean(block, before)
                away = own - mean
                block -= own
                part = np.sqrt(before * count / (before + count))
                scatter = syrk(1.0, (part * away)[:, None], beta=1.0, c=scatter, lower=1, overwrite_c=1)
                mean[:] += away * (count / (before + count))
                tick(count)
            else:
                block -= mean
                block -= (block @ head) @ head.T
            scatter = syrk(1.0, block.T, beta=1.0, c=scatter, lower=1, overwrite_c=1)
        return scatter

    squares, vectors, total = _eigenpairs(second_moment, target, n, d, mean)
    return Fitted(mean, np.ascontiguousarray(vectors.T, dtype=np.float32), squares, total)


def _eigenpairs(second_moment: Callable[[np.ndarray | None], np.ndarray], target: Target, n: int, d: int,
                mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Eigenvalues (k,), largest first, eigenvectors (side, k) up to the target, and the trace.

    `second_moment` takes directions as columns and gives the matrix without them. LeukoscopeError where fewer
    directions than the target have a variance above rounding.
    """
    squares, vectors, total, floor = np.empty(0), None, 0.0, 0.0
    while True:
        matrix = second_moment(vectors)
        if vectors is None:
            total = float(np.trace(matrix))
            check_spread(Moments(mean, total), n)
        values, directions = _largest(matrix, target, len(squares))
        if vectors is None:
            floor = max(values[0] * RANK**2, (4 * EPS) ** 2 * n * squared(mean))
        keep = values > max(values[0] * RESOLVED, floor)
        squares, fresh = np.concatenate([squares, values[keep]]), directions[:, keep]
        vectors = fresh if vectors is None else np.hstack(
            [vectors, np.linalg.qr(fresh - vectors @ (vectors.T @ fresh))[0]])
        count, rank = target.reached(squares, total), len(squares)
        if count is None and (not keep.any() or rank >= min(n - 1, d)):
            if target.components is not None:
                raise too_many(target.components, rank, f"the {n} samples of {d} pixels vary in {rank} directions only")
            count = rank
        if count is not None:
            return squares[:count], vectors[:, :count], total


def _largest(matrix: np.ndarray, target: Target, known: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenpairs of the lower triangle, largest first; no more than are needed where that saves time."""
    side = len(matrix)
    if not np.isfinite(matrix.diagonal()).all():
        raise too_large()
    missing = side if target.components is None else target.components - known
    part = (side - missing, side - 1) if missing < side // 4 else None
    values, vectors = eigh(matrix, lower=True, overwrite_a=True, check_finite=False, driver="evr" if part else "evd",
                           subset_by_index=part)
    return values[::-1], vectors[:, ::-1]
