"""Run folders to kinds of networks that may be compared: opened, matched cell by cell, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import LeukoscopeError, RunError
from ..files import read_json
from ..runs.run import Run, check_finished
from .compare import Kind
from .table import read_cells

SAME = ("label", "subject", "group")
"""What a cell has to have alike in all runs."""


@dataclass(frozen=True)
class Opened:
    """A finished run, or the evaluation of one elsewhere: its folder, the run that was trained, its predictions."""

    folder: Path
    run: Run
    predictions: pl.DataFrame
    metrics: dict[str, Any]
    elsewhere: bool

    @property
    def training(self) -> tuple[int, int]:
        """The seed and the number of the training."""
        return self.run.recipe.seed, self.run.recipe.training.repeat


@dataclass(frozen=True)
class Matched:
    """Kinds with the runs behind each (one a training), and remarks that a reader has to know."""

    kinds: tuple[Kind, ...]
    runs: tuple[tuple[Opened, ...], ...]
    positive: str
    remarks: tuple[str, ...]


def read_kinds(folders: Sequence[Path]) -> Matched:
    """Open runs (or evaluations of runs) and make sure that they judged the same cells. Runs of one recipe that differ
    in `training.repeat` or `seed` alone are trainings of one kind.

    Raises RunError: fewer than two kinds, a run that is not finished, or runs that do not match, and where.
    """
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise RunError("a run is named twice", "name each once")
    opened = [open_run(Path(folder)) for folder in folders]
    for other in opened[1:]:
        check_match(opened[0], other)
    groups: dict[str, list[Opened]] = {}
    for one in opened:
        groups.setdefault(_key(one), []).append(one)
    for own in groups.values():
        for one, other in combinations(own, 2):
            if one.training == other.training:
                raise RunError(f"{one.folder} and {other.folder} are one training twice (the same recipe, seed and "
                               "training.repeat)", "name one of them, or train with another training.repeat")
    if len(groups) < 2:
        what = "one run" if len(opened) == 1 else f"{len(opened)} trainings of one recipe"
        raise RunError(f"{what}: nothing to compare with", "name runs of at least two recipes")
    runs = tuple(tuple(own) for own in groups.values())
    names = _names(runs)
    classes, positive = opened[0].run.classes, opened[0].run.recipe.data.positive
    kinds = tuple(Kind(name, tuple(read_cells(one.predictions, classes, str(one.folder)) for one in own),
                       tuple(one.metrics for one in own), tuple(one.training for one in own))
                  for name, own in zip(names, runs, strict=True))
    return Matched(kinds, runs, positive if len(classes) == 2 else "", tuple(_remarks(opened)))


def open_run(folder: Path) -> Opened:
    """A finished run, or the evaluation of one; RunError where it is neither."""
    elsewhere = (folder / "evaluation.json").is_file()
    run = _trained(folder) if elsewhere else Run(folder)
    if not elsewhere:
        check_finished(run)
    hint = "evaluate the run anew" if elsewhere else "train the run anew"
    try:
        predictions, metrics = pl.read_parquet(folder / "predictions.parquet"), read_json(folder / "metrics.json")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{folder}: predictions.parquet cannot be read ({str(error).splitlines()[0]})", hint) from error
    missing = [name for name in ("cell_id", *SAME) if name not in predictions.columns]
    if missing:
        raise RunError(f"{folder}: predictions.parquet has no column '{missing[0]}'", hint)
    if not isinstance(metrics, dict) or not {"overall", "per_class"} <= metrics.keys():
        raise RunError(f"{folder}: metrics.json is not what an evaluation leaves", hint)
    return Opened(folder, run, predictions, metrics, elsewhere)


def _trained(folder: Path) -> Run:
    """The run that an evaluation is of: where it was, or where it lies beside the evaluation."""
    told = read_json(folder / "evaluation.json")
    if isinstance(told, dict) and told.get("bundle"):
        raise RunError(f"{folder}: the evaluation of a bundle", "compare runs, or evaluations of runs")
    where = Path(str(told.get("run", ""))) if isinstance(told, dict) else Path()
    beside = folder.resolve().parent / where.name
    try:
        return Run(where if (where / "recipe.toml").is_file() else beside)
    except RunError as error:
        raise RunError(f"{folder}: the evaluation of {where}, which is not there any more",
                       f"put the run back, or beside it as {beside}") from error


def check_match(first: Opened, other: Opened) -> None:
    """RunError where two runs tell other classes apart or judged other cells."""
    if set(first.run.classes) != set(other.run.classes):
        raise RunError(f"{first.folder} tells {', '.join(first.run.classes)} apart, {other.folder} "
                       f"{', '.join(other.run.classes)}", "compare runs with the same classes")
    if first.run.recipe.data.positive != other.run.recipe.data.positive:
        raise RunError(f"{first.folder} looks for '{first.run.recipe.data.positive}', {other.folder} for "
                       f"'{other.run.recipe.data.positive}'", "compare runs with the same data.positive")
    hint = "train or evaluate both on the same cells: the same data, seed, [split] and protocol"
    ours, theirs = (_told_apart(one.predictions) for one in (first, other))
    for one, table in ((first, ours), (other, theirs)):
        if table["cell_id"].is_duplicated().any():
            raise RunError(f"{one.folder}: a cell is judged more than once", "compare runs that test each cell once")
    for here, there, names in ((ours, theirs, (first, other)), (theirs, ours, (other, first))):
        alone = here.join(there, on="cell_id", how="anti")
        if alone.height:
            raise RunError(f"different cells: {alone.height} of {here.height} cells of {names[0].folder} are not in "
                           f"{names[1].folder}, such as '{alone['cell_id'][0]}'", hint)
    both = ours.join(theirs, on="cell_id", suffix="_other").sort("cell_id")
    for name in SAME:
        apart = both.filter(~pl.col(name).eq_missing(pl.col(f"{name}_other")))
        if apart.height:
            row = apart.row(0, named=True)
            raise RunError(f"cell '{row['cell_id']}' has {name} {row[name]!r} in {first.folder} and "
                           f"{row[f'{name}_other']!r} in {other.folder}", hint)


def _told_apart(predictions: pl.DataFrame) -> pl.DataFrame:
    """`cell_id` and what has to be alike. A cell that is a group alone, by its own id, is as one without a group: so
    are the cells that changed copies were made of."""
    alone = (pl.col("group") == pl.col("cell_id")) & (pl.len().over("group") == 1)
    return predictions.select("cell_id", *SAME).with_columns(
        group=pl.when(alone).then(None).otherwise("group"))


def _key(opened: Opened) -> str:
    """What trainings of one kind have alike."""
    recipe = opened.run.recipe
    told = recipe.model_dump(exclude={"name", "title", "description", "source", "seed"})
    told["training"].pop("repeat")
    return f"{opened.elsewhere} {told!r}"


def _names(runs: Sequence[Sequence[Opened]]) -> list[str]:
    """Kinds by their networks where these differ, else by their recipes, else by their folders."""
    first = [own[0] for own in runs]
    for names in ([one.run.recipe.network.name for one in first], [one.run.recipe.name for one in first],
                  [one.folder.resolve().name for one in first]):
        if len(set(names)) == len(names):
            return names
    return [str(one.folder) for one in first]


def _remarks(opened: Sequence[Opened]) -> list[str]:
    """What makes the comparison less than one of networks alone."""
    remarks = []
    protocols = {one.run.recipe.protocol for one in opened}
    if len(protocols) > 1:
        remarks.append("Some runs keep to the clean protocol and some to a paper's: what leaks into training differs.")
    elif protocols == {"paper"}:
        remarks.append("All runs keep to a paper's protocol: what leaks into training makes each figure too good.")
    splits = [one.run.splits.sort("fold", "cell_id") for one in opened]
    if any(not split.equals(splits[0]) for split in splits[1:]):
        remarks.append("The runs did not learn from the same cells: their folds, or the parts outside the tested one, "
                       "differ.")
    devices = {str(_environment(one).get("device")) for one in opened}
    if len(devices) > 1:
        remarks.append(f"The runs were trained on different devices ({', '.join(sorted(devices))}): their times do not "
                       "compare.")
    return remarks


def _environment(opened: Opened) -> dict[str, Any]:
    try:
        return read_json(opened.run.folder / "environment.json")
    except (LeukoscopeError, OSError):
        return {}
