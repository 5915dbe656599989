"""Whole slides: time, memory, recall and doubles of `leukoscope smear SLIDE`, on phantom slides with exact truth.

    python benchmarks/slides.py                                  # 40,000 x 30,000 px, and a quarter of that
    python benchmarks/slides.py --width 20000 --height 15000     # what fewer cores allow
    python benchmarks/slides.py --parts some peer                # some of the parts only

Parts: `quarter`, every leukocyte of the monolayer on a slide of half the sides; `whole`, the same on the whole one;
`some`, 200 leukocytes of the whole one along the battlement; `peer`, the same network on overlapping tiles of all the
tissue of the quarter, read by OpenSlide, as tiled inference does that knows no monolayer; `tiatoolbox`, the same
network on the quarter by TIAToolbox, with a Python that has it (--tiatoolbox PYTHON). Processor seconds are printed
beside those of the clock; memory is that of all processes together. Slides are kept in --keep, if it is given.
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

import cv2
import numpy as np
import polars as pl

from leukoscope.finder.network import REACH, predict_maps
from leukoscope.images.stain import optical_density
from leukoscope.phantom.slide import render_slide
from leukoscope.phantom.slide_files import write_slide
from leukoscope.slides import open_slide

SECONDS, MEGABYTES, RECALL, BATTLEMENT, GROWTH = 600.0, 1500.0, 0.97, 60.0, 4.4
"""What 40,000 x 30,000 px must reach: all leukocytes, memory, recall, 200 leukocytes, and four times the area."""
PARTS = ("quarter", "whole", "some", "peer", "tiatoolbox")
NEAR = 12.0
"""px: a found cell whose middle is this near to that of a true one is that cell; a second one is it twice."""


@dataclass(frozen=True)
class Run:
    """Seconds of the clock and of processors, peak MB of all processes, MB that they have read, and the folder of the
    result."""

    clock: float
    processors: float
    megabytes: float
    read: float
    out: Path


def count(slide: Path, out: Path, *options: object) -> Run:
    """Run the command in a process of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    code = "from leukoscope.cli.main import main; main()"
    running = subprocess.Popen([sys.executable, "-c", code, "smear", str(slide), "-o", str(out), *map(str, options)],
                               stdout=subprocess.DEVNULL)
    peaks, reads = [0.0], dict[int, float]()
    watch = threading.Thread(target=lambda: watch_processes(running, peaks, reads))
    watch.start()
    if running.wait():
        sys.exit(f"leukoscope smear {slide} failed")
    watch.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(time.perf_counter() - start, used, peaks[0], sum(reads.values()), out)


def watch_processes(running: subprocess.Popen[bytes], peaks: list[float], reads: dict[int, float]) -> None:
    """Note the most that a process and those below it hold, as Linux shares it out between them, and what each has
    read, in MB."""
    while running.poll() is None:
        processes = [running.pid, *below(running.pid)]
        peaks[0] = max(peaks[0], sum(map(megabytes, processes)))
        reads |= {pid: max(megabytes_read(pid), reads.get(pid, 0.0)) for pid in processes}
        time.sleep(0.5)


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


def megabytes_read(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split()[1]) / 1e6
    except (OSError, IndexError):
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
    recall, mm2 = found / max(true, 1), area(run.out)
    print(f"{what}: {run.clock:.1f} s ({run.processors:.1f} s of processors, {run.processors / mm2:.2f} s/mm2), "
          f"{run.megabytes:.0f} MB, {run.read:.0f} MB read; {found} of {true} leukocytes, recall {recall:.4f}; {twice} "
          f"twice, {alone} that are none ({'ok' if recall >= RECALL and not twice else 'below the aim'})", flush=True)


def area(out: Path) -> float:
    """mm2 that were looked at."""
    return float(pl.read_parquet(out / "squares.parquet")["mm2"].sum())


def peer(slide: Path, tile: int = 512, overlap: int = REACH) -> None:
    """The finder's network on overlapping tiles of all tissue, read by OpenSlide, in this process: seconds by mm2."""
    import openslide

    os.environ["LEUKOSCOPE_THREADS"] = "1"
    cv2.setNumThreads(1)
    with open_slide(slide) as opened:
        micrometres = opened.facts.pixel.micrometres or 0.25
    opened = openslide.OpenSlide(slide)
    small = np.asarray(opened.get_thumbnail((1024, 1024)).convert("L"))
    tissue = small < cv2.threshold(small, 0, 255, cv2.THRESH_OTSU)[0]
    white = np.median(np.asarray(opened.get_thumbnail((1024, 1024)).convert("RGB"))[~tissue], axis=0)
    width, height = opened.dimensions
    by, tiles, start = width / small.shape[1], 0, time.process_time()
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            part = tissue[int(top / by):int((top + tile) / by) + 1, int(left / by):int((left + tile) / by) + 1]
            if not part.any():
                continue
            side = tile + 2 * overlap
            pixels = np.asarray(opened.read_region((left - overlap, top - overlap), 0, (side, side)))[..., :3]
            maps = predict_maps(optical_density(np.ascontiguousarray(pixels), white))
            cv2.connectedComponents((maps[2, overlap:-overlap, overlap:-overlap] > 0.5).astype(np.uint8))
            tiles += 1
    used, mm2 = time.process_time() - start, tiles * (tile * micrometres / 1000) ** 2
    print(f"overlapping tiles of {tile} px of all tissue, the same network: {used:.1f} s of processors for {mm2:.2f} "
          f"mm2, {used / mm2:.2f} s/mm2; cells are not outlined, measured or typed", flush=True)


def tiatoolbox(slide: Path, python: str) -> None:
    """The finder's network on all tissue by TIAToolbox's tiled inference: seconds by mm2."""
    script = Path(__file__).with_name("slides_tiatoolbox.py")
    told = subprocess.run([python, str(script), str(slide)], check=True, capture_output=True, text=True).stdout
    taken = json.loads(told.splitlines()[-1])
    print(f"TIAToolbox, tiles of all tissue, the same network: {taken['clock']:.1f} s ({taken['processors']:.1f} s of "
          f"processors) for {taken['mm2']:.2f} mm2, {taken['processors'] / taken['mm2']:.2f} s/mm2; cells are not "
          "outlined, measured or typed", flush=True)


def slide_of(width: int, height: int, block: int, folder: Path) -> Path:
    """A phantom slide; the one that was kept, if there is one."""
    path = folder / f"phantom_{width}x{height}_{block}.svs"
    if not Path(f"{path}.truth.json").is_file():
        start = time.process_time()
        write_slide(render_slide(width, height, seed=9, block=block), path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, written in {time.process_time() - start:.0f} s of "
              "processors", flush=True)
    return path


def verdict(name: str, value: float, aim: float) -> str:
    return f"{name} {value:.1f}, aim {aim:g}: {'ok' if value < aim else 'above'}"


def main() -> None:
    """Print times, memory, recall and doubles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=40_000)
    parser.add_argument("--height", type=int, default=30_000)
    parser.add_argument("--block", type=int, default=1024, help="px of the blocks that the phantom is made of")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-types", action="store_true", help="find and measure only")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--tiatoolbox", help="a Python that has tiatoolbox and leukoscope")
    parser.add_argument("--keep", type=Path, help="a folder for the slides, which are written once")
    given = parser.parse_args()
    options = ["--workers", given.workers, *(["--no-types"] if given.no_types else [])]
    full = given.width * given.height >= 40_000 * 30_000
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder, runs = Path(name), dict[str, Run]()
        for part, by in (("quarter", 2), ("whole", 1)):
            if part in given.parts:
                width, height = given.width // by, given.height // by
                slide = slide_of(width, height, given.block, given.keep or folder)
                runs[part] = count(slide, folder / part, "--all", *options)
                report(f"{width:,} x {height:,} px, all", slide, runs[part])
        if "some" in given.parts:
            slide = slide_of(given.width, given.height, given.block, given.keep or folder)
            runs["some"] = count(slide, folder / "some", "--target", 200, *options)
            report(f"{given.width:,} x {given.height:,} px, 200 leukocytes", slide, runs["some"])
        if "peer" in given.parts:
            peer(slide_of(given.width // 2, given.height // 2, given.block, given.keep or folder))
        if "tiatoolbox" in given.parts and not given.tiatoolbox:
            print("tiatoolbox: left out, since no --tiatoolbox PYTHON was given")
        elif "tiatoolbox" in given.parts:
            tiatoolbox(slide_of(given.width // 2, given.height // 2, given.block, given.keep or folder),
                       given.tiatoolbox)
    if {"quarter", "whole"} <= runs.keys():
        print(verdict("four times the area, times the processors' time", runs["whole"].processors /
                      runs["quarter"].processors, GROWTH),
              f"; {runs['whole'].megabytes / runs['quarter'].megabytes:.2f} times the memory")
    if full:
        aims = {"whole": SECONDS, "some": BATTLEMENT}
        print("; ".join([verdict(f"{part}, s", runs[part].clock, aims[part]) for part in aims if part in runs]
                        + [verdict(f"{part}, MB", run.megabytes, MEGABYTES) for part, run in runs.items()]))


if __name__ == "__main__":
    main()
