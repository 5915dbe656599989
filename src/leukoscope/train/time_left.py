"""How long training still takes: over all folds of all runs that a command trains, some of which may be done already.

Reads run folders and events. Does not use torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

from ..recipes.recipe import Recipe
from .epochs import Event, Left, OnEvent


class Countdown:
    """Passes on the events of several runs, with the name of the run and what is left of all runs; of the events
    "start" only the first, with which the training of all runs starts.

    The time left is the mean time of an epoch times the epochs left, and the mean pauses between folds and between
    runs. The first epoch of a run is ignored as soon as there is another, because it includes compiling.
    """

    def __init__(self, out: Path, runs: Mapping[Path, Recipe], on_event: OnEvent | None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """runs: the recipe of each run folder (`out` or below it), in the order of training. clock: in seconds."""
        self._runs, self._on_event, self._clock = runs, on_event, clock
        self._names = {folder: "/".join(folder.relative_to(out).parts) for folder in runs}
        self._left = {folder: _epochs_left(folder, recipe) for folder, recipe in runs.items()}
        self._seconds: dict[Path, list[float]] = {folder: [] for folder in runs}
        self._pauses: dict[str, list[float]] = {"fold": [], "run": []}
        self._started = False
        self._now: tuple[Path, int] | None = None
        self._last_event = 0.0

    def of(self, folder: Path) -> OnEvent:
        """The function that takes the events of one run."""
        return partial(self._follow, folder)

    def _follow(self, folder: Path, event: Event) -> None:
        if event.phase == "start":
            if self._started:
                return
            self._started = True
        running = 0.0  # share of the current epoch that is done
        if event.fold is not None and event.phase in ("batch", "epoch"):
            self._measure(folder, event)
            running = event.done / event.total if event.phase == "batch" else 0.0
        elif event.fold is not None and event.phase == "fold":
            self._left[folder][event.fold] = 0  # it may have stopped early
        if self._on_event is not None:
            self._on_event(replace(event, run=self._names[folder], left=self._what_is_left(running)))

    def _measure(self, folder: Path, event: Event) -> None:
        assert event.fold is not None
        assert event.epoch is not None
        assert event.epochs is not None
        time_now = self._clock()
        if self._now is not None and self._now != (folder, event.fold):
            self._pauses["fold" if self._now[0] == folder else "run"].append(time_now - self._last_event)
        self._now, self._last_event = (folder, event.fold), time_now
        self._left[folder][event.fold] = event.epochs - event.epoch + (event.phase == "batch")
        if event.phase == "epoch":
            self._seconds[folder].append(event.metrics["seconds"] or 0.0)

    def _what_is_left(self, running: float) -> Left:
        folds = {folder: [epochs for epochs in own.values() if epochs] for folder, own in self._left.items()}
        unfinished = [folder for folder, own in folds.items() if own]
        epochs = {folder: float(sum(own)) for folder, own in folds.items()}
        waiting_folds, waiting_runs = sum(map(len, folds.values())), len(unfinished)
        if self._now is not None:
            epochs[self._now[0]] -= running
            waiting_folds -= self._left[self._now[0]][self._now[1]] > 0
            waiting_runs -= self._now[0] in unfinished
        each = {folder: fmean(own[1:] or own) for folder, own in self._seconds.items() if own}
        seconds = None
        if each:
            usual = fmean(each.values())
            seconds = sum(each.get(folder, usual) * count for folder, count in epochs.items())
            for kind, count in (("fold", waiting_folds - waiting_runs), ("run", waiting_runs)):
                seconds += count * fmean(self._pauses[kind] or [0.0])
        return Left(len(unfinished), sum(map(len, folds.values())), sum(epochs.values()), len(self._runs),
                    sum(map(len, self._left.values())),
                    sum(recipe.split.fold_count * recipe.training.epochs for recipe in self._runs.values()), seconds,
                    at_most=any(self._runs[folder].training.patience for folder in unfinished))


def _epochs_left(folder: Path, recipe: Recipe) -> dict[int, int]:
    """Fold -> epochs that are left at most, by what a stopped run has left in its folder."""
    left = dict.fromkeys(range(recipe.split.fold_count), recipe.training.epochs)
    for fold in left:
        files = folder / "folds" / str(fold)
        if (files / "fold.json").is_file():
            left[fold] = 0
        elif (files / "history.csv").is_file():
            left[fold] = max(left[fold] - (files / "history.csv").read_bytes().count(b"\n") + 1, 0)
    return left
