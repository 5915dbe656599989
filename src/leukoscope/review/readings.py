"""How well the machine, the review and blind second readings of smears agree: cell by cell, and in the share of each
type over several smears. Only what is signed is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..stats.agreement import Differences, bland_altman, cohen_kappa
from ..stats.estimate import Estimate
from ..stats.lines import Line, passing_bablok
from ..stats.rates import wilson
from .desk import Seat
from .smear import Review, untouched
from .state import CONFIRMED, MACHINE, State

APART = "not counted"
"""What stands for a type where an observer does not count a cell: rejected, split, joined, or damaged."""
OBSERVERS = ("machine", "review", "blind reading")
FEWEST_SMEARS = 2
"""Smears from which on shares are compared."""


@dataclass(frozen=True)
class Observed:
    """A smear as one observer sees it. who: their name; labels: name of a cell that the machine found -> its type or
    APART; shares: type -> percent of the leukocytes."""

    who: str
    labels: Mapping[str, str]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class TypeAgreement:
    """A type over several smears, in percent of the leukocytes: second minus first, and the line of the second on the
    first."""

    name: str
    differences: Differences
    line: Line


@dataclass(frozen=True)
class Agreement:
    """Two observers. who: their names; smears; cells: that both saw; agreed: share of them with one label; kappa:
    Cohen's; labels and table: how often the first said row i and the second column j; types: over the smears."""

    first: str
    second: str
    who: tuple[str, str]
    smears: int
    cells: int
    agreed: Estimate
    kappa: Estimate
    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    types: tuple[TypeAgreement, ...]


def observed(seat: Seat, readings: Sequence[Seat]) -> dict[str, list[Observed]]:
    """Of a smear, what each kind of observer saw; of persons only what they have signed. readings: of this smear."""
    found = {OBSERVERS[0]: [_machine(seat.review)], OBSERVERS[1]: [], OBSERVERS[2]: []}
    for place, one in ((1, seat), *((2, reading) for reading in readings)):
        state = one.review.state()
        if state.locked:
            found[OBSERVERS[place]].append(_person(one.review, state))
    return found


def _machine(review: Review) -> Observed:
    count = review.result.summary.differential
    return Observed("machine", _labels(review, State(untouched(review.result))), {
        kind.name: 100 * kind.share.value for kind in count.types
        if kind.share is not None and kind.share.value is not None})


def _person(review: Review, state: State) -> Observed:
    return Observed(state.signatures[-1].who, _labels(review, state), {
        kind.name: 100 * kind.share.value for kind in review.standing().count.types
        if kind.share is not None and kind.share.value is not None})


def _labels(review: Review, state: State) -> dict[str, str]:
    """Of the whole cells that the machine found."""
    found = review.result.found
    labels = {}
    for name, cut, damaged in zip(found.names, found.columns.cut, found.columns.damaged, strict=True):
        kind, how = state.cells[name]
        if not cut:
            counted = how == CONFIRMED or (how == MACHINE and not damaged)
            labels[name] = kind if counted and kind is not None else APART
    return labels


def agreement(first: str, second: str, pairs: Sequence[tuple[Observed, Observed]]) -> Agreement:
    """How well two kinds of observers agree. pairs: what both saw, one of each reading of a smear."""
    said = [(one.labels[name], other.labels[name]) for one, other in pairs for name in one.labels
            if not one.labels[name] == other.labels[name] == APART]
    labels = [*sorted({label for pair in said for label in pair} - {APART}), APART]
    labels = [label for label in labels if any(label in pair for pair in said)]
    places = {label: place for place, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), np.int64)
    for one, other in said:
        table[places[one], places[other]] += 1
    types = sorted({name for pair in pairs for observer in pair for name in observer.shares})
    return Agreement(first, second, _names(pairs), len(pairs), len(said), wilson(int(np.trace(table)), len(said)),
                     cohen_kappa(table), tuple(labels), tuple(tuple(map(int, row)) for row in table),
                     tuple(_type(name, pairs) for name in types) if len(pairs) >= FEWEST_SMEARS else ())


def _names(pairs: Sequence[tuple[Observed, Observed]]) -> tuple[str, str]:
    first, second = (", ".join(dict.fromkeys(pair[side].who for pair in pairs)) for side in (0, 1))
    return first, second


def _type(name: str, pairs: Sequence[tuple[Observed, Observed]]) -> TypeAgreement:
    first, second = (np.array([pair[side].shares.get(name, 0.0) for pair in pairs]) for side in (0, 1))
    return TypeAgreement(name, bland_altman(second, first), passing_bablok(first, second))


def agreements(smears: Sequence[tuple[Seat, Sequence[Seat]]]) -> list[Agreement]:
    """Every two kinds of observers that both saw a smear. smears: each with its blind readings."""
    seen = [observed(seat, readings) for seat, readings in smears]
    found = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        one, other = OBSERVERS[first], OBSERVERS[second]
        pairs = [(a, b) for by in seen for a in by[one] for b in by[other]]
        if pairs:
            found.append(agreement(one, other, pairs))
    return found


def cell_rows(smears: Sequence[tuple[Seat, Sequence[Seat]]]) -> list[dict[str, Any]]:
    """A row for each cell of each smear: what the machine, the review and each blind reading say."""
    rows = []
    for seat, readings in smears:
        seen = observed(seat, readings)
        columns = {"machine": seen[OBSERVERS[0]][0], **{f"review: {one.who}": one for one in seen[OBSERVERS[1]]},
                   **{f"blind reading: {one.who}": one for one in seen[OBSERVERS[2]]}}
        rows += [{"subject": seat.review.result.name, "cell": name,
                  **{title: one.labels[name] for title, one in columns.items()}} for name in columns["machine"].labels]
    return rows
