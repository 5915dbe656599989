"""The book-keeping of training: what an epoch brought, which weights are best, what rate comes next, when to stop.

Plain values and pure functions, so that a run that goes on later decides as if it had never stopped. Knows no torch.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..recipes.sections import Training

HISTORY = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
           "seconds")


@dataclass(frozen=True)
class Event:
    """What training tells whoever watches.

    phase: "pack", "fingerprint", "edges", "fit", "batch", "epoch", "fold", "evaluate" or "done". done, total: how far
    the phase is.
    fold, folds: which fold, from 0, of how many. epoch, epochs: which epoch, from 1, of how many.
    metrics: after an epoch, its rows of history.csv and optics.csv; after the last step, the overall figures.
    """

    phase: str
    done: int = 0
    total: int = 0
    fold: int | None = None
    folds: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Where a fold stands. Epochs count from 1; `epoch` and `best_epoch` are 0 before the first.

    stale: epochs since the best. drops: how often the plateau schedule lowered the rate, and `waited` since then.
    diverged: the loss became NaN or infinite in the last epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: tuple[float, float] | None = None
    stale: int = 0
    drops: int = 0
    waited: int = 0
    diverged: bool = False
    history: tuple[dict[str, float | None], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self) | {"history": [dict(row) for row in self.history]}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Progress:
        score = values["best_score"]
        return Progress(**{**values, "best_score": tuple(score) if score else None,
                           "history": tuple(values["history"])})


def after_epoch(progress: Progress, training: Training, row: Mapping[str, float | None]) -> Progress:
    """The progress once an epoch's figures (a row of `HISTORY`) are known.

    Better is a higher validation accuracy, and of equal ones the lower loss; or a lower loss where that is monitored.
    Without validation figures the last epoch is the best one.
    """
    history = (*progress.history, dict(row))
    epoch = progress.epoch + 1
    loss, accuracy = row["validation_loss"], row["validation_accuracy"]
    watched = [row["train_loss"]] if loss is None else [row["train_loss"], loss]
    if not all(value is not None and math.isfinite(value) for value in watched):
        return Progress(**{**vars(progress), "epoch": epoch, "diverged": True, "history": history})
    if loss is None or accuracy is None:
        return Progress(epoch=epoch, best_epoch=epoch, history=history)
    score = (accuracy, -loss) if training.monitor == "accuracy" else (-loss, accuracy)
    if progress.best_score is None or score > progress.best_score:
        return Progress(epoch=epoch, best_epoch=epoch, best_score=score, drops=progress.drops, history=history)
    drops, waited = progress.drops, progress.waited + 1
    if training.schedule == "plateau" and waited >= training.plateau:
        drops, waited = drops + 1, 0
    return Progress(epoch, progress.best_epoch, progress.best_score, progress.stale + 1, drops, waited,
                    history=history)


def is_finished(progress: Progress, training: Training) -> bool:
    """Whether no further epoch is to come."""
    stopped = 0 < training.patience <= progress.stale
    return progress.diverged or stopped or progress.epoch >= training.epochs


def learning_rate(training: Training, progress: Progress) -> float:
    """The rate of the next epoch. Cosine: half a cosine from the first epoch's full rate towards zero after the last;
    plateau: the rate times `factor` to the power of the drops so far."""
    if training.schedule == "cosine":
        return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress.epoch / training.epochs))
    if training.schedule == "plateau":
        return training.learning_rate * training.factor**progress.drops
    return training.learning_rate


def history_csv(progress: Progress) -> str:
    """The text of history.csv; a figure that does not exist is left empty."""
    return _csv(HISTORY, progress)


def optics_csv(progress: Progress) -> str:
    """The text of optics.csv: where the microscope stood after each epoch (`Microscope.summary`)."""
    names = [name for name in progress.history[0] if name not in HISTORY]
    return _csv(("epoch", *names), progress)


def _csv(names: Sequence[str], progress: Progress) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows([row[name] for name in names] for row in progress.history)
    return text.getvalue()
