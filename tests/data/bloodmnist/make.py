"""Write a look-alike of BloodMNIST: bloodmnist.npz (28 px) or bloodmnist_<size>.npz with three splits."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]


def arrays(*, size: int = 28, train: int = 16, val: int = 8, test: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of the archive, labels 0 to 7 in turn."""
    rng = np.random.default_rng(seed)
    result: dict[str, np.ndarray] = {}
    for split, count in (("train", train), ("val", val), ("test", test)):
        labels = np.arange(count, dtype=np.uint8) % 8
        result[f"{split}_images"] = np.stack([draw_cell(int(kind), size, size, rng) for kind in labels])
        result[f"{split}_labels"] = labels[:, None]
    return result


def make(root: Path, *, size: int = 28, train: int = 16, val: int = 8, test: int = 8, seed: int = 0) -> Path:
    """Write the archive into `root` and return its path."""
    path = Path(root) / ("bloodmnist.npz" if size == 28 else f"bloodmnist_{size}.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = dict(arrays(size=size, train=train, val=val, test=test, seed=seed))
    np.savez_compressed(path, **values)
    return path
