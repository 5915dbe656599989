"""Finding leukocytes in fields: seconds for 640 x 480 and 2592 x 1944 px, for four times the area, and peak memory; and
`leukoscope smear` on one field, from the start of the process to the page.

Fields are phantoms at a tenth of a micrometre a pixel, already in memory; the network is loaded before. The command
types by the model of the package (--bundle FILE: by another).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from leukoscope.phantom import Subject, render_field
from leukoscope.smear import find_leukocytes
from peers import machine, times_in_turn

AIMS = {(640, 480): 0.4, (2592, 1944): 3.0}
"""Seconds on two cores."""
TO_PAGE = 6.0
"""Seconds on two cores, from the start of the process to the page of one field of 640 x 480 px."""


def seconds_to_page(pixels: np.ndarray, bundle: str, rounds: int = 3) -> float:
    """Median seconds of `leukoscope smear` on one field, processes of their own; one round before is not counted."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(pixels).save(Path(folder) / "field.png")
        command = [sys.executable, "-c", "from leukoscope.cli.main import main; main()", "smear", f"{folder}/field.png",
                   "-o", f"{folder}/out", "--overwrite", "--bundle", bundle]
        for _ in range(rounds + 1):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="packaged")
    chosen = parser.parse_args()
    fields = {size: render_field(*size, seed=1, subject=Subject()).pixels for size in AIMS}
    took = seconds_to_page(fields[640, 480], chosen.bundle)
    print(f"leukoscope smear, one field of 640 x 480 px to its page: {took:.1f} s (under {TO_PAGE:g}: "
          f"{'ok' if took < TO_PAGE else 'above'})", flush=True)
    large = fields[2592, 1944]
    fields[5184, 3888] = np.tile(large, (2, 2, 1))
    print(f"leukocytes in fields: phantoms of 0.1 um a pixel; {machine()}", flush=True)
    seconds = times_in_turn({str(size): lambda field=field: find_leukocytes(field) for size, field in fields.items()},
                            rounds=5)
    for size, field in fields.items():
        took, found = seconds[str(size)], len(find_leukocytes(field).cells)
        verdict = f" (under {AIMS[size]:g}: {'ok' if took < AIMS[size] else 'above'})" if size in AIMS else ""
        print(f"{size[0]} x {size[1]} px, {found} cells: {took:.2f} s{verdict}", flush=True)
    ratio = seconds[str((5184, 3888))] / seconds[str((2592, 1944))]
    print(f"four times the area: {ratio:.1f} times the time (the smaller one is a single tile, without overlap)")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory, imports and fields included: {peak:.1f} GB")


if __name__ == "__main__":
    main()
