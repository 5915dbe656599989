"""`leukoscope optics`: export learned optics, or try them on an image. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import check_free, check_run
from . import console
from .options import Fold, Json, OutFolder, Overwrite, RunFolder


def export(
    run: RunFolder,
    out: OutFolder,
    focal_length: Annotated[float, typer.Option(help="Focal length of the objective, in mm.")] = 4.5,
    numerical_aperture: Annotated[float | None, typer.Option(
        help="Numerical aperture of the objective, if it is not that of the recipe.")] = None,
    fold: Fold = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write what a workshop needs to build the learned optics.

    Lamp currents, the pupil mask in mm, point spread functions, and a sheet of one page.
    """
    check_run(run, "optics export")
    check_free(out, ("optics.json", "illumination.csv", "pupil.csv", "pupil.png", "psf.tif", "sheet.pdf"),
               overwrite=overwrite)
    from ..commands.optics import export_optics

    lines, facts = export_optics(run, out, focal_length=focal_length, numerical_aperture=numerical_aperture, fold=fold)
    console.emit(facts) if as_json else console.show_lines(lines)


def simulate(
    run: RunFolder,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image file of any size, or a cell_id of the run.")],
    out: OutFolder = Path("simulated"),
    fold: Fold = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show what the learned microscope would record of an image."""
    check_run(run, "optics simulate")
    files = ("recorded.png", "recorded.tif", "steps.png")
    check_free(out, files, overwrite=overwrite)
    from ..commands.optics import simulate as simulate_image

    lines = simulate_image(run, image, out, fold=fold)
    console.emit({"files": [str(out / name) for name in files]}) if as_json else console.show_lines(lines)
