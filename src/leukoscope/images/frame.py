"""Give every cell the same light, nuclear stain and scale, from its own pixels, so that laboratories look alike.

The light of a place without cells becomes LIT in each channel. The stain of the nucleus becomes AZURE in strength and
colour, and eosin is not changed: laboratories differ more in how they stain nuclei than in how they stain the rest. The
square that is cut out is SPAN times as wide as the nucleus and centred on it, whatever its size in pixels and its place
in the image. Knows no labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from .read import Pixels, crop_centre, resize
from .stain import AZURE, EOSIN, dye_basis, optical_density, otsu, white_point

SPAN = 2.4
"""Side of the square over the diameter of the nucleus: a whole neutrophil or monocyte with a small margin."""
FRAMING = 3
"""Version of the framing: a cached cell or a bundle with another version cannot be used."""
LIT = 240
"""Grey level of a place without cells after framing."""

_WORK = 128  # px along the longer side: enough for the position and size of a nucleus
_NEAR = 0.35  # of the shorter side: a nucleus at this distance from the middle has the weight e^-0.5
_JOIN = 0.05  # of the shorter side: lobes closer than this belong to one nucleus
_BLACK = 8  # grey level: darker pixels (all channels) that reach the border were not recorded
_CUT_OUT = 0.1, 0.5  # share of the image and of its border that is black if the cell was cut out along its outline
_HAEM = 0.8
"""Nuclei are stained by azure, which absorbs red; haemoglobin and eosin absorb blue at least as much. This share of the
blue density is subtracted from the red density."""
_MOST_CHANGE = 5.0
"""Largest norm of the change of the unit matrix: a trace of azure must not become a nucleus."""
_LEAST = 12  # px of the image: a smaller square shows nothing
_MOST = 4096  # px: an image with a larger square is shrunk first, as a strip would fill the memory


class Shape(Protocol):
    """How a cell is shaped: a section of a recipe, or the description of a bundle."""

    @property
    def frame(self) -> str: ...
    @property
    def crop(self) -> int: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Frame:
    """Position and light of a cell.

    x, y: centre of the nucleus in px; 0 is the centre of the first pixel. side: of the square, px. white: RGB of a
    place without cells, whole numbers. stain: matrix from densities (R, G, B) to densities after framing. found: False
    where nothing is stained like a nucleus; the frame is then the whole image.
    """

    x: float
    y: float
    side: float
    white: Float64[np.ndarray, " 3"]
    stain: Float64[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    found: bool = True


def framing(steps: Shape) -> int | None:
    """Version of the framing that `steps.frame` asks for; None where a cell is not changed."""
    return FRAMING if steps.frame != "image" else None


def shaped(pixels: Pixels, steps: Shape) -> Pixels:
    """A decoded cell as a square of `steps.size` px: around its centre, unchanged or in the same light, or framed."""
    if steps.frame == "cell":
        return frame_cell(pixels, steps.size)
    if steps.frame == "light":
        white = find_frame(pixels).white
        pixels = relit(_filled(pixels, white), white)
    return resize(crop_centre(pixels, steps.crop), steps.size)


def shown_side(pixels: Pixels, steps: Shape) -> int:
    """Side in px of the square that `shaped` cuts out of a decoded cell; 0 for all of it."""
    return round(find_frame(pixels).side) if steps.frame == "cell" else steps.crop


def shown_square(pixels: Pixels, steps: Shape) -> Pixels:
    """The square that `shaped` cuts out of a decoded cell, with its own light and pixels; white beyond the image."""
    if steps.frame != "cell":
        return crop_centre(pixels, steps.crop)
    return _square(pixels, find_frame(pixels), np.full(3, LIT))


def find_frame(pixels: UInt8[np.ndarray, "height width 3"]) -> Frame:
    """The frame of the cell nearest to the centre. Where nothing is stained, the frame is the whole image."""
    height, width = pixels.shape[:2]
    shrunk = min(1.0, _WORK / max(height, width))
    size = (max(1, round(width * shrunk)), max(1, round(height * shrunk)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    nothing = _nothing(small)
    # A cell that was cut out has no free place around it to measure the light.
    cut_out = nothing.mean() >= _CUT_OUT[0] and _border(nothing).mean() >= _CUT_OUT[1]
    white = np.full(3, 255.0) if cut_out else np.rint(white_point(small))
    density = optical_density(small, white)
    azure = np.where(nothing, 0, np.maximum(density[..., 0] - _HAEM * density[..., 2], 0))
    nucleus = _nucleus(np.asarray(cv2.GaussianBlur(azure, (0, 0), 1.0), np.float32))
    if nucleus is None:
        return Frame((width - 1) / 2, (height - 1) / 2, float(max(height, width)), white, found=False)
    rows, columns = np.nonzero(nucleus)
    y, x = float(rows.mean()), float(columns.mean())
    # In a disc, the mean square distance from the centre is half the squared radius. Lobes that spread count as wide.
    radius = float(np.sqrt(2 * (rows.var() + columns.var()) + 1 / 6))
    side = max(SPAN * 2 * radius / shrunk, _LEAST)
    return Frame((x + 0.5) / shrunk - 0.5, (y + 0.5) / shrunk - 0.5, side, white,
                 _to_azure(np.median(density[nucleus], axis=0).astype(np.float64)))


def frame_cell(pixels: UInt8[np.ndarray, "height width 3"], size: int,
               frame: Frame | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """The cell in the common light, nuclear stain and scale, as a square of `size` px. Beyond the image, the square
    looks like a place without cells. frame: if it is already known."""
    frame = frame or find_frame(pixels)
    return relit(resize(_square(pixels, frame, frame.white), size), frame.white, frame.stain)


def _to_azure(nucleus: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "3 3"]:
    """The matrix that changes the density of this nucleus to AZURE, and neither that of eosin nor the rest."""
    if np.linalg.norm(np.cross(nucleus, EOSIN)) < 1e-3:
        return np.eye(3)
    change = np.outer(AZURE - nucleus, np.linalg.inv(dye_basis(nucleus, EOSIN))[0])
    return np.eye(3) + change * min(1.0, _MOST_CHANGE / max(float(np.linalg.norm(change)), 1e-9))


def _square(pixels: Pixels, frame: Frame, beyond: NDArray[Any]) -> Pixels:
    """The part of the image in the frame, unchanged; `beyond` (RGB) where nothing was recorded. At most _MOST wide."""
    if frame.side > _MOST:
        by = _MOST / frame.side
        height, width = pixels.shape[:2]
        pixels = np.asarray(cv2.resize(
            np.ascontiguousarray(pixels), (max(round(width * by), 1), max(round(height * by), 1)),
            interpolation=cv2.INTER_AREA), np.uint8)
        frame = replace(frame, x=(frame.x + 0.5) * by - 0.5, y=(frame.y + 0.5) * by - 0.5, side=frame.side * by)
    pixels = _filled(pixels, beyond)
    side = max(round(frame.side), 1)
    left, top = round(frame.x - (side - 1) / 2), round(frame.y - (side - 1) / 2)
    square = np.full((side, side, 3), beyond, np.uint8)
    rows, columns = (slice(max(start, 0), min(start + side, length)) for start, length in
                     ((top, pixels.shape[0]), (left, pixels.shape[1])))
    inside = np.s_[rows.start - top:rows.stop - top, columns.start - left:columns.stop - left]
    square[inside] = pixels[rows, columns]
    return square


def _filled(pixels: Pixels, beyond: NDArray[Any]) -> Pixels:
    """The pixels of an image, with `beyond` (RGB) where nothing was recorded."""
    nothing = _nothing(pixels)
    if not nothing.any():
        return pixels
    filled = pixels.copy()
    filled[nothing] = beyond
    return filled


def relit(pixels: Pixels, white: Float64[np.ndarray, " 3"], stain: Float64[np.ndarray, "3 3"] | None = None) -> Pixels:
    """Pixels with each channel scaled so that white becomes LIT, and densities (R, G, B) multiplied by `stain`."""
    levels = np.maximum(np.arange(256), 1)[:, None]
    if stain is None:
        table = np.clip(np.rint(LIT * levels / np.maximum(white, 1.0)), 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(np.ascontiguousarray(pixels), table[None]), np.uint8)
    table = np.log(levels / np.maximum(white, 1.0)).astype(np.float32)
    light = cv2.exp(cv2.transform(cv2.LUT(np.ascontiguousarray(pixels), table[None]), stain))
    return np.clip(np.rint(LIT * np.asarray(light)), 0, 255).astype(np.uint8)


def _nothing(pixels: Pixels) -> NDArray[np.bool_]:
    """Where nothing was recorded: black pixels connected to the border. A nucleus may be black too."""
    black = np.asarray(cv2.inRange(pixels, (0, 0, 0), (_BLACK - 1,) * 3)).astype(bool)
    if not _border(black).any():
        return np.zeros_like(black)
    count, parts = cv2.connectedComponents(black.astype(np.uint8))
    outside = np.zeros(count, bool)
    outside[_border(parts)] = True
    outside[0] = False
    return outside[np.asarray(parts, np.int32)]


def _border(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _nucleus(density: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """The pixels of the nucleus nearest to the centre; None if there is none."""
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
    if not weight.any():  # a strip with everything stained so far away that its weight is 0
        return None
    return dark & (parts == int(weight.argmax()))
