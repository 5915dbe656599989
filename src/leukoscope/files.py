"""Write files so that they are complete or do not exist: write a temporary file, then rename it.

Knows nothing of what the files contain.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from .errors import LeukoscopeError, first_line

JsonObject = dict[str, Any]
"""An object of JSON or a table of TOML, as it is read, or as it will be written."""
MOST_KEY_PARTS = 20
"""Parts of a key in TOML, such as two in `training.epochs`."""
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){20}""")
_RANDOM = "[0-9a-f]" * 8  # of the name of a temporary file
_TEXT = re.compile(
    r"""\"{3}(?:[^"\\]|\\.|"(?!""))*+(?:\"{3})?|'{3}(?:[^']|'(?!''))*+(?:'{3})?|"(?:[^"\\\n]|\\[^\n])*+"?|'[^'\n]*+'?|"""
    r"""\#[^\n]*+""", re.DOTALL)
"""Texts and comments of TOML; a text without an end reaches as far as it can, so that this takes no long time."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield the path of a temporary file in the same folder; when the block ends without error, it replaces `path` in
    one step.

    A reader sees the old file or the new one, never a part; a killed writer leaves at most a hidden `.partial` file.
    The suffix is the same, for writers that choose the format by it. A full disk is an OSError that names `path`, also
    where the library that writes raises another error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except Exception as error:
        number = _system_error(error)
        of_another_file = isinstance(error, OSError) and error.filename not in (None, str(partial))
        if number is None or of_another_file:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        with suppress(OSError):  # such as of a read-only disk, where nothing was written
            partial.unlink(missing_ok=True)


def remove_partials(folder: Path, stem: str | None = None) -> None:
    """Remove what killed writers have left in a folder. stem: only of files of this name."""
    name = "*" if stem is None else glob.escape(stem)
    for partial in folder.glob(f".{name}.{_RANDOM}.partial*"):
        partial.unlink(missing_ok=True)


def _system_error(error: BaseException) -> int | None:
    """The system's error number: of an OSError, of an OSError behind another error (torch), or from the message of a
    library written in Rust (polars, safetensors); None if there is none."""
    for known in (error, error.__context__):
        if isinstance(known, OSError) and known.errno is not None:  # polars raises some without a number
            return known.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


@contextmanager
def alone(lock: Path, what: str, kind: type[LeukoscopeError] = LeukoscopeError) -> Iterator[None]:
    """Let one process at a time run the block. In another process it raises `kind`: `what` is being written.

    lock: a file for this, deleted when the block ends.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(lock, timeout=0):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise kind(f"{what}: another process is writing it", "wait until it has ended") from error


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all. Bytes of a name that are no text are written as \\udcff, which
    JSON reads back."""
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path | str, value: object) -> None:
    """Write `value` as indented JSON, completely or not at all. Raises ValueError for NaN, which is not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON. Raises LeukoscopeError with the name of the file where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LeukoscopeError(f"{path}: no such file", "run the command that writes it, or let it finish") from error
    except (ValueError, RecursionError) as error:
        raise LeukoscopeError(f"{path}: not valid JSON ({first_line(error)})",
                              "run the command that wrote it again") from error


def parse_toml(text: str) -> JsonObject:
    """The table that a text in TOML describes. Raises ValueError with what is wrong (tomllib.TOMLDecodeError where it
    is no TOML), and RecursionError for tables or lists that are nested too deeply."""
    import tomllib  # late: few commands read TOML

    if _LONG_KEY.search(_TEXT.sub(_bare, text)):  # Python's reader would take hours for a key of 100,000 parts
        raise ValueError(f"a key has more than {MOST_KEY_PARTS} parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python's own limit
        raise ValueError("a number has too many digits") from error


def _bare(found: re.Match[str]) -> str:
    """A text without its content, and nothing for a comment."""
    return "" if found[0].startswith("#") else '""'


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as lower-case hexadecimal."""
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
