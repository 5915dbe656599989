"""`leukoscope evaluate` and `leukoscope compare`: how good models are, on cells of elsewhere and against each other.
Parses, calls, prints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import check_free, check_manifest, check_model, check_run
from ..errors import LeukoscopeError, require
from . import console
from .options import Data, Json, OutFolder, Overwrite, SkipDamaged


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run, a bundle, or the word packaged for the "
                                                                "built-in model.")],
    data: Data,
    out: OutFolder,
    within: Annotated[bool, typer.Option(
        "--within-labels", help="Allow only answers that occur among the labels of these cells. Without it, any other "
                                "answer is an error.")] = False,
    shift: Annotated[bool, typer.Option("--shift", help=(
        "Also measure robustness: blur, stain, light, noise and other changes at five strengths."))] = False,
    corrupted_cells: Annotated[int | None, typer.Option("--shift-cells", min=2, help=(
        "For --shift: the number of cells, drawn class by class. Without it, 400."))] = None,
    micrometres: Annotated[float | None, typer.Option(
        min=0.001, max=10, help="For --shift: width of a pixel of these cells in micrometres, if known.")] = None,
    skip_damaged: SkipDamaged = False,
    leave_out_trained: Annotated[bool, typer.Option("--leave-out-trained", help=(
        "Leave out cells that the model was trained on, and others of the same people."))] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Test a run or a bundle on labelled cells from elsewhere.

    Cells that the model was trained on are refused, unless they are to be left out. Writes a report with intervals.
    """
    for name, value in (("--shift-cells", corrupted_cells), ("--micrometres", micrometres)):
        if value is not None and not shift:
            raise LeukoscopeError(f"{name} is for --shift only", f"add --shift, or leave out {name}")
    check_model(model)
    check_manifest(data)
    check_free(out, ("evaluation.json", "predictions.parquet"), overwrite=overwrite, kind="an evaluation")
    if (model / "recipe.toml").is_file() and not (model / "bundle.json").is_file():
        require("torch")  # a run; bundles need none
    from ..manifest import read_manifest

    cells = read_manifest(data)
    from ..commands.evaluate import EvaluateOptions, evaluate_model
    from ..evaluation.robustness import CELLS

    options = EvaluateOptions(skip_damaged, within, shift, corrupted_cells or CELLS, micrometres, leave_out_trained)
    with console.progress("predicting", quiet=as_json) as on_progress:
        outcome = evaluate_model(model, cells, out, options, on_progress=on_progress)
    console.emit(outcome.to_dict()) if as_json else console.show_lines(outcome.lines)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or evaluations of runs, on the same "
                                                                      "cells.")],
    out: OutFolder,
    rounds: Annotated[int, typer.Option(help="Rounds of the bootstrap by subject.")] = 2000,
    timed: Annotated[bool, typer.Option("--time/--no-time", help="Measure prediction times on this machine.")] = True,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compare runs: which differences are real, at what cost.

    Accuracies with intervals, tests of the differences, parameters, operations and times.
    """
    for run in runs:
        check_run(run, "compare", evaluations=True)
    check_free(out, ("compare.json", "compare.html", "pairs.csv"), overwrite=overwrite, kind="a comparison")
    require("torch")
    from ..commands.compare import compare_runs

    lines, result = compare_runs(runs, out, rounds=rounds, timed=timed)
    console.emit(result) if as_json else console.show_lines(lines)
