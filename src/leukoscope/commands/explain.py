"""Explained cells of a run: those that somebody names, and examples for its page. Computes no map itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..figures.common import save_png
from ..figures.explain import ExplainedCell, explanation_sheet
from ..files import atomic_path, write_json
from ..predict.explain import Explanation, explain
from ..runs.run import Run
from ..text import percent
from .example_cells import cell_pixels, tested_cells

ROWS = 24
"""Cells of a sheet; more go on further ones."""
CLASSES = 8
"""Classes that the page of a run shows cells of, at most."""
_DPI = 120
_PARTS = {"test": "which it was tested on", "train": "which it was trained on",
          "validation": "which it was validated on"}


def explain_cells(folder: Path, cells: Sequence[str], out: Path, *, fold: int | None = None, target: str | None = None,
                  on_progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Explain cells (cell_ids of the run, or files) and write below `out` explanations.png (further sheets for more
    than 24 cells), a file <cell>.npz of maps for each, and explanations.json. Returns lines to print.

    fold: whose network; None is, for a cell of the run, the fold that tested it, else the run's first fold. target: the
    class to explain, None for each cell's predicted one. Raises LeukoscopeError for an unknown cell or class before
    anything is written, and RunError for a fold that is not there or not done.
    """
    run = Run(folder)
    names = list(dict.fromkeys(cells))
    pixels = {name: cell_pixels(run, name) for name in names}
    done: list[ExplainedCell] = []
    facts: list[dict[str, Any]] = []
    files = _file_names(run, names)
    for name in names:
        chosen = _fold_of(run, name) if fold is None else fold
        found = explain(run, chosen, pixels[name], target=target)
        label, part = _label_of(run, name), _part_of(run, name, chosen)
        done.append(ExplainedCell(name if label else Path(name).name, label,
                                  f"fold {chosen}" + (f", {part}" if part else ""), found))
        facts.append({"cell": name, "label": label or None, "fold": chosen, "part": part or None,
                      "predicted": found.predicted, "explained": found.target, "probabilities": found.probabilities,
                      "unit": found.unit or None,
                      "maps": f"{files[name]}.npz", "remarks": list(found.remarks)})
        if on_progress is not None:
            on_progress(len(done), len(names))
    for name, one in zip(names, done, strict=True):
        _write_maps(one.explanation, out / f"{files[name]}.npz")
    sheets = _write_sheets(done, out / "explanations.png")
    write_json(out / "explanations.json", {"run": str(run.folder.resolve()), "recipe": run.recipe.name, "cells": facts})
    return [*(_line(row) for row in facts), *(f"{row['cell']}: {remark}" for row in facts for remark in row["remarks"]),
            f"explained: {', '.join(str(sheet) for sheet in sheets)}, {out / 'explanations.json'}"]


def draw_explanations(run: Run) -> None:
    """Draw, as right.png and wrong.png in figures/explanations, cells of up to 8 classes in the eyes of the fold that
    tested them: of each class one that was found, and the one that was most surely taken for another."""
    for name, rows in _examples(run).items():
        shown = [ExplainedCell(row["cell_id"], row["label"], f"fold {row['fold']}, test",
                               explain(run, row["fold"], cell_pixels(run, row["cell_id"]))) for row in rows]
        if shown:
            save_png(explanation_sheet(shown), run.folder / "figures" / "explanations" / f"{name}.png", dpi=_DPI)


def _examples(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Rows of the predictions: "right" of each class the one of median probability among those found (the lower of
    two), "wrong" the one of the highest probability of a wrong class."""
    sure = pl.max_horizontal(pl.col(f"p_{name}") for name in run.classes)
    tested = tested_cells(run).with_columns(sure.alias("_sure")).sort(["_sure", "cell_id"], descending=[True, False])
    rows: dict[str, list[dict[str, Any]]] = {"right": [], "wrong": []}
    present = [name for name in run.classes if (tested["label"] == name).any()]
    for name in present[:CLASSES]:
        own = tested.filter(pl.col("label") == name)
        right, wrong = (own.filter((pl.col("predicted") == name) == found) for found in (True, False))
        if right.height:
            rows["right"].append(right.row(right.height // 2, named=True))
        if wrong.height:
            rows["wrong"].append(wrong.row(0, named=True))
    return rows


def _fold_of(run: Run, cell: str) -> int:
    """The fold that tested a cell of the run; the first fold for any other, and for a cell that none has tested."""
    tested = run.splits.filter((pl.col("cell_id") == cell) & (pl.col("part") == "test"))["fold"].sort()
    return int(tested[0]) if len(tested) else run.all_folds[0]


def _part_of(run: Run, cell: str, fold: int) -> str:
    """The part of a fold that a cell stands in, or "" for a cell that is not in it."""
    parts = run.splits.filter((pl.col("cell_id") == cell) & (pl.col("fold") == fold))["part"]
    return str(parts[0]) if len(parts) else ""


def _label_of(run: Run, cell: str) -> str:
    """The label of a cell of the run, or "" for a file."""
    labels = run.manifest.filter(pl.col("cell_id") == cell)["label"]
    return str(labels[0] or "") if len(labels) else ""


def _file_names(run: Run, cells: Sequence[str]) -> dict[str, str]:
    """Cell -> a file name without suffix: of a file its own, of a cell_id the whole; a number where two would meet."""
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


def _write_maps(found: Explanation, path: Path) -> None:
    """The cell as packed and the maps that there are, as arrays `cell`, `grad_cam` and `occlusion`."""
    maps = {"cell": found.cell, "grad_cam": found.grad_cam, "occlusion": found.occlusion}
    with atomic_path(path) as beside:
        np.savez_compressed(beside, **{name: values for name, values in maps.items() if values is not None})


def _write_sheets(cells: Sequence[ExplainedCell], path: Path) -> list[Path]:
    """The sheet at `path`, and further ones beside it, numbered from 2."""
    paths = []
    for start in range(0, len(cells), ROWS):
        number = start // ROWS + 1
        paths.append(path if number == 1 else path.with_stem(f"{path.stem}_{number}"))
        save_png(explanation_sheet(cells[start:start + ROWS]), paths[-1], dpi=_DPI)
    return paths


def _line(row: dict[str, Any]) -> str:
    said, true = row["predicted"], row["label"]
    explained = "" if row["explained"] == said else f"; explained: {row['explained']}"
    truth = "" if true is None else ", which is right" if true == said else f", but it is {true}"
    return (f"{row['cell']}: {said} {percent(row['probabilities'][said])}{truth}{explained}; fold {row['fold']}"
            + (f", {_PARTS[row['part']]}" if row["part"] else ""))
