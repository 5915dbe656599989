"""Almotairi and Shahin, "White Blood Cells Recognition System Based on Deep Residual Network".

WBCsNet-2 against its plain predecessor, LeNet-5 and AlexNet; the position of the residual unit; transfer to a small
data set.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ..commands.outcome import Outcome
from ..errors import RecipeError
from ..files import JsonObject, write_json
from ..networks.registry import build_network
from ..recipes.recipe import Protocol, Recipe
from ..report.study import write_study
from ..runs.run import Run
from ..stats.estimate import Estimate
from .request import Job, Request
from .tables import Table, cell, printed

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "almotairi2020": {"accuracy": 0.968, "macro_sensitivity": 0.9263},
    "almotairi2020-plain": {"accuracy": 0.961},
    "almotairi2020-transfer": {"accuracy": 0.9583},
}
"""Accuracy and sensitivity as the paper prints them; where its text and tables disagree, docs/papers.md says so."""

FROM_SCRATCH = ("almotairi2020", "almotairi2020-plain", "almotairi2020-lenet5")
FINE_TUNED = "almotairi2020-alexnet"
ABLATION = "almotairi2020-ablation"
TRANSFER = "almotairi2020-transfer"


def reproduce(request: Request) -> Outcome:
    """Experiment 1 (four networks, then the position of the residual unit) and, if a small set is given, transfer."""
    cells, remarks = request.read_cells(request.data, "pbc", "five")
    small, more = request.read_cells(request.transfer, "bccd", "five") if request.transfer else (None, [])
    jobs = {protocol: _jobs(request, protocol, cells, small) for protocol in request.protocols}
    countdown = request.countdown([job for own in jobs.values() for job in own])
    lines, metrics, page = [*remarks, *more], {}, request.out
    for protocol, own in jobs.items():
        folder = request.out / protocol
        by_run: dict[str, JsonObject] = {}
        for job in own:
            outcome = request.train(job, countdown)
            by_run |= {f"{ABLATION}/{name}": m for name, m in outcome.metrics.items()} if job.recipe.variants else {
                job.out.name: outcome.metrics}
        random = not Run(folder / FINE_TUNED).recipe.network.pretrained
        remark = f"{FINE_TUNED} was trained from random weights, without the published ones." if random else ""
        table = _table(by_run)
        write_json(folder / "study.json", {
            "title": f"WBCsNet-2 and other networks, {protocol} protocol, {request.scale} scale", "runs": list(by_run),
            "description": remark, "paper": {name: dict(PUBLISHED[name]) for name in by_run if name in PUBLISHED}})
        page = write_study(folder)
        lines += ["", f"protocol {protocol}, {request.scale} scale", *table.lines()[1:],
                  *([remark] if remark else []), f"report: {page}"]
        metrics[protocol] = by_run
    return Outcome(request.out, page, tuple(lines if remarks or more else lines[1:]), metrics)


def _jobs(request: Request, protocol: Protocol, cells: pl.DataFrame, small: pl.DataFrame | None) -> list[Job]:
    """What is trained under one protocol, in the order of the table."""
    out = request.out / protocol
    after: dict[str, tuple[str, ...]] = dict.fromkeys((*FROM_SCRATCH, FINE_TUNED, ABLATION), ())
    after[FINE_TUNED] = without_missing_weights(request.recipe(FINE_TUNED, protocol))
    jobs = [Job(request.recipe(name, protocol, after=settings), cells, out / name) for name, settings in after.items()]
    if small is not None:
        start = f"network.start={(out / FROM_SCRATCH[0]).resolve()}"
        jobs.append(Job(request.recipe(TRANSFER, protocol, after=[start]), small, out / TRANSFER))
    return jobs


def without_missing_weights(recipe: Recipe) -> tuple[str, ...]:
    """The setting that does without published weights where they cannot be downloaded, else none.

    Found out before a run folder is made: afterwards it would be the folder of another recipe.
    """
    try:
        build_network(recipe.network, classes=2, size=recipe.preprocess.size)
    except RecipeError:
        if not recipe.network.pretrained:
            raise
        return ("network.pretrained=false",)
    return ()


def _table(by_run: Mapping[str, JsonObject]) -> Table:
    keys = ("accuracy", "macro_sensitivity")
    rows = [[name, *(cell(Estimate.from_dict(metrics["overall"][key])) for key in keys),
             *(printed(PUBLISHED.get(name, {}).get(key)) for key in keys)] for name, metrics in by_run.items()]
    return Table("WBCsNet-2 and other networks", ["run", "accuracy % (95 % CI)", "macro sensitivity % (95 % CI)",
                                                  "paper: accuracy %", "paper: sensitivity %"], rows, "")
