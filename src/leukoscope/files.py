"""Files that are whole or not there: write beside, then rename.

Knows nothing of what the files hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from .errors import LeukoscopeError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a fresh path beside `path`; when the block ends well, it takes `path`'s place in one step.

    A reader sees the old file or the new one, never a part; a killed writer leaves at most a hidden `.partial` file.
    The suffix is kept, so that writers which choose the format by it work. A full disk is an OSError that names
    `path`, also where the library that writes calls it by another name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield beside
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, path)
    except Exception as error:
        number = _system_error(error)
        elsewhere = isinstance(error, OSError) and error.filename not in (None, str(beside))
        if number is None or elsewhere:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def _system_error(error: BaseException) -> int | None:
    """The system's error number of an OSError, of one that another error hides (torch), or in the words of a library
    written in Rust (polars, safetensors); None where there is none."""
    for known in (error, error.__context__):
        if isinstance(known, OSError):
            return known.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Let one process at a time into the block; another is refused with a LeukoscopeError that says `what` is written.
    lock: a file for it, which goes when the block ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(lock, timeout=0):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise LeukoscopeError(f"{what}: another process is writing it", "wait for it") from error


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON; a damaged file is a LeukoscopeError that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LeukoscopeError(f"{path}: no such file", "finish or repeat what should have written it") from error
    except ValueError as error:
        raise LeukoscopeError(f"{path}: not valid JSON ({error})", "repeat what has written it") from error


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as lower-case hexadecimal."""
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
