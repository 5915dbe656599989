"""The page of a run: one self-contained HTML file, from the run folder alone.

Reads results and shows them; only which attributes go with the errors is computed anew. The page of several runs
is in `study.py`.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from .. import __version__
from ..evaluation.attributes import write_attributes
from ..figures.metrics import run_figures
from ..figures.sheets import pictures
from ..figures.svg import svg
from ..figures.training import training_figure
from ..recipes.recipe import dump_recipe
from ..runs.results import Results, read_results
from . import numbers
from .data import data_table, worst_mistakes
from .html import write_page
from .sentences import describe

PICTURE_BUDGET = 930_000
"""Characters of pictures in the page, so that it stays below 1.5 MB; the others are named, and stay in the folder."""


def write_report(run_folder: Path) -> Path:
    """Write `report.html` (and its figures as `figures/*.svg`) into a finished run, or the evaluation of one; where
    cells have attributes, attributes.json too.

    Raises RunError, naming the file, where the folder is not finished or damaged. Images that are gone are named in
    the page.
    """
    return draw_report(read_results(Path(run_folder)))


def draw_report(results: Results) -> Path:
    """`write_report` of a folder that has been read."""
    folder, metrics, recipe = results.folder, results.metrics, results.recipe
    words, data, mistakes = describe(results), data_table(results), worst_mistakes(results)
    cards, class_keys, weakest = numbers.cards(metrics), numbers.class_keys(metrics), numbers.weakest_classes(metrics)
    sure = results.predictions.select(pl.max_horizontal(f"p_{name}" for name in metrics.classes)).to_series()
    figures = run_figures(metrics, sure.to_numpy())
    training = [svg(training_figure(fold.history, best_epoch=fold.best_epoch,
                                    title="Training" if len(results.folds) == 1 else f"Fold {fold.fold}"))
                for fold in results.folds if fold.history is not None]
    shown, left = {}, PICTURE_BUDGET
    for name in ("optics", "explanations", "input", "copies", "feature_maps"):
        shown[name], left = pictures(folder / "figures" / name, left)
    attributes = write_attributes(results)
    return write_page(
        folder / "report.html", "report.html", figures, results=results, metrics=metrics, words=words, data=data,
        attributes=attributes, laboratories=results.laboratories, shortcut=results.shortcut, mistakes=mistakes,
        cards=cards, class_keys=class_keys, weakest=weakest, training=training, pictures=shown,
        folds={fold.fold: fold for fold in results.folds}, shift=(folder / "shift.html").is_file(),
        recipe_text=dump_recipe(recipe) if recipe else "", version=results.environment.leukoscope or __version__)
