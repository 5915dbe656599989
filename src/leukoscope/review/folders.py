"""The folders that `leukoscope smear` wrote, and that a review opens. Imports no library, so that any other folder is
refused at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__
from ..errors import LeukoscopeError
from ..filenames import PARTS, SUMMARY
from ..files import JsonObject, read_json
from ..text import plain

DATABASE = "review.sqlite"
"""The decisions on a result, beside it."""
AGAIN = "count the smear again: leukoscope smear FIELDS -o DIR --overwrite"


def results_of(folders: Sequence[Path], reviewed: Callable[[Path], bool]) -> list[Path]:
    """The folders of single smears: a folder of several subjects stands for all of theirs. reviewed: whether decisions
    on a folder are stored. Raises LeukoscopeError for a folder that `smear` did not write or did not finish, for one
    that another version wrote and nobody has reviewed, and for one that is named twice."""
    found: list[Path] = []
    for folder in folders:
        summary = summary_of(folder)
        below = summary.get("folders")
        if below is None:
            found.append(folder)
            continue
        if not isinstance(below, list) or not all(isinstance(one, str) and Path(one).name == one for one in below):
            raise LeukoscopeError(f"{folder / SUMMARY}: 'folders' are not names of folders", AGAIN)
        found += [folder / one for one in below]
    for folder in found:
        version = summary_of(folder)["leukoscope"]
        if version != __version__ and not reviewed(folder):
            raise LeukoscopeError(f"{folder}: was written by leukoscope {plain(version, 40)}, this is {__version__}",
                                  AGAIN)
    real = [folder.resolve() for folder in found]
    twice = next((folder for folder, one in zip(found, real, strict=True) if real.count(one) > 1), None)
    if twice is not None:
        raise LeukoscopeError(f"{twice}: is given twice", "name each smear once")
    return found


def has_record(folder: Path) -> bool:
    """Whether decisions on a result are stored beside it."""
    return (folder / DATABASE).is_file()


def summary_of(folder: Path) -> JsonObject:
    """The summary of a folder that `smear` finished."""
    if not folder.is_dir():
        raise LeukoscopeError(f"{folder}: no such folder", "name a folder that leukoscope smear wrote")
    if not (folder / SUMMARY).is_file():
        if (folder / PARTS).is_dir():
            raise LeukoscopeError(f"{folder}: holds a stopped run of leukoscope smear",
                                  "finish it: leukoscope smear FIELDS -o DIR --resume")
        raise LeukoscopeError(f"{folder}: was not written by leukoscope smear (no {SUMMARY})",
                              "name the folder that was given to leukoscope smear with -o")
    summary = read_json(folder / SUMMARY)
    if not isinstance(summary, dict) or not {"leukoscope", "plan", "files"} <= summary.keys():
        raise LeukoscopeError(f"{folder / SUMMARY}: was not written by leukoscope smear",
                              "name the folder that was given to leukoscope smear with -o")
    return summary


def counts_in(out: Path) -> list[Path]:
    """The counts that are kept in a folder."""
    return sorted(path.parent for path in out.glob(f"*/{SUMMARY}") if not path.parent.name.startswith("."))


def check_watched(folders: Sequence[Path], watched: Path) -> None:
    """Raise LeukoscopeError where the first of the folders that were named, which keeps the counts of a watched folder,
    is a single count itself or lies in the watched one; and where that is missing."""
    if not watched.is_dir():
        raise LeukoscopeError(f"--watch {watched}: no such folder", "name the folder that photographs come into")
    out = folders[0]
    summary = read_json(out / SUMMARY) if (out / SUMMARY).is_file() else None
    if summary is not None and not (isinstance(summary, dict) and "folders" in summary):
        raise LeukoscopeError(f"{out}: holds one counted smear, and new ones need a folder for several",
                              "name a new folder first, then this one")
    if out.resolve() == watched.resolve() or watched.resolve() in out.resolve().parents:
        raise LeukoscopeError(f"{out}: lies in the folder that is watched", "keep counts in another folder")


def watched_folders(folders: Sequence[Path], watched: Path) -> tuple[Path, list[Path]]:
    """Where the counts of a watched folder are kept, and all folders with results. Raises as `check_watched`."""
    check_watched(folders, watched)
    out = folders[0]
    out.mkdir(parents=True, exist_ok=True)
    return out, [*counts_in(out), *folders[1:]]
