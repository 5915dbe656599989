"""The result of a review as it leaves the laboratory: each type with its limits, ranges and absolute number, and what
was entered beside the cells. The same for the page, the report and every message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..smear.count import LEUKOCYTE, TypeCount
from ..stats.agreement import rumke_limits
from ..stats.estimate import Estimate
from .count import Standing
from .entries import Platelets, findings_of, platelets_of
from .laboratory import Laboratory, Range
from .smear import Review
from .state import TARGET, WHITE_CELLS, State

LOW, HIGH = "L", "H"


@dataclass(frozen=True)
class TypeRow:
    """A type of the differential. share: 0 to 1; rumke: 95 % limits, 0 to 1, within which a count of the target number
    of cells lies for this share (Rümke 1985); per_litre: 10^9/l, with the share's interval; percent_range, litre_range:
    the laboratory's; flag: "L", "H" or "" for the share, litre_flag for the absolute number. machine: its cells."""

    name: str
    kind: str
    cells: int
    machine: int
    share: Estimate | None
    per_hundred: Estimate | None
    unsure: int | None
    unknown: int | None
    rumke: tuple[float, float] | None
    per_litre: Estimate | None
    percent_range: tuple[float, float] | None
    litre_range: tuple[float, float] | None
    flag: str
    litre_flag: str


@dataclass(frozen=True)
class Outcome:
    """The whole. target: leukocytes to be counted; white_cells: 10^9/l, or None; findings: (name, grade 0 to 3)."""

    standing: Standing
    rows: tuple[TypeRow, ...]
    target: int
    white_cells: float | None
    white_flag: str
    platelets: Platelets | None
    platelet_flag: str
    findings: tuple[tuple[str, int], ...]


def outcome_of(review: Review, state: State) -> Outcome:
    """The result as it stands."""
    now, laboratory = review.standing(), review.laboratory
    target = int(state.values.get(TARGET, laboratory.target))
    white = state.values.get(WHITE_CELLS)
    machine = {kind.name: kind.cells for kind in review.result.summary.differential.types}
    platelets = platelets_of(state.values, review.result.summary.fields, laboratory.platelets_per_field)
    value = platelets.per_litre.value if platelets else None
    rows = tuple(_row(kind, machine, white, target, laboratory) for kind in now.count.types)
    return Outcome(now, rows, target, white, flag_of(white, laboratory.white_cells), platelets,
                   flag_of(value, laboratory.platelets), tuple(findings_of(state.values)))


def _row(kind: TypeCount, machine: Mapping[str, int], white: float | None, target: int,
         laboratory: Laboratory) -> TypeRow:
    share = kind.share if kind.share is not None and kind.share.value is not None else None
    given = laboratory.ranges.get(kind.name, Range()) if kind.kind == LEUKOCYTE else Range()
    litre = None
    if share is not None and white is not None:
        litre = replace(share, **{end: None if (part := getattr(share, end)) is None else part * white
                                  for end in ("value", "low", "high")})
    percent = None if share is None or share.value is None else 100 * share.value
    return TypeRow(kind.name, kind.kind, kind.cells, machine.get(kind.name, 0), kind.share, kind.per_hundred,
                   kind.unsure, kind.unknown, rumke(percent, target) if percent is not None else None, litre,
                   given.percent, given.per_litre, flag_of(percent, given.percent),
                   flag_of(litre.value if litre else None, given.per_litre))


def rumke(percent: float, target: int) -> tuple[float, float]:
    """Rümke's 95 % limits, 0 to 1, of a type that has `percent` of `target` cells."""
    return rumke_limits(min(percent / 100, 1.0), target)


def flag_of(value: float | None, bounds: tuple[float, float] | None) -> str:
    """"L" below a range, "H" above it, else ""."""
    if value is None or bounds is None:
        return ""
    return LOW if value < bounds[0] else HIGH if value > bounds[1] else ""
