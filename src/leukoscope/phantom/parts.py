"""What cells are put together from: outlines, nuclei of every shape, chromatin, granules, cytoplasm.

Amounts are in the units of optics.py. Knows no cell type; cells.py chooses the parts of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from .shapes import (
    Floats,
    Patch,
    blob,
    cover,
    cut,
    dots,
    ellipse,
    fit_area,
    join,
    noise,
    random_pixels,
    sausage,
    smoothed,
)


@dataclass(frozen=True)
class Painted:
    """A cell on its patch: amounts (4, h, w), the shares of each pixel in cell and nucleus, thickness in um (h, w)."""

    amounts: Floats
    cell: Floats
    nucleus: Floats
    thickness: Floats


@dataclass(frozen=True)
class Brush:
    """What every painter gets: the grid, random numbers, the cell's diameter (um), and the factor on its granules."""

    patch: Patch
    rng: np.random.Generator
    diameter: float
    granulation: float

    @property
    def radius(self) -> float:
        return self.diameter / 2

    @property
    def area(self) -> float:
        return np.pi * self.radius**2

    def between(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def cover(self, distance: Floats) -> Floats:
        """Share of each pixel inside an outline."""
        return cover(distance, self.patch.step)

    def outline(self, wobble: float, long: float, warp: float, fray: float = 0.05) -> Floats:
        """The cell's outline, with exactly the area of its diameter; `warp` and `fray` (um) are coarse and fine
        roughness."""
        patch = self.patch.warped(self.rng, 1.2, warp).warped(self.rng, 0.3, fray)
        shape = blob(patch, self.rng, self.radius, wobble=wobble, long=self.between(1.0, long))
        return fit_area(shape, self.area, self.patch.step)


def amounts_of(azure: float = 0, complex_: float = 0, eosin: float = 0, haemoglobin: float = 0) -> Floats:
    """Amounts (4, 1, 1) in the order of `optics.ABSORBERS`, to be multiplied with shares (h, w)."""
    return np.array([azure, complex_, eosin, haemoglobin], np.float32)[:, None, None]


CHROMATIN = amounts_of(0.15, 2.6, 0.25)
PARACHROMATIN = amounts_of(0.0, 0.1, 0.2)
AZUROPHILIC = amounts_of(0.0, 1.5, 0.75)


def chromatin_of(brush: Brush, nucleus: Floats, *, grain: float = 0.105, clump: float, closed: float, contrast: float,
                 dense: float = 1.0) -> Floats:
    """Amounts (4, h, w) of a nucleus: dense chromatin with light gaps.

    grain, clump: sizes (um) of the gaps and of the regions in which they gather. closed: the level above which noise
    opens a gap; 0 opens half of the nucleus, 2 almost nothing. contrast: share of the dye missing in a gap.
    """
    rng, patch = brush.rng, brush.patch
    level = 0.95 * noise(patch, rng, grain) + 0.3 * noise(patch, rng, clump)
    gaps = 1 / (1 + np.exp(3 * (closed - level)))
    rim = 1 + 0.25 * np.exp(-(((nucleus + 0.16) / 0.16) ** 2))  # chromatin lines the membrane
    inner = 1 - np.exp(np.minimum(nucleus, 0) / 0.25)
    texture = 1.15 - 0.12 * level - contrast * gaps * inner
    stain = dense * float(np.exp(rng.normal(0, 0.08)))
    inside = brush.cover(nucleus)
    painted = stain * np.maximum(texture, 0.1) * rim * inside * CHROMATIN
    gaps *= inner * inside
    painted += gaps * PARACHROMATIN
    return painted


def finish(brush: Brush, cell: Floats, nucleus: Floats, cytoplasm: Floats, chromatin: Floats, *,
           mottle: float = 0.25, edge: float = 0.15, over: Floats | None = None, under: Floats | None = None,
           covering: float = 0.0) -> Painted:
    """Put a cell together: cytoplasm of amounts (4, 1, 1), mottled; `under` only outside the nucleus, `over` anywhere.

    edge: how much darker (or, negative, lighter) the cytoplasm is at the cell's edge.
    covering: share of the cytoplasm that lies over the nucleus.
    """
    inside = brush.cover(cell)
    in_nucleus = np.minimum(brush.cover(nucleus), inside)
    texture = 1 + mottle * noise(brush.patch, brush.rng, 0.2) + 0.6 * mottle * noise(brush.patch, brush.rng, 1.1)
    within, deep = np.minimum(cell, 0), np.minimum(nucleus, 0)
    texture *= 1 + edge * np.exp(within / 0.4)
    amounts = inside * (1 - (1 - covering) * in_nucleus) * np.maximum(texture, 0) * cytoplasm
    amounts += chromatin
    if under is not None:
        amounts += under * (inside * (1 - in_nucleus))
    if over is not None:
        amounts += over * inside
    height = 2.2 * (1 - np.exp(within / 1.2)) + 0.9 * (1 - np.exp(deep / 0.8))
    return Painted(amounts, inside, in_nucleus, height)


def granules(brush: Brush, where: Floats, count: float, radius: tuple[float, float], colour: Floats) -> Floats:
    """Amounts (4, h, w) of about `count` granules of `colour` scattered over `where` (h, w); radii in `radius` (um)."""
    rng = brush.rng
    points = random_pixels(brush.patch, rng, where, rng.poisson(count))
    points = points + (rng.random(points.shape) - 0.5) * brush.patch.step
    radii = rng.uniform(*radius, len(points))
    return dots(brush.patch, points, radii, np.exp(rng.normal(0, 0.35, len(points)))) * colour


def round_nucleus(brush: Brush, cell: Floats, share: float, *, wobble: float = 0.03, long: float = 1.15,
                  off_centre: float, margin: float = 0.15, notch: float = 0.0, warp: float = 0.12) -> Floats:
    """A nucleus of `share` of the cell's area; `notch` is the depth of an indentation as a share of its radius.

    off_centre: its distance from the middle, as a share of the room that there is.
    """
    rng, radius = brush.rng, np.sqrt(share) * brush.radius
    room = max(brush.radius - radius - margin, 0)
    angle = rng.uniform(0, 2 * np.pi)
    at = brush.patch.moved(off_centre * room * np.cos(angle), off_centre * room * np.sin(angle))
    at = at.warped(rng, 1.0, warp)
    shape = blob(at, rng, radius, wobble=wobble, long=brush.between(1.0, long))
    if notch > 0:
        # The indentation faces the wider cytoplasm, where the Golgi zone lies.
        turned = at.turned(angle + np.pi + rng.normal(0, 0.4))
        width = radius * brush.between(0.45, 0.8)
        hole = ellipse(turned, (radius * (1.15 - notch) + width, 0), width * 1.25, width, 0)
        shape = cut(shape, hole, 0.9)
    shape = smoothed(np.maximum(shape, cell + margin), brush.patch.step, 0.3 + 0.5 * notch)
    return fit_area(shape, share * brush.area, brush.patch.step)


def lobes(brush: Brush, cell: Floats, count: int, share: float, *, arc: float, sweep: float, strand: float,
          plump: float, jitter: float) -> Floats:
    """A segmented nucleus: `count` lobes, `sweep` radians apart on an arc of `arc` cell radii, on strands of half-width
    `strand` (um)."""
    rng = brush.rng
    angles = np.cumsum(np.r_[rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.2, count - 1) * sweep])
    radii = brush.radius * arc * np.exp(rng.normal(0, jitter, count))
    centres = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    centres -= centres.mean(axis=0) * brush.between(0.55, 0.95)
    areas = share * brush.area / count * np.exp(rng.normal(0, 0.16, count))
    at = brush.patch.warped(rng, 1.1, 0.28)
    drawn = []
    for (x, y), angle, area in zip(centres, angles, areas, strict=True):
        long = plump * np.exp(rng.normal(0, 0.12))
        half = np.sqrt(area * long / np.pi)
        drawn.append(ellipse(at, (x, y), half, half / long, angle + np.pi / 2 + rng.normal(0, 0.45)))
    shape = reduce(lambda whole, lobe: join(whole, lobe, 0.25), drawn)
    shape = join(shape, sausage(at, centres, np.full(count, strand)), 0.35)
    return fit_area(np.maximum(shape, cell + 0.2), share * brush.area, brush.patch.step, most=0.35)


def bent(brush: Brush, cell: Floats, share: float, *, sweep: float, arc: float, uneven: float) -> Floats:
    """A sausage-shaped nucleus bent over `sweep` radians around a centre `arc` cell radii away: band, horseshoe."""
    rng, arc = brush.rng, brush.radius * arc
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(-sweep / 2, sweep / 2, 9)
    radii = arc * (1 + 0.1 * np.sin(np.linspace(0, np.pi, 9) * rng.uniform(0.5, 2)) * rng.normal())
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    points -= points.mean(axis=0) * brush.between(0.6, 1.0)
    half = share * brush.area / (2 * arc * sweep + np.pi)
    widths = half * (1 + uneven * np.interp(np.linspace(0, 1, 9), np.linspace(0, 1, 4), rng.normal(size=4)))
    shape = sausage(brush.patch.warped(rng, 0.9, 0.18), points, np.maximum(widths, 0.5 * half))
    shape = smoothed(np.maximum(shape, cell + 0.2), brush.patch.step, 0.25)
    return fit_area(shape, share * brush.area, brush.patch.step, most=0.6)
