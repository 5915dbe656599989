"""The published systems, run as their authors did, and without leaks: one module each, imported on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import LeukoscopeError

if TYPE_CHECKING:
    from ..commands.outcome import Outcome
    from ..recipes.recipe import Protocol
    from ..train.epochs import OnEvent
    from .request import Request

PAPERS = ("almotairi2020", "dimuro2020", "noshad2021", "shalini2022")
"""Each is the name of a module."""
REPEATING = ("dimuro2020", "shalini2022")
"""Papers whose runs are variants of one recipe, and can be repeated from other weights."""


def check_paper(paper: str) -> None:
    """Raise LeukoscopeError, which gives the nearest name, for a paper that is not one of PAPERS."""
    if paper not in PAPERS:
        near = get_close_matches(paper, PAPERS, n=1)
        raise LeukoscopeError(f"{paper}: no such paper", f"choose {' or '.join(near or PAPERS)}")


def reproduce_paper(
    paper: str,
    data: Path,
    out: Path,
    *,
    scale: Literal["small", "full"] = "full",
    protocol: Literal["clean", "paper", "both"] = "clean",
    transfer: Path | None = None,
    settings: Sequence[str] = (),
    repeats: int | None = None,
    only: Sequence[str] = (),
    resume: bool = False,
    skip_damaged: bool = False,
    on_event: OnEvent | None = None,
) -> Outcome:
    """Run the experiments of one of PAPERS on a data folder or manifest; the lines of the outcome are its tables beside
    ours. Raises LeukoscopeError for another paper, and for options that it does not have."""
    check_paper(paper)
    if repeats is not None and paper not in REPEATING:
        raise LeukoscopeError(f"--repeats: {paper} trains each network once", "leave the option out")
    if only and paper not in REPEATING:
        raise LeukoscopeError(f"--only: the recipes of {paper} are no variants of one recipe",
                              "train one of them with leukoscope train")
    from .request import Request

    protocols: list[Protocol] = ["clean", "paper"] if protocol == "both" else [protocol]
    reproduce: Callable[[Request], Outcome] = import_module(f".{paper}", __name__).reproduce
    return reproduce(Request(data, out, scale, protocols, settings, transfer, repeats, only, resume, skip_damaged,
                             on_event))
