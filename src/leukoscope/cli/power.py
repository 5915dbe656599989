"""`leukoscope power`: how many subjects would settle a difference. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import check_exists, check_result, kind_of
from ..errors import LeukoscopeError
from . import console
from .options import Json


def power(
    comparison: Annotated[Path | None, typer.Argument(metavar="[COMPARISON]", help=(
        "A folder that leukoscope compare wrote, of models tested on several subjects."))] = None,
    difference: Annotated[float | None, typer.Option(help="Without a comparison: the difference in points.")] = None,
    low: Annotated[float | None, typer.Option(help="The lower end of its 95 % interval, in points.")] = None,
    high: Annotated[float | None, typer.Option(help="The upper end of its 95 % interval, in points.")] = None,
    subjects: Annotated[int | None, typer.Option(min=2, help="The number of subjects behind the interval.")] = None,
    as_json: Json = False,
) -> None:
    """Say how many subjects would settle a difference.

    From a comparison, or from a difference with its interval and the number of subjects behind it.
    """
    given = (difference, low, high, subjects)
    if (comparison is None) == all(value is None for value in given):
        raise LeukoscopeError("power: give a comparison, or a difference with its interval",
                              "for example: leukoscope power --difference 7.7 --low -1.2 --high 16.6 --subjects 14")
    from ..commands.power import plan_for, plan_lines, plans_of
    from ..stats.estimate import Estimate

    if comparison is not None:
        if kind_of(comparison):
            check_result(comparison, "power", ("a comparison",))
        check_exists(comparison / "compare.json", "name a folder that leukoscope compare wrote")
        plans = plans_of(comparison)
    else:
        if difference is None or low is None or high is None or subjects is None:
            raise LeukoscopeError("power: --difference, --low, --high and --subjects belong together", "give all four")
        if not low <= difference <= high:
            raise LeukoscopeError(f"power: {difference:g} is not between {low:g} and {high:g}", "correct the interval")
        plans = [plan_for("difference", Estimate(difference / 100, low / 100, high / 100, ""), subjects)]
    console.emit([plan.to_dict() for plan in plans]) if as_json else console.show_lines(plan_lines(plans))
