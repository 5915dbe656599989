"""Explained cells of a run: those that a user names, and examples for its page. Computes no map itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..figures.common import save_png
from ..figures.explain import ExplainedCell, explanation_sheet
from ..files import atomic_path, write_json
from ..finder.frame import shown_square
from ..predict.explain import agreement_of, contradiction, explain
from ..report.explanations import write_explanations
from ..runs.elsewhere import Elsewhere
from ..runs.run import Run
from ..tables import Row
from ..text import percent
from .example_cells import cell_pixels, tested_cells

ROWS = 24
"""Cells on a sheet; more cells go on further sheets."""
CLASSES = 8
"""At most this number of classes is shown on the page of a run."""
_DPI = 120
_PARTS = {"test": "tested", "train": "trained", "validation": "validated"}


@dataclass(frozen=True)
class Explained:
    """A cell as explanations.json holds it. part: of the cell in the fold; explained: the class; unit: of the network
    that Grad-CAM is taken from; maps: the file; agreement: rank correlation of the two maps."""

    cell: str
    label: str | None
    fold: int
    part: str | None
    predicted: str
    explained: str
    probabilities: Mapping[str, float]
    unit: str | None
    maps: str
    agreement: float | None
    remarks: tuple[str, ...]

    def line(self) -> str:
        """For a terminal."""
        answer, true = self.predicted, self.label
        explained = "" if self.explained == answer else f"; explained: {self.explained}"
        truth = "" if true is None else ", which is correct" if true == answer else f", true class {true}"
        return (f"{self.cell}: {answer} {percent(self.probabilities[answer])}{truth}{explained}; fold {self.fold}"
                + (f", which was {_PARTS[self.part]} on this cell" if self.part else ""))


def explain_cells(folder: Path, cells: Sequence[str], out: Path, *, fold: int | None = None, target: str | None = None,
                  elsewhere: Elsewhere | None = None,
                  on_progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Explain cells (cell_ids of the run, or files) and write below `out` explanations.png (further sheets for more
    than 24 cells), a file <cell>.npz of maps for each, and explanations.json. Returns lines to print.

    fold: of the network; None: the fold that tested the cell, or the first fold for a file. target: the class to
    explain, None for each cell's answer. elsewhere: where the images are now, if they were moved. Raises
    LeukoscopeError for an unknown cell or class before anything is written, and RunError for a fold that is missing or
    not finished.
    """
    run = Run(folder, elsewhere)
    names = list(dict.fromkeys(cells))
    pixels = {name: cell_pixels(run, name) for name in names}
    done: list[ExplainedCell] = []
    explained: list[Explained] = []
    files = _file_names(run, names)
    for name in names:
        chosen = _fold_of(run, name) if fold is None else fold
        explanation = explain(run, chosen, pixels[name], target=target)
        label, part = _label_and_part(run, name, chosen)
        done.append(ExplainedCell(name if label else Path(name).name, label,
                                  f"fold {chosen}" + (f", {part}" if part else ""), explanation,
                                  shown_square(pixels[name], run.recipe.preprocess)))
        doubt = contradiction(explanation)
        explained.append(Explained(
            name, label or None, chosen, part or None, explanation.predicted, explanation.target,
            explanation.probabilities, explanation.unit or None, f"{files[name]}.npz", agreement_of(explanation),
            (*explanation.remarks, *([doubt] if doubt else []))))
        if on_progress is not None:
            on_progress(len(done), len(names))
    for name, cell in zip(names, done, strict=True):
        explanation = cell.explanation
        maps = {"cell": explanation.cell, "grad_cam": explanation.grad_cam, "occlusion": explanation.occlusion}
        with atomic_path(out / f"{files[name]}.npz") as beside:
            np.savez_compressed(beside, **{key: values for key, values in maps.items() if values is not None})
    sheets = []
    for start in range(0, len(done), ROWS):
        number = start // ROWS + 1
        sheets.append(out / (f"explanations_{number}.png" if start else "explanations.png"))
        save_png(explanation_sheet(done[start:start + ROWS]), sheets[-1], dpi=_DPI)
    content = {"run": str(run.folder.resolve()), "recipe": run.recipe.name, "cells": list(map(asdict, explained))}
    write_json(out / "explanations.json", content)
    page = write_explanations(content, sheets, out)
    return [*(cell.line() for cell in explained),
            *(f"{cell.cell}: {remark}" for cell in explained for remark in cell.remarks),
            f"explained: {', '.join(str(sheet) for sheet in sheets)}, {out / 'explanations.json'}", f"page: {page}"]


def draw_explanations(run: Run) -> None:
    """Draw, as right.png and wrong.png in figures/explanations, cells of up to 8 classes as the fold that tested them
    explains them: of each class a correct one, and the wrong one with the highest probability."""
    for name, rows in _examples(run).items():
        shown = [ExplainedCell(row["cell_id"], row["label"], f"fold {row['fold']}, test",
                               explain(run, row["fold"], pixels), shown_square(pixels, run.recipe.preprocess))
                 for row in rows for pixels in [cell_pixels(run, row["cell_id"])]]
        if shown:
            save_png(explanation_sheet(shown), run.folder / "figures" / "explanations" / f"{name}.png", dpi=_DPI)


def _examples(run: Run) -> dict[str, list[Row]]:
    """Rows of the predictions: "right", of each class the one of median probability among the correct ones (the lower
    of two); "wrong", the one with the highest probability of a wrong class."""
    sure = pl.max_horizontal(pl.col(f"p_{name}") for name in run.classes)
    tested = tested_cells(run).with_columns(sure.alias("_sure")).sort(["_sure", "cell_id"], descending=[True, False])
    rows: dict[str, list[Row]] = {"right": [], "wrong": []}
    present = [name for name in run.classes if (tested["label"] == name).any()]
    for name in present[:CLASSES]:
        own = tested.filter(pl.col("label") == name)
        right, wrong = (own.filter((pl.col("predicted") == name) == correct) for correct in (True, False))
        if right.height:
            rows["right"].append(right.row(right.height // 2, named=True))
        if wrong.height:
            rows["wrong"].append(wrong.row(0, named=True))
    return rows


def _fold_of(run: Run, cell: str) -> int:
    """The fold that tested a cell of the run; the first fold for other cells, and for a cell that no fold tested."""
    tested = run.splits.filter((pl.col("cell_id") == cell) & (pl.col("part") == "test"))["fold"].sort()
    return int(tested[0]) if len(tested) else run.all_folds[0]


def _label_and_part(run: Run, cell: str, fold: int) -> tuple[str, str]:
    """The label of a cell of the run and its part in a fold; "" for what a file or another cell has not."""
    labels = run.manifest.filter(pl.col("cell_id") == cell)["label"]
    parts = run.splits.filter((pl.col("cell_id") == cell) & (pl.col("fold") == fold))["part"]
    return str(labels[0] or "") if len(labels) else "", str(parts[0]) if len(parts) else ""


def _file_names(run: Run, cells: Sequence[str]) -> dict[str, str]:
    """Cell -> a file name without suffix: of a file its own, of a cell_id the whole; with a number where two are the
    same."""
    own = set(run.manifest["cell_id"].to_list())
    names: dict[str, str] = {}
    taken = {"explanations"}
    for cell in cells:
        name = start = re.sub(r"[^A-Za-z0-9_-]+", "_", cell if cell in own else Path(cell).stem)
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{start}_{number}"
        taken.add(name.lower())
        names[cell] = name
    return names
