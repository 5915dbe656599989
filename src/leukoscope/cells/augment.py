"""Random, reproducible changes of cells: geometry in one resampling, colour in one matrix, then normalisation.

The draws of a cell depend only on (seed, epoch, cell), not on its batch. Knows nothing of files or labels.
Pixel centres have whole coordinates, from (0, 0) to (size - 1, size - 1). The image extends half a pixel beyond them on
each side and is reflected there (dcba|abcd|dcba).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Integer, UInt8

from ..recipes.sections import Augment
from . import augment_kernels as kernels
from .augment_kernels import uniform
from .augment_light import Light, draw_light

Cells = UInt8[np.ndarray, "cells size size 3"]
Inputs = Float32[np.ndarray, "cells 3 size size"]
Triple = Sequence[float] | np.ndarray

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G, B in luma (ITU-R BT.601): the Y of YIQ."""
_YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_DRAWS = ("rotation", "shear", "shift_x", "shift_y", "zoom", "flip_horizontal", "flip_vertical", "brightness",
          "contrast", "saturation", "hue")


@dataclass(frozen=True, eq=False)
class Changes:
    """What is done to each of n cells.

    matrices: from output to input pixel coordinates (x, y, 1). colours: applied to (R, G, B). pivots: multiplied by the
    mean luma of the cell (before geometry) and added to each channel, so that contrast is relative to the cell's mean.
    moves, recolours: whether the geometric and the colour step are needed. light: what comes before both, or None.
    """

    matrices: Float32[np.ndarray, "cells 2 3"]
    colours: Float32[np.ndarray, "cells 3 3"]
    pivots: Float32[np.ndarray, " cells"]
    moves: bool
    recolours: bool
    light: Light | None = None


def sample_changes(
    augment: Augment | None, *, seed: int, epoch: int, cells: Integer[np.ndarray, " cells"], size: int
) -> Changes:
    """Draw the changes of `cells` (any integers that identify them) for images of `size` px. None changes nothing."""
    augment = augment or Augment()
    drawn = draw_changes(augment, seed=seed, epoch=epoch, cells=cells)
    matrices = geometry(size, **{name: drawn[name] for name in _DRAWS[:7]})
    colours, pivots = colour(**{name: drawn[name] for name in _DRAWS[7:]})
    return Changes(matrices, colours, pivots, augment.moves, augment.recolours,
                   draw_light(augment, seed=seed, epoch=epoch, cells=cells))


def draw_changes(augment: Augment, *, seed: int, epoch: int,
                 cells: Integer[np.ndarray, " cells"]) -> dict[str, np.ndarray]:
    """The draws for each cell, by name: angles in degrees, shifts as shares of the side, factors of zoom, brightness,
    contrast and saturation, hue as a share of the circle, and whether it is flipped. For `geometry` and `colour`."""
    draw = dict(zip(_DRAWS, uniform((seed, epoch), cells, len(_DRAWS)), strict=True))
    spread = {name: 2 * value - 1 for name, value in draw.items()}
    return {
        "rotation": augment.rotation * spread["rotation"],
        "shear": augment.shear * spread["shear"],
        "shift_x": augment.shift * spread["shift_x"],
        "shift_y": augment.shift * spread["shift_y"],
        "zoom": 1 + augment.zoom * spread["zoom"],
        "flip_horizontal": augment.flip_horizontal & (draw["flip_horizontal"] < 0.5),
        "flip_vertical": augment.flip_vertical & (draw["flip_vertical"] < 0.5),
        "brightness": 1 + augment.brightness * spread["brightness"],
        "contrast": 1 + augment.contrast * spread["contrast"],
        "saturation": 1 + augment.saturation * spread["saturation"],
        "hue": augment.hue * spread["hue"],
    }


def geometry(
    size: int,
    *,
    rotation: Float64[np.ndarray, " cells"],
    shear: Float64[np.ndarray, " cells"],
    shift_x: Float64[np.ndarray, " cells"],
    shift_y: Float64[np.ndarray, " cells"],
    zoom: Float64[np.ndarray, " cells"],
    flip_horizontal: Bool[np.ndarray, " cells"],
    flip_vertical: Bool[np.ndarray, " cells"],
) -> Float32[np.ndarray, "cells 2 3"]:
    """Matrices from output to input pixels. The image is flipped, zoomed, sheared, rotated about its centre, shifted.

    rotation in degrees counter-clockwise; shear in degrees, along x; shifts as shares of the side, right and down; zoom
    as a factor (2 shows everything twice as large).
    """
    angle, slant = np.deg2rad(rotation), np.tan(np.deg2rad(shear))
    cos, sin = np.cos(angle), np.sin(angle)
    flip_x, flip_y = np.where(flip_horizontal, -1.0, 1.0), np.where(flip_vertical, -1.0, 1.0)
    # The inverse of rotation * shear * zoom * flip, written out; y points down.
    unrotated = np.stack([cos - slant * sin, -sin - slant * cos, sin, cos])
    inverse = (unrotated / zoom).T.reshape(-1, 2, 2) * np.stack([flip_x, flip_y], axis=-1)[:, :, None]
    centre = (size - 1) / 2
    target = centre + size * np.stack([shift_x, shift_y], axis=-1)
    offset = centre - np.einsum("nij,nj->ni", inverse, target)
    return np.concatenate([inverse, offset[:, :, None]], axis=-1).astype(np.float32)


def colour(
    *,
    brightness: Float64[np.ndarray, " cells"],
    contrast: Float64[np.ndarray, " cells"],
    saturation: Float64[np.ndarray, " cells"],
    hue: Float64[np.ndarray, " cells"],
) -> tuple[Float32[np.ndarray, "cells 3 3"], Float32[np.ndarray, " cells"]]:
    """Matrices and pivots (see Changes) of three factors and the hue, a share of the circle, applied in this order.

    Saturation scales the chroma plane of YIQ and hue rotates it; both leave grey and luma unchanged.
    """
    turn = 2 * np.pi * hue
    zero, one = np.zeros_like(turn), np.ones_like(turn)
    chroma = [one, zero, zero, zero, saturation * np.cos(turn), -saturation * np.sin(turn),
              zero, saturation * np.sin(turn), saturation * np.cos(turn)]
    matrices = np.linalg.inv(_YIQ) @ np.stack(chroma, axis=-1).reshape(-1, 3, 3) @ _YIQ
    matrices *= (brightness * contrast)[:, None, None]
    return matrices.astype(np.float32), (brightness * (1 - contrast)).astype(np.float32)


def augment_cpu(pixels: Cells, changes: Changes, mean: Triple, std: Triple) -> Inputs:
    """Apply geometry and colour, clip to [0, 255] and normalise: (value / 255 - mean) / std. One thread; releases the
    GIL.

    Bilinear weights are integers (1/8191ths), so a value may differ from exact arithmetic by 0.1 grey level. ValueError
    where pixels and changes do not fit: the kernels check no bounds.
    """
    pixels = np.ascontiguousarray(pixels)
    scale, offset = _scale(mean, std)
    count, size = pixels.shape[:2]
    if pixels.dtype != np.uint8 or pixels.shape != (count, size, size, 3):
        raise ValueError(f"pixels: expected uint8 (cells, size, size, 3), got {pixels.dtype} {pixels.shape}")
    if not len(changes.matrices) == len(changes.colours) == len(changes.pivots) == count:
        raise ValueError(f"changes of {len(changes.matrices)} cells for {count} cells")
    if not np.abs(changes.matrices).max(initial=0) < 1e6:
        raise ValueError("changes: the matrices contain NaN or exceed a million pixels")
    out = np.empty((count, 3, size, size), np.float32)
    if not count:
        return out
    if not (changes.moves or changes.recolours):
        kernels.normalise(pixels.reshape(count, -1), scale, offset, out.reshape(count, 3, -1))
        return out
    flat, biases = pixels.reshape(count, -1), changes.pivots
    if changes.recolours:
        sums = np.empty((count, 3), np.int64)
        kernels.channel_sums(flat, sums)
        biases = biases * (sums @ LUMA / size**2).astype(np.float32)
    kernels.warp(flat, changes.matrices, changes.colours, biases, scale, offset, out)
    return out


def changed_pixels(pixels: Cells, changes: Changes) -> Cells:
    """The cells after geometry and colour, as pixels rounded to whole grey levels."""
    planes = augment_cpu(pixels, changes, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return np.ascontiguousarray(np.moveaxis(np.rint(planes * 255), 1, -1).astype(np.uint8))


def augment_torch(
    pixels: UInt8[torch.Tensor, "cells size size 3"], changes: Changes, mean: Triple, std: Triple
) -> Float32[torch.Tensor, "cells 3 size size"]:
    """`augment_cpu` for a whole batch at once, on the device of `pixels`; the same numbers within rounding."""
    device, size = pixels.device, pixels.shape[1]

    def on_device(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device, non_blocking=True)

    scale, offset = (on_device(values)[:, None, None] for values in _scale(mean, std))
    images = pixels.permute(0, 3, 1, 2).to(torch.float32)
    if changes.moves:
        # Products are written out here and below, because a GPU may round a matrix product to TF32.
        matrices = on_device(changes.matrices)[:, :, :, None, None]
        along = torch.arange(size, device=device, dtype=torch.float32)
        inputs = matrices[:, :, 0] * along + matrices[:, :, 1] * along[:, None] + matrices[:, :, 2]
        grid = ((2 * inputs + 1) / size - 1).movedim(1, -1)
        images = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if changes.recolours:
        colours = on_device(changes.colours)[:, :, :, None, None]
        means = pixels.sum(dim=(1, 2), dtype=torch.int64).to(torch.float32) / size**2
        luma = (means * on_device(LUMA)).sum(dim=1)
        biases = (on_device(changes.pivots) * luma)[:, None, None, None]
        images = sum(colours[:, :, c] * images[:, c:c + 1] for c in range(3)) + biases
        images = images.clamp(0, 255)
    return images * scale + offset


def _scale(mean: Triple, std: Triple) -> tuple[Float32[np.ndarray, " 3"], Float32[np.ndarray, " 3"]]:
    centre, spread = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    if centre.shape != (3,) or spread.shape != (3,) or not (spread > 0).all():
        raise ValueError(f"mean and std: expected three values each, std above 0, got {mean} and {std}")
    return (1 / (255 * spread)).astype(np.float32), (-centre / spread).astype(np.float32)
