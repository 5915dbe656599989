"""Shalini and Angel Viji, "Integration of Convolutional Features and Residual Neural Network for the Detection and
Classification of Leukemia from Blood Smear Images".

ResNet-50 against five networks on ALL-IDB1, or on any two classes: the same cells, changes and training for each; the
paper's Table 2 beside ours, and which differences are real.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ..commands.compare import compare_runs
from ..commands.outcome import Outcome
from ..evaluation.compare import LEVEL
from ..files import JsonObject
from ..recipes.recipe import Protocol, expand_variants, load_recipe
from ..report.compare import read_comparison
from ..runs.comparison import Comparison
from .conclusions import settled_by
from .request import Job, Request, two_classes
from .shalini2022_tables import OWN, against_own, inflation_table, published_figures, table_two
from .tables import Table

RECIPE = "shalini2022"
MORE = 1.25
"""Where a class has more cells than the recipe brings it to, both are brought to this multiple of the larger class."""


@dataclass(frozen=True)
class Task:
    """What to run. settings: changes of the recipe for these cells; remarks: what a reader has to know."""

    cells: pl.DataFrame
    settings: tuple[str, ...]
    remarks: tuple[str, ...]


def reproduce(request: Request) -> Outcome:
    """Train every network of the recipe, once or `repeats` times, in folders PROTOCOL/repeat-K/NETWORK, and compare
    them in PROTOCOL."""
    request.refuse_transfer(RECIPE)
    task = read_task(request)
    jobs: dict[Protocol, list[Job]] = {
        protocol: request.repeated(RECIPE, protocol, task.cells, request.repeats or 1, task.settings)
        for protocol in request.protocols}
    countdown = request.countdown([job for own in jobs.values() for job in own])
    contents: dict[str, JsonObject] = {}
    lines, page = list(task.remarks), request.out
    for protocol, own in jobs.items():
        for job in own:
            request.train(job, countdown)
        compared, contents[protocol] = _compared(own, protocol, request, task, contents)
        page = request.out / protocol / "compare.html"
        lines += ["", f"protocol {protocol}, {request.scale} scale", *compared]
    return Outcome(request.out, page, tuple(lines if task.remarks else lines[1:]), contents)


def _compared(jobs: list[Job], protocol: Protocol, request: Request, task: Task,
              earlier: Mapping[str, JsonObject]) -> tuple[list[str], JsonObject]:
    """Compare the runs of one protocol; the lines to print, and the content of compare.json. earlier: that of the
    protocols before."""
    runs = [job.out / name for job in jobs for name in expand_variants(job.recipe)]

    def more(comparison: Comparison) -> JsonObject:
        tables.append(table_two(comparison))
        if protocol == "paper" and "clean" in earlier:
            tables.append(inflation_table(read_comparison(earlier["clean"]), comparison))
        tables.extend(_settled(comparison))
        others = len(comparison.kinds) - 1
        return {"title": f"ResNet-50 against {others} networks, {protocol} protocol, {request.scale} scale",
                "description": " ".join([against_own(comparison), *task.remarks]),
                "tables": [table.to_dict() for table in tables]}

    tables: list[Table] = []
    lines, content = compare_runs(runs, request.out / protocol, published=published_figures(), more=more)
    shown = [line for table in tables for line in (*table.lines(), table.note, "")]
    return [*shown, *lines[:-1], against_own(read_comparison(content)), lines[-1]], content


def _settled(comparison: Comparison) -> list[Table]:
    """For each difference from ResNet-50 that is not significant, the subjects that would settle it; none where the
    subjects of the cells are not known."""
    if comparison.clusters == comparison.cells:
        return []
    undecided = []
    for pair in comparison.pairs:
        test = pair.tests["accuracy"]
        if OWN in (pair.first, pair.second) and (test.holm is None or test.holm >= LEVEL):
            undecided.append((f"{pair.first} minus {pair.second}", test.difference))
    return settled_by(undecided, comparison.clusters)


def read_task(request: Request) -> Task:
    """The fields of ALL-IDB1, or a manifest of two classes, and the changes of the recipe for them.

    Both classes are brought to the recipe's number, or where one has more cells than that, to a quarter more than it
    has.
    """
    cells, remarks = request.read_cells(request.data, "allidb1")
    classes = ("healthy", "leukemic")
    if not request.data.is_dir():
        chosen = load_recipe(RECIPE, settings=["data.classes=[]", "data.positive=", *request.settings]).data
        classes = two_classes(cells, chosen, RECIPE)
    settings = (f"data.classes={json.dumps(classes)}", f"data.positive={json.dumps(classes[1])}")
    if any(setting.startswith("augment.copies") for setting in request.settings):
        return Task(cells, settings, tuple(remarks))
    data = load_recipe(RECIPE, scale=request.scale, settings=[*settings, *request.settings]).data
    number = max(load_recipe(RECIPE, scale=request.scale).augment.copies.values())
    counts = dict(cells.select(pl.col("label").replace(data.merge)).group_by("label").len().iter_rows())
    largest = max(min(counts.get(name, 0), data.per_class or counts.get(name, 0)) for name in classes)
    if largest >= number:
        number = round(MORE * largest)
        remarks = [*remarks, f"Each class is brought to {number:,} images, a quarter more than the larger class has; "
                             "the paper brought 59 healthy and 49 leukemic fields to 1,235 each."]
    table = ", ".join(f"{json.dumps(name)} = {number}" for name in classes)
    return Task(cells, (*settings, f"augment.copies={{{table}}}"), tuple(remarks))
