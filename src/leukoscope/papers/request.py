"""What a paper is to be reproduced with: the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..commands.train import OnEvent
from ..datasets.base import Index
from ..errors import DatasetError, LeukoscopeError, ManifestError
from ..recipes.recipe import Protocol
from ..recipes.sections import Data


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


def whole_cells(index: Index, data: Path, *, skip_damaged: bool) -> tuple[pl.DataFrame, list[str]]:
    """The manifest of an indexed folder, and remarks on what it lacks. DatasetError where it holds damaged files,
    naming the first, unless they may be left out."""
    if index.damaged and not skip_damaged:
        path, reason = index.damaged[0]
        raise DatasetError(f"{path}: {reason} ({len(index.damaged)} damaged in {data})",
                           "mend the files, or leave them out with --skip-damaged")
    remarks = [f"Damaged and left out: {path} ({reason})." for path, reason in index.damaged]
    return index.manifest, remarks + ([f"Not there: {'; '.join(index.missing)}."] if index.missing else [])


def two_classes(cells: pl.DataFrame, told: Data, paper: str) -> tuple[str, str]:
    """(negative, positive) of a manifest for a paper that tells two classes apart; `told` may name them. ManifestError
    where there are more, or which one is looked for is not said."""
    found = cells["label"].replace(told.merge).drop_nulls().unique().sort().to_list()
    classes = tuple(told.classes) or tuple(found)
    if len(classes) != 2:
        raise ManifestError(f"labels there: {', '.join(found) or 'none'}; {paper} tells two classes apart",
                            "choose two with --set 'data.classes=[\"...\", \"...\"]', or join labels with data.merge")
    positive = told.positive or ("leukemic" if "leukemic" in classes else "")
    if positive not in classes:
        raise ManifestError(f"which of {classes[0]} and {classes[1]} is looked for is not said",
                            f"name the positive class: --set data.positive={classes[1]}")
    return next(name for name in classes if name != positive), positive
