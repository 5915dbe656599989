"""A machine's counts against reference counts of the same smears, type by type and smear by smear (as CLSI H20 does).

A smear is one observation: smears are taken as independent, cells of a smear are not. Reads no files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..datasets.labels import alike
from ..errors import LeukoscopeError
from ..runs.stored import Result
from ..smear.count import NUCLEATED, is_leukocyte
from ..smear.count import kind_of as kind_of_class
from ..smear.flag import immaturity
from ..stats.agreement import bland_altman, cohen_kappa, rumke_limits
from ..stats.estimate import Estimate, check_confidence
from ..stats.lines import Line, deming, passing_bablok
from ..stats.rates import difference, wilson
from ..text import join, plural
from .count_tables import Counts

RUMKE_CELLS = (100, 200, 400)
ABNORMAL_FROM = 0.01
"""Share of immature cells, or nucleated red cells per leukocyte, from which a smear is abnormal if nothing else is
said."""
SHOWN = 5


@dataclass(frozen=True)
class Limit:
    """A smear is abnormal where a type's share of the leukocytes (0 to 1) lies outside [low, high]: below low, or at
    least `high`. None: no such end."""

    type: str
    low: float | None
    high: float | None

    def passed(self, shares: np.ndarray) -> np.ndarray:
        """(n,) bool: the smears that this makes abnormal."""
        return (shares < (-np.inf if self.low is None else self.low)) | (
            shares >= (np.inf if self.high is None else self.high))


@dataclass(frozen=True)
class Lines:
    """Intercept (a share) and slope of machine = intercept + slope * reference."""

    intercept: Estimate
    slope: Estimate


@dataclass(frozen=True)
class WithinRumke:
    """The share of smears whose machine share lies within Rümke's limits of the reference share for `cells` cells."""

    cells: int
    smears: Estimate


@dataclass(frozen=True)
class TypeAgreement:
    """One type: shares of the leukocytes, 0 to 1. machine, reference: of all smears, in their order. bias, lower,
    upper: machine minus reference and its limits of agreement. chance: the share of smears whose difference can be
    chance, given how many cells both counted."""

    name: str
    machine: tuple[float, ...]
    reference: tuple[float, ...]
    bias: Estimate
    lower: Estimate
    upper: Estimate
    passing_bablok: Lines
    deming: Lines
    within_rumke: tuple[WithinRumke, ...]
    chance: Estimate


@dataclass(frozen=True)
class SmearPair:
    """One smear: leukocytes that each counted, and the types whose difference is more than chance."""

    name: str
    machine_cells: int
    reference_cells: int
    apart: tuple[str, ...]


@dataclass(frozen=True)
class Abnormal:
    """Normal or abnormal, smear by smear, with the reference as truth. rules: in words; table: rows the reference,
    columns the machine; normal first. missed: abnormal smears that the machine calls normal; false_alarms: the others.
    """

    rules: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    kappa: Estimate
    missed: tuple[str, ...]
    false_alarms: tuple[str, ...]


@dataclass(frozen=True)
class Agreement(Result):
    """What agreement.json holds of counts. machine, reference: files. apart: types that are no leukocytes, which are
    in no share. abnormal: None where no limit applies to these types."""

    machine: str
    reference: str
    confidence: float
    smears: tuple[SmearPair, ...]
    types: tuple[TypeAgreement, ...]
    apart: tuple[str, ...]
    abnormal: Abnormal | None
    remarks: tuple[str, ...]


def compare_counts(machine: Counts, reference: Counts, *, limits: Sequence[Limit] = (),
                   confidence: float = 0.95) -> Agreement:
    """Compare two counts of the same smears. limits: what makes a smear abnormal; by default one of the blasts,
    immature cells or nucleated red cells from 1 % of the leukocytes. Raises LeukoscopeError where they share no smear,
    or where a type is counted in one of the two only.
    """
    check_confidence(confidence)
    first, second, remarks = _matched(machine, reference)
    leukocytes = [place for place, name in enumerate(first.types) if is_leukocyte(name)]
    if not leukocytes:
        raise LeukoscopeError(f"{machine.file}: no type of leukocyte ({', '.join(machine.types)})",
                              "give one column for each type of leukocyte")
    totals = first.total(leukocytes), second.total(leukocytes)
    empty = [name for name, *both in zip(first.smears, *totals, strict=True) if 0 in both]
    used = np.array([name not in empty for name in first.smears])
    if not used.any():
        raise LeukoscopeError(f"{machine.file}: no smear has leukocytes in both counts", "compare counts of cells")
    first, second = (_only(counts, used) for counts in (first, second))
    totals = totals[0][used], totals[1][used]
    shares = first.cells / totals[0][:, None], second.cells / totals[1][:, None]
    chance = _by_chance(first, second, totals)
    apart = tuple(name for name in first.types if not is_leukocyte(name))
    types = tuple(_type(first.types[k], shares[0][:, k], shares[1][:, k], totals, chance[:, k], confidence)
                  for k in leukocytes)
    smears = tuple(SmearPair(name, int(totals[0][i]), int(totals[1][i]), tuple(
        first.types[k] for k in leukocytes if not chance[i, k])) for i, name in enumerate(first.smears))
    return Agreement(machine.file, reference.file, confidence, smears, types, apart,
                     _abnormal(first, shares, limits, confidence),
                     (*remarks, *_remarks(smears, empty, apart)))


def _matched(machine: Counts, reference: Counts) -> tuple[Counts, Counts, list[str]]:
    """Both counts of the smears that they share, with the same types in the same order."""
    remarks, names = [], [name for name in machine.smears if name in set(reference.smears)]
    if not names:
        raise LeukoscopeError(f"{machine.file} and {reference.file} have no smear in common",
                              f"'{machine.smears[0]}' is named in one, '{reference.smears[0]}' in the other: name the "
                              "smears alike")
    for own in (machine, reference):
        alone = [name for name in own.smears if name not in names]
        if alone:
            remarks.append(f"{plural(len(alone), 'smear')} of {own.file} {'is' if len(alone) == 1 else 'are'} not in "
                           f"the other count and left out: {_some(alone)}.")
    places = [{alike(name): k for k, name in enumerate(own.types)} for own in (machine, reference)]
    for own, mine, other in zip((machine, reference), places, reversed(places), strict=True):
        for key, k in mine.items():
            if key not in other and own.cells[:, k].any():
                raise LeukoscopeError(
                    f"{own.file}: type '{own.types[k]}' is in this count only",
                    f"say what it is in the other (--merge {own.types[k]}=...), or leave it out (--leave-out "
                    f"{own.types[k]})")
    shared = [key for key in places[0] if key in places[1]]
    pair = [_reordered(own, names, [mine[key] for key in shared])
            for own, mine in zip((machine, reference), places, strict=True)]
    return pair[0], replace(pair[1], types=pair[0].types), remarks


def _reordered(counts: Counts, names: Sequence[str], types: Sequence[int]) -> Counts:
    rows = {name: i for i, name in enumerate(counts.smears)}
    return replace(counts, smears=tuple(names), types=tuple(counts.types[k] for k in types),
                   cells=counts.cells[[rows[name] for name in names]][:, list(types)])


def _only(counts: Counts, used: np.ndarray) -> Counts:
    return replace(counts, smears=tuple(np.array(counts.smears, object)[used].tolist()), cells=counts.cells[used])


def _by_chance(first: Counts, second: Counts, totals: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(smears, types) bool: the interval of the difference (Newcombe) includes 0."""
    inside = np.ones(first.cells.shape, bool)
    for i, k in np.ndindex(inside.shape):
        if first.cells[i, k] <= totals[0][i] and second.cells[i, k] <= totals[1][i]:  # else a type apart
            off = difference(*(wilson(int(own.cells[i, k]), int(total[i]))
                               for own, total in zip((first, second), totals, strict=True)))
            inside[i, k] = (off.low or 0.0) <= 0 <= (off.high or 0.0)
    return inside


def _type(name: str, machine: np.ndarray, reference: np.ndarray, totals: tuple[np.ndarray, np.ndarray],
          chance: np.ndarray, confidence: float) -> TypeAgreement:
    apart = bland_altman(machine, reference, confidence)
    inside = []
    for cells in RUMKE_CELLS:
        limits = [rumke_limits(share, cells) for share in reference.tolist()]
        hits = sum(low <= share <= high for share, (low, high) in zip(machine.tolist(), limits, strict=True))
        inside.append(WithinRumke(cells, wilson(hits, len(machine), confidence)))
    return TypeAgreement(
        name, tuple(machine.tolist()), tuple(reference.tolist()), apart.bias, apart.lower, apart.upper,
        _lines(passing_bablok(reference, machine, confidence)),
        _lines(deming(reference, machine, ratio=float(np.median(totals[0] / totals[1])),
                      variance=counting_variance(totals), confidence=confidence)),
        tuple(inside), wilson(int(chance.sum()), len(chance), confidence))


def counting_variance(totals: tuple[np.ndarray, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """How much a share varies by counting alone, p (1 - p), up to a factor; a share of 0 counts as half a cell."""
    least = 0.5 / float(max(total.max() for total in totals))

    def variance(share: np.ndarray) -> np.ndarray:
        inside = np.clip(share, least, 1 - least)
        return inside * (1 - inside)

    return variance


def _lines(line: Line) -> Lines:
    return Lines(line.intercept, line.slope)


def default_limits(types: Sequence[str]) -> list[Limit]:
    """Blasts, immature cells and nucleated red cells, each from 1 % of the leukocytes."""
    return [Limit(name, None, ABNORMAL_FROM) for name in types if immaturity(name)]


def _abnormal(counts: Counts, shares: tuple[np.ndarray, np.ndarray], limits: Sequence[Limit],
              confidence: float) -> Abnormal | None:
    places = {alike(name): k for k, name in enumerate(counts.types)}
    for limit in limits:
        if alike(limit.type) not in places:
            raise LeukoscopeError(f"abnormal: '{limit.type}' is not a type of these counts",
                                  f"the types are {', '.join(counts.types)}")
    used = list(limits) or default_limits(counts.types)
    if not used:
        return None
    machine, reference = (np.any([limit.passed(own[:, places[alike(limit.type)]]) for limit in used], axis=0)
                          for own in shares)
    table = np.array([[int((~reference & ~machine).sum()), int((~reference & machine).sum())],
                      [int((reference & ~machine).sum()), int((reference & machine).sum())]])
    (tn, fp), (fn, tp) = table.tolist()
    names = np.array(counts.smears, object)
    return Abnormal(
        tuple(_rule(limit) for limit in used), ((tn, fp), (fn, tp)), wilson(tp, tp + fn, confidence),
        wilson(tn, tn + fp, confidence), wilson(tp, tp + fp, confidence), wilson(tn, tn + fn, confidence),
        cohen_kappa(table, confidence), tuple(names[reference & ~machine].tolist()),
        tuple(names[~reference & machine].tolist()))


def _rule(limit: Limit) -> str:
    per = "per 100 leukocytes" if kind_of_class(limit.type) == NUCLEATED else "%"
    ends = ([f"below {100 * limit.low:g} {per}"] if limit.low is not None else []) + (
        [f"{100 * limit.high:g} {per} or more"] if limit.high is not None else [])
    return f"{limit.type} {' or '.join(ends)}"


def _remarks(smears: Sequence[SmearPair], empty: Sequence[str], apart: Sequence[str]) -> list[str]:
    remarks = []
    if empty:
        remarks.append(f"{plural(len(empty), 'smear')} without leukocytes in one of the counts left out: "
                       f"{_some(empty)}.")
    other = [smear for smear in smears if smear.machine_cells != smear.reference_cells]
    if other:
        machine, reference = (sorted(numbers) for numbers in zip(
            *((smear.machine_cells, smear.reference_cells) for smear in smears), strict=True))
        remarks.append(
            f"The two counts are of different numbers of cells in {len(other)} of {plural(len(smears), 'smear')}: "
            f"machine {_range(machine)}, reference {_range(reference)} leukocytes a smear. Shares are compared, and "
            "chance is that of the cells that each counted.")
    if apart:
        remarks.append(f"No leukocytes, so in no share: {join(apart)}.")
    return remarks


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]:,}" if numbers[0] == numbers[-1] else f"{numbers[0]:,} to {numbers[-1]:,}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
