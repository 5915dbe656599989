"""The folder of a data set as cells to reproduce a paper on; nothing damaged or missing goes unsaid."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ..datasets import get_dataset
from ..errors import DatasetError


def read_folder(data: Path, dataset: str, view: str = "", *, skip_damaged: bool) -> tuple[pl.DataFrame, list[str]]:
    """The manifest, and remarks on what the folder lacks. DatasetError where it is not of the data set; where it holds
    damaged files, naming the first, unless they may be left out."""
    found = get_dataset(dataset)
    index = found.index(data, view) if view else found.index(data)
    if index.damaged and not skip_damaged:
        path, reason = index.damaged[0]
        raise DatasetError(f"{path}: {reason} ({len(index.damaged)} damaged in {data})",
                           "mend the files, or leave them out with --skip-damaged")
    remarks = [f"Damaged and left out: {path} ({reason})." for path, reason in index.damaged]
    return index.manifest, remarks + ([f"Not there: {'; '.join(index.missing)}."] if index.missing else [])
