"""`leukoscope smear` on one field: seconds and peak memory, from the start of the process to the page; and finding
leukocytes in fields of 640 x 480 to 5184 x 3888 px that are in memory.

Fields are phantoms at a tenth of a micrometre per pixel. The command types by the built-in model (--bundle FILE: by
another). Processor seconds are printed beside those of the clock: on a busy machine they say more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from leukoscope.phantom import Subject, render_field
from leukoscope.smear import find_leukocytes
from peers import machine, times_in_turn

SMALL, MIDDLE, LARGE = (640, 480), (2592, 1944), (5184, 3888)
AIMS = {SMALL: 0.4, MIDDLE: 3.0}
"""Seconds to find the leukocytes, on two cores."""
COMMAND = {SMALL: (1.5, 350), LARGE: (None, 600)}
"""Seconds and MB of the whole command."""

_MEASURED = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def run(*arguments: object) -> tuple[float, float, float]:
    """Seconds by the clock, processor seconds and peak MB of `leukoscope ARGUMENTS`. A small process starts it, since
    the memory of the starting process counts in the peak."""
    command = [sys.executable, "-c", "from leukoscope.cli.main import main; main()", *map(str, arguments)]
    done = subprocess.run([sys.executable, "-c", _MEASURED, *command], check=True, capture_output=True, text=True)
    clock, processor, peak = map(float, done.stdout.split())
    return clock, processor, peak


def report(what: str, runs: list[tuple[float, float, float]], seconds: float | None, megabytes: float | None) -> None:
    """One line: medians, and whether they are within the aims."""
    clock, processor, peak = (median(values) for values in zip(*runs, strict=True))
    verdicts = [f"under {aim:g} {unit}: {'ok' if value < aim else 'above'}" for value, aim, unit in (
        (clock, seconds, "s"), (peak, megabytes, "MB")) if aim is not None]
    print(f"{what}: {clock:.2f} s ({processor:.2f} s of processors), {peak:.0f} MB ({'; '.join(verdicts)})", flush=True)


def main() -> None:
    """Print times and memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="packaged")
    chosen = parser.parse_args()
    fields = {size: render_field(*size, seed=1, subject=Subject()).pixels for size in (SMALL, MIDDLE)}
    fields[LARGE] = np.tile(fields[MIDDLE], (2, 2, 1))
    print(f"phantoms of 0.1 um per pixel; {machine()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for size, (seconds, megabytes) in COMMAND.items():
            path = Path(folder) / f"{size[0]}.png"
            Image.fromarray(fields[size]).save(path)
            runs = [run("smear", path, "-o", f"{folder}/out", "--overwrite", "--bundle", chosen.bundle)
                    for _ in range(4)]
            report(f"leukoscope smear, {size[0]} x {size[1]} px", runs[1:], seconds, megabytes)
    seconds = times_in_turn({str(size): lambda field=field: find_leukocytes(field) for size, field in fields.items()},
                            rounds=5)
    for size, field in fields.items():
        took, cells = seconds[str(size)], len(find_leukocytes(field).cells)
        verdict = f" (under {AIMS[size]:g}: {'ok' if took < AIMS[size] else 'above'})" if size in AIMS else ""
        print(f"finding {cells} cells in {size[0]} x {size[1]} px: {took:.2f} s{verdict}", flush=True)
    print(f"four times the area: {seconds[str(LARGE)] / seconds[str(MIDDLE)]:.1f} times the time (the smaller field is "
          "a single tile, without overlap)")


if __name__ == "__main__":
    main()
