"""Fields and single cells of a phantom smear: amounts of dye and haemoglobin laid out in micrometres, photographed.

Pixels and truth come from the same shapes. cells.py paints the cell types, optics.py computes the light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import LeukoscopeError
from .cells import TYPES, draw_diameter, draw_subtype, paint
from .layout import Place, lay_out, red_cells_around
from .optics import Floats, bend, blurred, check_range, illumination, photograph, transmitted
from .parts import Brush, Painted, amounts_of
from .shapes import add_red_cells, dots, make_patch, window_around
from .subjects import DIFFERENTIALS, Subject, draw_subject

CELL_SIDE = 24.0
"""Side (um) of the square that `render_cells` shows when no scale is given."""

_FINE = 0.15  # um: pixels wider than this are painted on a finer grid and averaged
_ROWS = 256  # rows of the sensor whose light is computed at a time


@dataclass(frozen=True)
class TrueCell:
    """The truth about a cell. Box in px, the smallest around its pixels in `Field.cell_labels`; areas in um2.

    diameter: of a circle of the whole cell's area (um), also where the field cuts the cell off.
    whole: the field's edge does not cut it and no other cell lies on it.
    """

    type: str
    subtype: str
    x: int
    y: int
    width: int
    height: int
    diameter: float
    area: float
    nucleus_area: float
    whole: bool


@dataclass(frozen=True)
class Field:
    """A rendered field: pixels uint8 (h, w, 3); labels int32 (h, w), i + 1 for cells[i] and 0 elsewhere.

    red_cells: (x, y, diameter) in px of the red cells' centres.
    """

    pixels: NDArray[np.uint8]
    cells: tuple[TrueCell, ...]
    cell_labels: NDArray[np.int32]
    nucleus_labels: NDArray[np.int32]
    subject: Subject
    micrometres_per_pixel: float
    red_cells: NDArray[np.float64]


def render_field(width: int, height: int, *, seed: int | Sequence[int], subject: Subject | None = None,
                 micrometres_per_pixel: float = 0.1, types: Mapping[str, int] | None = None,
                 white_cells: float = 0.25, margin: float = 0.0) -> Field:
    """A field of `width` x `height` px with the truth about every nucleated cell and platelet.

    types: how many of each type; if platelets are not named, the subject's own density decides. None draws
        `white_cells` per 1,000 um2 by the subject's differential (real blood has fewer; a field would be empty).
    subject: None draws one from the seed. margin: um between the border and the middle of a cell, red cells apart.
    Raises LeukoscopeError for an unknown type, a size or scale out of range, or more cells than the field can hold.
    """
    _check_size(width, height)
    _check_scale(micrometres_per_pixel)
    check_range("white_cells", white_cells, 0, 1000, "try 0.25")
    rng = np.random.default_rng(_checked(seed))
    subject = draw_subject(rng) if subject is None else subject
    counts = _counts(types, subject, width * height * micrometres_per_pixel**2 / 1000, white_cells, rng)
    drawn = [(kind, draw_subtype(kind, rng)) for kind, count in counts.items() for _ in range(count)]
    sizes = [draw_diameter(kind, subtype, rng) for kind, subtype in drawn]
    across, down = (max(side * micrometres_per_pixel - 2 * margin, 0.0) for side in (width, height))
    places = [Place(x + margin, y + margin, size) for x, y, size in lay_out(sizes, across, down, rng)]
    cells = [(kind, subtype, place) for (kind, subtype), place in zip(drawn, places, strict=True)]
    return _render(width, height, micrometres_per_pixel, cells=cells, subject=subject, rng=rng)


def render_cell(label: str, *, size: int = 96, seed: int | Sequence[int], subject: Subject | None = None,
                micrometres_per_pixel: float | None = None) -> Field:
    """One cell, `cells[0]`, among red cells in the middle of a square field of `size` px. Errors as render_field."""
    _check_size(size, size)
    scale = min(CELL_SIDE / size, 5.0) if micrometres_per_pixel is None else micrometres_per_pixel
    _check_scale(scale)
    _check_types([label])
    rng = np.random.default_rng(_checked(seed))
    subject = draw_subject(rng) if subject is None else subject
    subtype = draw_subtype(label, rng)
    middle = size * scale / 2 + rng.normal(0, 0.25, 2)
    place = Place(float(middle[0]), float(middle[1]), draw_diameter(label, subtype, rng))
    cells = [(label, subtype, place)]
    for _ in range(rng.poisson(subject.platelets * 0.6 * (size * scale) ** 2 / 1000)):
        x, y = rng.uniform(0, size * scale, 2)
        other = Place(float(x), float(y), draw_diameter("platelet", "", rng))
        if np.hypot(x - place.x, y - place.y) > 0.6 * (place.diameter + other.diameter):
            cells.append(("platelet", "", other))
    return _render(size, size, scale, cells=cells, subject=subject, rng=rng)


def render_cells(labels: Sequence[str], *, size: int = 96, seed: int, subjects: Sequence[Subject] | None = None,
                 micrometres_per_pixel: float | None = None) -> NDArray[np.uint8]:
    """Cells in the middle of squares: uint8 (n, size, size, 3). Cell i depends only on seed, i and its subject.

    subjects: one per cell; None draws each from a pool of about one per ten cells, whatever the label.
    """
    labels = [labels] if isinstance(labels, str) else list(labels)
    _check_size(size, size)
    _checked(seed)
    if subjects is None:
        pool = [draw_subject(np.random.default_rng([seed, 1, k]), name=f"S{k + 1}")
                for k in range(max(1, min(50, len(labels) // 10)))]
        subjects = [pool[np.random.default_rng([seed, 6, i]).integers(len(pool))] for i in range(len(labels))]
    if len(subjects) != len(labels):
        raise LeukoscopeError(f"subjects: expected one for each of {len(labels)} cells, got {len(subjects)}",
                              "give as many subjects as labels, or None")
    pixels = np.empty((len(labels), size, size, 3), np.uint8)
    for i, (label, subject) in enumerate(zip(labels, subjects, strict=True)):
        pixels[i] = render_cell(label, size=size, seed=(seed, 2, i), subject=subject,
                                micrometres_per_pixel=micrometres_per_pixel).pixels
    return pixels


# ------------------------------------------------------------------------------------------------ scene

def _render(width: int, height: int, scale: float, *, cells: Sequence[tuple[str, str, Place]],
            subject: Subject, rng: np.random.Generator) -> Field:
    """Paint amounts and thickness, photograph them, and take the truth from the same shapes."""
    over = min(max(1, ceil(scale / _FINE - 1e-9)), 4)  # painted pixels per pixel of the sensor, along each side
    step = scale / over
    amounts = np.zeros((4, height * over, width * over), np.float32)
    thickness = np.zeros_like(amounts[0])
    defocus = float(np.clip(subject.optics.defocus + rng.normal(0, subject.focus_spread), -15, 15))
    optics = replace(subject.optics, defocus=defocus)

    reds = red_cells_around([place for _, _, place in cells], width * scale, height * scale, subject.red_cells, rng)
    colour = subject.stain.apply(amounts_of(*subject.stain.red_cells))
    add_red_cells(amounts, thickness, reds, step, colour)
    _draw_debris(amounts, step, subject, rng)

    cell_labels, nucleus_labels = labels = np.zeros((2, height, width), np.int32)
    for number, (kind, subtype, place) in enumerate(cells, start=1):
        window = window_around(place.x, place.y, 0.7 * place.diameter + 0.5, step, thickness.shape, over)
        patch = make_patch(window, (place.x, place.y), step)
        painted = paint(kind, subtype, Brush(patch, rng, place.diameter, subject.granulation))
        free = 1 - painted.cell
        amounts[:, *window] *= free
        amounts[:, *window] += subject.stain.apply(painted.amounts)
        thickness[window] = thickness[window] * free + painted.thickness
        _label(labels[:, *(slice(s.start // over, s.stop // over) for s in window)], painted, over, number)
    truth = _truth(cells, cell_labels, nucleus_labels, scale)

    light = _light(amounts, over)
    del amounts
    light = bend(blurred(light, optics.blur, scale), _shrink(thickness, over), optics, scale)
    light *= illumination(width, height, optics)[..., None]
    pixels = photograph(light, subject.camera, rng)
    centres = np.array([(red.x / scale, red.y / scale, red.diameter / scale) for red in reds]).reshape(-1, 3)
    return Field(pixels, truth, cell_labels, nucleus_labels, subject, scale, centres)


def _draw_debris(amounts: Floats, step: float, subject: Subject, rng: np.random.Generator) -> None:
    """Specks of precipitated dye."""
    height, width = amounts.shape[1:]
    count = rng.poisson(subject.debris * height * width * step**2 / 1000)
    points = rng.uniform(0, 1, (count, 2)) * np.array([width, height]) * step
    for x, y in points.tolist():
        radius, strength = rng.uniform(0.1, 0.3), rng.uniform(0.2, 1.2)
        window = window_around(x, y, radius + step, step, amounts.shape[1:])
        speck = dots(make_patch(window, (x, y), step), np.zeros((1, 2)), np.array([radius]))
        amounts[:, *window] += speck * amounts_of(0.3, 1, 0.2) * strength


def _label(labels: NDArray[np.int32], painted: Painted, over: int, number: int) -> None:
    """Mark the pixels at least half in the cell, labels[0], and in its nucleus, labels[1]; a later cell lies on an
    earlier one."""
    share = _shrink(painted.cell, over)
    inside = share >= 0.5
    if not inside.any():
        inside = share == share.max()  # a cell smaller than a pixel still has one
    labels[0][inside] = number
    labels[1][inside] = 0
    labels[1][inside & (_shrink(painted.nucleus, over) >= 0.5)] = number


def _truth(cells: Sequence[tuple[str, str, Place]], labels: NDArray[np.int32], nuclei: NDArray[np.int32],
           scale: float) -> tuple[TrueCell, ...]:
    """LeukoscopeError for a cell that others hide."""
    pixels = np.bincount(labels.ravel(), minlength=len(cells) + 1)
    nucleus = np.bincount(nuclei.ravel(), minlength=len(cells) + 1)
    boxes = ndimage.find_objects(labels, max_label=len(cells))
    truth = []
    for number, ((kind, subtype, place), box) in enumerate(zip(cells, boxes, strict=True), start=1):
        if box is None:
            raise LeukoscopeError(f"types: cell {number}, a {kind}, is hidden under other cells",
                                  "give fewer cells, or a larger field")
        rows, columns = box
        cut = rows.start == 0 or columns.start == 0 or rows.stop == labels.shape[0] or columns.stop == labels.shape[1]
        area = float(pixels[number]) * scale**2
        hidden = not cut and area < 0.97 * np.pi * place.diameter**2 / 4 - 2 * scale**2
        truth.append(TrueCell(kind, subtype, columns.start, rows.start, columns.stop - columns.start,
                              rows.stop - rows.start, place.diameter, area, float(nucleus[number]) * scale**2,
                              not (cut or hidden)))
    return tuple(truth)


def _light(amounts: Floats, over: int) -> Floats:
    """Linear light (h, w, 3) at the sensor's pixels, some rows at a time."""
    height, width = amounts.shape[1] // over, amounts.shape[2] // over
    light = np.empty((height, width, 3), np.float32)
    for start in range(0, height, _ROWS):
        rows = amounts[:, start * over : (start + _ROWS) * over]
        light[start : start + _ROWS] = _shrink(transmitted(rows), over)
    return light


def _shrink(image: Floats, over: int) -> Floats:
    """Average blocks of over x over: a sensor pixel collects all the light that falls on it."""
    if over == 1 or image.size == 0:
        return image
    height, width = image.shape[0] // over, image.shape[1] // over
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)


# ------------------------------------------------------------------------------------------------ checks

def _counts(types: Mapping[str, int] | None, subject: Subject, thousands: float, white_cells: float,
            rng: np.random.Generator) -> dict[str, int]:
    """How many cells of each type, in the order of TYPES; platelets last, so that they lie around the others."""
    if types is None:
        shares = DIFFERENTIALS[subject.state]
        total = rng.poisson(white_cells * thousands)
        drawn = rng.multinomial(total, np.array(list(shares.values())) / sum(shares.values()))
        types = dict(zip(shares, drawn.tolist(), strict=True))
    _check_types(list(types))
    for kind, count in types.items():
        if not isinstance(count, int | np.integer) or count < 0:
            raise LeukoscopeError(f"types: expected a whole number of {kind}s, got {count}", "give 0 or more")
    counts = {kind: int(types[kind]) for kind in TYPES if kind in types and kind != "platelet"}
    counts["platelet"] = int(types.get("platelet", rng.poisson(subject.platelets * thousands)))
    return counts


def _check_types(labels: Sequence[str]) -> None:
    for label in labels:
        if label not in TYPES:
            raise LeukoscopeError(f"unknown cell type '{label}'", f"use one of {', '.join(TYPES)}")


def _check_size(width: int, height: int) -> None:
    if not all(isinstance(side, int | np.integer) and side >= 1 for side in (width, height)):
        raise LeukoscopeError(f"size: expected whole numbers of at least 1 px, got {width} x {height}",
                              "give a larger size")


def _check_scale(scale: float) -> None:
    hint = "an oil objective of 100 x has about 0.1, an objective of 40 x about 0.25"
    check_range("micrometres_per_pixel", scale, 0.02, 5, hint)


def _checked(seed: int | Sequence[int]) -> int | Sequence[int]:
    for part in seed if isinstance(seed, Sequence) else (seed,):
        if not isinstance(part, int | np.integer) or part < 0:
            raise LeukoscopeError(f"seed: expected a whole number of at least 0, got {seed}", "give 0 or more")
    return seed
