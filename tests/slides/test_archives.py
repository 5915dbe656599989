"""Archives of slides: which files are slides, whose they are, and the same rows on any engine."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from command import leukoscope, refusal
from leukoscope.commands.archive_tables import scan_archive
from leukoscope.commands.engines import TRIES, Engine, Failed, Here, Processes, Task, Waiting
from leukoscope.commands.slide_inputs import SlideInput, are_slides, slides_of
from leukoscope.commands.slide_region import count_region
from leukoscope.commands.smear_slides import SlideOptions, smear_archive, smear_slide
from leukoscope.errors import LeukoscopeError
from worker_tasks import die, die_first, double, fill_disk, refuse, surprise

FEW = SlideOptions(types=False, target=2, workers=1)


def run(engine: Engine, *tasks: Task) -> dict[object, object]:
    for task in tasks:
        engine.submit(task)
    try:
        return dict(engine.next() for _ in tasks)
    finally:
        engine.close()


def test_workers_that_die_cost_their_task_only(tmp_path: Path):
    results = run(Processes(2), *(Task(n, double, (n,)) for n in range(6)),
                  Task("once", die_first, (1, tmp_path / "m", 7)),
                  Task("often", die_first, (TRIES, tmp_path / "n", 8)), Task("always", die, ()))
    assert [results[n] for n in range(6)] == [0, 2, 4, 6, 8, 10]
    assert (results["once"], results["often"]) == (7, 8)
    failed = results["always"]
    assert isinstance(failed, Failed)
    assert f"{TRIES + 1} workers died of it" in failed.what


def test_a_task_of_which_many_workers_died_is_tried_alone_at_the_end():
    """Somebody else may have ended them, or used all memory."""
    waiting, doubtful, other = Waiting(), Task("doubtful", die, ()), Task("other", double, (1,))
    waiting.add(doubtful)
    for tried in range(1, TRIES + 1):
        assert waiting.take(0) == (doubtful, tried)
        assert waiting.again(doubtful, tried)
    waiting.add(other)
    assert waiting.take(0) == (other, 1)
    assert waiting.take(busy=1) is None  # not beside others
    assert waiting.take(0) == (doubtful, TRIES + 1)
    waiting.add(other)
    assert waiting.take(busy=1) is None  # nor others beside it
    assert not waiting.again(doubtful, TRIES + 1)
    assert waiting.take(0) == (other, 1)
    assert not waiting.any


def test_a_worker_takes_what_fits_it():
    waiting, tasks = Waiting(), [Task(n, double, (n,)) for n in range(3)]
    for task in tasks:
        waiting.add(task)
    assert waiting.take(0, lambda task: task.key == 1) == (tasks[1], 1)
    assert waiting.remove(lambda task: task.key == 2) == [tasks[2]]
    assert waiting.take(1) == (tasks[0], 1)


def test_errors_come_back_whole():
    refused, full, odd = run(Here(), Task(0, refuse, ()), Task(1, fill_disk, ()), Task(2, surprise, ())).values()
    assert isinstance(refused, Failed)
    assert isinstance(full, Failed)
    assert isinstance(odd, Failed)
    assert str(refused.error()) == "slide.svs: is damaged; export it again"
    error = full.error()
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (errno.ENOSPC, "/out/cells.csv")
    assert "ZeroDivisionError" in odd.what


def test_an_archive_is_a_folder_for_each_slide(counted: Path, archive: Path):
    subjects = pl.read_csv(counted / "subjects.csv")
    assert subjects["folder"].to_list() == ["one_slide.svs", "two_slide.svs"]
    assert subjects["subject"].to_list() == ["one/slide.svs", "two/slide.svs"]
    cells = pl.read_parquet(counted / "cells.parquet")
    first, second = (cells.filter(pl.col("subject") == name).drop("subject", "image") for name in
                     ("one/slide.svs", "two/slide.svs"))
    assert first.height >= 2
    assert first.equals(second)
    page = (counted / "index.html").read_text()
    assert "broken.svs" in page
    assert "notes.doc" in page
    assert "Leukocytes of 2 slides" in page
    assert "per mm²" in page
    assert (counted / "one_slide.svs" / "smear.html").is_file()


def test_two_workers_give_the_same_rows(archive: Path, counted: Path, tmp_path: Path):
    answer = leukoscope("smear", archive, "-o", tmp_path / "out", "--no-types", "--target", 2, "--workers", 2)
    assert answer.code == 0, answer.err
    assert "broken.svs" in answer.out
    for name in ("cells.parquet", "one_slide.svs/squares.parquet", "two_slide.svs/cells.parquet"):
        assert pl.read_parquet(tmp_path / "out" / name).equals(pl.read_parquet(counted / name))
    again = leukoscope("smear", archive, "-o", tmp_path / "out", "--no-types", "--target", 2, "--resume")
    assert again.code == 0
    assert "holds" not in again.err
    assert "--resume" in refusal("smear", archive, "-o", tmp_path / "out", "--no-types", "--target", 3, "--resume")


def test_a_full_disk_can_go_on(archive: Path, counted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from leukoscope.commands import slide_region

    def full(table: pl.DataFrame, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(slide_region, "write_table", full)
        line = refusal("smear", archive / "one" / "slide.svs", "-o", tmp_path / "out", "--no-types", "--target", 2,
                       "--workers", 1)
    assert "No space left on device; free disk space" in line
    done = leukoscope("smear", archive / "one" / "slide.svs", "-o", tmp_path / "out", "--no-types", "--target", 2,
                      "--workers", 1, "--resume")
    assert done.code == 0, done.err
    first, second = pl.read_parquet(tmp_path / "out" / "cells.parquet"), pl.read_parquet(
        counted / "one_slide.svs" / "cells.parquet")
    assert first.drop("subject").equals(second.drop("subject"))


def test_a_slide_that_vanishes_is_named(archive: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in ("a.svs", "b.svs"):
        shutil.copy(archive / "one" / "slide.svs", tmp_path / "in" / name)
    slides = slides_of([str(tmp_path / "in")], tmp_path / "out")
    (tmp_path / "in" / "a.svs").unlink()
    summary = smear_archive(slides, tmp_path / "out", FEW)
    assert list(summary.smears) == ["b"]
    assert [reason for name, reason in summary.unreadable.items() if name.endswith("a.svs")] == ["no such file"]
    shutil.copy(archive / "one" / "slide.svs", tmp_path / "in" / "a.svs")
    summary = smear_archive(slides, tmp_path / "out", FEW, resume=True)
    assert (list(summary.smears), dict(summary.unreadable)) == (["a", "b"], {})
    assert pl.read_parquet(tmp_path / "out" / "cells.parquet")["subject"].unique(maintain_order=True).to_list() == [
        "a", "b"]


def test_a_slide_that_vanishes_meanwhile_is_whole_when_it_is_back(archive: Path, counted: Path, tmp_path: Path):
    """No part of it is taken for damaged."""
    disk, away, out = tmp_path / "disk", tmp_path / "away", tmp_path / "out"
    disk.mkdir()
    path = Path(shutil.copy(archive / "one" / "slide.svs", disk))

    def vanish(done: int, total: int) -> None:
        if disk.exists():
            disk.rename(away)

    every = replace(FEW, target=1000)
    with pytest.raises(LeukoscopeError, match=r"slide\.svs: no such file"):
        smear_slide(SlideInput(path, "", ""), out, every, on_progress=vanish)
    away.rename(disk)
    summary = smear_slide(SlideInput(path, "", ""), out, every, resume=True)
    assert summary.slide is not None
    assert summary.slide.looked == 4
    assert not any("could not be read" in remark for remark in summary.fields[0].remarks)


def test_what_workers_leave_that_die_while_they_write_is_removed(archive: Path, counted: Path, tmp_path: Path):
    """The table over all would read it."""
    out = tmp_path / "out"
    left = [out / "cells" / "subject=one%2Fslide.svs" / ".one_slide.svs.01234567.partial.parquet",
            out / "one_slide.svs" / ".slide.01234567.partial.png"]
    others = out / "cells" / "subject=one%2Fslide.svs" / ".one_slide.svs.b.01234567.partial.parquet"

    once = [*left, others]

    def die(done: int, total: int) -> None:
        while once:
            path = once.pop()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")

    smear_archive(slides_of([str(archive)], out), out, FEW, on_progress=die)
    assert not any(path.exists() for path in left)
    assert others.exists()  # of another slide, which is perhaps being written
    others.unlink()
    assert scan_archive(out).collect().height == pl.read_parquet(counted / "cells.parquet").height


def test_lists_and_tables_name_slides_and_subjects(archive: Path, tmp_path: Path):
    (archive / "list.txt").write_text("# slides\none/slide.svs\n\ntwo/slide.svs\n")
    (archive / "table.csv").write_text("slide;subject;day\none/slide.svs;Ann;1\ntwo/slide.svs;Bob;2\n")
    try:
        assert [one.subject for one in slides_of([str(archive / "list.txt")], tmp_path).slides] == [
            "one/slide.svs", "two/slide.svs"]
        assert [one.subject for one in slides_of([str(archive / "table.csv")], tmp_path).slides] == ["Ann", "Bob"]
        assert are_slides([str(archive / "table.csv")])
        (archive / "list.txt").write_text("\ufeffone/slide.svs\nthree/slide.svs\n", encoding="utf-8")
        with pytest.raises(LeukoscopeError, match=r"slide 2, three/slide\.svs, does not exist"):
            slides_of([str(archive / "list.txt")], tmp_path)
        (archive / "table.csv").write_text("slide,subject\none/slide.svs,Ann\none/../one/slide.svs,Bob\n")
        with pytest.raises(LeukoscopeError, match=r"slide\.svs has two subjects, Ann and Bob"):
            slides_of([str(archive / "table.csv")], tmp_path)
    finally:
        (archive / "list.txt").unlink()
        (archive / "table.csv").unlink()


def test_slides_that_cannot_be_told_apart_are_refused(archive: Path, tmp_path: Path):
    for where in ("x/same", "y/same"):
        (tmp_path / where).mkdir(parents=True)
        shutil.copy(archive / "broken.svs", tmp_path / where / "slide.svs")
    with pytest.raises(LeukoscopeError, match="two slides have this name and folder"):
        slides_of([str(tmp_path)], tmp_path / "out")
    assert not are_slides([str(tmp_path / "nothing")])
    with pytest.raises(LeukoscopeError, match="holds no slide"):
        slides_of([str(Path(__file__).parent)], tmp_path / "out")


def test_another_version_of_a_worker_is_refused(archive: Path, tmp_path: Path):
    from leukoscope.commands.slide_plan import SlideJob

    job = SlideJob(str(archive / "one" / "slide.svs"), str(tmp_path), str(tmp_path), "", "slide.svs", "slide", "", None,
                   False, None, 2, "0.0.1")
    with pytest.raises(LeukoscopeError, match=r"and the run was started with 0\.0\.1; install the same version"):
        count_region(job, 0)


def test_nothing_but_broken_slides_is_one_line(archive: Path, tmp_path: Path):
    line = refusal("smear", archive / "broken.svs", archive / "broken.svs", "-o", tmp_path / "out", "--workers", 1)
    assert "no slide could be counted" in line
    assert "--subject" in refusal("smear", archive, "-o", tmp_path / "out", "--subject", "Ann")
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    assert "a.czi: slides of the kind .czi are not read; export it as OME-TIFF" in refusal(
        "smear", tmp_path / "a.czi", "-o", tmp_path / "out")
    assert replace(FEW, target=None).target is None
