"""How well a bundle knows cells of its training again: docs/bundles.md shows what it prints.

Real cells of PBC ($LEUKOSCOPE_DATA, else ../shared/data), cut to 220 px. First how near the nearest other cell comes
(copies that `duplicates` finds left out), then the share of changed copies that are found.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from leukoscope.evaluation.corruptions_optical import brightness, contrast, jpeg, pixel_size
from leukoscope.images.read import read_image
from leukoscope.images.resample import crop_centre, resize
from leukoscope.leaks.duplicates import fingerprint
from leukoscope.leaks.registration import near_pairs
from leukoscope.leaks.training_table import BITS_APART, cell_hash, nearest

ASKED, COPIED, CROP = 1500, 300, 220
Pixels = NDArray[np.uint8]


def moved(pixels: Pixels, angle: float = 0.0, zoom: float = 1.0, shift: float = 0.0) -> Pixels:
    """Turned by degrees, zoomed, and shifted by a share of the crop, both ways."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, zoom)
    matrix[:, 2] += shift * CROP
    return cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REFLECT).astype(np.uint8)


def changes(rng: np.random.Generator) -> dict[str, Callable[[Pixels], Pixels]]:
    """What is done to copies, by name."""
    return {
        "JPEG, quality 30": lambda p: jpeg(p, 30),
        "half the resolution": lambda p: pixel_size(p, 2),
        "noise of 10 levels": lambda p: np.clip(p + rng.normal(0, 10, p.shape), 0, 255).astype(np.uint8),
        "light times 0.75": lambda p: brightness(p, 0.75),
        "gamma 1.5": lambda p: (255 * (p / 255) ** 1.5).astype(np.uint8),
        "contrast times 1.4": lambda p: contrast(p, 1.4),
        "turned by 90 degrees": lambda p: np.ascontiguousarray(np.rot90(p)),
        "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
        "turned by 17 degrees": lambda p: moved(p, 17),
        "turned by any angle": lambda p: moved(p, rng.uniform(0, 360)),
        "mirrored and turned by any angle": lambda p: moved(np.ascontiguousarray(p[:, ::-1]), rng.uniform(0, 360)),
        "shifted by up to 1 % each way": lambda p: moved(p, shift=rng.uniform(-0.01, 0.01)),
        "zoomed by 3 %": lambda p: moved(p, zoom=1.03),
        "shifted by up to 3 % each way": lambda p: moved(p, shift=rng.uniform(-0.03, 0.03)),
        "zoomed by 5 %": lambda p: moved(p, zoom=1.05),
    }


def thumbnail(pixels: Pixels) -> Pixels:
    return fingerprint(resize(crop_centre(pixels, CROP), 64)).thumbnail


def main() -> None:
    data = Path(os.environ.get("LEUKOSCOPE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    files = sorted((data / "pbc").rglob("*.jpg"))
    thumbnails = np.stack([thumbnail(read_image(file)) for file in files])
    known = np.stack([np.frombuffer(cell_hash(one) or bytes(16), np.uint8) for one in thumbnails])
    copies = {cell for pair in near_pairs(thumbnails) for cell in (pair.first, pair.second)}
    rng = np.random.default_rng(0)
    asked = np.array([i for i in rng.permutation(len(files)).tolist() if i not in copies][:ASKED])
    found = [(nearest(thumbnails[i:i + 1], np.delete(known, i, axis=0)), i) for i in asked.tolist()]
    least = np.array([apart[0] for (_, apart), _ in found])
    for (rows, apart), i in found:
        if apart[0] <= BITS_APART:
            other = int(rows[0]) + (rows[0] >= i)
            print(f"to be looked at, {apart[0]} bits apart: {files[i].name} and {files[other].name}")
    others = least[least > BITS_APART]
    print(f"{len(asked):,} cells against the {len(files):,}: the nearest other cell is {others.min()} bits away, for "
          f"one in a hundred {np.quantile(others, 0.01):.0f}, on the median {np.median(others):.0f}; a copy may be "
          f"{BITS_APART}")
    some = asked[:COPIED].tolist()
    pictures = [read_image(files[i]) for i in some]
    print(f"\n| {COPIED} cells | found |\n|---|---|")
    for name, change in changes(rng).items():
        rows, apart = nearest(np.stack([thumbnail(change(one)) for one in pictures]), known[some])
        right = (rows == np.arange(len(some))) & (apart <= BITS_APART)
        print(f"| {name} | {100 * right.mean():.0f} % |")


if __name__ == "__main__":
    main()
