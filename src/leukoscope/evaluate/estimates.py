"""Every figure of a set of cells with its interval: Wilson and DeLong where cells are independent, else the bootstrap
by subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..stats.areas import delong
from ..stats.bootstrap import bootstrap_method, cluster_bootstrap, effective_clusters, percentile_interval
from ..stats.estimate import Estimate, no_estimate
from ..stats.rates import wilson
from .calibration import calibration, calibration_statistic, losses, mean_statistic
from .confusion import (
    AVERAGED,
    CLASS_FIGURES,
    class_counts,
    class_figures,
    classes_used,
    confusion_matrix,
    confusion_units,
    counts_by_cluster,
    mean_of_known,
    overall_figures,
)
from .ranking import areas_once, areas_statistic, rankings
from .table import Cells

SIGNED = ("kappa", "mcc")
OF_ITS_CELLS = ("sensitivity", "ppv", "npv", "f1", "fnr")  # not defined, or without meaning, in an absent class


@dataclass(frozen=True)
class Figures:
    """Point figures and their bootstrap replicates.

    matrix: (classes, classes). by_class: figure -> (classes,); overall: figure -> number. The same names in
    `class_rounds` (classes, rounds) and `overall_rounds` (rounds,). areas: (2, classes), `area_rounds` with rounds.
    """

    cells: Cells
    confidence: float
    matrix: np.ndarray
    by_class: dict[str, np.ndarray]
    overall: dict[str, np.ndarray]
    class_rounds: dict[str, np.ndarray]
    overall_rounds: dict[str, np.ndarray]
    areas: np.ndarray
    rounds: dict[str, np.ndarray]

    @property
    def present(self) -> np.ndarray:
        return self.matrix.sum(1) > 0

    def estimate(self, value: float, replicates: np.ndarray, clusters: float, note: str = "",
                 bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
        """A figure with its bootstrap interval, or why there is none."""
        if not np.isfinite(value):
            return no_estimate(f"undefined: {note or 'nothing to divide by'}")
        unit, note = self.cells.unit, f"; {note}" if note else ""
        if clusters <= 1:
            return no_estimate(f"no interval: one {unit} only{note}", float(value))
        low, high = percentile_interval(replicates, float(value), clusters, self.confidence, bounds)
        return Estimate(float(value), low, high, bootstrap_method(unit, clusters) + note)


def compute(cells: Cells, *, confidence: float, rounds: int, seed: int, areas: bool = True) -> Figures:
    """All figures of some cells, and their replicates from one bootstrap; without `areas`, which cost most, those alone
    that `counted_estimates` and `calibration_estimates` need."""
    matrix = confusion_matrix(cells)
    used = classes_used(matrix)
    generator = np.random.default_rng((seed, 1))
    ranked = rankings(cells) if areas else None
    counts, units = counts_by_cluster(cells), confusion_units(cells, matrix, rounds, generator)
    size = len(cells.classes)
    drawn = cluster_bootstrap({
        "matrix": lambda weights, part: (counts @ weights).reshape(size, size, -1) + units[:, :, part],
        **({} if ranked is None else {"areas": areas_statistic(ranked, cells, rounds, generator)}),
        "means": mean_statistic(cells),
        "calibration": calibration_statistic(cells),
    }, cells.count, rounds, seed, rows=int(matrix.sum(1).max()))
    return Figures(cells, confidence, matrix, class_figures(matrix), overall_figures(matrix, used),
                   class_figures(drawn["matrix"]), overall_figures(drawn["matrix"], used),
                   np.full((2, size), np.nan) if ranked is None else areas_once(ranked, cells), drawn)


def class_estimates(figures: Figures, k: int) -> dict[str, Any]:
    """One class against the rest, as in metrics.json."""
    cells = figures.cells
    name, support, present = cells.classes[k], int(figures.matrix[k].sum()), bool(figures.present[k])
    result: dict[str, Any] = {"support": support}
    counts = class_counts(figures.matrix, k)
    for figure in CLASS_FIGURES:
        if not present and figure in OF_ITS_CELLS:
            result[figure] = no_estimate(f"undefined: no cell of class '{name}'").to_dict()
            continue
        clusters = _clusters_behind(cells, k, figure)
        value, replicates = float(figures.by_class[figure][k]), figures.class_rounds[figure][k]
        if figure not in counts:
            result[figure] = figures.estimate(value, replicates, clusters).to_dict()
            continue
        count, total = counts[figure]
        if total == 0:
            called = "every" if figure in ("npv", "specificity", "fpr") else "no"
            kind = "is" if figure in ("specificity", "fpr") else "was predicted as"
            result[figure] = no_estimate(f"undefined: {called} cell {kind} '{name}'", total=0).to_dict()
        elif cells.independent:
            result[figure] = wilson(count, total, figures.confidence).to_dict()
        else:
            estimate = figures.estimate(value, replicates, clusters)
            result[figure] = {**estimate.to_dict(), "count": count, "total": total}
    return {**result, **_area_estimates(figures, k)}


def overall_estimates(figures: Figures) -> dict[str, Any]:
    """Figures over all classes, as in metrics.json."""
    loss = float(losses(figures.cells)[1].mean())
    return {**counted_estimates(figures), **_mean_areas(figures), "log_loss": figures.estimate(
        loss, figures.rounds["means"][1], figures.cells.count, "", (0.0, np.inf)).to_dict()}


def counted_estimates(figures: Figures) -> dict[str, Any]:
    """Those of the figures over all classes that follow from the confusion matrix."""
    cells, n = figures.cells, len(figures.cells.labels)
    right = int(np.trace(figures.matrix))
    accuracy = (wilson(right, n, figures.confidence) if cells.independent else
                figures.estimate(right / n, figures.overall_rounds["accuracy"], cells.count))
    result = {"accuracy": {**accuracy.to_dict(), "count": right, "total": n}}
    kinds = [f"{kind}_{name}" for kind in ("macro", "weighted") for name in AVERAGED]
    for figure in ("balanced_accuracy", *kinds, *SIGNED):
        name = "sensitivity" if figure == "balanced_accuracy" else figure.split("_", 1)[-1]
        averaged = figure not in SIGNED
        clusters = float(cells.count)
        if averaged and not figure.startswith("weighted"):
            used = classes_used(figures.matrix)[name]
            behind = np.array([_clusters_behind(cells, k, name) for k in np.flatnonzero(used).tolist()])
            clusters = min(clusters, _satterthwaite(figures.class_rounds[name][used], behind))
        bounds = (-1.0, 1.0) if figure in SIGNED else (0.0, 1.0)
        note = _mean_note(figures, figures.by_class[name]) if averaged else ""
        if not np.isfinite(figures.overall[figure]) and not averaged:
            note = "all cells are of one class, or all were predicted as one"
        result[figure] = figures.estimate(float(figures.overall[figure]), figures.overall_rounds[figure], clusters,
                                          note, bounds).to_dict()
    return result


def calibration_estimates(figures: Figures) -> dict[str, Any]:
    return calibration(figures.cells, figures.rounds, figures.confidence)


def _area_estimates(figures: Figures, k: int) -> dict[str, Any]:
    cells = figures.cells
    own = cells.labels == k
    missing = "no" if not own.any() else "every"
    if not own.any() or own.all():
        nothing = no_estimate(f"undefined: {missing} cell is of class '{cells.classes[k]}'").to_dict()
        return {"auc": nothing, "label_auc": nothing, "average_precision": nothing}
    behind = min(_clusters_behind(cells, k, "sensitivity"), _clusters_behind(cells, k, "specificity"))
    area = (delong(own, cells.probabilities[:, k], figures.confidence) if cells.independent else
            figures.estimate(figures.areas[0, k], figures.rounds["areas"][0, k], behind))
    precision = figures.estimate(figures.areas[1, k], figures.rounds["areas"][1, k], behind)
    return {"auc": area.to_dict(), "label_auc": _label_area(figures, k, own, behind),
            "average_precision": precision.to_dict()}


def _label_area(figures: Figures, k: int, own: np.ndarray, behind: int) -> dict[str, Any]:
    """The area under the curve of the predicted labels, which some papers print: one corner, so it is the mean of
    sensitivity and specificity."""
    cells = figures.cells
    if cells.independent:
        return delong(own, (cells.predicted == k).astype(float), figures.confidence).to_dict()
    value, rounds = ((table["sensitivity"][k] + table["specificity"][k]) / 2
                     for table in (figures.by_class, figures.class_rounds))
    return figures.estimate(float(value), rounds, behind).to_dict()


def _mean_areas(figures: Figures) -> dict[str, Any]:
    cells, support = figures.cells, figures.matrix.sum(1).astype(float)
    areas, rounds = figures.areas[0], figures.rounds["areas"][0]
    behind = np.array([min(_clusters_behind(cells, k, "sensitivity"), _clusters_behind(cells, k, "specificity"))
                       for k in np.flatnonzero(figures.present).tolist()])
    result = {}
    for kind, weights in (("macro", np.ones_like(support)), ("weighted", support)):
        value = float(mean_of_known(areas, weights))
        replicates = mean_of_known(rounds, weights[:, None])
        note = _mean_note(figures, areas) if np.isfinite(value) else "all cells are of one class"
        weighted = (rounds * weights[:, None])[figures.present]
        clusters = min(float(cells.count), _satterthwaite(weighted, behind))
        result[f"{kind}_auc"] = figures.estimate(value, replicates, clusters, note).to_dict()
    return result


def _clusters_behind(cells: Cells, k: int, figure: str) -> int:
    """How many clusters hold cells that the denominator of a figure counts."""
    if figure in ("sensitivity", "fnr", "f1"):
        used = cells.labels == k
    elif figure in ("specificity", "fpr"):
        used = cells.labels != k
    else:
        used = (cells.predicted == k) == (figure == "ppv")
    return int(np.count_nonzero(cells.by_cluster(used)))


def _satterthwaite(replicates: np.ndarray, clusters: np.ndarray) -> float:
    known = np.isfinite(replicates).all(1)
    if not known.any():
        return float(clusters.max(initial=1))
    return effective_clusters(replicates[known].var(1), clusters[known])


def _mean_note(figures: Figures, values: np.ndarray) -> str:
    used = int((np.isfinite(values) & figures.present).sum())
    return f"mean over {used} of {len(values)} classes" if used < len(values) else ""


def estimates(figures: Figures, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Some of the overall figures by name, or all."""
    everything = overall_estimates(figures)
    return everything if names is None else {name: everything[name] for name in names}
