"""What may differ in another laboratory: eleven corruptions of a picture of a cell, five strengths of each.

Strength 1 is what laboratories differ by and a technician hardly notices, 5 what they would reject. Everything is drawn
from the seed, the corruption and the cell's id, the same at every strength, so that a cell has the same bubbles, only
larger, and the order of the cells does not matter. Knows no network; docs/robustness.md gives the reasons.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from ..errors import LeukoscopeError
from ..images.stain import white_point
from .corruptions_optical import Pixels, brightness, contrast, defocus, jpeg, motion, noise, pixel_size
from .corruptions_staining import bubbles, deposits, stain_hue, stain_strength

STRENGTHS = (1, 2, 3, 4, 5)
ASSUMED_SPAN = 22.0
"""Micrometres that the square shown to a network spans, where the scale is not known: a leukocyte and a margin."""
SPANS = (1.0, 500.0)
"""Micrometres: smallest and largest side of a picture of one cell."""
BUBBLES = 1.0
"""Drawn on 100 square micrometres; those that would overlap another at strength 5 are left out."""


@dataclass(frozen=True)
class Scene:
    """A picture, its scale in micrometres a pixel, `known` or assumed, and its white."""

    pixels: Pixels
    micrometres: float
    known: bool

    @cached_property
    def white(self) -> Float64[np.ndarray, " 3"]:
        return white_point(self.pixels)

    @property
    def hundreds(self) -> float:
        """Its area in units of 100 square micrometres."""
        height, width = self.pixels.shape[:2]
        return height * width * self.micrometres**2 / 100


def scene_of(pixels: Pixels, crop: int, micrometres: float | None) -> Scene:
    """The scale of a picture of which a network is shown a square of `crop` px (0: all of it). LeukoscopeError where it
    would be far too small or large for a cell's: there would be too many bubbles and specks to draw."""
    shown = min(*pixels.shape[:2], crop or min(pixels.shape[:2]))
    scene = Scene(pixels, ASSUMED_SPAN / shown, False) if micrometres is None else Scene(pixels, micrometres, True)
    height, width = (side * scene.micrometres for side in pixels.shape[:2])
    if not SPANS[0] ** 2 <= height * width <= SPANS[1] ** 2:
        raise LeukoscopeError(f"at {scene.micrometres:.3g} um a pixel a picture spans {width:.3g} x {height:.3g} um, "
                              f"and a cell's spans {SPANS[0]:g} to {SPANS[1]:g}",
                              "correct --micrometres, or leave the cell out")
    return scene


@dataclass(frozen=True)
class Corruption:
    """One way for a picture to be worse. values: of the strengths 1 to 5, in `unit`. change: from pixels, value, side
    (1 or -1), scene and generator to pixels. mild, strong: why the first and the last value are what they are. sides:
    what a change downwards and upwards is called, drawn for each cell, or none."""

    title: str
    unit: str
    values: tuple[float, ...]
    change: Callable[[Pixels, float, int, Scene, np.random.Generator], Pixels]
    mild: str
    strong: str
    sides: tuple[str, str] | tuple[()] = ()


def corrupt(name: str, strength: int, pixels: Pixels, *, cell_id: str, scene: Scene, seed: int = 0) -> Pixels:
    """A cell's picture under a corruption of `CORRUPTIONS` at strength 0 (as it is) to 5. LeukoscopeError for others.
    """
    if name not in CORRUPTIONS or not 0 <= strength <= len(STRENGTHS):
        raise LeukoscopeError(f"no corruption '{name}' of strength {strength}",
                              f"there are {', '.join(CORRUPTIONS)}, of strength 0 to {len(STRENGTHS)}")
    if strength == 0:
        return pixels
    corruption, rng = CORRUPTIONS[name], _generator(name, cell_id, seed)
    side = 1 if rng.random() < 0.5 else -1
    return corruption.change(pixels, corruption.values[strength - 1], side, scene, rng)


def side_of(name: str, cell_id: str, seed: int = 0) -> str:
    """Which of the sides of a corruption a cell gets; "" where there are none."""
    sides = CORRUPTIONS[name].sides
    return sides[int(_generator(name, cell_id, seed).random() < 0.5)] if sides else ""


def _generator(name: str, cell_id: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\0{name}\0{cell_id}".encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _with_specks(pixels: Pixels, density: float, _: int, scene: Scene, rng: np.random.Generator) -> Pixels:
    """Specks over the whole picture, three of four in heaps; the first of them are present at every strength."""
    extent = pixels.shape[1::-1]
    most = max(round(CORRUPTIONS["deposits"].values[-1] * scene.hundreds), 1)
    heaps = rng.uniform((0, 0), extent, (max(round(most / 20), 1), 2))
    alone = rng.uniform((0, 0), extent, (most, 2))
    heaped = heaps[rng.integers(len(heaps), size=most)] + rng.normal(0, 0.55 / scene.micrometres, (most, 2))
    places = np.where(rng.random((most, 1)) < 0.75, heaped, alone)
    radii = np.clip(np.exp(rng.normal(math.log(0.15), 0.45, most)), 0.06, 0.5) / scene.micrometres
    return deposits(pixels, np.column_stack([places, radii])[:max(round(density * scene.hundreds), 1)])


def _with_bubbles(pixels: Pixels, radius: float, _: int, scene: Scene, rng: np.random.Generator) -> Pixels:
    """Bubbles of several sizes over the whole picture, none on another."""
    count = max(round(BUBBLES * scene.hundreds), 1)
    places, sizes = rng.uniform((0, 0), pixels.shape[1::-1], (count, 2)), np.exp(rng.normal(0, 0.35, count))
    largest = sizes * CORRUPTIONS["bubbles"].values[-1] / scene.micrometres
    apart: list[int] = []
    for i in range(count):
        if all(math.dist(places[i], places[j]) > largest[i] + largest[j] for j in apart):
            apart.append(i)
    return bubbles(pixels, np.column_stack([places, sizes * radius / scene.micrometres])[apart])


CORRUPTIONS: dict[str, Corruption] = {
    "defocus": Corruption(
        "Defocus", "µm, radius of the blur", (0.12, 0.22, 0.36, 0.55, 0.8),
        lambda p, v, _, scene, __: defocus(p, v / scene.micrometres),
        "within the depth of field of an oil objective", "0.55 µm off focus: no chromatin is seen"),
    "motion": Corruption(
        "Motion", "µm, length of the smear", (0.25, 0.5, 0.8, 1.2, 1.8),
        lambda p, v, _, scene, rng: motion(p, v / scene.micrometres, float(rng.uniform(0, math.pi))),
        "a scanner that settles while it exposes", "a stage that still moves"),
    "stain_strength": Corruption(
        "Stain strength", "times the optical density, or divided by", (1.15, 1.3, 1.5, 1.75, 2.1),
        lambda p, v, side, scene, _: stain_strength(p, v if side > 0 else 1 / v, scene.white),
        "from one batch of stain to the next", "half or twice the time in the stain", ("paler", "deeper")),
    "stain_hue": Corruption(
        "Stain hue", "doublings of eosin and halvings of azure, or the reverse", (0.12, 0.25, 0.4, 0.6, 0.85),
        lambda p, v, side, scene, _: stain_hue(p, v * side, scene.white),
        "a buffer that is off by 0.1 or 0.2 of pH", "pink nuclei or blue red cells", ("bluer", "pinker")),
    "brightness": Corruption(
        "Brightness", "times the light, or divided by", (1.06, 1.13, 1.24, 1.4, 1.65),
        lambda p, v, side, _, __: brightness(p, v if side > 0 else 1 / v),
        "from one lamp to another", "a field that is burnt out, or grey", ("darker", "brighter")),
    "contrast": Corruption(
        "Contrast", "times the distance from the mean, or divided by", (1.1, 1.22, 1.4, 1.65, 2.0),
        lambda p, v, side, _, __: contrast(p, v if side > 0 else 1 / v),
        "from one camera to another", "veiled by glare, or only black and white", ("flatter", "harder")),
    "noise": Corruption(
        "Noise", "electrons at white", (4000, 1200, 450, 180, 80),
        lambda p, v, _, __, rng: noise(p, v, rng),
        "a good camera in one shot", "a telephone at the eyepiece, in the dark"),
    "jpeg": Corruption(
        "JPEG", "quality", (75, 50, 32, 20, 10),
        lambda p, v, _, __, ___: jpeg(p, int(v)),
        "the usual setting of an archive", "blocks of 8 px are plain to see"),
    "pixel_size": Corruption(
        "Pixel size", "times the picture's own", (1.6, 2.5, 4, 6, 8.5),
        lambda p, v, _, __, ___: pixel_size(p, v),
        "a 63× objective for a 100× one", "less than a 20× one: a nucleus is a handful of pixels"),
    "bubbles": Corruption(
        "Bubbles", "µm, median radius", (0.5, 0.9, 1.4, 2.0, 2.9), _with_bubbles,
        "specks in the oil", "the oil is full of air"),
    "deposits": Corruption(
        "Stain deposit", "specks on 100 µm²", (1, 3, 8, 18, 40), _with_specks,
        "a few specks, as on most smears", "stain that was not filtered"),
}
"""By name, in the order of the report."""
