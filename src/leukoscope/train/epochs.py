"""The bookkeeping of training: results of each epoch, the best weights, the next learning rate, when to stop.

Plain values and pure functions, so that a resumed run decides as if it had never stopped. Does not use torch.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from ..files import JsonObject
from ..recipes.sections import Training

HISTORY = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
           "seconds")

Row = Mapping[str, float | None]
"""The figures of one epoch: a row of history.csv, and of optics.csv where there is a microscope."""


@dataclass(frozen=True)
class Left:
    """What is left to train, over all runs of a command.

    runs, folds, epochs: numbers that are left (epochs with fractions); all_runs, all_folds, all_epochs: numbers in
    total. seconds: about how long it takes, None before an epoch was timed. at_most: training may stop earlier.
    """

    runs: int
    folds: int
    epochs: float
    all_runs: int
    all_folds: int
    all_epochs: int
    seconds: float | None
    at_most: bool


@dataclass(frozen=True)
class Event:
    """What training reports while it runs.

    phase: "pack", "fingerprint", "edges", "fit", "start" (of a fold), "batch", "epoch", "fold" (finished), "evaluate",
    "done", or "note" with a `text` for the user. done, total: progress of the phase. fold, folds: which fold, from 0,
    of how many. epoch, epochs: which epoch, from 1, of how many. metrics: the figures after an epoch. run, left: the
    name of the run among the runs of a command, and what is left of all of them (set by `time_left.py`).
    """

    phase: str
    done: int = 0
    total: int = 0
    fold: int | None = None
    folds: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: Row = field(default_factory=dict)
    run: str = ""
    left: Left | None = None
    text: str = ""


OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Progress:
    """The state of a fold between epochs. Epochs count from 1; `epoch` and `best_epoch` are 0 before the first.

    stale: epochs since the best one. drops: how often the plateau schedule lowered the rate; waited: epochs since then.
    diverged: the loss became NaN or infinite in the last epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: tuple[float, float] | None = None
    stale: int = 0
    drops: int = 0
    waited: int = 0
    diverged: bool = False
    history: tuple[Row, ...] = ()

    def to_dict(self) -> JsonObject:
        """Plain values, for a checkpoint."""
        return asdict(self) | {"history": [dict(row) for row in self.history]}

    @staticmethod
    def from_dict(values: JsonObject) -> Progress:
        score = values["best_score"]
        return Progress(**{**values, "best_score": tuple(score) if score else None,
                           "history": tuple(values["history"])})

    @property
    def seconds(self) -> float:
        """Seconds that the epochs took."""
        return sum(row["seconds"] or 0.0 for row in self.history)


def after_epoch(progress: Progress, training: Training, row: Row) -> Progress:
    """The progress once the figures of an epoch are known.

    Better is a higher validation accuracy, and with equal accuracy a lower loss; or a lower loss where the loss is
    monitored. Without validation figures the last epoch is the best one.
    """
    progress = replace(progress, epoch=progress.epoch + 1, history=(*progress.history, dict(row)))
    loss, accuracy = row["validation_loss"], row["validation_accuracy"]
    losses = [row["train_loss"]] if loss is None else [row["train_loss"], loss]
    if not all(value is not None and math.isfinite(value) for value in losses):
        return replace(progress, diverged=True)
    if loss is None or accuracy is None:
        return Progress(epoch=progress.epoch, best_epoch=progress.epoch, history=progress.history)
    score = (accuracy, -loss) if training.monitor == "accuracy" else (-loss, accuracy)
    if progress.best_score is None or score > progress.best_score:
        return replace(progress, best_epoch=progress.epoch, best_score=score, stale=0, waited=0)
    drops, waited = progress.drops, progress.waited + 1
    if training.schedule == "plateau" and waited >= training.plateau:
        drops, waited = drops + 1, 0
    return replace(progress, stale=progress.stale + 1, drops=drops, waited=waited)


def is_finished(progress: Progress, training: Training) -> bool:
    """Whether there is no further epoch."""
    stopped = 0 < training.patience <= progress.stale
    return progress.diverged or stopped or progress.epoch >= training.epochs


def learning_rate(training: Training, progress: Progress) -> float:
    """The rate of the next epoch. Cosine: half a cosine from the full rate in the first epoch towards zero after the
    last; plateau: the rate times `factor` to the power of the drops so far."""
    if training.schedule == "cosine":
        return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress.epoch / training.epochs))
    if training.schedule == "plateau":
        return training.learning_rate * training.factor**progress.drops
    return training.learning_rate


def history_csv(progress: Progress) -> str:
    """The text of history.csv; a missing figure is left empty."""
    return _csv(HISTORY, progress)


def optics_csv(progress: Progress) -> str:
    """The text of optics.csv: the state of the microscope after each epoch (`Microscope.summary`)."""
    names = [name for name in progress.history[0] if name not in HISTORY]
    return _csv(("epoch", *names), progress)


def _csv(names: Sequence[str], progress: Progress) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows([row[name] for name in names] for row in progress.history)
    return text.getvalue()
