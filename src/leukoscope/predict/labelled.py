"""Labelled cells from elsewhere, predicted by a bundle: predictions, what is unsure, what was left out, the leak guard.

Evaluates nothing: `commands.evaluate` joins this with metrics and a page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle
from ..datasets.left_out import LeftOut
from ..errors import BundleError, ImageError, ManifestError, first_line
from ..files import parse_toml
from ..images.decode import Damaged, map_cells
from ..images.read import Pixels
from ..leaks.duplicates import Fingerprint, fingerprint, prints_table
from ..leaks.guard import Verdict
from ..leaks.training_overlap import table_overlap, without_overlap
from ..leaks.training_table import BITS_APART, BITS_APART_FRAMED
from ..manifest import make_manifest, without_copies
from ..progress import OnProgress
from ..recipes.recipe import Recipe, make_recipe
from ..runs.run import Run
from ..tables import Row
from .batches import Look, Prepared
from .classifiers import BundleClassifier, Classified, classify_cells, sets_of, within_classes
from .stream import NO_NUMBER
from .table import Predicted, doubt_columns, predictions_table

SAMPLE = 200
"""Cells that are compared with those of the training before the others, about."""


@dataclass(frozen=True)
class BundlePredicted(Predicted):
    """With a bundle, the table also has the columns `unsure`, `set`, `known` and `energy`. classes: those that may be
    answers."""

    classes: tuple[str, ...] = ()


def bundle_recipe(bundle: Bundle) -> Recipe:
    """The recipe of a bundle. BundleError where it is damaged."""
    try:
        return make_recipe(parse_toml(bundle.parts["recipe.toml"].decode()), f"{bundle.path}: recipe.toml")
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{bundle.path}: recipe.toml is not a recipe ({first_line(error)})",
                          "export it again, or download it again") from error


def predict_bundle(bundle: Bundle, manifest: pl.DataFrame, *, skip_damaged: bool = False, within: bool = False,
                   leave_out_trained: bool = False, on_progress: OnProgress | None = None) -> BundlePredicted:
    """Predict labelled cells from elsewhere, in constant memory but for the table.

    Labels are merged as the bundle's recipe says; cells without one are left out and counted. within: only the classes
    of these labels may be answers. Raises ManifestError for a label that the bundle does not know, ImageError for
    damaged cells unless they are to be skipped, LeakError where cells were in its training or validation part, unless
    it was trained under protocol "paper", or these cells are to be left out.
    """
    cells, left_out = labelled_cells(bundle, manifest)
    answers_allowed(bundle.classes, cells["label"], within)  # an error before the work; damaged cells may leave fewer
    classifier = BundleClassifier(bundle)
    if not leave_out_trained:
        _refuse_early(bundle, classifier, cells)
    classified = classify_cells(classifier, cells, with_fingerprint(classifier), 1, on_progress=on_progress)
    whole, damaged = whole_cells(cells, classified, skip_damaged)
    prints = prints_table(cells["cell_id"].to_list(), classified.notes).filter(whole)
    rows, cells, probabilities = np.flatnonzero(whole), cells.filter(whole), classified.probabilities[0]
    kept, verdict = without_overlap(bundle_overlap(bundle, cells, prints), cells["cell_id"], leave_out_trained)
    left_out = replace(left_out, damaged=tuple(damaged), trained=int((~kept).sum()))
    rows, cells = rows[kept], cells.filter(kept)
    energies = np.full(cells.height, np.nan) if classified.energies is None else classified.energies[0][rows]
    answers = answers_allowed(bundle.classes, cells["label"], within)
    names, radius, probabilities = np.array(bundle.classes, object)[answers], classifier.radius, probabilities[rows]
    sets = None if radius is None else sets_of(probabilities, radius, answers)
    table = predictions_table(cells, within_classes(probabilities, answers), names.tolist(), fold=0).with_columns(
        doubt_columns(names, sets, energies, classifier.least_energy))
    return BundlePredicted(table, cells, left_out, verdict, tuple(names.tolist()))


def with_fingerprint(classifier: BundleClassifier) -> Look[Fingerprint]:
    """Prepares a cell; the note is the fingerprint of what the network is shown."""
    def look(_: Row, pixels: Pixels) -> tuple[list[Prepared], Fingerprint]:
        cell = classifier.prepare(pixels)
        return [cell], fingerprint(cell)
    return look


def whole_cells(cells: pl.DataFrame, classified: Classified[Fingerprint],
                skip_damaged: bool) -> tuple[np.ndarray, list[Damaged]]:
    """Which cells have an answer, (n,) bool, and what is wrong with the others. Raises ImageError where there are
    others, unless they are to be skipped and a cell is left."""
    answered = np.isfinite(classified.probabilities[0]).all(1)
    unreadable = [cell.cell_id for cell in classified.damaged]
    silent = cells.filter(~answered).filter(~pl.col("cell_id").is_in(unreadable))
    damaged = [*classified.damaged, *(Damaged(row["cell_id"], row["image"], NO_NUMBER)
                                      for row in silent.iter_rows(named=True))]
    if damaged and not (skip_damaged and answered.any()):
        raise ImageError(damaged[0].image, f"{damaged[0].reason} (cell '{damaged[0].cell_id}'; {len(damaged)} of "
                         f"{cells.height} cells are damaged)", "no cell is left" if skip_damaged else
                         "repair the files, or leave them out with --skip-damaged")
    return answered, damaged


def _refuse_early(bundle: Bundle, classifier: BundleClassifier, cells: pl.DataFrame) -> None:
    """Raise LeakError before the network does any work, where the people of these cells or a sample of their pictures
    are in its training; it names every kind, which takes reading all pictures."""
    if bundle.seen is None or bundle.description.trained.get("protocol") == "paper":
        return
    for chosen in (cells.gather_every(max(1, cells.height // SAMPLE)), cells):
        notes: list[Fingerprint | None] = [None] * chosen.height
        for row, result in map_cells(chosen, lambda pixels: fingerprint(classifier.prepare(pixels))):
            notes[row] = None if isinstance(result, Damaged) else result
        readable = pl.Series([note is not None for note in notes], dtype=pl.Boolean)
        prints = prints_table(chosen["cell_id"].to_list(), notes).filter(readable)
        verdict = bundle_overlap(bundle, cells, prints)
        if not verdict.leaks:
            return
    without_overlap(verdict, cells["cell_id"], False)


def bundle_overlap(bundle: Bundle, cells: pl.DataFrame, prints: pl.DataFrame) -> Verdict:
    """Which of these cells the bundle was trained on; nothing is checked where the bundle does not say."""
    description, where = bundle.description, str(bundle.path)
    protocol = "paper" if description.trained.get("protocol") == "paper" else "clean"
    if bundle.seen is None:
        return Verdict(protocol, (), (f"cells that {where} was trained on (it does not say; export it again)",), ())
    bits = BITS_APART_FRAMED if description.frame == "cell" else BITS_APART
    verdict = table_overlap(where, bundle.seen, cells, prints, protocol, bits)
    missing = tuple(map(str, description.trained.get("not_in_seen") or ()))
    return replace(verdict, not_checked=verdict.not_checked + missing)


def answers_allowed(classes: tuple[str, ...], labels: pl.Series, within: bool) -> np.ndarray:
    """(classes,) bool: the classes that may be answers. ManifestError where they are fewer than two."""
    answers = np.array([not within or name in set(labels) for name in classes])
    if answers.sum() < 2:
        raise ManifestError("--within-labels: all cells are of one class, so there is nothing to tell apart",
                            "leave the option out, or add cells of another class")
    return answers


def labelled_cells(bundle: Bundle, manifest: pl.DataFrame) -> tuple[pl.DataFrame, LeftOut]:
    """The labelled cells, under the bundle's labels, and what is left out."""
    cells = without_copies(make_manifest(manifest))
    cells = cells.with_columns(pl.col("label").replace(bundle_recipe(bundle).data.merge).replace("", None))
    labelled = cells.filter(pl.col("label").is_not_null())
    known = ", ".join(bundle.classes)
    if labelled.is_empty():
        raise ManifestError("the cells have no labels, so there is nothing to evaluate against",
                            f"label them with the bundle's classes: {known}")
    others = labelled.filter(~pl.col("label").is_in(bundle.classes)).group_by("label").len().sort("label")
    if others.height:
        named = ", ".join(f"'{name}' ({count:,})" for name, count in others.iter_rows())
        raise ManifestError(f"the bundle does not know the label{'s' * (others.height > 1)} {named}",
                            f"its classes are {known}: rename the labels in the manifest, or leave those cells out")
    return labelled, LeftOut(unlabelled=cells.height - labelled.height)


def known_cells(run: Run, manifest: pl.DataFrame) -> tuple[pl.DataFrame, LeftOut]:
    """The cells to predict, under the run's labels, and what is left out."""
    cells = without_copies(make_manifest(manifest))
    merged = cells.with_columns(pl.col("label").replace(run.recipe.data.merge).replace("", None))
    unlabelled = merged["label"].is_null()
    known = merged["label"].is_in(run.classes).fill_null(False)
    others = merged.filter(~known & ~unlabelled).group_by("label").len().sort("label")
    left_out = LeftOut(other_labels=dict(others.iter_rows()), unlabelled=int(unlabelled.sum()) if known.any() else 0)
    cells = merged.filter(known if known.any() else unlabelled)
    if cells.is_empty():
        raise ManifestError(f"no cell has a label that the run knows ({', '.join(run.classes)}); labels there: "
                            f"{', '.join(others['label']) or 'none'}", "rename them in the manifest")
    return cells, left_out
