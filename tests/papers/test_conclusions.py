"""What a reproduction concludes from its figures, and what it leaves open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leukoscope.papers.conclusions import ProtocolResult, conclusions
from leukoscope.papers.shalini2022 import _settled
from leukoscope.runs import comparison as compared
from leukoscope.stats import Estimate, power_of, spread_of


def result(low, value, high, count=14, unit="subject"):
    return ProtocolResult(Estimate(value, low, high, "x"), count, unit)


@pytest.mark.parametrize(("clean", "says"), [
    ((0.816, 0.889, 0.935), "No: the clean protocol gives 88.9"), ((0.90, 0.95, 0.995), "These cells cannot say"),
    ((0.99, 0.995, 1.0), "Yes: the clean protocol gives 99.5")])
def test_whether_a_published_figure_survives(clean, says):
    found = conclusions(result(*clean), None, 0.988)
    assert len(found.sentences) == 1
    assert found.sentences[0].startswith("Does the paper's 98.80")
    assert says in found.sentences[0]
    assert "with 14 subjects kept apart" in found.sentences[0]


@pytest.mark.parametrize(("paper", "says"), [
    ((0.852, 0.966, 0.996), "cannot be said with 14 subjects"), ((0.97, 0.98, 0.99), "gives higher figures: +9.1"),
    ((0.6, 0.7, 0.75), "gives lower figures: −18.9")])
def test_whether_the_protocol_makes_the_difference(paper, says):
    found = conclusions(result(0.816, 0.889, 0.935), result(*paper, unit="cell"), None)
    assert len(found.sentences) == 1
    assert says in found.sentences[0]


def test_how_many_subjects_would_settle_it_are_those_of_the_command_power():
    found = conclusions(result(0.816, 0.889, 0.935), result(0.852, 0.966, 0.996), 0.988)
    assert [table.title for table in found.tables] == [
        "How many subjects would settle it: clean minus published",
        "How many subjects would settle it: the paper's protocol minus clean"]
    observed = found.tables[1].rows[0]
    assert observed[0] == "7.7 points (as observed)"
    low, high = 0.077 - (0.114**2 + 0.046**2) ** 0.5, 0.077 + (0.03**2 + 0.073**2) ** 0.5
    spread, enough = spread_of(low, high, 14), int(observed[1])
    assert power_of(0.077, spread, enough) >= 0.8 > power_of(0.077, spread, enough - 1)
    assert found.lines()[-2].endswith("(leukoscope power).")


def test_without_subjects_nothing_is_promised():
    found = conclusions(result(0.8, 0.9, 0.95, 400, "cell"), result(0.9, 0.95, 0.99), None)
    assert found.tables == []
    assert "Subjects are not known" in found.sentences[-1]
    assert conclusions(None, result(0.9, 0.95, 0.99), 0.988).sentences == []


def test_networks_that_do_not_differ_are_settled_by_more_subjects():
    def pair(first, second, holm):
        test = compared.Test(Estimate(0.04, -0.02, 0.1, "t"), None, "t", holm)
        return compared.Pair(first, second, {"accuracy": test}, compared.Agreement(None, None, None))

    pairs = (pair("resnet50", "vgg16", 0.4), pair("resnet50", "vgg19", 0.01), pair("vgg16", "vgg19", 0.5))
    comparison = compared.Comparison(900, (), (), pairs, "", "leukemic", "subject", 14, 0.95, 2000)
    assert [table.title for table in _settled(comparison)] == [
        "How many subjects would settle it: resnet50 minus vgg16"]
    assert _settled(replace(comparison, clusters=900)) == []


def test_where_the_papers_own_protocol_falls_short_the_split_is_not_blamed_alone():
    short = conclusions(result(0.57, 0.75, 0.899), result(0.757, 0.824, 0.896), 0.988)
    assert "does not reach it on these cells either: 82.4" in short.sentences[1]
    reached = conclusions(result(0.57, 0.75, 0.899), result(0.97, 0.98, 0.99), 0.988)
    assert not any("either" in sentence for sentence in reached.sentences)
