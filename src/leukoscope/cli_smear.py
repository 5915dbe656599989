"""`leukoscope smear`: photographs of a smear to a count. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: leukoscope smear fields/ -o smear/ --bundle wbc-bundle")(smear)


def smear(
    inputs: Annotated[list[str], typer.Argument(metavar="FIELD|DIR...", help="Photographs of one smear, or folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the page, tables and pictures.")],
    bundle: Annotated[Path | None, typer.Option(help="A bundle of leukoscope export, which types the cells.")] = None,
    micrometres: Annotated[float | None, typer.Option(help="Side of a pixel of the fields. Without it, the red cells "
                                                           "tell.")] = None,
    subject: Annotated[str, typer.Option(help="Whose smear it is; stands in the tables and on the page.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Find, outline and measure every leukocyte of a smear's fields; type and count them, where a bundle is given."""
    from .experiments_smear import smear_fields

    with console.progress("fields", quiet=as_json) as on_progress:
        lines, summary = smear_fields(inputs, out, bundle=bundle, micrometres=micrometres, subject=subject,
                                      overwrite=overwrite, on_progress=on_progress)
    console.emit(summary) if as_json else console.show_lines(lines)
