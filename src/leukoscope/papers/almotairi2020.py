"""Almotairi and Shahin, "White Blood Cells Recognition System Based on Deep Residual Network".

WBCsNet-2 against its plain predecessor, LeNet-5 and AlexNet; the place of the residual unit; transfer to a small set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ..commands.outcome import Outcome, interval
from ..commands.train import run_experiment
from ..datasets import get_dataset
from ..errors import RecipeError
from ..files import write_json
from ..manifest import read_manifest
from ..networks.registry import build_network
from ..recipes.recipe import Protocol, Recipe, load_recipe
from ..report.study import write_study
from ..runs.run import Run
from .request import Request, whole_cells

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
    """Experiment 1 (four networks, then the place of the residual unit) and, where a small set is given, transfer."""
    out, scale = request.out, request.scale
    cells, remarks = read_cells(request.data, "pbc", request.skip_damaged)
    small, more = read_cells(request.transfer, "bccd", request.skip_damaged) if request.transfer else (None, [])
    tables = [*remarks, *more]
    metrics: dict[str, Any] = {}
    page = out
    for protocol in request.protocols:
        found = _one_protocol(cells, small, protocol, request)
        remark = _remark(out / protocol / FINE_TUNED)
        study = {"title": f"WBCsNet-2 and its peers, {protocol} protocol, {scale} scale", "runs": list(found),
                 "description": remark, "paper": {name: dict(PUBLISHED[name]) for name in found if name in PUBLISHED}}
        write_json(out / protocol / "study.json", study)
        page = write_study(out / protocol)
        heading = f"protocol {protocol}, {scale} scale"
        tables += ["", heading, *_table(found), *([remark] if remark else []), f"report: {page}"]
        metrics[protocol] = found
    return Outcome(out, page, tuple(tables if remarks or more else tables[1:]), metrics)


def read_cells(data: Path, dataset: str, skip_damaged: bool) -> tuple[pl.DataFrame, list[str]]:
    """A manifest from its file, or the five classes of a folder in the layout of a data set and what it lacks."""
    if not data.is_dir():
        return read_manifest(data), []
    return whole_cells(get_dataset(dataset).index(data, "five"), data, skip_damaged=skip_damaged)


def without_missing_weights(recipe: Recipe) -> tuple[str, ...]:
    """The setting that does without published weights where they cannot be had here, else none.

    Asked before a run folder is made: it would be that of another recipe afterwards.
    """
    try:
        build_network(recipe.network, classes=2, size=recipe.preprocess.size)
    except RecipeError:
        if not recipe.network.pretrained:
            raise
        return ("network.pretrained=false",)
    return ()


def _one_protocol(cells: pl.DataFrame, small: pl.DataFrame | None, protocol: Protocol,
                  request: Request) -> dict[str, Mapping[str, Any]]:
    """Metrics a run folder, in the order of the table."""
    out, scale, settings = request.out / protocol, request.scale, request.settings

    def run(name: str, manifest: pl.DataFrame, *more: str) -> Outcome:
        recipe = load_recipe(name, protocol=protocol, scale=scale, settings=[*settings, *more])
        return run_experiment(recipe, manifest, out / name, resume=request.resume, skip_damaged=request.skip_damaged,
                              on_event=request.on_event)

    found: dict[str, Mapping[str, Any]] = {name: run(name, cells).metrics for name in FROM_SCRATCH}
    fine_tuned = load_recipe(FINE_TUNED, protocol=protocol, scale=scale, settings=settings)
    found[FINE_TUNED] = run(FINE_TUNED, cells, *without_missing_weights(fine_tuned)).metrics
    for variant, metrics in run(ABLATION, cells).metrics.items():
        found[f"{ABLATION}/{variant}"] = metrics
    if small is not None:
        found[TRANSFER] = run(TRANSFER, small, f"network.start={(out / FROM_SCRATCH[0]).resolve()}").metrics
    return found


def _remark(fine_tuned: Path) -> str:
    """What a reader of the table must know of the network that was to be fine-tuned."""
    if Run(fine_tuned).recipe.network.pretrained:
        return ""
    return f"{FINE_TUNED} started from random weights: the published ones were not to be had, or not wanted."


def _table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    width = max(len(name) for name in found) + 2
    lines = [f"{'run':<{width}}{'accuracy (95 %)':<26}{'macro sensitivity (95 %)':<26}{'paper: acc.':<13}sens."]
    for name, metrics in found.items():
        overall = metrics["overall"]
        printed = [f"{100 * PUBLISHED.get(name, {})[key]:.2f} %" if key in PUBLISHED.get(name, {}) else "-"
                   for key in ("accuracy", "macro_sensitivity")]
        lines.append(f"{name:<{width}}{interval(overall['accuracy']):<26}{interval(overall['macro_sensitivity']):<26}"
                     f"{printed[0]:<13}{printed[1]}")
    return lines
