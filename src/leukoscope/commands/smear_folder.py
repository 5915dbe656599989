"""The folder of a counted smear: whether it is free, and what an earlier call has written there.

Imports no library, so that a folder that must not be overwritten is refused at once.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import LeukoscopeError
from ..filenames import PARTS, SUMMARY
from ..files import JsonObject, alone, read_json
from .inputs import KINDS, check_folder

PARTITIONS = "cells"
"""Folder for the cells of an archive of slides."""
PLAN = "plan.json"
LOCK = ".lock"


@dataclass(frozen=True)
class Earlier:
    """What earlier calls have left in a folder. stopped: the plan of one that did not finish; done: the summary of one
    that did. Empty where there is none."""

    stopped: JsonObject
    done: JsonObject

    @classmethod
    def read(cls, out: Path) -> Earlier:
        return cls(_json(out / PARTS / PLAN), _json(out / SUMMARY))

    def check_free(self, out: Path, *, overwrite: bool) -> None:
        """Raise LeukoscopeError where a new call would write beside, or over, what lies in the folder."""
        if overwrite:
            return
        if self.stopped:
            raise LeukoscopeError(f"{out}: holds a stopped run", "continue with --resume, or use --overwrite")
        if any(path.name not in (LOCK, PARTS) for path in out.iterdir()):
            raise LeukoscopeError(f"{out}: is not empty", "name another folder, or use --overwrite")


def check_out(inputs: Sequence[str], out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise LeukoscopeError where a smear cannot be counted into a folder, before its photographs are looked at. Where
    the photographs lie in that folder, what reads them says so."""
    check_kind(out)
    own = out.resolve()
    if not out.is_dir() or any(Path(given).resolve().is_relative_to(own) for given in inputs):
        return
    with alone(out / LOCK, str(out)):
        earlier = Earlier.read(out)
        if not (resume and (earlier.stopped or earlier.done)):
            earlier.check_free(out, overwrite=overwrite)


def check_kind(out: Path) -> None:
    """Raise LeukoscopeError for a file, and for a folder that holds a result of another kind."""
    check_folder(out)
    other = next((name for name in KINDS if name != SUMMARY and (out / name).is_file()), "")
    if other:
        raise LeukoscopeError(f"{out}: holds {other}, the result of another command", "name another folder")


def clear(out: Path) -> None:
    """Remove what an earlier call has written into a folder, and nothing else."""
    earlier = Earlier.read(out)
    (out / SUMMARY).unlink(missing_ok=True)
    for name in {name for stored in (earlier.stopped, earlier.done) for name in _plain_names(stored, "files")}:
        (out / name).unlink(missing_ok=True)
    for name in {name for stored in (earlier.stopped, earlier.done) for name in _plain_names(stored, "folders")}:
        for partition in list((out / PARTITIONS).glob(f"subject=*/{glob.escape(name)}.parquet")):
            partition.unlink()
            _remove_empty(partition.parent)
            _remove_empty(out / PARTITIONS)
        if (out / name).is_dir():
            clear(out / name)
            _remove_empty(out / name)
    shutil.rmtree(out / PARTS, ignore_errors=True)


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def written_in(folder: Path) -> set[str]:
    """Names of files that an earlier call has written, or was to write, into a folder."""
    earlier = Earlier.read(folder)
    return {name for stored in (earlier.stopped, earlier.done) if "leukoscope" in stored
            for name in _plain_names(stored, "files")}


def _json(path: Path) -> JsonObject:
    """An object that an earlier call has written; empty if there is none, or a damaged one."""
    try:
        stored = read_json(path)
    except LeukoscopeError:
        return {}
    return stored if isinstance(stored, dict) else {}


def _plain_names(stored: JsonObject, key: str) -> list[str]:
    """Names below a key, without any that lead out of their folder."""
    names = stored.get(key)
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str) and Path(name).name == name != ".."]
