"""More than two classifiers on the same cells: areas of several at once, ranks over blocks, agreement."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from ..errors import LeukoscopeError
from .areas import placements
from .estimate import (
    Comparison,
    Estimate,
    check_confidence,
    check_finite,
    no_estimate,
    number_clusters,
    student_beyond,
    student_quantile,
)
from .repeats import between_kinds

FEWEST_BLOCKS = 3
_ROUNDING = 1e-18
"""Variances below it are those of rounding."""


def area_influence(labels: Bool[np.ndarray, "c n"], scores: Float[np.ndarray, "c n"], *,
                   independent: bool = True) -> Float[np.ndarray, " n"]:
    """How far each cell moves the mean area under the ROC curve of c classes, each against the rest: (n,), mean area
    left out, in areas.

    The sum of their squares is DeLong's variance (1988; of one class, exactly) where cells are `independent`; else,
    summed within subjects first, and times K / (K - 1) of K subjects, Obuchowski's (1997). Raises LeukoscopeError for
    NaN, or a class without cells or with all of them.
    """
    check_finite("scores", scores)
    influence = np.zeros(labels.shape[1])
    for own, score in zip(labels, scores, strict=True):
        if own.all() or not own.any():
            raise LeukoscopeError(f"expected positive and negative cells, got {int(own.sum())} of {own.size}",
                                  "give cells of both")
        for part, shares in zip((own, ~own), placements(own, score), strict=True):
            count = max(int(part.sum()), 1)
            scale = math.sqrt(count * max(count - 1, 1)) if independent else count
            influence[part] += (shares - shares.mean()) / scale
    return influence / len(labels)


def mean_area(labels: Bool[np.ndarray, "c n"], scores: Float[np.ndarray, "c n"]) -> float:
    """The mean area of c classes, each against the rest."""
    return float(np.mean([placements(own, score)[0].mean() for own, score in zip(labels, scores, strict=True)]))


def area_difference(labels: Bool[np.ndarray, "c n"], first: Float[np.ndarray, "r c n"],
                    second: Float[np.ndarray, "s c n"], clusters: Shaped[np.ndarray, " n"] | None = None,
                    confidence: float = 0.95) -> Comparison:
    """Mean area of the first kind of network minus that of the second, on the same cells, and a paired test.

    first, second: scores of r and s trainings of each kind. The variance over cells (DeLong; with the subject of each
    cell as cluster: Obuchowski) and that between the trainings are added; Student's t has Satterthwaite's degrees of
    freedom. With one training of each, one class and no clusters this is DeLong's paired test, t instead of normal.
    """
    half = check_confidence(confidence)
    areas = [[mean_area(labels, one) for one in kind] for kind in (first, second)]
    value = float(np.mean(areas[0]) - np.mean(areas[1]))
    moved = sum(sign * np.mean([area_influence(labels, one, independent=clusters is None) for one in kind], axis=0)
                for sign, kind in ((1, first), (-1, second)))
    numbers, count = number_clusters(clusters) if clusters is not None else (np.arange(labels.shape[1]),
                                                                             labels.shape[1])
    method = "delong, paired" + (", by cluster" if clusters is not None else "") + (
        ", and trainings" if len(first) + len(second) > 2 else "")
    if count < 2:
        return Comparison(no_estimate("no interval: one cluster only", value), None, method)
    sums = np.bincount(numbers, moved, count)
    over_cells = float((sums**2).sum()) * (count / (count - 1) if clusters is not None else 1.0)
    parts = [(over_cells, count - 1.0), *between_kinds(*(np.array(own) for own in areas))]
    total = sum(variance for variance, _ in parts)
    if total <= _ROUNDING:
        return Comparison(no_estimate("no interval: the difference does not vary", value),
                          1.0 if abs(value) < 1e-12 else None, method)
    freedom = total**2 / sum(variance**2 / own for variance, own in parts)
    error = math.sqrt(total)
    reach = -student_quantile(half, freedom) * error
    return Comparison(Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0), method),
                      2 * student_beyond(abs(value) / error, freedom), method)


def with_trainings(value: float, low: float, high: float, values: Float[np.ndarray, " r"],
                   confidence: float = 0.95) -> tuple[float, float]:
    """An interval over cells widened by how much r trainings differ: the two reaches squared and added."""
    if len(values) < 2:
        return low, high
    half = check_confidence(confidence)
    between = -student_quantile(half, len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return value - math.hypot(value - low, between), value + math.hypot(high - value, between)


@dataclass(frozen=True)
class Ranks:
    """Mean ranks (1 is best) of k classifiers over blocks, whether they differ at all, and from which difference of
    mean ranks on two of them do (None where there are too few blocks)."""

    mean_ranks: tuple[float, ...]
    blocks: int
    p_value: float | None
    critical: float | None
    method: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"mean_ranks": list(self.mean_ranks)}


def rank_over_blocks(scores: Float[np.ndarray, "blocks k"], confidence: float = 0.95) -> Ranks:
    """Friedman's test in Iman and Davenport's form (1980) and Nemenyi's critical difference (Demsar 2006, section
    3.2). scores: higher is better, one row a block (a fold, a training)."""
    from scipy.stats import f as fisher  # late, as in estimate.py
    from scipy.stats import rankdata, studentized_range

    half = check_confidence(confidence)
    check_finite("scores", scores)
    blocks, kinds = scores.shape
    ranks = rankdata(-scores, axis=1)
    means = ranks.mean(0)
    if blocks < FEWEST_BLOCKS or kinds < 2:
        return Ranks(tuple(means.tolist()), blocks, None, None, f"fewer than {FEWEST_BLOCKS} blocks")
    spread = float(((ranks - (kinds + 1) / 2) ** 2).sum()) / (blocks * (kinds - 1))
    statistic = blocks * float(((means - (kinds + 1) / 2) ** 2).sum()) / spread if spread else 0.0
    most = blocks * (kinds - 1)
    if statistic >= most * (1 - 1e-12):
        p = math.factorial(kinds) ** -(blocks - 1.0)  # every block ranks alike, which chance does so often
    else:
        p = float(fisher.sf((blocks - 1) * statistic / (most - statistic), kinds - 1, (kinds - 1) * (blocks - 1)))
    critical = float(studentized_range.ppf(1 - 2 * half, kinds, np.inf)) / math.sqrt(2) \
        * math.sqrt(kinds * (kinds + 1) / (6 * blocks))
    return Ranks(tuple(means.tolist()), blocks, p, critical, "friedman (iman and davenport), nemenyi")


def agreement(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"],
              labels: Int[np.ndarray, " n"]) -> dict[str, float]:
    """How far two classifiers answer alike: `same` (share of cells), `kappa` (Cohen 1960, NaN where both always answer
    one class), and of the cells that either gets wrong, the share that both get wrong (`shared_errors`, NaN for
    none)."""
    same = float((first == second).mean())
    values = np.union1d(first, second)
    chance = float(sum((first == v).mean() * (second == v).mean() for v in values))
    wrong = (first != labels), (second != labels)
    either = int((wrong[0] | wrong[1]).sum())
    return {"same": same, "kappa": (same - chance) / (1 - chance) if chance < 1 else math.nan,
            "shared_errors": int((wrong[0] & wrong[1]).sum()) / either if either else math.nan}
