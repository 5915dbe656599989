"""Fitting principal components, compared with scikit-learn's randomized solver: time, peak memory and variance kept.

Samples are synthetic smooth images with noise, so that the spectrum falls like that of cells. Each method runs in its
own process; peak memory is counted after the imports and includes the samples.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
from sklearn.decomposition import PCA as Peer

from leukoscope.pca import fit_pca
from peers import machine, report

SCALES = ((4, 1.0), (8, 0.6), (16, 0.4), (32, 0.3), (64, 0.2))
"""Sizes of the random grids that an image is the sum of, and their weights."""
NOISE = 0.15
MEMORY = 2.5
"""Largest allowed peak memory, in multiples of the samples."""


def images(count: int, side: int, channels: int) -> np.ndarray:
    """float32 (count, side * side * channels)."""
    rng = np.random.default_rng(0)
    samples = np.empty((count, side * side * channels), dtype=np.float32)
    for row in samples:
        image = NOISE * rng.standard_normal((side, side, channels), dtype=np.float32)
        for size, weight in SCALES:
            grid = rng.standard_normal((size, size, channels), dtype=np.float32)
            image += weight * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC).reshape(image.shape)
        row[:] = image.ravel()
    return samples


def repeated(count: int, side: int, channels: int) -> np.ndarray:
    """As images of one channel, in `channels` equal ones."""
    grey = images(count, side, 1)
    samples = np.empty((count, channels * side * side), dtype=np.float32)
    for channel in range(channels):
        samples[:, channel * side * side:(channel + 1) * side * side] = grey
    return samples


def ours(samples: np.ndarray, components: int) -> float:
    return float(fit_pca(samples, components=components).shares.sum())


def peer(samples: np.ndarray, components: int) -> float:
    fitted = Peer(components, svd_solver="randomized", random_state=0).fit(samples)
    return float(fitted.explained_variance_ratio_.sum())


def measure(way: Callable[[np.ndarray, int], float], make: Callable[[int, int, int], np.ndarray],
            sizes: tuple[int, int, int], components: int, rounds: int) -> tuple[float, float, float]:
    """Median seconds of a fit, peak memory in multiples of the samples, share of the variance kept."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (way, make, sizes, components, rounds))


def _measured(way: Callable[[np.ndarray, int], float], make: Callable[[int, int, int], np.ndarray],
              sizes: tuple[int, int, int], components: int, rounds: int) -> tuple[float, float, float]:
    before = _peak()
    samples = make(*sizes)
    seconds, kept = [], 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        kept = way(samples, components)
        seconds.append(time.perf_counter() - start)
    return median(seconds), (_peak() - before) / samples.nbytes, kept


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compare(what: str, count: int, own: tuple[float, float, float], other: tuple[float, float, float],
            target: float) -> None:
    report(what, count, own[0], other[0], target)
    print(f"  seconds {own[0]:.1f} and {other[0]:.1f}; peak memory {own[1]:.2f} x the samples and {other[1]:.2f} x; "
          f"variance kept {100 * own[2]:.3f} % and {100 * other[2]:.3f} %", flush=True)


def main() -> None:
    """Print the ratios."""
    print(machine())
    own = measure(ours, images, (1228, 224, 3), 1200, 3)
    compare("PCA, 1,228 x 150,528 to 1,200", 1228, own, measure(peer, images, (1228, 224, 3), 1200, 1), 12)
    print(f"  peak memory at most {MEMORY:g} x: {'ok' if own[1] <= MEMORY else 'above'}; {machine()}")
    other = measure(peer, repeated, (6048, 100, 3), 500, 1)
    compare("PCA, 6,048 x 30,000 to 500, as one channel", 6048, measure(ours, images, (6048, 100, 1), 500, 3), other, 2)
    print("  the same on all three channels, though they are equal (no target):")
    compare("PCA, 6,048 x 30,000 to 500", 6048, measure(ours, repeated, (6048, 100, 3), 500, 2), other, 1)
    print(machine())


if __name__ == "__main__":
    main()
