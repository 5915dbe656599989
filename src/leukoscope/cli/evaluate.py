"""`leukoscope evaluate`. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console

SkipDamaged = Annotated[bool, typer.Option("--skip-damaged", help="Leave damaged images out, and list them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: leukoscope evaluate wbc-bundle --data other.parquet -o wbc-on-other --shift")(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run folder, or a bundle.")],
    data: Annotated[Path, typer.Option("--data", help="The manifest: cells.parquet or cells.csv.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")],
    within: Annotated[bool, typer.Option("--within-labels", help="Only classes that stand in the labels are answers; "
                                                                 "else one outside is wrong.")] = False,
    shift: Annotated[bool, typer.Option("--shift", help="Measure robustness too: blur, stain, light, noise and other "
                                                        "corruptions at five strengths.")] = False,
    corrupted_cells: Annotated[int | None, typer.Option(
        "--shift-cells", min=2, help="On so many cells, drawn by class; 400 unless told.")] = None,
    micrometres: Annotated[float | None, typer.Option(min=0.001, max=10, help="Side of a pixel of these cells, for "
                                                                              "--shift, if known.")] = None,
    skip_damaged: SkipDamaged = False,
    as_json: Json = False,
) -> None:
    """Test a run or a bundle on cells that it has never seen; refuses cells that were in its training."""
    from ..commands.evaluate import EvaluateOptions, evaluate_model
    from ..evaluate.robustness import CELLS
    from ..manifest import read_manifest

    for name, value in (("--shift-cells", corrupted_cells), ("--micrometres", micrometres)):
        if value is not None and not shift:
            raise typer.BadParameter(f"{name} is for --shift alone: add it, or leave {name} out")
    wanted = EvaluateOptions(skip_damaged, within, shift, corrupted_cells or CELLS, micrometres)
    cells = read_manifest(data)
    with console.progress("predicting", quiet=as_json) as on_progress:
        outcome = evaluate_model(model, cells, out, wanted, on_progress=on_progress)
    console.emit(outcome.to_dict()) if as_json else console.show_lines(outcome.lines)
