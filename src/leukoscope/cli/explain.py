"""`leukoscope explain`: which pixels decided. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: leukoscope explain runs/wbc BA_100102.jpg -o explained/")(explain)


def explain(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    cells: Annotated[list[str], typer.Argument(metavar="CELL...", help="cell_ids of the run, or image files.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the sheet and the maps.")],
    fold: Annotated[int | None, typer.Option(help="Whose network. Without it, of the run's cells the fold that tested "
                                                  "them, else the first.")] = None,
    target: Annotated[str | None, typer.Option("--class", help="The class to explain. Without it, each cell's "
                                                               "answer.")] = None,
) -> None:
    """Show which pixels of cells speak for the answer, by Grad-CAM and by covering them place by place."""
    from ..commands.explain import explain_cells

    with console.progress("explaining") as on_progress:
        lines = explain_cells(run, cells, out, fold=fold, target=target, on_progress=on_progress)
    console.show_lines(lines)
