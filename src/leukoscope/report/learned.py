"""Learned microscopes against frozen ones: over repeated trainings, paired by cell. Draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import RunError
from ..evaluation import table
from ..runs.comparison import TextTable
from ..runs.results import Results
from ..stats.estimate import Comparison, Estimate
from ..stats.paired import holm
from ..stats.repeats import repeated_difference, repeated_rate
from ..text import interval, p_of, plural, points, share
from .optics import Kind, kinds, pixels_seen


@dataclass(frozen=True, eq=False)
class Row:
    """One microscope over its repeats. right: (repeats, cells) whether each repeat classified each cell correctly.
    test_part: what the tested cells were used for besides."""

    kind: Kind
    pixels: int
    accuracy: Estimate
    test_part: str
    right: np.ndarray

    @property
    def repeats(self) -> int:
        return self.right.shape[0]

    @property
    def cells(self) -> int:
        return self.right.shape[1]


@dataclass(frozen=True)
class Gain:
    """Learned minus frozen optics. p_value: corrected for the number of gains."""

    comparison: Comparison
    p_value: float | None


def rows_of(runs: Sequence[Results]) -> list[Row]:
    """Every microscope of some runs, with its mean accuracy over repeats. RunError where they tested other cells."""
    first, clusters, rows = runs[0], clusters_of(runs[0]), []
    for kind, repeats in kinds(runs).items():
        right = np.stack([_right(results, first) for results in repeats])
        recipe = repeats[0].recipe
        assert recipe is not None
        used = "also selected the epoch, as in the paper" if recipe.split.select_on == "test" else "selected nothing"
        rows.append(Row(kind, pixels_seen(recipe), repeated_rate(right, clusters), used, right))
    return rows


def gains_of(rows: Sequence[Row], clusters: np.ndarray | None) -> dict[Kind, Gain]:
    """What learning adds, for each learned microscope that has a frozen counterpart."""
    frozen = {row.kind: row for row in rows if not row.kind.learned}
    compared = {row.kind: repeated_difference(row.right, frozen[row.kind.frozen].right, clusters)
                for row in rows if row.kind.learned and row.kind.frozen in frozen}
    tested = {kind: gain.p_value for kind, gain in compared.items() if gain.p_value is not None}
    p_values = dict(zip(tested, holm(np.array([*tested.values()], dtype=float)).tolist(), strict=True))
    return {kind: Gain(gain, p_values.get(kind)) for kind, gain in compared.items()}


def learned_table(runs: Sequence[Results]) -> list[TextTable]:
    """Learned against frozen, a row for each microscope that was trained both ways; no table where there is none."""
    if len({kind.learned for kind in kinds(runs)}) < 2:
        return []
    rows = rows_of(runs)
    by_kind = {row.kind: row for row in rows}
    body = [_cells(by_kind[kind.frozen], by_kind[kind], gain)
            for kind, gain in gains_of(rows, clusters_of(runs[0])).items()]
    if not body:
        return []
    return [TextTable(
        "Does learning the microscope help?",
        ("microscope", "pixels", "frozen, accuracy %", "learned, accuracy %", "learned minus frozen, points",
         "p (Holm)"),
        tuple(body), f"{plural(rows[0].repeats, 'training')} of each on {rows[0].cells:,} test cells; 95 % intervals "
        "over cells and trainings, differences paired by cell.")]


def _cells(frozen: Row, learned: Row, gain: Gain) -> tuple[str, ...]:
    def shown(estimate: Estimate) -> str:
        return interval(estimate, share, "", confidence=None, page=True)

    return (learned.kind.name, f"{learned.pixels:,}", shown(frozen.accuracy), shown(learned.accuracy),
            interval(gain.comparison.difference, points, "", confidence=None, page=True), p_of(gain.p_value))


def _right(results: Results, first: Results) -> np.ndarray:
    """(cells,) whether each test cell, in the order of the first run, was classified correctly."""
    order = first.predictions.select("cell_id")
    if set(order["cell_id"]) != set(results.predictions["cell_id"]):
        raise RunError(f"{results.folder}: was not tested on the same cells as {first.folder}",
                       "reproduce into another folder, with one set of cells and settings")
    joined = order.join(results.predictions, on="cell_id", how="left", maintain_order="left")
    return (joined["label"] == joined["predicted"]).to_numpy()


def clusters_of(results: Results) -> np.ndarray | None:
    """What is independent among the test cells, as everywhere (`evaluation.table`); None where it is each cell."""
    clusters, _, unit = table.clusters_of(results.predictions)
    return None if unit == "cell" else clusters
