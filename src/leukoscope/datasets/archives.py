"""Unpack a published .zip or .tar archive so that nothing in it can do harm.

No file is written outside the folder, no link or device is made, no archive grows beyond what its length allows, and
the folder appears complete or not at all. Does not know what an archive contains.
"""

from __future__ import annotations

import lzma
import os
import secrets
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import DownloadError
from ..progress import OnProgress
from .base import is_litter

RATIO = 200
"""Unpacked bytes for each packed byte, at most: images hardly shrink, a decompression bomb has thousands."""
SLACK = 10_000_000
"""Bytes that an archive of any length may contain: short text is packed better than `RATIO`."""
MEMBERS = 1_000_000
SUFFIXES = (".tar.bz2", ".tar.gz", ".tar.xz", ".tar", ".tgz", ".zip")
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)


def is_archive(name: str) -> bool:
    """Whether a file name is that of an archive that `unpack` reads."""
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, *, on_progress: OnProgress | None = None) -> Path:
    """Unpack into a folder beside the archive, called as the archive without its suffix, and return the folder; do
    nothing if it exists.

    `on_progress` gets unpacked and total bytes. Raises DownloadError for a damaged archive, a member that would be
    written outside the folder or is a link or device, a decompression bomb, a full disk.
    """
    suffix = next((s for s in SUFFIXES if archive.name.lower().endswith(s)), None)
    if suffix is None:
        raise DownloadError(f"{archive}: not an archive that can be unpacked", f"expected {', '.join(SUFFIXES[::-1])}")
    folder = archive.with_name(archive.name[:-len(suffix)])
    if folder.is_dir():
        return folder
    partial = archive.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        with _members(archive, suffix) as (members, total):
            _write(archive, members, partial, lambda done: on_progress(done, max(done, total)) if on_progress else None)
        os.replace(partial, folder)
    except _DAMAGE as error:
        raise DownloadError(f"{archive}: damaged archive ({str(error) or type(error).__name__})",
                            "remove it and download it again") from error
    except OSError as error:
        raise DownloadError(f"{error.filename or folder}: cannot unpack ({error.strerror or error})",
                            "free some space, or grant write permission") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class _Member:
    """One entry: its name, its length in bytes as stated, its kind (file, folder, other), and how to open it."""

    name: str
    bytes: int
    kind: str
    open: Callable[[], IO[bytes] | None]


@contextmanager
def _members(archive: Path, suffix: str) -> Iterator[tuple[Iterator[_Member], int]]:
    """The members of an archive, and their total bytes (0 for .tar, which would have to be read completely)."""
    if suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            yield (_Member(info.filename, info.file_size, "folder" if info.is_dir() else
                           "file" if info.external_attr >> 16 & 0o170000 in (0, 0o100000) else "link or device",
                           lambda info=info: zipped.open(info))
                   for info in zipped.infolist()), sum(info.file_size for info in zipped.infolist())
    else:
        with tarfile.open(archive) as tarred:
            yield (_Member(info.name, info.size, "folder" if info.isdir() else "file" if info.isreg() else
                           "link or device", lambda info=info: tarred.extractfile(info)) for info in tarred), 0


def _write(archive: Path, members: Iterator[_Member], partial: Path, report: Callable[[int], None]) -> None:
    limit = archive.stat().st_size * RATIO + SLACK
    partial.mkdir()
    done = 0
    for number, member in enumerate(members):
        name = PurePosixPath(member.name)
        outside = name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name
        if outside or member.kind not in ("file", "folder"):
            what = "would be written outside the folder" if outside else f"is a {member.kind}"
            raise DownloadError(f"{archive}: its member '{member.name}' {what}", "do not unpack it; download it from "
                                "its publisher again")
        if number >= MEMBERS or done + member.bytes > limit:
            raise DownloadError(f"{archive}: unpacks to more than {limit:,} bytes or {MEMBERS:,} files, a "
                                "decompression bomb", "download it from its publisher again")
        target = partial / name
        if member.kind == "folder":
            target.mkdir(parents=True, exist_ok=True)
        elif not any(is_litter(part) for part in name.parts):
            target.parent.mkdir(parents=True, exist_ok=True)
            source = member.open()
            if source is None:
                raise tarfile.TarError(f"{member.name} has no contents")
            with source, open(target, "xb") as written:
                shutil.copyfileobj(source, written, 1 << 20)
            done += member.bytes
            report(done)
