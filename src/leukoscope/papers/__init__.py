"""The published systems, run as their authors did, and without leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ..commands.outcome import Outcome
from ..errors import LeukoscopeError
from ..recipes.recipe import Protocol
from ..train.epochs import OnEvent
from . import almotairi2020, dimuro2020, noshad2021, shalini2022
from .request import Request

PAPERS: dict[str, Callable[[Request], Outcome]] = {
    "almotairi2020": almotairi2020.reproduce, "dimuro2020": dimuro2020.reproduce,
    "noshad2021": noshad2021.reproduce, "shalini2022": shalini2022.reproduce}
REPEATING = ("dimuro2020", "shalini2022")
"""Papers whose runs are variants of one recipe, and can be repeated from other weights."""


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
    ours."""
    if repeats is not None and paper not in REPEATING:
        raise LeukoscopeError(f"--repeats: {paper} trains each network once", "leave the option out")
    if only and paper not in REPEATING:
        raise LeukoscopeError(f"--only: the recipes of {paper} are no variants of one recipe",
                              "train one of them with leukoscope train")
    protocols: list[Protocol] = ["clean", "paper"] if protocol == "both" else [protocol]
    return PAPERS[paper](Request(data, out, scale, protocols, settings, transfer, repeats, only, resume, skip_damaged,
                                 on_event))
