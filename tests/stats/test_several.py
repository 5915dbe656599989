"""Several classifiers on the same cells: areas, ranks over blocks, agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f as fisher
from scipy.stats import friedmanchisquare, norm
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from leukoscope.errors import LeukoscopeError
from leukoscope.stats import (
    area_difference,
    area_influence,
    delong_covariance,
    delong_test,
    mean_area,
    rank_over_blocks,
    same_answers,
    with_trainings,
)


def cells(n: int, seed: int, classes: int = 2):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    scores = rng.dirichlet(np.ones(classes), size=n).T + 0.4 * (labels == np.arange(classes)[:, None])
    return labels, scores


@given(st.integers(8, 200), st.integers(0, 10_000))
def test_of_one_class_the_influences_make_delongs_variance(n, seed):
    labels, scores = cells(n, seed)
    own = labels == 1
    if own.all() or not own.any():
        return
    influence = area_influence(own[None], scores[1:])
    _, covariance = delong_covariance(own, scores[1:])
    many = min(own.sum(), (~own).sum()) > 1  # DeLong's has no variance of one cell
    if many:
        assert (influence**2).sum() == pytest.approx(covariance[0, 0], rel=1e-9, abs=1e-15)
    assert influence.sum() == pytest.approx(0, abs=1e-9)


def test_one_class_and_one_training_is_delongs_paired_test():
    labels, scores = cells(4000, 1)
    other = scores[1] + np.random.default_rng(2).normal(0, 0.3, scores.shape[1])
    result = area_difference(labels[None] == 1, scores[None, 1:], other[None, None])
    expected = delong_test(labels == 1, scores[1], other)
    assert result.difference.value == pytest.approx(expected.difference.value, abs=1e-12)
    assert result.p_value == pytest.approx(expected.p_value, rel=0.02)  # t at 3,999 against the normal
    assert result.difference.low == pytest.approx(expected.difference.low, abs=2e-5)
    clusters = np.repeat(np.arange(400), 10)
    result = area_difference(labels[None] == 1, scores[None, 1:], other[None, None], clusters)
    expected = delong_test(labels == 1, scores[1], other, clusters)
    assert result.difference.low == pytest.approx(expected.difference.low, abs=2e-4)


def test_the_mean_area_is_sklearns_one_versus_rest():
    labels, scores = cells(500, 3, classes=4)
    shares = (scores / scores.sum(0)).T
    expected = roc_auc_score(labels, shares, multi_class="ovr")
    assert mean_area(labels == np.arange(4)[:, None], shares.T) == pytest.approx(expected, abs=1e-12)


def test_the_variance_of_a_difference_of_mean_areas_is_what_new_cells_show():
    """Against simulation: two scores of the same 300 cells, drawn 400 times."""
    values, variances = [], []
    for seed in range(400):
        labels, scores = cells(300, seed, classes=3)
        rng = np.random.default_rng(10_000 + seed)
        other = scores + rng.normal(0, 0.4, scores.shape)
        own = labels == np.arange(3)[:, None]
        result = area_difference(own, scores[None], other[None])
        assert result.difference.low is not None
        assert result.difference.high is not None
        values.append(result.difference.value)
        variances.append(((result.difference.high - result.difference.low) / (2 * norm.ppf(0.975))) ** 2)
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.2)


def test_trainings_that_differ_widen_the_interval_of_areas():
    labels, scores = cells(400, 5)
    own = labels[None] == 1
    rng = np.random.default_rng(0)
    alike = np.stack([scores[1:]] * 3)
    apart = np.stack([scores[1:] + rng.normal(0, s, 400) for s in (0.0, 0.4, 0.8)])
    other = (scores[1:] + rng.normal(0, 0.4, 400))[None]
    once = area_difference(own, scores[None, 1:], other)
    again = area_difference(own, alike, other)
    assert again.difference.value == pytest.approx(once.difference.value, abs=1e-12)
    assert again.difference.low == pytest.approx(once.difference.low, abs=1e-3)
    wide = area_difference(own, apart, other).difference
    assert wide.low is not None
    assert again.difference.low is not None
    assert wide.value is not None
    assert again.difference.value is not None
    assert wide.value - wide.low > 2 * (again.difference.value - again.difference.low)


def test_scores_that_rank_alike_do_not_differ():
    labels, scores = cells(50, 6)
    result = area_difference(labels[None] == 1, scores[None, 1:], 3 * scores[None, 1:] + 1)
    assert result.p_value == 1.0
    assert result.difference.low is None
    with pytest.raises(LeukoscopeError, match="expected positive and negative cells, got 50 and 0"):
        area_influence(np.ones((1, 50), bool), scores[1:])


def test_friedman_and_nemenyi_of_demsar():
    """Demsar 2006, table 6: four classifiers on 14 data sets, average ranks 3.143, 2.000, 2.893 and 1.964; the
    critical difference at 0.05 is 2.569 sqrt(4 x 5 / (6 x 14)) = 1.25, F is 3.69. (Its last but one row prints 0.975
    twice and ranks the first of the two better.)"""
    c45 = [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.94, 0.619, 0.972, 0.957]
    m = [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978]
    cf = [0.771, 0.59, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.0, 0.965, 0.614, 0.9751, 0.946]
    both = [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.0, 0.962, 0.669, 0.975, 0.97]
    scores = np.array([c45, m, cf, both]).T
    result = rank_over_blocks(scores)
    assert result.mean_ranks == pytest.approx((3.143, 2.0, 2.893, 1.964), abs=0.001)
    assert result.critical == pytest.approx(1.25, abs=0.005)
    chi = friedmanchisquare(*scores.T)
    assert result.p_value is not None
    # The paper's F = 3.69, p = 0.02 leaves ties uncorrected; with scipy's correction they are 4.2 and 0.01.
    statistic = 13 * chi.statistic / (14 * 3 - chi.statistic)
    assert result.p_value == pytest.approx(fisher.sf(statistic, 3, 39), rel=1e-9)


def test_ranks_without_doubt_and_without_blocks():
    scores = np.tile([0.9, 0.8, 0.7], (4, 1))
    result = rank_over_blocks(scores)
    assert result.mean_ranks == (1.0, 2.0, 3.0)
    assert result.p_value == pytest.approx(1 / 216)
    equal = rank_over_blocks(np.full((5, 3), 0.5))
    assert equal.mean_ranks == (2.0, 2.0, 2.0)
    assert equal.p_value == pytest.approx(1.0)
    few = rank_over_blocks(scores[:2])
    assert (few.p_value, few.critical) == (None, None)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=40), st.integers(0, 1000))
def test_kappa_is_sklearns_and_shared_errors_are_counted(first, seed):
    rng = np.random.default_rng(seed)
    one = np.array(first)
    two, labels = rng.integers(3, size=one.size), rng.integers(3, size=one.size)
    result = same_answers(one, two, labels)
    assert result["same"] == (one == two).mean()
    if math.isfinite(result["kappa"]):
        assert result["kappa"] == pytest.approx(cohen_kappa_score(one, two), abs=1e-12)
    both = sum(c not in (a, b) for a, b, c in zip(one, two, labels, strict=True))
    either = sum(a != c or b != c for a, b, c in zip(one, two, labels, strict=True))
    assert math.isnan(result["shared_errors"]) if not either else result["shared_errors"] == both / either


def test_intervals_over_trainings():
    assert with_trainings(0.9, 0.88, 0.93, np.array([0.9])) == (0.88, 0.93)
    low, high = with_trainings(0.9, 0.88, 0.93, np.array([0.89, 0.9, 0.91]))
    between = 4.302653 * 0.01 / math.sqrt(3)
    assert low == pytest.approx(0.9 - math.hypot(0.02, between), abs=1e-6)
    assert high == pytest.approx(0.9 + math.hypot(0.03, between), abs=1e-6)
