"""Pictures of other things than smears, to see what passes for one: photographs that come with libraries, parts of
them, and drawings of what looks a little like a smear. `python benchmarks/finder.py` says which of them pass.
Needs scikit-image, of the extra `test`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from leukoscope.images.read import read_image

Pixels = NDArray[np.uint8]
Named = tuple[str, Pixels]
Colour = tuple[int, int, int]
PARTS = 3
"""Parts that are cut from each photograph in colour."""
FOLDERS = (("scikit-image", "skimage/data"), ("matplotlib", "matplotlib/mpl-data/sample_data"),
           ("scikit-learn", "sklearn/datasets/images"))
GREY = ("brick", "camera", "cell", "clock_motion", "coins", "grass", "gravel", "horse", "moon", "page", "text")
SIDES = 480, 640


def photographs() -> Iterator[Named]:
    """Those of scikit-image, matplotlib and scikit-learn, by their names."""
    for package, folder in FOLDERS:
        place = Path(str(distribution(package).locate_file(folder)))
        for file in [*sorted(place.glob("*.png")), *sorted(place.glob("*.jpg"))]:
            yield file.stem, read_image(file)


def parts() -> Iterator[Named]:
    """Parts of the photographs in colour, from a third to two thirds as wide."""
    rng = np.random.default_rng(7)
    for name, pixels in photographs():
        for number in range(0 if name in GREY else PARTS):
            height, width = (int(side * rng.uniform(0.35, 0.7)) for side in pixels.shape[:2])
            top, left = (int(rng.integers(0, whole - side + 1)) for whole, side in
                         zip(pixels.shape[:2], (height, width), strict=True))
            yield f"{name}, part {number}", np.ascontiguousarray(pixels[top:top + height, left:left + width])


def discs(rng: np.random.Generator, count: int, radii: tuple[int, int], background: Colour, colour: Colour, *,
          shade: float = 0.0, spread: float = 0.0) -> Pixels:
    """Discs of about one size; shade: how much darker they are at the lower right; spread: of their radii."""
    image = np.full((*SIDES, 3), background, np.float32)
    rows, columns = np.indices(SIDES, np.float32)
    usual = rng.uniform(*radii)
    for _ in range(count):
        radius, x, y = usual * np.exp(rng.normal(0, spread)), rng.uniform(0, SIDES[1]), rng.uniform(0, SIDES[0])
        inside = np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)[..., None]
        light = np.clip(1 - shade * (columns - x + rows - y) / (2 * radius), 0.3, 1.6)[..., None]
        image = image * (1 - inside) + inside * light * np.array(colour, np.float32)
    return _grain(rng, np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8), np.float32))


def clouds(rng: np.random.Generator, scales: tuple[int, ...], colours: tuple[Colour, ...]) -> Pixels:
    """A smooth texture through these colours."""
    height, width = SIDES
    field = sum(cv2.resize(rng.normal(0, 1, (max(height // scale, 2), max(width // scale, 2))).astype(np.float32),
                           (width, height), interpolation=cv2.INTER_CUBIC) * scale**0.7 for scale in scales)
    place = (field - np.min(field)) / np.ptp(field) * (len(colours) - 1)
    index = np.clip(place.astype(int), 0, len(colours) - 2)
    table, share = np.array(colours, np.float32), (place - index)[..., None]
    return _grain(rng, table[index] * (1 - share) + table[index + 1] * share)


def writing(colour: Colour) -> Pixels:
    """A page of text."""
    page = np.full((*SIDES, 3), 248, np.uint8)
    for row in range(14):
        cv2.putText(page, "Erythrocytes 4.7 x 10^12 per l, leukocytes"[:20 + row], (20, 40 + 31 * row),
                    cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, 2, cv2.LINE_AA)
    return page


def drawings() -> Iterator[Named]:
    """Three of each kind."""
    for number in range(3):
        rng = np.random.default_rng(number)
        yield f"coins {number}", discs(rng, 30, (28, 40), (90, 95, 100), (165, 150, 110), shade=0.25, spread=0.2)
        yield f"bubbles {number}", discs(rng, 80, (8, 30), (170, 190, 210), (215, 230, 240), shade=0.3, spread=0.6)
        yield f"red dots {number}", discs(rng, 40, (15, 24), (250, 245, 240), (220, 40, 60))
        yield f"pink dots {number}", discs(rng, 60, (15, 24), (250, 245, 240), (235, 150, 170))
        yield f"berries {number}", discs(rng, 60, (20, 34), (225, 225, 215), (150, 30, 60), shade=0.5, spread=0.15)
        yield f"pills {number}", discs(rng, 25, (24, 36), (240, 240, 245), (120, 90, 190), shade=0.15, spread=0.02)
        yield f"colonies {number}", discs(rng, 50, (6, 18), (235, 210, 150), (190, 150, 80), shade=0.1, spread=0.5)
        yield f"sky {number}", clouds(rng, (160, 80, 40, 20), ((80, 130, 200), (160, 190, 230), (250, 250, 250)))
        yield f"marble {number}", clouds(rng, (120, 40, 14, 6), ((240, 235, 230), (200, 160, 150), (120, 60, 80)))
        yield f"purple {number}", clouds(rng, (40, 20, 8), ((240, 230, 240), (190, 150, 200), (110, 60, 150)))
        yield f"writing {number}", writing(((30, 30, 30), (120, 20, 60), (40, 40, 160))[number])
    rng = np.random.default_rng(99)
    yield "white", np.full((*SIDES, 3), 250, np.uint8)
    yield "black", np.zeros((*SIDES, 3), np.uint8)
    yield "noise", rng.integers(0, 256, (*SIDES, 3), dtype=np.uint8)


def no_smears() -> dict[str, list[Named]]:
    """All of them: photographs with their parts, and drawings."""
    return {"photographs of other things": [*photographs(), *parts()], "drawings and textures": [*drawings()]}


def _grain(rng: np.random.Generator, image: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(image + rng.normal(0, 3, image.shape)), 0, 255).astype(np.uint8)
