"""What a count means that a reader must know first: blasts, and counts that cannot be believed. Knows no pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..stats.estimate import Estimate, no_estimate
from ..stats.rates import wilson
from ..text import interval, percent
from .count import Differential
from .flag import BLAST, immaturity

FEW_BLASTS = 2
"""Blasts below which nothing is said of them but the flag: one cell may be a mistake."""
USUAL = {"basophil": 0.05, "eosinophil": 0.4, "monocyte": 0.5}
"""Type -> share of the leukocytes above which a count is more likely a mistake of the model than a disease."""
UNLIKE, UNSURE = 0.2, 0.5
"""Shares of cells that are unlike those of training, or unsure, from which on types are not to be relied on."""
ENOUGH = 10
"""Leukocytes below which no share is judged."""


@dataclass(frozen=True)
class Blasts:
    """How many of the counted leukocytes a model calls blasts. share: with Wilson's interval. corrected: the share
    without the model's own mistakes in laboratories that it was not trained on (Rogan and Gladen 1978), with an
    interval that holds for the worst and the best of these; no figure where the model says nothing of them."""

    cells: int
    leukocytes: int
    share: Estimate
    corrected: Estimate


def blasts_of(count: Differential, elsewhere: Mapping[str, Any] | None) -> Blasts | None:
    """The blasts of a count; None where the model knows none, or nothing was counted. elsewhere: what the bundle says
    of left-out laboratories."""
    kinds = [kind for kind in count.types if immaturity(kind.name) == BLAST]
    if not kinds or not count.total:
        return None
    cells = sum(kind.cells for kind in kinds)
    share = wilson(cells, count.total)
    return Blasts(cells, count.total, share, _corrected(share, elsewhere))


def _corrected(share: Estimate, elsewhere: Mapping[str, Any] | None) -> Estimate:
    rows = elsewhere["rows"] if elsewhere else ()
    sensitivities, specificities = ([row[name]["value"] for row in rows if row.get(name)]
                                    for name in ("sensitivity", "specificity"))
    if not sensitivities or not specificities or share.value is None or share.low is None or share.high is None:
        return no_estimate("undefined: the model states no error rates of blasts in laboratories left out of training")
    middle = _rogan(share.value, sum(sensitivities) / len(sensitivities), sum(specificities) / len(specificities))
    low = _rogan(share.low, max(sensitivities), min(specificities))
    high = _rogan(share.high, min(sensitivities), max(specificities))
    if None in (middle, low, high):
        return no_estimate("undefined: in a laboratory left out of training the model told no blasts from others")
    return Estimate(middle, min(low, middle), max(high, middle),  # type: ignore[type-var]  # none of them is None
                    "rogan-gladen, over the laboratories left out of training")


def _rogan(share: float, sensitivity: float, specificity: float) -> float | None:
    """The true share behind a share of positive answers; None where answers say nothing."""
    if sensitivity + specificity <= 1:
        return None
    return min(max((share + specificity - 1) / (sensitivity + specificity - 1), 0.0), 1.0)


def finding_of(blasts: Blasts | None) -> str:
    """What stands first in the page, in words; "" for nothing."""
    if blasts is None or blasts.cells < FEW_BLASTS:
        return ""
    text = (f"Blasts suspected: review first. The model calls {blasts.cells} of {blasts.leukocytes} leukocytes blasts, "
            f"{interval(blasts.share)}.")
    corrected = blasts.corrected
    if corrected.value is None:
        return f"{text} How often it errs elsewhere is not known."
    if corrected.low == 0:
        return (f"{text} So many can come from its own mistakes alone: corrected for these, "
                f"{percent(corrected.value, 0)} ({percent(corrected.low, 0)} to {percent(corrected.high, 0)}).")
    return (f"{text} Corrected for its own mistakes, {percent(corrected.value, 0)} ({percent(corrected.low, 0)} to "
            f"{percent(corrected.high, 0)}).")


def doubts_of(count: Differential) -> list[str]:
    """Sentences on counts that cannot be believed as they are, the gravest first."""
    if count.total < ENOUGH:
        return []
    doubts = []
    if _above(count.unknown, count.total, UNLIKE) or _above(count.unsure, count.total, UNSURE):
        doubts.append("Types are not reliable for this laboratory: "
                      f"{percent((count.unknown or 0) / count.total, 0)} of the leukocytes are unlike those of training"
                      f" and {percent((count.unsure or 0) / count.total, 0)} are unsure. Do not use the differential "
                      "before a person has confirmed the cells (leukoscope review). With about 20 confirmed cells of "
                      "each type, leukoscope adapt fits the model to this laboratory.")
    doubts += [f"{percent(kind.share.value, 0)} {kind.name}s is more than blood usually has: look at these cells "
               "before the count is believed." for kind in _implausible(count)]
    return doubts


def _above(cells: int | None, total: int, limit: float) -> bool:
    return cells is not None and cells > limit * total


def _implausible(count: Differential) -> Sequence[Any]:
    return [kind for kind in count.types if kind.share is not None and kind.share.value is not None
            and kind.name in USUAL and kind.share.value > USUAL[kind.name] and kind.cells > 1]
