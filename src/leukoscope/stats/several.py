"""More than two classifiers on the same cells: areas of several at once, ranks over blocks, agreement."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from ..files import JsonObject
from .areas import AREA_ROUNDING, placements
from .estimate import (
    Comparison,
    check_both_classes,
    check_confidence,
    check_finite,
    cluster_sums,
    compare_by_t,
    no_estimate,
    student_quantile,
)
from .repeats import add_variances, between_kinds

FEWEST_BLOCKS = 3


def area_influence(labels: Bool[np.ndarray, "c n"], scores: Float[np.ndarray, "c n"], *,
                   independent: bool = True) -> Float[np.ndarray, " n"]:
    """How far each cell moves the mean area under the ROC curve of c classes, each against the rest: (n,), of sum 0.

    The sum of their squares is DeLong's variance (1988; of one class, exactly) where cells are `independent`; else,
    summed within subjects first, and times K / (K - 1) of K subjects, Obuchowski's (1997). Raises LeukoscopeError for
    NaN, or a class without cells or with all of them.
    """
    check_finite("scores", scores)
    influence = np.zeros(labels.shape[1])
    for own, score in zip(labels, scores, strict=True):
        check_both_classes(int(own.sum()), int((~own).sum()))
        for part, shares in zip((own, ~own), placements(own, score), strict=True):
            count = int(part.sum())
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
    check_confidence(confidence)
    areas = [np.array([mean_area(labels, scores) for scores in kind]) for kind in (first, second)]
    value = float(np.mean(areas[0]) - np.mean(areas[1]))
    by_kind = [np.mean([area_influence(labels, scores, independent=clusters is None) for scores in kind], axis=0)
               for kind in (first, second)]
    sums, count = cluster_sums(by_kind[0] - by_kind[1], clusters)
    method = "delong, paired" + (", by cluster" if clusters is not None else "") + (
        ", and trainings" if len(first) + len(second) > 2 else "")
    if count < 2:
        return Comparison(no_estimate("no interval: one cluster only", value), None, method)
    over_cells = float((sums**2).sum()) * (count / (count - 1) if clusters is not None else 1.0)
    total, freedom = add_variances([(over_cells, count - 1.0), *between_kinds(*areas)])
    if total <= AREA_ROUNDING:
        return Comparison(no_estimate("no interval: the difference does not vary", value),
                          1.0 if abs(value) < 1e-12 else None, method)
    return compare_by_t(value, math.sqrt(total), freedom, confidence, method)


def with_trainings(value: float, low: float, high: float, values: Float[np.ndarray, " r"],
                   confidence: float = 0.95) -> tuple[float, float]:
    """An interval over cells widened by how much r trainings differ: the two half-widths squared and added."""
    if len(values) < 2:
        return low, high
    quantile = -student_quantile(check_confidence(confidence), len(values) - 1)
    between = quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return value - math.hypot(value - low, between), value + math.hypot(high - value, between)


@dataclass(frozen=True)
class Ranks:
    """Mean ranks (1 is best) of k classifiers over blocks, the p value against no difference at all, and the least
    difference of mean ranks that is significant between two of them (both None where there are too few blocks)."""

    mean_ranks: tuple[float, ...]
    blocks: int
    p_value: float | None
    critical: float | None
    method: str

    def to_dict(self) -> JsonObject:
        return asdict(self) | {"mean_ranks": list(self.mean_ranks)}


def rank_over_blocks(scores: Float[np.ndarray, "blocks k"], confidence: float = 0.95) -> Ranks:
    """Friedman's test in Iman and Davenport's form (1980) and Nemenyi's critical difference (Demsar 2006, section
    3.2). scores: higher is better, one row per block (a fold, a training)."""
    from scipy.stats import f as fisher  # late, as in estimate.py
    from scipy.stats import rankdata, studentized_range

    half = check_confidence(confidence)
    check_finite("scores", scores)
    blocks, kinds = scores.shape
    ranks = rankdata(-scores, axis=1)
    means = ranks.mean(0)
    mean_ranks = tuple(means.tolist())
    if blocks < FEWEST_BLOCKS or kinds < 2:
        return Ranks(mean_ranks, blocks, None, None, f"fewer than {FEWEST_BLOCKS} blocks")
    spread = float(((ranks - (kinds + 1) / 2) ** 2).sum()) / (blocks * (kinds - 1))
    statistic = blocks * float(((means - (kinds + 1) / 2) ** 2).sum()) / spread if spread else 0.0
    most = blocks * (kinds - 1)
    if statistic >= most * (1 - 1e-12):
        p = math.factorial(kinds) ** -(blocks - 1.0)  # all blocks rank alike: the chance of that
    else:
        p = float(fisher.sf((blocks - 1) * statistic / (most - statistic), kinds - 1, (kinds - 1) * (blocks - 1)))
    critical = float(studentized_range.ppf(1 - 2 * half, kinds, np.inf)) / math.sqrt(2) \
        * math.sqrt(kinds * (kinds + 1) / (6 * blocks))
    return Ranks(mean_ranks, blocks, p, critical, "friedman (iman and davenport), nemenyi")


def same_answers(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"],
                 labels: Int[np.ndarray, " n"]) -> dict[str, float]:
    """How far two classifiers answer alike: `same` (share of cells), `kappa` (Cohen 1960, NaN where both always answer
    one class), and of the cells that either gets wrong, the share that both get wrong (`shared_errors`, NaN for
    none)."""
    same = float((first == second).mean())
    chance = float(sum((first == v).mean() * (second == v).mean() for v in np.union1d(first, second)))
    wrong = first != labels, second != labels
    either = int((wrong[0] | wrong[1]).sum())
    return {"same": same, "kappa": (same - chance) / (1 - chance) if chance < 1 else math.nan,
            "shared_errors": int((wrong[0] & wrong[1]).sum()) / either if either else math.nan}
