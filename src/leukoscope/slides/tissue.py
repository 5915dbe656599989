"""Where the smear lies on a slide, by a small picture of it, and what its red cells say of the scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ..errors import ImageError
from ..images.stain import optical_density, white_point
from ..smear.even import even_field
from ..smear.survey import Survey, survey
from .slide import Slide, SlideField

OVERVIEW = 1024
"""px: longer side of the picture in which the smear is searched for."""
LEAST = 0.012
"""Green density, averaged over a neighbourhood, from which on something lies on the glass."""
WINDOWS = 8
"""Places of the smear that are looked at closely for the scale."""
_WINDOW = 1024  # px
_BLACK, _WHITE = 4, 252
_AROUND = 128  # px of the slide: a neighbourhood with some cells


@dataclass(frozen=True, eq=False)
class Tissue:
    """A small picture of a slide: by px of the slide for one of its own along a side. density: of green, averaged over
    a neighbourhood. mask: where the smear lies."""

    picture: UInt8[np.ndarray, "rows columns 3"]
    by: float
    density: Float32[np.ndarray, "rows columns"]
    mask: Bool[np.ndarray, "rows columns"]

    def covers(self, window: tuple[int, int, int, int]) -> float:
        """The share of a window (px of the slide) in which the smear lies."""
        left, top, width, height = (value / self.by for value in window)
        part = self.mask[int(top):max(int(top + height), int(top) + 1), int(left):max(int(left + width), int(left) + 1)]
        return float(part.mean()) if part.size else 0.0


def find_tissue(slide: Slide) -> Tissue:
    """Where the smear lies. What is black was not recorded, and is not part of it."""
    picture = slide.overview(OVERVIEW)
    recorded = (picture.max(axis=2) > _BLACK) & (picture.min(axis=2) < 255)
    seen = picture[recorded] if recorded.any() else picture.reshape(-1, 3)
    density = np.maximum(optical_density(picture, white_point(seen[None]))[..., 1], 0) * recorded
    by = slide.width / picture.shape[1]
    side = 2 * round(max(_AROUND / by, 4) / 2) + 1
    smooth = np.asarray(cv2.blur(density.astype(np.float32), (side, side)), np.float32)
    return Tissue(picture, by, smooth, (smooth > LEAST) & recorded)


def look_closely(slide: Slide, tissue: Tissue) -> list[Survey]:
    """A first look at some places of the smear, from thin to thick, at the finest level. Raises ImageError where none
    can be read."""
    looks, damage = [], None
    for left, top, width, height in _places(slide, tissue):
        field = SlideField(slide, left, top, width, height)
        try:
            looks.append(survey(even_field(field) or field))
        except ImageError as error:  # of a damaged tile: other places may be whole
            damage = error
    if damage is not None and not looks:
        raise damage
    return looks


def _places(slide: Slide, tissue: Tissue) -> Sequence[tuple[int, int, int, int]]:
    """Windows in the smear, evenly spread over its densities but for the thickest third."""
    width, height = min(_WINDOW, slide.width), min(_WINDOW, slide.height)
    windows = [(left, top, width, height) for top in range(0, slide.height - height + 1, _WINDOW // 2)
               for left in range(0, slide.width - width + 1, _WINDOW // 2)]
    covered = [window for window in windows if tissue.covers(window) > 0.5] or [
        window for window in windows if tissue.covers(window) > 0.1]

    def thickness(window: tuple[int, int, int, int]) -> float:
        x, y = (int((window[i] + window[i + 2] / 2) / tissue.by) for i in (0, 1))
        return float(tissue.density[min(y, tissue.density.shape[0] - 1), min(x, tissue.density.shape[1] - 1)])

    ranked = sorted(covered, key=lambda window: (thickness(window), window))
    thin = ranked[:max(2 * len(ranked) // 3, min(len(ranked), WINDOWS))]
    chosen = sorted({round(place) for place in np.linspace(0, len(thin) - 1, min(WINDOWS, len(thin)))})
    return [thin[place] for place in chosen]
