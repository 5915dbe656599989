"""How long training still takes: the numbers from a clock of the test, and what the command line shows of them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest

from command import leukoscope
from leukoscope.cli.console import training
from leukoscope.manifest import write_manifest
from leukoscope.recipes import Recipe, dump_recipe, load_recipe
from leukoscope.train import checkpoint as train_checkpoint
from leukoscope.train.epochs import Event, Left
from leukoscope.train.time_left import Countdown
from tiny import make_cells, tiny_recipe, train_on_cpu

TWO_FOLDS = {"kind": "kfold", "folds": 2, "validation": 0.25}


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Watched:
    """Two runs of two folds and three epochs in `out`, followed by a countdown whose clock the test sets."""

    def __init__(self, out: Path, **training: object) -> None:
        recipe = tiny_recipe(split=TWO_FOLDS, **{f"training__{key}": value for key, value in training.items()})
        self.clock, self.events = Clock(), list[Event]()
        self.folders = [out / "a", out / "b"]
        self.countdown = Countdown(out, dict.fromkeys(self.folders, recipe), self.events.append, self.clock)

    @property
    def left(self) -> Left:
        left = self.events[-1].left
        assert left is not None
        return left

    def tell(self, run: int, phase: str, fold: int, epoch: int = 0, *, done: int = 1,
             seconds: float | None = None) -> None:
        metrics = {} if seconds is None else {"seconds": seconds}
        self.countdown.of(self.folders[run])(Event(phase, done, 4, fold, 2, epoch, 3, metrics))

    def train(self, run: int, fold: int, seconds: Iterable[float]) -> None:
        """Epochs that take so long, from the first batch on."""
        for epoch, own in enumerate(seconds, start=1):
            self.tell(run, "batch", fold, epoch)
            self.clock.seconds += own
            self.tell(run, "epoch", fold, epoch, seconds=own)
        self.tell(run, "fold", fold)


def test_nothing_is_estimated_before_an_epoch_is_timed(tmp_path):
    watched = Watched(tmp_path)
    watched.tell(0, "start", 0)
    assert watched.left == Left(2, 4, 12, 2, 4, 12, None, at_most=False)
    watched.tell(0, "batch", 0, 1)
    assert (watched.left.epochs, watched.left.seconds) == (11.75, None)


def test_the_rest_is_epochs_and_pauses_times_their_mean(tmp_path):
    watched = Watched(tmp_path)
    watched.tell(0, "batch", 0, 1)
    watched.tell(0, "epoch", 0, 1, seconds=30.0)
    assert watched.left.seconds == 11 * 30  # the only one that there is
    watched.tell(0, "epoch", 0, 2, seconds=4.0)
    assert watched.left.seconds == 10 * 4  # the first, which compiles, does not count any more
    watched.tell(0, "batch", 0, 3, done=1)
    assert watched.left.seconds == pytest.approx(9.75 * 4)
    watched.tell(0, "epoch", 0, 3, seconds=6.0)
    watched.tell(0, "fold", 0)
    assert (watched.left.epochs, watched.left.folds, watched.left.runs) == (9, 3, 2)
    assert watched.left.seconds == 9 * 5
    watched.clock.seconds += 7  # predicting, and preparing the second fold
    watched.tell(0, "batch", 1, 1, done=4)
    assert watched.left.seconds == 8 * 5 + 7  # another such pause comes in the second run
    watched.train(0, 1, (5.0, 5.0, 5.0))
    watched.clock.seconds += 20
    watched.tell(1, "batch", 0, 1, done=4)
    assert watched.left.seconds == 5 * 5 + 7
    assert [event.run for event in watched.events] == ["a"] * (len(watched.events) - 1) + ["b"]


def test_the_pause_between_runs_counts_for_each_run_to_come(tmp_path):
    recipe = tiny_recipe(training__epochs=1)
    clock, events = Clock(), list[Event]()
    folders = [tmp_path / name for name in "abc"]
    countdown = Countdown(tmp_path, dict.fromkeys(folders, recipe), events.append, clock)
    for folder in folders[:2]:
        countdown.of(folder)(Event("batch", 1, 1, 0, 1, 1, 1))
        countdown.of(folder)(Event("epoch", 1, 1, 0, 1, 1, 1, {"seconds": 2.0}))
        countdown.of(folder)(Event("fold", 1, 1, 0, 1))
        clock.seconds += 30
    assert events[-1].left == Left(1, 1, 1, 3, 3, 3, 32.0, at_most=False)


def test_early_stopping_makes_it_at_most_and_frees_what_a_fold_did_not_need(tmp_path):
    watched = Watched(tmp_path, patience=1)
    watched.train(0, 0, (2.0, 2.0))
    assert (watched.left.epochs, watched.left.seconds, watched.left.at_most) == (9, 18.0, True)


def test_a_faster_run_is_estimated_by_its_own_epochs(tmp_path):
    watched = Watched(tmp_path)
    for fold in (0, 1):
        watched.train(0, fold, (10.0, 10.0, 10.0))
    watched.train(1, 0, (2.0, 2.0, 2.0))
    assert watched.left.seconds == 3 * 2


# What a stopped run has left


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> pl.DataFrame:
    return make_cells(tmp_path_factory.mktemp("cells"))


@pytest.fixture
def arguments(cells, tmp_path, monkeypatch) -> list[str]:
    """`leukoscope train` of two folds of three epochs into a folder `run`."""
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    recipe, table = tmp_path / "tiny.toml", tmp_path / "cells.parquet"
    write_manifest(cells, table)
    write_recipe(recipe, tiny_recipe(split=TWO_FOLDS))
    return ["train", str(recipe), "--data", str(table), "-o", str(tmp_path / "run")]


def write_recipe(path: Path, recipe: Recipe, more: str = "") -> None:
    path.write_text(dump_recipe(recipe) + more)


class Stopped(Exception):
    """In the middle of a training."""


def stop_at(phase: str, fold: int, epoch: int | None, arguments: list[str], cells: pl.DataFrame) -> None:
    def stop(event: Event) -> None:
        if (event.phase, event.fold, event.epoch) == (phase, fold, epoch):
            raise Stopped

    with pytest.raises(Stopped):
        train_on_cpu(load_recipe(arguments[1]), cells, Path(arguments[-1]), on_event=stop)


LINE = r"fold {}/2, epoch {}/3: loss [\d.]+, validation loss [\d.]+, accuracy [\d.]+ % \(\d+ s{}\)"
LEFT = r"; about \d+ s left"


def lines_of(err: str) -> list[str]:
    return [line for line in err.splitlines() if line]


def test_a_log_says_at_the_start_what_comes_and_after_each_epoch_what_is_left(arguments):
    answer = leukoscope(*arguments)
    assert answer.code == 0, answer.err
    first, *epochs = lines_of(answer.err)
    assert first == "training 2 folds, 6 epochs in total"
    assert len(epochs) == 6
    for number, line in enumerate(epochs):
        assert re.fullmatch(LINE.format(number // 3 + 1, number % 3 + 1, LEFT if number < 5 else ""), line), line


def test_a_resumed_run_counts_what_is_left(arguments, cells, monkeypatch):
    monkeypatch.setattr(train_checkpoint, "SECONDS_BETWEEN", 0.0)
    stop_at("epoch", 0, 1, arguments, cells)
    answer = leukoscope(*arguments, "--resume")
    first, *epochs = lines_of(answer.err)
    assert first == "training continues: 2 of 2 folds and 5 of 6 epochs are left"
    assert [line.partition(":")[0] for line in epochs][:2] == ["fold 1/2, epoch 2/3", "fold 1/2, epoch 3/3"]
    assert lines_of(leukoscope(*arguments, "--resume").err) == []  # nothing is left


def test_finished_folds_are_not_counted(arguments, cells):
    stop_at("fold", 0, None, arguments, cells)
    first, *epochs = lines_of(leukoscope(*arguments, "--resume").err)
    assert first == "training continues: 1 of 2 folds and 3 of 6 epochs are left"
    assert len(epochs) == 3


def test_variants_are_counted_together_and_named(arguments, tmp_path):
    recipe = tiny_recipe(split={"kind": "holdout", "test": 0.3, "validation": 0.25}, training__patience=1)
    write_recipe(tmp_path / "tiny.toml", recipe,
                 '\n[variants]\nslow = { "training.learning_rate" = 1e-30 }\nlong = { "training.epochs" = 4 }\n')
    answer = leukoscope(*arguments)
    assert answer.code == 0, answer.err
    first, *epochs = lines_of(answer.err)
    assert first == "training 2 runs, 2 folds, at most 7 epochs in total"
    assert [line.partition(":")[0] for line in epochs][:3] == ["slow, epoch 1/3", "slow, epoch 2/3", "long, epoch 1/4"]
    assert all(re.search(r" s; at most \d+ s left\)$", line) for line in epochs[:3])


def test_a_program_that_reads_json_gets_no_lines(capsys):
    left = Left(1, 2, 6, 1, 2, 6, None, at_most=False)
    for quiet in (True, False):
        with training(quiet=quiet) as on_event:
            on_event(Event("start", left=left))
        assert capsys.readouterr() == ("", "" if quiet else "training 2 folds, 6 epochs in total\n")


def test_a_terminal_shows_a_bar_over_all_epochs_with_the_time_left(arguments):
    terminal, inside = pty.openpty()
    code = "from leukoscope.cli.main import main; main()"
    environment = {**os.environ, "COLUMNS": "150", "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, stderr=inside,
                          env=environment) as process:
        os.close(inside)
        shown = b""
        try:
            while part := os.read(terminal, 4096):
                shown += part
        except OSError:  # so a terminal says that nobody writes to it any more
            pass
    os.close(terminal)
    assert process.returncode == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"training 2 folds, 6 epochs in total", text)
    assert re.search(r"training fold [12]/2 epoch [123]/3 \S+ +[1-5]/6 +about \d+ s left", text), text
    assert re.search(LINE.format(1, 1, LEFT), text)
