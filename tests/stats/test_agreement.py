"""Agreement of two methods against published examples, statsmodels, and independent implementations of a few lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from leukoscope.errors import LeukoscopeError
from leukoscope.stats import Estimate, bland_altman, cohen_kappa, deming, passing_bablok, rumke_limits

CLOSE = 1e-6
WRIGHT = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float)
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)
"""Peak flow in l/min of 17 people with two meters: Bland and Altman 1986, Lancet 327:307, table 1, first readings."""


def known(estimate: Estimate) -> tuple[float, float, float]:
    """Value, low and high, all of which are defined."""
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.value, estimate.low, estimate.high


def pairs(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two measurements of n positive quantities, with errors in proportion to them."""
    random = np.random.default_rng(seed)
    true = random.uniform(1, 20, n)
    return true * (1 + 0.08 * random.normal(size=n)), (0.5 + 1.1 * true) * (1 + 0.05 * random.normal(size=n))


def test_bland_and_altmans_own_example():
    result = bland_altman(WRIGHT, MINI)
    assert result.pairs == 17
    # As other programs compute them from the same table (with 1.96 for the limits).
    assert (result.bias.value, result.spread) == pytest.approx((-2.11764705882, 38.7651298736), abs=1e-9)
    assert (result.lower.value, result.upper.value) == pytest.approx((-78.0959054849, 73.8606113673), abs=CLOSE)
    assert result.bias.value == pytest.approx(-2.1, abs=0.05)
    assert result.spread == pytest.approx(38.8, abs=0.05)
    assert (result.bias.low, result.bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    # They print -79.7 and 75.5, with 2 instead of 1.96 standard deviations, and 3 / n as the variance of a limit.
    assert (result.lower.value, result.upper.value) == pytest.approx((-2.1 - 1.96 * 38.8, -2.1 + 1.96 * 38.8), abs=0.1)
    assert (result.lower.low, result.lower.high) == pytest.approx((-114.3 + 1.6, -45.1 + 1.6), abs=1.5)


def test_limits_of_agreement_as_scipy_gives_them():
    first, second = pairs(1)
    result, change = bland_altman(first, second, 0.9), first - second
    low, high = scipy_stats.ttest_1samp(change, 0).confidence_interval(0.9)
    assert (result.bias.low, result.bias.high) == pytest.approx((low, high), abs=CLOSE)
    error = np.sqrt(change.var(ddof=1) * (1 / 40 + scipy_stats.norm.ppf(0.975) ** 2 / 78))
    limit = change.mean() + scipy_stats.norm.ppf(0.975) * change.std(ddof=1)
    assert result.upper.value == pytest.approx(limit, abs=CLOSE)
    assert result.upper.high == pytest.approx(limit + scipy_stats.t.ppf(0.95, 39) * error, abs=CLOSE)


def test_the_interval_of_a_limit_covers():
    random, inside = np.random.default_rng(3), 0
    for _ in range(2000):
        _, low, high = known(bland_altman(random.normal(size=20), np.zeros(20)).upper)
        inside += low <= scipy_stats.norm.ppf(0.975) <= high
    assert 0.93 < inside / 2000 < 0.97


def naive_passing_bablok(first, second):
    """As the paper of 1983 says it, with loops."""
    n, slopes = len(first), []
    for i in range(n):
        for j in range(i + 1, n):
            dx, dy = first[i] - first[j], second[i] - second[j]
            if dx == 0 and dy == 0:
                continue
            slope = dy / dx if dx else math.copysign(math.inf, second[j] - second[i])
            if slope != -1:
                slopes.append(slope)
    slopes.sort()
    count, below = len(slopes), sum(s < -1 for s in slopes)
    middle = slopes[(count + 1) // 2 + below - 1] if count % 2 else (
        slopes[count // 2 + below - 1] + slopes[count // 2 + below]) / 2
    reach = float(scipy_stats.norm.ppf(0.975)) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    m1 = round((count - reach) / 2)
    low, high = slopes[m1 + below - 1], slopes[count - m1 + 1 + below - 1]
    return [np.median([y - b * x for x, y in zip(first, second, strict=True)]) for b in (middle, high, low)] + [
        middle, low, high]


@pytest.mark.parametrize("seed", range(6))
def test_passing_and_bablok(seed):
    first, second = pairs(seed, 15 + seed)
    if seed % 2:  # counts, with ties
        first, second = np.floor(first), np.floor(second)
    line = passing_bablok(first, second)
    assert [*known(line.intercept), *known(line.slope)] == pytest.approx(naive_passing_bablok(first, second), abs=CLOSE)
    turned = passing_bablok(second, first)  # the two methods may change places
    assert turned.slope.value == pytest.approx(1 / known(line.slope)[0], abs=1e-2)


def test_passing_and_bablok_without_a_line():
    assert "fewer than 3" in passing_bablok(np.array([1.0, 2.0]), np.array([1.0, 2.0])).slope.method
    same = passing_bablok(np.full(9, 2.0), np.arange(9.0))
    assert same.slope.value is None
    assert "hardly varies" in same.slope.method
    few = passing_bablok(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.1, 3.3]))
    assert (few.slope.value, few.slope.low) == (pytest.approx(1.15), None)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
def test_deming_is_the_least_sum_of_squares_along_the_errors(ratio):
    first, second = pairs(2)
    line = deming(first, second, ratio=ratio)

    def lost(line):
        return ((second - line[0] - line[1] * first) ** 2).sum() / (1 + ratio * line[1] ** 2)

    least = optimize.minimize(lost, (0.0, 1.0), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14}).x
    assert (line.intercept.value, line.slope.value) == pytest.approx(tuple(least), abs=CLOSE)


def test_deming_of_equal_errors_is_the_main_axis():
    first, second = pairs(5)
    _, axes = np.linalg.eigh(np.cov(first, second))
    assert deming(first, second).slope.value == pytest.approx(axes[1, 1] / axes[0, 1], abs=CLOSE)


def naive_weighted_deming(first, second, ratio):
    """Linnet's, for errors in proportion to the value, with loops and without jumping to a solution."""
    slope, middle = 1.0, first.mean()
    intercept = second.mean() - middle
    for _ in range(500):
        weights = []
        for x, y in zip(first, second, strict=True):
            off = y - intercept - slope * x
            true_x = x + ratio * slope * off / (1 + ratio * slope**2)
            true_y = y - off / (1 + ratio * slope**2)
            weights.append(((true_x + ratio * true_y) / (1 + ratio)) ** -2)
        weights = np.array(weights)
        x, y = np.average(first, weights=weights), np.average(second, weights=weights)
        u = np.average((first - x) ** 2, weights=weights)
        q = np.average((second - y) ** 2, weights=weights)
        p = np.average((first - x) * (second - y), weights=weights)
        slope = (ratio * q - u + np.sqrt((u - ratio * q) ** 2 + 4 * ratio * p**2)) / (2 * ratio * p)
        intercept = y - slope * x
    return intercept, slope


def test_weighted_deming_and_its_jackknife():
    first, second = pairs(4, 25)
    line = deming(first, second, ratio=1.7, variance=np.square)
    whole = naive_weighted_deming(first, second, 1.7)
    assert (line.intercept.value, line.slope.value) == pytest.approx(whole, abs=CLOSE)
    parts = np.array([naive_weighted_deming(np.delete(first, k), np.delete(second, k), 1.7) for k in range(25)])
    error = np.sqrt(24 / 25 * ((parts - parts.mean(0)) ** 2).sum(0))
    reach = scipy_stats.t.ppf(0.975, 23) * error
    for estimate, error in ((line.intercept, reach[0]), (line.slope, reach[1])):
        value, low, high = known(estimate)
        assert (value - low, high - value) == pytest.approx((error, error), abs=CLOSE)


def test_deming_without_a_line():
    assert deming(np.array([1.0, 2.0]), np.array([1.0, 2.0])).slope.value is None
    assert "uncorrelated" in deming(np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0, 1.0, 2.0, 3.0])).slope.method
    with pytest.raises(LeukoscopeError, match="ratio of the variances is 0"):
        deming(np.arange(4.0), np.arange(4.0), ratio=0.0)


RUMKE = {100: {0: (0, 4), 1: (0, 6), 2: (0, 8), 3: (0, 9), 4: (1, 10), 5: (1, 12), 6: (2, 13), 7: (2, 14), 8: (3, 16),
               9: (4, 17), 10: (4, 18), 15: (8, 24), 20: (12, 30), 25: (16, 35), 30: (21, 40), 50: (39, 61)},
         200: {0: (0, 2), 1: (0, 4), 2: (0, 6), 3: (1, 7), 4: (1, 8), 5: (2, 10), 6: (3, 11), 7: (3, 12), 8: (4, 13),
               9: (5, 14), 10: (6, 16)}}
"""As in Rümke 1985, Blood Cells 11:137: 95 % limits in percent, rounded outwards, by the number of cells and the
percentage. Not compared with a copy of the paper; that of 9 of 100 cells is also quoted by others."""


def test_rumkes_table():
    for cells, rows in RUMKE.items():
        for percent, expected in rows.items():
            low, high = rumke_limits(percent / 100, cells)
            assert (math.floor(100 * low), math.ceil(100 * high)) == expected, (cells, percent)


def test_rumkes_limits_are_clopper_and_pearsons():
    for hits, cells in ((0, 400), (7, 400), (133, 200), (100, 100)):
        assert rumke_limits(hits / cells, cells) == pytest.approx(
            proportion_confint(hits, cells, method="beta"), abs=CLOSE)
    with pytest.raises(LeukoscopeError, match="a share of"):
        rumke_limits(1.2, 100)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_is_that_of_statsmodels_and_sklearn(weights):
    random = np.random.default_rng(0)
    table = random.integers(0, 30, (4, 4)) + np.diag([40, 30, 20, 50])
    named = None if weights == "none" else weights
    got, expected = cohen_kappa(table, weights=weights), cohens_kappa(table, wt=named)
    assert known(got) == pytest.approx(tuple(expected[name] for name in ("kappa", "kappa_low", "kappa_upp")), abs=CLOSE)
    rows, columns = (np.repeat(which.ravel(), table.ravel()) for which in np.indices(table.shape))
    assert got.value == pytest.approx(cohen_kappa_score(rows, columns, weights=named), abs=CLOSE)


def test_kappa_without_figure_or_interval():
    assert cohen_kappa(np.array([[9, 0], [0, 0]])).value is None
    assert cohen_kappa(np.zeros((2, 2), int)).method == "undefined: nothing was compared"
    perfect = cohen_kappa(np.diag([5, 7]))
    assert (perfect.value, perfect.low) == (1.0, None)
    assert known(cohen_kappa(np.array([[50, 1], [1, 1]])))[2] <= 1
