"""The count by part of the slide, so that an uneven smear is seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from ..smear.summary import ZoneCount
from .path import Place

CHANCE = 0.001
"""Probability below which parts are said to differ."""
_ACROSS, _DOWN = ("left", "middle", "right"), ("upper", "middle", "lower")


def zone_names(looked: Sequence[Place]) -> dict[Place, str]:
    """Of each square that was looked at, the third of all of them, down and across, in which it lies."""
    ends = [(min(one[axis] for one in looked), max(one[axis] for one in looked)) for axis in (0, 1)] if looked else []
    names = {}
    for place in looked:
        down, across = (parts[min(3 * (place[axis] - ends[axis][0]) // (ends[axis][1] - ends[axis][0] + 1), 2)]
                        for axis, parts in ((0, _DOWN), (1, _ACROSS)))
        names[place] = down if down == across else f"{down} {across}"
    return names


def zones(areas: Mapping[Place, float], cells: Sequence[tuple[Place, str]]) -> list[ZoneCount]:
    """The parts that have squares. areas: of the squares that were looked at, mm2. cells: square and type of each
    leukocyte that is counted."""
    names = zone_names(list(areas))
    squares: dict[str, list[Place]] = defaultdict(list)
    for place, name in names.items():
        squares[name].append(place)
    types: dict[str, Counter[str]] = defaultdict(Counter)
    for place, kind in cells:
        types[names[place]][kind] += 1
    order = ["middle" if down == across == "middle" else f"{down} {across}" for down in _DOWN for across in _ACROSS]
    return [ZoneCount(name, len(squares[name]), sum(areas[place] for place in squares[name]), types[name].total(),
                      dict(types[name])) for name in order if squares[name]]


def unevenness(parts: Sequence[ZoneCount]) -> str:
    """What differs between the parts by more than chance, in words; "" for nothing."""
    counts, areas = np.array([part.leukocytes for part in parts]), np.array([part.mm2 for part in parts])
    if len(parts) < 2 or counts.sum() < 20:
        return ""
    said = []
    if stats.chisquare(counts, counts.sum() * areas / areas.sum()).pvalue < CHANCE:
        densities = [part.per_mm2 for part in parts]
        said.append(f"leukocytes lie {min(densities):,.0f} to {max(densities):,.0f} to the mm²")
    names = sorted({name for part in parts for name in part.types})
    table = np.array([[part.types.get(name, 0) for name in names] for part in parts])
    table = table[table.sum(axis=1) > 0]
    table = table[:, table.sum(axis=0) >= 5]
    if min(table.shape) > 1:
        by_chance: Any = stats.chi2_contingency(table)
        if by_chance.pvalue < CHANCE:
            said.append("the types differ")
    return f"The smear is uneven: between its parts {' and '.join(said)}, more than by chance." if said else ""
