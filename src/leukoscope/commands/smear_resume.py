"""What is kept of the fields that are done until all are: memory does not grow with them, and a killed run goes on.

A part is a table (.parquet) and what else there is of its field (.json); it is whole when the latter is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import LeukoscopeError
from ..files import alone, read_json, write_json
from ..manifest import write_table

SUMMARY = "summary.json"
"""Written last: a folder without it is not whole."""
PARTS = ".parts"
LONGEST = 180
"""Bytes of a name: file systems hold 255, and writers put more around it."""
_PLAN = "plan.json"
_ELSE = ("bundle.json", "recipe.toml", "evaluation.json", "study.json", "compare.json")
_DIFFERS = {"fields": "other fields", "bundle": "another bundle", "leukoscope": "another version of leukoscope"}


@dataclass(frozen=True)
class FieldScale:
    """What the first look at a field says. reason: why it cannot be read, or "". scale: um a pixel by `red_cells` red
    cells, or None."""

    reason: str
    scale: float | None
    red_cells: int


@dataclass(frozen=True, eq=False)
class Part:
    """A field that is done: facts as in summary.json, a row a cell as in `cells_table`, their annotations in COCO's
    form without ids, and pictures as data URIs: of each cell, and of the field."""

    facts: dict[str, Any]
    table: pl.DataFrame
    annotations: list[dict[str, Any]]
    thumbs: list[str]
    picture: str


@dataclass(frozen=True)
class Parts:
    """The folder of the parts of a run. finished: what summary.json holds, where an earlier call has done all."""

    folder: Path
    finished: dict[str, Any] | None = None

    def scale(self, number: int) -> FieldScale | None:
        path = self._path(number, "scale.json")
        return FieldScale(**read_json(path)) if path.is_file() else None

    def keep_scale(self, number: int, scale: FieldScale) -> None:
        write_json(self._path(number, "scale.json"), asdict(scale))

    def has(self, number: int) -> bool:
        """Whether a field is done."""
        return self._path(number, "json").is_file()

    def read(self, number: int) -> Part:
        """The part of a field that is done."""
        return Part(**read_json(self._path(number, "json")), table=pl.read_parquet(self._path(number, "parquet")))

    def keep(self, number: int, part: Part) -> None:
        write_table(part.table, self._path(number, "parquet"))
        write_json(self._path(number, "json"), {"facts": part.facts, "annotations": part.annotations,
                                                "thumbs": part.thumbs, "picture": part.picture})

    def drop(self) -> None:
        """Forget all, where there is nothing to go on with."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int, end: str) -> Path:
        return self.folder / f"{number:06d}.{end}"


@contextmanager
def open_resumable(out: Path, plan: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[Parts]:
    """The parts of the run that writes `out`, for one process at a time. They go when the block ends and the summary is
    there.

    plan: what has to be the same for a stopped run to go on: `fields`, `bundle`, `options`, and `files`, which names
    what it will write. Raises LeukoscopeError for a folder that holds something else, that is not empty and is not to
    be overwritten, or whose run was of another plan.
    """
    _check(out)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out / ".lock", str(out)):
        folder = out / PARTS
        stopped, done = _json(folder / _PLAN), _json(out / SUMMARY)
        if resume and (stopped or done):
            _check_same(out, (stopped or done["plan"]) if stopped or "plan" in done else {}, plan)
        elif stopped and not overwrite:
            raise LeukoscopeError(f"{out}: holds a stopped run", "go on with --resume, or take --overwrite")
        else:
            if not overwrite and any(path.name not in (".lock", PARTS) for path in out.iterdir()):
                raise LeukoscopeError(f"{out}: is not empty", "name another folder, or take --overwrite")
            clear(out)
            done = {}
        if not done:
            folder.mkdir(exist_ok=True)
            write_json(folder / _PLAN, plan)
        for left in out.glob(".*.partial*"):  # of a writer that was killed
            left.unlink()
        yield Parts(folder, done or None)
        shutil.rmtree(folder, ignore_errors=True)


def clear(out: Path) -> None:
    """Remove what an earlier call has left in a folder, and nothing else."""
    stopped, done = _json(out / PARTS / _PLAN), _json(out / SUMMARY)
    (out / SUMMARY).unlink(missing_ok=True)
    for name in _plain_names(done, "files") | _plain_names(stopped, "files"):
        (out / name).unlink(missing_ok=True)
    for name in _plain_names(done, "folders") | _plain_names(stopped, "folders"):
        if (out / name).is_dir():
            clear(out / name)
            if not any((out / name).iterdir()):
                (out / name).rmdir()
    shutil.rmtree(out / PARTS, ignore_errors=True)


def written_in(folder: Path) -> set[str]:
    """Names of what an earlier call has written, or was to write, into a folder."""
    return {name for found in (_json(folder / PARTS / _PLAN), _json(folder / SUMMARY)) if "leukoscope" in found
            for name in _plain_names(found, "files")}


def names_for(stems: Sequence[str], taken: set[str]) -> list[str]:
    """A name for each, not among `taken` (in lower case) and no two alike: with a number where they meet. Very long
    ones are cut."""
    names, taken = [], set(taken)
    for whole in stems:
        stem = whole.encode("utf-8", "surrogateescape")[:LONGEST].decode("utf-8", "ignore")
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def _check(out: Path) -> None:
    if out.is_file():
        raise LeukoscopeError(f"{out}: is a file", "name a folder")
    held = next((name for name in _ELSE if (out / name).is_file()), "")
    if held:
        raise LeukoscopeError(f"{out}: holds {held}, which is of something else", "name another folder")


def _check_same(out: Path, before: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    differs = [words for key, words in _DIFFERS.items() if before.get(key) != plan.get(key)]
    options, old = plan.get("options", {}), before.get("options", {})
    differs += [f"another --{key}" for key, value in options.items() if old.get(key) != value]
    if differs:
        raise LeukoscopeError(f"{out}: was made with {' and '.join(differs[:2])}",
                              "name another folder, or take --overwrite instead of --resume")


def _json(path: Path) -> dict[str, Any]:
    """An object of an earlier call; empty where there is none, or a damaged one."""
    try:
        found = read_json(path)
    except LeukoscopeError:
        return {}
    return found if isinstance(found, dict) else {}


def _plain_names(found: Mapping[str, Any], key: str) -> set[str]:
    """Names below a key, without any that lead out of their folder."""
    names = found.get(key)
    if not isinstance(names, list):
        return set()
    return {name for name in names if isinstance(name, str) and Path(name).name == name != ".."}
