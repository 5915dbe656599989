"""The data section of a run's page: cells of each class and part, and the errors with the highest probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ..errors import LeukoscopeError
from ..figures.svg import image_uri
from ..images.read import read_cell
from ..runs.results import Results
from ..tables import Row
from ..text import count

PARTS = ("train", "validation", "test")
MOST, SIDE = 18, 176
"""Errors shown at most, and the longer side of their pictures in px."""


@dataclass(frozen=True)
class DataTable:
    """Cells of each class (None: all): in the run, its subjects, and in each of `parts` as text: a range where the
    folds differ. by_fold: (fold, part) -> cells of each class, then of all; empty for one fold."""

    parts: tuple[str, ...]
    folds: int
    subjects_known: bool
    rows: tuple[tuple[str | None, int, int, tuple[str, ...]], ...]
    by_fold: Mapping[tuple[int, str], tuple[int, ...]]
    copies: int


@dataclass(frozen=True)
class Mistake:
    """A cell with a wrong answer: classes, probabilities, and its picture as a data URI, or why there is none (both "":
    there are no images at all)."""

    cell_id: str
    fold: int
    true: str
    predicted: str
    p_true: float | None
    p_predicted: float
    picture: str
    problem: str


def data_table(results: Results) -> DataTable:
    """The cells of a run by class and part."""
    labels = results.predictions if results.manifest is None else results.manifest
    known = "subject" in labels.columns and labels["subject"].null_count() < labels.height
    names = (*results.metrics.classes, None)
    counted: dict[tuple[int, str], tuple[int, ...]] = {}
    if results.splits is not None:
        joined = results.splits.join(labels.select("cell_id", "label"), on="cell_id")
        tables = joined.partition_by("fold", "part", as_dict=True)
        for fold in sorted(results.splits["fold"].unique()):
            for part in (p for p in PARTS if (results.splits["part"] == p).any()):
                own = tables.get((fold, part), joined.clear())["label"]
                counted[fold, part] = tuple(len(own) if name is None else int((own == name).sum()) for name in names)
    parts = tuple(part for part in PARTS if any(part == other for _, other in counted))
    folds = len({fold for fold, _ in counted})
    rows = []
    for i, name in enumerate(names):
        cells = labels if name is None else labels.filter(pl.col("label") == name)
        subjects = cells["subject"].drop_nulls().n_unique() if known else 0
        rows.append((name, cells.height, subjects, tuple(
            _range([own[i] for (_, other), own in counted.items() if other == part]) for part in parts)))
    copies = labels.filter(pl.col("copy") > 0).height if "copy" in labels.columns else 0
    return DataTable(parts, folds, known, tuple(rows), counted if folds > 1 else {}, copies)


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return count(low) if low == high else f"{count(low)}–{count(high)}"


def worst_mistakes(results: Results) -> list[Mistake]:
    """Wrong cells by falling probability of the wrong answer. A picture that cannot be read any more stops nothing."""
    sure = pl.max_horizontal(f"p_{name}" for name in results.metrics.classes)
    wrong = results.predictions.filter(pl.col("label") != pl.col("predicted")).with_columns(sure.alias("_sure"))
    chosen = wrong.sort(["_sure", "cell_id"], descending=[True, False]).head(MOST)
    cells: dict[str, Row] = {}
    if results.manifest is not None:
        own = results.manifest.filter(pl.col("cell_id").is_in(chosen["cell_id"].to_list()))
        cells = {row["cell_id"]: row for row in own.iter_rows(named=True)}
    mistakes = []
    for row in chosen.iter_rows(named=True):
        picture, problem = "", "not in the manifest of this run" if results.manifest is not None else ""
        if row["cell_id"] in cells:
            try:
                picture, problem = image_uri(read_cell(cells[row["cell_id"]]), side=SIDE), ""
            except LeukoscopeError as error:
                problem = error.what
        mistakes.append(Mistake(row["cell_id"], row["fold"], row["label"], row["predicted"],
                                row.get(f"p_{row['label']}"), row[f"p_{row['predicted']}"], picture, problem))
    return mistakes
