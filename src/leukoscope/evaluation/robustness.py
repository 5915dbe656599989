"""How accurate a classifier is under each corruption at each strength, on the same cells: metrics and drops.

One corruption at a time, cell by cell, so that memory does not grow with cells or corruptions. Draws nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ..errors import ImageError, LeukoscopeError
from ..images.read import Pixels
from ..predict.classifiers import Classified, Classifier, classify_cells, sets_of, within_classes
from ..predict.table import predictions_table
from ..progress import OnProgress, behind
from ..runs.stored import Result
from ..stats.bootstrap import bootstrap_method, cluster_bootstrap, percentile_interval
from ..stats.estimate import Estimate, no_estimate
from ..stats.paired import paired_difference
from ..tables import Row
from .calibration import calibration, mean_statistic
from .corruptions import CORRUPTIONS, STRENGTHS, corrupt, scene_of, side_of
from .estimates import resample
from .table import Cells, IntervalOptions, read_cells

CELLS = 400
"""Cells that are used unless another number is given."""
ROUNDS = 1000
CLEAN = "clean"


@dataclass(frozen=True)
class Condition:
    """The cells under one corruption at one strength (0: as they are), whose `value` is in the corruption's unit. drop:
    accuracy lost against strength 0, paired; unsure, unknown: share of the cells, None where the classifier cannot
    tell; sides: accuracy of the cells changed each way; example: the answer for the example cell."""

    corruption: str
    strength: int
    value: float | None
    cells: int
    accuracy: Estimate
    macro_f1: Estimate
    drop: Estimate | None
    unsure: float | None
    unknown: float | None
    calibration_error: Estimate
    sides: Mapping[str, Estimate]
    example: str


@dataclass(frozen=True)
class Effect:
    """One corruption, described as in `Corruption`, at each strength and on the average over them."""

    title: str
    unit: str
    values: tuple[float, ...]
    mild: str
    strong: str
    sides: tuple[str, ...]
    strengths: tuple[Condition, ...]
    mean_accuracy: Estimate
    mean_drop: Estimate


@dataclass(frozen=True)
class Robustness(Result):
    """What shift.json holds of the cells: `cells` of them out of `of`, with the `counts` of each class. micrometres:
    side of a pixel, None where not known; order: corruptions by falling mean drop; example: cell_id and label of the
    cell that is shown."""

    cells: int
    of: int
    counts: Mapping[str, int]
    unit: str
    clusters: int
    seed: int
    confidence: float
    classes: tuple[str, ...]
    micrometres: float | None
    clean: Condition
    corruptions: Mapping[str, Effect]
    order: tuple[str, ...]
    example: Mapping[str, str]


@dataclass(frozen=True)
class _Setup:
    """What stays the same while corruptions change. cells: manifest rows in the order of their ids; answers: (classes,)
    bool, the classes that may be answers; clean: the predictions for the cells as they are."""

    classifier: Classifier
    cells: pl.DataFrame
    answers: np.ndarray
    clean: Cells
    seed: int
    micrometres: float | None

    @property
    def example(self) -> int:
        """A cell to show: of median probability among those that are classified correctly as they are."""
        correct, highest = self.clean.correct, self.clean.probabilities.max(1)
        rows = np.flatnonzero(correct) if correct.any() else np.arange(len(correct))
        return int(rows[np.argsort(highest[rows], kind="stable")[len(rows) // 2]])


def measure_robustness(classifier: Classifier, cells: pl.DataFrame, classes: Sequence[str], *, count: int = CELLS,
                       micrometres: float | None = None, seed: int = 0,
                       on_progress: OnProgress | None = None) -> tuple[Robustness, pl.DataFrame]:
    """The classifier's robustness, and the table of all conditions.

    cells: labelled manifest rows whose labels are among `classes`, the answers that are allowed. count: how many of
    them are used, drawn by the seed, each class by its share. micrometres: side of a pixel of these cells, else assumed
    (see `corruptions.scene_of`). Raises LeukoscopeError for fewer than two cells, ImageError where one cannot be read.
    """
    if count < 2:
        raise LeukoscopeError(f"--shift-cells {count}: expected 2 or more", f"{CELLS} is usual")
    chosen = drawn_cells(cells, count, seed)
    answers = np.isin(np.array(classifier.classes), np.array(classes))
    total = chosen.height * (len(CORRUPTIONS) + 1)
    plain = _classify(classifier, chosen, lambda _, pixels: [pixels], 1, behind(on_progress, 0, total))
    table = predictions_table(chosen, within_classes(plain.probabilities[0], answers), classes, fold=0)
    setup = _Setup(classifier, chosen, answers, read_cells(table, classes), seed, micrometres)
    clean = _condition(setup, CLEAN, 0, plain)
    effects = {name: _effect(setup, name, behind(on_progress, number * chosen.height, total))
               for number, name in enumerate(CORRUPTIONS, start=1)}
    order = sorted(effects, key=lambda name: -(effects[name].mean_drop.value or 0.0))
    conditions = [clean, *(condition for effect in effects.values() for condition in effect.strengths)]
    return Robustness(
        chosen.height, cells.height, dict(chosen.group_by("label").len().sort("label").iter_rows()), setup.clean.unit,
        setup.clean.count, seed, 0.95, tuple(classes), micrometres, clean, effects, tuple(order),
        {key: chosen[key][setup.example] for key in ("cell_id", "label")},
    ), pl.DataFrame([_row(condition) for condition in conditions], infer_schema_length=None)


def drawn_cells(cells: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """About `count` cells in the order of their ids, each class by its share (largest remainders), at least one of
    each; which ones depends on the seed and their ids alone, not on their order."""
    if cells.height <= count:
        return cells.sort("cell_id")
    sizes = cells.group_by("label").len().sort("label")
    exact = sizes["len"].to_numpy() * count / cells.height
    wanted = np.maximum(np.floor(exact), 1).astype(int)
    for k in np.argsort(wanted - exact, kind="stable")[:max(count - int(wanted.sum()), 0)]:
        wanted[k] += 1
    draws = pl.Series("_draw", [hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
                                for name in cells["cell_id"]])
    ordered = cells.with_columns(draws).sort("_draw")
    parts = [ordered.filter(pl.col("label") == label).head(number)
             for label, number in zip(sizes["label"], wanted.tolist(), strict=True)]
    return pl.concat(parts).drop("_draw").sort("cell_id")


def _effect(setup: _Setup, name: str, on_progress: OnProgress | None) -> Effect:
    corruption = CORRUPTIONS[name]

    def at_strengths(row: Row, pixels: Pixels) -> list[Pixels]:
        scene = scene_of(pixels, setup.classifier.shown(pixels), setup.micrometres)
        return [corrupt(name, strength, pixels, cell_id=row["cell_id"], scene=scene, seed=setup.seed)
                for strength in STRENGTHS]

    classified = _classify(setup.classifier, setup.cells, at_strengths, len(STRENGTHS), on_progress)
    conditions = tuple(_condition(setup, name, strength, classified) for strength in STRENGTHS)
    correct = within_classes(classified.probabilities, setup.answers).argmax(2) == setup.clean.labels
    mean, drop = _over_strengths(setup, correct)
    return Effect(corruption.title, corruption.unit, corruption.values, corruption.mild, corruption.strong,
                  corruption.sides, conditions, mean, drop)


def _classify(classifier: Classifier, cells: pl.DataFrame,
              change: Callable[[Row, Pixels], list[Pixels]], ways: int,
              on_progress: OnProgress | None) -> Classified[None]:
    classified = classify_cells(
        classifier, cells, lambda row, pixels: ([classifier.prepare(way) for way in change(row, pixels)], None), ways,
        on_progress=on_progress)
    for damaged in classified.damaged:
        raise ImageError(damaged.image, damaged.reason, "leave the cell out, or repair its file")
    for row in np.flatnonzero(~np.isfinite(classified.probabilities).all((0, 2))).tolist():
        raise LeukoscopeError(f"the network returned NaN for cell '{cells['cell_id'][row]}'",
                              "leave the cell out of the manifest")
    return classified


def _condition(setup: _Setup, name: str, strength: int, classified: Classified[None]) -> Condition:
    """All metrics at one strength of a corruption; 0: of the cells as they are."""
    classifier, way = setup.classifier, max(strength - 1, 0)
    probabilities = classified.probabilities[way]
    allowed = within_classes(probabilities, setup.answers)
    cells = replace(setup.clean, probabilities=allowed, predicted=allowed.argmax(1))
    resampled = resample(cells, IntervalOptions(rounds=ROUNDS, seed=setup.seed), ranked=False)
    overall = resampled.counted_estimates()
    value, drop, sides = None, None, {}
    if strength:
        value = CORRUPTIONS[name].values[way]
        drop = paired_difference(setup.clean.correct, cells.correct,
                                 None if cells.independent else cells.clusters).difference
        changed = np.array([side_of(name, cell, setup.seed) for cell in setup.cells["cell_id"]])
        sides = {side: cells.rate(cells.correct, changed == side) for side in CORRUPTIONS[name].sides}
    unsure, unknown = None, None
    if classifier.radius is not None:
        unsure = float((sets_of(probabilities, classifier.radius, setup.answers).sum(1) != 1).mean())
    if classifier.least_energy is not None and classified.energies is not None:
        unknown = float((classified.energies[way] < classifier.least_energy).mean())
    return Condition(name, strength, value, len(cells.labels), overall["accuracy"], overall["macro_f1"], drop, unsure,
                     unknown, calibration(cells, resampled.rounds, 0.95).expected_calibration_error, sides,
                     cells.classes[int(cells.predicted[setup.example])])


def _over_strengths(setup: _Setup, correct: np.ndarray) -> list[Estimate]:
    """The mean accuracy over the strengths, and how far it is below that of the clean cells, paired; both with the
    bootstrap by cluster. correct: (strengths, n) bool."""
    cells, mean = setup.clean, correct.mean(0)
    values = np.stack([mean, cells.correct - mean])
    drawn = cluster_bootstrap({"means": mean_statistic(cells, values)}, cells.count, ROUNDS, setup.seed)["means"]
    estimates = []
    for own, rounds, least, same in zip(values, drawn, (0.0, -1.0), (
            "all cells were judged alike", "no cell was judged differently"), strict=True):
        value = float(own.mean())
        if cells.count == 1 or np.ptp(own) == 0:
            reason = f"one {cells.unit} only" if cells.count == 1 else same
            estimates.append(no_estimate(f"no interval: {reason}", value))
        else:
            low, high = percentile_interval(rounds, value, cells.count, 0.95, (least, 1.0))
            estimates.append(Estimate(value, low, high, bootstrap_method(cells.unit, cells.count)))
    return estimates


def _row(condition: Condition) -> dict[str, float | str | None]:
    """A row of shift.parquet."""
    value = None if condition.value is None else float(condition.value)
    row: dict[str, float | str | None] = {"corruption": condition.corruption, "strength": condition.strength,
                                          "value": value, "cells": condition.cells}
    for key, prefix in (("accuracy", ""), ("macro_f1", "macro_f1_"), ("drop", "drop_"),
                        ("calibration_error", "calibration_error_")):
        estimate = getattr(condition, key) or Estimate(None, None, None, "")
        row |= {key: estimate.value, f"{prefix}low": estimate.low, f"{prefix}high": estimate.high}
    return row | {"unsure": condition.unsure, "unknown": condition.unknown}
