"""How fast the phantom renders: cells of 96 x 96 on one core, and fields of growing size.

Prints processor time, which other work on the machine affects less than elapsed time. Run: python benchmarks/phantom.py
"""

from __future__ import annotations

import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before numpy is imported

import cv2  # noqa: E402

from leukoscope.phantom import TYPES, Subject, render_cells, render_field  # noqa: E402


def seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    cv2.setNumThreads(1)
    labels = [TYPES[number % len(TYPES)] for number in range(1000)]
    render_cells(labels[:9], seed=0)
    print(f"1,000 cells of 96 x 96, all types: {seconds(lambda: render_cells(labels, seed=1)):.1f} s (at most 20)")
    sizes = ((1296, 972), (2592, 1944))
    field = [seconds(lambda size=size: render_field(*size, seed=1, subject=Subject())) for size in sizes]
    for (width, height), took in zip(sizes, field, strict=True):
        print(f"field of {width} x {height} px at 0.1 um: {took:.1f} s")
    print(f"four times the area takes {field[1] / field[0]:.1f} times as long (about 4)")


if __name__ == "__main__":
    main()
