"""Downloads from a real HTTP server on this machine that stops early, gives wrong answers, or does not exist."""

from __future__ import annotations

import email.utils
import hashlib
import io
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from leukoscope.datasets import Dataset, Download, Index, dataset_names, get_dataset
from leukoscope.datasets.archives import unpack
from leukoscope.datasets.download import download, fetch
from leukoscope.errors import DownloadError
from leukoscope.manifest import make_manifest

BODY = np.random.default_rng(0).integers(0, 256, 1_000_003, dtype=np.uint8).tobytes()
OTHER = np.random.default_rng(1).integers(0, 256, 1_000_003, dtype=np.uint8).tobytes()
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th request by the n-th entry of the server's plan; the last entry is used for all further ones."""

    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - the one that is started below

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        self.server.plan[min(len(self.server.asked), len(self.server.plan)) - 1](self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server with a plan, and a record of the headers of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[Answer] = [send()]
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/cells.npz"


def send(body: bytes = BODY, *, ranges: bool = True, etag: str = '"one"', cut: int | None = None,
         stated: int | None = None, honour_if_range: bool = True, **headers: object) -> Answer:
    """Send `body`, or its rest if a range is asked for and `ranges` is true; stop after `cut` bytes of it."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range", "")
        same = not honour_if_range or handler.headers.get("If-Range", etag) == etag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges and same else 0
        length = len(body) - start if stated is None else stated
        extra = {**headers, "Content_Length": length} | ({"ETag": etag} if etag else {})
        if start:
            handler.head(206, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", **extra)
        else:
            handler.head(200, **extra)
        handler.wfile.write(body[start:] if cut is None else body[start:start + cut])

    return answer


def refuse(status: int, **headers: object) -> Answer:
    return lambda handler: handler.head(status, Content_Length=0, **headers)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as opened:
        thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def get(server: Server, to: Path, *, attempts: int = 4, **published: object) -> Path:
    file = Download(server.url, "cells.npz", **{"checksum": SHA256, **published})  # pyright: ignore[reportArgumentType]
    return fetch(file, to, attempts=attempts, pause=0.0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("published", [{}, {"checksum": MD5}, {"bytes": len(BODY)}, {"checksum": None}])
def test_a_file_comes_whole_and_leaves_nothing_beside(server: Server, tmp_path: Path, published: dict[str, Any]):
    path = get(server, tmp_path / "new" / "folder", **published)
    assert path.read_bytes() == BODY
    assert names(path.parent) == ["cells.npz"]


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    server.plan = [send(cut=400_000), send(cut=300_000), send()]
    assert get(server, tmp_path).read_bytes() == BODY
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=400000-", "bytes=700000-"]
    assert server.asked[1]["If-Range"] == '"one"'


def test_the_next_call_goes_on_where_the_last_gave_up(server: Server, tmp_path: Path):
    server.plan = [send(cut=400_000)]
    with pytest.raises(DownloadError, match="continues where it stopped") as caught:
        get(server, tmp_path, attempts=1)
    assert server.url in str(caught.value)
    assert names(tmp_path) == ["cells.npz.part", "cells.npz.part.json"]
    server.plan = [send()]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked[-1]["Range"] == "bytes=400000-"
    assert names(tmp_path) == ["cells.npz"]


def test_tries_that_bring_something_new_do_not_count_as_failed(server: Server, tmp_path: Path):
    server.plan = [send(cut=100_000)]
    assert get(server, tmp_path, attempts=2).read_bytes() == BODY
    assert len(server.asked) == 11


def test_a_server_that_ignores_ranges_is_read_from_the_start(server: Server, tmp_path: Path):
    server.plan = [send(cut=400_000), send(ranges=False)]
    assert get(server, tmp_path).read_bytes() == BODY


def test_without_version_or_checksum_a_part_is_not_continued(server: Server, tmp_path: Path):
    server.plan = [send(cut=400_000, etag=""), send(etag="")]
    assert get(server, tmp_path, checksum=None).read_bytes() == BODY
    assert [asked.get("Range") for asked in server.asked] == [None, None]


def test_a_weak_etag_is_no_promise_of_the_same_bytes(server: Server, tmp_path: Path):
    server.plan = [send(cut=400_000, etag='W/"one"'), send(etag='W/"one"')]
    assert get(server, tmp_path, checksum=None).read_bytes() == BODY
    assert "If-Range" not in server.asked[1]


def test_a_file_that_changes_between_tries_is_taken_anew(server: Server, tmp_path: Path):
    server.plan = [send(OTHER, etag='"old"', cut=400_000), send(etag='"new"')]
    assert get(server, tmp_path).read_bytes() == BODY
    # The same from a server that continues the old part with the new file, and says so only in its ETag ...
    server.asked.clear()
    server.plan = [send(OTHER, etag='"old"', cut=400_000), send(etag='"new"', honour_if_range=False)]
    assert get(server, tmp_path / "etag", checksum=None).read_bytes() == BODY
    # ... or not at all: then the checksum shows it, and the file is downloaded once more from the start.
    server.asked.clear()
    server.plan = [send(OTHER, etag="", cut=400_000), send(etag="")]
    assert get(server, tmp_path / "silent").read_bytes() == BODY
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=400000-", None]


def test_a_length_stated_too_long_is_not_believed(server: Server, tmp_path: Path):
    server.plan = [send(stated=len(BODY) + 1000, ranges=False)]
    with pytest.raises(DownloadError, match="interrupted after 1,000,003 bytes"):
        get(server, tmp_path / "a", checksum=None)
    assert not (tmp_path / "a" / "cells.npz").exists()
    with pytest.raises(DownloadError, match="offers 1,001,003 bytes, the published length is 1,000,003"):
        get(server, tmp_path / "b", bytes=len(BODY))
    assert names(tmp_path / "b") == []
    assert get(server, tmp_path / "c").read_bytes() == BODY  # the checksum tells that it is whole nevertheless


def test_a_length_stated_too_short_is_not_believed(server: Server, tmp_path: Path):
    server.plan = [send(stated=500_000)]
    with pytest.raises(DownloadError, match="does not match the published one: its sha256 is"):
        get(server, tmp_path)
    with pytest.raises(DownloadError, match="offers 500,000 bytes, the published length is 1,000,003"):
        get(server, tmp_path, bytes=len(BODY), checksum=None)
    assert names(tmp_path) == []


def test_a_body_longer_than_published_is_cut_off(server: Server, tmp_path: Path):
    def endless(handler: Handler) -> None:
        handler.head(200, Transfer_Encoding="chunked")
        block = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        try:
            for _ in range(10_000):
                handler.wfile.write(block)
        except OSError:
            server.asked.append({"stopped": "yes"})

    server.plan = [endless]
    with pytest.raises(DownloadError, match="sends more than the 1,000,003 bytes it should"):
        get(server, tmp_path, bytes=len(BODY))
    assert names(tmp_path) == []


def test_a_wrong_file_is_refused_and_not_kept(server: Server, tmp_path: Path):
    server.plan = [send(OTHER)]
    with pytest.raises(DownloadError, match="published is") as caught:
        get(server, tmp_path)
    assert server.url in str(caught.value)
    assert names(tmp_path) == []
    assert len(server.asked) == 1


def test_a_web_page_in_place_of_the_file_is_refused(server: Server, tmp_path: Path):
    server.plan = [send(b"<html>please log in</html>", Content_Type="text/html; charset=utf-8")]
    with pytest.raises(DownloadError, match=r"sent a web page, not cells\.npz"):
        get(server, tmp_path, checksum=None)
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_reported_at_once(server: Server, tmp_path: Path, status: int):
    server.plan = [refuse(status)]
    with pytest.raises(DownloadError, match=f"answers {status}") as caught:
        get(server, tmp_path)
    assert server.url in str(caught.value)
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path):
    server.plan = [refuse(500), refuse(503), refuse(429), send()]
    assert get(server, tmp_path).read_bytes() == BODY
    server.asked.clear()
    server.plan = [refuse(500)]
    with pytest.raises(DownloadError, match=r"answers 500 .*\(3 tries\)"):
        get(server, tmp_path / "never", attempts=3)
    assert len(server.asked) == 3


@pytest.mark.parametrize("wait", ["1", lambda: email.utils.format_datetime(_soon(), usegmt=True)])
def test_the_pause_that_a_server_asks_for_is_kept(server: Server, tmp_path: Path, wait: str | Callable[[], str]):
    asked_at: list[float] = []

    def busy(handler: Handler) -> None:
        asked_at.append(time.time())
        refuse(503, Retry_After=wait() if callable(wait) else wait)(handler)

    server.plan = [busy, send()]
    get(server, tmp_path)
    assert time.time() - asked_at[0] >= 0.9


def _soon():
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) + timedelta(seconds=2)


def test_a_range_beyond_the_end_starts_anew(server: Server, tmp_path: Path):
    (tmp_path / "cells.npz.part").write_bytes(OTHER + b"too much")
    (tmp_path / "cells.npz.part.json").write_text(f'{{"url": "{server.url}", "etag": "\\"one\\""}}')
    server.plan = [refuse(416, Content_Range=f"bytes */{len(BODY)}"), send()]
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_part_that_is_whole_already_is_not_fetched_again(server: Server, tmp_path: Path):
    (tmp_path / "cells.npz.part").write_bytes(BODY)
    (tmp_path / "cells.npz.part.json").write_text(f'{{"url": "{server.url}"}}')
    assert get(server, tmp_path, bytes=len(BODY)).read_bytes() == BODY
    assert server.asked == []


def test_a_part_of_another_address_or_with_a_damaged_memory_is_dropped(server: Server, tmp_path: Path):
    for memory in ('{"url": "http://elsewhere/"}', "{", "[]", ""):
        (tmp_path / "cells.npz").unlink(missing_ok=True)
        (tmp_path / "cells.npz.part").write_bytes(b"old")
        (tmp_path / "cells.npz.part.json").write_text(memory)
        assert get(server, tmp_path).read_bytes() == BODY
        assert "Range" not in server.asked[-1]


def test_what_is_there_and_verified_is_skipped_and_what_is_wrong_replaced(server: Server, tmp_path: Path):
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.asked) == 1
    (tmp_path / "cells.npz").write_bytes(BODY[:-1])
    assert get(server, tmp_path).read_bytes() == BODY
    assert len(server.asked) == 2


def test_a_redirect_is_followed(server: Server, tmp_path: Path):
    server.plan = [refuse(302, Location=server.url + "?again"), send()]
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_server_that_is_not_there(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/cells.npz"
    with pytest.raises(DownloadError, match="cannot be reached") as caught:
        fetch(Download(url, "cells.npz"), tmp_path, attempts=2, pause=0.0)
    assert url in str(caught.value)
    with pytest.raises(DownloadError, match="check the network"):
        fetch(Download("gopher://127.0.0.1/cells.npz", "cells.npz"), tmp_path, attempts=2, pause=0.0)


def test_no_room_is_known_before_the_first_byte(server: Server, tmp_path: Path):
    server.plan = [send(b"x", stated=10**18)]
    with pytest.raises(DownloadError, match="needs 1,000,000,000,000,000,000 bytes"):
        get(server, tmp_path, checksum=None)
    assert not (tmp_path / "cells.npz").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the limit on file size is POSIX")
def test_a_disk_that_takes_no_more_keeps_what_came(server: Server, tmp_path: Path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))  # the kernel refuses to write beyond, as when full
    try:
        with pytest.raises(DownloadError, match="make room or choose another folder") as caught:
            get(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert server.url in str(caught.value)
    assert (tmp_path / "cells.npz.part").stat().st_size == 300_000
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked[-1]["Range"] == "bytes=300000-"


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path):
    (tmp_path / "a file").write_text("")
    with pytest.raises(DownloadError, match="a file"):
        get(server, tmp_path / "a file" / "below")


def test_two_processes_do_not_write_one_part(server: Server, tmp_path: Path):
    with FileLock(tmp_path / ".cells.npz.lock"), pytest.raises(DownloadError, match="another process"):
        get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_download_that_is_killed_goes_on_where_it_was(server: Server, tmp_path: Path):
    killed = threading.Event()

    def stall(handler: Handler) -> None:
        handler.head(200, Content_Length=len(BODY), ETag='"one"')
        handler.wfile.write(BODY[:600_000])
        killed.wait(60)

    server.plan = [stall, send()]
    code = ("import sys; from leukoscope.datasets.base import Download; "
            "from leukoscope.datasets.download import fetch; fetch(Download(sys.argv[1], 'cells.npz'), sys.argv[2])")
    with subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path)]) as process:
        part = tmp_path / "cells.npz.part"
        until = time.monotonic() + 60
        while time.monotonic() < until and not (part.exists() and part.stat().st_size > 100_000):
            time.sleep(0.01)
        process.kill()
    killed.set()
    came = part.stat().st_size
    assert 0 < came <= 600_000
    assert not (tmp_path / "cells.npz").exists()
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked[-1]["Range"] == f"bytes={came}-"
    assert names(tmp_path) == ["cells.npz"]


def test_progress_ends_at_the_whole_and_never_falls(server: Server, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    server.plan = [send(cut=400_000), send()]
    fetch(Download(server.url, "cells.npz"), tmp_path, pause=0.0, on_progress=lambda *at: seen.append(at))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {len(BODY)}


def _dataset(*downloads: Download) -> Dataset:
    empty = Index(make_manifest([{"cell_id": "a", "image": "a.png"}]))
    return Dataset("mine", "Mine", "MIT", "me", "http://home", "write to the owner", "none", {"all": "all"},
                   lambda *_, **__: empty, downloads)


def test_a_set_that_needs_a_request_says_what_to_do(tmp_path: Path):
    with pytest.raises(DownloadError, match="write to the owner"):
        download(_dataset(), tmp_path)
    with pytest.raises(DownloadError, match="Aspera"):
        download(get_dataset("cnmc"), tmp_path)


def test_optional_files_come_only_by_name(server: Server, tmp_path: Path):
    files = (Download(server.url, "small.npz", checksum=SHA256), Download(server.url, "large.npz", optional=True))
    assert download(_dataset(*files), tmp_path / "a") == (tmp_path / "a" / "small.npz",)
    assert download(_dataset(*files), tmp_path / "b", names=["large.npz"]) == (tmp_path / "b" / "large.npz",)
    with pytest.raises(DownloadError, match=r"no file 'huge.npz'; it has: small.npz, large.npz"):
        download(_dataset(*files), tmp_path, names=["huge.npz"])


def test_an_archive_is_unpacked_and_what_is_unpacked_is_kept(server: Server, tmp_path: Path):
    server.plan = [send(_zip({"set/a/cell.jpg": b"one", "__MACOSX/._cell.jpg": b"x", "set/.DS_Store": b"x"}))]
    dataset = _dataset(Download(server.url, "set.zip"))
    for _ in range(2):
        assert download(dataset, tmp_path, pause=0.0) == (tmp_path / "set",)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted((tmp_path / "set").rglob("*.*"))] == [
        "set/set/a/cell.jpg"]
    assert names(tmp_path) == ["set", "set.zip"]


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(*members: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # pyright: ignore[reportArgumentType, reportCallIssue]
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def _member(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_of_every_kind_are_unpacked(tmp_path: Path, mode: str):
    archive = tmp_path / ("set.tar" + mode[1:].replace(":", "."))
    archive.write_bytes(_tar(_member("./", 0, tarfile.DIRTYPE), _member("./a/cell.bmp"),
                             _member("b/c", 0, tarfile.DIRTYPE), mode=mode))
    assert unpack(archive) == tmp_path / "set"
    assert (tmp_path / "set" / "a" / "cell.bmp").read_bytes() == bytes(3)
    assert (tmp_path / "set" / "b" / "c").is_dir()


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"])
def test_no_member_lands_outside_the_folder(tmp_path: Path, name: str):
    folder = tmp_path / "in"
    folder.mkdir()
    for archive, content in ((folder / "set.zip", _zip({"fine": b"1", name: b"2"})),
                             (folder / "set.tar.gz", _tar(_member("fine"), _member(name)))):
        archive.write_bytes(content)
        with pytest.raises(DownloadError, match="would be written outside"):
            unpack(archive)
        archive.unlink()
    assert names(tmp_path) == ["in"]
    assert names(folder) == []


def test_links_and_devices_are_refused(tmp_path: Path):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    for suffix, content in ((".zip", zipped.getvalue()),
                            (".tar", _tar(_member("l", 0, tarfile.SYMTYPE, "/etc"), mode="w")),
                            (".tar.gz", _tar(_member("h", 0, tarfile.LNKTYPE, "../x"))),
                            (".tgz", _tar(_member("d", 0, tarfile.CHRTYPE)))):
        path = tmp_path / f"set{suffix}"
        path.write_bytes(content)
        with pytest.raises(DownloadError, match="is a link or device"):
            unpack(path)
        assert not (tmp_path / "set").exists()


def test_a_decompression_bomb_is_refused(tmp_path: Path):
    for path, content in ((tmp_path / "set.zip", _zip({f"{n}": bytes(4_000_000) for n in range(5)})),
                          (tmp_path / "set.tar.gz", _tar(*(_member(f"{n}", 4_000_000) for n in range(5))))):
        path.write_bytes(content)
        with pytest.raises(DownloadError, match="decompression bomb"):
            unpack(path)
        path.unlink()
    assert names(tmp_path) == []


def test_a_damaged_archive_leaves_nothing_behind(tmp_path: Path):
    whole = _zip({"a": BODY, "b": BODY})
    flipped = bytearray(whole)
    flipped[500_000] ^= 1
    tarred = _tar(_member("a", 50_000), mode="w")
    for name, content in (("s.zip", b""), ("s.zip", whole[:-100_000]), ("s.zip", bytes(flipped)),
                          ("s.tar", tarred[:9_000]), ("s.tar.gz", b"no archive"),
                          ("s.tar.gz", _tar(_member("a", 50_000))[:80])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DownloadError, match="damaged archive"):
            unpack(tmp_path / name)
        (tmp_path / name).unlink()
        assert names(tmp_path) == []
    with pytest.raises(DownloadError, match=r"expected \.zip"):
        unpack(tmp_path / "s.rar")


@pytest.mark.parametrize("name", [name for name in dataset_names() if name in ("pbc", "bccd", "bloodmnist")])
def test_published_downloads_are_stated_whole(name: str):
    for file in get_dataset(name).downloads:
        assert file.url.startswith("https://")
        assert Path(file.filename).name == file.filename
        kind, _, digest = (file.checksum or "md5:" + "0" * 32).partition(":")
        assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size


def test_the_downloader_imports_without_torch():
    code = "import sys, leukoscope.datasets.download; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
