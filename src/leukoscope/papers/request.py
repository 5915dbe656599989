"""What a paper is to be reproduced with: the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import LeukoscopeError
from ..experiments import OnEvent
from ..recipe import Protocol


@dataclass(frozen=True)
class Request:
    """data: a folder in the layout of a data set, or a manifest; out: the folder for all runs; settings: as `--set`.

    transfer: a small data set to transfer to; repeats: trainings of each network; each None where not asked for. only:
    the variants to train, all where none is named.
    """

    data: Path
    out: Path
    scale: str
    protocols: Sequence[Protocol]
    settings: Sequence[str] = ()
    transfer: Path | None = None
    repeats: int | None = None
    only: Sequence[str] = ()
    resume: bool = False
    skip_damaged: bool = False
    on_event: OnEvent | None = None

    def refuse_transfer(self, paper: str) -> None:
        """LeukoscopeError where a set to transfer to is given to a paper that transfers to none."""
        if self.transfer is not None:
            raise LeukoscopeError(f"--transfer: {paper} transfers to no other set", "leave the option out")
