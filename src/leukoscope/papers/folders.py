"""The folder of a data set as cells to reproduce a paper on; nothing damaged or missing goes unsaid."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ..datasets import Index
from ..errors import DatasetError


def whole_cells(index: Index, data: Path, *, skip_damaged: bool) -> tuple[pl.DataFrame, list[str]]:
    """The manifest of an indexed folder, and remarks on what it lacks. DatasetError where it holds damaged files,
    naming the first, unless they may be left out."""
    if index.damaged and not skip_damaged:
        path, reason = index.damaged[0]
        raise DatasetError(f"{path}: {reason} ({len(index.damaged)} damaged in {data})",
                           "mend the files, or leave them out with --skip-damaged")
    remarks = [f"Damaged and left out: {path} ({reason})." for path, reason in index.damaged]
    return index.manifest, remarks + ([f"Not there: {'; '.join(index.missing)}."] if index.missing else [])
