"""How a judge fares under each corruption at each strength, on the same cells: figures with intervals, and drops.

One corruption at a time, cell by cell, so that memory does not grow with cells or corruptions. Draws nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from ..errors import ImageError, LeukoscopeError
from ..images.read import Pixels
from ..predict.classifiers import Classifier, classify_cells, sets_of, within_classes
from ..predict.table import predictions_table
from ..progress import OnProgress
from ..stats.bootstrap import bootstrap_method, bootstrap_rate, cluster_bootstrap, percentile_interval
from ..stats.estimate import Estimate, no_estimate
from ..stats.paired import paired_difference
from ..stats.rates import wilson
from .corruptions import CORRUPTIONS, STRENGTHS, corrupt, scene_of, side_of
from .estimates import calibration_estimates, compute, counted_estimates
from .table import Cells, read_cells

CELLS = 400
"""Cells that are used unless told otherwise."""
ROUNDS = 1000
CLEAN = "clean"


@dataclass(frozen=True)
class _State:
    """What stays the same while corruptions change: the judge, the cells in the order of their ids, which classes may
    be answers, and the cells' answers when they are as they are."""

    classifier: Classifier
    cells: pl.DataFrame
    kept: np.ndarray
    clean: Cells
    seed: int
    micrometres: float | None

    @property
    def example(self) -> int:
        """A cell to show: of those that are judged rightly as they are, one of median probability."""
        right, sure = self.clean.predicted == self.clean.labels, self.clean.probabilities.max(1)
        rows = np.flatnonzero(right) if right.any() else np.arange(len(right))
        return int(rows[np.argsort(sure[rows], kind="stable")[len(rows) // 2]])


def measure_robustness(classifier: Classifier, cells: pl.DataFrame, classes: Sequence[str], *, count: int = CELLS,
                       micrometres: float | None = None, seed: int = 0,
                       on_progress: OnProgress | None = None) -> tuple[dict[str, Any], pl.DataFrame]:
    """What shift.json holds (without NaN), and the table of all conditions.

    cells: labelled manifest rows whose labels are among `classes`, the answers that are allowed. count: how many of
    them are used, drawn by the seed, each class by its share. micrometres: side of a pixel of these cells, else assumed
    (see `shift.scene_of`). Raises LeukoscopeError for fewer than two cells, ImageError where one cannot be read.
    """
    if count < 2:
        raise LeukoscopeError(f"--shift-cells {count}: expected 2 or more", f"{CELLS} is usual")
    chosen = drawn_cells(cells, count, seed)
    kept = np.isin(np.array(classifier.classes), np.array(classes))
    told = _Progress(on_progress, chosen.height, len(CORRUPTIONS) + 1)
    probabilities, energies = _classified(classifier, chosen, lambda _, pixels: [pixels], 1, told.of(0))
    table = predictions_table(chosen, within_classes(probabilities[0], kept), classes, fold=0)
    state = _State(classifier, chosen, kept, read_cells(table, classes), seed, micrometres)
    rows = [_condition(state, CLEAN, 0, None, probabilities[0], None if energies is None else energies[0], None)]
    found = {}
    for number, name in enumerate(CORRUPTIONS, start=1):
        found[name], own = _corruption(state, name, told.of(number))
        rows += own
    summary = sorted(found, key=lambda name: -(found[name]["mean_drop"]["value"] or 0.0))
    return {"cells": chosen.height, "of": cells.height, "counts": _counts(chosen), "unit": state.clean.unit,
            "clusters": state.clean.count, "seed": seed, "confidence": 0.95, "classes": list(classes),
            "micrometres": micrometres, "clean": rows[0], "corruptions": found, "order": summary,
            "example": {key: chosen[key][state.example] for key in ("cell_id", "label")},
            }, pl.DataFrame([_flat(row) for row in rows], infer_schema_length=None)


def drawn_cells(cells: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """About `count` cells in the order of their ids, each class by its share (largest remainders), at least one of
    each; which ones is decided by the seed and their ids alone, not by their order."""
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


def _corruption(state: _State, name: str, on_progress: OnProgress | None) -> tuple[dict[str, Any],
                                                                                   list[dict[str, Any]]]:
    chosen = CORRUPTIONS[name]

    def changed(row: Mapping[str, Any], pixels: Pixels) -> list[Pixels]:
        scene = scene_of(pixels, state.classifier.shown(pixels), state.micrometres)
        return [corrupt(name, strength, pixels, cell_id=row["cell_id"], scene=scene, seed=state.seed)
                for strength in STRENGTHS]

    probabilities, energies = _classified(state.classifier, state.cells, changed, len(STRENGTHS), on_progress)
    sides = [side_of(name, cell, state.seed) for cell in state.cells["cell_id"]] if chosen.sides else None
    rows = [_condition(state, name, strength, chosen.values[i], probabilities[i],
                       None if energies is None else energies[i], sides) for i, strength in enumerate(STRENGTHS)]
    right = np.stack([_answers(state, p).argmax(1) == state.clean.labels for p in probabilities])
    mean, drop = _over_strengths(state, right)
    return {"title": chosen.title, "unit": chosen.unit, "values": list(chosen.values), "mild": chosen.mild,
            "strong": chosen.strong, "sides": list(chosen.sides), "strengths": rows, "mean_accuracy": mean.to_dict(),
            "mean_drop": drop.to_dict()}, rows


def _classified(classifier: Classifier, cells: pl.DataFrame,
                change: Callable[[Mapping[str, Any], Pixels], list[Pixels]], ways: int,
                on_progress: OnProgress | None) -> tuple[np.ndarray, np.ndarray | None]:
    found = classify_cells(
        classifier, cells, lambda row, pixels: ([classifier.prepare(one) for one in change(row, pixels)], None),
        ways, on_progress=on_progress)
    if found.damaged:
        raise ImageError(found.damaged[0].image, found.damaged[0].reason, "leave the cell out, or mend its file")
    empty = np.flatnonzero(~np.isfinite(found.probabilities).all((0, 2)))
    if empty.size:
        raise LeukoscopeError(f"the network gives no number for cell '{cells['cell_id'][int(empty[0])]}'",
                              "leave the cell out of the manifest")
    return found.probabilities, found.energies


def _answers(state: _State, probabilities: np.ndarray) -> np.ndarray:
    return within_classes(probabilities, state.kept)


def _condition(state: _State, name: str, strength: int, value: float | None, probabilities: np.ndarray,
               energies: np.ndarray | None, sides: list[str] | None) -> dict[str, Any]:
    """All figures of the cells under one corruption at one strength."""
    p = _answers(state, probabilities)
    cells = replace(state.clean, probabilities=p, predicted=p.argmax(1))
    figures = compute(cells, confidence=0.95, rounds=ROUNDS, seed=state.seed, areas=False)
    overall = counted_estimates(figures)
    right, before = cells.predicted == cells.labels, state.clean.predicted == state.clean.labels
    clusters = None if cells.independent else cells.clusters
    drop = paired_difference(before, right, clusters).difference.to_dict() if strength else None
    classifier = state.classifier
    unsure = None if classifier.radius is None else float(
        (sets_of(probabilities, classifier.radius, state.kept).sum(1) != 1).mean())
    unknown = None if classifier.least_energy is None or energies is None else float(
        (energies < classifier.least_energy).mean())
    by_side = {side: _rate(cells, right, np.array([one == side for one in sides]))
               for side in CORRUPTIONS[name].sides} if sides else {}
    return {"corruption": name, "strength": strength, "value": value, "cells": len(cells.labels),
            "accuracy": overall["accuracy"], "macro_f1": overall["macro_f1"], "drop": drop, "unsure": unsure,
            "unknown": unknown, "calibration_error": calibration_estimates(figures)["expected_calibration_error"],
            "sides": by_side, "example": cells.classes[int(cells.predicted[state.example])]}


def _rate(cells: Cells, right: np.ndarray, own: np.ndarray) -> dict[str, Any]:
    """Accuracy of some of the cells."""
    if cells.independent:
        return wilson(int((right & own).sum()), int(own.sum())).to_dict()
    return bootstrap_rate(cells.by_cluster(right & own), cells.by_cluster(own), unit=cells.unit).to_dict()


def _over_strengths(state: _State, right: np.ndarray) -> tuple[Estimate, Estimate]:
    """The mean accuracy over the strengths, and how far it is below that of the clean cells, paired; both with the
    bootstrap by cluster. right: (strengths, n) bool."""
    cells = state.clean
    mean = right.mean(0)
    lost = (cells.predicted == cells.labels) - mean
    sums = np.stack([np.bincount(cells.clusters, each, cells.count) for each in (mean, lost)])
    sizes = np.bincount(cells.clusters, minlength=cells.count).astype(float)
    drawn = cluster_bootstrap({"means": lambda w, _: sums @ w / (sizes @ w)}, cells.count, ROUNDS, state.seed)["means"]

    def estimate(values: np.ndarray, rounds: np.ndarray, bounds: tuple[float, float], same: str) -> Estimate:
        value = float(values.mean())
        if cells.count == 1 or np.ptp(values) == 0:
            return no_estimate(f"no interval: {f'one {cells.unit} only' if cells.count == 1 else same}", value)
        low, high = percentile_interval(rounds, value, cells.count, 0.95, bounds)
        return Estimate(value, low, high, bootstrap_method(cells.unit, cells.count))

    return (estimate(mean, drawn[0], (0.0, 1.0), "all cells were judged alike"),
            estimate(lost, drawn[1], (-1.0, 1.0), "no cell was judged differently"))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of shift.parquet: numbers alone."""
    plain: dict[str, Any] = {key: row[key] for key in ("corruption", "strength", "value", "cells")}
    plain["value"] = None if row["value"] is None else float(row["value"])
    for key, prefix in (("accuracy", ""), ("macro_f1", "macro_f1_"), ("drop", "drop_"),
                        ("calibration_error", "calibration_error_")):
        found = row[key] or {"value": None, "low": None, "high": None}
        plain |= {key: found["value"], f"{prefix}low": found["low"], f"{prefix}high": found["high"]}
    return plain | {"unsure": row["unsure"], "unknown": row["unknown"]}


def _counts(cells: pl.DataFrame) -> dict[str, int]:
    return dict(cells.group_by("label").len().sort("label").iter_rows())


@dataclass(frozen=True)
class _Progress:
    """One bar over all passes."""

    on_progress: OnProgress | None
    cells: int
    passes: int

    def of(self, number: int) -> OnProgress | None:
        if self.on_progress is None:
            return None
        on_progress = self.on_progress
        return lambda done, _: on_progress(number * self.cells + done, self.passes * self.cells)
