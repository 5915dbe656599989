"""Give every cell the same light and size, from its own pixels, so that laboratories look alike.

The network of the finder outlines the nucleus and the cell nearest to the middle of the image. The square that is cut
out is centred on them and in proportion to them, whatever the size in pixels and the place in the image. The light of a
place without cells becomes LIT in each channel, and all densities are multiplied by what brings the nucleus near to
one depth: laboratories differ most in how deep they stain. Colours are not changed. What lies beyond the cell's outline
becomes a place without cells: neighbours, borders and how far a photograph reaches tell laboratories apart, and not
types. Knows no labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from numpy.typing import NDArray

from ..images.read import Pixels
from ..images.resample import crop_centre, resize
from ..images.stain import optical_density, white_point
from .network import predict_maps
from .outline import CELL, NUCLEUS, separate, whole

Kind = TypeVar("Kind", bound=np.generic)
SPAN = 1.4
"""Side of the square over the mean (geometric) of the diameters of nucleus and cell: the whole cell with a margin."""
FRAMING = 8
"""Version of the framing: a cached cell or a bundle with another version cannot be used."""
LIT = 240
"""Grey level of a place without cells after framing."""

_FIRST, _SECOND = 112, 168  # px along the longer side: what the network is shown, and again where it finds nothing
_NUCLEUS = 34.0  # px: a nucleus of 8.5 um at the quarter of a micrometre that the network was trained at
_FITS = 0.65, 1.5  # its diameter over that, within which one look is enough
_SIDES = 48, 224  # px: the least and most that is shown to the network
_LOOKS = 3
_PALE, _DEEP, _STRONGEST, _RED = 0.35, 0.45, 4.0, 0.5
"""Some laboratories stain nuclei so weakly that the network does not see them, or sees a part of them. Where nothing is
found, or a nucleus paler than the first (median green density), it looks again with all densities multiplied by what
brings the nucleus, or the deepest of the image, to the second, at most by the third. What is found then is a nucleus if
its red density is at least the fourth of its green one; red cells hardly absorb red light."""
_LEAST_NUCLEUS = 100  # px of the network's view: a smaller one does not part cells that touch
_NEAR = 0.35  # of the shorter side: a nucleus at this distance from the middle has the weight e^-0.5
_BLACK = 8  # grey level: darker pixels (all channels) that reach the border were not recorded
_CUT_OUT = 0.1, 0.5  # share of the image and of its border that is black if the cell was cut out along its outline
_DEPTH = 0.62
"""Green density that nuclei are brought near to, by _PART of the way (as a power), within _GAINS."""
_PART, _GAINS = 0.75, (0.6, 2.6)
_GRID = 96  # px: the square in which the cell's outline is kept
_MARGIN, _SOFT = 9, 1.2  # px of that grid: the outline is widened by half of the first; its edge fades over the second
_DENSE = 4.0  # white over the median green of a cell that was cut out: the usual density of a leukocyte, 0.6
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

    x, y: middle of the square in px; 0 is the centre of the first pixel. side: of the square, px. white: RGB of a place
    without cells, whole numbers. gain: what densities are multiplied by. shown: how much of each
    place of the square is kept, 0 to 1; None for all. found: False where no cell is found; the square is then the whole
    image.
    """

    x: float
    y: float
    side: float
    white: Float64[np.ndarray, " 3"]
    gain: float = 1.0
    shown: Float32[np.ndarray, "grid grid"] | None = None
    found: bool = True


@dataclass(frozen=True, eq=False)
class _Seen:
    """Nucleus and cell in one view of the image: masks, the median green density of the nucleus, how many px of the
    view one px of the image has, and what densities were multiplied by for the network."""

    nucleus: Bool[np.ndarray, "height width"]
    cell: Bool[np.ndarray, "height width"]
    depth: float
    zoom: float = 1.0
    strength: float = 1.0


def framing(steps: Shape) -> int | None:
    """Version of the framing that `steps.frame` asks for; None where a cell is not changed."""
    return FRAMING if steps.frame != "image" else None


def shaped(pixels: Pixels, steps: Shape) -> Pixels:
    """A decoded cell as a square of `steps.size` px: around its centre, unchanged or in the same light, or framed."""
    if steps.frame == "cell":
        return frame_cell(pixels, steps.size)
    if steps.frame == "light":
        white = _white(pixels)
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
    """The frame of the cell nearest to the centre. Where no cell is found, the frame is the whole image."""
    height, width = pixels.shape[:2]
    white, seen = _look(pixels)
    if seen is None:
        return Frame((width - 1) / 2, (height - 1) / 2, float(max(height, width)), white, found=False)
    return _about(seen, white)


def frame_outlined(pixels: UInt8[np.ndarray, "height width 3"], nucleus: Bool[np.ndarray, "height width"],
                   cell: Bool[np.ndarray, "height width"], white: Float64[np.ndarray, " 3"]) -> Frame:
    """The frame of a cell whose outlines are known. white: RGB of a place without cells."""
    return _about(_Seen(nucleus, cell, _depth(optical_density(pixels, white), nucleus)), np.rint(white))


def _about(seen: _Seen, white: Float64[np.ndarray, " 3"]) -> Frame:
    (x, y, nucleus), (x_cell, y_cell, cell) = _disc(seen.nucleus), _disc(seen.cell)
    side = max(SPAN * float(np.sqrt(nucleus * max(cell, nucleus))), _LEAST * seen.zoom)
    x, y = (x + x_cell) / 2, (y + y_cell) / 2
    gain = float(np.clip((_DEPTH / max(seen.depth, 0.01)) ** _PART, *_GAINS))
    return Frame((x + 0.5) / seen.zoom - 0.5, (y + 0.5) / seen.zoom - 0.5, side / seen.zoom, white, gain,
                 _shown(seen.cell, x, y, side))


def _shown(cell: NDArray[np.bool_], x: float, y: float, side: float) -> NDArray[np.float32]:
    """How much of each place of the square about (x, y) is kept: the cell with a margin, whose edge is soft."""
    step = side / _GRID
    first = (0.5 - _GRID / 2) * step
    view = np.array([[step, 0, x + first], [0, step, y + first]])
    mask = cv2.warpAffine(cell.astype(np.float32), view, (_GRID, _GRID), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    wide = cv2.dilate((mask > 0.5).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_MARGIN, _MARGIN)))
    return np.asarray(cv2.GaussianBlur(whole(wide > 0).astype(np.float32), (0, 0), _SOFT), np.float32)


def frame_cell(pixels: UInt8[np.ndarray, "height width 3"], size: int,
               frame: Frame | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """The cell in the common light and size, as a square of `size` px. Beyond the cell and beyond the image, the square
    looks like a place without cells. frame: if it is already known."""
    frame = frame or find_frame(pixels)
    square = relit(resize(_square(pixels, frame, frame.white), size), frame.white, frame.gain)
    if frame.shown is None:
        return square
    shown = cv2.resize(frame.shown, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    return np.rint(LIT + shown * (square.astype(np.float32) - LIT)).astype(np.uint8)


def _white(pixels: Pixels) -> Float64[np.ndarray, " 3"]:
    """RGB of a place without cells. A cell that was cut out has none around it; its usual density then gives the light,
    grey, as nothing is known of its colour."""
    small, _ = _shrunk(pixels, _FIRST)
    nothing = _nothing(small)
    if nothing.mean() < _CUT_OUT[0] or _border(nothing).mean() < _CUT_OUT[1]:
        return np.rint(white_point(small))
    inside = small[cv2.erode((~nothing).astype(np.uint8), np.ones((3, 3))) > 0]
    level = _DENSE * float(np.median(inside[:, 1])) if len(inside) else 255.0
    return np.full(3, np.rint(np.clip(level, 20, 255)))


def outline_photograph(pixels: Pixels) -> tuple[Pixels, Float64[np.ndarray, " 3"], NDArray[np.float32]] | None:
    """A photograph of a cell at the size at which the network knows nuclei, its white point, and the network's maps
    (nucleus, cell, core); None where no cell is found."""
    white, seen = _look(pixels)
    if seen is None:
        return None
    size = int(np.clip(round(max(seen.nucleus.shape) * _NUCLEUS / _disc(seen.nucleus)[2]), *_SIDES))
    small = _filled(_shrunk(pixels, size)[0], white)
    maps = predict_maps(optical_density(small, white) * np.float32(seen.strength))
    np.maximum(maps[CELL], maps[NUCLEUS], out=maps[CELL])
    return small, white, maps


def _look(pixels: Pixels) -> tuple[Float64[np.ndarray, " 3"], _Seen | None]:
    """RGB of a place without cells; nucleus and cell nearest to the middle, None if there is none. The network is shown
    the image at the size at which the nucleus is as wide, and in densities in which it is as deep, as those that it was
    trained on; the looks before tell both.
    """
    white, size, strength, found = _white(pixels), _FIRST, 1.0, None
    for _ in range(_LOOKS):
        small, zoom = _shrunk(pixels, size)
        seen = _central(small, white, zoom, strength)
        if seen is None:
            if found is not None or size == _SECOND:
                break
            density = optical_density(small, white)
            density[_nothing(small)] = 0
            size, strength = _SECOND, _strength(float(np.percentile(density[..., 1], 99)))
            continue
        found, wide = seen, _disc(seen.nucleus)[2] / _NUCLEUS
        wanted = int(np.clip(round(max(small.shape[:2]) / wide), *_SIDES))
        fits = _FITS[0] < wide < _FITS[1] or wanted == size
        pale = seen.depth * strength < _PALE and strength < _STRONGEST
        if fits and not pale:
            break
        size, strength = size if fits else wanted, _strength(seen.depth) if pale else strength
    return white, found


def _strength(depth: float) -> float:
    """What densities are multiplied by so that a nucleus of this depth looks like those that the network knows."""
    return float(np.clip(_DEEP / max(depth, 0.01), 1.0, _STRONGEST))


def _shrunk(pixels: Pixels, size: int) -> tuple[Pixels, float]:
    """The image with a longer side of `size` px, and by what it was scaled."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), sides, interpolation=method), np.uint8), scale


def _central(small: Pixels, white: NDArray[np.float64], zoom: float, strength: float) -> _Seen | None:
    """Nucleus and cell nearest to the middle of a view. strength: what densities are multiplied by for the network."""
    density = optical_density(small, white)
    density[_nothing(small)] = 0
    maps = predict_maps(density * np.float32(strength))
    np.maximum(maps[CELL], maps[NUCLEUS], out=maps[CELL])
    if not (maps[NUCLEUS] > 0.5).any():
        return None
    labels = separate(maps, _LEAST_NUCLEUS)
    y, x = (np.arange(length) - (length - 1) / 2 for length in labels.shape)
    near = np.exp(-(y[:, None]**2 + x**2) / (2 * (_NEAR * min(labels.shape))**2))
    weight = np.bincount(labels.ravel(), weights=(near * maps[NUCLEUS]).ravel())
    weight[0] = 0
    own = labels == int(weight.argmax())
    nucleus = own & (maps[NUCLEUS] > 0.5)
    if not weight.any() or not nucleus.any():
        return None
    if strength > 1 and np.median(density[nucleus][:, 0]) < _RED * _depth(density, nucleus):
        return None
    return _Seen(nucleus, own, _depth(density, nucleus), zoom, strength)


def _depth(density: NDArray[np.float32], nucleus: NDArray[np.bool_]) -> float:
    return float(np.median(density[nucleus][:, 1]))


def _disc(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Centre (x, y) and diameter of a mask, px. In a disc, the mean square distance from the centre is half the squared
    radius. Lobes that spread count as wide."""
    rows, columns = np.nonzero(mask)
    return (float(columns.mean()), float(rows.mean()),
            2 * float(np.sqrt(2 * (rows.var() + columns.var()) + 1 / 6)))


def _square(pixels: Pixels, frame: Frame, beyond: NDArray[np.number]) -> Pixels:
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


def _filled(pixels: Pixels, beyond: NDArray[np.number]) -> Pixels:
    """The pixels of an image, with `beyond` (RGB) where nothing was recorded."""
    nothing = _nothing(pixels)
    if not nothing.any():
        return pixels
    filled = pixels.copy()
    filled[nothing] = beyond
    return filled


def relit(pixels: Pixels, white: Float64[np.ndarray, " 3"], gain: float = 1.0) -> Pixels:
    """Pixels with each channel scaled so that white becomes LIT, and densities multiplied by `gain`."""
    light = (np.arange(256)[:, None] / np.maximum(white, 1.0)) ** gain
    table = np.clip(np.rint(LIT * light), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(pixels), table[None]), np.uint8)


def _nothing(pixels: Pixels) -> NDArray[np.bool_]:
    """Where nothing was recorded: black pixels connected to the border. A nucleus may be black too."""
    black = np.asarray(cv2.inRange(pixels, (0, 0, 0), (_BLACK - 1,) * 3)).astype(bool)
    if not _border(black).any():
        return np.zeros_like(black)
    count, labels = cv2.connectedComponents(black.astype(np.uint8))
    parts, outside = np.asarray(labels, np.int32), np.zeros(count, bool)
    outside[_border(parts)] = True
    outside[0] = False
    return outside[parts]


def _border(values: NDArray[Kind]) -> NDArray[Kind]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
