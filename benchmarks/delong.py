"""DeLong's interval for 10,000 + 10,000 cells, compared with the package confidenceinterval, also at an area of 1.

Then the bootstrap by subject: 2,000 rounds on 10,000 cells, and growth with ten times the cells. Needs the extra
`bench`.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from confidenceinterval import roc_auc_score  # pyright: ignore[reportMissingImports]  # the peer comes with the bench extra

from leukoscope.stats import cluster_bootstrap, delong
from peers import machine, report, times_in_turn

CELLS, TARGET = 10_000, 15.0
SUBJECTS, ROUNDS, CLASSES = 73, 2000, 8


def scores(cells: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of as many positive as negative cells, `shift` standard deviations apart."""
    labels = np.arange(2 * cells) < cells
    return labels, np.random.default_rng(0).normal(size=labels.size) + shift * labels


def matrix_rounds(cells: int) -> float:
    """Seconds for all rounds of the confusion matrix by subject, counting the cells included."""
    generator = np.random.default_rng(0)
    subject = generator.integers(SUBJECTS, size=cells)
    place = generator.integers(CLASSES * CLASSES, size=cells)  # true class x classes + predicted class
    started = time.perf_counter()
    counts = np.bincount(place * SUBJECTS + subject, minlength=CLASSES**2 * SUBJECTS).reshape(-1, SUBJECTS)
    drawn = cluster_bootstrap({"matrix": lambda weights, _: counts @ weights}, SUBJECTS, ROUNDS)["matrix"]
    assert drawn.shape == (CLASSES**2, ROUNDS)
    return time.perf_counter() - started


def main() -> None:
    """Print the ratios."""
    print(f"DeLong: {CELLS:,} + {CELLS:,} cells; {machine()}")
    labels, far = scores(CELLS, 1.0)
    peer_interval: Any = roc_auc_score  # annotated as taking lists; it takes arrays
    seconds = times_in_turn({"ours": lambda: delong(labels, far), "peer": lambda: peer_interval(labels, far)}, 15)
    report("interval, against confidenceinterval", 2 * CELLS, seconds["ours"], seconds["peer"], TARGET)
    perfect = scores(50, 0.0)[0]
    ours, (value, peer) = delong(perfect, perfect * 1.0), peer_interval(perfect, perfect * 1.0)
    print(f"50 + 50 cells, area 1: ours {ours.value:.4f} ({ours.low:.4f} to {ours.high:.4f}); "
          f"confidenceinterval {float(value):.4f} ({peer[0]:.4f} to {peer[1]:.4f})")
    once, ten = (median(matrix_rounds(n) for _ in range(7)) for n in (CELLS, 10 * CELLS))
    print(f"bootstrap by {SUBJECTS} subjects, {ROUNDS:,} rounds of an {CLASSES} x {CLASSES} matrix: {CELLS:,} cells "
          f"{1e3 * once:.0f} ms (at most 1,000), ten times the cells x {ten / once:.1f} (at most 11)")


if __name__ == "__main__":
    main()
