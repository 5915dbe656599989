"""Run folders to kinds of networks that may be compared: opened, matched cell by cell, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import polars as pl

from ..errors import LeukoscopeError, RunError, first_line
from ..files import read_json
from ..runs.run import Run, check_finished
from ..tables import read_parquet
from .compare import Kind
from .results import Metrics
from .table import read_cells

SAME = ("label", "subject", "group")
"""What must be the same of a cell in all runs."""


@dataclass(frozen=True)
class Opened:
    """A finished run, or the evaluation of one on other cells (`elsewhere`): its folder, the run that was trained, its
    predictions and metrics."""

    folder: Path
    run: Run
    predictions: pl.DataFrame
    metrics: Metrics
    elsewhere: bool

    @property
    def training(self) -> tuple[int, int]:
        """The seed and the number of the training."""
        return self.run.recipe.seed, self.run.recipe.training.repeat

    @property
    def kind(self) -> str:
        """The same for all trainings of one kind."""
        recipe = self.run.recipe.model_dump(exclude={"name", "title", "description", "source", "seed"})
        recipe["training"].pop("repeat")
        return f"{self.elsewhere} {recipe!r}"


@dataclass(frozen=True)
class Matched:
    """Kinds with the runs behind each (one a training), and remarks for the reader."""

    kinds: tuple[Kind, ...]
    runs: tuple[tuple[Opened, ...], ...]
    positive: str
    remarks: tuple[str, ...]


def read_kinds(folders: Sequence[Path]) -> Matched:
    """Open runs (or evaluations of runs) and make sure that they classified the same cells. Runs whose recipes differ
    in `training.repeat` or `seed` alone are trainings of one kind.

    Raises RunError: fewer than two kinds, a run that is not finished, or runs that do not match, and where.
    """
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise RunError("a run is listed twice", "list each run once")
    opened = [open_run(Path(folder)) for folder in folders]
    for other in opened[1:]:
        check_match(opened[0], other)
    two_recipes = "give runs of at least two recipes"
    for first, second in combinations(opened, 2):
        if (first.kind, first.training) == (second.kind, second.training):
            alone = len({run.kind for run in opened}) == 1
            raise RunError(f"{first.folder} and {second.folder} are the same training: recipe, seed and "
                           "training.repeat are equal",
                           two_recipes if alone else "leave one out, or train with another training.repeat")
    runs = tuple(tuple(run for run in opened if run.kind == kind) for kind in dict.fromkeys(run.kind for run in opened))
    if len(runs) < 2:
        what = "one run" if len(opened) == 1 else f"{len(opened)} trainings of one recipe"
        raise RunError(f"{what}: nothing to compare with", two_recipes)
    classes, positive = opened[0].run.classes, opened[0].run.recipe.data.positive
    kinds = tuple(Kind(name, tuple(read_cells(run.predictions, classes, str(run.folder)) for run in own),
                       tuple(run.metrics for run in own), tuple(run.training for run in own))
                  for name, own in zip(_names([own[0] for own in runs]), runs, strict=True))
    return Matched(kinds, runs, positive if len(classes) == 2 else "", tuple(_remarks(opened)))


def open_run(folder: Path) -> Opened:
    """A finished run, or the evaluation of one; RunError where it is neither."""
    elsewhere = (folder / "evaluation.json").is_file()
    run = _trained(folder) if elsewhere else Run(folder)
    if not elsewhere:
        check_finished(run)
    hint = f"{'evaluate' if elsewhere else 'train'} the run again"
    try:
        predictions, content = read_parquet(folder / "predictions.parquet"), read_json(folder / "metrics.json")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{folder}: predictions.parquet cannot be read ({first_line(error)})", hint) from error
    for name in ("cell_id", *SAME):
        if name not in predictions.columns:
            raise RunError(f"{folder}: predictions.parquet has no column '{name}'", hint)
    try:
        metrics = Metrics.from_dict(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder}: metrics.json does not hold the metrics of an evaluation", hint) from error
    return Opened(folder, run, predictions, metrics, elsewhere)


def _trained(folder: Path) -> Run:
    """The run that an evaluation is of: where it was, or a folder of its name beside the evaluation."""
    facts = read_json(folder / "evaluation.json")
    facts = facts if isinstance(facts, dict) else {}
    if facts.get("bundle"):
        raise RunError(f"{folder}: the evaluation of a bundle", "compare runs, or evaluations of runs")
    where = Path(str(facts.get("run", "")))
    beside = folder.resolve().parent / where.name
    try:
        return Run(where if (where / "recipe.toml").is_file() else beside)
    except RunError as error:
        raise RunError(f"{folder}: the evaluation of {where}, which no longer exists",
                       f"put the run back there, or copy it to {beside}") from error


def check_match(first: Opened, other: Opened) -> None:
    """RunError where two runs have other classes or classified other cells."""
    if set(first.run.classes) != set(other.run.classes):
        raise RunError(f"{first.folder} has the classes {', '.join(first.run.classes)}, {other.folder} has "
                       f"{', '.join(other.run.classes)}", "compare runs with the same classes")
    positive = [opened.run.recipe.data.positive for opened in (first, other)]
    if positive[0] != positive[1]:
        raise RunError(f"data.positive is '{positive[0]}' in {first.folder} and '{positive[1]}' in {other.folder}",
                       "compare runs with the same data.positive")
    hint = "train or evaluate both on the same cells: the same data, seed, [split] and protocol"
    tables = [(opened.folder, _comparable(opened.predictions)) for opened in (first, other)]
    for folder, table in tables:
        if table["cell_id"].is_duplicated().any():
            raise RunError(f"{folder}: a cell has more than one prediction", "compare runs that test each cell once")
    for (here, ours), (there, theirs) in (tables, tables[::-1]):
        alone = ours.join(theirs, on="cell_id", how="anti")
        if alone.height:
            raise RunError(f"different cells: {alone.height} of {ours.height} cells of {here} are not in {there}, such "
                           f"as '{alone['cell_id'][0]}'", hint)
    both = tables[0][1].join(tables[1][1], on="cell_id", suffix="_other").sort("cell_id")
    for name in SAME:
        for row in both.filter(~pl.col(name).eq_missing(pl.col(f"{name}_other"))).head(1).iter_rows(named=True):
            raise RunError(f"cell '{row['cell_id']}' has {name} {row[name]!r} in {first.folder} and "
                           f"{row[f'{name}_other']!r} in {other.folder}", hint)


def _comparable(predictions: pl.DataFrame) -> pl.DataFrame:
    """`cell_id` and SAME. A cell that is alone in a group named after it, as cells are that augmented copies were made
    of, counts as one without a group."""
    alone = (pl.col("group") == pl.col("cell_id")) & (pl.len().over("group") == 1)
    return predictions.select("cell_id", *SAME).with_columns(group=pl.when(alone).then(None).otherwise("group"))


def _names(opened: Sequence[Opened]) -> list[str]:
    """Kinds by their networks where these differ, else by their recipes, else by their folders."""
    for names in ([run.run.recipe.network.name for run in opened], [run.run.recipe.name for run in opened],
                  [run.folder.resolve().name for run in opened]):
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in opened]


def _remarks(opened: Sequence[Opened]) -> list[str]:
    """What else than the networks differs."""
    remarks = []
    protocols = {run.run.recipe.protocol for run in opened}
    if len(protocols) > 1:
        remarks.append("Some runs keep to the clean protocol and some to a paper's: what leaks into training differs.")
    elif protocols == {"paper"}:
        remarks.append("All runs keep to a paper's protocol: what leaks into training makes each figure too good.")
    splits = [run.run.splits.sort("fold", "cell_id") for run in opened]
    if any(not split.equals(splits[0]) for split in splits[1:]):
        remarks.append("The runs did not learn from the same cells: their folds, or the parts outside the tested one, "
                       "differ.")
    devices = {_device(run.run) for run in opened}
    if len(devices) > 1:
        remarks.append(f"The runs were trained on different devices ({', '.join(sorted(devices))}): their times do not "
                       "compare.")
    return remarks


def _device(run: Run) -> str:
    try:
        return str(read_json(run.folder / "environment.json").get("device"))
    except (LeukoscopeError, OSError):
        return "None"
