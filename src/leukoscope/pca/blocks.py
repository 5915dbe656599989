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
    """LeukoscopeError unless samples is (n, d) of a known type with n >= 2 and d >= 1."""
    if samples.ndim != 2 or samples.dtype.name not in DTYPES:
        raise LeukoscopeError(f"samples: expected a table (n, d) of {', '.join(DTYPES)}, "
                              f"got {samples.dtype} {samples.shape}", "flatten and convert the images first")
    n, d = samples.shape
    if n < 2 or d < 1:
        raise LeukoscopeError(f"samples: {n} of {d} pixels; PCA needs at least 2 samples of at least 1 pixel",
                              "use a larger training part")


def row_blocks(samples: np.ndarray, bytes_each: int = 8) -> Iterator[slice]:
    """Slices of rows that take at most BLOCK_BYTES with `bytes_each` bytes a value."""
    return _slices(samples.shape[0], samples.shape[1] * bytes_each)


def column_blocks(samples: np.ndarray, bytes_each: int = 8) -> Iterator[slice]:
    """Slices of columns that take at most BLOCK_BYTES with `bytes_each` bytes a value."""
    return _slices(samples.shape[1], samples.shape[0] * bytes_each)


def _slices(length: int, bytes_each: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // max(1, bytes_each))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def centred(block: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """block - mean in float32. What the float32 mean rounds off is the same for every sample."""
    if block.dtype == np.float64:
        return np.subtract(block, mean).astype(np.float32)
    return np.subtract(block, mean.astype(np.float32), dtype=np.float32)


def usable_raw(samples: np.ndarray, found: Moments) -> bool:
    """Whether products may be taken of the samples as they are, and the mean taken off after: float32 samples in one
    piece whose mean is not so large that digits are lost."""
    small = squared(found.mean) * len(samples) <= 25 * found.total
    return samples.dtype == np.float32 and samples.flags.c_contiguous and small


def single_blocks(samples: np.ndarray, found: Moments) -> Iterator[tuple[np.ndarray, bool]]:
    """Blocks of rows in float32, and whether the mean is still in them."""
    if usable_raw(samples, found):
        for rows in _slices(len(samples), samples.shape[1] // 2):  # no copy, so eight times as large
            yield samples[rows], True
    else:
        for rows in row_blocks(samples, 4):
            yield centred(samples[rows], found.mean), False


def moments(samples: np.ndarray) -> Moments:
    """Mean and total in one pass of float64, block by block (Chan et al. 1979), right for any size of the mean."""
    mean, total, seen = np.zeros(samples.shape[1]), 0.0, 0
    for rows in row_blocks(samples):
        block = samples[rows].astype(np.float64)
        own = block_mean(block, rows.start)
        block -= own
        away = own - mean
        count = len(block)
        total += squared(block) + squared(away) * seen * count / (seen + count)
        mean += away * (count / (seen + count))
        seen += count
    return Moments(mean, total)


def block_mean(block: np.ndarray, first_row: int = 0) -> np.ndarray:
    """Mean over the rows; LeukoscopeError names the first row with a value that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = block.mean(axis=0)
    if not np.isfinite(mean).all():
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad):
            values = block[bad[0]]
            value = values[~np.isfinite(values)][0]
            raise LeukoscopeError(f"samples: row {first_row + bad[0]} holds {value}, a value that is not finite",
                                  "leave that sample out, or make it anew")
        raise too_large()
    return mean


def too_large() -> LeukoscopeError:
    """The error for values whose squares, or means, pass the range of the numbers."""
    return LeukoscopeError("samples: values so large that their squares overflow", "scale the samples, such as to 0..1")


def squared(values: np.ndarray) -> float:
    """Sum of squares, float64."""
    flat = values.ravel()
    with np.errstate(over="ignore"):
        return float(np.dot(flat, flat))


def check_spread(found: Moments, n: int) -> None:
    """LeukoscopeError where all samples are the same but for rounding, or where float32 cannot hold the mean."""
    rounding = n * (4 * np.finfo(np.float64).eps) ** 2 * squared(found.mean)
    if not np.isfinite(found.total) or np.abs(found.mean).max() > np.finfo(np.float32).max:
        raise too_large()
    if found.total <= rounding:
        raise LeukoscopeError(f"samples: all {n} are the same, so there is no variance to keep",
                              "check how the samples were made")


__all__ = ["BLOCK_BYTES", "DTYPES", "Moments", "block_mean", "centred", "check_samples", "check_spread",
           "column_blocks", "moments", "row_blocks", "single_blocks", "squared", "too_large",
           "usable_raw"]
