"""Files are complete or do not exist."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from leukoscope import files
from leukoscope.errors import ImageError, LeukoscopeError
from leukoscope.files import atomic_path, parse_toml, read_json, sha256, write_json, write_text


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")

    def fail() -> None:
        with atomic_path(target) as beside:
            beside.write_text("half")
            raise RuntimeError("disk failed")

    with pytest.raises(RuntimeError, match="disk failed"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_disk_that_cannot_be_written_to_is_named_by_the_file_that_was_asked_for(tmp_path, monkeypatch):
    """There, even removing a file that is not there is refused."""
    def refuse(*_, **__) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "beside"))

    def write() -> None:
        with atomic_path(tmp_path / "table.csv") as beside:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(beside))

    monkeypatch.setattr(files.Path, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only file system") as refused:
        write()
    assert refused.value.filename == str(tmp_path / "table.csv")


def test_the_suffix_is_the_same_for_writers_that_need_it(tmp_path):
    with atomic_path(tmp_path / "a" / "b.parquet") as beside:
        assert beside.suffix == ".parquet"
        beside.write_bytes(b"x")
    assert (tmp_path / "a" / "b.parquet").read_bytes() == b"x"


def test_a_killed_writer_never_shows_a_part(tmp_path):
    target = tmp_path / "big.json"
    code = (f"from leukoscope.files import write_text\nfor i in range(10**9):\n    write_text({str(target)!r}, "
            "str(i % 10) * 2_000_000)\n")
    writer = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not target.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    text = target.read_text()
    assert len(text) == 2_000_000
    assert len(set(text)) == 1


def test_json_is_written_and_read_and_nan_is_refused(tmp_path):
    write_json(tmp_path / "a.json", {"café": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"café": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()
    (tmp_path / "c.json").write_text('{"half": ')
    with pytest.raises(LeukoscopeError, match=r"c\.json: not valid JSON"):
        read_json(tmp_path / "c.json")
    with pytest.raises(LeukoscopeError, match="no such file"):
        read_json(tmp_path / "d.json")


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_an_error_is_one_line_with_its_hint():
    assert str(LeukoscopeError("row 3:\n is bad", "correct\n it")) == "row 3: is bad; correct it"
    error = ImageError("a.png", "cut\noff")
    assert str(error) == "a.png: cut off"
    assert error.reason == "cut off"


DOTS = ".".join("abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize("text", [
    f"{DOTS} = 1", f"[{DOTS}]", '"a" . ' * 25 + "b = 1", f'a = """x"""\n{DOTS} = 1', f"# it's\n{DOTS} = 1"])
def test_a_key_of_many_parts_is_refused(text):
    with pytest.raises(ValueError, match="a key has more than 20 parts"):
        parse_toml(text)


@pytest.mark.parametrize(("text", "value"), [
    (f"# {DOTS}\na = 1", 1), (f'a = "{DOTS}"', DOTS), (f'a = """\n{DOTS}"""', DOTS), (f"a = '''\n{DOTS}'''", DOTS),
    (f'a = "#" # {DOTS}', "#")])
def test_dots_in_texts_and_comments_are_no_keys(text, value):
    assert parse_toml(text) == {"a": value}
