"""The run folder: what an experiment leaves, opened and checked. Trains nothing and draws nothing.

A fold is done when its `fold.json` is there, a run when `metrics.json` is; both are written last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .errors import RecipeError, RunError
from .files import read_json
from .frame import framing
from .manifest import read_manifest
from .models import Units, build_network, input_sizes
from .optics_layer import check_microscope, microscope_of, sensor_size, with_microscope
from .pca import PCA, load_pca
from .recipe import Recipe, load_recipe
from .stages import Stages

COMPONENTS = "pca.safetensors"
"""In the folder of a fold whose recipe has principal components."""
RESUME = "finish it with: leukoscope train ... --resume"


@dataclass(frozen=True)
class Run:
    """A run folder. Raises RunError where it is none; what is read from it later is checked when it is read."""

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if not (self.folder / "recipe.toml").is_file():
            what = "holds no recipe.toml" if self.folder.is_dir() else "no such folder"
            raise RunError(f"{self.folder}: not a run ({what})", "name a folder that leukoscope train has made")

    @cached_property
    def recipe(self) -> Recipe:
        """The effective recipe, its classes named."""
        return load_recipe(self.folder / "recipe.toml")

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the network's outputs."""
        return self.recipe.data.classes

    @cached_property
    def manifest(self) -> pl.DataFrame:
        """The cells used, under the labels of the experiment."""
        return read_manifest(self._path("manifest.parquet"))

    @cached_property
    def splits(self) -> pl.DataFrame:
        """`cell_id, fold, part`."""
        return self._table("splits.parquet")

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """The test cells of all folds."""
        return self._table("predictions.parquet")

    @cached_property
    def validation(self) -> pl.DataFrame | None:
        """The validation cells of all folds, or None where the run has no validation part."""
        return self._table("validation.parquet") if (self.folder / "validation.parquet").is_file() else None

    @cached_property
    def fingerprints(self) -> pl.DataFrame | None:
        """Fingerprints of the cells used, to tell whether others are among them; None in a run without them."""
        return self._table("fingerprints.parquet") if (self.folder / "fingerprints.parquet").is_file() else None

    @property
    def metrics(self) -> dict[str, Any]:
        """What `evaluate` made of the predictions."""
        return read_json(self._path("metrics.json"))

    @property
    def all_folds(self) -> tuple[int, ...]:
        """Numbers of the folds that the splits name."""
        return tuple(self.splits["fold"].unique().sort().to_list())

    @property
    def folds(self) -> tuple[int, ...]:
        """Numbers of the folds that are done."""
        return tuple(fold for fold in self.all_folds if (self.fold_folder(fold) / "fold.json").is_file())

    @property
    def finished(self) -> bool:
        return (self.folder / "metrics.json").is_file()

    def fold_folder(self, fold: int) -> Path:
        return self.folder / "folds" / str(fold)

    def fold(self, fold: int) -> dict[str, Any]:
        """What fold.json says. RunError where the fold is not there or not done."""
        if fold not in self.all_folds:
            raise RunError(f"{self.folder}: no fold {fold}",
                           f"it has folds {self.all_folds[0]} to {self.all_folds[-1]}")
        if fold not in self.folds:
            raise RunError(f"{self.folder}: fold {fold} is not finished", RESUME)
        return read_json(self.fold_folder(fold) / "fold.json")

    def part(self, fold: int, part: str) -> pl.Series:
        """The cell_ids of one part of one fold."""
        return self.splits.filter((pl.col("fold") == fold) & (pl.col("part") == part))["cell_id"]

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise RunError(f"{self.folder}: no finished run ({name} is not there)", RESUME)
        return path

    def _table(self, name: str) -> pl.DataFrame:
        return _read_table(self._path(name))


def load_network(run: Run, fold: int) -> tuple[Units, Stages]:
    """The trained network of one fold, in evaluation mode on the CPU, and the fitted steps from cells to its input.

    Raises RunError where the fold is not done, its weights or components do not fit the recipe, or its cells were
    framed otherwise than this version frames them.
    """
    facts = run.fold(fold)
    if facts.get("framing") != framing(run.recipe.preprocess):
        raise RunError(f"{run.folder}: another version framed the cells that fold {fold} was trained on, in a way that "
                       "this one does not", "train it anew with this version")
    path = run.fold_folder(fold) / "weights.safetensors"
    network = trained_network(run.recipe, read_weights(path), where=str(path))
    microscope = microscope_of(network)
    if microscope is not None:
        check_microscope(microscope, str(path))
    mean, std = (np.asarray(facts[name], np.float64) for name in ("mean", "std"))
    return network.eval(), Stages(run.recipe.preprocess, run.recipe.edges, mean, std, _components(run, fold))


def _components(run: Run, fold: int) -> PCA | None:
    """The principal components of a fold; RunError where they are missing, damaged or of another size."""
    if not run.recipe.pca.used:
        return None
    path = run.fold_folder(fold) / COMPONENTS
    try:
        pca = load_pca(path)
    except RunError as error:
        raise RunError(error.what, "train the run anew") from error
    channels = 3 if run.recipe.preprocess.input == "colour" else 1
    expected = run.recipe.preprocess.size**2 * channels
    if len(pca.mean) != expected:
        raise RunError(f"{path}: components of {len(pca.mean)} values, the recipe's input has {expected}",
                       "they belong to another recipe; train the run anew")
    return pca


def fresh_network(recipe: Recipe, *, pretrained: bool = False) -> Units:
    """The network of a recipe with named classes, behind its microscope where it has one; published weights are
    fetched only where `pretrained` is true."""
    network = recipe.network.model_copy(update={"pretrained": pretrained and recipe.network.pretrained})
    classes, size, optics = len(recipe.data.classes), recipe.preprocess.size, recipe.optics
    if not optics.simulate:
        return build_network(network, classes=classes, size=size)
    seen, least = sensor_size(optics, size), input_sizes(network.name).smallest
    if seen < least:
        mends = [f"optics.pool to {size // least} or less"] if size >= least else []
        mends += [f"preprocess.size to {least * optics.pool} or more"] if least * optics.pool <= 1024 else []
        raise RecipeError(
            f"optics.pool = {optics.pool}: leaves {seen} of {size} px a side, and {network.name} needs {least}",
            "set " + (", or ".join(mends) or "optics.pool to less, and preprocess.size to more"))
    return with_microscope(build_network(network, classes=classes, channels=1, size=seen), optics)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights from a safetensors file; RunError where it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file", "train the run anew") from error
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not readable weights ({error})", "train the run anew") from error


def trained_network(recipe: Recipe, weights: Mapping[str, torch.Tensor], *, where: str) -> Units:
    """The network of a recipe with these weights; RunError names the first that is missing, foreign or of another
    shape. No weights are drawn first, so no generator moves."""
    with torch.device("meta"):
        network = fresh_network(recipe)
    own = network.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        got = tuple(weights[name].shape) if name in weights else "nothing"
        expected = tuple(own[name].shape) if name in own else "nothing"
        if got != expected:
            raise RunError(f"{where}: {name} is {got}, the recipe's network expects {expected}",
                           "the weights belong to another recipe; train the run anew")
    network.load_state_dict(dict(weights), assign=True)
    return network


def check_finished(run: Run) -> None:
    """Raise RunError unless the run is done."""
    if not run.finished:
        done, whole = len(run.folds), len(run.all_folds)
        raise RunError(f"{run.folder}: not finished ({done} of {whole} folds are done)", RESUME)


def read_fold_tables(run: Run, name: str) -> pl.DataFrame | None:
    """`name` (such as predictions.parquet) of all folds that have it, one below the other; None where none has."""
    paths = [run.fold_folder(fold) / name for fold in run.folds]
    frames = [_read_table(path) for path in paths if path.is_file()]
    return pl.concat(frames) if frames else None


def _read_table(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{path}: not a readable table ({reason})", "train the run anew") from error
