"""Shalini and Angel Viji, "Integration of Convolutional Features and Residual Neural Network for the Detection and
Classification of Leukemia from Blood Smear Images".

ResNet-50 against five networks on ALL-IDB1, or on any two classes: the same cells, changes and effort for each; the
paper's Table 2 beside ours, and which differences are real.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from ..commands.compare import compare_runs
from ..commands.outcome import Outcome
from ..commands.train import run_experiment
from ..datasets import get_dataset
from ..errors import RecipeError
from ..manifest import read_manifest
from ..recipes.recipe import Protocol, Recipe, expand_variants, load_recipe, only_variants
from ..runs.network import fresh_network
from ..text import aligned
from ..train.prepare import select_cells, with_classes
from ..train.train import check_folder
from .request import Request, two_classes, whole_cells
from .shalini2022_tables import against_own, inflation_table, published_figures, table_two

RECIPE = "shalini2022"
MORE = 1.25
"""Where a class has more cells than the recipe brings it to, both are brought to so many times the larger class."""


@dataclass(frozen=True)
class Task:
    """What to run. settings: what the recipe must be told of these cells; remarks: what a reader must be told."""

    cells: pl.DataFrame
    settings: tuple[str, ...]
    remarks: tuple[str, ...]


def reproduce(request: Request) -> Outcome:
    """Train every network of the recipe, once or `repeats` times, in folders PROTOCOL/repeat-K/NETWORK, and compare
    them in PROTOCOL."""
    request.refuse_transfer(RECIPE)
    task = read_task(request)
    count = request.repeats or 1
    recipes: dict[Protocol, list[Recipe]] = {
        protocol: [_recipe(request, task, protocol, repeat) for repeat in range(count)]
        for protocol in request.protocols}
    for protocol, own in recipes.items():
        for repeat, recipe in enumerate(own):
            _check(recipe, task.cells, request.out / protocol / f"repeat-{repeat}", request.resume)
    found: dict[str, dict[str, Any]] = {}
    lines, page = list(task.remarks), request.out
    for protocol, own in recipes.items():
        folder = request.out / protocol
        for repeat, recipe in enumerate(own):
            run_experiment(recipe, task.cells, folder / f"repeat-{repeat}", resume=request.resume,
                           skip_damaged=request.skip_damaged, on_event=request.on_event)
        names = list(expand_variants(own[0]))
        said, found[protocol] = _compared(folder, names, count, protocol, request, task, found)
        page = folder / "compare.html"
        lines += ["", f"protocol {protocol}, {request.scale} scale", *said]
    return Outcome(request.out, page, tuple(lines if task.remarks else lines[1:]), found)


def _compared(folder: Path, names: Sequence[str], count: int, protocol: Protocol, request: Request, task: Task,
              earlier: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Compare the runs of one protocol; the lines to print, and what compare.json holds."""
    runs = [folder / f"repeat-{repeat}" / name for repeat in range(count) for name in names]

    def more(found: Mapping[str, Any]) -> dict[str, Any]:
        tables = [table_two(found)]
        if protocol == "paper" and "clean" in earlier:
            tables.append(inflation_table(earlier["clean"], found))
        return {"title": f"ResNet-50 against {len(found['kinds']) - 1} networks, {protocol} protocol, {request.scale} "
                         "scale", "description": " ".join([against_own(found), *task.remarks]), "tables": tables}

    said, found = compare_runs(runs, folder, published=published_figures(), more=more)
    shown = [line for table in found["tables"]
             for line in (table["title"], *aligned([table["columns"], *table["rows"]]), table["note"], "")]
    return [*shown, *said[:-1], against_own(found), said[-1]], found


def read_task(request: Request) -> Task:
    """The fields of ALL-IDB1, or a manifest of two classes, and what the recipe must be told of them."""
    if request.data.is_dir():
        index = get_dataset("allidb1").index(request.data)
        cells, remarks = whole_cells(index, request.data, skip_damaged=request.skip_damaged)
        return _sized(cells, ("healthy", "leukemic"), remarks, request)
    cells = read_manifest(request.data)
    told = load_recipe(RECIPE, settings=["data.classes=[]", "data.positive=", *request.settings]).data
    return _sized(cells, two_classes(cells, told, RECIPE), [], request)


def _sized(cells: pl.DataFrame, classes: tuple[str, str], remarks: list[str], request: Request) -> Task:
    """Both classes brought to the recipe's number, or where one has more cells than that, to a quarter more than it
    has."""
    settings = [f"data.classes={json.dumps(classes)}", f"data.positive={json.dumps(classes[1])}"]
    recipe = load_recipe(RECIPE, scale=request.scale, settings=[*settings, *request.settings])
    own = load_recipe(RECIPE, scale=request.scale)
    if any(setting.startswith("augment.copies") for setting in request.settings):
        return Task(cells, tuple(settings), tuple(remarks))
    wanted = max(own.augment.copies.values())
    counts = dict(cells.select(pl.col("label").replace(recipe.data.merge)).group_by("label").len().iter_rows())
    most = max(min(counts.get(name, 0), recipe.data.per_class or counts.get(name, 0)) for name in classes)
    if most >= wanted:
        wanted = round(MORE * most)
        remarks = [*remarks, f"Each class is brought to {wanted:,} images, a quarter more than the larger has; the "
                             "paper brought 59 healthy and 49 leukemic fields to 1,235 each."]
    table = ", ".join(f"{json.dumps(name)} = {wanted}" for name in classes)
    return Task(cells, (*settings, f"augment.copies={{{table}}}"), tuple(remarks))


def _recipe(request: Request, task: Task, protocol: Protocol, repeat: int) -> Recipe:
    recipe = load_recipe(RECIPE, protocol=protocol, scale=request.scale,
                         settings=[*task.settings, *request.settings, f"training.repeat={repeat}"])
    if any(setting.replace(" ", "").startswith("training.repeat=") for setting in request.settings):
        raise RecipeError("training.repeat: reproduce sets it itself", "say how often with --repeats")
    return only_variants(recipe, request.only)


def _check(recipe: Recipe, cells: pl.DataFrame, folder: Path, resume: bool) -> None:
    """Whatever can be known to fail before the first of many runs is trained."""
    classes = select_cells(cells, recipe.data, seed=recipe.seed, most=recipe.augment.copies).classes
    for name, variant in expand_variants(recipe).items():
        with torch.device("meta"):
            fresh_network(with_classes(variant, classes))
        check_folder(folder / name, resume)
