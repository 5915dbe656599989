"""Shapes and textures on a small grid, in micrometres: outlines as signed distances, noise, granules, red cells.

A signed distance is negative inside. Knows nothing of cell types, colours or pixels of a photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""float32 wherever an array is as large as a patch."""

Window = tuple[slice, slice]
"""Rows and columns of pixels."""

_SHEET = 1536


@dataclass(frozen=True)
class Patch:
    """A rectangular grid around a cell: x, y (h, w) in um from the cell's centre, and the side of a pixel (um)."""

    x: Floats
    y: Floats
    step: float

    def moved(self, dx: float, dy: float) -> Patch:
        """The same grid with the point (dx, dy) as its origin."""
        return Patch(self.x - np.float32(dx), self.y - np.float32(dy), self.step)

    def turned(self, angle: float) -> Patch:
        """The same grid in axes turned by `angle` (radians)."""
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return Patch(c * self.x + s * self.y, c * self.y - s * self.x, self.step)

    def warped(self, rng: np.random.Generator, scale: float, by: float) -> Patch:
        """The same grid with smooth random displacements of size `by` (um): makes any outline irregular."""
        return Patch(self.x + by * noise(self, rng, scale), self.y + by * noise(self, rng, scale), self.step)


def window_around(x: float, y: float, reach: float, step: float, shape: tuple[int, ...], block: int = 1) -> Window:
    """The pixels of `step` um within `reach` (um) of a point in an image of `shape`, in whole blocks of pixels; none
    where the point lies too far outside."""
    side = step * block
    first = [max(floor((at - reach) / side) * block, 0) for at in (y, x)]
    last = [min(ceil((at + reach) / side) * block, end) for at, end in zip((y, x), shape, strict=True)]
    return slice(first[0], max(last[0], first[0])), slice(first[1], max(last[1], first[1]))


def centres(pixels: slice, step: float, origin: float) -> Floats:
    """Coordinates (um) of pixels along one side, from `origin`."""
    return (np.arange(pixels.start, pixels.stop) + 0.5) * step - origin


def make_patch(window: Window, centre: tuple[float, float], step: float) -> Patch:
    """The grid of the pixels in a window; `centre` (x, y) in um in the same frame."""
    y, x = (centres(pixels, step, at).astype(np.float32) for pixels, at in zip(window, centre[::-1], strict=True))
    return Patch(np.tile(x, (len(y), 1)), np.repeat(y[:, None], len(x), axis=1), step)


def cover(distance: Floats, step: float) -> Floats:
    """Share of each pixel inside an outline, from its signed distance (um)."""
    return _unit(0.5 - distance / np.float32(step))


def _unit(share: Floats) -> Floats:
    return np.minimum(np.maximum(share, 0), 1)  # on a patch twice as fast as numpy.clip


def noise(patch: Patch, rng: np.random.Generator, scale: float) -> Floats:
    """Smooth noise of mean 0 and variance 1 with grains of standard deviation `scale` (um).

    Grains finer than a pixel fade, as they do when a pixel averages over them.
    """
    spread = scale / patch.step
    height, width = patch.x.shape
    coarse = max(1, int(spread / 2))  # wide grains are drawn on a coarser grid and enlarged
    fine = max(spread / coarse, 0.35)
    pad = int(np.ceil(3 * fine))
    kernel = cv2.getGaussianKernel(2 * pad + 1, fine, cv2.CV_32F)
    grains = _white(rng, (height // coarse + 3 + 2 * pad, width // coarse + 3 + 2 * pad))
    grains = cv2.sepFilter2D(grains, cv2.CV_32F, kernel, kernel)[pad:-pad, pad:-pad]
    if coarse > 1:
        grains = cv2.resize(grains, None, fx=coarse, fy=coarse, interpolation=cv2.INTER_CUBIC)
    gain = 1 / np.sum(kernel**2) / np.sqrt(1 + (0.3 / spread) ** 2)
    return np.asarray(grains[:height, :width] * np.float32(gain), np.float32)


def _white(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """White noise: a random piece of one sheet, ten times as fast as fresh numbers; fresh ones for a larger shape."""
    if max(shape) > _SHEET:
        return rng.standard_normal(shape, dtype=np.float32)
    row, column = int(rng.random() * (_SHEET + 1 - shape[0])), int(rng.random() * (_SHEET + 1 - shape[1]))
    return _sheet()[row : row + shape[0], column : column + shape[1]]


@cache
def _sheet() -> Floats:
    return np.random.default_rng(1887).standard_normal((_SHEET, _SHEET), dtype=np.float32)


def blob(patch: Patch, rng: np.random.Generator, radius: float, *, wobble: float, long: float) -> Floats:
    """A round outline of mean `radius`; harmonics of share `wobble` dent it, `long` is its length over its width."""
    turned = patch.turned(rng.uniform(0, 2 * np.pi))
    stretch = np.float32(np.sqrt(long))
    x, y = turned.x / stretch, turned.y * stretch
    rho = np.sqrt(x * x + y * y) + np.float32(1e-6)
    u, v = x / rho, y / rho
    limit = np.full_like(rho, radius)
    cos, sin = u, v
    for order in range(2, 6):  # angle addition instead of arctan2: several times faster
        cos, sin = cos * u - sin * v, sin * u + cos * v
        size, phase = radius * wobble * rng.normal() * (2 / order), rng.uniform(0, 2 * np.pi)
        limit += np.float32(size * np.cos(phase)) * cos + np.float32(size * np.sin(phase)) * sin
    return rho - limit


def ellipse(patch: Patch, centre: tuple[float, float], long: float, short: float, angle: float) -> Floats:
    """An ellipse with half-axes `long`, `short` at `centre` (x, y), approximately as a signed distance."""
    at = patch.moved(*centre).turned(angle)
    rho = np.sqrt((at.x / np.float32(long)) ** 2 + (at.y / np.float32(short)) ** 2)
    return (rho - 1) * np.float32(min(long, short))


def sausage(patch: Patch, points: NDArray[np.floating], radii: NDArray[np.floating]) -> Floats:
    """A tube along a polyline (n, 2) whose radius (n,) changes from point to point."""
    best = np.full_like(patch.x, np.inf)
    for (ax, ay), (bx, by), ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
        dx, dy = bx - ax, by - ay
        length = max(dx * dx + dy * dy, 1e-9)
        px, py = patch.x - np.float32(ax), patch.y - np.float32(ay)
        t = _unit((px * np.float32(dx) + py * np.float32(dy)) / np.float32(length))
        px -= t * np.float32(dx)
        py -= t * np.float32(dy)
        best = np.minimum(best, np.sqrt(px * px + py * py) - np.float32(ra) - t * np.float32(rb - ra))
    return best


def join(a: Floats, b: Floats, soft: float) -> Floats:
    """Union of two outlines with the corner between them rounded over `soft` um (polynomial smooth minimum)."""
    h = _unit(0.5 + (b - a) * (0.5 / soft))
    return b + (a - b) * h - soft * h * (1 - h)


def cut(a: Floats, b: Floats, soft: float) -> Floats:
    """Outline `a` without `b`, the new edge rounded over `soft` um."""
    return -join(-a, b, soft)


def smoothed(distance: Floats, step: float, by: float) -> Floats:
    """An outline with its corners rounded, inward and outward, over about `by` um."""
    return np.asarray(cv2.GaussianBlur(distance, (0, 0), by / step, borderType=cv2.BORDER_REPLICATE), np.float32)


def fit_area(distance: Floats, area: float, step: float, most: float = np.inf) -> Floats:
    """Grow or shrink an outline, by at most `most` um, to `area` um2."""
    count = min(max(round(area / step**2), 1), distance.size - 1)
    return distance - np.float32(np.clip(np.partition(distance.ravel(), count)[count], -most, most))


def random_pixels(patch: Patch, rng: np.random.Generator, share: Floats, count: int) -> NDArray[np.float64]:
    """Centres (n, 2), in um, of `count` random pixels, as dense as `share` (h, w) says; none where that is 0."""
    total = np.cumsum(share.ravel(), dtype=np.float64)
    if count <= 0 or total[-1] <= 0:
        return np.empty((0, 2))
    index = np.minimum(np.searchsorted(total, rng.random(count) * total[-1], side="right"), total.size - 1)
    return np.stack([patch.x.ravel()[index], patch.y.ravel()[index]], axis=1).astype(np.float64)


def packed(patch: Patch, rng: np.random.Generator, distance: Floats, spacing: float) -> NDArray[np.float64]:
    """Points (n, 2) in um that fill an outline side by side: a triangular lattice with random shifts."""
    half = max(float(np.abs(patch.x).max()), float(np.abs(patch.y).max()))
    n = int(half / spacing) + 1
    i, j = np.meshgrid(np.arange(-n, n + 1), np.arange(-2 * n, 2 * n + 1))
    points = np.stack([(i + 0.5 * (j % 2)).ravel() * spacing, j.ravel() * spacing * 0.866], axis=1)
    points = points + rng.normal(0, 0.22 * spacing, points.shape)
    column, row = np.floor((points - (patch.x[0, 0], patch.y[0, 0])) / patch.step + 0.5).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < patch.x.shape[1]) & (row < patch.x.shape[0])
    points, row, column = points[inside], row[inside], column[inside]
    return points[distance[row, column] < 0]


def dots(patch: Patch, points: NDArray[np.float64], radii: NDArray[np.float64],
         weights: NDArray[np.float64] | float = 1.0) -> Floats:
    """Round grains drawn one over the other: (h, w), 1 in the middle of a grain of weight 1, thinner towards its edge.

    Grains smaller than a pixel keep their amount and lose their height.
    """
    height, width = patch.x.shape
    if len(points) == 0:
        return np.zeros((height, width), np.float32)
    reach = int(np.ceil(radii.max() / patch.step)) + 1
    offset = np.arange(-reach, reach + 1)
    place = (points - (patch.x[0, 0], patch.y[0, 0])) / patch.step  # px
    nearest = np.floor(place + 0.5).astype(np.int64)
    rest = (nearest - place).astype(np.float32)
    dx, dy = rest[:, 0, None] + offset.astype(np.float32), rest[:, 1, None] + offset.astype(np.float32)
    radius = np.asarray(radii / patch.step, np.float32)
    drawn = np.maximum(radius, np.float32(0.5))
    height_of = (np.asarray(weights, np.float32) * (radius / drawn) ** 2)[..., None, None]
    distance = np.sqrt(dx[:, None, :] ** 2 + dy[:, :, None] ** 2)
    share = np.clip(drawn[:, None, None] + np.float32(0.5) - distance, 0, 1) * height_of
    column, row = nearest[:, 0, None] + offset, nearest[:, 1, None] + offset
    share *= ((column >= 0) & (column < width))[:, None, :] & ((row >= 0) & (row < height))[:, :, None]
    flat = np.clip(row, 0, height - 1)[:, :, None] * width + np.clip(column, 0, width - 1)[:, None, :]
    result = np.bincount(flat.ravel(), weights=share.ravel(), minlength=height * width)
    return result.reshape(height, width).astype(np.float32)


@dataclass(frozen=True)
class RedCell:
    """A red cell: its place and diameter in um, its length over its width, and what deforms it."""

    x: float
    y: float
    diameter: float
    long: float
    angle: float
    pallor_depth: float
    pallor_width: float
    crenation: float
    phase: float
    strength: float

    @property
    def reach(self) -> float:
        """No part of it lies farther from its centre, um."""
        return 0.5 * self.diameter * (np.sqrt(self.long) + 0.1) + 0.3

    def thickness(self, down: Floats, right: Floats, step: float) -> Floats:
        """In um, over distances (um) from the middle: (len(down), len(right)); pixels of `step` um.

        A disc flattened by drying, thinner in the middle (central pallor).
        """
        dy, dx = down[:, None], right[None]
        cos, sin, radius, stretch = np.cos(self.angle), np.sin(self.angle), self.diameter / 2, self.long**0.5
        u, v = (cos * dx + sin * dy) / (stretch * radius), (cos * dy - sin * dx) * stretch / radius
        rho = np.sqrt(u * u + v * v) * (1 + 0.025 * (u * u - v * v) * u)
        if self.crenation > 0:
            theta = np.arctan2(v, u)
            rho *= 1 + self.crenation * (np.cos(9 * theta + self.phase) + np.sin(5 * theta - self.phase))
        share = np.clip(0.5 - (rho - 1) * radius / step, 0.0, 1.0)
        second = np.minimum(rho, 1.0) ** 2
        fourth = second * second
        rim = np.sqrt(1 - fourth * fourth * second) * (0.9 + 0.1 * fourth)
        pallor = 1 - self.pallor_depth * np.exp(-((rho / self.pallor_width) ** 2))
        return 1.9 * self.strength * share * rim * pallor


def add_red_cells(amounts: Floats, thickness: Floats, cells: Sequence[RedCell], step: float, colour: Floats) -> None:
    """Add red cells to amounts (4, h, w), `colour` (4, 1, 1) per um, and to thickness (h, w) in um; pixels of `step`
    um."""
    for cell in cells:
        rows, columns = window_around(cell.x, cell.y, cell.reach, step, thickness.shape)
        body = cell.thickness(centres(rows, step, cell.y), centres(columns, step, cell.x), step)
        thickness[rows, columns] += body
        amounts[:, rows, columns] += body * colour
