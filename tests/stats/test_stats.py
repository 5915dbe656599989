"""Intervals for rates, paired tests, Holm: printed intervals of a paper, statsmodels, coverage, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_reference
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from leukoscope.errors import LeukoscopeError
from leukoscope.stats import (
    Estimate,
    cluster_rate,
    delong_test,
    design_effect,
    difference,
    exact,
    holm,
    mcnemar,
    mcnemar_p,
    paired_difference,
    wilson,
)


@pytest.mark.parametrize(("count", "total", "low", "high"), [
    # Noshad and Fallahi 2021, C-NMC test part: with 836 leukemic and 844 healthy cells all six bounds come out, and
    # the precision of 98.00 % (833 of 850); with 840 and 840 they do not.
    (833, 836, 0.9895, 0.9988), (827, 844, 0.9680, 0.9874), (1660, 1680, 0.9817, 0.9923),
    # ALL-IDB validation part: 308 cells, 160 leukemic, 148 healthy (0.9747, printed as 0.974).
    (308, 308, 0.988, 1.0), (160, 160, 0.977, 1.0), (148, 148, 0.975, 1.0),
    # ALL-IDB test part: 9 leukemic, 13 healthy, 22 in all. The paper prints the last two the other way round.
    (9, 9, 0.70, 1.0), (13, 13, 0.772, 1.0), (22, 22, 0.851, 1.0),
    # Shalini and Angel Viji 2022: 259 and 257 of 260.
    (259, 260, 0.979, 0.999), (257, 260, 0.967, 0.996),
])
def test_wilson_gives_the_printed_intervals(count: int, total: int, low: float, high: float) -> None:
    estimate = wilson(count, total)
    printed = 1e-4 if total > 800 else 1e-3
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=printed)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_rate_intervals_agree_with_statsmodels_and_hold_the_rate(rate: tuple[int, int], confidence: float) -> None:
    for ours, method in ((wilson, "wilson"), (exact, "beta")):
        estimate = ours(*rate, confidence)
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        reference = proportion_confint(*rate, alpha=1 - confidence, method=method)
        assert (estimate.low, estimate.high) == pytest.approx(reference, abs=1e-9)
        assert (estimate.low == 0) == (rate[0] == 0)
        assert (estimate.high == 1) == (rate[0] == rate[1])


def test_the_exact_interval_never_covers_less_than_it_says() -> None:
    from scipy.stats import binom

    n = 15
    bounds = [exact(k, n) for k in range(n + 1)]
    for rate in np.linspace(0.01, 0.99, 50):
        inside = [k for k, e in enumerate(bounds) if (e.low or 0) <= rate <= (e.high or 0)]
        assert binom.pmf(inside, n, rate).sum() >= 0.95


def test_no_cells_give_no_figure_and_say_so() -> None:
    assert wilson(0, 0).to_dict() == {"value": None, "low": None, "high": None, "method": "undefined: no cells",
                                      "count": 0, "total": 0}
    assert wilson(0, 0) == exact(0, 0)
    assert cluster_rate(np.array([0, 0]), np.array([0, 0])).value is None


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5), (1, -1)])
def test_impossible_rates_are_refused(count: int, total: int) -> None:
    with pytest.raises(LeukoscopeError, match="is not a rate"):
        wilson(count, total)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, float("nan")])
def test_confidence_is_between_zero_and_one(confidence: float) -> None:
    with pytest.raises(LeukoscopeError, match="between 0 and 1"):
        wilson(1, 2, confidence)


def test_design_effect_is_one_for_single_cells_and_the_cluster_size_for_copies() -> None:
    generator = np.random.default_rng(0)
    singles = generator.integers(0, 2, 500)
    assert design_effect(singles, np.ones(500, dtype=int)) == 1
    copies = 20 * generator.integers(0, 2, 500)
    assert design_effect(copies, np.full(500, 20)) == pytest.approx(20, rel=0.02)
    assert design_effect(np.array([4, 6]), np.array([4, 6])) == pytest.approx(52 / 10)  # all right: the safe answer


def test_a_clustered_rate_of_single_cells_is_wilson_with_students_t() -> None:
    counts = np.r_[np.ones(90, dtype=int), np.zeros(10, dtype=int)]
    clustered, plain = cluster_rate(counts, np.ones(100, dtype=int)), wilson(90, 100)
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), abs=0.002)
    assert (clustered.low or 0) < (plain.low or 0)


def test_mcnemar_gives_the_figures_of_a_published_example() -> None:
    """Fagerland, Lydersen and Laake 2013, table 2 (Bentur et al.): 1 / 1 / 7 / 12 children; exact 0.070."""
    p, name = mcnemar_p(1, 7)
    assert (round(p, 3), name) == (0.070, "mcnemar, exact")
    both, only, other, neither = 1, 1, 7, 12
    first = np.r_[np.ones(both + only), np.zeros(other + neither)].astype(bool)
    second = np.r_[np.ones(both), np.zeros(only), np.ones(other), np.zeros(neither)].astype(bool)
    comparison = mcnemar(first, second)
    assert comparison.p_value == p
    assert comparison.difference.value == pytest.approx(-6 / 21)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx((-0.507, -0.026), abs=5e-4)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_agrees_with_statsmodels_and_is_symmetric(first: int, second: int) -> None:
    p, name = mcnemar_p(first, second)
    assert p == pytest.approx(mcnemar_p(second, first)[0])
    reference = vars(mcnemar_reference([[5, first], [second, 5]], exact=True))["pvalue"] if first + second else 1.0
    if name == "mcnemar, exact":
        assert p == pytest.approx(reference)
    else:  # mid-p: what is more extreme, and half of what is just as extreme
        chances = binom.pmf(np.arange(first + second + 1), first + second, 0.5)
        distance = np.abs(2 * np.arange(first + second + 1) - first - second)
        own = abs(first - second)
        assert p == pytest.approx(chances[distance > own].sum() + chances[distance == own].sum() / 2)


def test_two_images_of_260_do_not_separate_two_networks() -> None:
    """papers/shalini2022: ResNet-50 with 259 right and VGG-19 with 257 of the same 260, at best for ResNet-50."""
    best, other = np.arange(260) >= 1, np.arange(260) >= 3
    comparison = mcnemar(best, other)
    assert comparison.p_value == pytest.approx(0.5)
    assert (comparison.difference.low or 0) < 0 < (comparison.difference.high or 0)


def test_the_paired_interval_covers_as_it_says() -> None:
    generator, truth, hits = np.random.default_rng(5), 0.05, 0
    for _ in range(600):
        shared = generator.random(80)
        first, second = shared < 0.90, np.where(generator.random(80) < 0.8, shared, generator.random(80)) < 0.85
        interval = mcnemar(first, second).difference
        hits += (interval.low or 0) <= truth <= (interval.high or 0)
    assert hits / 600 >= 0.93


def test_clusters_widen_a_paired_difference() -> None:
    generator = np.random.default_rng(2)
    clusters = np.repeat(np.arange(20), 30)
    first = generator.random(600) < np.repeat(generator.uniform(0.8, 1.0, 20), 30)
    second = generator.random(600) < np.repeat(generator.uniform(0.6, 1.0, 20), 30)
    plain, clustered = paired_difference(first, second), paired_difference(first, second, clusters)
    width = [(c.difference.high or 0) - (c.difference.low or 0) for c in (plain, clustered)]
    assert clustered.difference.value == pytest.approx(plain.difference.value)
    assert width[1] > 1.3 * width[0]
    assert clustered.p_value is not None
    assert clustered.p_value > (plain.p_value or 0)


def test_a_clustered_difference_of_single_cells_is_the_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    generator = np.random.default_rng(4)
    first, second = generator.random(90) < 0.9, generator.random(90) < 0.8
    ours, reference = paired_difference(first, second, np.arange(90)), ttest_rel(first * 1.0, second * 1.0)
    assert ours.p_value == pytest.approx(reference.pvalue)
    assert (ours.difference.low, ours.difference.high) == pytest.approx(tuple(reference.confidence_interval()))


def test_paired_comparisons_without_a_difference_or_with_one_subject_say_so() -> None:
    same = np.array([True, False, True])
    assert mcnemar(same, same).p_value == 1
    assert paired_difference(same, same, np.arange(3)).p_value == 1
    alone = paired_difference(same, ~same, np.array(["a", "a", "a"]))
    assert alone.p_value is None
    assert alone.difference.low is None
    assert "one cluster only" in alone.difference.method
    assert mcnemar(same[:0], same[:0]).difference.value is None
    with pytest.raises(LeukoscopeError, match="one cluster only"):
        delong_test(same, np.arange(3.0), np.arange(3.0)[::-1].copy(), np.array(["a", "a", "a"]))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    assert holm(np.array(p_values)) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("p_values", [[0.1, float("nan")], [1.2], [-0.1]])
def test_holm_refuses_what_is_no_p_value(p_values: list[float]) -> None:
    with pytest.raises(LeukoscopeError, match="p_values"):
        holm(np.array(p_values))


def test_difference_is_newcombes_unpaired_interval():
    """Newcombe 1998 (Stat Med 17:873), table II, method 10."""
    for (a, m, b, n), (low, high) in {(56, 70, 48, 80): (0.0524, 0.3339), (9, 10, 3, 10): (0.1705, 0.8090),
                                      (10, 10, 0, 20): (0.6791, 1.0), (10, 10, 0, 10): (0.6075, 1.0)}.items():
        result = difference(wilson(a, m), wilson(b, n))
        assert result.value == pytest.approx(a / m - b / n)
        assert (result.low, result.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_difference_says_why_there_is_none():
    assert difference(wilson(0, 0), wilson(1, 2)).value is None
    result = difference(Estimate(0.75, None, None, "one subject only"), wilson(1, 2))
    assert (result.value, result.low) == (0.25, None)
    assert "one of the figures has none" in result.method
