"""From a recipe and a manifest to a folder with a report: one run, or one for each variant.

Combines training, prediction, evaluation and pages; trains nothing and draws nothing itself.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ..files import read_json, write_json
from ..recipes.recipe import Recipe
from ..report.run import draw_report
from ..report.study import write_study
from ..runs.laboratories import Laboratories, Point
from ..runs.results import read_results
from ..runs.run import LABORATORIES, Run
from ..text import interval, percent
from ..train.epochs import OnEvent
from ..train.folder import run_folders
from ..train.prepare import with_laboratories
from ..train.time_left import Countdown
from ..train.train import train
from .example_cells import draw_copies, example_cell
from .explain import draw_explanations
from .features import draw_features, draw_input
from .optics import draw_optics
from .outcome import Outcome, summary
from .shortcut import check_shortcut


def run_experiment(
    recipe: Recipe,
    manifest: pl.DataFrame,
    out: Path,
    *,
    resume: bool = False,
    skip_damaged: bool = False,
    devices: int = 1,
    on_event: OnEvent | None = None,
    countdown: Countdown | None = None,
) -> Outcome:
    """Train a recipe, or each of its variants in a folder of its own, and write the page.

    countdown: receives the events instead of `on_event` where this experiment is a part of several.
    """
    variants = {folder: with_laboratories(variant, manifest) for folder, variant in run_folders(recipe, out).items()}
    countdown = countdown or Countdown(out, variants, on_event)
    outcomes = [_outcome(train(variant, manifest, folder, resume=resume, skip_damaged=skip_damaged, devices=devices,
                               on_event=countdown.of(folder)))
                for folder, variant in variants.items()]
    if not recipe.variants:
        return outcomes[0]
    by_name = dict(zip(recipe.variants, outcomes, strict=True))
    write_json(out / "study.json", {
        "title": recipe.title or recipe.name, "description": " ".join(recipe.description.split()),
        "runs": list(by_name), "paper": {}})
    page = write_study(out)
    lines = [f"{name}: {outcome.lines[0]}" for name, outcome in by_name.items()]
    return Outcome(out, page, (*lines, f"report: {page}"), {name: o.metrics for name, o in by_name.items()})


def _originals(run: Run) -> int:
    """Cells that a run uses, without the copies that it made of them."""
    manifest = run.manifest
    return manifest.filter(pl.col("copy") == 0).height if "copy" in manifest.columns else manifest.height


def _outcome(run: Run) -> Outcome:
    """Draw the figures and the page of a finished run."""
    example = example_cell(run)
    draw_features(run.folder, example, run.folder / "figures" / "feature_maps", fold=run.folds[0])
    draw_input(run, example, run.folder / "figures" / "input", fold=run.folds[0])
    draw_copies(run)
    draw_explanations(run)
    if run.recipe.optics.simulate:
        draw_optics(run, fold=run.folds[0])
    if (run.folder / LABORATORIES).is_file():
        check_shortcut(run)  # before the results are read, of which it is one
    results = read_results(run.folder)
    page = draw_report(results)
    left_out = results.left_out.line(_originals(run)) if results.left_out else ""
    lines = (*(_laboratory_lines(results.laboratories) if results.laboratories else []),
             *([results.shortcut.sentence] if results.shortcut else []), *summary(results),
             *([left_out] if left_out else []), f"report: {page}")
    return Outcome(run.folder, page, lines, read_json(run.folder / "metrics.json"))


def _laboratory_lines(found: Laboratories) -> list[str]:
    """What is to be expected in a laboratory that was not trained on."""
    rows = [f"not trained on {row.name}: accuracy {interval(row.accuracy)} of {row.cells:,} cells" +
            (f", area for {found.positive} {row.area.value:.3f}" if row.area and row.area.value is not None else "") +
            (_point_line(row.point) if row.point else "") for row in found.rows]
    rows += [f"{name}: not tested, since fewer than two of its classes are known to the others"
             for name in found.untested]
    return [*rows, f"mean over laboratories {percent(found.accuracy)}, calibration error "
                   f"{percent(found.calibration_error)}, true class in the set {percent(found.covered)} (aim "
                   f"{percent(found.coverage, 0)})"]


def _point_line(point: Point) -> str:
    """Rates at the operating point that the other laboratories give."""
    rates = [f"{name} {interval(rate)}" for name, rate in (("sensitivity", point.sensitivity),
                                                           ("specificity", point.specificity)) if rate is not None]
    return f"; at the operating point of the others ({point.threshold:.3g}): {', '.join(rates)}"
