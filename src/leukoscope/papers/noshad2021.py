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

from ..datasets import get_dataset
from ..errors import DatasetError, LeukoscopeError, ManifestError
from ..evaluate import evaluate
from ..experiments import OnEvent, Outcome, evaluate_run, run_experiment
from ..files import write_json
from ..manifest import read_manifest
from ..predict import mean_over_folds
from ..recipe import Protocol, load_recipe
from ..report import write_study
from ..runs import Run
from .noshad2021_tables import comparison, study_tables, text_lines

SOURCE = "Noshad and Fallahi 2021, Tables 4 and 5"
RECIPES = {"allidb1": "noshad2021-allidb", "cnmc": "noshad2021-cnmc"}
SIZES = {"noshad2021-allidb": 108, "noshad2021-cnmc": 10_661}
"""Cells that the counts of copies in a recipe are meant for."""
EXTERNAL = "preliminary"
"""The folder, beside those of the protocols, of the evaluations on the official preliminary test set."""


@dataclass(frozen=True)
class Task:
    """What to run. settings: what the recipe must be told of these cells; remarks: what a reader must be told.

    external: cells of other subjects to test on, or None. of_paper: whether these are the paper's cells.
    """

    recipe: str
    cells: pl.DataFrame
    external: pl.DataFrame | None
    settings: tuple[str, ...]
    remarks: tuple[str, ...]
    of_paper: bool


def reproduce(
    data: Path,
    out: Path,
    *,
    scale: str,
    protocols: Sequence[Protocol],
    transfer: Path | None,
    settings: Sequence[str],
    resume: bool,
    on_event: OnEvent | None,
) -> Outcome:
    """Run each protocol in a folder of its own, test on the preliminary set of C-NMC where it is there, and compare."""
    if transfer is not None:
        raise LeukoscopeError("--transfer: noshad2021 transfers to no other set", "leave the option out")
    task = read_task(data, settings)
    parts: dict[str, dict[str, Mapping[str, Any]]] = {}
    for protocol in protocols:
        recipe = load_recipe(task.recipe, protocol=protocol, scale=scale, settings=[*task.settings, *settings])
        metrics = run_experiment(recipe, task.cells, out / protocol, resume=resume, on_event=on_event).metrics
        parts[protocol] = {"test": metrics, "validation": _validated(Run(out / protocol))}
        if task.external is not None:
            parts[protocol]["preliminary"] = evaluate_run(out / protocol, task.external,
                                                          out / f"{protocol}-{EXTERNAL}").metrics
    rows = comparison(parts, task.recipe if task.of_paper else "")
    write_json(out / "study.json", {
        "title": f"{task.recipe}, {scale} scale", "runs": list(protocols), "source": SOURCE,
        "description": " ".join(task.remarks), "tables": study_tables(rows, list(protocols))})
    page = write_study(out)
    lines = [f"{task.recipe}, {scale} scale", *task.remarks, "", *text_lines(rows, list(protocols)), f"report: {page}"]
    return Outcome(out, page, tuple(lines), parts)


def _validated(run: Run) -> Mapping[str, Any]:
    """The figures of the validation part: each cell's mean over the folds that it was validated in."""
    assert run.validation is not None
    cells = mean_over_folds(run.validation, run.classes)
    return evaluate(cells, run.classes, positive=run.recipe.data.positive, seed=run.recipe.seed).to_dict()


def read_task(data: Path, settings: Sequence[str]) -> Task:
    """What a folder (C-NMC 2019 or ALL-IDB1) or a manifest of two classes is to be run with."""
    if not data.is_dir():
        return _from_manifest(read_manifest(data), settings)
    reasons = []
    for name, recipe in RECIPES.items():
        try:
            cells = get_dataset(name).index(data).manifest
        except DatasetError as error:
            reasons.append(str(error.what))
            continue
        return _sized(recipe, cells, ("healthy", "leukemic"), _preliminary(data) if name == "cnmc" else None, True)
    raise DatasetError(f"{data}: neither C-NMC 2019 nor ALL-IDB1", "give one of their folders, or a manifest of two "
                       "classes made with leukoscope data index")


def _preliminary(data: Path) -> pl.DataFrame | None:
    """The official preliminary test set, where its images and labels are there."""
    try:
        return get_dataset("cnmc").index(data, "preliminary").manifest
    except DatasetError:
        return None


def _from_manifest(cells: pl.DataFrame, settings: Sequence[str]) -> Task:
    """Any two classes, as single cells: with the recipe for C-NMC."""
    told = load_recipe("noshad2021-cnmc", settings=["data.classes=[]", "data.positive=", *settings]).data
    found = cells["label"].replace(told.merge).drop_nulls().unique().sort().to_list()
    classes = tuple(told.classes) or tuple(found)
    if len(classes) != 2:
        raise ManifestError(f"labels there: {', '.join(found) or 'none'}; noshad2021 tells two classes apart",
                            "choose two with --set 'data.classes=[\"...\", \"...\"]', or join labels with data.merge")
    positive = told.positive or ("leukemic" if "leukemic" in classes else "")
    if positive not in classes:
        raise ManifestError(f"which of {classes[0]} and {classes[1]} is looked for is not said",
                            f"name the positive class: --set data.positive={classes[1]}")
    kept = cells.filter(pl.col("label").replace(told.merge).is_in(classes))
    negative = next(name for name in classes if name != positive)
    return _sized("noshad2021-cnmc", kept, (negative, positive), None, set(classes) == {"healthy", "leukemic"})


def _sized(recipe: str, cells: pl.DataFrame, classes: tuple[str, str], external: pl.DataFrame | None,
           of_paper: bool) -> Task:
    """The counts of copies in proportion to the cells there are, where they are not as many as the paper's."""
    settings = [f"data.classes={json.dumps(classes)}", f"data.positive={json.dumps(classes[1])}"]
    remarks: list[str] = []
    size, own = SIZES[recipe], load_recipe(recipe)
    if cells.height != size or classes != own.data.classes:
        counts = [max(2, round(own.augment.copies[name] * cells.height / size)) for name in own.data.classes]
        table = ", ".join(f"{json.dumps(name)} = {count}" for name, count in zip(classes, counts, strict=True))
        settings.append(f"augment.copies={{{table}}}")
        remarks.append(f"{cells.height:,} cells, the paper had {size:,}: its counts are scaled to {counts[0]:,} of "
                       f"{classes[0]} and {counts[1]:,} of {classes[1]}, copies included.")
        if sum(counts) < 4 * own.pca.components:
            settings += ["pca.components=0", "pca.variance=0.99"]
            remarks.append(f"Too few for {own.pca.components} components: so many as hold 99 % of the variance.")
    return Task(recipe, cells, external, tuple(settings), tuple(remarks), of_paper)
