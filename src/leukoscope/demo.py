"""The whole way on built-in data: render phantom smears, audit them, train, evaluate, report; then a field of a smear,
found, typed and counted by the model that comes with the package.

Needs no download; shows on cells whose truth is known what a user does with cells of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from .audit import audit
from .audit_page import write_audit
from .errors import RunError
from .experiments import run_experiment
from .experiments_smear import smear_fields
from .manifest import write_manifest
from .phantom import write_cells, write_smears
from .recipe import load_recipe
from .train import Event

CELLS_PER_CLASS = 120
SUBJECTS = 15
FIELD = (1600, 1200)
"""Width and height of the field, px: 160 x 120 um."""
IN_FIELD = {"neutrophil": 12, "lymphocyte": 6, "monocyte": 2, "eosinophil": 1, "ig": 1, "erythroblast": 1}


def run_demo(out: Path, *, seed: int = 0, on_event: Callable[[Event], None] | None = None) -> tuple[str, ...]:
    """Do it all below `out`; return the lines that tell what came out.

    Raises RunError where `out` holds something already, since a demonstration must not overwrite work.
    """
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out}: not empty", "choose another folder with -o, or remove it")
    recipe = load_recipe("demo", settings=[f"seed={seed}"])
    cells = write_cells(out / "smears", CELLS_PER_CLASS, labels=recipe.data.classes, subjects=SUBJECTS, seed=seed)
    write_manifest(cells, out / "cells.parquet")
    audit_page = write_audit(audit(cells, seed=seed), out / "audit")
    outcome = run_experiment(recipe, cells, out / "run", on_event=on_event)
    found, counted = count_field(out, seed=seed)
    return (
        f"{cells.height:,} phantom cells of {SUBJECTS} subjects: {out / 'cells.parquet'}",
        f"audit before training: {audit_page}",
        *outcome.lines,
        f"a field with {counted} leukocytes, by the model that comes with the package:",
        *found,
    )


def count_field(out: Path, *, seed: int) -> tuple[list[str], int]:
    """Render a field of a smear below `out`, and find, type and count its cells: the lines that tell what came out, and
    how many leukocytes there truly are."""
    truth = write_smears(out / "field", subjects=1, fields_per_subject=1, seed=seed, types=IN_FIELD, size=FIELD)
    image = truth["image"][0]
    lines, _ = smear_fields([image], out / "count", subject=truth["subject"][0])
    return lines, truth.filter(pl.col("label") != "erythroblast").height
