"""The cell types of a blood smear, painted one at a time.

Sizes and shares of the nucleus are round numbers within the ranges usual in haematology; texture and colour were set
by eye beside photographs of May-Grünwald-Giemsa stained smears. Knows nothing of light or of fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .parts import AZUROPHILIC, Brush, Painted, amounts_of, bent, chromatin_of, finish, granules, lobes, round_nucleus
from .shapes import Floats, blob, cover, cut, dots, ellipse, fit_area, noise, packed, random_pixels

DIAMETERS: dict[str, tuple[float, float]] = {
    "neutrophil": (12.0, 15.0), "eosinophil": (12.0, 16.0), "basophil": (10.5, 14.0), "lymphocyte": (8.0, 12.0),
    "monocyte": (15.0, 20.0), "ig": (13.0, 19.0), "erythroblast": (8.5, 13.0), "platelet": (2.0, 4.5),
    "lymphoblast": (10.0, 17.0),
}
"""Diameters in um of a circle of the cell's area: the range from which each cell's diameter is drawn."""

TYPES: tuple[str, ...] = tuple(DIAMETERS)
"""The cell types, named as the PBC reader names them ("ig": immature granulocyte), and lymphoblast."""

SUBTYPES: dict[str, tuple[tuple[str, float], ...]] = {
    "neutrophil": (("segmented", 0.8), ("band", 0.2)),
    "ig": (("promyelocyte", 0.3), ("myelocyte", 0.4), ("metamyelocyte", 0.3)),
    "erythroblast": (("basophilic", 0.15), ("polychromatic", 0.4), ("orthochromatic", 0.45)),
    "lymphocyte": (("small", 0.75), ("large", 0.25)),
}
"""Finer types and how often each is drawn; the other types have none."""

_PARTS = {"small": (0.1, 0.55), "large": (0.7, 1.0), "promyelocyte": (0.4, 1.0), "myelocyte": (0.1, 0.7),
          "metamyelocyte": (0.0, 0.45), "basophilic": (0.6, 1.0), "polychromatic": (0.25, 0.7),
          "orthochromatic": (0.0, 0.35)}
"""The part of the type's range of diameters that a finer type takes; all of it where it is not listed."""


def draw_subtype(kind: str, rng: np.random.Generator) -> str:
    """A random finer type of `kind`, "" where it has none."""
    if kind not in SUBTYPES:
        return ""
    names, shares = zip(*SUBTYPES[kind], strict=True)
    return str(rng.choice(names, p=np.asarray(shares) / sum(shares)))


def draw_diameter(kind: str, subtype: str, rng: np.random.Generator) -> float:
    """A random diameter (um) of the type, or of its finer type."""
    (low, high), (start, end) = DIAMETERS[kind], _PARTS.get(subtype, (0.0, 1.0))
    return low + (high - low) * (start + (end - start) * rng.beta(2, 2.5))


def paint(kind: str, subtype: str, brush: Brush) -> Painted:
    """The cell of type `kind` in the middle of the brush's patch."""
    return _PAINTERS[kind](brush, subtype)


def _neutrophil(brush: Brush, subtype: str) -> Painted:
    """Fine lilac granules in a pale pink cytoplasm; a band, or two to five lobes on thin strands; coarse chromatin."""
    cell = brush.outline(0.035, 1.15, 0.15)
    share = brush.between(0.30, 0.40)
    if subtype == "band":
        nucleus = bent(brush, cell, share + 0.02, sweep=brush.between(3.2, 4.6), arc=0.5, uneven=0.07)
    else:
        count = int(brush.rng.choice([2, 3, 4, 5], p=[0.12, 0.48, 0.32, 0.08]))
        nucleus = lobes(brush, cell, count, share, arc=0.56, sweep=4.9 / (count + 0.3),
                        strand=brush.between(0.18, 0.35), plump=brush.between(1.1, 1.6), jitter=0.14)
    chromatin = chromatin_of(brush, nucleus, clump=0.5, closed=0.65, contrast=0.93, dense=1.12)
    inside = brush.cover(cell)
    fine, coarse = amounts_of(0.02, 0.14, 0.18), amounts_of(0.0, 0.6, 0.4)
    grains = granules(brush, inside, 6 * brush.area, (0.09, 0.18), fine * brush.granulation)
    grains += granules(brush, inside, 0.3 * brush.area * brush.granulation**2, (0.11, 0.2), coarse)
    pale = amounts_of(0.07, 0.12, 0.21) * brush.between(0.7, 1.4)
    return finish(brush, cell, nucleus, pale, chromatin, edge=-0.1, under=grains)


def _eosinophil(brush: Brush, subtype: str) -> Painted:
    """Packed with large orange-red granules; mostly two plump lobes."""
    rng = brush.rng
    cell = brush.outline(0.025, 1.1, 0.1)
    count = int(rng.choice([2, 3], p=[0.78, 0.22]))
    nucleus = lobes(brush, cell, count, brush.between(0.32, 0.42), arc=0.46, sweep=2.2 if count == 2 else 1.6,
                    strand=brush.between(0.3, 0.8), plump=brush.between(1.1, 1.5), jitter=0.1)
    chromatin = chromatin_of(brush, nucleus, clump=0.5, closed=0.55, contrast=0.82)
    points = packed(brush.patch, rng, cell + 0.22, 0.5)
    bare = noise(brush.patch, rng, 1.0)  # a spot or two of cytoplasm without granules
    points = points[rng.random(len(points)) < brush.between(0.85, 1.0)]
    orange = amounts_of(0.075, 0.02, 0.66) * brush.between(0.8, 1.2)
    weights = np.exp(rng.normal(0, 0.3, len(points)))
    grains = dots(brush.patch, points, rng.uniform(0.2, 0.34, len(points)), weights)
    grains = grains * np.clip(1.5 - 0.6 * bare, 0.15, 1) * orange
    return finish(brush, cell, nucleus, amounts_of(0.12, 0.06, 0.26), chromatin + 0.15 * grains, under=grains)


def _basophil(brush: Brush, subtype: str) -> Painted:
    """Coarse dark granules of uneven size over a pale, blurred, bent or lobed nucleus."""
    rng = brush.rng
    cell = brush.outline(0.035, 1.18, 0.15)
    share = brush.between(0.42, 0.58)
    if brush.chance(0.6):
        nucleus = lobes(brush, cell, int(rng.choice([2, 3])), share, arc=0.42, sweep=2.1, strand=0.9, plump=1.25,
                        jitter=0.1)
    else:
        nucleus = bent(brush, cell, share, sweep=2.4, arc=0.42, uneven=0.1)
    chromatin = chromatin_of(brush, nucleus, grain=0.16, clump=0.7, closed=0.6, contrast=0.5,
                             dense=brush.between(0.6, 0.9))
    left = brush.between(0.35, 1.0)  # granules dissolve in water: some cells have lost many
    points = packed(brush.patch, rng, cell + 0.1, 0.58)
    points = points[rng.random(len(points)) < left]
    grains = dots(brush.patch, points, rng.uniform(0.15, 0.4, len(points)), np.exp(rng.normal(0, 0.3, len(points))))
    lilac = amounts_of(0.04, 0.24, 0.14) * brush.between(0.6, 1.6)
    return finish(brush, cell, nucleus, lilac, chromatin, over=grains * amounts_of(0.2, 1.75, 0.25), edge=-0.1)


def _lymphocyte(brush: Brush, subtype: str) -> Painted:
    """A round, dense, clumped nucleus in a narrow rim of clear sky-blue cytoplasm; large ones have more of it."""
    large = subtype == "large"
    cell = brush.outline(0.04 if large else 0.03, 1.2 if large else 1.12, 0.2 if large else 0.16, 0.12)
    share = brush.between(0.48, 0.66) if large else brush.between(0.7, 0.87)
    nucleus = round_nucleus(brush, cell, share, long=1.18, off_centre=brush.between(0.3, 1.0), margin=0.08,
                            notch=brush.between(0.1, 0.35) if brush.chance(0.3) else 0.0)
    chromatin = chromatin_of(brush, nucleus, clump=0.55, closed=brush.between(0.4, 0.8), contrast=0.58,
                             dense=brush.between(1.0, 1.2))
    sky = amounts_of(0.36, 0.32, 0.03) * (brush.between(0.6, 1.4) * (0.7 if large else 1.0))
    grains = None
    if large and brush.chance(0.4):
        grains = granules(brush, brush.cover(cell + 0.4), brush.between(5, 16), (0.15, 0.3), 0.8 * AZUROPHILIC)
    return finish(brush, cell, nucleus, sky, chromatin, edge=0.7, under=grains)


def _monocyte(brush: Brush, subtype: str) -> Painted:
    """The largest cell: a folded or kidney-shaped nucleus of loose chromatin; grey-blue cytoplasm, dust, vacuoles."""
    rng = brush.rng
    cell = brush.outline(brush.between(0.03, 0.1), 1.3, brush.between(0.15, 0.4), 0.08)
    share = brush.between(0.42, 0.58)
    form = rng.random()
    if form < 0.35:
        nucleus = bent(brush, cell, share, sweep=brush.between(1.8, 2.9), arc=0.5, uneven=0.16)
    else:
        nucleus = round_nucleus(brush, cell, share, wobble=0.08, long=1.35, off_centre=0.7,
                                notch=brush.between(0.4, 0.75), warp=0.3)
        if form > 0.7:  # a second fold
            angle = rng.uniform(0, 2 * np.pi)
            reach = 1.1 * np.sqrt(share) * brush.radius
            fold = ellipse(brush.patch, (reach * np.cos(angle), reach * np.sin(angle)), 1.8, 1.0, angle)
            nucleus = fit_area(cut(nucleus, fold, 0.6), share * brush.area, brush.patch.step, most=0.4)
    chromatin = chromatin_of(brush, nucleus, clump=0.4, closed=brush.between(0.0, 0.3), contrast=0.74,
                             dense=brush.between(0.8, 0.98))
    dust = granules(brush, brush.cover(cell), 3.5 * brush.area, (0.08, 0.16), amounts_of(0.04, 0.34, 0.22))
    grey_blue = amounts_of(0.23, 0.30, 0.14) * brush.between(0.7, 1.35)
    painted = finish(brush, cell, nucleus, grey_blue, chromatin, mottle=0.3, edge=0.3, under=dust)
    return _vacuoles(brush, painted, cell, rng.poisson(brush.between(0.5, 7)), (0.25, 0.7))


def _ig(brush: Brush, subtype: str) -> Painted:
    """Immature granulocytes: promyelocyte, myelocyte, metamyelocyte, by nucleus, chromatin and granules."""
    cell = brush.outline(0.04, 1.2, 0.18)
    inside = brush.cover(cell)
    if subtype == "promyelocyte":
        nucleus = round_nucleus(brush, cell, brush.between(0.55, 0.7), long=1.25, off_centre=0.8)
        chromatin = chromatin_of(brush, nucleus, grain=0.1, clump=0.3, closed=0.15, contrast=0.74,
                                 dense=brush.between(0.8, 1.0))
        chromatin = _nucleoli(brush, chromatin, nucleus, int(brush.rng.integers(1, 4)))
        azurophilic = granules(brush, inside, brush.between(0.8, 2.5) * brush.area, (0.12, 0.26), 0.8 * AZUROPHILIC)
        blue = amounts_of(0.28, 0.25, 0.06) * brush.between(0.7, 1.3)
        return finish(brush, cell, nucleus, blue, chromatin, over=azurophilic, edge=0.25)
    if subtype == "myelocyte":
        nucleus = round_nucleus(brush, cell, brush.between(0.42, 0.55), long=1.4, off_centre=1.0, warp=0.25,
                                notch=0.15 if brush.chance(0.4) else 0.0)
        chromatin = chromatin_of(brush, nucleus, clump=0.4, closed=0.2, contrast=0.84, dense=brush.between(0.9, 1.05))
        tint = amounts_of(0.14, 0.17, 0.11)
    else:
        nucleus = round_nucleus(brush, cell, brush.between(0.36, 0.48), long=1.55, off_centre=0.9, warp=0.25,
                                notch=brush.between(0.45, 0.7))
        chromatin = chromatin_of(brush, nucleus, clump=0.45, closed=0.35, contrast=0.88, dense=brush.between(0.95, 1.1))
        tint = amounts_of(0.07, 0.10, 0.15)
    fine = granules(brush, inside, 5.5 * brush.area, (0.09, 0.19), amounts_of(0.04, 0.26, 0.24) * brush.granulation)
    return finish(brush, cell, nucleus, tint * brush.between(0.75, 1.35), chromatin, under=fine, covering=0.3)


def _erythroblast(brush: Brush, subtype: str) -> Painted:
    """A small, round, very dense nucleus; cytoplasm from deep blue over grey to pinkish as haemoglobin fills it."""
    cell = brush.outline(0.045, 1.2, 0.18, 0.1)
    share, closed, dense, colour = {
        "basophilic": ((0.55, 0.68), 0.65, (0.95, 1.1), amounts_of(0.5, 0.45, 0.05, 0.05)),
        "polychromatic": ((0.38, 0.52), 0.75, (1.05, 1.25), amounts_of(0.22, 0.24, 0.12, 0.15)),
        "orthochromatic": ((0.22, 0.36), 1.7, (1.3, 1.6), amounts_of(0.13, 0.12, 0.18, 0.32)),
    }[subtype]
    nucleus = round_nucleus(brush, cell, brush.between(*share), wobble=0.02, off_centre=brush.between(0.2, 1.0),
                            margin=0.2)
    if subtype == "orthochromatic" and brush.chance(0.12):  # the nucleus breaks up before it leaves
        nucleus = lobes(brush, cell, 2, brush.between(*share), arc=0.32, sweep=3.0, strand=0.3, plump=1.1, jitter=0.15)
    chromatin = chromatin_of(brush, nucleus, grain=0.15, clump=0.5, closed=closed, contrast=0.85,
                             dense=brush.between(*dense))
    tint = colour * brush.between(0.75, 1.25)
    return finish(brush, cell, nucleus, tint, chromatin, mottle=0.15)


def _lymphoblast(brush: Brush, subtype: str) -> Painted:
    """A large nucleus of fine, even, paler chromatin with nucleoli, often cleft; a scant rim of deep-blue cytoplasm."""
    rng = brush.rng
    cell = brush.outline(0.045, 1.2, 0.2, 0.08)
    share = brush.between(0.74, 0.92)
    nucleus = round_nucleus(brush, cell, share, wobble=0.05, long=1.2, off_centre=brush.between(0.4, 1.0), margin=0.06,
                            notch=brush.between(0.15, 0.5) if brush.chance(0.35) else 0.0, warp=0.2)
    chromatin = chromatin_of(brush, nucleus, grain=0.09, clump=0.28, closed=0.2, contrast=0.42,
                             dense=brush.between(0.68, 0.92))
    chromatin = _nucleoli(brush, chromatin, nucleus, int(rng.choice([0, 1, 2, 3], p=[0.15, 0.4, 0.3, 0.15])))
    deep = amounts_of(0.58, 0.40, 0.0) * brush.between(0.7, 1.3)
    painted = finish(brush, cell, nucleus, deep, chromatin, edge=0.4)
    return _vacuoles(brush, painted, cell, rng.poisson(2) if brush.chance(0.2) else 0, (0.2, 0.45))


def _platelet(brush: Brush, subtype: str) -> Painted:
    """No nucleus: purple granules gathered in the middle of a pale blue body with a frayed edge."""
    patch, rng = brush.patch, brush.rng
    cell = blob(patch.warped(rng, 0.35, 0.11), rng, brush.radius, wobble=0.06, long=brush.between(1.0, 1.35))
    cell = fit_area(cell, brush.area, patch.step)
    middle = brush.cover(cell + 0.12 * brush.radius) * np.exp(-(patch.x**2 + patch.y**2) / (1.3 * brush.radius**2))
    grains = granules(brush, middle, brush.between(6, 12) * brush.area, (0.12, 0.24),
                      0.75 * amounts_of(0.12, 0.95, 0.25))
    pale = amounts_of(0.20, 0.24, 0.06) * brush.between(0.7, 1.4)
    none = np.full_like(cell, 10.0)
    painted = finish(brush, cell, none, pale, np.zeros((4, *cell.shape), np.float32), over=grains, edge=0.0)
    return replace(painted, thickness=painted.thickness * 0.5)


def _nucleoli(brush: Brush, chromatin: Floats, nucleus: Floats, count: int) -> Floats:
    """Pale, slightly blue spots in the chromatin with a darker border."""
    patch, where = brush.patch, brush.cover(nucleus + 0.9)
    for _ in range(count):
        place = random_pixels(patch, brush.rng, where, 1)
        if not len(place):
            break
        long = brush.between(0.45, 0.95)
        spot = ellipse(patch, (place[0, 0], place[0, 1]), long, long * brush.between(0.7, 1.0), brush.between(0, np.pi))
        pale = cover(spot, max(patch.step, 0.25))
        border = np.exp(-((spot / 0.18) ** 2)) * brush.cover(nucleus)
        chromatin = chromatin * (1 - pale * amounts_of(0.1, 0.5, 0.5)) * (1 + 0.15 * border) + pale * amounts_of(0.12)
    return chromatin


def _vacuoles(brush: Brush, painted: Painted, cell: Floats, count: int, radius: tuple[float, float]) -> Painted:
    """Round holes through cytoplasm and, now and then, over the nucleus."""
    where = brush.cover(cell + 0.8) * (1 - 0.9 * painted.nucleus)
    points = random_pixels(brush.patch, brush.rng, where, count)
    if not len(points):
        return painted
    holes = np.minimum(dots(brush.patch, points, brush.rng.uniform(*radius, count)), 1)
    return replace(painted, amounts=painted.amounts * (1 - 0.85 * holes))


_PAINTERS: dict[str, Callable[[Brush, str], Painted]] = {
    "neutrophil": _neutrophil, "eosinophil": _eosinophil, "basophil": _basophil, "lymphocyte": _lymphocyte,
    "monocyte": _monocyte, "ig": _ig, "erythroblast": _erythroblast, "platelet": _platelet,
    "lymphoblast": _lymphoblast,
}
