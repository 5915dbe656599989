"""Noshad and Fallahi, "An Efficient Approach for Segmentation and Classification of Acute Lymphoblastic Leukemia via
Optimized Spike-based Network".

One run for each protocol, on ALL-IDB1, on C-NMC or on any two classes, with the paper's Tables 4 and 5 beside ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import polars as pl

from ..commands.evaluate import evaluate_run
from ..commands.outcome import Outcome
from ..datasets import get_dataset
from ..errors import DatasetError, LeakError
from ..evaluation.evaluate import evaluate
from ..evaluation.results import Metrics
from ..evaluation.table import read_cells
from ..files import write_json
from ..manifest import read_manifest
from ..recipes.recipe import load_recipe
from ..report.study import write_study
from ..runs.run import Run, read_fold_tables
from ..text import interval, number
from .conclusions import ProtocolResult, conclusions
from .noshad2021_tables import PUBLISHED, comparison, study_tables
from .request import Job, Request, two_classes

SOURCE = "Noshad and Fallahi 2021, Tables 4 and 5"
RECIPES = {"allidb1": "noshad2021-allidb", "cnmc": "noshad2021-cnmc"}
SIZES = {"noshad2021-allidb": 108, "noshad2021-cnmc": 10_661}
"""Cells for which the numbers of copies in a recipe are meant."""
OTHER_AUC = ("0.913", "EfficientNet-B1 on the 28 subjects of the preliminary test set, Albzour 2026, arXiv 2606.24944")
OTHER_F1 = ("91.04 %", "winner of the C-NMC challenge on the subjects of its final test set, Pan et al. 2019")
"""What others published on C-NMC with subjects kept apart, and whose it is."""
EXTERNAL = "preliminary"
"""Ending of the folders of the evaluations on the official preliminary test set."""


@dataclass(frozen=True)
class Task:
    """What to run. settings: changes of the recipe for these cells; remarks: what a reader has to know.

    external: cells of other subjects to test on, or None. of_paper: whether the cells are of the paper's data set.
    """

    recipe: str
    cells: pl.DataFrame
    external: pl.DataFrame | None
    settings: tuple[str, ...]
    remarks: tuple[str, ...]
    of_paper: bool


def reproduce(request: Request) -> Outcome:
    """Run each protocol in a folder of its own, test on the preliminary set of C-NMC if it is present, and compare."""
    request.refuse_transfer("noshad2021")
    task, protocols = read_task(request), list(request.protocols)
    jobs = {protocol: Job(request.recipe(task.recipe, protocol, task.settings), task.cells, request.out / protocol)
            for protocol in protocols}
    countdown = request.countdown(list(jobs.values()))
    parts: dict[str, dict[str, Metrics]] = {}
    tested: dict[str, ProtocolResult] = {}
    remarks = list(task.remarks)
    for protocol, job in jobs.items():
        request.train(job, countdown)
        run = Run(job.out)
        by_part = {part: _of_one_network(run, table) for part, table in (
            ("test", "predictions.parquet"), ("validation", "validation.parquet"))}
        if by_part["test"] is not None:
            cells = read_cells(run.predictions, run.classes)
            tested[protocol] = ProtocolResult(by_part["test"].overall["accuracy"], cells.count,
                                      cells.unit)
        if task.external is not None:
            try:
                by_part["preliminary"] = Metrics.from_dict(evaluate_run(
                    run.folder, task.external, request.out / f"{protocol}-{EXTERNAL}",
                    skip_damaged=request.skip_damaged).metrics)
            except LeakError as error:
                remarks.append(f"The preliminary test set was not used under protocol {protocol}: {error.what}.")
        parts[protocol] = {part: metrics for part, metrics in by_part.items() if metrics is not None}
    as_published = task.of_paper and jobs[protocols[0]].recipe.data.positive == "leukemic"
    tables = study_tables(comparison(parts, task.recipe if as_published else ""), protocols)
    published = PUBLISHED[task.recipe]["test"]["accuracy"] if as_published else None
    said = conclusions(tested.get("clean"), tested.get("paper"), published)
    if as_published and task.recipe == RECIPES["cnmc"] and "clean" in parts:
        said.sentences.append(_apart(parts["clean"]["test"]))
    title = f"{task.recipe}, {request.scale} scale"
    write_json(request.out / "study.json", {
        "title": title, "runs": protocols, "source": SOURCE, "description": " ".join(remarks),
        "conclusions": said.sentences, "tables": [table.to_dict() for table in (*tables, *said.tables)]})
    page = write_study(request.out)
    lines = [title, *remarks, "", *(line for table in tables for line in (*table.lines(), "")), *said.lines(),
             f"report: {page}"]
    return Outcome(request.out, page, tuple(lines), {
        protocol: {part: own.to_dict() for part, own in by_part.items()} for protocol, by_part in parts.items()})


def _apart(metrics: Metrics) -> str:
    """Our AUC and weighted F1 under the clean protocol, beside what others published with subjects kept apart."""
    area = interval(metrics.per_class[metrics.positive].estimates["auc"], number, "", page=True)
    return (f"With subjects kept apart: AUC {area}, others {OTHER_AUC[0]} ({OTHER_AUC[1]}); weighted F1 "
            f"{interval(metrics.overall['weighted_f1'], page=True)}, others {OTHER_F1[0]} ({OTHER_F1[1]}).")


def _of_one_network(run: Run, table: str) -> Metrics | None:
    """The mean figures of the networks of the single folds; None where there is no such table.

    The paper reports these, not the figures of the mean probability, which are better. A cell that several networks
    classify is several cells of one group.
    """
    by_fold = read_fold_tables(run, table)
    if by_fold is None:
        return None
    each = by_fold.with_columns(
        group=pl.coalesce("group", pl.when(pl.col("subject").is_null()).then("cell_id")),
        cell_id=pl.format("{} in fold {}", "cell_id", "fold"))
    return evaluate(each, run.classes, positive=run.recipe.data.positive, seed=run.recipe.seed)


def read_task(request: Request) -> Task:
    """How to run a folder (C-NMC 2019 or ALL-IDB1), or a manifest of two classes, for which the recipe of C-NMC is
    used. DatasetError for damaged files unless they may be left out."""
    data = request.data
    if not data.is_dir():
        cells = read_manifest(data)
        chosen = load_recipe("noshad2021-cnmc",
                             settings=["data.classes=[]", "data.positive=", *request.settings]).data
        classes = two_classes(cells, chosen, "noshad2021")
        cnmc = (cells["source"] == "cnmc").all() and set(classes) == {"healthy", "leukemic"}
        used = int(cells["label"].replace(chosen.merge).is_in(classes).sum())
        return _sized(request, "noshad2021-cnmc", cells, classes, used, of_paper=bool(cnmc))
    reasons = []
    for name, recipe in RECIPES.items():
        try:
            index = get_dataset(name).index(data)
        except DatasetError as error:
            reasons.append(error.what)
            continue
        cells, remarks = request.whole_cells(index, data)
        external = None
        if name == "cnmc":
            try:
                preliminary = get_dataset(name).index(data, "preliminary")
            except DatasetError as error:
                remarks.append(f"No preliminary test set: {error.what}.")
            else:
                external, more = request.whole_cells(preliminary, data)
                remarks += more
        return _sized(request, recipe, cells, ("healthy", "leukemic"), cells.height, external, remarks, of_paper=True)
    raise DatasetError(f"{data}: neither C-NMC 2019 nor ALL-IDB1 ({'; '.join(reasons)})",
                       "give one of their folders, or a manifest of two classes made with leukoscope data index")


def _sized(request: Request, recipe: str, cells: pl.DataFrame, classes: tuple[str, str], used: int,
           external: pl.DataFrame | None = None, remarks: list[str] | None = None, *, of_paper: bool) -> Task:
    """The numbers of copies in proportion to the cells that are used, where these are not as many as the paper's."""
    settings = [f"data.classes={json.dumps(classes)}", f"data.positive={json.dumps(classes[1])}"]
    remarks, size, own = list(remarks or []), SIZES[recipe], load_recipe(recipe)
    if used != size or classes != own.data.classes:
        counts = [max(2, round(own.augment.copies[name] * used / size)) for name in own.data.classes]
        table = ", ".join(f"{json.dumps(name)} = {count}" for name, count in zip(classes, counts, strict=True))
        settings.append(f"augment.copies={{{table}}}")
        remarks.append(f"{used:,} cells, the paper had {size:,}: its numbers are scaled to {counts[0]:,} of "
                       f"{classes[0]} and {counts[1]:,} of {classes[1]}, copies included.")
        components = max(load_recipe(recipe, protocol=protocol).pca.components for protocol in request.protocols)
        if sum(counts) < 4 * components:
            settings += ["pca.components=0", "pca.variance=0.99"]
            remarks.append(f"These are too few for {components:,} components; the components that hold 99 % of the "
                           "variance are used.")
    return Task(recipe, cells, external, tuple(settings), tuple(remarks), of_paper)
