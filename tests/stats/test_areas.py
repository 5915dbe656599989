"""Areas under the ROC curve: brute force, scikit-learn, coverage by simulation, and the edge at 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from leukoscope.errors import LeukoscopeError
from leukoscope.stats import (
    DELONG,
    PERFECT,
    WIDENED,
    PseudoUnits,
    auc,
    cluster_weights,
    delong,
    delong_covariance,
    delong_test,
    newcombe_auc,
    rank_cells,
    weighted_areas,
)


def brute_force(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong, DeLong and Clarke-Pearson 1988, equations 3 to 6 pair by pair: areas (k,) and covariance (k, k)."""
    psi = []
    for row in np.atleast_2d(scores):
        x, y = row[labels][:, None], row[~labels][None]
        psi.append((x > y) + 0.5 * (x == y))
    kernel = np.stack(psi)
    m, n = int(labels.sum()), int((~labels).sum())
    return kernel.mean((1, 2)), np.atleast_2d(np.cov(kernel.mean(2))) / m + np.atleast_2d(np.cov(kernel.mean(1))) / n


def binormal(generator: np.random.Generator, positive: int, negative: int,
             area: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(positive + negative) < positive
    return labels, generator.normal(size=labels.size) + labels * norm.ppf(area) * np.sqrt(2)


tied = arrays.arrays(np.float64, st.integers(6, 40), elements=st.integers(-4, 4).map(lambda v: v / 3))


@settings(deadline=None, max_examples=50)
@given(tied, st.integers(0, 2**32 - 1))
def test_areas_and_covariance_agree_with_brute_force_under_ties(scores: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(scores.size) < max(2, scores.size // 3))
    both = np.stack([scores, generator.permutation(scores)])
    areas, covariance = delong_covariance(labels, both)
    expected, reference = brute_force(labels, both)
    assert areas == pytest.approx(expected, abs=1e-12)
    assert covariance == pytest.approx(reference, abs=1e-12)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_delong_is_the_logit_interval_of_the_brute_force_variance() -> None:
    labels, scores = binormal(np.random.default_rng(1), 300, 400, 0.85)
    areas, covariance = brute_force(labels, scores)
    reach = norm.ppf(0.975) * np.sqrt(covariance[0, 0]) / (areas[0] * (1 - areas[0]))
    logits = np.log(areas[0] / (1 - areas[0])) + np.array([-reach, reach])
    estimate = delong(labels, scores)
    assert estimate.method == DELONG
    assert (estimate.low, estimate.high) == pytest.approx(tuple(1 / (1 + np.exp(-logits))), abs=1e-12)


@pytest.mark.parametrize(("positive", "negative", "area"), [
    (5, 5, 0.95), (10, 200, 0.95), (30, 1000, 0.99), (60, 60, 0.99), (500, 50, 0.95), (150, 150, 0.8)])
def test_the_interval_covers_by_simulation(positive: int, negative: int, area: float) -> None:
    generator, rounds, hits = np.random.default_rng(7), 300, 0
    for _ in range(rounds):
        estimate = delong(*binormal(generator, positive, negative, area))
        hits += (estimate.low or 0) <= area <= (estimate.high or 0)
    # Binomial error of 300 rounds: 0.95 +- 0.025 (95 %).
    assert hits / rounds >= 0.95 - 0.03


def test_delong_alone_would_not_cover_with_few_cases() -> None:
    """Why few misranked cells widen the interval: 30 cases, 1,000 controls, area 0.99; plain DeLong covers 84 %."""
    generator, hits = np.random.default_rng(8), 0
    for _ in range(300):
        labels, scores = binormal(generator, 30, 1000, 0.99)
        areas, covariance = delong_covariance(labels, scores[None])
        reach = norm.ppf(0.975) * np.sqrt(covariance[0, 0])
        hits += areas[0] - reach <= 0.99 <= areas[0] + reach
    assert hits / 300 < 0.9


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (3, 3), (9, 13), (10, 1000), (1000, 10)])
def test_perfect_separation_keeps_its_doubt(positive: int, negative: int) -> None:
    labels = np.arange(positive + negative) < positive
    estimate = delong(labels, labels.astype(float))
    assert (estimate.value, estimate.high, estimate.method) == (1.0, 1.0, PERFECT)
    assert estimate.low == pytest.approx(0.025 ** (1 / min(positive, negative)))
    turned = delong(labels, -labels.astype(float))
    assert (turned.value, turned.low, turned.high) == pytest.approx((0.0, 0.0, 1 - (estimate.low or 0)))


def test_the_bound_at_perfect_separation_is_exact_in_the_worst_case() -> None:
    """A share 1 - area of the positive cells below all negative ones: all of m are above with probability area^m."""
    m, area, generator = 12, 0.025 ** (1 / 12), np.random.default_rng(3)
    above = generator.random((20_000, m)) < area
    assert above.all(1).mean() == pytest.approx(0.025, abs=0.004)
    labels = np.arange(m + 500) < m
    scores = np.r_[np.where(above[0], 2.0, -2.0), generator.random(500)]
    assert auc(labels, scores) == pytest.approx(above[0].mean())


@pytest.mark.parametrize("sizes", [(5, 5), (20, 20), (10, 500), (200, 200)])
def test_one_misranked_cell_does_not_make_the_interval_much_narrower_than_none(sizes: tuple[int, int]) -> None:
    labels = np.arange(sum(sizes)) < sizes[0]
    scores = labels + np.linspace(0, 0.1, labels.size)
    none = delong(labels, scores)
    scores[0] = 0.05  # one positive cell falls among the negative ones
    after = delong(labels, scores)
    assert after.method == WIDENED
    assert 1 - (after.low or 0) > 0.5 * (1 - (none.low or 0))


@settings(deadline=None, max_examples=50)
@given(tied, st.integers(0, 2**32 - 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_bounds_hold_the_area_and_ranks_are_all_that_counts(scores: np.ndarray, seed: int, confidence: float) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(scores.size) < max(1, scores.size // 3))
    estimate = delong(labels, scores, confidence)
    assert estimate.value is not None
    assert 0 <= (estimate.low or 0) <= estimate.value <= (estimate.high or 0) <= 1
    assert (estimate.low, estimate.high) != (estimate.value, estimate.value)
    order = generator.permutation(scores.size)
    assert delong(labels[order], scores[order], confidence) == estimate
    assert delong(labels, np.exp(scores) * 7 - 3, confidence) == estimate
    turned = delong(~labels, -scores, confidence)
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (estimate.value, estimate.low, estimate.high), abs=1e-9)


def test_constant_scores_have_area_one_half_and_an_honest_interval() -> None:
    estimate = delong(np.arange(20) < 8, np.zeros(20))
    assert estimate.value == 0.5
    assert (estimate.low or 1) < 0.35
    assert (estimate.high or 0) > 0.65


def test_one_class_gives_no_area_and_says_so() -> None:
    labels = np.ones(4, dtype=bool)
    assert delong(labels, np.arange(4.0)).to_dict() == {
        "value": None, "low": None, "high": None, "method": "undefined: 4 positive and 0 negative cells",
        "count": None, "total": None}
    with pytest.raises(LeukoscopeError, match="positive and negative cells"):
        auc(labels, np.arange(4.0))
    with pytest.raises(LeukoscopeError, match="positive and negative cells"):
        delong_covariance(labels, np.arange(4.0)[None])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_named(wrong: float) -> None:
    with pytest.raises(LeukoscopeError, match=f"entry 1 is {wrong}"):
        delong(np.array([True, False, True]), np.array([0.0, wrong, 1.0]))


def test_newcombe_gives_the_published_width_at_the_edges() -> None:
    """At an area of 1 the score interval of method 5 ends where (1 - x)^2 = z^2 V(x)."""
    low, high = newcombe_auc(1.0, 20, 20)
    others = 19
    variance = low * (1 - low) * (1 + others * ((1 - low) / (2 - low) + low / (1 + low))) / 400
    assert (1 - low) ** 2 == pytest.approx(norm.ppf(0.975) ** 2 * variance)
    assert high == 1
    assert newcombe_auc(0.0, 20, 20) == pytest.approx((0.0, 1 - low))


def test_the_paired_test_keeps_its_level_and_finds_a_difference() -> None:
    generator, refused, detected = np.random.default_rng(11), 0, 0
    for _ in range(250):
        labels, shared = binormal(generator, 60, 80, 0.85)
        noise = generator.normal(size=(2, labels.size))
        first, second = shared + 0.7 * noise
        refused += (delong_test(labels, first, second).p_value or 0) < 0.05
        detected += (delong_test(labels, shared, shared + 3 * noise[0]).p_value or 0) < 0.05
    assert refused / 250 == pytest.approx(0.05, abs=0.03)
    assert detected / 250 > 0.8


def test_scores_that_rank_alike_do_not_differ() -> None:
    labels, scores = binormal(np.random.default_rng(0), 20, 30, 0.8)
    comparison = delong_test(labels, scores, scores * 3 + 1)
    assert (comparison.p_value, comparison.difference.value, comparison.difference.low) == (1.0, 0.0, None)


def test_obuchowski_with_a_cluster_a_cell_is_delong() -> None:
    labels, scores = binormal(np.random.default_rng(4), 70, 90, 0.8)
    both = np.stack([scores, scores + np.random.default_rng(5).normal(size=scores.size)])
    plain, clustered = delong_covariance(labels, both)[1], delong_covariance(labels, both, np.arange(160))[1]
    assert clustered == pytest.approx(plain, rel=0.02)
    copies = delong_covariance(np.tile(labels, 3), np.tile(both, 3), np.tile(np.arange(160), 3))[1]
    assert copies == pytest.approx(clustered, rel=1e-9)  # three copies of each cell tell no more than one


@settings(deadline=None, max_examples=20)
@given(tied, st.integers(0, 2**32 - 1))
def test_weighted_areas_agree_with_scikit_learn(scores: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(scores.size) < max(2, scores.size // 3))
    clusters = generator.integers(0, 5, scores.size)
    weights = cluster_weights(5, 6, generator)
    areas, precisions = weighted_areas(rank_cells(labels, scores, clusters, 5), weights)
    for area, precision, column in zip(areas, precisions, weights.T, strict=True):
        drawn = column[clusters]
        if not drawn[labels].sum():
            assert np.isnan(area)
            assert np.isnan(precision)
            continue
        assert precision == pytest.approx(average_precision_score(labels, scores, sample_weight=drawn))
        if drawn[~labels].sum():
            assert area == pytest.approx(roc_auc_score(labels, scores, sample_weight=drawn))
        else:
            assert np.isnan(area)


def test_pseudo_units_are_cells_at_the_ends_of_the_ranking() -> None:
    labels, scores = binormal(np.random.default_rng(6), 15, 25, 0.8)
    right_p, wrong_p, right_n, wrong_n = 1.5, 0.5, 0.75, 2.0
    units = PseudoUnits(np.array([[right_p], [wrong_p]]), np.array([[right_n], [wrong_n]]))
    area, precision = weighted_areas(rank_cells(labels, scores, np.zeros(40, dtype=int), 1), np.ones((1, 1)), units)
    ends = np.array([90.0, -99.0, -90.0, 99.0])  # a wrong positive below, a wrong negative above all others
    with_ends = np.r_[labels, True, True, False, False]
    weight = np.r_[np.ones(40), right_p, wrong_p, right_n, wrong_n]
    assert area[0] == pytest.approx(roc_auc_score(with_ends, np.r_[scores, ends], sample_weight=weight))
    expected = average_precision_score(with_ends, np.r_[scores, ends], sample_weight=weight)
    assert precision[0] == pytest.approx(expected)


def test_ranking_needs_a_positive_cell() -> None:
    with pytest.raises(LeukoscopeError, match="no positive cell"):
        rank_cells(np.zeros(3, dtype=bool), np.arange(3.0), np.arange(3), 3)
