"""How many subjects would settle a difference: from a comparison, or from a difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import LeukoscopeError
from ..files import read_json
from ..report.compare import read_comparison
from ..stats.estimate import Estimate
from ..stats.power import power_of, spread_of, subjects_for, subjects_for_width
from ..text import TERMINAL, aligned, count, interval, percent, plural, points

POWERS = (0.8, 0.9)
SMALLEST = (0.01, 0.02, 0.05)
"""Differences, as shares, for which the numbers are given too."""


@dataclass(frozen=True)
class Needed:
    """A true difference (a share) and the subjects for a power of 80 and 90 %, None above a million."""

    difference: float
    subjects: tuple[int | None, ...]


@dataclass(frozen=True)
class Plan:
    """Of one difference: how it is called; difference, low and high (shares) of so many subjects; the spread between
    them; the power to find the observed difference again with as many; how many are needed for it and for others; and
    for an interval of one point to each side."""

    name: str
    difference: float
    low: float
    high: float
    subjects: int
    spread: float
    power_now: float
    needed: tuple[Needed, ...]
    for_one_point: int | None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def plan_for(name: str, difference: Estimate, subjects: int, confidence: float = 0.95) -> Plan:
    """What more subjects would settle. LeukoscopeError where the difference has no interval."""
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None:
        raise LeukoscopeError(f"{name}: the difference has no interval ({difference.method})",
                              "compare models on several subjects")
    spread = spread_of(low, high, subjects, confidence)
    wanted = [abs(value), *SMALLEST] if value else list(SMALLEST)
    needed = tuple(Needed(each, tuple(subjects_for(each, spread, power, confidence) for power in POWERS))
                   for each in wanted)
    return Plan(name, value, low, high, subjects, spread, power_of(value, spread, subjects, confidence), needed,
                subjects_for_width(0.01, spread, confidence))


def plans_of(folder: Path) -> list[Plan]:
    """A plan for each pair of a comparison, for accuracy. LeukoscopeError where subjects are not known."""
    comparison = read_comparison(read_json(folder / "compare.json"), folder / "compare.json")
    if comparison.clusters == comparison.cells:
        raise LeukoscopeError(f"{folder}: subjects are not known, or each has one cell",
                              "give --difference, --low, --high and --subjects")
    return [plan_for(f"{pair.first} minus {pair.second}", pair.tests["accuracy"].difference, comparison.clusters,
                     comparison.confidence) for pair in comparison.pairs]


def in_words(plan: Plan) -> tuple[str, list[list[str]], str]:
    """What a plan says: a sentence, a table with its heading as first row, and the subjects for a narrow interval."""
    shown = interval(Estimate(plan.difference, plan.low, plan.high, ""), points, " points", page=True)
    rows = [["true difference", *(f"subjects for {percent(power, 0)} power" for power in POWERS)]]
    rows += [[f"{100 * each.difference:.1f} points" + (" (as observed)" if k == 0 and plan.difference else ""),
              *(count(number) if number else "more than a million" for number in each.subjects)]
             for k, each in enumerate(plan.needed)]
    narrow = plural(plan.for_one_point, "subject") if plan.for_one_point else "more than a million subjects"
    return (f"{plan.name}: {shown} with {plural(plan.subjects, 'subject')}; if this difference is true, as many new "
            f"subjects would show it with a chance of {percent(plan.power_now, 0)}", rows,
            f"an interval of 1 point to each side: {narrow}")


def plan_lines(plans: Sequence[Plan]) -> list[str]:
    """For a terminal."""
    lines = []
    for head, rows, tail in map(in_words, plans):
        lines += [head, *aligned(rows), tail]
    return [line.translate(TERMINAL) for line in lines]
