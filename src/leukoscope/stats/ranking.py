"""Area under the ROC curve and average precision under cluster weights, for all rounds of a bootstrap at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from ..errors import LeukoscopeError
from .areas import delong_covariance, effective_count, placements
from .bootstrap import jeffreys_units
from .estimate import check_finite, check_same_length


@dataclass(frozen=True)
class Ranking:
    """Cells sorted by score, highest first, cut into levels: one for each distinct score of a positive cell.

    positive, above, tied: sparse (levels, K) counts by cluster of the positive cells of a level, of the negative cells
    between the level before and this one, and of the negative cells with exactly this score. rest: (K,) negative cells
    below every positive one.
    """

    positive: scipy.sparse.csr_array
    above: scipy.sparse.csr_array
    tied: scipy.sparse.csr_array
    rest: np.ndarray


@dataclass(frozen=True)
class PseudoUnits:
    """Jeffreys pseudo-units of a ranking (see `jeffreys_units`): (2, r) weights, right and wrong, of each class, and
    the share of the other class that a wrong one loses to, from 0 to 1."""

    positive: np.ndarray
    negative: np.ndarray
    positive_lost: float = 1.0
    negative_lost: float = 1.0

    def part(self, rounds: slice) -> PseudoUnits:
        return replace(self, positive=self.positive[:, rounds], negative=self.negative[:, rounds])


def rank_cells(labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"],
               count: int) -> Ranking:
    """Prepare cells for `weighted_areas`; clusters are numbers from 0 to count - 1.

    Raises LeukoscopeError for NaN or when there is no positive cell.
    """
    check_same_length(labels=labels, scores=scores, clusters=clusters)
    if not labels.any():
        raise LeukoscopeError("no positive cell: nothing to rank", "give cells of both classes")
    check_finite("scores", scores)
    levels, level = np.unique(-scores[labels].astype(np.float64), return_inverse=True)
    negative, owner = -scores[~labels].astype(np.float64), clusters[~labels]
    before = np.searchsorted(levels, negative, "left")
    within = before < len(levels)
    tied = within.copy()
    tied[within] = levels[before[within]] == negative[within]
    shape = (len(levels), count)
    return Ranking(
        _count(level.reshape(-1), clusters[labels], shape),
        _count(before[within & ~tied], owner[within & ~tied], shape),
        _count(before[tied], owner[tied], shape),
        np.bincount(owner[~within], minlength=count).astype(np.float64),
    )


def weighted_areas(ranking: Ranking, weights: Float[np.ndarray, "K r"],
                   units: PseudoUnits | None = None) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Area under the ROC curve and average precision, sum((R_n - R_(n-1)) P_n), in each round.

    A round without a positive or a negative cell gives NaN. With pseudo-units, a right one ranks as the best of its
    class; a wrong positive one ranks below its share of all negative cells, a wrong negative one above its share of
    the positive cells.
    """
    hits, false = ranking.positive @ weights, ranking.above @ weights
    lost = np.zeros(weights.shape[1])
    if ranking.tied.nnz:
        tied = ranking.tied @ weights
        false += tied
        lost -= np.einsum("lr,lr->r", hits, tied) / 2
    np.cumsum(false, axis=0, out=false)  # in place from here: a bootstrap spends its time on these arrays
    lost += np.einsum("lr,lr->r", hits, false)
    true = np.cumsum(hits, axis=0)
    positives, negatives = true[-1].copy(), false[-1] + ranking.rest @ weights
    first = np.zeros(weights.shape[1])
    if units is not None:
        (right_p, wrong_p), (right_n, wrong_n) = units.positive, units.negative
        outranked, outranking = wrong_p * units.positive_lost, wrong_n * units.negative_lost
        lost += outranked * (negatives + right_n + wrong_n) + outranking * (positives + right_p)
        best = right_p + wrong_p - outranked
        true += best
        false += outranking
        positives, negatives = positives + right_p + wrong_p, negatives + right_n + wrong_n
        first = (_share(best * best, best + outranking) + outranked * _share(positives, positives + negatives))
    false += true
    np.divide(true, false, out=true, where=true > 0)  # precision; 0 where no positive cell was drawn so far
    average = _share(first + np.einsum("lr,lr->r", hits, true), positives, np.nan)
    return 1 - _share(lost, positives * negatives, np.nan), average


def ranking_units(labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"],
                  rounds: int, generator: np.random.Generator) -> PseudoUnits:
    """Pseudo-units that keep a bootstrap of this ranking from being too sure near perfect separation.

    As in `design_effect`, what the data say (the ratio of Obuchowski's to DeLong's variance, the share of the other
    class to which a misranked cell loses) counts with the effective number of misranked cells, and the worst case
    (whole subjects misranked, against all cells) counts as one.
    """
    ratio = 1.0
    if 1 < len(np.unique(clusters)) < len(clusters):
        plain, robust = (float(delong_covariance(labels, scores[None], by)[1][0, 0]) for by in (None, clusters))
        ratio = max(robust / plain, 1.0) if plain > 0 else 1.0
    parts, shares = [], []
    for own, share in zip((labels, ~labels), placements(labels, scores), strict=True):
        missed = 1 - share[share < 1]
        known = effective_count(missed)
        totals = np.unique(clusters[own], return_counts=True)[1]
        full = float((totals**2).sum() / totals.sum())
        size = min(max((known * ratio + full) / (known + 1), 1.0), full)
        parts.append(jeffreys_units(size, rounds, generator))
        shares.append((known * float(missed.mean()) + 1) / (known + 1) if missed.size else 1.0)
    return PseudoUnits(parts[0], parts[1], shares[0], shares[1])


def _share(part: np.ndarray, whole: np.ndarray, empty: float = 0.0) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, empty), where=whole > 0)


def _count(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> scipy.sparse.csr_array:
    return scipy.sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
