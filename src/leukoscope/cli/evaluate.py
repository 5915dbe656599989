"""`leukoscope evaluate` and `leukoscope compare`: how good models are, on cells of elsewhere and against each other.
Parses, calls, prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import TABLES, check_exists, check_free, check_manifest, check_model, check_run, kind_of
from ..errors import LeukoscopeError, require
from . import console
from .options import Json, OutFolder, Overwrite, SkipDamaged

Columns = Annotated[list[str] | None, typer.Option("--column", metavar="NAME=COLUMN", help=(
    "For tables: what a column is called there: label, cell_id, subject, group, fold or predicted. Can be repeated."))]
Positive = Annotated[str, typer.Option(
    "--positive", metavar="CLASS", help="For tables: the positive class, such as blast.")]


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=(
        "A run, a bundle, the word packaged for the built-in model; or a table of any model's predictions."))],
    out: OutFolder,
    data: Annotated[Path | None, typer.Option("--data", help=(
        "The table of cells: cells.parquet or cells.csv. Not for a table of predictions."))] = None,
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
    column: Columns = None,
    positive: Positive = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Test a model on labelled cells from elsewhere.

    Cells that the model was trained on are refused; --leave-out-trained leaves them out. Writes a report with
    intervals. A table of predictions (one row for each cell: label, p_<class>, subject) needs no model and no images.
    """
    for name, value in (("--shift-cells", corrupted_cells), ("--micrometres", micrometres)):
        if value is not None and not shift:
            raise LeukoscopeError(f"{name} is for --shift only", f"add --shift, or leave out {name}")
    given = {"--data": data, "--within-labels": within, "--shift": shift, "--skip-damaged": skip_damaged,
             "--leave-out-trained": leave_out_trained}
    if _is_table(model):
        _only_for(f"{model}: a table of predictions", given, "it has the labels and needs no images")
        _evaluate_table(model, out, column, positive, overwrite, as_json)
        return
    _only_for(f"{model}: a model", {"--column": column, "--positive": positive}, "it is for tables of predictions")
    check_model(model)
    if data is None:
        raise LeukoscopeError("--data is missing", "name the table of labelled cells, such as --data cells.parquet")
    check_manifest(data)
    check_free(out, EVALUATION, overwrite=overwrite, kind="an evaluation")
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


EVALUATION = ("evaluation.json", "predictions.parquet")


def _evaluate_table(path: Path, out: Path, column: list[str] | None, positive: str, overwrite: bool,
                    as_json: bool) -> None:
    check_exists(path, "name a table of predictions")
    check_free(out, EVALUATION, overwrite=overwrite, kind="an evaluation")
    from ..commands.evaluate_table import evaluate_table

    outcome = evaluate_table(path, out, columns=_columns(column), positive=positive)
    console.emit(outcome.to_dict()) if as_json else console.show_lines(outcome.lines)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in (*TABLES, ".tsv") and not path.is_dir()


def _only_for(what: str, given: Mapping[str, object], why: str) -> None:
    """Raise LeukoscopeError for an option that was given and belongs to something else."""
    name = next((name for name, value in given.items() if value), "")
    if name:
        raise LeukoscopeError(f"{what}, which {name} is not for", f"leave it out: {why}")


def _columns(given: list[str] | None) -> dict[str, str]:
    """`label=diagnosis` and more. Raises LeukoscopeError."""
    columns = {}
    for text in given or []:
        name, _, column = text.partition("=")
        if not name or not column:
            raise LeukoscopeError(f"--column {text}: expected NAME=COLUMN", "for example --column label=diagnosis")
        columns[name.strip()] = column.strip()
    return columns


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help=(
        "Runs, or evaluations of runs, on the same cells; or tables of any models' predictions of the same cells."))],
    out: OutFolder,
    rounds: Annotated[int, typer.Option(help="Rounds of the bootstrap by subject.")] = 2000,
    timed: Annotated[bool, typer.Option("--time/--no-time", help="Measure prediction times on this machine.")] = True,
    column: Columns = None,
    positive: Positive = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compare models: which differences are real, at what cost.

    Accuracies with intervals, tests of the differences; of runs also parameters, operations and times.
    """
    for run in filter(_is_table, runs):
        check_exists(run, "name tables of predictions")
    tables = [path for path in runs if _is_table(path) or (kind_of(path) == "an evaluation" and _of_table(path))]
    if tables and len(tables) < len(runs):
        other = next(path for path in runs if path not in tables)
        raise LeukoscopeError(f"{tables[0]} is a table of predictions, {other} is not",
                              "compare tables with tables: a run's is its predictions.parquet")
    if not tables:
        _only_for("runs", {"--column": column, "--positive": positive}, "it is for tables of predictions")
        for run in runs:
            check_run(run, "compare", evaluations=True)
    check_free(out, ("compare.json", "compare.html", "pairs.csv"), overwrite=overwrite, kind="a comparison")
    if tables:
        from ..commands.compare_tables import compare_tables

        lines, result = compare_tables(runs, out, columns=_columns(column), positive=positive, rounds=rounds)
    else:
        require("torch")
        from ..commands.compare import compare_runs

        lines, result = compare_runs(runs, out, rounds=rounds, timed=timed)
    console.emit(result) if as_json else console.show_lines(lines)


def _of_table(path: Path) -> bool:
    """Whether an evaluation is of a table of predictions."""
    from ..files import read_json

    facts = read_json(path / "evaluation.json")
    return isinstance(facts, dict) and bool(facts.get("table"))
