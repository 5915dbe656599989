"""Random numbers for augmentation that depend on what they are drawn for, and on no order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer


def uniform(key: Sequence[int], cells: Integer[np.ndarray, " cells"], draws: int) -> Float[np.ndarray, "draws cells"]:
    """Counter-based draws in [0, 1): SplitMix64's mixing (Steele, Lea and Flood 2014) of the key (such as seed and
    epoch), cell and draw."""
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
