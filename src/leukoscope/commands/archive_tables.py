"""The tables of an archive of slides: cells in a Parquet file for each slide, in a folder for each subject; and joined.

`cells/subject=NAME/SLIDE.parquet` is written by whoever finishes a slide. All of them are one table, which is read as
needed (`scan_archive`), so that memory does not grow with the archive.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

import polars as pl

from ..smear.summary import SubjectsSummary
from ..tables import scan
from .smear_folder import PARTITIONS
from .smear_subjects import write_subjects

_LONGEST = 200  # characters of a folder's name, of the 255 bytes that file systems take


def partition_of(archive: Path, subject: str, slide: str) -> str:
    """Where the cells of a slide go. The name of the folder is the subject's, with % and numbers for characters that
    paths or Hive partitions do not take; the end of a long one is replaced by its hash."""
    name = quote(subject, safe=" ")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST - 17]}-{hashlib.sha256(subject.encode(errors='surrogatepass')).hexdigest()[:16]}"
    return str((archive / PARTITIONS / f"subject={name}" / f"{slide}.parquet").absolute())


def scan_archive(out: Path) -> pl.LazyFrame:
    """The cells of all slides of an archive as one table, by subject, then slide. Only what is asked for is read."""
    return scan(sorted((out / PARTITIONS).glob("subject=*/*.parquet")))


def write_archive(summary: SubjectsSummary, out: Path) -> SubjectsSummary:
    """Joined tables, one slide at a time, and the page that leads to the slides."""
    cells = scan([out / folder / "cells.parquet" for folder in summary.smears])
    return write_subjects(summary, out, cells)
