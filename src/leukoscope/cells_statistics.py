"""Mean and spread of packed pixels, exact and in blocks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Integer, UInt8

from . import augment_kernels as kernels

_BLOCK = 256


def channel_statistics(
    pixels: UInt8[np.ndarray, "cells size size 3"], rows: Integer[np.ndarray, " chosen"]
) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """(mean, standard deviation) of each channel over all pixels of `rows`, in [0, 1] units, exact, in blocks.

    A channel that is the same everywhere has no deviation to divide by: 1 is given for it.
    """
    if not len(rows):
        raise ValueError("rows: expected at least one cell to take statistics of")
    rows, levels = np.sort(rows), np.arange(256) / 255
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = np.ascontiguousarray(pixels[rows[start:start + _BLOCK]])
        kernels.count_levels(block.reshape(-1, 3), counts)
    total = counts[0].sum()
    mean = counts @ levels / total
    std = np.sqrt((counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total)
    return mean, np.where((counts > 0).sum(axis=1) > 1, std, 1.0)
