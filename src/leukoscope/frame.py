"""One cell brought to one light, one stain and one scale, from its own pixels: cells of any laboratory look alike then.

The light of a place without cells becomes LIT in each channel, and the density of the nucleus STAINED. The square about
the nucleus that is kept is SPAN times as wide as the nucleus, however large it is in pixels and wherever in the image
it lies. Knows no labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from .images import Pixels, crop_centre, resize
from .stain import optical_density, otsu, white_point

SPAN = 2.4
"""Side of the square over the diameter of the nucleus: a whole neutrophil or monocyte, and a little around it."""
FRAMING = 2
"""Changes when the framing does, so that no cached cell is framed as before."""
LIT = 240
"""Grey level of a place without cells, afterwards."""
STAINED = 1.17
"""Optical density of the nucleus afterwards, red and green together, in the median: that of PBC's nuclei."""

_WORK = 128  # px along the longer side: enough for the place and the size of a nucleus
_NEAR = 0.35  # of the shorter side: a nucleus this far from the middle counts e^-0.5
_JOIN = 0.05  # of the shorter side: lobes that are nearer to one another are of one nucleus
_BLACK = 8  # grey levels: below it in all channels nothing was recorded, as around cells that were cut out
_CUT_OUT = 0.1  # of the image: so much nothing is no accident
_HAEM = 0.8
"""Nuclei take up azure, which absorbs red; haemoglobin and eosin absorb blue at least as much. So much of the blue
density is taken off the red."""
_STRONGER = (0.4, 4.0)
"""Densities are multiplied by no less and no more."""
_LEAST = 12  # px of the image: a narrower square shows nothing
_MOST = 4096  # px: an image is shrunk until its square is no wider, or a strip would fill the memory


class Shape(Protocol):
    """What says how a cell is shaped: a recipe's section, or the description of a bundle."""

    @property
    def frame(self) -> str: ...
    @property
    def crop(self) -> int: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the cell lies and how it is lit.

    x, y: middle of the nucleus in px; 0 is the middle of the first pixel. side: of the square, px. white: RGB of a
    place without cells. stronger: what densities are multiplied by, so that the nucleus is stained as others are.
    found: False where nothing is stained as a nucleus, and all of the image is framed.
    """

    x: float
    y: float
    side: float
    white: Float64[np.ndarray, " 3"]
    stronger: float = 1.0
    found: bool = True


def shaped(pixels: Pixels, steps: Shape) -> Pixels:
    """A decoded cell as a square of `steps.size` px: about its middle, as it is or in one light, or in its frame."""
    if steps.frame == "cell":
        return frame_cell(pixels, steps.size)
    if steps.frame == "light":
        pixels = relit(pixels, find_frame(pixels).white)
    return resize(crop_centre(pixels, steps.crop), steps.size)


def shown_side(pixels: Pixels, steps: Shape) -> int:
    """Side in px of the square of a decoded cell that `shaped` keeps; 0 for all of it."""
    return round(find_frame(pixels).side) if steps.frame == "cell" else steps.crop


def shown_square(pixels: Pixels, steps: Shape) -> Pixels:
    """The square of a decoded cell that `shaped` keeps, in its own light and pixels; white beyond the image."""
    if steps.frame != "cell":
        return crop_centre(pixels, steps.crop)
    found = find_frame(pixels)
    as_it_is = replace(found, white=np.full(3, float(LIT)), stronger=1.0)
    return frame_cell(pixels, min(max(round(found.side), 1), _MOST), as_it_is)


def find_frame(pixels: UInt8[np.ndarray, "height width 3"]) -> Frame:
    """The frame of the cell nearest to the middle. An image without anything stained is framed as a whole."""
    height, width = pixels.shape[:2]
    shrunk = min(1.0, _WORK / max(height, width))
    size = (max(1, round(width * shrunk)), max(1, round(height * shrunk)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    nothing = (small < _BLACK).all(-1)
    # Where a cell was cut out along its outline, nothing free is left to measure the light by.
    white = white_point(small) if nothing.mean() < _CUT_OUT else np.full(3, 255.0)
    density = optical_density(small, white)
    azure = np.where(nothing, 0, np.maximum(density[..., 0] - _HAEM * density[..., 2], 0))
    nucleus = _nucleus(np.asarray(cv2.GaussianBlur(azure, (0, 0), 1.0), np.float32))
    if nucleus is None:
        return Frame((width - 1) / 2, (height - 1) / 2, float(max(height, width)), white, found=False)
    rows, columns = np.nonzero(nucleus)
    y, x = float(rows.mean()), float(columns.mean())
    # Of a disc, the mean square distance from the middle is half the squared radius. Lobes spread, and count as wide.
    radius = float(np.sqrt(2 * (rows.var() + columns.var()) + 1 / 6))
    side = max(SPAN * 2 * radius / shrunk, _LEAST)
    stain = float(np.median(density[nucleus][:, :2].sum(1)))
    stronger = float(np.clip(STAINED / max(stain, 0.01), *_STRONGER))
    return Frame((x + 0.5) / shrunk - 0.5, (y + 0.5) / shrunk - 0.5, side, white, stronger)


def frame_cell(pixels: UInt8[np.ndarray, "height width 3"], size: int,
               frame: Frame | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """The cell in one light, of one strength of stain, at one scale, as a square of `size` px. Beyond the image, the
    frame is as a place without cells. frame: where it is known already."""
    frame = frame or find_frame(pixels)
    if frame.side > _MOST:
        pixels, frame = _shrunk(pixels, frame, _MOST / frame.side)
    side = max(round(frame.side), 1)
    left, top = round(frame.x - (side - 1) / 2), round(frame.y - (side - 1) / 2)
    square = np.full((side, side, 3), LIT, np.uint8)
    rows, columns = (slice(max(start, 0), min(start + side, length)) for start, length in
                     ((top, pixels.shape[0]), (left, pixels.shape[1])))
    inside = np.s_[rows.start - top:rows.stop - top, columns.start - left:columns.stop - left]
    square[inside] = relit(pixels[rows, columns], frame.white, frame.stronger)
    return resize(square, size)


def _shrunk(pixels: Pixels, frame: Frame, by: float) -> tuple[Pixels, Frame]:
    height, width = pixels.shape[:2]
    small = cv2.resize(np.ascontiguousarray(pixels), (max(round(width * by), 1), max(round(height * by), 1)),
                       interpolation=cv2.INTER_AREA)
    moved = replace(frame, x=(frame.x + 0.5) * by - 0.5, y=(frame.y + 0.5) * by - 0.5, side=frame.side * by)
    return np.asarray(small, np.uint8), moved


def relit(pixels: Pixels, white: Float64[np.ndarray, " 3"], stronger: float = 1.0) -> Pixels:
    """Pixels with each channel scaled so that white becomes LIT, and densities multiplied by `stronger`; where nothing
    was recorded, LIT."""
    table = np.clip(np.rint(LIT * (np.arange(256)[:, None] / np.maximum(white, 1.0)) ** stronger), 0, 255)
    table = table.astype(np.uint8)
    lit = np.asarray(cv2.LUT(np.ascontiguousarray(pixels), table[None]), np.uint8)
    lit[(pixels < _BLACK).all(-1)] = LIT
    return lit


def _nucleus(density: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Where the nucleus nearest to the middle lies; None where nothing stands out."""
    levels = np.clip(np.rint(density * 400), 0, 255).astype(np.uint8)
    dark = levels > max(otsu(np.bincount(levels.ravel(), minlength=256)), 4)
    if not dark.any():
        return None
    shorter = min(density.shape)
    reach = max(1, round(_JOIN * shorter / 2))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    joined = cv2.dilate(dark.astype(np.uint8), disc)
    _, parts = cv2.connectedComponents(joined)
    y, x = (np.arange(length) - (length - 1) / 2 for length in density.shape)
    near = np.exp(-(y[:, None]**2 + x**2) / (2 * (_NEAR * shorter)**2))
    weight = np.bincount(parts.ravel(), weights=(density * near * dark).ravel())
    weight[0] = 0
    if not weight.any():  # a strip, with all that is stained so far away that it counts nothing
        return None
    return dark & (parts == int(weight.argmax()))
