"""`leukoscope review`: the workbench. Parses, calls, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LeukoscopeError
from . import console
from .options import Json

VERIFY = "verify"


def review(
    folders: Annotated[list[str], typer.Argument(
        metavar="[verify] DIR...", help="Folders that leukoscope smear wrote. With the word verify before them, their "
                                        "records of decisions are proved instead.")],
    port: Annotated[int | None, typer.Option(
        min=1, max=65535, help="Port of the page. Default: 8765, or the next that is free.")] = None,
    host: Annotated[str, typer.Option(help="Address of the page; for now only that of this computer.")] = "127.0.0.1",
    name: Annotated[str, typer.Option(help="Who reviews. Default: your login name; can be changed in the page.")] = "",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    as_json: Json = False,
) -> None:
    """Review a counted smear: look, correct, sign, export.

    Opens a page in the browser, which only this computer can reach.
    """
    if folders[0] == VERIFY:
        _verify([Path(folder) for folder in folders[1:]], as_json)
        return
    from ..review.serve import serve  # late: help needs none of it

    def on_start(address: str) -> None:
        if as_json:
            console.emit({"address": address})
        else:
            console.say(f"review: {address}")
            console.say("stop with Ctrl+C; every decision is stored as it is made")
        sys.stdout.flush()  # a program that waits for the address reads it now

    serve([Path(folder) for folder in folders], host=host, port=port, name=name, browser=not no_browser,
          on_start=on_start)


def _verify(folders: list[Path], as_json: bool) -> None:
    """Prove the records of some results; raise LeukoscopeError at the end where one is damaged."""
    from ..review.result import results_of
    from ..review.smear import verify
    from ..text import plural

    if not folders:
        raise LeukoscopeError("review verify: no folder is named", "name folders that leukoscope smear wrote")
    found = [verify(folder) for folder in results_of(folders)]
    if as_json:
        console.emit([one.to_dict() for one in found])
    for one in found if not as_json else ():
        if one.broken:
            continue
        late = f"; {plural(one.clock, 'event')} dated before the one it follows" if one.clock else ""
        chain = f"{plural(one.events, 'event')}, the chain holds, last {one.last}" if one.last else "no decision yet"
        console.say(f"{one.folder}: {one.state}; {chain}{late}")
    damaged = next((one for one in found if one.broken), None)
    if damaged is not None:
        raise LeukoscopeError(f"{damaged.folder}: the record of decisions is damaged: {damaged.broken}",
                              "restore review.sqlite from a copy")
