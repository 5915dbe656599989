"""The folder of a run or of an evaluation, read for its page. What is missing is None; what is damaged is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import LeukoscopeError, RunError
from ..files import read_json
from ..manifest import read_manifest
from ..recipes.recipe import Recipe, load_recipe

BUNDLE_RECIPE = "bundle_recipe.toml"
"""In the evaluation of a bundle: how it was trained."""


@dataclass(frozen=True)
class Fold:
    """One fold: what fold.json says, and its history of training, where they are there."""

    fold: int
    facts: Mapping[str, Any]
    history: pl.DataFrame | None


@dataclass(frozen=True)
class Results:
    """What a run folder holds, of what its page shows. For an evaluation on other cells `trained_in` is the run or the
    bundle, and `elsewhere` what evaluation.json says."""

    folder: Path
    metrics: Mapping[str, Any]
    recipe: Recipe | None
    predictions: pl.DataFrame
    manifest: pl.DataFrame | None
    splits: pl.DataFrame | None
    guard: Mapping[str, Any] | None
    left_out: Mapping[str, Any]
    environment: Mapping[str, Any]
    folds: tuple[Fold, ...] = field(default=())
    trained_in: str = ""
    elsewhere: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        return list(self.metrics["classes"])

    @property
    def name(self) -> str:
        if self.recipe is None:
            return self.folder.resolve().name
        return self.recipe.title or self.recipe.name


def read_results(folder: Path) -> Results:
    """Read a finished run, or the evaluation of one; RunError names the file that is missing or damaged."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder", "give the folder of a run")
    if not (folder / "metrics.json").is_file():
        raise RunError(f"{folder}: not a finished run (metrics.json is not there)",
                       "finish it with: leukoscope train ... --resume")
    elsewhere = _json(folder / "evaluation.json") or {}
    trained_in = str(elsewhere.get("bundle") or elsewhere.get("run") or "")
    recipe_file = (folder / BUNDLE_RECIPE if elsewhere.get("bundle") else
                   Path(trained_in) / "recipe.toml" if trained_in else folder / "recipe.toml")
    splits = folder / "splits.parquet"
    manifest = folder / "manifest.parquet"
    try:
        return Results(
            folder=folder, metrics=_metrics(folder / "metrics.json"),
            recipe=load_recipe(recipe_file) if recipe_file.is_file() else None,
            predictions=_parquet(folder / "predictions.parquet"),
            manifest=read_manifest(manifest) if manifest.is_file() else None,
            splits=_parquet(splits) if splits.is_file() else None,
            guard=_json(folder / "guard.json"), left_out=_json(folder / "left_out.json") or {},
            environment=_json(folder / "environment.json") or {}, folds=read_folds(folder), trained_in=trained_in,
            elsewhere=elsewhere)
    except RunError:
        raise
    except LeukoscopeError as error:
        raise RunError(error.what, error.hint) from error


def read_folds(folder: Path) -> tuple[Fold, ...]:
    """The finished folds below a run folder, in order."""
    found = []
    for file in (folder / "folds").glob("*/fold.json"):
        facts = _json(file) or {}
        name = file.parent.name
        history = file.parent / "history.csv"
        number = facts.get("fold", int(name) if name.isdigit() else -1)
        found.append(Fold(number, facts, _history(history) if history.is_file() else None))
    return tuple(sorted(found, key=lambda fold: fold.fold))


def _history(file: Path) -> pl.DataFrame | None:
    try:
        history = pl.read_csv(file, infer_schema_length=None, null_values=["", "nan", "NaN"])
    except pl.exceptions.NoDataError:
        return None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"{file}: not a readable table ({_first_line(error)})", "train this fold anew") from error
    if "epoch" not in history.columns:
        raise RunError(f"{file}: no column 'epoch' (it has {', '.join(history.columns)})", "train this fold anew")
    return history if history.height else None


def _metrics(file: Path) -> Mapping[str, Any]:
    metrics = read_json(file)
    missing = [key for key in ("classes", "confusion", "overall", "per_class") if key not in metrics] \
        if isinstance(metrics, dict) else ["classes"]
    if missing:
        raise RunError(f"{file}: no '{missing[0]}' in it", "evaluate the run anew")
    return metrics


def _parquet(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except FileNotFoundError as error:
        raise RunError(f"{file}: no such file", "finish the run with: leukoscope train ... --resume") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"{file}: not a readable table ({_first_line(error)})", "run the training anew") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _json(file: Path) -> Any:
    return read_json(file) if file.is_file() else None
