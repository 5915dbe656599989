"""A first look for leukocytes, before the scale is known: where they lie, and how wide their nuclei are.

The network of the finder knows nuclei of about 34 px. So it is shown each window in several sizes, and the size at
which it recognises most nuclei tells how wide they are in the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from ..finder.network import predict_maps
from ..finder.outline import CELL, NUCLEUS
from ..images.stain import optical_density

NUCLEUS_UM = 8.5
"""um: the usual diameter of a nucleus of a leukocyte."""

_SIDES = 192, 384, 768  # px along the longer side of a window: what the network is shown
_FITS = 20.0, 56.0  # px: nuclei that it recognises surely
_SURE = 0.75  # mean probability from which on a piece counts
_BEYOND = 1.15  # a mask is this much wider than the cell: its rim is no red cell


@dataclass(frozen=True, eq=False)
class Spotted:
    """masks: bool (height, width) of each window, where leukocytes lie. diameters: of nuclei, px of the field."""

    masks: list[NDArray[np.bool_]]
    diameters: Float64[np.ndarray, " nuclei"]

    @property
    def scale(self) -> float | None:
        """A guess at um per pixel; None where no nucleus was recognised."""
        return NUCLEUS_UM / float(np.median(self.diameters)) if len(self.diameters) else None


def spot(windows: Sequence[UInt8[np.ndarray, "height width 3"]], white: Float64[np.ndarray, " 3"]) -> Spotted:
    """Look for leukocytes in all windows together."""
    longest = max(max(window.shape[:2]) for window in windows)
    best: tuple[float, Spotted] | None = None
    for side in _SIDES:
        if best is not None and side > 2 * longest:
            break
        looks = [_look(window, white, side / longest) for window in windows]
        score = sum(look[2] for look in looks)
        if best is None or score > best[0]:
            best = score, Spotted([look[0] for look in looks], np.concatenate([look[1] for look in looks]))
    assert best is not None
    return best[1]


def _look(window: NDArray[np.uint8], white: NDArray[np.float64],
          by: float) -> tuple[NDArray[np.bool_], NDArray[np.float64], float]:
    """At one size: where leukocytes lie, diameters of whole nuclei (px of the field), and how many fit, by certainty.
    """
    height, width = window.shape[:2]
    size = max(1, round(width * by)), max(1, round(height * by))
    small = cv2.resize(window, size, interpolation=cv2.INTER_AREA if by < 1 else cv2.INTER_LINEAR).astype(np.uint8)
    maps = predict_maps(optical_density(small, white), wide=True)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((maps[NUCLEUS] > 0.5).astype(np.uint8))
    pieces = np.asarray(pieces, np.int32)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    sure = np.bincount(pieces.ravel(), weights=maps[NUCLEUS].ravel(), minlength=count) / np.maximum(areas, 1)
    across = 2 * np.sqrt(areas / np.pi)
    inside = ((stats[:, cv2.CC_STAT_LEFT] > 0) & (stats[:, cv2.CC_STAT_TOP] > 0)
              & (stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH] < size[0])
              & (stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT] < size[1]))
    fit = inside & (sure > _SURE) & (across > _FITS[0]) & (across < _FITS[1])
    fit[0] = False
    reach = 2 * max(1, round((_BEYOND - 1) * 34 / 2)) + 1
    body = cv2.dilate((np.maximum(maps[CELL], maps[NUCLEUS]) > 0.5).astype(np.uint8), np.ones((reach, reach), np.uint8))
    mask = cv2.resize(body, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    return mask, across[fit] / by, float(sure[fit].sum())
