"""The run folder during training: free or started, and locked against other processes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from ..errors import RunError
from ..recipes.recipe import Recipe, expand_variants
from ..runs.run import Run
from ..text import is_text

LOCK = ".lock"
_PREPARED = {"recipe.toml", "guard.json", "left_out.json", "environment.json", "fingerprints.parquet",
             "manifest.parquet", "copies.csv"}
"""What is written before splits.parquet, which completes the preparation."""


def check_name(out: Path) -> None:
    """Raise RunError for a name with bytes that are no text: recipes and tables could not name the run."""
    if not is_text(str(out.absolute())):
        raise RunError(f"{out.absolute()}: this name is not UTF-8", "name another folder with -o, or rename it")


def run_folders(recipe: Recipe, out: Path) -> dict[Path, Recipe]:
    """The run folders of an experiment in `out`: one for each variant, or `out` itself."""
    return {out / name: variant for name, variant in expand_variants(recipe).items()}


def check_folder(out: Path, resume: bool) -> bool:
    """Whether an earlier run is resumed. RunError where `out` must not be written to.

    A folder with only a part of the preparation is free with `resume`: the run is then prepared again.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file, not a folder", "choose another folder")
    files = [path for path in out.iterdir() if path.name != LOCK] if out.is_dir() else []
    begun = not (out / "splits.parquet").is_file() and all(
        path.name in _PREPARED or ".partial" in path.name for path in files)
    if not files or (resume and begun):
        return False
    if not resume:
        if (out / "recipe.toml").is_file():
            raise RunError(f"{out}: contains a run already", "continue it with --resume, or choose another folder")
        raise RunError(f"{out}: is not empty", "choose another folder")
    Run(out)
    return True


@contextmanager
def claimed(out: Path, resume: bool) -> Iterator[None]:
    """Lock a folder and check that it is still free: another process may have started a run meanwhile."""
    with locked(out):
        if check_folder(out, resume):
            raise RunError(f"{out}: another process has started this run", "wait for it, or choose another folder")
        yield


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Only one process trains a run. A killed process releases its lock; a finished run needs none."""
    try:
        with filelock.FileLock(out / LOCK, timeout=0):
            yield
            if (out / "metrics.json").is_file():
                (out / LOCK).unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise RunError(f"{out}: another process is training this run",
                       "wait for it, or choose another folder") from error


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """A full disk, or a folder that is not writable, becomes a RunError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG):
            raise
        raise RunError(f"{error.filename or out}: cannot be written ({error.strerror})",
                       "free some space or choose a writable folder, then continue with --resume") from error
