"""The page of a run: one self-contained HTML file, from the run folder alone.

Reads results and shows them; of figures it computes only which attributes go with the errors. The page of several runs
is in `study.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from markupsafe import Markup

from .. import __version__
from ..evaluation.attributes import Attributes, errors_by_attribute
from ..evaluation.laboratories import read_laboratories, read_shortcut
from ..figures.metrics import run_figures
from ..figures.svg import sheet_uri, svg
from ..figures.training import training_figure
from ..files import write_json
from ..recipes.recipe import dump_recipe
from ..runs.results import Results, read_results
from ..runs.run import LABORATORIES
from . import numbers
from .data import data_table, worst_mistakes
from .html import write_page
from .sentences import describe

ATTRIBUTES = "attributes.json"
PICTURE_BUDGET = 930_000
"""Characters of pictures in the page, so that it stays below 1.5 MB; the others are named, and stay in the folder."""


@dataclass(frozen=True)
class Pictures:
    """PNG files of a folder of figures as (name, data URI), and the names of those that are too large."""

    shown: tuple[tuple[str, Markup], ...]
    omitted: tuple[str, ...]


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
    laboratories = read_laboratories(folder) if (folder / LABORATORIES).is_file() else None
    worst = next((row for row in laboratories.rows if row.name == laboratories.worst), None) if laboratories else None
    return write_page(
        folder / "report.html", "report.html", figures, results=results, metrics=metrics, words=words, data=data,
        attributes=_attributes(results), laboratories=laboratories, worst_laboratory=worst,
        shortcut=read_shortcut(folder), mistakes=mistakes, cards=cards, class_keys=class_keys,
        weakest=weakest, training=training, pictures=shown,
        folds={fold.fold: fold for fold in results.folds}, shift=(folder / "shift.html").is_file(),
        recipe_text=dump_recipe(recipe) if recipe else "", version=results.environment.leukoscope or __version__)


def _attributes(results: Results) -> Attributes | None:
    """Which attributes of the tested cells go with the errors; written as JSON too."""
    table = results.predictions if results.manifest is None else results.manifest
    attributes = errors_by_attribute(results.predictions, results.metrics.classes, table)
    if attributes is None:
        (results.folder / ATTRIBUTES).unlink(missing_ok=True)
    else:
        write_json(results.folder / ATTRIBUTES, attributes.to_dict())
    return attributes


def pictures(folder: Path, left: int) -> tuple[Pictures, int]:
    """The PNG files of a folder, as far as `left` characters go, and those left after them."""
    shown, omitted = [], []
    for file in sorted(folder.glob("*.png")):
        uri = sheet_uri(file)
        if not uri or len(uri) > left:
            omitted.append(file.name)
            continue
        left -= len(uri)
        shown.append((file.stem.lstrip("0123456789_").replace("_", " "), Markup(uri)))
    return Pictures(tuple(shown), tuple(omitted)), left
