"""What the benchmarks share: cells to work on, and timing two ways in turn, so that a busy machine slows both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

Way = Callable[[], object]


def cell_files(folder: Path, count: int) -> tuple[list[Path], str]:
    """`count` cell images as files, and what they are: PBC where it is at hand, else made-up ones below `folder`."""
    given = os.environ.get("LEUKOSCOPE_DATA")
    data = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    real = sorted((data / "pbc").rglob("*.jpg"))
    if real:
        return [real[n] for n in np.linspace(0, len(real) - 1, count).astype(int)], "PBC cells, 360 x 363 JPEG"
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
    made = [folder / f"cell{n}.jpg" for n in range(count)]
    for path, pixels in zip(made, small, strict=True):
        Image.fromarray(pixels).resize((360, 363), Image.Resampling.BICUBIC).save(path, quality=90)
    return made, "made-up cells, 360 x 363 JPEG"


def class_folders(folder: Path, files: list[Path]) -> Path:
    """Links to `files` in two class folders, as ImageFolder wants them."""
    root = folder / "classes"
    for number, file in enumerate(files):
        place = root / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").symlink_to(file)
    return root


def times_in_turn(ways: dict[str, Way], rounds: int = 3) -> dict[str, float]:
    """Median seconds of each way; one round of all before is not counted, then they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def report(what: str, cells: int, ours: float, peer: float, target: float) -> None:
    """One line: rates and the ratio."""
    ratio = peer / ours
    verdict = "ok" if ratio >= target else "below"
    print(f"{what:<58} ours {cells / ours:7.0f}/s  peer {cells / peer:7.0f}/s  ratio {ratio:5.1f}  "
          f"(at least {target:g}: {verdict})", flush=True)


def machine() -> str:
    """Cores and load, which the figures depend on."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores{load}, torch {torch.__version__} with {torch.get_num_threads()} threads"
