"""A drawn cell: a stained nucleus in pale cytoplasm, for look-alike data."""

from __future__ import annotations

import numpy as np


def draw_cell(kind: int, width: int, height: int, rng: np.random.Generator, *, background: int = 235) -> np.ndarray:
    """uint8 (height, width, 3): a disc whose size and colour depend on `kind`, with noise from `rng`."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shift = rng.uniform(-0.05, 0.05, 2) * min(width, height)
    distance = np.hypot(x - width / 2 - shift[0], y - height / 2 - shift[1]) / min(width, height)
    pixels = np.full((height, width, 3), background, np.float32)
    pixels[distance < 0.42] = (190, 170, 205)
    nucleus = 0.14 + 0.03 * (kind % 8)
    pixels[distance < nucleus] = (100 - 8 * (kind % 5), 50 + 12 * (kind % 7), 140 - 10 * (kind % 3))
    pixels[distance < 0.42] += rng.normal(0, 6, pixels.shape)[distance < 0.42]
    return pixels.clip(0, 255).astype(np.uint8)
