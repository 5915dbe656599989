"""Noshad and Fallahi, "An Efficient Approach for Segmentation and Classification of Acute Lymphoblastic Leukemia via
Optimized Spike-based Network".

One run for each protocol, on ALL-IDB1, on C-NMC or on any two classes, and the paper's Tables 4 and 5 beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..commands.evaluate import evaluate_run
from ..commands.outcome import Outcome
from ..commands.train import run_experiment
from ..datasets import get_dataset
from ..errors import DatasetError, LeakError
from ..evaluate.evaluate import evaluate
from ..files import write_json
from ..manifest import read_manifest
from ..recipes.recipe import Protocol, load_recipe
from ..report.study import write_study
from ..runs.run import Run, read_fold_tables
from ..train.train import check_folder
from .noshad2021_tables import comparison, study_tables, text_lines
from .request import Request, two_classes, whole_cells

SOURCE = "Noshad and Fallahi 2021, Tables 4 and 5"
RECIPES = {"allidb1": "noshad2021-allidb", "cnmc": "noshad2021-cnmc"}
SIZES = {"noshad2021-allidb": 108, "noshad2021-cnmc": 10_661}
"""Cells that the counts of copies in a recipe are meant for."""
EXTERNAL = "preliminary"
"""The folder, beside those of the protocols, of the evaluations on the official preliminary test set."""


@dataclass(frozen=True)
class Task:
    """What to run. settings: what the recipe must be told of these cells; remarks: what a reader must be told.

    external: cells of other subjects to test on, or None. of_paper: whether the cells are of the paper's data set.
    """

    recipe: str
    cells: pl.DataFrame
    external: pl.DataFrame | None
    settings: tuple[str, ...]
    remarks: tuple[str, ...]
    of_paper: bool


def reproduce(request: Request) -> Outcome:
    """Run each protocol in a folder of its own, test on the preliminary set of C-NMC where it is there, and compare."""
    request.refuse_transfer("noshad2021")
    out, scale, protocols, settings = request.out, request.scale, request.protocols, request.settings
    task = read_task(request.data, settings, protocols, skip_damaged=request.skip_damaged)
    recipes = {protocol: load_recipe(task.recipe, protocol=protocol, scale=scale, settings=[*task.settings, *settings])
               for protocol in protocols}
    for protocol in protocols:
        check_folder(out / protocol, request.resume)
    parts: dict[str, dict[str, Mapping[str, Any]]] = {}
    remarks = list(task.remarks)
    for protocol, recipe in recipes.items():
        run_experiment(recipe, task.cells, out / protocol, resume=request.resume, skip_damaged=request.skip_damaged,
                       on_event=request.on_event)
        run = Run(out / protocol)
        found = {"test": _of_one_network(run, "predictions.parquet"),
                 "validation": _of_one_network(run, "validation.parquet")}
        if task.external is not None:
            try:
                found["preliminary"] = evaluate_run(run.folder, task.external, out / f"{protocol}-{EXTERNAL}",
                                                    skip_damaged=request.skip_damaged).metrics
            except LeakError as error:
                remarks.append(f"The preliminary test set was not used under protocol {protocol}: {error.what}.")
        parts[protocol] = {part: metrics for part, metrics in found.items() if metrics is not None}
    rows = comparison(parts, task.recipe if task.of_paper and recipes[protocols[0]].data.positive == "leukemic" else "")
    write_json(out / "study.json", {
        "title": f"{task.recipe}, {scale} scale", "runs": list(protocols), "source": SOURCE,
        "description": " ".join(remarks), "tables": study_tables(rows, list(protocols))})
    page = write_study(out)
    lines = [f"{task.recipe}, {scale} scale", *remarks, "", *text_lines(rows, list(protocols)), f"report: {page}"]
    return Outcome(out, page, tuple(lines), parts)


def _of_one_network(run: Run, table: str) -> Mapping[str, Any] | None:
    """The figures that one of the folds' networks has on the average. A cell that several of them judged stands there
    several times, as one group: their mean probability, which is better than each, is not what the paper reports.
    None where there is no such table."""
    by_fold = read_fold_tables(run, table)
    if by_fold is None:
        return None
    once = by_fold.with_columns(
        group=pl.coalesce("group", pl.when(pl.col("subject").is_null()).then("cell_id")),
        cell_id=pl.format("{} in fold {}", "cell_id", "fold"))
    return evaluate(once, run.classes, positive=run.recipe.data.positive, seed=run.recipe.seed).to_dict()


def read_task(data: Path, settings: Sequence[str], protocols: Sequence[Protocol] = ("clean",), *,
              skip_damaged: bool = False) -> Task:
    """What a folder (C-NMC 2019 or ALL-IDB1) or a manifest of two classes is to be run with. Raises DatasetError for
    damaged files unless they are to be skipped."""
    if not data.is_dir():
        return _from_manifest(read_manifest(data), settings, protocols)
    reasons = []
    for name, recipe in RECIPES.items():
        try:
            index = get_dataset(name).index(data)
        except DatasetError as error:
            reasons.append(error.what)
            continue
        cells, remarks = whole_cells(index, data, skip_damaged=skip_damaged)
        external, more = _preliminary(data, skip_damaged) if name == "cnmc" else (None, [])
        return _sized(recipe, cells, ("healthy", "leukemic"), protocols, external, remarks + more, of_paper=True)
    raise DatasetError(f"{data}: neither C-NMC 2019 nor ALL-IDB1 ({'; '.join(reasons)})",
                       "give one of their folders, or a manifest of two classes made with leukoscope data index")


def _preliminary(data: Path, skip_damaged: bool) -> tuple[pl.DataFrame | None, list[str]]:
    """The official preliminary test set and remarks on it; None and why, where its images or labels are not there."""
    try:
        index = get_dataset("cnmc").index(data, "preliminary")
    except DatasetError as error:
        return None, [f"No preliminary test set: {error.what}."]
    return whole_cells(index, data, skip_damaged=skip_damaged)


def _from_manifest(cells: pl.DataFrame, settings: Sequence[str], protocols: Sequence[Protocol]) -> Task:
    """Any two classes, as single cells: with the recipe for C-NMC."""
    told = load_recipe("noshad2021-cnmc", settings=["data.classes=[]", "data.positive=", *settings]).data
    classes = two_classes(cells, told, "noshad2021")
    cnmc = (cells["source"] == "cnmc").all() and set(classes) == {"healthy", "leukemic"}
    used = int(cells["label"].replace(told.merge).is_in(classes).sum())
    return _sized("noshad2021-cnmc", cells, classes, protocols, None, [], of_paper=bool(cnmc), used=used)


def _sized(recipe: str, cells: pl.DataFrame, classes: tuple[str, str], protocols: Sequence[Protocol],
           external: pl.DataFrame | None, remarks: list[str], *, of_paper: bool, used: int | None = None) -> Task:
    """The counts of copies in proportion to the cells that are used, where these are not as many as the paper's."""
    settings = [f"data.classes={json.dumps(classes)}", f"data.positive={json.dumps(classes[1])}"]
    size, own, used = SIZES[recipe], load_recipe(recipe), cells.height if used is None else used
    if used != size or classes != own.data.classes:
        counts = [max(2, round(own.augment.copies[name] * used / size)) for name in own.data.classes]
        table = ", ".join(f"{json.dumps(name)} = {count}" for name, count in zip(classes, counts, strict=True))
        settings.append(f"augment.copies={{{table}}}")
        remarks = [*remarks, f"{used:,} cells, the paper had {size:,}: its counts are scaled to {counts[0]:,} of "
                             f"{classes[0]} and {counts[1]:,} of {classes[1]}, copies included."]
        components = max(load_recipe(recipe, protocol=protocol).pca.components for protocol in protocols)
        if sum(counts) < 4 * components:
            settings += ["pca.components=0", "pca.variance=0.99"]
            remarks.append(f"Too few for {components:,} components: so many as hold 99 % of the variance.")
    return Task(recipe, cells, external, tuple(settings), tuple(remarks), of_paper)
