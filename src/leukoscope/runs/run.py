"""The run folder of an experiment, opened and checked. Trains nothing and draws nothing.

A fold is finished when its `fold.json` exists, a run when `metrics.json` exists; both are written last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from ..errors import RunError, first_line
from ..files import JsonObject, read_json
from ..manifest import read_manifest
from ..recipes.recipe import Recipe, load_recipe
from ..tables import read_parquet
from .elsewhere import Elsewhere

LABORATORIES = "laboratories.json"
"""What each laboratory got from a network of the others, where the split is by laboratory."""
SHORTCUT = "laboratory_shortcut.json"
"""How well the laboratory can be told from the features of such a run."""
RESUME = "finish it with: leukoscope train ... --resume"


@dataclass(frozen=True)
class Run:
    """A run folder. RunError where it is not one; its files are checked when they are read. elsewhere: where its images
    are now, if they were moved."""

    folder: Path
    elsewhere: Elsewhere | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if not (self.folder / "recipe.toml").is_file():
            what = "it has no recipe.toml" if self.folder.is_dir() else "no such folder"
            raise RunError(f"{self.folder}: not a run ({what})", "name a folder that leukoscope train has made")

    @cached_property
    def recipe(self) -> Recipe:
        """The effective recipe, with its classes."""
        return load_recipe(self.folder / "recipe.toml")

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the network's outputs."""
        return self.recipe.data.classes

    @cached_property
    def manifest(self) -> pl.DataFrame:
        """The cells used, with the labels of the experiment."""
        manifest = read_manifest(self._path("manifest.parquet"))
        return manifest if self.elsewhere is None else self.elsewhere.apply(manifest)

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
        """Fingerprints of the cells used, to recognise them among others; None in a run without fingerprints."""
        return self._table("fingerprints.parquet") if (self.folder / "fingerprints.parquet").is_file() else None

    @property
    def metrics(self) -> JsonObject:
        """The content of metrics.json."""
        return read_json(self._path("metrics.json"))

    @property
    def all_folds(self) -> tuple[int, ...]:
        """Numbers of the folds in the splits."""
        return tuple(self.splits["fold"].unique().sort().to_list())

    @property
    def folds(self) -> tuple[int, ...]:
        """Numbers of the folds that are finished."""
        return tuple(fold for fold in self.all_folds if (self.fold_folder(fold) / "fold.json").is_file())

    @property
    def finished(self) -> bool:
        return (self.folder / "metrics.json").is_file()

    def fold_folder(self, fold: int) -> Path:
        return self.folder / "folds" / str(fold)

    def fold(self, fold: int) -> JsonObject:
        """The content of fold.json. RunError where there is no such fold, or it is not finished."""
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
            raise RunError(f"{self.folder}: not a finished run ({name} is missing)", RESUME)
        return path

    def _table(self, name: str) -> pl.DataFrame:
        return _read_table(self._path(name))


def check_finished(run: Run) -> None:
    """RunError unless the run is finished."""
    if not run.finished:
        raise RunError(f"{run.folder}: not finished ({len(run.folds)} of {len(run.all_folds)} folds are done)", RESUME)


def read_fold_tables(run: Run, name: str) -> pl.DataFrame | None:
    """The table `name` (such as predictions.parquet) of all finished folds, joined; None where no fold has it."""
    paths = [run.fold_folder(fold) / name for fold in run.folds]
    frames = [_read_table(path) for path in paths if path.is_file()]
    return pl.concat(frames) if frames else None


def _read_table(path: Path) -> pl.DataFrame:
    try:
        return read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = first_line(error)
        raise RunError(f"{path}: not a readable table ({reason})", "train the run again") from error
