"""Whole slides: time, memory, recall and doubles of `leukoscope smear SLIDE`, on phantom slides with exact truth.

    python benchmarks/slides.py                                  # 40,000 x 30,000 px, and a quarter of that
    python benchmarks/slides.py --width 10000 --height 8000      # what fewer cores allow

Every leukocyte of the monolayer is counted on a slide of half the sides and on the whole one, then 200 of the whole one
along the battlement. Processor seconds are printed beside those of the clock; memory is that of all processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from leukoscope.phantom.slide import render_slide
from leukoscope.phantom.slide_files import write_slide

SECONDS, MEGABYTES, RECALL, BATTLEMENT, GROWTH = 600.0, 1500.0, 0.97, 60.0, 4.4
"""What 40,000 x 30,000 px must reach: all leukocytes, memory, recall, 200 leukocytes, and four times the area."""
NEAR = 12.0
"""px: a found cell whose middle is this near to that of a true one is that cell; a second one is it twice."""


@dataclass(frozen=True)
class Run:
    """Seconds of the clock and of processors, peak MB of all processes, and the folder of the result."""

    clock: float
    processors: float
    megabytes: float
    out: Path


def count(slide: Path, out: Path, *options: object) -> Run:
    """Run the command in a process of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    code = "from leukoscope.cli.main import main; main()"
    running = subprocess.Popen([sys.executable, "-c", code, "smear", str(slide), "-o", str(out), *map(str, options)],
                               stdout=subprocess.DEVNULL)
    peaks = [0.0]
    watch = threading.Thread(target=lambda: watch_memory(running, peaks))
    watch.start()
    if running.wait():
        sys.exit(f"leukoscope smear {slide} failed")
    watch.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(time.perf_counter() - start, used, peaks[0], out)


def watch_memory(running: subprocess.Popen[bytes], peaks: list[float]) -> None:
    """Note the most that a process and those below it hold, as Linux shares it out between them."""
    while running.poll() is None:
        peaks[0] = max(peaks[0], sum(map(megabytes, [running.pid, *below(running.pid)])))
        time.sleep(0.2)


def below(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        own = [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
               for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [*own, *(one for child in own for one in below(child))]


def megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


def judged(slide: Path, out: Path) -> tuple[int, int, int, int]:
    """(true leukocytes in the squares that were looked at, of these found, found twice, found without a true one)."""
    truth = json.loads(Path(f"{slide}.truth.json").read_text())
    squares = pl.read_parquet(out / "squares.parquet").filter("looked")
    side = squares["width"].max()
    assert isinstance(side, int)
    looked = set(squares.select("row", "column").rows())
    middles = np.array([(cell["x"] + (cell["width"] - 1) / 2, cell["y"] + (cell["height"] - 1) / 2)
                        for cell in truth["cells"]])
    inside = np.array([(int(y // side), int(x // side)) in looked for x, y in middles])
    found = pl.read_parquet(out / "cells.parquet").select("centre_x", "centre_y").to_numpy()
    near = np.array([int((np.hypot(*(found - middle).T) < NEAR).sum()) for middle in middles])
    alone = sum(not (np.hypot(*(middles - one).T) < NEAR).any() for one in found)
    return int(inside.sum()), int((near[inside] > 0).sum()), int((near > 1).sum()), alone


def report(what: str, slide: Path, run: Run) -> None:
    true, found, twice, alone = judged(slide, run.out)
    recall = found / max(true, 1)
    print(f"{what}: {run.clock:.1f} s ({run.processors:.1f} s of processors), {run.megabytes:.0f} MB; "
          f"{found} of {true} leukocytes, recall {recall:.4f}; {twice} twice, {alone} that are none "
          f"({'ok' if recall >= RECALL and not twice else 'below the aim'})", flush=True)


def main() -> None:
    """Print times, memory, recall and doubles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=40_000)
    parser.add_argument("--height", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-types", action="store_true", help="find and measure only")
    given = parser.parse_args()
    options = ["--workers", given.workers, *(["--no-types"] if given.no_types else [])]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for by, what in ((2, "a quarter"), (1, "the whole")):
            width, height = given.width // by, given.height // by
            slide = write_slide(render_slide(width, height, seed=9), Path(folder) / f"slide_{by}.svs")
            runs.append(count(slide, Path(folder) / f"all_{by}", "--all", *options))
            report(f"{what}, {width:,} x {height:,} px, all", slide, runs[-1])
        some = count(slide, Path(folder) / "some", "--target", 200, *options)
        report("the whole, 200 leukocytes", slide, some)
    growth = runs[1].processors / runs[0].processors
    full = given.width * given.height >= 40_000 * 30_000
    print(f"four times the area: {growth:.2f} times the time of processors ({'ok' if growth < GROWTH else 'above'} "
          f"{GROWTH}), {runs[1].megabytes / runs[0].megabytes:.2f} times the memory")
    if full:
        verdicts = [("all", runs[1].clock, SECONDS), ("MB", runs[1].megabytes, MEGABYTES),
                    ("200 leukocytes", some.clock, BATTLEMENT)]
        print("; ".join(f"{name} {value:.0f}, aim {aim:.0f}: {'ok' if value < aim else 'above'}"
                        for name, value, aim in verdicts))


if __name__ == "__main__":
    main()
