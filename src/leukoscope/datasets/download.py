"""Download the published files of a data set: resume after an interruption, verify, and delete what is wrong.

A file grows as `<name>.part`, is compared with the published length and checksum, and only then gets its name. Beside
it, `<name>.part.json` stores which version of the file the part belongs to. (pooch verifies too, but starts again from
the first byte after an interruption.)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from ..errors import DownloadError, LeukoscopeError
from ..files import alone, read_json, write_json
from ..progress import OnProgress
from .archives import is_archive, unpack
from .base import Dataset, Download

ATTEMPTS = 5
"""Tries in a row that bring no new bytes before giving up."""
PAUSE = 1.0
"""Seconds before the second try; doubled before each further one."""
LONGEST_PAUSE = 60.0
TIMEOUT = 30.0
_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHANGED = "the file has changed at its publisher or on the way: download it by hand, or try again later"
_MOVED = "open the address in a browser: the file may have moved or need a login"


def download(
    dataset: Dataset,
    to: Path,
    *,
    names: Sequence[str] = (),
    on_progress: OnProgress | None = None,
    client: httpx.Client | None = None,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> tuple[Path, ...]:
    """Download a data set's files into `to` and unpack its archives; return the files and the folders of archives.

    names: which of its files (`Download.filename`); by default all that are not optional. `on_progress` gets bytes done
    and total of each file in turn. A file that exists and is verified is not downloaded again; an interrupted download
    continues where it stopped. Raises DownloadError for a set that no program can download (with what to do instead),
    an unknown name, or a file that cannot be downloaded, verified or written, with its address.
    """
    if not dataset.downloads:
        raise DownloadError(f"{dataset.name} cannot be downloaded by a program", dataset.obtain)
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
    on_progress: OnProgress | None = None,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> Path:
    """Download one published file into the folder `to` and return its path; skip it if it exists and is verified."""
    target = Path(to) / file.filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and not _fault(target, file):
            return target
        lock = target.with_name(f".{target.name}.lock")
        with _client(client) as opened, alone(lock, str(target), DownloadError):
            transfer = _Transfer(file, target, opened, on_progress)
            _fetch_part(transfer, attempts, pause)
            os.replace(transfer.part, target)
            transfer.memory.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{file.url}: cannot write {error.filename or target} ({error.strerror or error})",
                            "make room or choose another folder; the part that was downloaded is kept") from error
    return target


class _Interrupted(Exception):
    """A try that failed and may be repeated. `wait`: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class _Transfer:
    """One file on its way. part: what was downloaded so far. memory: which version of the file it belongs to."""

    file: Download
    target: Path
    client: httpx.Client
    on_progress: OnProgress | None

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def memory(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    @property
    def length(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def version(self) -> dict[str, object]:
        try:
            version = read_json(self.memory)
        except LeukoscopeError:
            return {}
        return version if isinstance(version, dict) else {}

    def restart(self) -> None:
        self.part.unlink(missing_ok=True)
        self.memory.unlink(missing_ok=True)


def _fetch_part(transfer: _Transfer, attempts: int, pause: float) -> None:
    """Try until the part is complete and verified; tries that bring new bytes do not count as failed."""
    file, part = transfer.file, transfer.part
    failed, furthest, resumed, restarted = 0, transfer.length, transfer.length > 0, False
    while True:
        try:
            _try_once(transfer)
        except _Interrupted as error:
            failed = 1 if transfer.length > furthest else failed + 1
            furthest = max(furthest, transfer.length)
            if failed >= attempts:
                if file.checksum and part.exists() and not _fault(part, file):
                    return  # complete by its checksum, whatever length the server stated
                raise DownloadError(f"{file.url}: {error} ({attempts} tries)", "try again later: the download then "
                                    "continues where it stopped") from error
            time.sleep(min(max(pause * 2 ** (failed - 1), error.wait), LONGEST_PAUSE))
            resumed = True
            continue
        fault = _fault(part, file)
        if not fault:
            return
        transfer.restart()
        if restarted or not resumed:
            raise DownloadError(f"{file.url}: the downloaded file does not match the published one: {fault}", _CHANGED)
        restarted = True  # the part may have been of another version: once more from the start


def _try_once(transfer: _Transfer) -> None:
    """One request, appended to the part where the server continues it, else from the start."""
    file, version = transfer.file, transfer.version()
    # What `If-Range` may say: a strong ETag, else the date. A weak ETag does not promise the same bytes.
    etag = str(version.get("etag") or "")
    same = etag if etag and not etag.startswith("W/") else str(version.get("modified") or "")
    if transfer.length and (version.get("url") != file.url or not (same or file.checksum)):
        transfer.restart()  # nothing shows that the rest would belong to this part
    start = transfer.length
    if start and start == (file.bytes or version.get("length")):
        return
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": same} if same else {})
    try:
        with transfer.client.stream("GET", file.url, headers=headers) as response:
            _check_status(file, response)
            if response.status_code == 416:
                transfer.restart()
                raise _Interrupted("the server has no further bytes, but the file is not complete")
            _receive(transfer, response, _start_of_body(transfer, response, start, version))
    except httpx.ConnectError as error:
        raise _Interrupted(f"the server cannot be reached ({error})") from error
    except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
        reason = str(error) or type(error).__name__
        raise _Interrupted(f"interrupted after {transfer.length:,} bytes ({reason})") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(f"{file.url}: {error}", "check the network, a proxy and the address") from error


def _check_status(file: Download, response: httpx.Response) -> None:
    status = response.status_code
    if status in _RETRY:
        raise _Interrupted(f"the server answers {status} {response.reason_phrase}", _retry_after(response))
    if status not in (200, 206, 416):
        raise DownloadError(f"{file.url}: the server answers {status} {response.reason_phrase}", _MOVED)
    if file.url.startswith("https:") and response.url.scheme != "https":
        raise DownloadError(f"{file.url}: leads to {response.url}, which is not encrypted", "download it by hand")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and status != 416 and not file.filename.endswith((".html", ".htm")):
        raise DownloadError(f"{file.url}: the server sent a web page, not {file.filename}", _MOVED)


def _start_of_body(transfer: _Transfer, response: httpx.Response, start: int, before: dict[str, object]) -> int:
    """The offset at which the body continues; 0 after deleting a part that it does not continue."""
    file = transfer.file
    now = {"url": file.url, "etag": response.headers.get("etag"), "modified": response.headers.get("last-modified"),
           "length": _whole_length(response)}
    if response.status_code == 206:
        first = response.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
        changed = [key for key in now if None not in (now[key], before.get(key)) and now[key] != before[key]]
        if not first.isdigit() or int(first) != start or changed:
            transfer.restart()
            raise _Interrupted("the file changed at the server between two tries")
    else:
        transfer.restart()
        start = 0
    stated, published = now["length"], file.bytes
    if stated is not None and published is not None and stated != published:
        transfer.restart()
        raise DownloadError(f"{file.url}: the server offers {stated:,} bytes, the published length is {published:,}",
                            _CHANGED)
    needed, free = (published or stated or 0) - start, shutil.disk_usage(transfer.target.parent).free
    if needed > free:
        raise DownloadError(f"{file.url}: needs {needed:,} bytes in {transfer.target.parent}, which has {free:,} free",
                            "make room or choose another folder")
    write_json(transfer.memory, now)
    return start


def _receive(transfer: _Transfer, response: httpx.Response, start: int) -> None:
    """Append the body to the part, at most up to the length that is published or stated."""
    whole = transfer.file.bytes or _whole_length(response)
    done = start
    with open(transfer.part, "ab") as part:
        for block in response.iter_raw():  # no block size: incomplete blocks would be lost at an interruption
            done += len(block)
            if whole is not None and done > whole:
                break
            part.write(block)
            if transfer.on_progress:
                transfer.on_progress(done, max(done, whole or 0))
        part.flush()
        os.fsync(part.fileno())
    if whole is not None and done > whole:
        transfer.restart()
        raise DownloadError(f"{transfer.file.url}: the server sends more than the {whole:,} bytes it should", _CHANGED)
    if whole is not None and done < whole:
        raise _Interrupted(f"ended after {done:,} of {whole:,} bytes")


def _fault(path: Path, file: Download) -> str:
    """Why a file is not the published one; "" if it agrees with everything that was published."""
    length = path.stat().st_size if path.exists() else 0
    if file.bytes is not None and length != file.bytes:
        return f"it has {length:,} bytes, published are {file.bytes:,}"
    if file.checksum:
        kind, _, published = file.checksum.partition(":")
        with open(path, "rb") as opened:
            got = hashlib.file_digest(opened, kind).hexdigest()
        if got != published.lower():
            return f"its {kind} is {got}, published is {published.lower()}"
    return "" if length else "it is empty"


def _whole_length(response: httpx.Response) -> int | None:
    """Bytes of the whole file, as the server states them, also where it sends only the rest."""
    header = "content-range" if response.status_code == 206 else "content-length"
    total = response.headers.get(header, "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _retry_after(response: httpx.Response) -> float:
    """Seconds until the time, or of the duration, that the server asks for."""
    value = response.headers.get("retry-after", "")
    if value.isdigit():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def _client(given: httpx.Client | None) -> AbstractContextManager[httpx.Client]:
    """The given client, or a new one that follows redirects and is closed afterwards."""
    return nullcontext(given) if given is not None else httpx.Client(
        follow_redirects=True, timeout=TIMEOUT, headers={"User-Agent": "leukoscope"})
