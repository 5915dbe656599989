"""How well the machine, the review and blind second readings of smears agree: cell by cell, and in the share of each
type over several smears. Only what is signed is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..stats.agreement import Differences, bland_altman, cohen_kappa
from ..stats.estimate import Estimate
from ..stats.lines import Line, passing_bablok
from ..stats.rates import wilson
from .cells import Cells
from .desk import Seat
from .result import SmearResult
from .shapes import Pixels, overlap, pixels_of
from .smear import untouched
from .state import ABSENT, CONFIRMED, MACHINE, Cell, State

APART = "not counted"
"""What stands for a type where an observer does not count a cell: rejected, damaged, not found, or not drawn."""
SAME = 0.5
"""Common area of two outlines over the area of both, from which on they are of one cell."""
OBSERVERS = ("machine", "review", "blind reading")
FEWEST_SMEARS = 2
"""Smears from which on shares are compared."""


@dataclass(frozen=True)
class Observed:
    """A smear as one observer sees it. who: their name; labels: name of a cell, the same for all observers of a
    smear -> its type or APART; shares: type -> percent of the leukocytes."""

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
    result = seat.review.result
    seen = [(OBSERVERS[0], "machine", State(untouched(result)), result.found, result.summary.differential)]
    for kind, one in ((OBSERVERS[1], seat), *((OBSERVERS[2], reading) for reading in readings)):
        state = one.review.state()
        if state.locked:
            seen.append((kind, state.signatures[-1].who, state, one.review.cells, one.review.standing().count))
    labels = _labels(result, [(state, cells) for _, _, state, cells, _ in seen])
    found: dict[str, list[Observed]] = {kind: [] for kind in OBSERVERS}
    for (kind, who, _, _, count), own in zip(seen, labels, strict=True):
        found[kind].append(Observed(who, own, {
            one.name: 100 * one.share.value for one in count.types
            if one.share is not None and one.share.value is not None}))
    return found


@dataclass
class _Seen:
    """A cell that at least one observer sees. labels: observer -> type or APART; pixels: of its outline, once they are
    needed."""

    field: str
    labels: dict[int, str]
    pixels: Callable[[], Pixels]


def _labels(result: SmearResult, observers: Sequence[tuple[State, Cells]]) -> list[dict[str, str]]:
    """Of each observer, what they call each whole cell. A cell that a person drew is the one of another observer whose
    outline it overlaps by at least SAME, each at most once; else it is a cell that only they see. observers: the
    machine, then persons."""
    cells: dict[str, _Seen] = {}
    first, found = observers[0]
    for place, name in enumerate(found.names):
        if not found.columns.cut[place]:
            damaged = bool(found.columns.damaged[place])
            cells[name] = _Seen(found.row(place)["field"], {
                observer: _label(state.cells[name], damaged) for observer, (state, _) in enumerate(observers)
                if state.cells[name][1] != ABSENT}, partial(pixels_of, result, found, first, place))
    for observer, (state, table) in enumerate(observers):
        for place in range(table.machine, len(table)):
            name = table.names[place]
            if table.columns.cut[place] or state.cells[name][1] == ABSENT:
                continue
            field, pixels = table.row(place)["field"], partial(pixels_of, result, table, state, place)
            same = _same(pixels(), [one for one in cells.values() if one.field == field and observer not in one.labels])
            if same is None:
                same = cells[f"{field}/drawn-{len(cells)}"] = _Seen(field, {}, pixels)
            same.labels[observer] = _label(state.cells[name], bool(table.columns.damaged[place]))
    return [{name: one.labels.get(observer, APART) for name, one in cells.items()}
            for observer in range(len(observers))]


def _same(drawn: Pixels, others: Sequence[_Seen]) -> _Seen | None:
    """The cell that a drawn one is, or None."""
    overlaps = [(overlap(drawn, one.pixels()), place) for place, one in enumerate(others)]
    most, place = max(overlaps, default=(0.0, -1))
    return others[place] if most >= SAME else None


def _label(cell: Cell, damaged: bool) -> str:
    kind, how = cell
    return kind if kind is not None and (how == CONFIRMED or (how == MACHINE and not damaged)) else APART


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
    shared = [pair for pair in pairs if all(observer.shares for observer in pair)]  # the others have no differential
    types = sorted({name for pair in shared for observer in pair for name, share in observer.shares.items() if share})
    return Agreement(first, second, _names(pairs), len(pairs), len(said), wilson(int(np.trace(table)), len(said)),
                     cohen_kappa(table), tuple(labels), tuple(tuple(map(int, row)) for row in table),
                     tuple(_type(name, shared) for name in types) if len(shared) >= FEWEST_SMEARS else ())


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


def cell_rows(smears: Sequence[tuple[Seat, Sequence[Seat]]]) -> list[dict[str, object]]:
    """A row for each cell of each smear: what the machine, the review and each blind reading say."""
    rows = []
    for seat, readings in smears:
        seen = observed(seat, readings)
        columns = {"machine": seen[OBSERVERS[0]][0], **{f"review: {one.who}": one for one in seen[OBSERVERS[1]]},
                   **{f"blind reading: {one.who}": one for one in seen[OBSERVERS[2]]}}
        rows += [{"subject": seat.review.result.name, "cell": name,
                  **{title: one.labels[name] for title, one in columns.items()}} for name in columns["machine"].labels]
    return rows
