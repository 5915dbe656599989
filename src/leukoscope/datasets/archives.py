"""Unpack a published .zip or .tar archive so that nothing in it can do harm.

No file leaves the folder, no link or device is made, no archive grows past what its length can honestly hold, and
the folder appears whole or not at all. Does not know what an archive holds.
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
from .base import is_litter

RATIO = 200
"""Unpacked bytes a packed byte, at most: images hardly shrink; a decompression bomb holds thousands."""
SLACK = 10_000_000
"""Bytes that an archive of any length may hold: short text packs better than `RATIO`."""
MEMBERS = 1_000_000
BLOCK = 1 << 20
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)


def is_archive(name: str) -> bool:
    """Whether a file name is that of an archive that `unpack` reads."""
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, *, on_progress: Callable[[int, int], None] | None = None) -> Path:
    """Unpack beside the archive into a folder of its name without the suffix, and return it; skip if it is there.

    `on_progress` gets unpacked and total bytes. Raises DownloadError for a damaged archive, a member that would land
    outside the folder or is a link or device, a decompression bomb, a full disk.
    """
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if archive.name.lower().endswith(s)), None)
    if suffix is None:
        raise DownloadError(f"{archive}: not an archive that can be unpacked", f"expected {', '.join(SUFFIXES)}")
    folder = archive.with_name(archive.name[:-len(suffix)])
    if folder.is_dir():
        return folder
    beside = archive.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        with _opened(archive, suffix) as (members, total):
            _write(archive, members, beside, lambda done: on_progress(done, max(done, total)) if on_progress else None)
        os.replace(beside, folder)
    except _DAMAGE as error:
        raise DownloadError(f"{archive}: damaged archive ({str(error) or type(error).__name__})",
                            "remove it and fetch it again") from error
    except OSError as error:
        raise DownloadError(f"{error.filename or folder}: cannot unpack ({error.strerror or error})",
                            "make room, or check who may write there") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class _Member:
    """One entry: its name, its length as stated, whether it is a plain file or a folder, and how to open it."""

    name: str
    bytes: int
    kind: str
    open: Callable[[], IO[bytes]]


@contextmanager
def _opened(archive: Path, suffix: str) -> Iterator[tuple[Iterator[_Member], int]]:
    """The members of an archive, and their bytes together (0 where only reading all of it would tell)."""
    if suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(file), sum(info.file_size for info in file.infolist())
    else:
        with tarfile.open(archive) as file:
            yield _tar_members(file), 0


def _zip_members(file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        unix = info.external_attr >> 16 & 0o170000
        kind = "folder" if info.is_dir() else "file" if unix in (0, 0o100000) else "link or device"
        yield _Member(info.filename, info.file_size, kind, lambda info=info: file.open(info))


def _tar_members(file: tarfile.TarFile) -> Iterator[_Member]:
    for info in file:
        kind = "folder" if info.isdir() else "file" if info.isreg() else "link or device"
        yield _Member(info.name, info.size, kind, lambda info=info: file.extractfile(info) or _nothing(info))


def _nothing(info: tarfile.TarInfo) -> IO[bytes]:
    raise tarfile.TarError(f"{info.name} has no contents")


def _write(archive: Path, members: Iterator[_Member], beside: Path, report: Callable[[int], None]) -> None:
    limit = archive.stat().st_size * RATIO + SLACK
    beside.mkdir()
    done = 0
    for number, member in enumerate(members):
        target = beside / _safe_name(archive, member)
        if number >= MEMBERS or done + member.bytes > limit:
            raise DownloadError(f"{archive}: unpacks to more than {limit:,} bytes or {MEMBERS:,} files, a "
                                "decompression bomb", "fetch it from its publisher again")
        if member.kind == "folder":
            target.mkdir(parents=True, exist_ok=True)
        elif not any(is_litter(part) for part in PurePosixPath(member.name).parts):
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, open(target, "xb") as written:
                shutil.copyfileobj(source, written, BLOCK)
            done += member.bytes
            report(done)


def _safe_name(archive: Path, member: _Member) -> str:
    """The member's path inside the folder. Raises DownloadError for one that would land outside, or is no file."""
    name = PurePosixPath(member.name)
    outside = name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name
    if outside or member.kind not in ("file", "folder"):
        what = "would land outside the folder" if outside else f"is a {member.kind}"
        raise DownloadError(f"{archive}: its member '{member.name}' {what}", "do not unpack it; fetch it from its "
                            "publisher again")
    return str(name)
