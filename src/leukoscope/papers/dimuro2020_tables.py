"""Table 1 of dimuro2020 out of the runs of a reproduction, and what can be concluded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RunError
from ..report.optics import Kind, kinds, pixels_seen
from ..report.study import points_span, read_study
from ..runs.results import Results
from ..stats.estimate import Comparison, Estimate
from ..stats.paired import holm
from ..stats.repeats import repeated_difference, repeated_rate
from ..text import join, p_of, plural, points

PAPER = {1: 0.9608, 2: 0.9360, 4: 0.9575, 5: 0.9418, 6: 0.9286}
"""N -> validation accuracy of Table 1: frozen optics at N = 1, learned ones at the others."""
PUBLISHED_CURVES: Mapping[str, Mapping[str, float]] = {
    "the paper, seven classes": {str((200 // n) ** 2): accuracy for n, accuracy in PAPER.items()},
    "DenseNet-121 without optics, colour (MedMNIST+)": {"784": 0.9387, "4096": 0.9799, "16384": 0.9890,
                                                        "50176": 0.9902}}
MARGIN = 0.01
"""Optics make up for lost pixels if their accuracy is, with confidence, less than so much below that of more pixels."""


@dataclass(frozen=True, eq=False)
class Row:
    """One microscope over its repeats. right: (repeats, cells) whether each judged each cell rightly."""

    kind: Kind
    pixels: int
    accuracy: Estimate
    repeats: int
    cells: int
    chose: str
    right: np.ndarray

    @property
    def name(self) -> str:
        return self.kind.name


def table_one(folder: Path) -> list[Row]:
    """Every microscope of a study, its accuracy the mean over repeats. RunError where repeats tested other cells."""
    runs = read_study(folder).runs.values()
    clusters = _clusters(next(iter(runs)))
    rows = []
    for kind, alike in kinds(runs).items():
        right = np.stack([_right(results, next(iter(runs))) for results in alike])
        recipe = alike[0].recipe
        assert recipe is not None
        repeats, cells = right.shape
        chose = "also chose the epoch, as in the paper" if recipe.split.select_on == "test" else "chose nothing"
        rows.append(Row(kind, pixels_seen(recipe), repeated_rate(right, clusters), repeats, cells, chose, right))
    return rows


def answers(folder: Path, rows: Sequence[Row]) -> tuple[list[dict[str, Any]], list[str]]:
    """The tables of the page, and sentences that answer what the paper asks."""
    clusters = _clusters(next(iter(read_study(folder).runs.values())))
    gains, losses = _gains(rows, clusters), _losses(rows, clusters)
    by_kind = {row.kind: row for row in rows}
    columns = ["transfer", "N", "pixels", "frozen, accuracy %", "learned, accuracy %", "learning brings", "p (Holm)",
               "against N of", "learned against frozen with more pixels", "the paper %"]
    body = []
    for kind in sorted({replace(kind, learned=True) for kind in by_kind}):
        frozen = by_kind.get(kind.frozen)
        learned = by_kind.get(kind)
        gain, loss = gains.get(kind), losses.get(kind)
        body.append([
            ("free (the paper's)" if kind.free else "incoherent") + kind.also, str(kind.pool),
            f"{(learned or frozen).pixels:,}", _in_percent(frozen), _in_percent(learned),  # type: ignore[union-attr]  # one is there
            _in_points(gain[0]) if gain else "-", p_of(gain[1]) if gain else "-",
            str(loss[1]) if loss else "-", _in_points(loss[0]) if loss else "-",
            f"{100 * PAPER[kind.pool]:.2f}" if kind.pool in PAPER else "-"])
    first = rows[0]
    note = (f"Mean of {plural(first.repeats, 'training')} a microscope, {first.cells:,} test cells that {first.chose}; "
            "95 % intervals over cells and trainings, differences in percentage points, paired by cell. The paper's "
            "figures are validation accuracies of seven classes: frozen at N = 1, learned at the others.")
    title = "Table 1: accuracy for each N, frozen and learned"
    return [{"title": title, "columns": columns, "rows": body, "note": note}], _sentences(gains, losses)


def _gains(rows: Sequence[Row], clusters: np.ndarray | None) -> dict[Kind, tuple[Comparison, float | None]]:
    """Learned minus frozen at the same N, with p values corrected together."""
    by_kind = {row.kind: row for row in rows}
    found = {}
    for row in rows:
        frozen = by_kind.get(row.kind.frozen)
        if row.kind.learned and frozen is not None:
            found[row.kind] = repeated_difference(row.right, frozen.right, clusters)
    known = [kind for kind, comparison in found.items() if comparison.p_value is not None]
    adjusted = holm(np.array([found[kind].p_value for kind in known], dtype=float))
    p_values = dict(zip(known, adjusted.tolist(), strict=True))
    return {kind: (comparison, p_values.get(kind)) for kind, comparison in found.items()}


def _losses(rows: Sequence[Row], clusters: np.ndarray | None) -> dict[Kind, tuple[Comparison, int]]:
    """Learned at N minus frozen at the least N of the same transfer, and that N."""
    found = {}
    for row in rows:
        frozen = [other for other in rows if not other.kind.learned and other.kind.free == row.kind.free
                  and other.kind.photons == row.kind.photons]
        reference = min(frozen, key=lambda other: other.kind.pool, default=None)
        if row.kind.learned and reference is not None and reference.kind.pool < row.kind.pool:
            found[row.kind] = repeated_difference(row.right, reference.right, clusters), reference.kind.pool
    return found


def _sentences(gains: Mapping[Kind, tuple[Comparison, float | None]],
               losses: Mapping[Kind, tuple[Comparison, int]]) -> list[str]:
    """One sentence on what learning brings, one on whether it makes up for the pixels given up."""
    brings: dict[str, list[str]] = {}
    for kind, (comparison, p_value) in gains.items():
        shown = p_value is not None and p_value < 0.05
        better = (comparison.difference.value or 0.0) > 0
        told = ("helps" if better else "harms") if shown else "makes no difference that these cells can show"
        brings.setdefault(told, []).append(_where(kind))
    offset: dict[str, list[str]] = {}
    for kind, (comparison, reference) in losses.items():
        told = made_up_for(comparison)
        offset.setdefault(f"{told} (against frozen optics at N = {reference})", []).append(_where(kind))
    said = [f"Learning the optics {_listed(brings)}."] if brings else []
    return said + ([f"Does it make up for the pixels given up, to within {100 * MARGIN:g} point? {_listed(offset)}."]
                   if offset else [])


def made_up_for(loss: Comparison) -> str:
    """Whether learning makes up for lost pixels, to within `MARGIN`: the interval has to lie on one side of it."""
    low, high = loss.difference.low, loss.difference.high
    if low is not None and low > -MARGIN:
        return "yes"
    return "no" if high is not None and high < -MARGIN else "these cells cannot tell"


def _listed(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{told} at {join(list(places))}" for told, places in found.items())


def _where(kind: Kind) -> str:
    photons = f", {kind.photons:,.0f} photons" if kind.photons else ""
    return f"N = {kind.pool} ({'free' if kind.free else 'incoherent'}{photons}{kind.also})"


def _right(results: Results, first: Results) -> np.ndarray:
    """(cells,) whether each test cell, in the first run's order, was judged rightly."""
    order = first.predictions.select("cell_id")
    if set(order["cell_id"]) != set(results.predictions["cell_id"]):
        raise RunError(f"{results.folder}: was tested on other cells than {first.folder}",
                       "reproduce into another folder, with one set of cells and settings")
    joined = order.join(results.predictions, on="cell_id", how="left", maintain_order="left")
    return (joined["label"] == joined["predicted"]).to_numpy()


def _clusters(results: Results) -> np.ndarray | None:
    """The subject of each test cell, else its group; None where neither is known of any."""
    table = results.predictions
    names = [name for name in ("subject", "group") if table[name].null_count() < table.height]
    if not names:
        return None
    own = table["cell_id"].to_list()
    known = [table[name].to_list() for name in names]
    return np.array([next((f"{i}:{column[row]}" for i, column in enumerate(known) if column[row] is not None),
                          f"cell:{own[row]}") for row in range(table.height)])


def _in_percent(row: Row | None) -> str:
    if row is None or row.accuracy.value is None:
        return "-"
    estimate = row.accuracy
    return f"{100 * row.accuracy.value:.1f} ({100 * (estimate.low or 0):.1f} to {100 * (estimate.high or 0):.1f})"


def _in_points(comparison: Comparison) -> str:
    span = points_span(comparison)
    return f"{points(comparison.difference.value)} ({span})" if span else points(comparison.difference.value)
