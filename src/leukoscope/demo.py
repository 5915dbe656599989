"""The whole way on built-in data: render phantom smears, audit them, train, evaluate, report.

Needs no download; shows on cells whose truth is known what a user does with cells of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .audit import audit
from .audit_page import write_audit
from .errors import RunError
from .experiments import run_experiment
from .manifest import write_manifest
from .phantom import write_cells
from .recipe import load_recipe
from .train import Event

CELLS_PER_CLASS = 120
SUBJECTS = 15


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
    return (
        f"{cells.height:,} phantom cells of {SUBJECTS} subjects: {out / 'cells.parquet'}",
        f"audit before training: {audit_page}",
        *outcome.lines,
    )
