"""The network of a run: built from its recipe, and its trained weights read and checked. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..cells.input_steps import InputSteps
from ..errors import RecipeError, RunError
from ..finder.frame import framing
from ..networks.registry import build_network, input_sizes
from ..networks.units import Units
from ..optics.microscope import check_microscope, microscope_of, sensor_size, with_microscope
from ..pca.pca import PCA, load_pca
from ..recipes.recipe import Recipe
from .run import Run

COMPONENTS = "pca.safetensors"
"""In the folder of a fold whose recipe has principal components."""


def load_network(run: Run, fold: int) -> tuple[Units, InputSteps]:
    """The trained network of one fold, in evaluation mode on the CPU, and the fitted steps from cells to its input.

    RunError where the fold is not finished, its weights or components do not fit the recipe, or its cells were framed
    by a version that frames them differently.
    """
    facts = run.fold(fold)
    if facts.get("framing") != framing(run.recipe.preprocess):
        raise RunError(f"{run.folder}: fold {fold} was trained on cells that another version framed differently",
                       "train it again with this version")
    path = run.fold_folder(fold) / "weights.safetensors"
    network = trained_network(run.recipe, read_weights(path), where=str(path))
    microscope = microscope_of(network)
    if microscope is not None:
        check_microscope(microscope, str(path))
    mean, std = (np.asarray(facts[name], np.float64) for name in ("mean", "std"))
    return network.eval(), InputSteps(run.recipe.preprocess, run.recipe.edges, mean, std, _components(run, fold))


def _components(run: Run, fold: int) -> PCA | None:
    """The principal components of a fold; RunError where they are missing, damaged or of another size."""
    if not run.recipe.pca.used:
        return None
    path, preprocess = run.fold_folder(fold) / COMPONENTS, run.recipe.preprocess
    try:
        pca = load_pca(path)
    except RunError as error:
        raise RunError(error.what, "train the run again") from error
    expected = preprocess.size**2 * preprocess.channels
    if len(pca.mean) != expected:
        raise RunError(f"{path}: the components have {len(pca.mean)} values, the input of the recipe has {expected}",
                       "they belong to another recipe; train the run again")
    return pca


def fresh_network(recipe: Recipe, *, pretrained: bool = False) -> Units:
    """The network of a recipe with named classes, behind its microscope where it has one. Published weights are
    downloaded only with `pretrained`."""
    network = recipe.network.model_copy(update={"pretrained": pretrained and recipe.network.pretrained})
    classes, size, optics = len(recipe.data.classes), recipe.preprocess.size, recipe.optics
    if not optics.simulate:
        return build_network(network, classes=classes, size=size)
    on_sensor, least = sensor_size(optics, size), input_sizes(network.name).smallest
    if on_sensor < least:
        hints = [f"optics.pool to {size // least} or less"] if size >= least else []
        hints += [f"preprocess.size to {least * optics.pool} or more"] if least * optics.pool <= 1024 else []
        raise RecipeError(
            f"optics.pool = {optics.pool}: the sensor has {on_sensor} of {size} px per side, and {network.name} needs "
            f"{least}", "set " + (", or ".join(hints) or "optics.pool to less, and preprocess.size to more"))
    return with_microscope(build_network(network, classes=classes, channels=1, size=on_sensor), optics)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights from a safetensors file; RunError where it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file", "train the run again") from error
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not readable weights ({error})", "train the run again") from error


def trained_network(recipe: Recipe, weights: Mapping[str, torch.Tensor], *, where: str) -> Units:
    """The network of a recipe with these weights; RunError names the first that is missing, unknown or of another
    shape. Draws no random numbers."""
    with torch.device("meta"):
        network = fresh_network(recipe)
    own = network.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        got = tuple(weights[name].shape) if name in weights else "missing"
        expected = tuple(own[name].shape) if name in own else "nothing"
        if got != expected:
            raise RunError(f"{where}: {name} is {got}, but the network of the recipe expects {expected}",
                           "the weights belong to another recipe; train the run again")
    network.load_state_dict(dict(weights), assign=True)
    return network
