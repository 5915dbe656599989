"""What a count means that a reader must know first: types that are not reliable, blasts, and counts that cannot be
believed. Knows no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from ..files import JsonObject
from ..stats.estimate import Estimate, no_estimate
from ..stats.rates import wilson
from ..text import interval, percent, plural
from .count import Differential, TypeCount, differential
from .flag import BLAST, IMMATURE, immaturity

FEW_BLASTS = 2
"""Blasts below which nothing is said of them but the flag: one cell may be a mistake."""
USUAL = {"basophil": 0.05, "eosinophil": 0.4, "monocyte": 0.5}
"""Type -> share of the leukocytes above which a count is more likely a mistake of the model than a disease."""
MARROW = 0.1
"""Immature granulocytes over leukocytes, and nucleated red cells over leukocytes: where both are more than this, the
smear is probably of bone marrow. There, both are several times as frequent; in healthy blood there are none."""
UNLIKE = 0.05
"""Share of the leukocytes that are unlike those of training, above which a laboratory is unlike all of training. In a
laboratory that was trained on, at most this share is (docs/model.md)."""
NOT_RELIABLE = "types are not reliable for this laboratory"
"""Why a share is not given."""
FEW_UNLIKE = 3
"""Leukocytes unlike those of training below which that is not said, whatever their share."""
UNSURE = 0.5
"""Share of the leukocytes that are unsure, above which a remark says so."""
ENOUGH = 10
"""Leukocytes below which no share is remarked upon."""


@dataclass(frozen=True)
class Blasts:
    """How many of the counted leukocytes a model calls blasts. share: with Wilson's interval. corrected: the share
    without the model's own mistakes in laboratories that it was not trained on (Rogan and Gladen 1978), with an
    interval that holds for the worst and the best of these; no figure where the model says nothing of them."""

    cells: int
    leukocytes: int
    share: Estimate
    corrected: Estimate


def blasts_of(count: Differential, elsewhere: JsonObject | None) -> Blasts | None:
    """The blasts of a count; None where the model knows none, or nothing was counted. elsewhere: what the bundle says
    of left-out laboratories."""
    kinds = [kind for kind in count.types if immaturity(kind.name) == BLAST]
    if not kinds or not count.total:
        return None
    cells = sum(kind.cells for kind in kinds)
    share = wilson(cells, count.total)
    return Blasts(cells, count.total, share, _corrected(share, elsewhere))


def _corrected(share: Estimate, elsewhere: JsonObject | None) -> Estimate:
    rows = elsewhere["rows"] if elsewhere else ()
    sensitivities, specificities = ([row[name]["value"] for row in rows if row.get(name)]
                                    for name in ("sensitivity", "specificity"))
    if not sensitivities or not specificities or share.value is None or share.low is None or share.high is None:
        return no_estimate("undefined: the model states no error rates of blasts in laboratories left out of training")
    middle = _rogan(share.value, sum(sensitivities) / len(sensitivities), sum(specificities) / len(specificities))
    # Where more cells are called blasts than the model found elsewhere, it finds more of them here.
    low = _rogan(share.low, max(*sensitivities, share.high), min(specificities))
    high = _rogan(share.high, min(sensitivities), max(specificities))
    if None in (middle, low, high):
        return no_estimate("undefined: in a laboratory left out of training the model did not distinguish blasts from "
                           "others")
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


def unreliable(count: Differential) -> str:
    """Why the types of a count are not to be relied on, and what to do, in words; "" where they may be. More leukocytes
    are unlike those of training, by Wilson's interval, than in any laboratory that was trained on."""
    if count.unknown is None or count.unknown < FEW_UNLIKE:
        return ""
    share = wilson(count.unknown, count.total)
    if share.low is None or share.low <= UNLIKE:
        return ""
    return (f"Types are not reliable for this laboratory: {interval(share)} of {plural(count.total, 'leukocyte')} are "
            f"unlike those of training. There is no differential until a person has confirmed the "
            f"{plural(count.total, 'cell')} (leukoscope review); with about 20 confirmed cells of each type, "
            "leukoscope adapt fits the model to this laboratory.")


def doubted(table: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """A `cells_table`; where its types are not to be relied on, every typed cell is unsure."""
    if not classes or not unreliable(differential(table, classes)):
        return table
    return table.with_columns(pl.col("unsure") | pl.col("predicted").is_not_null())


def without_shares(count: Differential, why: str) -> Differential:
    """The same numbers of cells, but no shares: they are no differential. why: as the method of each share says."""
    def blank(kind: TypeCount) -> TypeCount:
        share, ratio = (None if one is None else no_estimate(why, total=one.total)
                        for one in (kind.share, kind.per_hundred))
        return replace(kind, share=share, per_hundred=ratio)

    per_hundred = None if count.per_hundred is None else no_estimate(why)
    return replace(count, per_hundred=per_hundred, types=tuple(map(blank, count.types)))


def doubts_of(count: Differential) -> list[str]:
    """Sentences on counts that cannot be believed as they are, the gravest first."""
    if count.total < ENOUGH:
        return []
    doubts = []
    if count.unsure is not None and count.unsure > UNSURE * count.total:
        doubts.append(f"{percent(count.unsure / count.total, 0)} of the leukocytes are unsure: more than one type is "
                      "possible. Let a person confirm them before the count is used (leukoscope review).")
    immature = sum(kind.cells for kind in count.types if immaturity(kind.name) == IMMATURE)
    if min(immature, count.nucleated or 0) > MARROW * count.total:
        nucleated = plural(count.nucleated or 0, "nucleated red cell")
        doubts.append(f"{plural(immature, 'immature cell')} and {nucleated} beside "
                      f"{plural(count.total, 'leukocyte')}: is this bone marrow? These counts are meant for blood.")
    return doubts + [f"{percent(kind.share.value, 0)} {kind.name}s is more than blood usually has: look at these cells "
                     "before the count is believed." for kind in count.types
                     if kind.share is not None and kind.share.value is not None and kind.name in USUAL
                     and kind.share.value > USUAL[kind.name] and kind.cells > 1]
