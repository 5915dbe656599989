"""`leukoscope agreement`: a machine against a reference, or two observers. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import check_exists, check_free
from . import console
from .options import Json, OutFolder, Overwrite


def agreement(
    machine: Annotated[Path, typer.Argument(metavar="MACHINE", help=(
        "The machine's counts: a table, or a folder that leukoscope smear wrote."))],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The reference counts of the same smears.")],
    out: OutFolder,
    merge: Annotated[list[str] | None, typer.Option("--merge", metavar="OLD=NEW", help=(
        "Count a type as another one: --merge band=neutrophil. Can be repeated."))] = None,
    leave_out: Annotated[list[str] | None, typer.Option("--leave-out", metavar="TYPE", help=(
        "Do not compare this type. Can be repeated."))] = None,
    abnormal: Annotated[list[str] | None, typer.Option("--abnormal", metavar="TYPE=PERCENT", help=(
        "A smear is abnormal from this share on (blast=1), or outside a range (neutrophil=40-75). Can be repeated. "
        "Without it: blasts, immature cells or nucleated red cells from 1 %."))] = None,
    order: Annotated[str, typer.Option(metavar="TYPE,TYPE,...", help=(
        "For two observers: the types in their order, for weighted kappas."))] = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compare a machine's counts with counts by hand.

    Counts of the same smears, or two observers' types of the same cells. Tables have one row for each smear and one
    column for each type, or one row for each cell. Writes bias, limits of agreement, regressions, Rümke's limits, and
    sensitivity for abnormal smears, each with its interval.
    """
    for path in (machine, reference):
        check_exists(path, "name a table of counts")
    from ..commands.agreement import FILES, AgreementOptions, compare_agreement, limit_of, pair_of

    check_free(out, FILES, overwrite=overwrite, kind="a comparison of counts")
    options = AgreementOptions(dict(map(pair_of, merge or [])), leave_out or [], list(map(limit_of, abnormal or [])),
                               [name.strip() for name in order.split(",") if name.strip()])
    lines, result = compare_agreement(machine, reference, out, options)
    console.emit(result) if as_json else console.show_lines(lines)
