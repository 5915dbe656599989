"""One fold as Lightning sees it: the step, the optimizer, the batches, and what happens after each epoch.

Knows nothing of manifests, folds beyond its own, or reports. Lightning's own checkpoints and loggers are not used:
its resumption inside an epoch is inexact, so whole epochs are saved here, in a form that needs no pickle.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..cells.batches import Batch, CellBatches
from ..cells.cache import PackedCells
from ..cells.stages import Stages
from ..networks.units import Units
from ..optics.microscope import microscope_of
from ..recipes.recipe import Recipe
from ..recipes.sections import Training
from .checkpoint import Checkpoint, save_checkpoint
from .epochs import Event, Progress, after_epoch, is_finished, learning_rate

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class FoldTask:
    """One fold to train: which cells of `packed` (row numbers) to learn from and to choose weights by.

    labels: (n,) class index of every packed cell. stages: fitted for this fold.
    chosen_by: rows of the part that chooses weights; empty where the last epoch's are taken.
    """

    recipe: Recipe
    folder: Path
    fold: int
    folds: int
    packed: PackedCells
    labels: np.ndarray
    learned: np.ndarray
    chosen_by: np.ndarray
    stages: Stages

    @property
    def training(self) -> Training:
        return self.recipe.training


def epoch_seed(seed: int, *where: int) -> int:
    """A seed for torch from the recipe's seed and where it is used (fold, epoch, process)."""
    return int(np.random.SeedSequence([seed, *where]).generate_state(1, np.uint64)[0] >> 1)


def training_seed(recipe: Recipe) -> int:
    """The seed of weights, order and augmentation: the recipe's, or another for each `training.repeat`."""
    return epoch_seed(recipe.seed, recipe.training.repeat, 0) % 2**32 if recipe.training.repeat else recipe.seed


def class_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) share of each class among `labels`, none zero: a class without cells counts as if it had one."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return counts / counts.sum()


def optimizer_for(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that a recipe names, over what is trained: the network, and apart from it the optics, whose rate
    is their own and whose weights do not decay. `pace` of a group is its rate as a multiple of the recipe's."""
    training, rate = recipe.training, recipe.training.learning_rate
    microscope = microscope_of(network)
    optics = [p for p in microscope.parameters() if p.requires_grad] if microscope is not None else []
    apart = set(map(id, optics))
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in apart]
    groups: list[dict[str, Any]] = [{"params": others, "pace": 1.0, "weight_decay": training.weight_decay}]
    if optics:
        groups.append({"params": optics, "pace": recipe.optics.learning_rate / rate, "weight_decay": 0.0})
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=training.momentum)
    return (torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW)(groups, lr=rate)


class FoldModule(lightning.LightningModule):
    """Training of one fold, from the epoch after `progress` on."""

    def __init__(self, task: FoldTask, network: Units, progress: Progress, optimizer_state: dict[str, Any] | None,
                 on_event: OnEvent) -> None:
        super().__init__()
        self.task = task
        self.network = network
        self.progress = progress
        self.optimizer_state = optimizer_state
        self.on_event = on_event
        self.kept = Checkpoint()
        self.writer: Any = None
        self.started = 0.0
        shares = class_shares(task.labels[task.learned], len(task.recipe.data.classes))
        self.shares = shares
        weights = torch.tensor(1 / (shares * len(shares)), dtype=torch.float32)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights if task.training.balance == "weights" else None)
        # Loss, right ones, cells; of training and of validation. No buffer: DDP would overwrite it from process 0.
        self.sums = torch.zeros(2, 3)

    def train(self, mode: bool = True) -> FoldModule:
        """Frozen units stay in evaluation mode, so that their batch statistics do not move."""
        super().train(mode)
        for name in self.task.recipe.network.frozen:
            self.network.get_submodule(name).eval()
        return self

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # CellBatches makes them where they are needed

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = optimizer_for(self.task.recipe, self.network)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        return optimizer

    def train_dataloader(self) -> CellBatches:
        """The training cells of the coming epoch; made anew for each."""
        task, training = self.task, self.task.training
        share = self.shares[task.labels[task.learned]]
        augment = task.recipe.augment
        batches = self._batches(
            task.learned, training.batch_size // self.trainer.world_size,
            augment=augment if augment.each_epoch else None, shuffle=True,
            weights=1 / share if training.balance == "sampler" else None,
            rank=self.trainer.global_rank, world_size=self.trainer.world_size, drop_last=self._drops_last())
        batches.set_epoch(self.progress.epoch)
        return batches

    def val_dataloader(self) -> CellBatches:
        # Each process takes its own cells of the part, uneven where it must be: nothing is counted twice.
        own = self.task.chosen_by[self.trainer.global_rank::self.trainer.world_size]
        return self._batches(own, self.task.training.batch_size)

    def _drops_last(self) -> bool:
        """Whether the last batch would hold fewer cells than the network can learn from: they sit out this epoch."""
        ranks = self.trainer.world_size
        share, size = -(-len(self.task.learned) // ranks), self.task.training.batch_size // ranks
        return share > size and 0 < share % size < self.network.least_batch

    def _batches(self, rows: np.ndarray, batch_size: int, **options: Any) -> CellBatches:
        task = self.task
        options = {"augment": None, **options}
        seed = epoch_seed(training_seed(task.recipe), task.fold) % 2**32
        return CellBatches(task.packed, rows, task.labels[rows], batch_size=batch_size, stages=task.stages, seed=seed,
                           device=str(self.device), **options)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss over the batch of all processes together, scaled so that DDP's average of gradients is its
        gradient."""
        ranks = self.trainer.world_size
        # Where cells do not go up among the processes, some get one of the first cells again, as their very last one.
        extra = 0 if self._drops_last() else len(self.task.learned) % ranks
        repeated = 0 < extra <= self.trainer.global_rank and batch_idx + 1 == self.trainer.num_training_batches
        losses = self._losses(batch, 0, len(batch.labels) - repeated)
        count = torch.tensor(float(len(losses)), device=losses.device)
        if ranks > 1:
            count = self.trainer.strategy.reduce(count, reduce_op="sum")
        return losses.sum() * (ranks / count)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._losses(batch, 1, len(batch.labels))

    def _losses(self, batch: Batch, part: int, count: int) -> Tensor:
        """The losses of the first `count` cells, which are also added up; the others only pass through."""
        images = batch.images.contiguous(memory_format=torch.channels_last)
        logits, labels = self.network(images).float()[:count], batch.labels[:count]
        losses = functional.cross_entropy(logits, labels, weight=self.class_weights, reduction="none",
                                          label_smoothing=self.task.training.label_smoothing)
        with torch.no_grad():
            right = (logits.argmax(1) == labels).sum()
            self.sums[part] += torch.stack([losses.sum(), right, torch.full_like(right, len(losses))])
        return losses

    def on_train_start(self) -> None:
        if self.trainer.is_global_zero:
            self.writer = tensorboard_writer(self.task.folder / "tensorboard", self.progress)

    def on_train_epoch_start(self) -> None:
        task, progress = self.task, self.progress
        torch.manual_seed(epoch_seed(training_seed(task.recipe), task.fold, progress.epoch + 1,
                                     self.trainer.global_rank))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group.get("pace", 1.0) * learning_rate(task.training, progress)
        self.sums = torch.zeros(2, 3, device=self.device)
        self.train()
        self.started = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self._tell("batch", batch_idx + 1, int(self.trainer.num_training_batches), {})

    def on_train_epoch_end(self) -> None:
        """Decide, save, log, and stop when it is time."""
        trainer, training = self.trainer, self.task.training
        sums = trainer.strategy.reduce(self.sums, reduce_op="sum") if trainer.world_size > 1 else self.sums
        row = self._row(sums.double().cpu().numpy())
        self.progress = after_epoch(self.progress, training, row)
        finished = is_finished(self.progress, training)
        if trainer.is_global_zero:
            save_checkpoint(self.kept, self.task.folder, self.progress, self.network, trainer.optimizers[0],
                            now=finished)
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    self.writer.add_scalar(name, value, self.progress.epoch)
            self.writer.flush()
        self._tell("epoch", self.progress.epoch, training.epochs, row)
        trainer.should_stop = finished

    def on_train_end(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A process that Lightning has spawned comes by here: before its loop, after its imports.
        super().__setstate__(state)
        quiet_lightning()

    def _row(self, sums: np.ndarray) -> dict[str, float | None]:
        values: dict[str, float | None] = {"epoch": self.progress.epoch + 1}
        for part, (loss, right, count) in zip(("train", "validation"), sums, strict=True):
            values[f"{part}_loss"] = float(loss / count) if count else None
            values[f"{part}_accuracy"] = float(right / count) if count else None
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        microscope = microscope_of(self.network)
        return values | {"learning_rate": rate, "seconds": round(time.perf_counter() - self.started, 3),
                         **(microscope.summary() if microscope is not None else {})}

    def _tell(self, phase: str, done: int, total: int, metrics: dict[str, float | None]) -> None:
        if self.trainer.is_global_zero:
            task, epoch = self.task, self.progress.epoch + (phase == "batch")
            self.on_event(Event(phase, done, total, task.fold, task.folds, epoch, task.training.epochs, metrics))


def tensorboard_writer(folder: Path, progress: Progress) -> Any:
    """A writer of event files; what a killed run had written of later epochs is hidden."""
    from torch.utils.tensorboard.writer import SummaryWriter  # here: it takes a second

    return SummaryWriter(str(folder), purge_step=progress.epoch + 1 if progress.epoch else None)


def quiet_lightning() -> None:
    """Keep Lightning's advertisements and remarks about devices and its own insides off the terminal; its errors, and
    torch's and our own warnings, still come. The filters of warnings are the caller's to put back."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
