"""From a recipe and a manifest to a folder with a report: one run, or one for each variant.

Joins training, prediction, evaluation and pages; trains nothing and draws nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from .errors import RunError
from .experiments_cells import cell_pixels, draw_copies, example_cell, first_of_each_class
from .experiments_compare import draw_comparison
from .experiments_explain import draw_explanations
from .experiments_optics import draw_optics
from .figures import feature_map_sheet, save_png
from .figures_pca import components_sheet, reconstruction_sheet, variance_curve
from .figures_pipeline import pipeline_strip
from .files import read_json, write_json
from .frame import shaped
from .predict import feature_maps, input_steps
from .recipe import Recipe, expand_variants
from .report import write_report, write_study
from .report_shift import RESULT, write_shift
from .runs import Run, load_network
from .stages import Stages
from .train import Event, train

OnEvent = Callable[[Event], None]

REBUILT_FROM = (10, 50, 200)
"""Numbers of components from which a few cells are shown, beside the number that is kept."""


@dataclass(frozen=True)
class Outcome:
    """What a command ends with: the folder, its page, the lines that matter, the figures behind them."""

    folder: Path
    page: Path
    lines: tuple[str, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"folder": str(self.folder), "report": str(self.page), "summary": list(self.lines),
                "metrics": dict(self.metrics)}


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


def summary(metrics: Mapping[str, Any], guard: Mapping[str, Any]) -> tuple[str, str, str]:
    """The three lines that matter: how often right, where weakest, what leaks."""
    accuracy = metrics["overall"]["accuracy"]
    folds = len(metrics["folds"])
    unchecked = not guard["leaks"] and not guard["checked"]
    where = (f"{metrics['cells']:,} cells" + ("" if unchecked else " that were not trained on")
             + (f", {folds} folds" if folds > 1 else ""))
    rated = {c: m["sensitivity"] for c, m in metrics["per_class"].items() if m["sensitivity"]["value"] is not None}
    weakest = min(rated, key=lambda c: rated[c]["value"])
    leaks = len(guard["leaks"])
    found = f"{leaks} leaks, named in the report" if leaks else "no leak found"
    if unchecked:
        found = f"not checked: {'; '.join(guard['not_checked'])}"
    return (
        f"accuracy {interval(accuracy)} on {where}",
        f"weakest class: {weakest}, sensitivity {interval(rated[weakest])}",
        f"leak guard (protocol {guard['protocol']}): {found}",
    )


def interval(estimate: Mapping[str, Any]) -> str:
    """An estimate in percent: `95.2 % (94.1 to 96.1)`."""
    if estimate["value"] is None:
        return f"not defined ({estimate['method']})"
    value = f"{100 * estimate['value']:.1f} %"
    if estimate["low"] is None:
        return value
    return f"{value} ({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})"


def draw_features(folder: Path, cell: str, out: Path, *, fold: int = 0) -> Path:
    """Draw what each unit of a run's network makes of a cell, as one PNG in `out`. `cell` is a cell_id or a file."""
    run = Run(folder)
    pixels = cell_pixels(run, cell)
    path = out / f"{_file_name(cell)}.png"
    preprocess = run.recipe.preprocess
    shown = shaped(pixels, preprocess)
    save_png(feature_map_sheet(feature_maps(run, fold, pixels), shown), path)
    return path


def draw_input(run: Run, cell: str, out: Path, *, fold: int = 0) -> None:
    """Draw, as PNG files in `out`, what becomes of a cell before the network sees it, and the fold's components."""
    pixels = cell_pixels(run, cell)
    if run.recipe.preprocess.input == "edges":
        steps = input_steps(run, fold, pixels)
        save_png(pipeline_strip(steps.cell, steps.grey, steps.responses, steps.latency, steps.steps, steps.stages),
                 out / f"1_from_cell_to_input_{_file_name(cell)}.png")
    _, stages = load_network(run, fold)
    if stages.pca is not None:
        size, channels = run.recipe.preprocess.size, len(stages.pca.mean) // run.recipe.preprocess.size**2
        save_png(components_sheet(stages.pca, size, channels), out / "2_mean_and_first_components.png")
        save_png(variance_curve(stages.pca), out / "3_variance_kept.png")
        if channels == 1:
            some = list(first_of_each_class(run).values())[:3]
            samples = np.stack([_input_before_components(run, stages, one) for one in some])
            counts = [k for k in REBUILT_FROM if k < len(stages.pca.components)]
            save_png(reconstruction_sheet(stages.pca, samples, (*counts, len(stages.pca.components))),
                     out / "4_rebuilt_from_components.png")


def _input_before_components(run: Run, stages: Stages, cell: str) -> np.ndarray:
    """(size, size) input of one cell before it is projected."""
    preprocess = run.recipe.preprocess
    pixels = shaped(cell_pixels(run, cell), preprocess)
    return stages.flat(torch.from_numpy(stages.levels(pixels[None]))).view(preprocess.size, preprocess.size).numpy()


def _file_name(cell: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(cell).stem)


def write_any_report(folder: Path) -> Path:
    """The page of a run, an evaluation, a study or a comparison, drawn anew from its folder."""
    if (folder / "compare.json").is_file():
        return draw_comparison(folder)
    if (folder / "study.json").is_file():
        for name in read_json(folder / "study.json")["runs"]:
            write_report(folder / name)
        return write_study(folder)
    if (folder / RESULT).is_file():
        write_shift(read_json(folder / RESULT), folder)
    if not (folder / "metrics.json").is_file():
        raise RunError(f"{folder}: no finished run (metrics.json is not there)",
                       "finish it with: leukoscope train ... --resume")
    return write_report(folder)

