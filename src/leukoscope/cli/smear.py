"""`leukoscope smear`: photographs of a smear to a count. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import check_bundle, check_images
from . import console
from .options import Json, Overwrite, Resume


def smear(
    inputs: Annotated[list[str], typer.Argument(
        metavar="FIELD|DIR...", help="Photographs of one smear, folders, or patterns.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the page, tables and pictures.")],
    bundle: Annotated[str | None, typer.Option(
        help="The bundle of leukoscope export that types the cells. Default: the built-in model.")] = None,
    no_types: Annotated[bool, typer.Option("--no-types", help="Find and measure cells only.")] = False,
    micrometres: Annotated[float | None, typer.Option(
        help="Micrometres per pixel of the fields. Default: as the files state, else by the red cells.")] = None,
    subject: Annotated[str, typer.Option(help="Whose smear it is, for the tables and the page.")] = "",
    by_folder: Annotated[bool, typer.Option(
        "--by-folder", help="Each folder, or each of its sub-folders if it has any, is one subject with its own page.",
    )] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find, type and count the leukocytes of a smear.

    Outlines and measures each, and writes a page, tables and pictures.
    """
    check_images(inputs)
    if bundle is not None:
        check_bundle(bundle)
    from ..commands.smear import smear_fields  # late: a mistyped path is refused before the libraries load
    from ..commands.smear_subjects import smear_subjects
    from ..report.smear import summary_lines

    command = smear_subjects if by_folder else smear_fields
    with console.progress("fields", quiet=as_json) as on_progress:
        summary = command(inputs, out, bundle=bundle, types=not no_types, micrometres=micrometres, subject=subject,
                          overwrite=overwrite, resume=resume, on_progress=on_progress)
    console.emit(summary.to_dict()) if as_json else console.show_lines(summary_lines(summary, out))
