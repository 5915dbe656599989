"""A run or a bundle on cells that it has never seen: predictions, metrics, pages; and how robust it is on them.

Joins prediction, evaluation and pages; computes no metric and draws nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..bundle.bundle import DESCRIPTION, Bundle, open_bundle
from ..errors import ManifestError, RunError
from ..evaluate.corruptions import CORRUPTIONS, STRENGTHS, corrupt, scene_of
from ..evaluate.doubt import doubt
from ..evaluate.evaluate import evaluate
from ..evaluate.robustness import CELLS, measure_robustness
from ..figures.common import save_png
from ..figures.robustness import contact_sheet
from ..files import write_json, write_text
from ..images.read import read_cell
from ..manifest import write_manifest, write_table
from ..predict.classifiers import BundleClassifier, Classifier, within_classes
from ..predict.labelled import answers_allowed, bundle_recipe, predict_bundle
from ..predict.model import bundle_path
from ..predict.table import Predicted, mean_over_folds, predictions_table
from ..progress import OnProgress
from ..recipes.recipe import dump_recipe
from ..report.robustness import RESULT, SHEET, robustness_lines, write_robustness
from ..report.run import write_report
from ..runs.results import BUNDLE_RECIPE
from ..runs.run import Run
from .outcome import Outcome, interval, summary


@dataclass(frozen=True)
class EvaluateOptions:
    """How to evaluate. within: only classes that stand in the labels are answers. shift: measure robustness too, on at
    most `corrupted_cells` cells. micrometres: side of a pixel of these cells, where it is known."""

    skip_damaged: bool = False
    within: bool = False
    shift: bool = False
    corrupted_cells: int = CELLS
    micrometres: float | None = None


@dataclass(frozen=True)
class Evaluated:
    """What was predicted, the answers that were allowed, and what evaluating it needs."""

    predicted: Predicted
    classes: tuple[str, ...]
    classifier: Classifier
    facts: dict[str, Any]
    options: dict[str, Any]
    recipe: str = ""
    doubt: dict[str, Any] | None = None


def evaluate_model(path: Path, manifest: pl.DataFrame, out: Path, wanted: EvaluateOptions | None = None, *,
                   on_progress: OnProgress | None = None) -> Outcome:
    """Predict labelled cells from elsewhere with a finished run, or with a bundle, and evaluate.

    path: of the run or bundle; "packaged" for that of the package. Writes predictions, metrics, the guard's verdict and
    report.html into `out`, and with `wanted.shift` shift.html and shift.parquet. Raises LeakError where the cells were
    in the training, RunError where `out` is a run, a bundle or a file, ManifestError where the cells have no labels, or
    labels that a bundle does not know.
    """
    wanted, path = wanted or EvaluateOptions(), bundle_path(path)
    if out.is_file():
        raise RunError(f"{out}: is a file", "name a folder")
    held = next((name for name in ("recipe.toml", DESCRIPTION) if (out / name).is_file()), "")
    if held:
        what = "a run" if held == "recipe.toml" and not (out / DESCRIPTION).is_file() else "a bundle"
        raise RunError(f"{out}: holds {what}, which an evaluation would overwrite", "name another folder")
    is_bundle = path.is_file() or (path / DESCRIPTION).is_file()
    tried = (_try_bundle(open_bundle(path), manifest, wanted, on_progress) if is_bundle else
             _try_run(Run(path), manifest, wanted, on_progress))
    metrics = _write(tried, out)
    lines, more = [*summary(metrics, tried.predicted.verdict.to_dict()), *_doubt_lines(metrics)], {}
    for old in (RESULT, "shift.html", "shift.parquet"):  # of an evaluation that was here before
        (out / old).unlink(missing_ok=True)
    if wanted.shift:
        found, table = measure_robustness(
            tried.classifier, tried.predicted.manifest, tried.classes, count=wanted.corrupted_cells,
            micrometres=_scale(tried, wanted), seed=tried.options["seed"], on_progress=on_progress)
        found["all_cells"] = {"cells": metrics["cells"], "accuracy": metrics["overall"]["accuracy"]}
        write_table(table, out / "shift.parquet")
        found |= {"title": tried.facts["title"], "facts": tried.facts}
        write_json(out / RESULT, found)
        _draw_example(found, tried, out)
        lines += [*robustness_lines(found), f"robustness: {write_robustness(found, out)}"]
        more = {"shift": found}
    page = write_report(out)
    return Outcome(out, page, (*lines, f"report: {page}"), {**metrics, **more})


def evaluate_run(folder: Path, manifest: pl.DataFrame, out: Path, *, skip_damaged: bool = False,
                 on_progress: OnProgress | None = None) -> Outcome:
    """`evaluate_model` of a run, with all its classes as answers."""
    Run(folder)
    return evaluate_model(folder, manifest, out, EvaluateOptions(skip_damaged=skip_damaged), on_progress=on_progress)


def _try_run(run: Run, manifest: pl.DataFrame, wanted: EvaluateOptions, on_progress: OnProgress | None) -> Evaluated:
    from ..predict.run import RunClassifier, predict_run  # needs PyTorch; evaluating a bundle does not

    found = predict_run(run, manifest, skip_damaged=wanted.skip_damaged, on_progress=on_progress)
    if found.predictions["label"].null_count():
        raise ManifestError("the cells have no labels, so there is nothing to evaluate against",
                            f"label them with the run's classes: {', '.join(run.classes)}")
    # What there is to choose an operating point on for the mean of all folds: each cell's mean over those folds that
    # did not learn from it.
    validated = None if run.validation is None else mean_over_folds(run.validation, run.classes)
    kept = answers_allowed(run.classes, found.predictions["label"], wanted.within)
    classes = tuple(np.array(run.classes)[kept].tolist())
    if len(classes) < len(run.classes):
        table = _within(found.predictions, run.classes, kept)
        found = Predicted(table, found.manifest, found.left_out, found.verdict)
        validated = None if validated is None else _within(
            validated.filter(pl.col("label").is_in(classes)), run.classes, kept)
    facts = {"run": str(run.folder.resolve()), "recipe": run.recipe.name,
             "title": run.recipe.title or run.recipe.name,
             **_facts(run.classes, wanted, run.manifest["source"], found.manifest)}
    positive = run.recipe.data.positive if run.recipe.data.positive in classes else ""
    return Evaluated(found, classes, RunClassifier(run), facts,
                     {"positive": positive, "validation": validated, "seed": run.recipe.seed})


def _try_bundle(bundle: Bundle, manifest: pl.DataFrame, wanted: EvaluateOptions,
                on_progress: OnProgress | None) -> Evaluated:
    told, recipe = bundle.description, bundle_recipe(bundle)
    found = predict_bundle(bundle, manifest, skip_damaged=wanted.skip_damaged, within=wanted.within,
                           on_progress=on_progress)
    facts = {"bundle": str(bundle.path.resolve()), "digest": told.digest, "recipe": told.name,
             "title": told.title or told.name,
             **_facts(bundle.classes, wanted, pl.Series(told.trained.get("sources") or [], dtype=pl.String),
                      found.manifest)}
    whole = len(found.classes) == len(bundle.classes)
    options = {"positive": told.positive if whole else "", "threshold": told.threshold if whole else None,
               "seed": recipe.seed}
    return Evaluated(found, found.classes, BundleClassifier(bundle), facts, options, dump_recipe(recipe),
                     doubt(bundle, found.predictions, found.classes, seed=recipe.seed))


def _facts(classes: tuple[str, ...], wanted: EvaluateOptions, sources: pl.Series,
           cells: pl.DataFrame) -> dict[str, Any]:
    here = sorted(set(cells["source"].drop_nulls()))
    return {"classes": list(classes), "within_labels": wanted.within,
            "sources": {"trained": sorted(set(sources.drop_nulls())), "here": here}}


def _within(predictions: pl.DataFrame, classes: tuple[str, ...], kept: np.ndarray) -> pl.DataFrame:
    probabilities = predictions.select(f"p_{name}" for name in classes).to_numpy()
    return predictions_table(predictions, within_classes(probabilities, kept), np.array(classes)[kept].tolist(), fold=0)


def _write(tried: Evaluated, out: Path) -> dict[str, Any]:
    """The evaluation's folder but for its pages; gives the metrics."""
    write_table(tried.predicted.predictions, out / "predictions.parquet")
    write_manifest(tried.predicted.manifest, out / "manifest.parquet")
    write_json(out / "left_out.json", tried.predicted.left_out)
    write_json(out / "guard.json", tried.predicted.verdict.to_dict())
    write_json(out / "evaluation.json", tried.facts)
    if tried.recipe:
        write_text(out / BUNDLE_RECIPE, tried.recipe)
    metrics = evaluate(tried.predicted.predictions, tried.classes, **tried.options).to_dict()
    if tried.doubt is not None:
        metrics["doubt"] = tried.doubt
    write_json(out / "metrics.json", metrics)
    return metrics


def _scale(tried: Evaluated, wanted: EvaluateOptions) -> float | None:
    """Side of a pixel: as told, else as in training where these cells are of its sources."""
    sources = tried.facts["sources"]
    alike = sources["here"] and set(sources["here"]) <= set(sources["trained"])
    return wanted.micrometres or (tried.classifier.micrometres if alike else None)


def _draw_example(found: dict[str, Any], tried: Evaluated, out: Path) -> None:
    """The example cell under every corruption, as the square that is shown to the network."""
    row = tried.predicted.manifest.row(by_predicate=pl.col("cell_id") == found["example"]["cell_id"], named=True)
    pixels = read_cell(row)
    scene = scene_of(pixels, tried.classifier.shown(pixels), found["micrometres"])
    rows = {name: [tried.classifier.square(corrupt(name, strength, pixels, cell_id=row["cell_id"], scene=scene,
                                                   seed=found["seed"])) for strength in (0, *STRENGTHS)]
            for name in CORRUPTIONS}
    save_png(contact_sheet(found, rows), out / SHEET)


def _doubt_lines(metrics: dict[str, Any]) -> list[str]:
    """What a bundle's own doubts were worth, for a terminal."""
    found = metrics.get("doubt") or {}
    if not found:
        return []
    error = (metrics.get("calibration") or {}).get("expected_calibration_error")
    lines = [f"calibration error {interval(error)}"] if error else []
    if "unsure" in found:
        lines.append(f"unsure: {interval(found['unsure'])}; the conformal set holds the true class in "
                     f"{interval(found['covered'])}, aimed at {100 * found['coverage']:g} %")
    if "unknown" in found:
        lines.append(f"unlike those of training: {interval(found['unknown'])}")
    return lines
