"""What happens to one cell inside a run's pipeline: each step of its input, and the maps of each unit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from ..finder.frame import shaped
from ..images.read import Pixels
from ..runs.network import load_network
from ..runs.run import Run
from ..spikes.banks import gabor_bank
from ..spikes.coding import edge_responses, first_spike, grey_levels


def feature_maps(run: Run, fold: int, pixels: Pixels) -> dict[str, Float32[np.ndarray, "maps height width"]]:
    """The maps of each unit of a fold's network for one cell: unit -> maps.

    pixels: of the cell as it is in the manifest; it is cropped and resized as in training.
    """
    module, steps = load_network(run, fold)
    cell = shaped(pixels, run.recipe.preprocess)
    with torch.inference_mode():
        maps = module.unit_maps(steps.encode(torch.from_numpy(steps.levels(cell[None]))))
    return {unit: values[0].numpy() for unit, values in maps.items()}


@dataclass(frozen=True, eq=False)
class StepPictures:
    """One cell after each step of the recipe, before the network. cell: as packed. latency: None without spikes.
    stages: (title, remark, picture) of the later steps, (size, size)."""

    cell: UInt8[np.ndarray, "size size 3"]
    grey: UInt8[np.ndarray, "size size"]
    responses: Float32[np.ndarray, "maps size size"]
    latency: UInt8[np.ndarray, "maps size size"] | None
    steps: int
    stages: tuple[tuple[str, str, np.ndarray], ...]


def input_steps(run: Run, fold: int, pixels: Pixels) -> StepPictures:
    """The steps of a run whose input is edges, for one cell as it is in the manifest."""
    preprocess, edges = run.recipe.preprocess, run.recipe.edges
    _, steps = load_network(run, fold)
    cell = shaped(pixels, preprocess)
    grey = grey_levels(cell[None])
    bank = gabor_bank(edges.window, edges.wavelength, edges.sigma, edges.gamma, edges.orientations)
    responses = edge_responses(torch.from_numpy(grey).to(torch.float32) / 255, bank)
    latency = first_spike(responses, edges.steps)[0].numpy() if edges.spikes else None
    levels = torch.from_numpy(steps.levels(cell[None]))

    def after(**without: object) -> np.ndarray:
        some = replace(steps, preprocess=steps.preprocess.model_copy(update=without))
        return some.flat(levels).view(preprocess.size, preprocess.size).numpy()

    shown = [("First-spike image" if edges.spikes else "Strongest edges", "early is bright" if edges.spikes else "",
              after(blur=0.0, normalise="none"))]
    if preprocess.blur:
        shown.append(("Blurred", f"Gaussian, {preprocess.blur:g} px", after(normalise="none")))
    if steps.pca is not None:
        shown.append(("Rebuilt", f"{len(steps.pca.components)} components", steps.encode(levels)[0, 0].numpy()))
    return StepPictures(cell, grey[0], responses[0].numpy(), latency, edges.steps, tuple(shown))
