"""What to expect in a laboratory like none of those trained on: each laboratory is tested by a network of the others.

Calibrated without the tested laboratory: the temperature and the radius of the conformal sets are those that suit the
left-out cells of the other laboratories. Needs the predictions of a run whose split is by laboratory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import polars as pl
from scipy.special import log_softmax

from ..bundle.calibration import conformal_radius, conformal_sets, fit_temperature
from ..errors import LeukoscopeError
from ..runs.laboratories import Laboratories, Laboratory, Point
from ..stats.estimate import Estimate
from .calibration import calibration_statistic
from .estimates import resample
from .table import Cells, IntervalOptions, read_cells

COVERAGE = 0.95
TARGET = 0.95
"""Sensitivity for the positive class that operating points are chosen for."""
_FLOOR = 1e-12  # a probability of 0 has no logit


def evaluate_laboratories(predictions: pl.DataFrame, classes: Sequence[str], sources: Mapping[int, str],
                          trained: Mapping[int, Collection[str]], *, positive: str = "", coverage: float = COVERAGE,
                          options: IntervalOptions | None = None) -> Laboratories:
    """predictions: as for `evaluate`. sources: fold -> laboratory that it tests; trained: fold -> classes that its
    network has seen. LeukoscopeError where no laboratory shares two classes with the others."""
    options = options or IntervalOptions()
    parts = {fold: _Part(predictions.filter(pl.col("fold") == fold), classes, trained[fold], positive)
             for fold in sorted(sources)}
    untested = tuple(sources[fold] for fold, part in parts.items() if len(part.answers) < 2)
    parts = {fold: part for fold, part in parts.items() if len(part.answers) > 1}
    if not parts:
        raise LeukoscopeError("no laboratory shares two classes with the others", "join tables with common labels")
    rows = [_row(sources[fold], part, [other for key, other in parts.items() if key != fold] or [part], coverage,
                 options) for fold, part in parts.items()]
    temperature, radius = _calibrated(list(parts.values()), coverage)
    return Laboratories(
        positive, coverage, tuple(rows), fmean(row.accuracy.value or 0.0 for row in rows),
        fmean(row.calibration_error for row in rows), fmean(row.covered.value or 0.0 for row in rows),
        min(rows, key=lambda row: row.accuracy.value or 0.0).name, temperature, radius, untested)


class _Part:
    """The cells that one fold tests. logits: (n, answers), up to a constant; labels: (n,) places in `answers`."""

    def __init__(self, table: pl.DataFrame, classes: Sequence[str], trained: Collection[str], positive: str) -> None:
        here = set(table["label"].unique().to_list())
        self.answers = tuple(name for name in classes if name in here and name in trained)
        own = table.filter(pl.col("label").is_in(self.answers))
        self.left_out = table.height - own.height
        self.cells = read_cells(own, classes)
        columns = [list(classes).index(name) for name in self.answers]
        self.logits = np.log(np.maximum(self.cells.probabilities[:, columns], _FLOOR))
        self.labels = np.searchsorted(columns, self.cells.labels)
        self.positive = list(classes).index(positive) if positive in trained else None

    def probabilities(self, temperature: float) -> np.ndarray:
        return np.exp(log_softmax(self.logits / temperature, axis=1))


def _calibrated(parts: Sequence[_Part], coverage: float) -> tuple[float, float]:
    """Temperature and radius that hold on the average over laboratories, large or small: each counts once."""
    most = min(len(part.labels) for part in parts)
    chosen = [np.linspace(0, len(part.labels) - 1, most).astype(int) for part in parts]
    width = max(part.logits.shape[1] for part in parts)
    padded = np.concatenate([np.pad(part.logits[rows], ((0, 0), (0, width - part.logits.shape[1])),
                                    constant_values=np.log(_FLOOR)) for part, rows in zip(parts, chosen, strict=True)])
    labels = np.concatenate([part.labels[rows] for part, rows in zip(parts, chosen, strict=True)])
    temperature = fit_temperature(padded, labels)
    return temperature, conformal_radius(np.exp(log_softmax(padded / temperature, axis=1)), labels, coverage)


def _row(name: str, part: _Part, others: Sequence[_Part], coverage: float, options: IntervalOptions) -> Laboratory:
    temperature, radius = _calibrated(others, coverage)
    probabilities = part.probabilities(temperature)
    sets, cells = conformal_sets(probabilities, radius), part.cells
    within = replace(cells, classes=part.answers, labels=part.labels, probabilities=probabilities,
                     predicted=probabilities.argmax(1))
    error = float(calibration_statistic(within)(np.ones((cells.count, 1)), slice(0, 1))[0])
    every, inside = np.ones(len(sets), bool), sets[np.arange(len(sets)), part.labels]
    accuracy, covered, unsure = (cells.rate(hits, every, options)
                                 for hits in (within.correct, inside, sets.sum(1) != 1))
    sensitivity, specificity = _rates(within, part, options)
    return Laboratory(name, len(part.labels), part.left_out, cells.unit, cells.count, part.answers, accuracy, error,
                      covered, unsure, _area(part, options), sensitivity, specificity, temperature, radius,
                      _point(within, part, others, options))


def _rates(within: Cells, part: _Part, options: IntervalOptions) -> tuple[Estimate | None, Estimate | None]:
    """How often the positive class is answered among cells that are of it, and not answered among the others, whatever
    else may be an answer."""
    if part.positive is None:
        return None, None
    return _rates_of(within, part.cells.predicted == part.positive, part.cells.labels == part.positive, options)


def _rates_of(within: Cells, called: np.ndarray, own: np.ndarray, options: IntervalOptions,
              ) -> tuple[Estimate | None, Estimate | None]:
    """Sensitivity and specificity. called, own: (n,) bool, whether a cell is called positive and whether it is."""
    first, second = (within.rate(hits, among, options) if among.any() else None
                     for hits, among in ((called, own), (~called, ~own)))
    return first, second


def _point(within: Cells, part: _Part, others: Sequence[_Part], options: IntervalOptions) -> Point | None:
    """The operating point of the other laboratories, each of which counts once, in this one."""
    scores = [other.cells.probabilities[other.cells.labels == other.positive, other.positive] for other in others
              if other.positive is not None and other is not part]
    scores = [own for own in scores if len(own)]
    if part.positive is None or not scores:
        return None
    every, weights = np.concatenate(scores), np.concatenate([np.full(len(own), 1 / len(own)) for own in scores])
    order = np.argsort(-every, kind="stable")
    reached = np.cumsum(weights[order]) / len(scores)
    threshold = float(every[order][min(int(np.searchsorted(reached, TARGET - 1e-9)), len(every) - 1)])
    called = part.cells.probabilities[:, part.positive] >= threshold
    return Point(threshold, TARGET, *_rates_of(within, called, part.cells.labels == part.positive, options))


def _area(part: _Part, options: IntervalOptions) -> Estimate | None:
    """Area under the ROC curve of the positive class against all others, whatever else may be an answer."""
    cells, positive = part.cells, part.positive
    if positive is None:
        return None
    own, score = (cells.labels == positive).astype(int), cells.probabilities[:, positive]
    if not own.any() or own.all():
        return None
    both = replace(cells, classes=("other", cells.classes[positive]), labels=own, predicted=(score > 0.5).astype(int),
                   probabilities=np.stack([1 - score, score], axis=1))
    return resample(both, options).class_estimates()[both.classes[1]].estimates["auc"]
