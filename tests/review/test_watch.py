"""A watched folder: new photographs are counted as they come, and what cannot be counted is named."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import httpx
import pytest

from command import refusal
from leukoscope.review import watch as module
from leukoscope.review.desk import Desk
from leukoscope.review.watch import Watch, counts_in
from soak.review import server


@pytest.fixture
def photographs(counted: Path) -> list[Path]:
    return sorted((counted.parent / "fields").rglob("images/*.png"))


def test_photographs_are_counted_once_nothing_more_comes(photographs: list[Path], tmp_path: Path, monkeypatch):
    fields, out = tmp_path / "fields", tmp_path / "out"
    (fields / "P1").mkdir(parents=True)
    (fields / "P2").mkdir()
    out.mkdir()
    counts: list[Path] = []
    watch = Watch(fields, out, counts.append)
    shutil.copy(photographs[0], fields / "P1" / "a.png")
    (fields / "P2" / "bad.png").write_bytes(b"no picture")
    (fields / "P1" / ".hidden.png").write_bytes(b"of a program")
    watch.look()
    assert [(one.subject, one.photographs, one.why) for one in watch.waiting] == [("P1", 1, ""), ("P2", 1, "")]
    monkeypatch.setattr(module, "QUIET", 0.3)
    growing = fields / "P1" / "b.png"
    for end in (1000, 50_000):
        growing.write_bytes(photographs[1].read_bytes()[:end])
        watch.look()
        time.sleep(0.1)
    assert [one.photographs for one in watch.waiting] == [2, 1]
    shutil.copy(photographs[1], growing)
    watch.look()
    assert not any(count.name == "P1" for count in counts)
    time.sleep(0.4)
    watch.look()
    assert [count.name for count in counts] == ["P1"]
    watch.look()
    assert [(one.subject, one.photographs) for one in watch.waiting] == [("P2", 1)]
    assert "bad.png" in watch.waiting[0].why
    assert "Traceback" not in watch.waiting[0].why
    summary = module.read_json(out / "P1" / "summary.json")
    assert (summary["subject"], len(summary["fields"])) == ("P1", 2)
    shutil.copy(photographs[0], fields / "P1" / "later.png")
    again = Watch(fields, out, counts.append)  # another start knows what is counted
    again.look()
    time.sleep(0.4)
    again.look()
    assert [count.name for count in counts] == ["P1", "P1-2"]
    assert [folder.name for folder in counts_in(out)] == ["P1", "P1-2"]
    desk = Desk(counts_in(out))
    desk.watch = again
    assert [row.name for row in desk.worklist()] == ["P1", "P1"]
    desk.close()


def test_the_command_watches_and_shows_what_is_new(tmp_path: Path):
    (tmp_path / "fields" / "<b>P1").mkdir(parents=True)
    (tmp_path / "fields" / "<b>P1" / "bad.png").write_bytes(b"no picture")
    with (server(tmp_path / "out", ["--watch", str(tmp_path / "fields")]) as (_, address),
          httpx.Client(base_url=address.partition("/?")[0], follow_redirects=True, timeout=120) as client):
        client.get(address)
        ends = time.monotonic() + 60
        while "waiting until no more come" not in (page := client.get("/").text) and time.monotonic() < ends:
            time.sleep(0.3)
    assert "&lt;b&gt;P1:</strong> 1 photograph waiting" in page
    assert (tmp_path / "out").is_dir()


def test_folders_that_cannot_be_watched_are_named(folder: Path, tmp_path: Path):
    (tmp_path / "fields").mkdir()
    assert "--watch nowhere: no such folder" in refusal("review", tmp_path / "out", "--watch", "nowhere")
    assert "holds one counted smear" in refusal("review", folder, "--watch", tmp_path / "fields")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "summary.json").write_text("5")
    assert "holds one counted smear" in refusal("review", tmp_path / "odd", "--watch", tmp_path / "fields")
    assert "lies in the folder that is watched" in refusal("review", tmp_path / "fields" / "out", "--watch",
                                                           tmp_path / "fields")
    assert not (tmp_path / "out").exists()
