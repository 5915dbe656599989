"""From packed cells to the network's input: the steps that a recipe names, fitted ones included.

First the levels (RGB, grey values or edges), which depend on one cell only and are cached. Then the steps that may be
fitted (blur, normalisation, principal components), batch by batch on the device of the network. Knows nothing of folds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np
import torch
from jaxtyping import Float32, Float64, Integer, UInt8
from torch.nn import functional

from ..errors import LeukoscopeError, RecipeError
from ..pca.pca import PCA, fit_pca
from ..progress import OnProgress
from ..recipes.recipe import Recipe
from ..recipes.sections import Edges, Preprocess
from ..spikes.banks import gabor_bank
from ..spikes.coding import edge_responses, first_spike_levels, grey_levels
from . import augment_kernels as kernels
from .cache import PackedCells, derived_cells

Levels = UInt8[torch.Tensor, "cells size size channels"]

BLOCK = 256
"""Cells that are processed at a time."""
IN_MEMORY = 2**31
"""Bytes of inputs that are held in memory for fitting; more are written to a memory-mapped file."""
_BLUR_REACH = 4
"""Standard deviations at which the Gaussian is cut off."""


@dataclass(frozen=True, eq=False)
class InputSteps:
    """The steps of one fold. mean, std: (3,) of values in [0, 1], for "channel" normalisation."""

    preprocess: Preprocess
    edges: Edges
    mean: np.ndarray
    std: np.ndarray
    pca: PCA | None = None
    _on_device: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, repr=False)

    @property
    def plain(self) -> bool:
        """Whether the input is the colours, normalised by channel or not at all, so that nothing has to be encoded."""
        steps = self.preprocess
        return steps.input == "colour" and not steps.blur and steps.normalise != "image" and self.pca is None

    def levels(self, pixels: UInt8[np.ndarray, "cells size size 3"]) -> UInt8[np.ndarray, "cells size size channels"]:
        """What is cached of each cell: RGB as it is, or one channel of grey values or edges.

        Edges are time steps (0 the earliest, `edges.steps` for pixels that never fire), or 0 to 255 without spikes.
        """
        if self.preprocess.input == "colour":
            return pixels
        grey, edges = grey_levels(pixels), self.edges
        if self.preprocess.input == "grey":
            return grey[..., None]
        bank = gabor_bank(edges.window, edges.wavelength, edges.sigma, edges.gamma, edges.orientations)
        if edges.spikes:
            return first_spike_levels(grey, bank, edges.steps)[..., None]
        strongest = edge_responses(torch.from_numpy(grey).to(torch.float32) / 255, bank).amax(1)
        largest = strongest.amax((1, 2), keepdim=True)
        return (strongest / torch.where(largest > 0, largest, 1) * 255).round().to(torch.uint8).numpy()[..., None]

    def encode(self, levels: Levels) -> Float32[torch.Tensor, "cells 3 size size"]:
        """The network's input, on the device of the levels; a single channel is repeated three times."""
        values = self.flat(levels)
        if self.pca is not None:
            device = str(values.device)
            if device not in self._on_device:
                mean, components = (torch.from_numpy(v).to(device) for v in (self.pca.mean, self.pca.components))
                self._on_device[device] = mean, components
            mean, components = self._on_device[device]
            values = torch.addmm(mean, (values - mean) @ components.T, components)
        cells, size, _, channels = levels.shape
        return values.view(cells, channels, size, size).expand(cells, 3, size, size)

    def flat(self, levels: Levels) -> Float32[torch.Tensor, "cells values"]:
        """The input before principal components, flattened, without repeated channels."""
        images = levels.movedim(-1, 1).to(torch.float32)
        if self.preprocess.input == "edges" and self.edges.spikes:
            images = (self.edges.steps - images) / self.edges.steps
        else:
            images = images / 255
        if self.preprocess.blur:
            images = _blurred(images, self.preprocess.blur)
        channels = images.shape[1]
        if self.preprocess.normalise == "channel":
            mean, std = (torch.as_tensor(v[:channels], dtype=torch.float32, device=images.device)[:, None, None]
                         for v in (self.mean, self.std))
            images = (images - mean) / std
        elif self.preprocess.normalise == "image":
            spread, centre = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
            images = (images - centre) / torch.where(spread > 1e-6, spread, 1)  # a constant image becomes all zeros
        return images.flatten(1)

    def __getstate__(self) -> Mapping[str, object]:
        return self.__dict__ | {"_on_device": {}}


def plain_steps(recipe: Recipe) -> InputSteps:
    """The steps of a recipe before anything is fitted."""
    return InputSteps(recipe.preprocess, recipe.edges, np.zeros(3), np.ones(3))


def level_cells(packed: PackedCells, recipe: Recipe, on_progress: OnProgress | None = None) -> PackedCells:
    """The levels of packed RGB cells, from the cache if they were made before. Colour cells, and cells that are levels
    already, are returned unchanged."""
    if recipe.preprocess.input == "colour" or packed.pixels.shape[3] == 1:
        return packed
    steps, total = plain_steps(recipe), len(packed.pixels)
    grey = recipe.preprocess.input == "grey"
    what = "grey 1" if grey else f"edges 1 {json.dumps(recipe.edges.model_dump(), sort_keys=True)}"

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, total, BLOCK):
            yield steps.levels(np.ascontiguousarray(packed.pixels[start:start + BLOCK]))
            if on_progress:
                on_progress(min(start + BLOCK, total), total)

    levels = derived_cells(packed, what, packed.cell_ids, 1, blocks)
    largest = 255 if grey or not recipe.edges.spikes else recipe.edges.steps
    if levels.pixels.max(initial=0) > largest:
        raise LeukoscopeError(f"{levels.path}: the file is damaged (it has levels above {largest})",
                              "delete it and run the command again")
    return levels


def fit_steps(recipe: Recipe, packed: PackedCells, rows: Integer[np.ndarray, " chosen"],
              on_progress: OnProgress | None = None) -> InputSteps:
    """Fit normalisation and principal components on these rows only, of RGB cells or of their levels. RecipeError
    where the recipe asks for too many components."""
    steps, levels = plain_steps(recipe), level_cells(packed, recipe)
    if recipe.preprocess.normalise == "channel":
        plain = recipe.preprocess.input == "colour" and not recipe.preprocess.blur
        mean, std = channel_statistics(levels.pixels, rows) if plain else _statistics(steps, levels, rows)
        steps = replace(steps, mean=mean, std=np.where(std < 1e-6, 1.0, std))  # a constant channel is not scaled
    if not recipe.pca.used:
        return steps
    check_components(recipe, len(rows))
    with tempfile.TemporaryFile(dir=levels.path.parent) as file:
        try:
            pca = fit_pca(_samples(steps, levels, rows, file), components=recipe.pca.components or None,
                          variance=recipe.pca.variance or None, seed=recipe.seed, on_progress=on_progress)
        except LeukoscopeError as error:
            raise RecipeError(f"pca: the components cannot be fitted: {error.what}",
                              f"{error.hint}; or switch them off (pca.components = 0, pca.variance = 0)") from error
    return replace(steps, pca=pca)


def check_components(recipe: Recipe, cells: int) -> None:
    """RecipeError, with the largest possible number, where that many cells have too few principal components."""
    most = min(cells - 1, recipe.preprocess.size**2 * recipe.preprocess.channels)
    if recipe.pca.components > most:
        raise RecipeError(f"pca.components = {recipe.pca.components}: {cells} cells (of size "
                          f"{recipe.preprocess.size}) have at most {most} components",
                          f"set pca.components to {most} or fewer, or set a share with pca.variance")


def _samples(steps: InputSteps, levels: PackedCells, rows: np.ndarray, file: IO[bytes]) -> np.ndarray:
    """(cells, values) float32 inputs before principal components: in memory, or if many, mapped from `file`."""
    shape = len(rows), int(np.prod(levels.pixels.shape[1:]))
    samples = (np.empty(shape, np.float32) if 4 * shape[0] * shape[1] <= IN_MEMORY else
               np.memmap(file, np.float32, "w+", shape=shape))
    for part, values in _flat_blocks(steps, levels, rows):
        samples[part] = values
    return samples


def _flat_blocks(steps: InputSteps, levels: PackedCells, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(rows), BLOCK):
        part = slice(start, min(start + BLOCK, len(rows)))
        yield part, steps.flat(torch.from_numpy(np.ascontiguousarray(levels.pixels[rows[part]]))).numpy()


def _statistics(steps: InputSteps, levels: PackedCells, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(3,) mean and standard deviation of each channel after blurring; those of a single channel are repeated."""
    channels = levels.pixels.shape[3]
    unscaled = replace(steps, preprocess=steps.preprocess.model_copy(update={"normalise": "none"}))
    sums, squares, count = np.zeros(channels), np.zeros(channels), 0
    for _, values in _flat_blocks(unscaled, levels, rows):
        by_channel = values.reshape(len(values), channels, -1).astype(np.float64)
        sums += by_channel.sum((0, 2))
        squares += (by_channel**2).sum((0, 2))
        count += by_channel.shape[0] * by_channel.shape[2]
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return np.broadcast_to(mean, 3).copy(), np.broadcast_to(std, 3).copy()


def _blurred(images: Float32[torch.Tensor, "cells channels size size"],
             sigma: float) -> Float32[torch.Tensor, "cells channels size size"]:
    """A Gaussian blur in two passes; the border is repeated."""
    reach = min(max(1, round(_BLUR_REACH * sigma)), images.shape[-1])
    x = torch.arange(-reach, reach + 1, dtype=torch.float64)
    line = torch.exp(-(x**2) / (2 * sigma**2))
    line = (line / line.sum()).to(torch.float32).to(images.device)
    flat = images.flatten(0, 1)[:, None]
    padded = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(padded, line[None, None, None, :])
    return functional.conv2d(across, line[None, None, :, None]).view(images.shape)


def channel_statistics(
    pixels: UInt8[np.ndarray, "cells size size 3"], rows: Integer[np.ndarray, " chosen"]
) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """(mean, standard deviation) of each channel over all pixels of `rows`, in [0, 1] units, exact, in blocks.

    The standard deviation of a constant channel is given as 1, so that it can be divided by.
    """
    if not len(rows):
        raise ValueError("rows: expected at least one cell")
    rows, levels = np.sort(rows), np.arange(256) / 255
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(rows), BLOCK):
        block = np.ascontiguousarray(pixels[rows[start:start + BLOCK]])
        kernels.count_levels(block.reshape(-1, 3), counts)
    total = counts[0].sum()
    mean = counts @ levels / total
    std = np.sqrt((counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total)
    return mean, np.where((counts > 0).sum(axis=1) > 1, std, 1.0)
