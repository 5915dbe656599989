"""Samples in blocks of rows or columns: centred, checked for finite values, in float32 or float64.

Knows nothing of components. A block takes at most 64 MB, or one row or column where that is more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..errors import LeukoscopeError

BLOCK_BYTES = 1 << 26
DTYPES = ("float16", "float32", "float64", "uint8")


class Moments(NamedTuple):
    """Mean of every pixel, float64 (d,), and the sum of squared distances from it over all samples and pixels."""

    mean: np.ndarray
    total: float


def check_samples(samples: np.ndarray) -> None:
    """LeukoscopeError unless samples is (n, d) of a type in DTYPES with n >= 2 and d >= 1."""
    if samples.ndim != 2 or samples.dtype.name not in DTYPES:
        raise LeukoscopeError(f"samples: expected a table (n, d) of {', '.join(DTYPES)}, "
                              f"got {samples.dtype} {samples.shape}", "flatten and convert the images first")
    n, d = samples.shape
    if n < 2 or d < 1:
        raise LeukoscopeError(f"samples: {n} of {d} pixels; PCA needs at least 2 samples of at least 1 pixel",
                              "use a larger training part")


def slices(table: np.ndarray, axis: int, bytes_each: float = 8) -> Iterator[slice]:
    """Slices of rows (axis 0) or columns (axis 1) that take at most BLOCK_BYTES at `bytes_each` bytes per value."""
    length, step = table.shape[axis], max(1, BLOCK_BYTES // max(1, int(table.shape[1 - axis] * bytes_each)))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def centred(block: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """block - mean in float32. What rounding takes from the mean is the same for every sample."""
    if block.dtype == np.float64:
        return np.subtract(block, mean).astype(np.float32)
    return np.subtract(block, mean.astype(np.float32), dtype=np.float32)


def usable_raw(samples: np.ndarray, moments: Moments) -> bool:
    """Whether the mean may be subtracted after a product instead of before: contiguous float32 samples whose mean is
    not so large that digits are lost."""
    small = squared(moments.mean) * len(samples) <= 25 * moments.total
    return samples.dtype == np.float32 and samples.flags.c_contiguous and small


def single_blocks(samples: np.ndarray, moments: Moments) -> Iterator[tuple[np.ndarray, bool]]:
    """Blocks of rows in float32, and whether the mean is still in them."""
    if usable_raw(samples, moments):
        for rows in slices(samples, 0, 0.5):  # no copy, so eight times as many rows as float32 allows
            yield samples[rows], True
    else:
        for rows in slices(samples, 0, 4):
            yield centred(samples[rows], moments.mean), False


def measure(samples: np.ndarray) -> Moments:
    """Mean and total in one pass of float64, block by block (Chan et al. 1979), right for any size of the mean."""
    mean, total = np.zeros(samples.shape[1]), 0.0
    for rows in slices(samples, 0):
        block, before, count = samples[rows].astype(np.float64), rows.start, rows.stop - rows.start
        own = block_mean(block, before)
        block -= own
        away = own - mean
        total += squared(block) + squared(away) * before * count / (before + count)
        mean += away * (count / (before + count))
    return Moments(mean, total)


def block_mean(block: np.ndarray, first_row: int = 0) -> np.ndarray:
    """Mean over the rows; LeukoscopeError names the first row with a value that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = block.mean(axis=0)
    if not np.isfinite(mean).all():
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if not len(bad):
            raise too_large()
        value = next(value for value in block[bad[0]] if not np.isfinite(value))
        raise LeukoscopeError(f"samples: row {first_row + bad[0]} holds {value}, a value that is not finite",
                              "leave out that sample, or correct it")
    return mean


def too_large() -> LeukoscopeError:
    """The error for values whose squares, or means, overflow."""
    return LeukoscopeError("samples: values so large that their squares overflow", "scale the samples, such as to 0..1")


def squared(values: np.ndarray) -> float:
    """Sum of squares, float64."""
    flat = values.ravel()
    with np.errstate(over="ignore"):
        return float(np.dot(flat, flat))


def check_spread(moments: Moments, n: int) -> None:
    """LeukoscopeError where all samples are the same within rounding, or where float32 cannot hold the mean."""
    rounding = n * (4 * np.finfo(np.float64).eps) ** 2 * squared(moments.mean)
    if not np.isfinite(moments.total) or np.abs(moments.mean).max() > np.finfo(np.float32).max:
        raise too_large()
    if moments.total <= rounding:
        raise LeukoscopeError(f"samples: all {n} are the same, so there is no variance to keep",
                              "check how the samples were made")
