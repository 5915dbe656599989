"""`leukoscope smear`: photographs of a smear to a count. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: leukoscope smear fields/ -o smear/")(smear)


def smear(
    inputs: Annotated[list[str], typer.Argument(metavar="FIELD|DIR...", help="Photographs of one smear, or folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the page, tables and pictures.")],
    bundle: Annotated[str | None, typer.Option(help="A bundle of leukoscope export that types the cells. Without it, "
                                                    "the model that comes with the package.")] = None,
    no_types: Annotated[bool, typer.Option("--no-types", help="Find and measure cells only.")] = False,
    micrometres: Annotated[float | None, typer.Option(help="Side of a pixel of the fields. Without it, the red cells "
                                                           "tell.")] = None,
    subject: Annotated[str, typer.Option(help="Whose smear it is; stands in the tables and on the page.")] = "",
    by_folder: Annotated[bool, typer.Option("--by-folder", help="Each folder, or each of its sub-folders where it has "
                                                                "some, is one subject; a page each.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a call that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Find, outline, measure, type and count every leukocyte of a smear's fields."""
    from ..commands.smear import smear_fields
    from ..commands.smear_subjects import smear_subjects

    with console.progress("fields", quiet=as_json) as on_progress:
        if by_folder:
            lines, summary = smear_subjects(inputs, out, bundle=bundle, types=not no_types, micrometres=micrometres,
                                            subject=subject, overwrite=overwrite, resume=resume,
                                            on_progress=on_progress)
        else:
            lines, summary = smear_fields(inputs, out, bundle=bundle, types=not no_types, micrometres=micrometres,
                                          subject=subject, overwrite=overwrite, resume=resume,
                                          on_progress=on_progress)
    console.emit(summary) if as_json else console.show_lines(lines)
