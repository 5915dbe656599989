"""Inputs that failed, with their right results: the folder beside the real data. Tests make look-alikes by code, and
use these too where they exist."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def case(name: str, to: Path) -> Path:
    """A copy of the folder of one case, such as "research/07-csv-dialects"; skips the test where there is none."""
    data = Path(os.environ.get("LEUKOSCOPE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    folder = data.parent / "cases" / name
    if not folder.is_dir():
        pytest.skip(f"no such case: {folder}")
    return Path(shutil.copytree(folder, to / Path(name).name))


def write_noise(folder: Path, names: list[str], *, width: int = 24, height: int = 20, seed: int = 0) -> None:
    """Images of noise, each different from the others."""
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / name)
