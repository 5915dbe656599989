"""Intervals and paired tests: NumPy and SciPy in float64, no torch.

Knows arrays only: nothing of tables, runs or networks. docs/statistics.md says which interval is used where and why.
"""

from __future__ import annotations

from .agreement import Differences, bland_altman, cohen_kappa, rumke_limits
from .areas import (
    DELONG,
    PERFECT,
    WIDENED,
    auc,
    delong,
    delong_covariance,
    delong_test,
    effective_count,
    newcombe_auc,
    placements,
)
from .bootstrap import (
    bootstrap_method,
    cluster_bootstrap,
    cluster_weights,
    effective_clusters,
    jeffreys_units,
    percentile_interval,
)
from .estimate import ROUNDING, Comparison, Estimate, check_confidence, no_estimate, number_clusters
from .lines import Line, deming, passing_bablok
from .paired import holm, mcnemar, mcnemar_p, paired_difference
from .power import power_of, spread_of, subjects_for, subjects_for_width
from .ranking import PseudoUnits, Ranking, rank_cells, ranking_units, weighted_areas
from .rates import bootstrap_rate, cluster_rate, design_effect, difference, exact, wilson
from .repeats import between_kinds, repeated_difference, repeated_rate
from .several import (
    Ranks,
    area_difference,
    area_influence,
    mean_area,
    rank_over_blocks,
    same_answers,
    with_trainings,
)

__all__ = [
    "DELONG", "PERFECT", "ROUNDING", "WIDENED", "Comparison", "Differences", "Estimate", "Line", "PseudoUnits",
    "Ranking", "Ranks", "area_difference", "area_influence", "auc", "between_kinds", "bland_altman", "bootstrap_method",
    "bootstrap_rate", "check_confidence", "cluster_bootstrap", "cluster_rate", "cluster_weights", "cohen_kappa",
    "delong", "delong_covariance", "delong_test", "deming", "design_effect", "difference", "effective_clusters",
    "effective_count", "exact", "holm", "jeffreys_units", "mcnemar", "mcnemar_p", "mean_area", "newcombe_auc",
    "no_estimate", "number_clusters", "paired_difference", "passing_bablok", "percentile_interval", "placements",
    "power_of", "rank_cells", "rank_over_blocks", "ranking_units", "repeated_difference", "repeated_rate",
    "rumke_limits", "same_answers", "spread_of", "subjects_for", "subjects_for_width", "weighted_areas", "wilson",
    "with_trainings",
]
