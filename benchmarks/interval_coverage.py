"""How often 95 % intervals include the truth, by simulation: the tables of docs/statistics.md, ours and the plain ones.

Rates: beta-binomial cells, subjects of geometric size with a mean of 30 cells. Areas: binormal scores.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from leukoscope.stats import (
    bootstrap_rate,
    cluster_bootstrap,
    cluster_weights,
    delong,
    delong_covariance,
    percentile_interval,
    rank_cells,
    ranking_units,
    weighted_areas,
)

SIMULATIONS, ROUNDS, CELLS = 300, 500, 30


def rate_coverage(subjects: int, rate: float, correlation: float) -> tuple[float, float]:
    """Shares of intervals that include the rate: ours, plain percentile."""
    generator = np.random.default_rng(0)
    odds = (1 - correlation) / correlation
    hits = np.zeros(2)
    for seed in range(SIMULATIONS):
        totals = generator.geometric(1 / CELLS, subjects)
        counts = generator.binomial(totals, generator.beta(rate * odds, (1 - rate) * odds, subjects))
        ours = bootstrap_rate(counts, totals, 0.95, ROUNDS, seed)
        drawn = cluster_weights(subjects, ROUNDS, generator)
        low, high = np.quantile((counts @ drawn) / (totals @ drawn), [0.025, 0.975])
        hits += (ours.low or 0) <= rate <= (ours.high or 0), low <= rate <= high
    return float(hits[0]) / SIMULATIONS, float(hits[1]) / SIMULATIONS


def area_coverage(positive: int, negative: int, area: float) -> tuple[float, float]:
    """The same for an area of independent cells: ours, DeLong's without logit and bounds."""
    generator, hits = np.random.default_rng(0), np.zeros(2)
    labels = np.arange(positive + negative) < positive
    for _ in range(SIMULATIONS):
        scores = generator.normal(size=labels.size) + labels * norm.ppf(area) * np.sqrt(2)
        ours = delong(labels, scores)
        (value,), ((variance,),) = delong_covariance(labels, scores[None])
        hits += (ours.low or 0) <= area <= (ours.high or 0), abs(value - area) <= norm.ppf(0.975) * np.sqrt(variance)
    return float(hits[0]) / SIMULATIONS, float(hits[1]) / SIMULATIONS


def subject_area_coverage(subjects: int, positive: int, area: float, correlation: float) -> tuple[float, float]:
    """The same for an area by subject: ours, plain percentile."""
    generator, hits, simulations = np.random.default_rng(0), np.zeros(2), SIMULATIONS // 3
    for seed in range(simulations):
        clusters = np.repeat(np.arange(subjects), generator.geometric(1 / 20, subjects))
        labels = clusters < positive
        shared, own = generator.normal(size=subjects)[clusters], generator.normal(size=labels.size)
        scores = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own + labels * norm.ppf(area) * np.sqrt(2)
        ranking = rank_cells(labels, scores, clusters, subjects)
        units = ranking_units(labels, scores, clusters, ROUNDS, generator)
        drawn = cluster_bootstrap({"ours": lambda w, part, r=ranking, u=units: weighted_areas(r, w, u.part(part))[0],
                                   "plain": lambda w, _, r=ranking: weighted_areas(r, w)[0]}, subjects, ROUNDS, seed)
        value = float(weighted_areas(ranking, np.ones((subjects, 1)))[0][0])
        low, high = percentile_interval(drawn["ours"], value, min(positive, subjects - positive))
        plain = np.nanquantile(drawn["plain"], [0.025, 0.975])
        hits += low <= area <= high, plain[0] <= area <= plain[1]
    return float(hits[0]) / simulations, float(hits[1]) / simulations


def main() -> None:
    """Print the coverages in per cent: ours (plain)."""
    print(f"coverage of 95 % intervals in {SIMULATIONS} simulations, per cent: ours (plain)")
    for subjects in (2, 5, 8, 25, 50):
        row = [(r, c, *rate_coverage(subjects, r, c)) for r in (0.85, 0.97) for c in (0.05, 0.3)]
        print(f"rate, {subjects:2d} subjects: " + ", ".join(
            f"{100 * r:.0f} % corr. {c:g}: {100 * ours:.0f} ({100 * plain:.0f})" for r, c, ours, plain in row))
    for positive, negative, area in ((10, 200, 0.95), (30, 1000, 0.99), (60, 60, 0.99), (200, 200, 0.9)):
        ours, plain = area_coverage(positive, negative, area)
        print(f"area {area:g}, {positive} + {negative} cells: {100 * ours:.0f} ({100 * plain:.0f})")
    for correlation in (0.05, 0.4):
        ours, plain = subject_area_coverage(12, 4, 0.97, correlation)
        print(f"area 0.97, 4 + 8 subjects, corr. {correlation:g}: {100 * ours:.0f} ({100 * plain:.0f})")


if __name__ == "__main__":
    main()
