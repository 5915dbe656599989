"""Compiled loops of augment.py: from pixels, matrices and plain arrays to normalised planes; without the GIL.

They work row by row in short loops over plain arrays, which LLVM turns into vector code. Indices are unsigned, because
numba would otherwise test each of them for negative values. Bounds are not checked here; the caller checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import numba
import numpy as np
from jaxtyping import Float, Integer

Given = ParamSpec("Given")
Made = TypeVar("Made")


def _compiled(function: Callable[Given, Made]) -> Callable[Given, Made]:
    options = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package nor the home folder is writable: compile in every process
        return numba.njit(**options)(function)


@_compiled
def normalise(pixels, scale, offset, out):
    for cell in range(out.shape[0]):
        source, count = pixels[cell], out.shape[2]
        for channel in range(3):
            target, factor, shift = out[cell, channel], scale[channel], offset[channel]
            for p in range(count):
                target[np.uintp(p)] = np.float32(source[np.uintp(3 * p + channel)]) * factor + shift


@_compiled
def _finish_row(red, green, blue, matrix, bias, scale, offset, out, row):
    """From one row of R, G, B to three rows of the output: colour matrix, clip, normalise."""
    zero, full = np.float32(0), np.float32(255)
    for channel in range(3):
        target, factor, shift = out[channel, row], scale[channel], offset[channel]
        from_red, from_green, from_blue = matrix[channel, 0], matrix[channel, 1], matrix[channel, 2]
        for j in range(target.size):
            p = np.uintp(j)
            value = from_red * red[p] + from_green * green[p] + from_blue * blue[p] + bias
            target[p] = min(max(value, zero), full) * factor + shift


@_compiled
def _pack(source, size, packed):
    """R, G and B of each pixel in one word, 21 bits apart, so that one product weights all three. An extra column and
    row, copied from the last ones, make bounds checks of neighbours unnecessary."""
    wide = size + 1
    for y in range(size):
        for x in range(size):
            p = np.uintp(3 * (y * size + x))
            word = np.uint64(source[p]) | (np.uint64(source[p + np.uintp(1)]) << np.uint64(21))
            packed[np.uintp(y * wide + x)] = word | (np.uint64(source[p + np.uintp(2)]) << np.uint64(42))
        packed[np.uintp(y * wide + size)] = packed[np.uintp(y * wide + size - 1)]
    for x in range(wide):
        packed[np.uintp(size * wide + x)] = packed[np.uintp((size - 1) * wide + x)]


@_compiled
def _place_row(matrix, row, size, places, weights):
    """For one output row: index of the upper left neighbour, and weights of the four neighbours in 1/8191ths."""
    half, zero, steps = np.float32(0.5), np.float32(0), np.float32(8191)
    period, last = np.float32(2 * size), np.float32(size - 1)
    per_period = np.float32(1) / period
    along_x, along_y = matrix[0, 0], matrix[1, 0]
    start_x = matrix[0, 1] * np.float32(row) + matrix[0, 2] + half
    start_y = matrix[1, 1] * np.float32(row) + matrix[1, 2] + half
    upper_left, upper_right, lower_left, lower_right = weights[0], weights[1], weights[2], weights[3]
    for j in range(size):
        p = np.uintp(j)
        x, y = along_x * np.float32(j) + start_x, along_y * np.float32(j) + start_y
        x, y = x - period * np.floor(x * per_period), y - period * np.floor(y * per_period)
        x, y = min(x, period - x) - half, min(y, period - y) - half
        x, y = min(max(x, zero), last), min(max(y, zero), last)
        left, top = np.int32(x), np.int32(y)
        right_share, lower_share = x - np.float32(left), y - np.float32(top)
        both = right_share * lower_share * steps
        upper_right[p] = np.int32(right_share * steps - both + half)
        lower_left[p] = np.int32(lower_share * steps - both + half)
        lower_right[p] = np.int32(both + half)
        upper_left[p] = max(np.int32(8191) - upper_right[p] - lower_left[p] - lower_right[p], np.int32(0))
        places[p] = top * np.int32(size + 1) + left


@_compiled
def _gather_row(packed, size, places, weights, words):
    upper_left, upper_right, lower_left, lower_right = weights[0], weights[1], weights[2], weights[3]
    below = np.uintp(size + 1)
    for j in range(size):
        p = np.uintp(j)
        place = np.uintp(places[p])
        words[p] = (packed[place] * np.uint64(upper_left[p])
                    + packed[place + np.uintp(1)] * np.uint64(upper_right[p])
                    + packed[place + below] * np.uint64(lower_left[p])
                    + packed[place + below + np.uintp(1)] * np.uint64(lower_right[p]))


@_compiled
def _unpack_row(words, red, green, blue):
    mask = np.uint64(0x1FFFFF)
    for j in range(words.size):
        p = np.uintp(j)
        red[p] = np.float32(np.int32(words[p] & mask))
        green[p] = np.float32(np.int32((words[p] >> np.uint64(21)) & mask))
        blue[p] = np.float32(np.int32(words[p] >> np.uint64(42)))


@_compiled
def warp(pixels, matrices, colours, biases, scale, offset, out):
    size = out.shape[3]
    packed, words = np.empty((size + 1) ** 2, np.uint64), np.empty(size, np.uint64)
    places, weights = np.empty(size, np.int32), np.empty((4, size), np.int32)
    red, green, blue = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    for cell in range(out.shape[0]):
        matrix = colours[cell] / np.float32(8191)
        _pack(pixels[cell], size, packed)
        for row in range(size):
            _place_row(matrices[cell], row, size, places, weights)
            _gather_row(packed, size, places, weights, words)
            _unpack_row(words, red, green, blue)
            _finish_row(red, green, blue, matrix, biases[cell], scale, offset, out[cell], row)


@_compiled
def channel_sums(pixels, sums):
    """The sum of each channel of each cell: from (n, values) to (n, 3) int64."""
    for cell in range(pixels.shape[0]):
        source = pixels[cell]
        for channel in range(3):
            total = np.int64(0)
            for p in range(source.size // 3):
                total += np.int64(source[np.uintp(3 * p + channel)])
            sums[cell, channel] = total


@_compiled
def count_levels(pixels, counts):
    """Add to `counts` (3, 256) how often each level occurs in each channel of `pixels` (n, 3)."""
    for p in range(pixels.shape[0]):
        for channel in range(3):
            counts[channel, pixels[p, channel]] += 1


def uniform(key: Sequence[int], cells: Integer[np.ndarray, " cells"], draws: int) -> Float[np.ndarray, "draws cells"]:
    """Counter-based draws in [0, 1): SplitMix64's mixing (Steele, Lea and Flood 2014) of the key (such as seed and
    epoch), the cell and the number of the draw."""
    mixed = np.zeros(1, np.uint64)
    for part in key:
        mixed = _mixed(mixed + np.array([part % 2**64], np.uint64))
    keys = _mixed(mixed + np.asarray(cells).astype(np.int64).view(np.uint64))
    counters = np.arange(1, draws + 1, dtype=np.uint64)[:, None]
    return (_mixed(keys[None] + counters) >> np.uint64(11)) * 2.0**-53


def _mixed(values: np.ndarray) -> np.ndarray:
    values = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
