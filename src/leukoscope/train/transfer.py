"""Transfer: which units of a network start from the weights of an earlier run, and which are not trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch

from ..cells.pack import pack_cells
from ..errors import RecipeError, RunError
from ..files import sha256
from ..leaks.duplicates import fingerprint_pixels
from ..leaks.guard import Verdict
from ..leaks.training_overlap import refuse_overlap
from ..networks.units import Units
from ..networks.weights_file import is_weights_file, read_start, weights_path
from ..recipes.recipe import Recipe
from ..runs.network import fresh_network, read_weights
from ..runs.run import Run
from ..runs.training_overlap import START_FOLD, run_overlap


def check_transfer(recipe: Recipe, network: Units) -> None:
    """RecipeError where start, keep or frozen do not fit the networks; `network` may be on the meta device."""
    wanted = recipe.network
    for key, names in (("keep", wanted.keep), ("frozen", wanted.frozen)):
        for name in names:
            if not _units(network, (name,)):
                raise RecipeError(f"network.{key}: {wanted.name} has no unit '{name}'",
                                  f"its units: {', '.join(network.units)}")
    frozen = _units(network, wanted.frozen)
    trained = [name for name in network.units if name not in frozen]
    if not any(p.requires_grad for name in trained for p in network.get_submodule(name).parameters()):
        raise RecipeError(f"network.frozen = {list(wanted.frozen)}: nothing is left to train",
                          "do not freeze 'last', or let the optics learn")
    random = [name for name in frozen if wanted.start and name not in _kept_units(recipe, network)]
    if random:
        raise RecipeError(f"network.frozen: '{random[0]}' is not taken from network.start, so its random weights would "
                          "be frozen", "add it to network.keep, or do not freeze it")
    if wanted.start:
        _kept_weights(recipe, network)


def _units(network: Units, names: Sequence[str]) -> tuple[str, ...]:
    """The units of these names; the name before a dot stands for all units that begin with it, such as `body`."""
    return tuple(unit for unit in network.units if unit in names or unit.partition(".")[0] in names)


def _kept_units(recipe: Recipe, network: Units) -> tuple[str, ...]:
    """The units whose weights come from the earlier run: those of network.keep, else all but the last."""
    return _units(network, recipe.network.keep) or network.units[:-1]


def start_network(recipe: Recipe, network: Units) -> None:
    """Give a fresh network the weights that it starts from, and freeze the units that are not trained."""
    if recipe.network.start:
        own = network.state_dict()
        with torch.no_grad():
            for name, value in _kept_weights(recipe, network).items():
                own[name].copy_(value)
    for name in recipe.network.frozen:
        network.get_submodule(name).requires_grad_(False)


def start_verdict(recipe: Recipe, manifest: pl.DataFrame, splits: pl.DataFrame, prints: pl.DataFrame) -> list[Verdict]:
    """Whether the earlier run was trained on cells (or their subjects) that are tested or select weights here.

    LeakError under "clean", else one verdict; none where the network does not start from a run.
    """
    if not recipe.network.start or is_weights_file(recipe.network.start):
        return []
    start = _start(recipe)
    pixels = {"frame", "crop", "size"}
    if start.recipe.preprocess.model_dump(include=pixels) != recipe.preprocess.model_dump(include=pixels):
        packed = pack_cells(manifest, start.recipe.preprocess.model_copy(update={"smaller": "keep"}))
        prints = fingerprint_pixels(packed.cell_ids, packed.pixels)
    not_trained = splits.filter(pl.col("part") != "train").select("cell_id").unique()
    cells, prints = (table.join(not_trained, on="cell_id", how="semi", maintain_order="left")
                     for table in (manifest, prints))
    verdict = run_overlap(start, cells, prints, (START_FOLD,), recipe.protocol)
    refuse_overlap(verdict)
    return [verdict]


def start_digest(recipe: Recipe) -> str | None:
    """SHA-256 of the weights of network.start; None where training starts from random or published weights."""
    start = recipe.network.start
    if not start:
        return None
    return sha256(weights_path(start) if is_weights_file(start) else
                  _start(recipe).fold_folder(START_FOLD) / "weights.safetensors")


def _start(recipe: Recipe) -> Run:
    try:
        run = Run(Path(recipe.network.start).expanduser())
        run.fold(START_FOLD)
    except RunError as error:
        raise RecipeError(f"network.start = '{recipe.network.start}': {error.what}",
                          "name a run whose first fold is finished: --set network.start=RUN") from error
    return run


def _kept_weights(recipe: Recipe, network: Units) -> dict[str, torch.Tensor]:
    """The earlier run's weights of the kept units, by their names in `network`; RecipeError where they do not fit."""
    if is_weights_file(recipe.network.start):
        units = tuple(f"{unit}." for unit in _kept_units(recipe, network))
        return {name: value for name, value in read_start(
            recipe.network.start, network.state_dict(), recipe.network.names).items() if name.startswith(units)}
    start = _start(recipe)
    earlier = read_weights(start.fold_folder(START_FOLD) / "weights.safetensors")
    own = network.state_dict()
    weights: dict[str, torch.Tensor] = {}
    for unit in _kept_units(recipe, network):
        names, earlier_names = ({name for name in state if name.startswith(f"{unit}.")} for state in (own, earlier))
        if names != earlier_names:
            with torch.device("meta"):
                units = fresh_network(start.recipe).units
            raise RecipeError(f"network.start: unit '{unit}' of {start.folder} ({start.recipe.network.name}) is "
                              f"missing, or unlike that of {recipe.network.name} (its units: {', '.join(units)})",
                              "use the same network.name and network.options, or list fitting units in network.keep")
        for name in (name for name in own if name in names):
            if earlier[name].shape != own[name].shape:
                raise RecipeError(
                    f"network.keep: the shape of {name} is {tuple(earlier[name].shape)} in {start.folder} "
                    f"(preprocess.size = {start.recipe.preprocess.size}), but {tuple(own[name].shape)} in this recipe "
                    f"(preprocess.size = {recipe.preprocess.size})",
                    "use the same preprocess.size and network.options, or list fewer units in network.keep")
            weights[name] = earlier[name]
    return weights
