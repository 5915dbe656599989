"""What the name of a file says: the endings of tables and slides, and what a counted smear is known by.

Imports no library, so that a wrong name is refused at once.
"""

from __future__ import annotations

import re
from pathlib import Path

from .errors import LeukoscopeError, ManifestError

TABLES = (".parquet", ".csv")
"""Tables of cells."""
PREDICTIONS = (*TABLES, ".jsonl")
"""Tables of predictions."""
SLIDE_LIST = ".txt"
"""A list of slides, one path a line."""
SCANNERS = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm")
"""Endings that only slides have."""
UNREAD_SLIDES = (".vsi", ".czi", ".lif", ".nd2", ".isyntax")
"""Endings of slides that nothing here reads."""
SUMMARY = "summary.json"
"""Written last into the folder of a counted smear, or of the smears of several subjects."""
PARTS = ".parts"
"""Folder for what is done of a smear whose count has not ended."""


def stem_for(cell: str) -> str:
    """The name, without its ending, of a file about a cell. cell: its cell_id, or an image file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(cell).stem)


def check_table_path(path: Path | str) -> None:
    """Raise ManifestError unless tables of cells are written, and read, with this ending."""
    if Path(path).suffix not in TABLES:
        raise ManifestError(f"{path}: tables are written as .parquet or .csv", "end the name in .parquet or .csv")


def check_predictions_path(path: Path) -> None:
    """Raise LeukoscopeError unless predictions are written with this ending, to a name that no folder has."""
    if path.suffix not in PREDICTIONS:
        raise LeukoscopeError(f"{path}: predictions are written as {', '.join(PREDICTIONS)}",
                              "end the name with one of these")
    if path.is_dir():
        raise LeukoscopeError(f"{path}: is a folder", "name another file")
