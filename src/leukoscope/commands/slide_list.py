"""Lists of slides: text files with the path of a slide on each line, relative to the list.

Imports no library, so that a list of files that do not exist, or any other text, is refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import LeukoscopeError
from ..filenames import SCANNERS, SLIDE_LIST


def is_list(path: Path) -> bool:
    """Whether a path is a text file, which `leukoscope smear` takes for a list of slides."""
    return path.suffix.lower() == SLIDE_LIST and path.is_file()


def read_list(path: Path) -> list[str]:
    """The paths in a list, as written; lines that begin with # are comments."""
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def listed_path(listed: Path, number: int, name: str) -> Path:
    """The path of the slide that a list or table names in this place, from 1. Raises LeukoscopeError where it does not
    exist."""
    path = listed.parent / name
    if not path.exists():
        raise LeukoscopeError(f"{listed}: slide {number}, {name}, does not exist",
                              "correct it; paths are relative to the list")
    return path


def check_lists(inputs: Sequence[str]) -> None:
    """Raise LeukoscopeError for a list with a slide that does not exist, and where all inputs are lists and empty."""
    named = 0
    lists = [Path(given) for given in inputs if is_list(Path(given))]
    for listed in lists:
        for number, name in enumerate(read_list(listed), start=1):
            listed_path(listed, number, name)
            named += 1
    if len(lists) == len(inputs) and not named:
        raise no_slide(inputs[0])


def no_slide(given: str | Path) -> LeukoscopeError:
    """The error for inputs without any slide."""
    return LeukoscopeError(f"{given}: holds no slide", f"slides end in {', '.join(SCANNERS)}, or are TIFF of more than "
                           "20,000 px")
