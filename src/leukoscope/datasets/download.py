"""Fetch the published files of a data set: resume what broke off, verify what came, keep nothing that is wrong.

A file grows as `<name>.part`, is compared with the published length and checksum, and only then takes its name.
Beside it `<name>.part.json` remembers which version of the file the part belongs to.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from ..errors import DownloadError, LeukoscopeError
from ..files import read_json, write_json
from .archives import is_archive, unpack
from .base import Dataset, Download

Progress = Callable[[int, int], None]

ATTEMPTS = 5
"""Tries in a row that bring nothing new before giving up."""
PAUSE = 1.0
"""Seconds before the second try; doubled before each further one."""
LONGEST_PAUSE = 60.0
TIMEOUT = 30.0
_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHANGED = "the file changed at its publisher or on the way: fetch it by hand, or try again later"
_MOVED = "open the address in a browser: the file may have moved or need a login"


def download(
    dataset: Dataset,
    to: Path,
    *,
    names: Sequence[str] = (),
    on_progress: Progress | None = None,
    client: httpx.Client | None = None,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> tuple[Path, ...]:
    """Fetch a data set's files into `to` and unpack its archives; return what is there: files, folders of archives.

    names: which of its files (`Download.filename`); all that are not optional where none is given. `on_progress` gets
    bytes done and total of each file in turn. What is there and verified is not fetched again; a broken download goes
    on where it stopped. Raises DownloadError for a set that no program can fetch (saying what to do), an unknown
    name, or a file that cannot be fetched, verified or written, naming its address.
    """
    if not dataset.downloads:
        raise DownloadError(f"{dataset.name} cannot be fetched by a program", dataset.obtain)
    known = {file.filename: file for file in dataset.downloads}
    for name in names:
        if name not in known:
            raise DownloadError(f"{dataset.name} has no file '{name}'", f"it has: {', '.join(known)}")
    wanted = [known[name] for name in names] or [file for file in dataset.downloads if not file.optional]
    with _client(client) as opened:
        paths = [fetch(file, Path(to), client=opened, on_progress=on_progress, attempts=attempts, pause=pause)
                 for file in wanted]
    return tuple(unpack(path, on_progress=on_progress) if is_archive(path.name) else path for path in paths)


def fetch(
    file: Download,
    to: Path,
    *,
    client: httpx.Client | None = None,
    on_progress: Progress | None = None,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> Path:
    """Fetch one published file into the folder `to` and return its path; skip it when it is there and verified."""
    target = Path(to) / file.filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and not _fault(target, file):
            return target
        with _client(client) as opened, _alone(target):
            _fetch_part(_Transfer(file, target, opened, on_progress), attempts, pause)
            os.replace(_part(target), target)
            _memory(target).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{file.url}: cannot write {error.filename or target} ({error.strerror or error})",
                            "make room or choose another folder; what has come is kept") from error
    return target


class _Broken(Exception):
    """A try that failed and may be repeated. `wait`: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class _Transfer:
    file: Download
    target: Path
    client: httpx.Client
    on_progress: Progress | None


def _fetch_part(transfer: _Transfer, attempts: int, pause: float) -> None:
    """Try until the part is whole and verified; tries that bring something new do not count as failed."""
    file, part = transfer.file, _part(transfer.target)
    failed, furthest, resumed, restarted = 0, _length(part), _length(part) > 0, False
    while True:
        try:
            _one_try(transfer)
        except _Broken as error:
            failed = 1 if _length(part) > furthest else failed + 1
            furthest = max(furthest, _length(part))
            if failed >= attempts:
                if file.checksum and part.exists() and not _fault(part, file):
                    return  # whole by its checksum, whatever length the server promised
                raise DownloadError(f"{file.url}: {error} ({attempts} tries)", "try again later: what has come is kept "
                                    "and the download goes on from there") from error
            time.sleep(min(max(pause * 2 ** (failed - 1), error.wait), LONGEST_PAUSE))
            resumed = True
            continue
        fault = _fault(part, file)
        if not fault:
            return
        _forget(transfer.target)
        if restarted or not resumed:
            raise DownloadError(f"{file.url}: what came is not what was published: {fault}", _CHANGED)
        restarted = True  # the part may have been of another version: once more from the start


def _one_try(transfer: _Transfer) -> None:
    """One request, appended to the part where the server continues it, from the start where it does not."""
    file, part, memory = transfer.file, _part(transfer.target), _recall(transfer.target)
    start = _length(part)
    if start and (memory.get("url") != file.url or not (_validator(memory) or file.checksum)):
        _forget(transfer.target)  # nothing says that the rest would belong to this part
        start = 0
    if start and start == (file.bytes or memory.get("length")):
        return
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": _validator(memory)} if _validator(memory) else {})
    try:
        with transfer.client.stream("GET", file.url, headers=headers) as response:
            _check_status(file, response)
            if response.status_code == 416:
                _forget(transfer.target)
                raise _Broken("the server has no more to send than what came, and that is not the whole file")
            start = _continue_at(transfer, response, start, memory)
            _receive(transfer, response, start)
    except httpx.ConnectError as error:
        raise _Broken(f"the server cannot be reached ({error})") from error
    except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise _Broken(f"broke off after {_length(part):,} bytes ({str(error) or type(error).__name__})") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(f"{file.url}: {error}", "check the network, a proxy and the address") from error


def _check_status(file: Download, response: httpx.Response) -> None:
    status = response.status_code
    if status in _RETRY:
        raise _Broken(f"the server answers {status} {response.reason_phrase}", _retry_after(response))
    if status not in (200, 206, 416):
        raise DownloadError(f"{file.url}: the server answers {status} {response.reason_phrase}", _MOVED)
    if file.url.startswith("https:") and response.url.scheme != "https":
        raise DownloadError(f"{file.url}: leads to {response.url}, which is not encrypted", "fetch it by hand")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and status != 416 and not file.filename.endswith((".html", ".htm")):
        raise DownloadError(f"{file.url}: the server sent a web page, not {file.filename}", _MOVED)


def _continue_at(transfer: _Transfer, response: httpx.Response, start: int, memory: dict[str, object]) -> int:
    """The offset at which the body goes on; 0 after forgetting a part that it does not continue."""
    version = {"url": transfer.file.url, "etag": response.headers.get("etag"),
               "modified": response.headers.get("last-modified"), "length": _whole_length(response)}
    if response.status_code == 206:
        first = response.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
        other = [key for key, said in version.items() if None not in (said, memory.get(key)) and said != memory[key]]
        if not first.isdigit() or int(first) != start or other:
            _forget(transfer.target)
            raise _Broken("the file changed at the server between two tries")
    else:
        _forget(transfer.target)
        start = 0
    stated, published = version["length"], transfer.file.bytes
    if stated is not None and published is not None and stated != published:
        _forget(transfer.target)
        raise DownloadError(f"{transfer.file.url}: the server offers {stated:,} bytes, published are {published:,}",
                            _CHANGED)
    needed, free = (published or stated or 0) - start, shutil.disk_usage(transfer.target.parent).free
    if needed > free:
        raise DownloadError(f"{transfer.file.url}: needs {needed:,} bytes in {transfer.target.parent}, free are "
                            f"{free:,}", "make room or choose another folder")
    write_json(_memory(transfer.target), version)
    return start


def _receive(transfer: _Transfer, response: httpx.Response, start: int) -> None:
    """Append the body to the part, at most up to the length that is published or stated."""
    whole = transfer.file.bytes or _whole_length(response)
    done = start
    with open(_part(transfer.target), "ab") as part:
        for block in response.iter_raw():  # no block size: blocks that are not full are lost where it breaks off
            done += len(block)
            if whole is not None and done > whole:
                break
            part.write(block)
            if transfer.on_progress:
                transfer.on_progress(done, max(done, whole or 0))
        part.flush()
        os.fsync(part.fileno())
    if whole is not None and done > whole:
        _forget(transfer.target)
        raise DownloadError(f"{transfer.file.url}: the server sends more than the {whole:,} bytes it should", _CHANGED)
    if whole is not None and done < whole:
        raise _Broken(f"ended after {done:,} of {whole:,} bytes")


def _fault(path: Path, file: Download) -> str:
    """Why a file is not the published one; "" where nothing that was published speaks against it."""
    length = _length(path)
    if file.bytes is not None and length != file.bytes:
        return f"{length:,} bytes, published are {file.bytes:,}"
    if file.checksum:
        kind, _, published = file.checksum.partition(":")
        with open(path, "rb") as opened:
            got = hashlib.file_digest(opened, kind).hexdigest()
        if got != published.lower():
            return f"its {kind} is {got}, published is {published.lower()}"
    return "" if length else "it is empty"


def _whole_length(response: httpx.Response) -> int | None:
    """Bytes of the whole file, as the server states them: also where it sends only the rest."""
    if response.status_code == 206:
        total = response.headers.get("content-range", "").rpartition("/")[2]
    else:
        total = response.headers.get("content-length", "")
    return int(total) if total.isdigit() else None


def _validator(memory: dict[str, object]) -> str:
    """What `If-Range` may say: a strong ETag, else the date. A weak ETag does not promise the same bytes."""
    etag = str(memory.get("etag") or "")
    return etag if etag and not etag.startswith("W/") else str(memory.get("modified") or "")


def _retry_after(response: httpx.Response) -> float:
    said = response.headers.get("retry-after", "")
    if said.isdigit():
        return float(said)
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _memory(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def _recall(target: Path) -> dict[str, object]:
    try:
        memory = read_json(_memory(target))
    except LeukoscopeError:
        return {}
    return memory if isinstance(memory, dict) else {}


def _forget(target: Path) -> None:
    _part(target).unlink(missing_ok=True)
    _memory(target).unlink(missing_ok=True)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the file's lock: two processes must not write one part."""
    lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=0)
    try:
        with lock:
            try:
                yield
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise DownloadError(f"{target}: another process is fetching it", "wait until it has ended") from error


@contextmanager
def _client(given: httpx.Client | None) -> Iterator[httpx.Client]:
    """The given client, or one of our own that follows redirects and is closed afterwards."""
    if given is not None:
        yield given
        return
    with httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers={"User-Agent": "leukoscope"}) as own:
        yield own
