"""`leukoscope slide`: what a slide file is. Parses, calls, prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import Json, Overwrite


def info(
    slide: Annotated[Path, typer.Argument(metavar="SLIDE", help="A slide: a file, or a folder of DICOM files.")],
    thumbnail: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture of the whole slide.")] = None,
    label: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Write the picture of the label, which may show a patient's name.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Say what a slide file is: size, levels, scale, objective, maker.

    The label is left out unless it is asked for.
    """
    from ..commands.slide import slide_info  # late: help needs no library

    described = slide_info(slide, thumbnail=thumbnail, label=label, overwrite=overwrite)
    console.emit(asdict(described)) if as_json else console.show_lines(described.lines())
