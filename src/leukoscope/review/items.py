"""The result of a review as a list of coded values, for messages to other systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ..smear.count import LEUKOCYTE
from ..stats.estimate import Estimate
from ..text import plain, type_name
from . import loinc
from .entries import GRADES
from .export import file_stem
from .laboratory import Laboratory
from .outcome import Outcome, outcome_of
from .smear import Review
from .state import AMENDED, AMENDING, SIGNED, State

PERCENT, LITRE, RATIO = "%", "10*9/L", "/100{WBCs}"
"""Units of UCUM."""


@dataclass(frozen=True)
class Item:
    """One value. code: of LOINC, None without one; name: for a person; value: a number, or a text where it is graded,
    or None where it is not defined; unit: of UCUM; bounds: of the reference range; flag: "L", "H" or ""; note: how sure
    it is."""

    code: loinc.Code | None
    name: str
    value: float | str | None
    unit: str
    bounds: tuple[float, float] | None
    flag: str
    note: str


@dataclass(frozen=True)
class Report:
    """A result with what a message says around it. id: the same for the same state of the record; final, corrected:
    signed, and signed again after an amendment; counted, issued: times in UTC; signer, second: who signed,
    and who signed as the second person, or ""."""

    id: str
    subject: str
    laboratory: str
    final: bool
    corrected: bool
    counted: datetime
    issued: datetime
    signer: str
    second: str
    comment: str
    items: tuple[Item, ...]


def report_of(review: Review, state: State) -> Report:
    """The result as it stands."""
    signed, last = state.signatures[-1] if state.locked else None, state.mine[-1] if state.mine else None
    counted = datetime.fromtimestamp(review.result.written, UTC)
    issued = datetime.fromisoformat(last.at) if last else counted
    mark = last.hash if last else review.result.digest
    return Report(f"{file_stem(review.result)[:30]}-{mark[:16]}", review.result.name, review.laboratory.name,
                  state.word in (SIGNED, AMENDED), state.word in (AMENDED, AMENDING), counted, issued,
                  signed.who if signed else "", state.second.who if state.second else "",
                  "\n".join(one.text for one in (signed, state.second) if one is not None and one.text),
                  tuple(_items(outcome_of(review, state), review.laboratory)))


def _items(found: Outcome, laboratory: Laboratory) -> Iterator[Item]:
    if found.white_cells is not None:
        yield Item(loinc.LEUKOCYTES, "leukocytes, of the analyser", found.white_cells, LITRE, laboratory.white_cells,
                   found.white_flag, "")
    for row in found.rows:
        name = plain(type_name(row.name))
        if row.kind == LEUKOCYTE and row.share is not None:
            yield Item(loinc.share_code(row.name), f"{name}, share", _rounded(row.share, 100), PERCENT,
                       row.percent_range, row.flag, _note(row.share, 100))
        if row.per_litre is not None:
            yield Item(loinc.number_code(row.name), f"{name}, number", _rounded(row.per_litre, 1), LITRE,
                       row.litre_range, row.litre_flag, _note(row.per_litre, 1))
    ratio = found.standing.count.per_hundred
    if ratio is not None:
        yield Item(loinc.NUCLEATED, "nucleated red cells per 100 leukocytes", _rounded(ratio, 1), RATIO, None, "",
                   _note(ratio, 1))
    if found.platelets is not None:
        yield Item(loinc.PLATELETS, "platelets, estimated", _rounded(found.platelets.per_litre, 1), LITRE,
                   laboratory.platelets, found.platelet_flag,
                   _note(found.platelets.per_litre, 1) or found.platelets.per_litre.method)
    for name, grade in found.findings:
        yield Item(loinc.finding_code(name), name, GRADES[grade], "", None, "", "")


def _rounded(estimate: Estimate, by: int) -> float | None:
    return None if estimate.value is None else round(by * estimate.value, 4)


def _note(estimate: Estimate, by: int) -> str:
    if estimate.low is None or estimate.high is None:
        return estimate.method if estimate.value is None else ""
    of = f"{estimate.count} of {estimate.total} leukocytes; " if estimate.total is not None else ""
    return f"{of}95 % CI {by * estimate.low:.3g} to {by * estimate.high:.3g} ({estimate.method})"
