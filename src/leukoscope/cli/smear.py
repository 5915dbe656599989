"""`leukoscope smear`: photographs of a smear, or slides, to a count. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..commands.inputs import check_bundle, check_fields, check_images, check_smear_options
from ..commands.slide_list import check_lists
from ..commands.smear_folder import check_out
from ..errors import LeukoscopeError
from . import console
from .options import Json, Overwrite, Resume

if TYPE_CHECKING:
    from ..commands.slide_options import SlideOptions
    from ..smear.summary import SmearSummary, SubjectsSummary


def smear(
    inputs: Annotated[list[str], typer.Argument(
        metavar="FIELD|SLIDE|DIR...", help="Photographs of one smear, or slides: files, folders, patterns; for slides "
                                           "a list (.txt) or a table (.csv) too.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the page, tables and pictures.")],
    bundle: Annotated[str | None, typer.Option(
        help="The bundle of leukoscope export that types the cells. Default: the built-in model.")] = None,
    no_types: Annotated[bool, typer.Option("--no-types", help="Find and measure cells only.")] = False,
    micrometres: Annotated[float | None, typer.Option(
        help="Micrometres per pixel of the fields. Default: as the files state, else by the red cells.")] = None,
    subject: Annotated[str, typer.Option(help="The subject, for the tables and the page.")] = "",
    by_folder: Annotated[bool, typer.Option(
        "--by-folder", help="Each folder, or each of its sub-folders if it has any, is one subject with its own page.",
    )] = False,
    target: Annotated[int | None, typer.Option(
        help="Slides: leukocytes to count along a battlement path. Default: 200.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Slides: count every leukocyte of the monolayer.")] = False,
    workers: Annotated[int | None, typer.Option(help="Slides: number of processes. Default: one per core.")] = None,
    engine: Annotated[str | None, typer.Option(
        metavar="local|ray", help="Slides: on this machine, or on a Ray cluster. Default: local.")] = None,
    address: Annotated[str | None, typer.Option(
        metavar="HOST:PORT", help="The Ray cluster. Default: the one that runs on this machine.")] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find, type and count the leukocytes of a smear.

    Outlines and measures each, and writes a page, tables and pictures.
    """
    if bundle is not None:
        check_bundle(bundle)
    check_smear_options(bundle, not no_types, micrometres)
    check_images(inputs)
    check_lists(inputs)
    check_out(inputs, out, resume=resume, overwrite=overwrite)
    if not by_folder:
        check_fields(inputs)
    from ..commands.slide_inputs import are_slides, check_named_slides  # late: a mistyped path needs no library

    if are_slides(inputs):
        from ..commands.slide_options import LOCAL, TARGET, SlideOptions

        if by_folder:
            raise LeukoscopeError("--by-folder: each slide is a smear already", "name subjects in a table with the "
                                  "columns slide and subject")
        if every and target is not None:
            raise LeukoscopeError("--all and --target: one counts every leukocyte, the other stops at a number",
                                  "use one of the two")
        wanted = None if every else TARGET if target is None else target
        options = SlideOptions(bundle, not no_types, micrometres, wanted, workers, engine or LOCAL, address)
        _slides(inputs, out, options, subject, resume=resume, overwrite=overwrite, as_json=as_json)
        return
    check_named_slides(inputs)
    if target is not None or every or workers is not None or engine is not None or address is not None:
        raise LeukoscopeError("--target, --all, --workers, --engine and --address are for slides",
                              "leave them out for photographs")
    from ..commands.smear import smear_fields
    from ..commands.smear_subjects import smear_subjects

    command = smear_subjects if by_folder else smear_fields
    with console.progress("fields", quiet=as_json) as on_progress:
        summary = command(inputs, out, bundle=bundle, types=not no_types, micrometres=micrometres, subject=subject,
                          overwrite=overwrite, resume=resume, on_progress=on_progress)
    _show(summary, out, as_json)


def _slides(inputs: list[str], out: Path, options: SlideOptions, subject: str, *, resume: bool, overwrite: bool,
            as_json: bool) -> None:
    """Count one slide, or an archive of them."""
    from ..commands.slide_inputs import is_archive, one_slide, slides_of
    from ..commands.smear_slides import smear_archive, smear_slide

    archive = is_archive(inputs)
    if archive and subject:
        raise LeukoscopeError("--subject and several slides: each is one smear", "name subjects in a table with the "
                              "columns slide and subject")
    with console.progress("parts of slides", quiet=as_json) as on_progress:
        if archive:
            summary = smear_archive(slides_of(inputs, out), out, options, overwrite=overwrite, resume=resume,
                                    on_progress=on_progress, on_note=console.note)
        else:
            summary = smear_slide(one_slide(inputs[0], subject), out, options, overwrite=overwrite, resume=resume,
                                  on_progress=on_progress, on_note=console.note)
    _show(summary, out, as_json)


def _show(summary: SmearSummary | SubjectsSummary, out: Path, as_json: bool) -> None:
    from ..report.smear import summary_lines

    console.emit(summary.to_dict()) if as_json else console.show_lines(summary_lines(summary, out))
