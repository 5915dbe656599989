"""Rates and differences over repeated trainings: what they reduce to, and whether their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import ttest_1samp

from leukoscope.errors import LeukoscopeError
from leukoscope.stats import Estimate, paired_difference, repeated_difference, repeated_rate, wilson


def simulated(rng: np.random.Generator, repeats: int, cells: int) -> np.ndarray:
    """Networks whose own level varies by 2 %, on cells some of which are hard for all."""
    ease = rng.beta(6, 1, cells)
    levels = 0.02 * rng.standard_normal((repeats, 1))
    return rng.random((repeats, cells)) < np.clip(ease + levels, 0, 1)


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_one_repeat_is_nearly_wilson():
    right = np.random.default_rng(0).random((1, 2000)) < 0.9
    result, plain = repeated_rate(right), wilson(int(right.sum()), 2000)
    assert result.value == plain.value
    assert (result.low, result.high) == pytest.approx((plain.low, plain.high), abs=2e-4)
    assert "one training" in result.method


def test_one_repeat_of_each_is_the_paired_t_test():
    rng = np.random.default_rng(1)
    first, second = rng.random((1, 500)) < 0.9, rng.random((1, 500)) < 0.8
    result = repeated_difference(first, second)
    change = first[0].astype(float) - second[0]
    assert result.p_value == pytest.approx(ttest_1samp(change, 0)[1], rel=1e-9)
    clusters = np.arange(500) // 5
    clustered = repeated_difference(first, second, clusters)
    reference = paired_difference(first[0], second[0], clusters)
    assert clustered.p_value == pytest.approx(reference.p_value)
    assert (clustered.difference.low, clustered.difference.high) == pytest.approx(
        (reference.difference.low, reference.difference.high))


def test_the_spread_between_repeats_widens_the_interval():
    alike = np.tile(np.random.default_rng(2).random(1000) < 0.9, (3, 1))
    apart = alike.copy()
    apart[0, np.flatnonzero(alike[0])[:60]] = False
    apart[1, np.flatnonzero(~alike[1])[:60]] = True
    assert width(repeated_rate(apart)) > 1.5 * width(repeated_rate(alike))


@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_intervals_of_a_difference_hold_the_truth_often_enough(repeats):
    rng = np.random.default_rng(3)
    held, rejected, rounds = 0, 0, 400
    for _ in range(rounds):
        ease = rng.beta(6, 1, 400)

        def networks(ease: np.ndarray = ease) -> np.ndarray:
            levels = 0.015 * rng.standard_normal((repeats, 1))
            return rng.random((repeats, 400)) < np.clip(ease + levels, 0, 1)

        result = repeated_difference(networks(), networks())
        low, high = result.difference.low, result.difference.high
        held += low is not None and high is not None and low <= 0 <= high
        rejected += result.p_value is not None and result.p_value < 0.05
    assert held / rounds >= 0.94  # it is conservative by design: never below, up to its own chance
    assert rejected / rounds <= 0.06


@pytest.mark.parametrize(("repeats", "cells", "spread"), [
    (2, 3400, 0.1), (2, 3400, 0.3), (3, 3400, 0.3), (3, 3400, 0.6), (5, 3400, 0.3), (2, 400, 0.6), (3, 400, 0.6)])
def test_intervals_of_a_rate_hold_the_truth_often_enough(repeats, cells, spread):
    """Cells of several difficulties, trainings that differ by `spread` in the logit."""
    rng = np.random.default_rng(4)
    ease, level = rng.normal(3.4, 1.6, 4000)[:, None], spread * rng.standard_normal(500)
    truth = float(expit(ease + level).mean())
    held = 0
    for _ in range(400):
        logits = rng.normal(3.4, 1.6, cells) + spread * rng.standard_normal((repeats, 1))
        result = repeated_rate(rng.random((repeats, cells)) < expit(logits))
        held += result.low is not None and result.high is not None and result.low <= truth <= result.high
    assert held / 400 >= 0.93  # 0.95 less twice the chance of so many rounds


@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 2**31))
def test_bounds_stay_in_range_and_hold_the_value(repeats, cells, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((repeats, cells)) < rng.random(), rng.random((2, cells)) < rng.random()
    rate, comparison = repeated_rate(first), repeated_difference(first, second)
    assert width(rate) >= 0
    assert rate.value is not None
    assert rate.low is not None
    assert rate.high is not None
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    difference = comparison.difference
    if difference.low is not None and difference.high is not None and difference.value is not None:
        assert -1 <= difference.low <= difference.value <= difference.high <= 1
    swapped = repeated_difference(second, first)
    assert difference.value is not None
    assert swapped.difference.value == pytest.approx(-difference.value)
    assert swapped.p_value == pytest.approx(comparison.p_value)


def test_perfect_networks_are_no_certainty():
    rate = repeated_rate(np.ones((3, 50), bool))
    assert rate.value == rate.high == 1
    assert rate.low == pytest.approx(wilson(50, 50).low, abs=0.01)
    same = repeated_difference(np.ones((3, 50), bool), np.ones((3, 50), bool))
    assert (same.difference.value, same.difference.low, same.p_value) == (0, None, 1)


def test_clusters_that_agree_give_no_certainty():
    right = np.tile([True, False, False], (2, 6))
    clusters = np.repeat(np.arange(6), 3)
    rate = repeated_rate(right, clusters)
    assert rate.low == pytest.approx(wilson(2, 6).low, abs=0.03)  # six subjects are what there is
    better = np.tile([True, True, False], (2, 6))
    result = repeated_difference(better, right, clusters)
    assert (result.difference.low, result.p_value) == (None, None)


def test_what_cannot_be_told_is_refused():
    with pytest.raises(LeukoscopeError, match="at least two cells"):
        repeated_rate(np.ones((2, 1), bool))
    with pytest.raises(LeukoscopeError, match="one subject"):
        repeated_rate(np.ones((2, 5), bool), np.zeros(5))
