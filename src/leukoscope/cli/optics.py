"""`leukoscope optics`: take learned optics away, or try them on an image. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console

app = typer.Typer(no_args_is_help=True, help="Learned optics: export, simulate.", rich_markup_mode=None)

RunFolder = Annotated[Path, typer.Argument(help="A run folder whose recipe has a microscope.")]
Fold = Annotated[int, typer.Option(help="Whose optics.")]


@app.command(epilog="Example: leukoscope optics export runs/learned-4 -o optics/ --focal-length 4.5")
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")],
    focal_length: Annotated[float, typer.Option(help="Of the objective, in mm.")] = 4.5,
    numerical_aperture: Annotated[float | None, typer.Option(help="Of the objective, if not the recipe's.")] = None,
    fold: Fold = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Write lamp currents, the pupil mask in mm, point spread functions and a sheet of one page."""
    from ..commands.optics import export_optics

    lines, facts = export_optics(run, out, focal_length=focal_length, numerical_aperture=numerical_aperture, fold=fold)
    console.emit(facts) if as_json else console.show_lines(lines)


@app.command(epilog="Example: leukoscope optics simulate runs/learned-4 BA_100102.jpg -o simulated/")
def simulate(
    run: RunFolder,
    image: Annotated[str, typer.Argument(help="An image file, or a cell_id of the run.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the pictures.")] = Path("simulated"),
    fold: Fold = 0,
) -> None:
    """Show what this microscope would record of an image, of any size."""
    from ..commands.optics import simulate as simulate_image

    console.show_lines(simulate_image(run, image, out, fold=fold))
