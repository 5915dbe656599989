"""A run or a bundle on labelled cells from elsewhere: predictions, metrics, pages; and how robust it is on them.

Joins prediction, evaluation and pages; computes no metric and draws nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ..bundle.bundle import DESCRIPTION, Bundle, open_bundle
from ..datasets.labels import unknown_alike
from ..errors import ManifestError, RunError
from ..evaluation.corruptions import CORRUPTIONS, STRENGTHS, corrupt, scene_of
from ..evaluation.doubt import doubt
from ..evaluation.evaluate import evaluate
from ..evaluation.results import Metrics
from ..evaluation.robustness import CELLS, measure_robustness
from ..figures.common import save_png
from ..figures.robustness import contact_sheet
from ..files import JsonObject, write_json, write_text
from ..images.read import read_cell
from ..manifest import write_manifest, write_table
from ..predict.classifiers import BundleClassifier, Classifier, within_classes
from ..predict.labelled import answers_allowed, bundle_recipe, known_cells, predict_bundle
from ..predict.model import bundle_path
from ..predict.table import Predicted, mean_over_folds, predictions_table
from ..progress import OnProgress
from ..recipes.recipe import dump_recipe
from ..report.robustness import RESULT, SHEET, robustness_lines, write_robustness
from ..report.run import draw_report
from ..runs.results import BUNDLE_RECIPE, read_results
from ..runs.run import Run, check_finished
from ..text import interval, is_text
from .outcome import Outcome, summary


@dataclass(frozen=True)
class EvaluateOptions:
    """within: only classes among the labels may be answers. robustness: measure it too, on at most `corrupted_cells`
    cells. micrometres: side of a pixel of these cells, where it is known. leave_out_trained: leave out cells that the
    model was trained on, and others of the same people."""

    skip_damaged: bool = False
    within: bool = False
    robustness: bool = False
    corrupted_cells: int = CELLS
    micrometres: float | None = None
    leave_out_trained: bool = False


@dataclass(frozen=True)
class Evaluated:
    """Predictions and their metrics. facts: what evaluation.json holds; recipe: of a bundle, as TOML."""

    predicted: Predicted
    classifier: Classifier
    facts: JsonObject
    metrics: Metrics
    seed: int
    recipe: str = ""


def evaluate_model(path: Path, manifest: pl.DataFrame, out: Path, options: EvaluateOptions | None = None, *,
                   on_progress: OnProgress | None = None) -> Outcome:
    """Predict labelled cells from elsewhere with a finished run, or with a bundle, and evaluate.

    path: of the run or bundle; "packaged" for the built-in model. Writes predictions, metrics, the guard's verdict and
    report.html into `out`, and with `options.robustness` shift.html and shift.parquet. Raises LeakError where the cells
    were in the training, RunError where `out` is a run, a bundle or a file, ManifestError where the cells have no
    labels, or labels that a bundle does not know.
    """
    options, path = options or EvaluateOptions(), bundle_path(path)
    if out.is_file():
        raise RunError(f"{out}: is a file", "name a folder")
    if not is_text(str(out.absolute())):
        raise RunError(f"{out.absolute()}: this name is not UTF-8", "name another folder with -o, or rename it")
    for name, kind in ((DESCRIPTION, "a bundle"), ("recipe.toml", "a run")):
        if (out / name).is_file():
            raise RunError(f"{out}: holds {kind}, which an evaluation would overwrite", "name another folder")
    is_bundle = path.is_file() or (path / DESCRIPTION).is_file()
    evaluated = (_evaluate_bundle(open_bundle(path), manifest, options, on_progress) if is_bundle else
                 _evaluate_run(Run(path), manifest, options, on_progress))
    content = evaluated.metrics.to_dict()
    _write(evaluated, content, out)
    results = read_results(out)
    lines = [*summary(results), *_left_out_lines(evaluated), *_doubt_lines(evaluated.metrics)]
    for old in (RESULT, "shift.html", "shift.parquet"):  # of an earlier evaluation
        (out / old).unlink(missing_ok=True)
    if options.robustness:
        robustness = _robustness(evaluated, options, out, on_progress)
        content |= {"shift": robustness}
        lines += [*robustness_lines(robustness), f"robustness: {write_robustness(robustness, out)}"]
    page = draw_report(results)
    return Outcome(out, page, (*lines, f"report: {page}"), content)


def evaluate_run(folder: Path, manifest: pl.DataFrame, out: Path, *, skip_damaged: bool = False,
                 on_progress: OnProgress | None = None) -> Outcome:
    """`evaluate_model` of a run, with all its classes as answers."""
    Run(folder)
    return evaluate_model(folder, manifest, out, EvaluateOptions(skip_damaged=skip_damaged), on_progress=on_progress)


def _evaluate_run(run: Run, manifest: pl.DataFrame, options: EvaluateOptions,
                  on_progress: OnProgress | None) -> Evaluated:
    check_finished(run)
    known_cells(run, manifest)  # an error before the libraries load
    from ..predict.run import RunClassifier, predict_run  # needs PyTorch; evaluating a bundle does not

    predicted = predict_run(run, manifest, skip_damaged=options.skip_damaged,
                            leave_out_trained=options.leave_out_trained, on_progress=on_progress)
    if predicted.predictions["label"].null_count():
        raise ManifestError("the cells have no labels, so there is nothing to evaluate against",
                            f"label them with the run's classes: {', '.join(run.classes)}")
    # The operating point for the mean of all folds is chosen on each cell's mean over the folds that were not trained
    # on it.
    validated = None if run.validation is None else mean_over_folds(run.validation, run.classes)
    answers = answers_allowed(run.classes, predicted.predictions["label"], options.within)
    classes = tuple(np.array(run.classes)[answers].tolist())
    if len(classes) < len(run.classes):
        predicted = replace(predicted, predictions=_within(predicted.predictions, run.classes, answers))
        validated = None if validated is None else _within(
            validated.filter(pl.col("label").is_in(classes)), run.classes, answers)
    facts = {"run": str(run.folder.resolve()), "recipe": run.recipe.name, "title": run.recipe.title or run.recipe.name,
             **_facts(run.classes, options, run.manifest["source"], predicted)}
    positive = run.recipe.data.positive if run.recipe.data.positive in classes else ""
    metrics = evaluate(predicted.predictions, classes, positive=positive, validation=validated, seed=run.recipe.seed)
    return Evaluated(predicted, RunClassifier(run), facts, metrics, run.recipe.seed)


def _evaluate_bundle(bundle: Bundle, manifest: pl.DataFrame, options: EvaluateOptions,
                     on_progress: OnProgress | None) -> Evaluated:
    description, recipe = bundle.description, bundle_recipe(bundle)
    unknown = set(manifest["label"].replace(recipe.data.merge).drop_nulls()) - {"", *bundle.classes}
    if alike := unknown_alike(unknown, bundle.classes):
        raise ManifestError(alike[0], "the bundle knows its own classes only")
    predicted = predict_bundle(bundle, manifest, skip_damaged=options.skip_damaged, within=options.within,
                               leave_out_trained=options.leave_out_trained, on_progress=on_progress)
    trained = pl.Series(description.trained.get("sources") or [], dtype=pl.String)
    facts = {"bundle": str(bundle.path.resolve()), "digest": description.digest, "recipe": description.name,
             "title": description.title or description.name, **_facts(bundle.classes, options, trained, predicted)}
    whole = len(predicted.classes) == len(bundle.classes)
    metrics = evaluate(predicted.predictions, predicted.classes, positive=description.positive if whole else "",
                       threshold=description.threshold if whole else None, seed=recipe.seed)
    doubts = doubt(bundle, predicted.predictions, predicted.classes, seed=recipe.seed)
    return Evaluated(predicted, BundleClassifier(bundle), facts, replace(metrics, doubt=doubts), recipe.seed,
                     dump_recipe(recipe))


def _facts(classes: tuple[str, ...], options: EvaluateOptions, trained: pl.Series,
           predicted: Predicted) -> JsonObject:
    """trained: the sources of the cells of training."""
    sources = {name: sorted(set(column.drop_nulls()))
               for name, column in (("trained", trained), ("here", predicted.manifest["source"]))}
    return {"classes": list(classes), "within_labels": options.within, "sources": sources}


def _within(predictions: pl.DataFrame, classes: tuple[str, ...], answers: np.ndarray) -> pl.DataFrame:
    """The table with the answers (classes,) bool alone, whose probabilities add up to 1 again."""
    probabilities = within_classes(predictions.select(f"p_{name}" for name in classes).to_numpy(), answers)
    return predictions_table(predictions, probabilities, np.array(classes)[answers].tolist(), fold=0)


def _write(evaluated: Evaluated, metrics: JsonObject, out: Path) -> None:
    """The evaluation's folder but for its pages. metrics: what metrics.json holds."""
    predicted = evaluated.predicted
    write_table(predicted.predictions, out / "predictions.parquet")
    write_manifest(predicted.manifest, out / "manifest.parquet")
    write_json(out / "left_out.json", predicted.left_out.to_dict())
    write_json(out / "guard.json", predicted.verdict.to_dict())
    write_json(out / "evaluation.json", evaluated.facts)
    if evaluated.recipe:
        write_text(out / BUNDLE_RECIPE, evaluated.recipe)
    write_json(out / "metrics.json", metrics)


def _robustness(evaluated: Evaluated, options: EvaluateOptions, out: Path,
                on_progress: OnProgress | None) -> JsonObject:
    """Measure robustness; write its table, shift.json and the picture of the example cell. Gives what shift.json holds.
    """
    sources, metrics = evaluated.facts["sources"], evaluated.metrics
    classifier, cells = evaluated.classifier, evaluated.predicted.manifest
    trained_here = sources["here"] and {*sources["here"]} <= {*sources["trained"]}  # then the scale is that of training
    micrometres = options.micrometres or (classifier.micrometres if trained_here else None)
    robustness, table = measure_robustness(
        classifier, cells, metrics.classes, count=options.corrupted_cells, micrometres=micrometres,
        seed=evaluated.seed, on_progress=on_progress)
    content = robustness.to_dict() | {
        "all_cells": {"cells": metrics.cells, "accuracy": metrics.overall["accuracy"].to_dict()},
        "title": evaluated.facts["title"], "facts": evaluated.facts}
    write_table(table, out / "shift.parquet")
    write_json(out / RESULT, content)
    row = cells.row(by_predicate=pl.col("cell_id") == robustness.example["cell_id"], named=True)
    pixels = read_cell(row)
    scene = scene_of(pixels, classifier.shown(pixels), micrometres)
    pictures = {name: [classifier.square(corrupt(name, strength, pixels, cell_id=row["cell_id"], scene=scene,
                                                 seed=evaluated.seed)) for strength in (0, *STRENGTHS)]
                for name in CORRUPTIONS}
    save_png(contact_sheet(content, pictures), out / SHEET)
    return content


def _left_out_lines(evaluated: Evaluated) -> list[str]:
    """Cells that were left out and why; and labels that look like a class of the model and are not."""
    left_out = evaluated.predicted.left_out
    line = left_out.line(evaluated.predicted.manifest.height)
    return [*([line] if line else []), *unknown_alike(left_out.other_labels, evaluated.facts["classes"])]


def _doubt_lines(metrics: Metrics) -> list[str]:
    """How good a bundle's own warnings were, for a terminal."""
    warnings = metrics.doubt
    if warnings is None or (warnings.unsure is None and warnings.unknown is None):
        return []
    lines = [f"calibration error {interval(metrics.calibration.expected_calibration_error)}"]
    if warnings.unsure and warnings.covered and warnings.coverage:
        lines.append(f"unsure: {interval(warnings.unsure)}; the conformal set holds the true class in "
                     f"{interval(warnings.covered)}, aimed at {100 * warnings.coverage:g} %")
    return lines + ([f"unlike the cells of training: {interval(warnings.unknown)}"] if warnings.unknown else [])
