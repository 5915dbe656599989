"""The built-in demonstration: from a phantom smear to a count and its page and, on request, a whole training.

Needs no download; shows what a user does with their own cells, on cells whose truth is known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ..manifest import write_manifest
from ..phantom.files import write_cells, write_smears
from ..progress import OnProgress
from ..report.smear import summary_lines
from ..text import plural
from .inputs import check_empty
from .smear import smear_fields

if TYPE_CHECKING:
    from ..train.epochs import Event

FIELDS = 4
FIELD = (1600, 1200)
"""Width and height of a field, px: 160 x 120 um."""
IN_FIELD = {"neutrophil": 12, "lymphocyte": 6, "monocyte": 2, "eosinophil": 1, "ig": 1, "erythroblast": 1}
CELLS_PER_CLASS = 120
SUBJECTS = 15


def run_demo(out: Path, *, seed: int = 0, on_progress: OnProgress | None = None) -> tuple[str, ...]:
    """Render fields of a smear below `out`; find, type and count their cells with the built-in model.

    Returns lines for a terminal. Raises RunError if `out` is not empty: a demonstration must not overwrite work.
    """
    check_empty(out)
    truth = write_smears(out / "fields", subjects=1, fields_per_subject=FIELDS, seed=seed, types=IN_FIELD, size=FIELD)
    images = truth["image"].unique(maintain_order=True).to_list()
    summary = smear_fields(images, out / "count", subject=truth["subject"][0], on_progress=on_progress)
    true = truth.filter(pl.col("label") != "erythroblast").height
    return (f"{plural(len(images), 'phantom field')} with {plural(true, 'true leukocyte')}: {out / 'fields'}",
            *summary_lines(summary, out / "count"))


def run_training_demo(out: Path, *, seed: int = 0, on_event: Callable[[Event], None] | None = None) -> tuple[str, ...]:
    """Render cells of several subjects below `out`, audit them, train, evaluate and report; then `run_demo`.

    Raises RunError as `run_demo` does.
    """
    from ..auditing.audit import audit
    from ..recipes.recipe import load_recipe
    from ..report.audit import write_audit
    from .train import run_experiment

    check_empty(out)
    recipe = load_recipe("demo", settings=[f"seed={seed}"])
    cells = write_cells(out / "smears", CELLS_PER_CLASS, labels=recipe.data.classes, subjects=SUBJECTS, seed=seed)
    write_manifest(cells, out / "cells.parquet")
    audit_page = write_audit(audit(cells, seed=seed), out / "audit")
    outcome = run_experiment(recipe, cells, out / "run", on_event=on_event)
    return (
        f"{cells.height:,} phantom cells of {SUBJECTS} subjects: {out / 'cells.parquet'}",
        f"audit before training: {audit_page}",
        *outcome.lines,
        *run_demo(out / "smear", seed=seed),
    )
