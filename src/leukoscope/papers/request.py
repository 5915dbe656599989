"""How a paper is to be reproduced, and what all papers share: reading cells, checks, training many runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from ..commands.outcome import Outcome
from ..commands.train import run_experiment
from ..datasets import get_dataset
from ..datasets.base import Index
from ..errors import DatasetError, LeukoscopeError, ManifestError, RecipeError
from ..manifest import read_manifest
from ..recipes.recipe import Protocol, Recipe, load_recipe, only_variants, parse_setting
from ..recipes.sections import Data
from ..runs.network import fresh_network
from ..train.epochs import OnEvent
from ..train.folder import check_folder, run_folders
from ..train.prepare import with_classes
from ..train.selection import select_cells
from ..train.time_left import Countdown


@dataclass(frozen=True)
class Job:
    """One experiment of a reproduction: the recipe, the cells, and the folder of its run or runs."""

    recipe: Recipe
    cells: pl.DataFrame
    out: Path


@dataclass(frozen=True)
class Request:
    """data: a folder in the layout of a data set, or a manifest; out: the folder for all runs; settings: as `--set`.

    transfer: a small data set to transfer to; repeats: trainings of each network; None where not requested. only: the
    variants to train; all where empty.
    """

    data: Path
    out: Path
    scale: str
    protocols: Sequence[Protocol]
    settings: Sequence[str] = ()
    transfer: Path | None = None
    repeats: int | None = None
    only: Sequence[str] = ()
    resume: bool = False
    skip_damaged: bool = False
    on_event: OnEvent | None = None

    def refuse_transfer(self, paper: str) -> None:
        """LeukoscopeError where a data set to transfer to is given for a paper without transfer."""
        if self.transfer is not None:
            raise LeukoscopeError(f"--transfer: {paper} has no transfer to another data set", "leave the option out")

    def read_cells(self, data: Path, dataset: str, view: str | None = None) -> tuple[pl.DataFrame, list[str]]:
        """A manifest from its file, or of a folder in the layout of a data set; and remarks on what is missing."""
        if not data.is_dir():
            return read_manifest(data), []
        source = get_dataset(dataset)
        return self.whole_cells(source.index(data, view) if view else source.index(data), data)

    def whole_cells(self, index: Index, data: Path) -> tuple[pl.DataFrame, list[str]]:
        """The manifest of an indexed folder, and remarks on what is missing. DatasetError, naming the first, where it
        has damaged files that may not be left out."""
        if index.damaged and not self.skip_damaged:
            path, reason = index.damaged[0]
            raise DatasetError(f"{path}: {reason} ({len(index.damaged)} damaged in {data})",
                               "repair the files, or leave them out with --skip-damaged")
        remarks = [f"Damaged and left out: {path} ({reason})." for path, reason in index.damaged]
        return index.manifest, remarks + ([f"Missing: {'; '.join(index.missing)}."] if index.missing else [])

    def recipe(self, name: str, protocol: Protocol, before: Sequence[str] = (), after: Sequence[str] = ()) -> Recipe:
        """A built-in recipe with the settings of the request, and others before and after them."""
        recipe = load_recipe(name, protocol=protocol, scale=self.scale, settings=[*before, *self.settings, *after])
        return only_variants(recipe, self.only)

    def repeated(self, name: str, protocol: Protocol, cells: pl.DataFrame, count: int,
                 before: Sequence[str] = ()) -> list[Job]:
        """`count` trainings from different weights, in the folders PROTOCOL/repeat-K."""
        if any(parse_setting(setting)[0] == "training.repeat" for setting in self.settings):
            raise RecipeError("training.repeat: reproduce sets it itself", "use --repeats for the number of trainings")
        return [Job(self.recipe(name, protocol, before, [f"training.repeat={repeat}"]), cells,
                    self.out / protocol / f"repeat-{repeat}") for repeat in range(count)]

    def countdown(self, jobs: Sequence[Job]) -> Countdown:
        """Check all jobs before the first is trained; then what follows the training of all of them."""
        runs: dict[Path, Recipe] = {}
        for job in jobs:
            classes = select_cells(job.cells, job.recipe).classes
            for folder, variant in run_folders(job.recipe, job.out).items():
                with torch.device("meta"):
                    fresh_network(with_classes(variant, classes))
                check_folder(folder, self.resume)
                runs[folder] = variant
        return Countdown(self.out, runs, self.on_event)

    def train(self, job: Job, countdown: Countdown) -> Outcome:
        """Train one job; countdown: of all jobs."""
        return run_experiment(job.recipe, job.cells, job.out, resume=self.resume, skip_damaged=self.skip_damaged,
                              countdown=countdown)


def two_classes(cells: pl.DataFrame, data: Data, paper: str) -> tuple[str, str]:
    """(negative, positive) of a manifest, for a paper with two classes. data: the user's settings. ManifestError where
    there are more classes, or the positive one is not specified."""
    labels = cells["label"].replace(data.merge).drop_nulls().unique().sort().to_list()
    classes = tuple(data.classes) or tuple(labels)
    if len(classes) != 2:
        raise ManifestError(f"{paper} needs two classes; labels of the cells: {', '.join(labels) or 'none'}",
                            "choose two with --set 'data.classes=[\"...\", \"...\"]', or join labels with data.merge")
    positive = data.positive or ("leukemic" if "leukemic" in classes else "")
    if positive not in classes:
        raise ManifestError(f"positive class not specified; the classes are {classes[0]} and {classes[1]}",
                            f"use --set data.positive={classes[1]}")
    return next(name for name in classes if name != positive), positive
