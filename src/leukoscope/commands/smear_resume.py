"""Results of single fields, stored until all are done: memory does not grow with them, and a killed run can continue.

A result is a table (.parquet) and everything else about its field (.json); it is complete when the latter exists.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from ..errors import LeukoscopeError
from ..filenames import PARTS
from ..files import JsonObject, alone, read_json, remove_partials, write_json
from ..manifest import write_table
from ..smear.formats import Annotation
from ..smear.summary import FieldSummary, Plan
from ..tables import read_parquet
from .smear_folder import LOCK, PLAN, Earlier, check_kind, clear

_DIFFERS = {"fields": "other fields", "bundle": "another bundle", "leukoscope": "another version of leukoscope"}


@dataclass(frozen=True)
class FieldScale:
    """What the first look at a field gives. reason: why it cannot be read, or "". scale: um per pixel by `red_cells`
    red cells, or None. stated: um per pixel that the file states in its `origin`, or None. remarks: on how the file
    was read. failed: why it has no result though it can be read, or ""."""

    reason: str
    scale: float | None
    red_cells: int
    stated: float | None = None
    origin: str = ""
    remarks: tuple[str, ...] = ()
    failed: str = ""


@dataclass(frozen=True, eq=False)
class FieldResult:
    """A field that is done. table: of `cells_table`; annotations: its cells in COCO's form, without ids; thumbs: a
    picture of each cell, and picture: of the field, as data URIs."""

    summary: FieldSummary
    table: pl.DataFrame
    annotations: list[Annotation]
    thumbs: list[str]
    picture: str


@dataclass(frozen=True)
class Parts:
    """The stored results of a run. finished: whether an earlier call has done everything."""

    folder: Path
    finished: bool

    def scale(self, number: int, look: Callable[[], FieldScale]) -> FieldScale:
        """What the first look at a field gave, or gives now."""
        path = self._path(number, "scale.json")
        if path.is_file():
            stored = read_json(path)
            return FieldScale(**(stored | {"remarks": tuple(stored["remarks"])}))
        return self.leave_out(number, look())

    def leave_out(self, number: int, scale: FieldScale) -> FieldScale:
        """Store what is known of a field before, or instead of, its result."""
        write_json(self._path(number, "scale.json"), asdict(scale))
        return scale

    def has(self, number: int) -> bool:
        """Whether a field is done."""
        return self._path(number, "json").is_file()

    def read(self, number: int) -> FieldResult:
        """The result of a field that is done."""
        stored = read_json(self._path(number, "json"))
        facts = stored["facts"]
        summary = FieldSummary(**(facts | {"remarks": tuple(facts["remarks"])}))
        return FieldResult(summary, read_parquet(self._path(number, "parquet")), stored["annotations"],
                           stored["thumbs"], stored["picture"])

    def store(self, number: int, result: FieldResult) -> None:
        write_table(result.table, self._path(number, "parquet"))
        write_json(self._path(number, "json"), {"facts": asdict(result.summary), "annotations": result.annotations,
                                                "thumbs": result.thumbs, "picture": result.picture})

    def drop(self) -> None:
        """Remove everything, where there is nothing to continue."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int, end: str) -> Path:
        return self.folder / f"{number:06d}.{end}"


@contextmanager
def open_resumable(out: Path, plan: Plan, files: Sequence[str], folders: Sequence[str] | None = None, *, resume: bool,
                   overwrite: bool, below: bool = False) -> Iterator[Parts]:
    """The stored results of the run that writes `out`, for one process at a time. They are removed when the block ends
    and the summary exists.

    files, folders: what the run will write into `out`. below: it is a part of another run, whose plan is the same; what
    is finished stays, and what was stopped with another plan, such as another file of the name, begins again. Raises
    LeukoscopeError for a folder that holds something else, that is not empty and must not be overwritten, or whose run
    had another plan.
    """
    check_kind(out)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out / LOCK, str(out)):
        folder, earlier = out / PARTS, Earlier.read(out)
        stopped, done = earlier.stopped, earlier.done
        before = stopped or done.get("plan", {})
        if below and resume and stopped and not done and _differences(before, asdict(plan)):
            resume, overwrite = False, True
        if resume and (stopped or done):
            if not (below and done):
                _check_same(out, before, asdict(plan))
        else:
            earlier.check_free(out, overwrite=overwrite)
            clear(out)
            done = {}
        if not done:
            folder.mkdir(exist_ok=True)
            named = {} if folders is None else {"folders": folders}
            write_json(folder / PLAN, {**asdict(plan), "files": files, **named})
        remove_partials(out)
        yield Parts(folder, bool(done))
        shutil.rmtree(folder, ignore_errors=True)


def _differences(before: JsonObject, plan: JsonObject) -> list[str]:
    """What an earlier run had otherwise, in words."""
    differs = [words for key, words in _DIFFERS.items() if before.get(key) != plan[key]]
    old = before.get("options", {})
    return [*differs, *(f"another --{key}" for key, value in plan["options"].items() if old.get(key) != value)]


def _check_same(out: Path, before: JsonObject, plan: JsonObject) -> None:
    differs = _differences(before, plan)
    if differs:
        raise LeukoscopeError(f"{out}: was made with {' and '.join(differs[:2])}",
                              "name another folder, or use --overwrite instead of --resume")
