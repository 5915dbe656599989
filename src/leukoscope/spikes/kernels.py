"""Compiled loops of coding.py: convolution, order statistics by counting, latencies; without the GIL, one thread each.

Positive float32 values have the same order as their bits read as int32, and negative ones and zeros give bits of zero
or less, so everything after the convolution works on int32. Thresholds are found exactly without a sort: values are
counted by the upper 16 of their 31 bits, and the few buckets that hold a threshold again by the lower 15 bits.
Bounds are not checked here: the caller must check them.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

LOW_BITS = 15
"""Bits below those counted first."""
SORTED = 2048
"""A bucket of at most so many values is sorted; a larger one is counted again."""
NEVER = 0x7FFFFFFF
"""A threshold above all finite values."""
_BUCKETS, _LOWS, _INFINITE, _LOWEST = 1 << (31 - LOW_BITS), 1 << LOW_BITS, 0x7F800000, -(1 << 31)


def _compiled(function: Callable) -> Callable:
    # Of the fast-math flags only the fusing of products and sums: the others may reorder sums, and results would then
    # depend on where a loop was inlined.
    options = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package nor the home folder can be written: compile in every process
        return numba.njit(**options)(function)


@_compiled
def _add_tap(target, source, start, weight):
    for i in range(target.size):
        p = np.uintp(i)
        target[p] += weight * source[p + np.uintp(start)]


@_compiled
def _add_five_taps(target, source, start, weights):
    a, b, c, d, e = weights[start], weights[start + 1], weights[start + 2], weights[start + 3], weights[start + 4]
    for i in range(target.size):
        p = np.uintp(i) + np.uintp(start)
        total = target[np.uintp(i)] + a * source[p]
        total += b * source[p + np.uintp(1)]
        total += c * source[p + np.uintp(2)]
        total += d * source[p + np.uintp(3)]
        target[np.uintp(i)] = total + e * source[p + np.uintp(4)]


@_compiled
def _convolve(padded, bank, scale, floor, absolute, out):
    """Responses (maps, height, width) of one padded image."""
    window = bank.shape[1]
    for number in range(out.shape[0]):
        for y in range(out.shape[1]):
            row = out[number, y]
            row[:] = np.float32(0)
            for dy in range(window):
                source, weights, dx = padded[y + dy], bank[number, dy], 0
                while dx + 5 <= window:
                    _add_five_taps(row, source, dx, weights)
                    dx += 5
                while dx < window:
                    _add_tap(row, source, dx, weights[dx])
                    dx += 1
            for x in range(row.size):
                value = row[np.uintp(x)] * scale
                value = abs(value) if absolute else value
                row[np.uintp(x)] = value if value >= floor else np.float32(0)


@_compiled
def _pad(image, factor, before, padded):
    """`image` times `factor`, its border pixels repeated outwards."""
    height, width = image.shape
    for y in range(padded.shape[0]):
        source, target = image[min(max(y - before, 0), height - 1)], padded[y]
        for x in range(before):
            target[x] = np.float32(source[0]) * factor
        for x in range(width):
            p = np.uintp(x)
            target[p + np.uintp(before)] = np.float32(source[p]) * factor
        for x in range(before + width, target.size):
            target[x] = np.float32(source[width - 1]) * factor


@_compiled
def responses(images, bank, scale, floor, absolute, out):
    """Images (n, h, w), float32 in [0, 1], to responses (n, maps, h, w)."""
    window = bank.shape[1]
    padded = np.empty((images.shape[1] + window - 1, images.shape[2] + window - 1), np.float32)
    for n in range(images.shape[0]):
        _pad(images[n], np.float32(255), (window - 1) // 2, padded)
        _convolve(padded, bank, scale, floor, absolute, out[n])


@_compiled
def _count_upper(bits, counts):
    """Counts the positive values by their upper bits. Returns how many there are; -1 if one is infinite or NaN."""
    counts[:] = np.uint32(0)
    total, worst = 0, 0
    for i in range(bits.size):
        value = bits[np.uintp(i)]
        worst = max(worst, value & np.int32(0x7FFFFFFF))
        if value > 0:
            counts[np.uintp(value >> np.int32(LOW_BITS))] += np.uint32(1)
            total += 1
    return -1 if worst >= _INFINITE else total


@_compiled
def _find_buckets(counts, ranks, buckets, segments, starts):
    """For each rank, ascending: the bucket's segment, and the rank within it. Returns the number of segments.

    `segments` (by bucket) gets 1, 2, ... in the buckets that hold a rank; `starts` where each one's values begin, and
    `buckets` its number.
    """
    above, number, done = 0, 0, 0
    bucket = counts.size
    starts[0] = 0
    while done < ranks.shape[0]:
        bucket -= 1
        inside = np.int64(counts[bucket])
        if ranks[done, 0] <= above + inside:
            buckets[number] = bucket
            starts[number + 1] = starts[number] + inside
            number += 1
            segments[bucket] = number
            while done < ranks.shape[0] and ranks[done, 0] <= above + inside:
                ranks[done, 0] -= above
                ranks[done, 1] = number - 1
                done += 1
        above += inside
    return number


@_compiled
def _collect(bits, segments, starts, lows):
    """The lower bits of all values of the segments, one segment after the other; `starts` moves to each one's end."""
    for i in range(bits.size):
        value = bits[np.uintp(i)]
        if value > 0:
            segment = segments[np.uintp(value >> np.int32(LOW_BITS))]
            if segment:
                place = starts[segment - 1]
                lows[np.uintp(place)] = np.uint16(value & np.int32(_LOWS - 1))
                starts[segment - 1] = place + 1


@_compiled
def _select(lows, ranks, cuts, upper, counts):
    """Thresholds of one segment, exactly: the values at `ranks`, ascending, counted from the largest."""
    if lows.size <= SORTED:
        lows.sort()
        for number in range(ranks.size):
            cuts[number] = upper + np.int32(lows[lows.size - ranks[number]])
        return
    counts[:] = np.uint32(0)
    for i in range(lows.size):
        counts[np.uintp(lows[np.uintp(i)])] += np.uint32(1)
    low, above = counts.size, 0
    for number in range(ranks.size):
        while above < ranks[number]:
            low -= 1
            above += np.int64(counts[low])
        cuts[number] = upper + np.int32(low)


@_compiled
def _thresholds(bits, total, compatible, counts, table, lows, low_counts, cuts):
    """The values, as bits, that a value must reach to be earlier than step 1, 2, ..., T (the last: to fire at all)."""
    steps = cuts.size
    if total < 1 or (compatible and total < steps):
        cuts[:] = np.int32(NEVER)
        return
    number = steps if compatible else steps - 1
    ranks = np.zeros((number, 2), np.int64)
    for step in range(1, number + 1):  # as many as fire before it
        ranks[step - 1, 0] = step * (total // steps) if compatible else (step * total + steps - 1) // steps
    buckets, starts = np.empty(steps, np.int64), np.empty(steps + 1, np.int64)
    table[:] = np.uint8(0)
    segments = _find_buckets(counts, ranks, buckets, table, starts)
    _collect(bits, table, starts, lows)
    first, start = 0, 0
    for segment in range(segments):
        last = first
        while last < number and ranks[last, 1] == segment:
            last += 1
        upper = np.int32(buckets[segment] << LOW_BITS)
        _select(lows[start:starts[segment]], ranks[first:last, 0], cuts[first:last], upper, low_counts)
        first, start = last, starts[segment]
    if not compatible:
        cuts[steps - 1] = np.int32(1)


@_compiled
def _tabulate(cuts, table):
    """For each bucket, how many thresholds lie in buckets above it."""
    end = table.size
    for number in range(cuts.size):
        bucket = np.int64(cuts[number] >> np.int32(LOW_BITS))
        table[bucket:end] = np.uint8(number)
        end = min(end, bucket)
    table[:end] = np.uint8(cuts.size)


@_compiled
def _latencies(bits, cuts, table, out):
    """How many thresholds are above each value: those of higher buckets by table, those of its own one by one.

    `cuts` has one value more, below all others, where the counting ends.
    """
    for i in range(bits.size):
        value = bits[np.uintp(i)]
        step = np.uintp(table[np.uintp(max(value, np.int32(0)) >> np.int32(LOW_BITS))])
        while value < cuts[step]:
            step += np.uintp(1)
        out[np.uintp(i)] = np.uint8(step)


@_compiled
def _buffers(values, steps):
    """`counts`, `table`, `lows`, `low_counts` and `cuts` for images of so many values."""
    return (np.empty(_BUCKETS, np.uint32), np.empty(_BUCKETS, np.uint8), np.empty(values, np.uint16),
            np.empty(_LOWS, np.uint32), np.full(steps + 1, _LOWEST, np.int32))


@_compiled
def first_spikes(bits, steps, compatible, out, bad):
    """Latencies (n, values) of responses given as their bits; `bad` gets 1 for an image with NaN or infinity."""
    counts, table, lows, low_counts, cuts = _buffers(bits.shape[1], steps)
    for n in range(bits.shape[0]):
        total = _count_upper(bits[n], counts)
        if total < 0:
            bad[n] = 1
            continue
        _thresholds(bits[n], total, compatible, counts, table, lows, low_counts, cuts[:steps])
        _tabulate(cuts[:steps], table)
        _latencies(bits[n], cuts, table, out[n])


@_compiled
def first_spike_levels(images, bank, scale, floor, steps, compatible, out):
    """Grey levels (n, h, w), uint8, to the earliest step over the maps, image by image."""
    maps, window, (height, width) = bank.shape[0], bank.shape[1], images.shape[1:]
    padded = np.empty((height + window - 1, width + window - 1), np.float32)
    responses_of_one = np.empty((maps, height, width), np.float32)
    bits = responses_of_one.view(np.int32).reshape(maps, height * width)
    counts, table, lows, low_counts, cuts = _buffers(bits.size, steps)
    for n in range(images.shape[0]):
        _pad(images[n], np.float32(1), (window - 1) // 2, padded)
        _convolve(padded, bank, scale, floor, True, responses_of_one)
        total = _count_upper(bits.reshape(-1), counts)
        _thresholds(bits.reshape(-1), total, compatible, counts, table, lows, low_counts, cuts[:steps])
        _tabulate(cuts[:steps], table)
        for number in range(1, maps):
            np.maximum(bits[0], bits[number], bits[0])
        _latencies(bits[0], cuts, table, out[n].reshape(-1))


@_compiled
def grey_levels(pixels, out):
    """R, G, B (n, 3) to luma, in 1/65536ths."""
    for i in range(out.size):
        p = np.uintp(3 * i)
        total = (np.uint32(19595) * np.uint32(pixels[p]) + np.uint32(38470) * np.uint32(pixels[p + np.uintp(1)])
                 + np.uint32(7471) * np.uint32(pixels[p + np.uintp(2)]) + np.uint32(32768))
        out[np.uintp(i)] = np.uint8(total >> np.uint32(16))
