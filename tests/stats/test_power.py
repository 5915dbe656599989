"""How many subjects would settle a difference: against statsmodels, by simulation, and from the command line."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

from command import leukoscope, refusal
from leukoscope.errors import LeukoscopeError
from leukoscope.stats.power import power_of, spread_of, subjects_for, subjects_for_width


@pytest.mark.parametrize(("difference", "spread", "subjects"), [(0.05, 0.1, 14), (0.02, 0.1, 60), (-0.3, 0.2, 5)])
def test_power_is_that_of_statsmodels(difference, spread, subjects):
    expected = TTestPower().power(abs(difference) / spread, subjects, 0.05)
    assert power_of(difference, spread, subjects) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("power", [0.8, 0.9])
def test_the_number_of_subjects_is_the_least_with_that_power(power):
    for difference in (0.01, 0.05, 0.3):
        exact = TTestPower().solve_power(difference / 0.1, alpha=0.05, power=power)
        assert subjects_for(difference, 0.1, power) == max(2, math.ceil(exact - 1e-6))


def test_an_interval_gives_its_spread_back():
    values = np.random.default_rng(0).normal(0.05, 0.1, 14)
    low, high = scipy_stats.ttest_1samp(values, 0).confidence_interval()
    assert spread_of(low, high, 14) == pytest.approx(values.std(ddof=1), abs=1e-9)


def test_the_width_shrinks_to_what_was_asked():
    subjects = subjects_for_width(0.01, 0.1)
    assert subjects is not None
    reach = [scipy_stats.t.ppf(0.975, n - 1) * 0.1 / np.sqrt(n) for n in (subjects - 1, subjects)]
    assert reach[1] <= 0.01 < reach[0]


def test_no_number_is_made_up():
    assert subjects_for(0.0, 0.1) is None
    assert subjects_for(1e-5, 0.5) is None
    assert subjects_for_width(1e-6, 0.5) is None
    assert power_of(0.5, 0.001, 100) == 1.0
    for wrong in (lambda: spread_of(0.2, 0.1, 14), lambda: spread_of(0.1, 0.2, 1), lambda: power_of(0.1, 0.0, 9),
                  lambda: subjects_for(0.1, 0.1, 1.0), lambda: subjects_for_width(0.0, 0.1)):
        with pytest.raises(LeukoscopeError):
            wrong()


def test_the_command(tmp_path):
    answer = leukoscope("power", "--difference", 7.7, "--low", -1.2, "--high", 16.6, "--subjects", 14)
    assert answer.code == 0, answer.err
    assert "+7.7 points (95 % CI -1.2 to +16.6) with 14 subjects" in answer.out
    spread = spread_of(-0.012, 0.166, 14)
    assert f"7.7 points (as observed)  {subjects_for(0.077, spread)} " in " ".join(answer.out.split("\n"))
    plan = json.loads(leukoscope("power", "--difference", 7.7, "--low", -1.2, "--high", 16.6, "--subjects", 14,
                                 "--json").out)[0]
    assert plan["needed"][0]["subjects"][0] == subjects_for(0.077, spread)
    for options, says in (([], "give a comparison"), (["--difference", 3], "belong together"),
                          ([tmp_path], "no such file"), ([tmp_path, "--subjects", 4], "give a comparison"),
                          (["--difference", 3, "--low", 4, "--high", 5, "--subjects", 4], "not between")):
        assert says in refusal("power", *options)
