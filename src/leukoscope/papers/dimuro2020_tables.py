"""Table 1 of dimuro2020 from the runs of a reproduction, and what can be concluded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..report.learned import Row, clusters_of, gains_of, rows_of
from ..report.optics import Kind
from ..report.study import read_study
from ..stats.estimate import Comparison
from ..stats.repeats import repeated_difference
from ..text import join, p_of, plural, points
from .tables import EMPTY, Table, cell, printed

PAPER = {1: 0.9608, 2: 0.9360, 4: 0.9575, 5: 0.9418, 6: 0.9286}
"""N -> validation accuracy of Table 1: frozen optics at N = 1, learned optics at the others."""
PUBLISHED_CURVES: Mapping[str, Mapping[str, float]] = {
    "the paper, seven classes": {str((200 // n) ** 2): accuracy for n, accuracy in PAPER.items()},
    "DenseNet-121 without optics, colour (MedMNIST+)": {"784": 0.9387, "4096": 0.9799, "16384": 0.9890,
                                                        "50176": 0.9902}}
MARGIN = 0.01
"""Learning makes up for lost pixels if the accuracy is, with confidence, less than this below that of more pixels."""


@dataclass(frozen=True)
class Effect:
    """What learning adds at one N. gain: learned minus frozen optics; p_value: corrected for the number of gains. loss:
    learned optics minus frozen optics with more pixels, at the N `least`. None where there is nothing to compare with.
    """

    gain: Comparison | None
    p_value: float | None
    loss: Comparison | None
    least: int | None


def table_one(folder: Path) -> list[Row]:
    """Every microscope of a study, with its mean accuracy over repeats. RunError where repeats tested other cells."""
    return rows_of(list(read_study(folder).runs.values()))


def answers(folder: Path, rows: Sequence[Row]) -> tuple[Table, list[str]]:
    """The table of the page, and sentences that answer the paper's questions."""
    effects = _effects(rows, clusters_of(next(iter(read_study(folder).runs.values()))))
    by_kind = {row.kind: row for row in rows}
    body = []
    for kind in sorted({replace(kind, learned=True) for kind in by_kind}):
        frozen, learned = by_kind.get(kind.frozen), by_kind.get(kind)
        effect = effects.get(kind, Effect(None, None, None, None))
        body.append([
            ("free (the paper's)" if kind.free else "incoherent") + kind.also, str(kind.pool),
            f"{next(row.pixels for row in (learned, frozen) if row):,}",
            cell(frozen and frozen.accuracy), cell(learned and learned.accuracy),
            cell(effect.gain and effect.gain.difference, points), p_of(effect.p_value) if effect.gain else EMPTY,
            str(effect.least or EMPTY), cell(effect.loss and effect.loss.difference, points),
            printed(PAPER.get(kind.pool))])
    first = rows[0]
    return Table(
        "Table 1: accuracy for each N, frozen and learned",
        ["transfer", "N", "pixels", "frozen, accuracy %", "learned, accuracy %", "gain by learning", "p (Holm)",
         "against N of", "learned against frozen with more pixels", "the paper %"], body,
        f"Mean of {plural(first.repeats, 'training')} of each microscope on {first.cells:,} test cells, which "
        f"{first.test_part}. 95 % intervals over cells and trainings; differences in percentage points, paired by "
        "cell. The paper's figures are validation accuracies of seven classes: frozen at N = 1, learned at the others."
    ), _sentences(effects)


def _effects(rows: Sequence[Row], clusters: np.ndarray | None) -> dict[Kind, Effect]:
    frozen = {row.kind: row for row in rows if not row.kind.learned}
    learned = [row for row in rows if row.kind.learned]
    gains = gains_of(rows, clusters)
    effects = {}
    for row in learned:
        same = [kind for kind in frozen if (kind.free, kind.photons) == (row.kind.free, row.kind.photons)]
        most = min(same, key=lambda kind: kind.pool, default=row.kind)
        loss = repeated_difference(row.right, frozen[most].right, clusters) if most.pool < row.kind.pool else None
        gain = gains.get(row.kind)
        effects[row.kind] = Effect(gain and gain.comparison, gain and gain.p_value, loss, most.pool if loss else None)
    return effects


def _sentences(effects: Mapping[Kind, Effect]) -> list[str]:
    """One sentence on what learning adds, one on whether it makes up for the lost pixels."""
    gains: dict[str, list[str]] = {}
    losses: dict[tuple[str, int | None], list[str]] = {}
    alike = len({replace(kind, pool=1) for kind in effects}) < 2
    for kind, effect in effects.items():
        photons = f", {kind.photons:,.0f} photons" if kind.photons else ""
        light = "" if alike else f" ({'free' if kind.free else 'incoherent'}{photons}{kind.also})"
        where = f"N = {kind.pool}{light}"
        if effect.gain is not None:
            better = (effect.gain.difference.value or 0.0) > 0
            significant = effect.p_value is not None and effect.p_value < 0.05
            gains.setdefault(("helps" if better else "harms") if significant else "makes no significant difference",
                             []).append(where)
        if effect.loss is not None:
            losses.setdefault((made_up_for(effect.loss), effect.least), []).append(where)
    learned = "; ".join(f"{text} at {join(places)}" for text, places in gains.items())
    answer = "; ".join(f"{text} at {join(places)}, against frozen optics at N = {least}"
                       for (text, least), places in losses.items())
    return ([f"Learning the optics {learned}."] if gains else []) + ([
        f"Does it make up for the lost pixels, to within {100 * MARGIN:g} point? {answer[:1].upper()}{answer[1:]}."]
        if losses else [])


def made_up_for(loss: Comparison) -> str:
    """Whether learning makes up for lost pixels, to within `MARGIN`: the whole interval has to be on one side of it."""
    low, high = loss.difference.low, loss.difference.high
    if low is not None and low > -MARGIN:
        return "yes"
    return "no" if high is not None and high < -MARGIN else "not certain with these cells"
