"""The bootstrap by cluster: against the analytic variance, by coverage, and at the edge where all cells are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from leukoscope.errors import LeukoscopeError
from leukoscope.stats import (
    bootstrap_rate,
    cluster_bootstrap,
    cluster_rate,
    cluster_weights,
    delong_covariance,
    effective_clusters,
    jeffreys_units,
    percentile_interval,
    rank_cells,
    ranking_units,
    weighted_areas,
)


def clustered(generator: np.random.Generator, clusters: int, rate: float, correlation: float,
              mean_size: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Counts and totals of a beta-binomial with that within-cluster correlation and geometric cluster sizes."""
    totals = generator.geometric(1 / mean_size, clusters)
    odds = (1 - correlation) / correlation
    return generator.binomial(totals, generator.beta(rate * odds, (1 - rate) * odds, clusters)), totals


def test_each_round_draws_as_many_clusters_as_there_are() -> None:
    weights = cluster_weights(37, 400, np.random.default_rng(0))
    assert weights.shape == (37, 400)
    assert (weights.sum(0) == 37).all()
    assert weights.var() == pytest.approx(36 / 37, rel=0.05)  # multinomial


def test_the_bootstrap_variance_is_the_analytic_one() -> None:
    """Of a mean over K equal clusters the bootstrap variance is the plug-in variance of the cluster means, over K."""
    means = np.random.default_rng(1).random(40)
    drawn = cluster_bootstrap({"mean": lambda w, _: means @ w / 40}, 40, 20_000, 3)["mean"]
    assert drawn.var() == pytest.approx(means.var() / 40, rel=0.05)
    assert drawn.mean() == pytest.approx(means.mean(), abs=0.002)


def test_the_bootstrap_variance_of_an_area_is_obuchowskis() -> None:
    generator = np.random.default_rng(2)
    clusters = np.repeat(np.arange(80), 12)
    labels = np.arange(80)[clusters] % 2 == 0
    scores = labels + generator.normal(size=80)[clusters] * 0.5 + generator.normal(size=labels.size)
    ranking = rank_cells(labels, scores, clusters, 80)
    drawn = cluster_bootstrap({"area": lambda w, _: weighted_areas(ranking, w)[0]}, 80, 3000, 4)["area"]
    assert drawn.var() == pytest.approx(delong_covariance(labels, scores[None], clusters)[1][0, 0], rel=0.1)


def test_blocks_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds_seen() -> dict[str, np.ndarray]:
        return cluster_bootstrap({"at": lambda w, part: np.arange(part.start, part.stop) + 0 * w[0],
                                  "first": lambda w, _: w[0]}, 9, 50, 7)

    whole = rounds_seen()
    monkeypatch.setattr("leukoscope.stats.bootstrap.BLOCK", 9 * 8)
    parts = rounds_seen()
    assert (parts["at"] == np.arange(50)).all()
    assert (parts["first"] == whole["first"]).all()


def test_pseudo_units_make_the_bootstrap_a_jeffreys_posterior() -> None:
    """With weights Gamma(1) a cell, k right and n - k wrong cells and the units give Beta(k + 1/2, n - k + 1/2)."""
    generator = np.random.default_rng(5)
    right, wrong = jeffreys_units(1.0, 40_000, generator)
    right = right + generator.standard_gamma(19, 40_000)
    wrong = wrong + generator.standard_gamma(1, 40_000)
    share = right / (right + wrong)
    assert np.quantile(share, [0.025, 0.5, 0.975]) == pytest.approx(
        beta.ppf([0.025, 0.5, 0.975], 19.5, 1.5), abs=0.006)


@pytest.mark.parametrize(("clusters", "rate", "correlation"), [
    (2, 0.85, 0.3), (3, 0.97, 0.05), (5, 0.85, 0.3), (8, 0.97, 0.3), (25, 0.97, 0.05), (50, 0.85, 0.05)])
def test_the_interval_covers_even_with_few_subjects(clusters: int, rate: float, correlation: float) -> None:
    generator, rounds, hits, plain = np.random.default_rng(6), 200, 0, 0
    for seed in range(rounds):
        counts, totals = clustered(generator, clusters, rate, correlation)
        estimate = bootstrap_rate(counts, totals, 0.95, 400, seed)
        hits += (estimate.low or 0) <= rate <= (estimate.high or 0)
        drawn = cluster_weights(clusters, 400, generator)
        low, high = np.quantile((counts @ drawn) / (totals @ drawn), [0.025, 0.975])
        plain += low <= rate <= high
    assert hits / rounds >= 0.95 - 0.04  # binomial error of 200 rounds: 0.03
    if clusters <= 8:
        assert plain / rounds < 0.88  # the plain percentile interval, which is what packages give


def test_the_analytic_interval_covers_too() -> None:
    generator, hits = np.random.default_rng(9), 0
    for _ in range(1000):
        estimate = cluster_rate(*clustered(generator, 12, 0.9, 0.2))
        hits += (estimate.low or 0) <= 0.9 <= (estimate.high or 0)
    assert hits / 1000 >= 0.93


@pytest.mark.parametrize("clusters", [2, 5, 20])
def test_all_right_keeps_the_doubt_of_so_many_subjects_not_cells(clusters: int) -> None:
    totals = np.full(clusters, 100)
    estimate = bootstrap_rate(totals, totals)
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low is not None
    assert estimate.low <= beta.ppf(0.025, clusters + 0.5, 0.5) + 0.02  # Jeffreys on the subjects
    assert estimate.low >= 0.0


def test_few_subjects_are_named_and_one_gives_no_interval() -> None:
    one = bootstrap_rate(np.array([9]), np.array([10]), unit="subject")
    assert (one.value, one.low, one.method) == (0.9, None, "no interval: one subject only")
    few = bootstrap_rate(np.array([9, 10, 8, 0]), np.array([10, 10, 9, 0]), unit="subject")
    assert few.method == "bootstrap by subject (few: 3)"
    assert bootstrap_rate(np.array([0]), np.array([0])).value is None


@pytest.mark.parametrize("rate", [bootstrap_rate, cluster_rate])
def test_impossible_counts_are_refused(rate: object) -> None:
    with pytest.raises(LeukoscopeError, match="cluster 1: 5 of 4"):
        rate(np.array([1, 5]), np.array([4, 4]))  # type: ignore[operator]  # one of two functions
    with pytest.raises(LeukoscopeError, match="bootstrap of 0 clusters"):
        cluster_bootstrap({}, 0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=12))
def test_bounds_hold_the_rate(pairs: list[tuple[int, int]]) -> None:
    totals = np.array([a + b for a, b in pairs])
    for estimate in (bootstrap_rate(np.array([a for a, _ in pairs]), totals, 0.9, 200),
                     cluster_rate(np.array([a for a, _ in pairs]), totals)):
        if estimate.low is not None and estimate.value is not None and estimate.high is not None:
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_expanded_percentiles_fall_to_the_plain_ones_with_many_clusters() -> None:
    drawn = np.random.default_rng(0).normal(0.5, 0.05, 100_000)
    many = percentile_interval(drawn, 0.5, 100_000)
    assert many == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-4)
    five = percentile_interval(drawn, 0.5, 5)  # t(4) = 2.776, times sqrt(5 / 4)
    assert (five[1] - five[0]) / (many[1] - many[0]) == pytest.approx(2.776 * np.sqrt(1.25) / 1.96, rel=0.03)
    assert percentile_interval(np.array([np.nan, np.nan]), 0.3, 5) == (0.3, 0.3)


def test_the_clusters_behind_a_mean_are_those_of_the_class_that_varies() -> None:
    assert effective_clusters(np.array([1.0, 1.0]), np.array([11, 11])) == pytest.approx(21)
    assert effective_clusters(np.array([1.0, 0.0]), np.array([4, 500])) == pytest.approx(4)
    assert effective_clusters(np.zeros(2), np.array([4, 9])) == 4


def test_an_area_by_subject_covers_near_one_where_the_plain_bootstrap_does_not() -> None:
    generator, area, hits, plain = np.random.default_rng(12), 0.97, 0, 0
    shift = 1.8808 * np.sqrt(2)  # norm.ppf(0.97)
    for seed in range(60):
        sizes = generator.geometric(1 / 15, 12)
        clusters = np.repeat(np.arange(12), sizes)
        labels = clusters < 4
        scores = (labels * shift + np.sqrt(0.4) * generator.normal(size=12)[clusters]
                  + np.sqrt(0.6) * generator.normal(size=labels.size))
        ranking = rank_cells(labels, scores, clusters, 12)
        units = ranking_units(labels, scores, clusters, 300, generator)
        drawn = cluster_bootstrap({
            "ours": lambda w, part, r=ranking, u=units: weighted_areas(r, w, u.part(part))[0],
            "plain": lambda w, _, r=ranking: weighted_areas(r, w)[0],
        }, 12, 300, seed)
        value = float(weighted_areas(ranking, np.ones((12, 1)))[0][0])
        low, high = percentile_interval(drawn["ours"], value, 4)
        hits += low <= area <= high
        low, high = np.nanquantile(drawn["plain"], [0.025, 0.975])
        plain += low <= area <= high
    assert hits >= 55
    assert plain <= 53
