"""What a person enters beside the cells: graded findings, the leukocyte count, platelets counted in fields. As checked
values, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, pi

from scipy.special import chdtri

from ..smear.summary import FieldSummary
from ..stats.estimate import Estimate, no_estimate
from .actions import Refused
from .state import FINDING, PLATELETS, TARGET, WHITE_CELLS

FINDINGS: Mapping[str, tuple[str, ...]] = {
    "Red cells": (
        "anisocytosis", "macrocytes", "microcytes", "hypochromasia", "polychromasia", "dimorphism", "acanthocytes",
        "bite cells", "blister cells", "echinocytes", "elliptocytes", "irregularly contracted cells", "ovalocytes",
        "schistocytes", "sickle cells", "spherocytes", "stomatocytes", "target cells", "teardrop cells",
        "basophilic stippling", "Howell-Jolly bodies", "Pappenheimer bodies", "parasites", "agglutination", "rouleaux"),
    "White cells": (
        "toxic granulation", "hypogranular neutrophils", "Döhle bodies", "vacuolated neutrophils",
        "hypersegmented neutrophils", "dysplastic neutrophils", "reactive lymphocytes", "smudge cells", "Auer rods"),
    "Platelets": ("giant platelets", "hypogranular platelets", "platelet clumps", "platelet satellitism")}
"""Those of the ICSH's recommendations (Palmer et al. 2015), in groups."""
GRADES = ("none", "few (1+)", "moderate (2+)", "many (3+)")
"""The grades 0 to 3."""
FIELD_OF_VIEW = pi * 0.11**2
"""mm2: a field of view of 0.22 mm, through an objective of 100 x and eyepieces of field number 22."""


@dataclass(frozen=True)
class Platelets:
    """Platelets that were counted in some fields. mm2: their area; per_litre: the estimate in 10^9/l, with Poisson's
    95 % interval of the count alone."""

    cells: int
    fields: int
    mm2: float
    per_litre: Estimate


def checked(name: str, value: float | None, fields: Sequence[FieldSummary], targets: Sequence[int]) -> float | None:
    """A value that can be entered, or None to take it back. Raises Refused."""
    if name.startswith(FINDING):
        if name.removeprefix(FINDING) not in {one for group in FINDINGS.values() for one in group}:
            raise Refused(f"no finding '{name.removeprefix(FINDING)[:60]}'", "choose one of the list")
        return _whole(value, 0, 3, "a grade is 0, 1, 2 or 3")
    if name.startswith(PLATELETS):
        if name.removeprefix(PLATELETS) not in {field.name for field in fields}:
            raise Refused(f"no field '{name.removeprefix(PLATELETS)[:60]}'", "load the page again")
        return _whole(value, 0, 100_000, "platelets are counted as a whole number")
    if name == TARGET:
        if value is not None and value not in targets:
            raise Refused(f"the target is {', '.join(map(str, targets))}", "choose one of these")
        return value
    if name != WHITE_CELLS:
        raise Refused(f"nothing is entered as '{name[:60]}'", "load the page again")
    if value is not None and (not isfinite(value) or not 0 < value <= 1000):
        raise Refused("the leukocyte count is above 0 and at most 1000 × 10⁹/l", "enter it in 10⁹/l")
    return value


def _whole(value: float | None, low: int, high: int, words: str) -> float | None:
    if value is not None and (value != int(value) or not low <= value <= high):
        raise Refused(words, f"enter a whole number of {low} to {high:,}")
    return value


def findings_of(values: Mapping[str, float]) -> list[tuple[str, int]]:
    """The graded findings, in the order of FINDINGS; those of grade 0 too, since they were looked for."""
    return [(name, int(values[FINDING + name])) for group in FINDINGS.values() for name in group
            if FINDING + name in values]


def platelets_of(values: Mapping[str, float], fields: Sequence[FieldSummary], per_field: float) -> Platelets | None:
    """The estimate of the platelets; None where none were counted. Without the scale of every such field there is no
    estimate. per_field: 10^9/l for each platelet in a field of view."""
    counted = [field for field in fields if PLATELETS + field.name in values]
    if not counted:
        return None
    cells = int(sum(values[PLATELETS + field.name] for field in counted))
    scales = [field.micrometres_per_pixel for field in counted]
    if any(scale is None for scale in scales):
        return Platelets(cells, len(counted), 0.0, no_estimate("undefined: the scale of a field is not known"))
    mm2 = sum(field.width * field.height * (scale or 0.0) ** 2 / 1e6
              for field, scale in zip(counted, scales, strict=True))
    by = per_field * FIELD_OF_VIEW / mm2
    low = float(chdtri(2 * cells, 0.975)) / 2 if cells else 0.0
    high = float(chdtri(2 * (cells + 1), 0.025)) / 2
    return Platelets(cells, len(counted), mm2, Estimate(by * cells, by * low, by * high, "poisson of the count"))
