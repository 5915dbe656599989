"""From a recipe and a manifest to a folder with a report: one run, or one for each variant.

Joins training, prediction, evaluation and pages; trains nothing and draws nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from ..files import read_json, write_json
from ..recipes.recipe import Recipe, expand_variants
from ..report.run import write_report
from ..report.study import write_study
from ..train.epochs import Event
from ..train.train import train
from .example_cells import draw_copies, example_cell
from .explain import draw_explanations
from .features import draw_features, draw_input
from .optics import draw_optics
from .outcome import Outcome, summary

OnEvent = Callable[[Event], None]

def run_experiment(
    recipe: Recipe,
    manifest: pl.DataFrame,
    out: Path,
    *,
    resume: bool = False,
    skip_damaged: bool = False,
    devices: int = 1,
    on_event: OnEvent | None = None,
) -> Outcome:
    """Train a recipe, or each of its variants in a folder of its own, and write the page."""
    variants = expand_variants(recipe)
    options: dict[str, Any] = {"resume": resume, "skip_damaged": skip_damaged, "devices": devices, "on_event": on_event}
    if "" in variants:
        return _one_run(recipe, manifest, out, **options)
    outcomes = {name: _one_run(variant, manifest, out / name, **options) for name, variant in variants.items()}
    write_json(out / "study.json", {
        "title": recipe.title or recipe.name, "description": " ".join(recipe.description.split()),
        "runs": list(variants), "paper": {}})
    page = write_study(out)
    lines = [f"{name}: {outcome.lines[0]}" for name, outcome in outcomes.items()]
    return Outcome(out, page, (*lines, f"report: {page}"), {name: o.metrics for name, o in outcomes.items()})


def _one_run(recipe: Recipe, manifest: pl.DataFrame, out: Path, **options: Any) -> Outcome:
    run = train(recipe, manifest, out, **options)
    example = example_cell(run)
    draw_features(run.folder, example, run.folder / "figures" / "feature_maps", fold=run.folds[0])
    draw_input(run, example, run.folder / "figures" / "input", fold=run.folds[0])
    draw_copies(run)
    draw_explanations(run)
    if recipe.optics.simulate:
        draw_optics(run, fold=run.folds[0])
    page = write_report(run.folder)
    metrics = read_json(run.folder / "metrics.json")
    guard = read_json(run.folder / "guard.json")
    return Outcome(run.folder, page, (*summary(metrics, guard), f"report: {page}"), metrics)
