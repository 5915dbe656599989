"""Every metric of a set of cells with its interval: Wilson and DeLong where cells are independent, else the bootstrap
by subject.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..stats.areas import delong
from ..stats.bootstrap import bootstrap_method, cluster_bootstrap, effective_clusters, percentile_interval
from ..stats.estimate import Estimate, no_estimate
from ..stats.rates import wilson
from . import confusion
from .calibration import calibration_statistic, losses, mean_statistic
from .ranking import areas, areas_statistic, rankings
from .results import ClassMetrics
from .table import Cells, IntervalOptions

NEED_CELLS = ("sensitivity", "ppv", "npv", "f1", "fnr")
"""Not defined, or without meaning, for a class without cells."""


@dataclass(frozen=True)
class Resampled:
    """Metrics of cells, and their replicates in the rounds of one bootstrap.

    matrix: (classes, classes). by_class: metric -> (classes,); overall: metric -> number. The same names in
    `class_rounds` (classes, rounds) and `overall_rounds` (rounds,). areas: (2, classes), NaN where not computed.
    rounds: `areas` (2, classes, rounds), `means` of the losses (2, rounds), `calibration` error (rounds,).
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

    def estimate(self, value: float | np.ndarray, replicates: np.ndarray, clusters: float, note: str = "",
                 bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
        """A metric with its bootstrap interval, or why there is none."""
        value, unit = float(value), self.cells.unit
        if not np.isfinite(value):
            return no_estimate(f"undefined: {note or 'nothing to divide by'}")
        note = f"; {note}" if note else ""
        if clusters <= 1:
            return no_estimate(f"no interval: one {unit} only{note}", value)
        low, high = percentile_interval(replicates, value, clusters, self.confidence, bounds)
        return Estimate(value, low, high, bootstrap_method(unit, clusters) + note)

    def mean(self, value: np.ndarray, replicates: np.ndarray, of_classes: np.ndarray, clusters: float,
             undefined: str = "") -> Estimate:
        """A mean over classes; of_classes: (classes,), NaN where not defined."""
        used = int((np.isfinite(of_classes) & (self.matrix.sum(1) > 0)).sum())
        note = f"mean over {used} of {len(of_classes)} classes" if used < len(of_classes) else ""
        return self.estimate(value, replicates, clusters, note if np.isfinite(value) else undefined or note)

    def clusters_behind(self, k: int, *metrics: str) -> int:
        """How many clusters hold cells that the denominator of a metric of class k counts; the least of several."""
        used = {"sensitivity": self.cells.labels == k, "specificity": self.cells.labels != k,
                "ppv": self.cells.predicted == k, "npv": self.cells.predicted != k}
        used |= {"fnr": used["sensitivity"], "f1": used["sensitivity"], "fpr": used["specificity"]}
        return min(int(np.count_nonzero(self.cells.by_cluster(used[metric]))) for metric in metrics)

    def class_estimates(self) -> dict[str, ClassMetrics]:
        """Each class against the rest."""
        counts = confusion.class_counts(self.matrix)
        return {name: ClassMetrics(int(self.matrix[k].sum()), {
            **{metric: self._class_estimate(k, metric, *(int(n[k]) for n in counts[metric]))
               for metric in confusion.CLASS_METRICS}, **self._area_estimates(k)})
            for k, name in enumerate(self.cells.classes)}

    def _class_estimate(self, k: int, metric: str, count: int, total: int) -> Estimate:
        cells, name = self.cells, self.cells.classes[k]
        if metric in NEED_CELLS and not self.matrix[k].any():
            return no_estimate(f"undefined: no cell of class '{name}'")
        estimate = self.estimate(self.by_class[metric][k], self.class_rounds[metric][k],
                                 self.clusters_behind(k, metric))
        if metric == "f1":
            return estimate
        if total == 0:
            called = "every" if metric in ("npv", "specificity", "fpr") else "no"
            kind = "is" if metric in ("specificity", "fpr") else "was predicted as"
            return no_estimate(f"undefined: {called} cell {kind} '{name}'", total=0)
        if cells.independent:
            return wilson(count, total, self.confidence)
        return replace(estimate, count=count, total=total)

    def _area_estimates(self, k: int) -> dict[str, Estimate]:
        """The curve of the predicted labels has one corner, so its area is the mean of sensitivity and specificity."""
        cells, behind, own = self.cells, self.clusters_behind(k, "sensitivity", "specificity"), self.cells.labels == k
        if not own.any() or own.all():
            nothing = no_estimate(f"undefined: {'every' if own.any() else 'no'} cell is of class '{cells.classes[k]}'")
            return {"auc": nothing, "label_auc": nothing, "average_precision": nothing}
        auc, precision = (self.estimate(self.areas[i, k], self.rounds["areas"][i, k], behind) for i in (0, 1))
        value, rounds = ((table["sensitivity"][k] + table["specificity"][k]) / 2
                         for table in (self.by_class, self.class_rounds))
        label_auc = self.estimate(value, rounds, behind)
        if cells.independent:
            auc, label_auc = (delong(own, scores.astype(float), self.confidence)
                              for scores in (cells.probabilities[:, k], cells.predicted == k))
        return {"auc": auc, "label_auc": label_auc, "average_precision": precision}

    def overall_estimates(self) -> dict[str, Estimate]:
        """Over all classes."""
        cells, support = self.cells, self.matrix.sum(1).astype(float)
        rounds, result = self.rounds["areas"][0], self.counted_estimates()
        for kind, weights in (("macro", np.ones_like(support)), ("weighted", support)):
            value = confusion.mean_of_known(self.areas[0], weights)
            replicates = confusion.mean_of_known(rounds, weights[:, None])
            clusters = self._clusters_of_mean(rounds * weights[:, None], support > 0, "sensitivity", "specificity")
            result[f"{kind}_auc"] = self.mean(value, replicates, self.areas[0], clusters, "all cells are of one class")
        loss = losses(cells)[1].mean()
        return result | {"log_loss": self.estimate(loss, self.rounds["means"][1], cells.count, "", (0.0, np.inf))}

    def counted_estimates(self) -> dict[str, Estimate]:
        """Those over all classes that follow from the confusion matrix."""
        cells, size, correct = self.cells, len(self.cells.labels), int(self.cells.correct.sum())
        accuracy = (wilson(correct, size, self.confidence) if cells.independent else
                    self.estimate(correct / size, self.overall_rounds["accuracy"], cells.count))
        result, used = {"accuracy": replace(accuracy, count=correct, total=size)}, confusion.classes_used(self.matrix)
        means = [f"{kind}_{name}" for kind in ("macro", "weighted") for name in confusion.AVERAGED]
        for metric in ("balanced_accuracy", *means):
            name = "sensitivity" if metric == "balanced_accuracy" else metric.split("_")[1]
            clusters = float(cells.count)
            if not metric.startswith("weighted"):
                clusters = self._clusters_of_mean(self.class_rounds[name], used[name], name)
            result[metric] = self.mean(self.overall[metric], self.overall_rounds[metric], self.by_class[name], clusters)
        for metric in ("kappa", "mcc"):
            value = self.overall[metric]
            note = "" if np.isfinite(value) else "all cells are of one class, or all were predicted as one"
            result[metric] = self.estimate(value, self.overall_rounds[metric], cells.count, note, (-1.0, 1.0))
        return result

    def _clusters_of_mean(self, rounds: np.ndarray, used: np.ndarray, *metrics: str) -> float:
        """The effective number of clusters of a mean over the classes `used`. rounds: (classes, rounds)."""
        clusters = np.array([self.clusters_behind(k, *metrics) for k in np.flatnonzero(used).tolist()])
        known = np.isfinite(rounds[used]).all(1)
        effective = (effective_clusters(rounds[used][known].var(1), clusters[known]) if known.any() else
                     float(clusters.max(initial=1)))
        return min(float(self.cells.count), effective)


def resample(cells: Cells, options: IntervalOptions, *, ranked: bool = True) -> Resampled:
    """All metrics of some cells; without `ranked`, only what `counted_estimates` and `calibration` need: areas take
    longest."""
    matrix = confusion.confusion_matrix(cells)
    used, size = confusion.classes_used(matrix), len(cells.classes)
    generator = np.random.default_rng((options.seed, 1))
    ranks = rankings(cells) if ranked else {}
    counts = confusion.counts_by_cluster(cells)
    units = confusion.confusion_units(cells, matrix, options.rounds, generator)
    drawn = cluster_bootstrap({
        "matrix": lambda weights, part: (counts @ weights).reshape(size, size, -1) + units[:, :, part],
        **({"areas": areas_statistic(ranks, cells, options.rounds, generator)} if ranked else {}),
        "means": mean_statistic(cells, losses(cells)),
        "calibration": calibration_statistic(cells),
    }, cells.count, options.rounds, options.seed, rows=int(matrix.sum(1).max()))
    (by_class, overall), (class_rounds, overall_rounds) = (
        (confusion.class_metrics(each), confusion.overall_metrics(each, used)) for each in (matrix, drawn["matrix"]))
    return Resampled(cells, options.confidence, matrix, by_class, overall, class_rounds, overall_rounds,
                     areas(ranks, size, np.ones((cells.count, 1)))[:, :, 0], drawn)
