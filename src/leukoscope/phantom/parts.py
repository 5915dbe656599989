"""What cells are put together from: outlines, nuclei of every shape, chromatin, granules, cytoplasm.

Amounts are in the units of `phantom_optics`. Knows no cell type; `phantom_cells` chooses the parts of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Floats, Patch, blob, cover, cut, dots, ellipse, fit_area, join, noise, sausage, smoothed
from .shapes import scatter as scattered


@dataclass(frozen=True)
class Painted:
    """A cell on its patch: amounts (4, h, w), the shares of each pixel in cell and nucleus, thickness in um (h, w)."""

    amounts: Floats
    cell: Floats
    nucleus: Floats
    thickness: Floats


@dataclass(frozen=True)
class Brush:
    """What every painter gets: where, by which chance, how large (um), how strongly the subject's cells granulate."""

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
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def outline(self, wobble: float = 0.03, long: float = 1.08, warp: float = 0.1, fray: float = 0.05) -> Floats:
        """The cell's outline, of exactly the area of its diameter; `warp` and `fray` (um) roughen it, wide and fine."""
        patch = self.patch.warped(self.rng, 1.2, warp).warped(self.rng, 0.3, fray)
        shape = blob(patch, self.rng, self.radius, wobble=wobble, long=self.between(1.0, long))
        return fit_area(shape, self.area, self.patch.step)


def amounts_of(azure: float = 0, complex_: float = 0, eosin: float = 0, haemoglobin: float = 0) -> Floats:
    """Amounts (4, 1, 1) in the order of `phantom_optics.ABSORBERS`, to be multiplied with shares (h, w)."""
    return np.array([azure, complex_, eosin, haemoglobin], np.float32)[:, None, None]


CHROMATIN = amounts_of(0.15, 2.6, 0.25)
PARACHROMATIN = amounts_of(0.0, 0.1, 0.2)
AZUROPHILIC = amounts_of(0.0, 1.5, 0.75)


def chromatin_of(brush: Brush, nucleus: Floats, *, grain: float = 0.105, clump: float = 0.45, closed: float = 0.75,
                 contrast: float = 0.8, dense: float = 1.0) -> Floats:
    """Amounts (4, h, w) of a nucleus: dense chromatin with light gaps.

    grain, clump: sizes (um) of the gaps and of the regions in which they gather. closed: the level above which noise
    opens a gap; 0 opens half of the nucleus, 2 almost nothing. contrast: share of the dye missing in a gap.
    """
    rng, patch = brush.rng, brush.patch
    level = 0.95 * noise(patch, rng, grain) + 0.3 * noise(patch, rng, clump)
    gaps = 1 / (1 + np.exp(np.float32(3) * (np.float32(closed) - level)))
    rim = 1 + 0.25 * np.exp(-(((nucleus + 0.16) / 0.16) ** 2))  # chromatin lines the membrane
    inner = 1 - np.exp(np.minimum(nucleus, 0) / 0.25)
    texture = 1.15 - 0.12 * level - contrast * gaps * inner
    stain = dense * float(np.exp(rng.normal(0, 0.08)))
    amount = stain * np.maximum(texture, 0.1) * rim * cover(nucleus, patch.step)
    gaps *= inner * cover(nucleus, patch.step)
    painted = amount * CHROMATIN
    painted += gaps * PARACHROMATIN
    return painted


def finish(brush: Brush, cell: Floats, nucleus: Floats, cytoplasm: Floats, chromatin: Floats, *,
           mottle: float = 0.25, grain: float = 0.2, edge: float = 0.15, over: Floats | None = None,
           under: Floats | None = None, covering: float = 0.0) -> Painted:
    """Put a cell together: cytoplasm of amounts (4, 1, 1), mottled; `under` only outside the nucleus, `over` anywhere.

    edge: how much darker (or, negative, lighter) the cytoplasm is at the cell's edge.
    covering: share of the cytoplasm that lies over the nucleus.
    """
    step = brush.patch.step
    inside, in_nucleus = cover(cell, step), cover(nucleus, step)
    in_nucleus = np.minimum(in_nucleus, inside)
    texture = 1 + mottle * noise(brush.patch, brush.rng, grain) + 0.6 * mottle * noise(brush.patch, brush.rng, 1.1)
    within, deep = np.minimum(cell, 0), np.minimum(nucleus, 0)
    texture *= 1 + edge * np.exp(within / 0.4)
    outside_nucleus = inside * (1 - (1 - covering) * in_nucleus)
    amounts = outside_nucleus * np.maximum(texture, 0) * cytoplasm
    amounts += chromatin
    if under is not None:
        amounts += under * (inside * (1 - in_nucleus))
    if over is not None:
        amounts += over * inside
    height = 2.2 * (1 - np.exp(within / 1.2)) + 0.9 * (1 - np.exp(deep / 0.8))
    return Painted(amounts, inside, in_nucleus, height)


def granules(brush: Brush, where: Floats, count: float, radius: tuple[float, float], colour: Floats,
             *, spread: float = 0.35) -> Floats:
    """Amounts (4, h, w) of about `count` granules of `colour` scattered over `where` (h, w); radii in `radius` (um).

    spread: of the logarithm of their strength.
    """
    points = scattered(brush.patch, brush.rng, where, int(brush.rng.poisson(count)))
    radii = brush.rng.uniform(*radius, len(points))
    weights = np.exp(brush.rng.normal(0, spread, len(points)))
    return dots(brush.patch, points, radii, weights) * colour


def round_nucleus(brush: Brush, cell: Floats, share: float, *, wobble: float = 0.03, long: float = 1.15,
                  off_centre: float = 0.5, margin: float = 0.15, notch: float = 0.0, warp: float = 0.12) -> Floats:
    """A nucleus of `share` of the cell's area; `notch` is the depth of an indentation as a share of its radius.

    off_centre: how far it lies from the middle, as a share of the room that there is.
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
    shape = smoothed(np.maximum(shape, cell + np.float32(margin)), brush.patch.step, 0.3 + 0.5 * notch)
    return fit_area(shape, share * brush.area, brush.patch.step)


def lobes(brush: Brush, cell: Floats, count: int, share: float, *, arc: float, sweep: float, strand: float,
          plump: float, jitter: float) -> Floats:
    """A segmented nucleus: `count` lobes along an arc of radius `arc`, on strands of half-width `strand` (um)."""
    rng = brush.rng
    angles = np.cumsum(np.r_[rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.2, count - 1) * sweep])
    radii = arc * np.exp(rng.normal(0, jitter, count))
    centres = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    centres -= centres.mean(axis=0) * brush.between(0.55, 0.95)
    area = share * brush.area / count * np.exp(rng.normal(0, 0.16, count))
    at = brush.patch.warped(rng, 1.1, 0.28)
    shape = None
    for centre, angle, size in zip(centres, angles, area, strict=True):
        long = plump * np.exp(rng.normal(0, 0.12))
        half = np.sqrt(size * long / np.pi)
        lobe = ellipse(at, (centre[0], centre[1]), half, half / long, angle + np.pi / 2 + rng.normal(0, 0.45))
        shape = lobe if shape is None else join(shape, lobe, 0.25)
    assert shape is not None
    if count > 1:
        shape = join(shape, sausage(at, centres, np.full(count, strand)), 0.35)
    shape = np.maximum(shape, cell + np.float32(0.2))
    return fit_area(shape, share * brush.area, brush.patch.step, most=0.35)


def bent(brush: Brush, cell: Floats, share: float, *, sweep: float, arc: float, uneven: float) -> Floats:
    """A sausage-shaped nucleus bent over `sweep` (radians) around a centre `arc` um away: band, horseshoe."""
    rng = brush.rng
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(-sweep / 2, sweep / 2, 9)
    radii = arc * (1 + 0.1 * np.sin(np.linspace(0, np.pi, 9) * rng.uniform(0.5, 2)) * rng.normal())
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    points -= points.mean(axis=0) * brush.between(0.6, 1.0)
    half = share * brush.area / (2 * arc * sweep + np.pi)
    widths = half * (1 + uneven * np.interp(np.linspace(0, 1, 9), np.linspace(0, 1, 4), rng.normal(size=4)))
    shape = sausage(brush.patch.warped(rng, 0.9, 0.18), points, np.maximum(widths, 0.5 * half))
    shape = smoothed(np.maximum(shape, cell + np.float32(0.2)), brush.patch.step, 0.25)
    return fit_area(shape, share * brush.area, brush.patch.step, most=0.6)
