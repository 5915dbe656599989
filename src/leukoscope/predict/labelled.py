"""Labelled cells from elsewhere before a bundle: predictions, what is unsure, what was left out, and the leak guard.

Evaluates nothing: `experiments_evaluate` joins this with metrics and a page.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle
from ..errors import BundleError, ImageError, ManifestError
from ..images.decode import Damaged
from ..leaks.duplicates import fingerprint, prints_table
from ..leaks.guard import Verdict
from ..leaks.training_overlap import refuse_overlap, table_overlap
from ..leaks.training_table import BITS_APART, BITS_APART_FRAMED
from ..manifest import make_manifest, without_copies
from ..progress import OnProgress
from ..recipes.recipe import Recipe, make_recipe
from .classifiers import BundleClassifier, classify_cells, sets_of, within_classes
from .table import Predicted, predictions_table


@dataclass(frozen=True)
class BundlePredicted(Predicted):
    """Beyond what a run gives, the table has the columns `unsure`, `set`, `known` and `energy`. classes: the answers
    that were allowed."""

    classes: tuple[str, ...] = ()


def bundle_recipe(bundle: Bundle) -> Recipe:
    """The recipe inside a bundle; BundleError where it is none."""
    try:
        return make_recipe(tomllib.loads(bundle.parts["recipe.toml"].decode()), f"{bundle.path}: recipe.toml")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{bundle.path}: recipe.toml is no recipe ({error})", "export or fetch the bundle anew") \
            from error


def predict_bundle(bundle: Bundle, manifest: pl.DataFrame, *, skip_damaged: bool = False, within: bool = False,
                   on_progress: OnProgress | None = None) -> BundlePredicted:
    """Predict labelled cells from elsewhere, in constant memory but for the table.

    Labels are merged as the bundle's recipe says; cells without one are left out and counted. within: only classes that
    stand in the labels are answers. Raises ManifestError for a label that the bundle does not have, ImageError for
    damaged cells unless they are to be skipped, LeakError where cells were in its training or validation part (unless
    it was trained under protocol "paper").
    """
    cells, left_out = _labelled(bundle, manifest)
    answers_allowed(bundle.classes, cells["label"], within)  # said before the work; damaged cells may leave fewer
    classifier = BundleClassifier(bundle)

    def look(_: Any, pixels: np.ndarray) -> tuple[list[np.ndarray], Any]:
        cell = classifier.prepare(pixels)
        return [cell], fingerprint(cell)

    found = classify_cells(classifier, cells, look, 1, on_progress=on_progress)
    damaged = [*found.damaged, *_unanswered(cells, found.probabilities[0], {d.cell_id for d in found.damaged})]
    if damaged and not (skip_damaged and len(damaged) < cells.height):
        raise ImageError(damaged[0].image, f"{damaged[0].reason} (cell '{damaged[0].cell_id}'; {len(damaged)} of "
                         f"{cells.height} cells are damaged)", "none is left to work with" if skip_damaged else
                         "mend the files, or leave them out with --skip-damaged")
    left_out["damaged"] = [{key: str(value) for key, value in asdict(one).items()} for one in damaged]
    whole = ~cells["cell_id"].is_in([one.cell_id for one in damaged])
    prints = prints_table(cells["cell_id"].to_list(), found.notes).filter(whole)
    rows, cells = whole.to_numpy(), cells.filter(whole)
    verdict = bundle_overlap(bundle, cells, prints)
    refuse_overlap(verdict)
    energy = None if found.energies is None else found.energies[0][rows]
    kept = answers_allowed(bundle.classes, cells["label"], within)
    table = _table(bundle, cells, found.probabilities[0][rows], energy, kept)
    return BundlePredicted(table, cells, left_out, verdict, tuple(np.array(bundle.classes)[kept].tolist()))


def bundle_overlap(bundle: Bundle, cells: pl.DataFrame, prints: pl.DataFrame) -> Verdict:
    """What the guard finds of these cells in what the bundle was trained on; one that does not say is not checked."""
    protocol = "paper" if bundle.description.trained.get("protocol") == "paper" else "clean"
    where = str(bundle.path)
    if bundle.seen is None:
        return Verdict(protocol, (), (f"cells that {where} was trained on (it does not say; export it anew)",), ())
    bits = BITS_APART_FRAMED if bundle.description.frame == "cell" else BITS_APART
    verdict = table_overlap(where, bundle.seen, cells, prints, protocol, bits)
    missing = tuple(str(one) for one in bundle.description.trained.get("not_in_seen") or ())
    return replace(verdict, not_checked=verdict.not_checked + missing)


def answers_allowed(classes: tuple[str, ...], labels: pl.Series, within: bool) -> np.ndarray:
    """(classes,) bool: the classes that may be answers. ManifestError where they are fewer than two."""
    kept = np.array([not within or name in set(labels) for name in classes])
    if kept.sum() < 2:
        raise ManifestError("--within-labels: the cells are of one class alone, so there is nothing to tell apart",
                            "leave the option out, or add cells of another class")
    return kept


def _labelled(bundle: Bundle, manifest: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
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
                            f"it tells {known} apart: rename them in the manifest, or leave those cells out")
    return labelled, {"damaged": [], "other_labels": {}, "over_per_class": 0,
                      "unlabelled": cells.height - labelled.height}


def _unanswered(cells: pl.DataFrame, probabilities: np.ndarray, damaged: set[str]) -> list[Damaged]:
    """Cells that can be read and of which the network gives no number."""
    empty = np.flatnonzero(~np.isfinite(probabilities).all(1)).tolist()
    return [Damaged(row["cell_id"], row["image"], "the network gives no number for it")
            for row in cells[empty].iter_rows(named=True) if row["cell_id"] not in damaged]


def _table(bundle: Bundle, cells: pl.DataFrame, probabilities: np.ndarray, energy: np.ndarray | None,
           kept: np.ndarray) -> pl.DataFrame:
    told = bundle.description
    names = np.array(bundle.classes, object)[kept]
    table = predictions_table(cells, within_classes(probabilities, kept), names.tolist(), fold=0)
    unsure, sets = [None] * cells.height, [None] * cells.height
    if told.radius is not None:
        inside = sets_of(probabilities, told.radius, kept)
        unsure = (inside.sum(1) != 1).tolist()
        sets = [json.dumps(names[row].tolist(), ensure_ascii=False) for row in inside]
    known = [None] * cells.height if told.least_energy is None or energy is None else \
        (energy >= told.least_energy).tolist()
    return table.with_columns(pl.Series("unsure", unsure, dtype=pl.Boolean), pl.Series("set", sets, dtype=pl.String),
                              pl.Series("known", known, dtype=pl.Boolean),
                              pl.Series("energy", energy, dtype=pl.Float32))
