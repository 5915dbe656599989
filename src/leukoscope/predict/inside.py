"""What happens to one cell inside a run's pipeline: each step of its input, and the maps of each unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..images.frame import shaped
from ..runs.network import load_network
from ..runs.run import Run
from ..spikes.banks import gabor_bank
from ..spikes.coding import edge_responses, first_spike, grey_levels


def feature_maps(run: Run, fold: int, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What each unit of a fold's network makes of one cell: unit -> float32 (maps, height, width).

    pixels: uint8 (h, w, 3) of the cell as it is in the manifest; it is cropped and resized as in training.
    """
    preprocess = run.recipe.preprocess
    module, stages = load_network(run, fold)
    cell = shaped(pixels, preprocess)
    image = stages.encode(torch.from_numpy(stages.levels(cell[None])))
    with torch.inference_mode():
        maps = module.unit_maps(image)
    return {unit: values[0].numpy() for unit, values in maps.items()}


@dataclass(frozen=True, eq=False)
class InputSteps:
    """What becomes of one cell before the network sees it, each step of the recipe in turn.

    cell: uint8 (size, size, 3) as packed; grey: uint8 (size, size); responses: float32 (maps, size, size); latency:
    uint8 (maps, size, size) or None without spikes. stages: (title, remark, picture) of the later ones, (size, size).
    """

    cell: np.ndarray
    grey: np.ndarray
    responses: np.ndarray
    latency: np.ndarray | None
    steps: int
    stages: tuple[tuple[str, str, np.ndarray], ...]


def input_steps(run: Run, fold: int, pixels: np.ndarray) -> InputSteps:
    """The steps of a run whose input is edges, for one cell: uint8 (h, w, 3) as it is in the manifest."""
    recipe = run.recipe
    _, stages = load_network(run, fold)
    cell = shaped(pixels, recipe.preprocess)
    grey = grey_levels(cell[None])
    edges, spikes = recipe.edges, recipe.edges.spikes
    bank = gabor_bank(edges.window, edges.wavelength, edges.sigma, edges.gamma, edges.orientations)
    responses = edge_responses(torch.from_numpy(grey).to(torch.float32) / 255, bank)
    latency = first_spike(responses, edges.steps) if spikes else None
    levels = torch.from_numpy(stages.levels(cell[None]))
    size = recipe.preprocess.size

    def after(**without: Any) -> np.ndarray:
        kept = replace(stages, preprocess=stages.preprocess.model_copy(update=without))
        return kept.flat(levels).view(size, size).numpy()

    shown = [("First-spike image" if spikes else "Strongest edges", "early is bright" if spikes else "",
              after(blur=0.0, normalise="none"))]
    if recipe.preprocess.blur:
        shown.append(("Blurred", f"Gaussian, {recipe.preprocess.blur:g} px", after(normalise="none")))
    if stages.pca is not None:
        shown.append(("Rebuilt", f"{len(stages.pca.components)} components", stages.encode(levels)[0, 0].numpy()))
    return InputSteps(cell, grey[0], responses[0].numpy(), None if latency is None else latency[0].numpy(),
                      edges.steps, tuple(shown))
