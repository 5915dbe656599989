"""One fold as a Lightning module: the step, the optimizer, the batches, and what happens after each epoch.

Knows nothing of manifests, other folds or reports. Lightning's own checkpoints and loggers are not used: it does not
resume exactly inside an epoch. So whole epochs are saved here, in a form that needs no pickle.
"""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.optimizer import StateDict

from ..cells.batches import Batch, CellBatches
from ..cells.cache import PackedCells
from ..cells.input_steps import InputSteps
from ..networks.units import Units
from ..optics.microscope import microscope_of
from ..recipes.recipe import Recipe
from ..recipes.sections import Training
from .checkpoint import Checkpoint, save_checkpoint
from .epochs import Event, OnEvent, Progress, Row, after_epoch, is_finished, learning_rate

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

ENOUGH = 250
"""Cells of one class in one laboratory, above which more of them are not shown more often."""


@dataclass(frozen=True)
class FoldTask:
    """One fold to train.

    labels: (n,) class index of every packed cell. train_rows, selection_rows: row numbers of the cells to train on, and
    of the part that selects the weights (empty to use those of the last epoch). steps: fitted for this fold.
    laboratories: (n,) the laboratory of every packed cell, as a number.
    """

    recipe: Recipe
    folder: Path
    fold: int
    folds: int
    packed: PackedCells
    labels: np.ndarray
    train_rows: np.ndarray
    selection_rows: np.ndarray
    steps: InputSteps
    laboratories: np.ndarray

    @property
    def training(self) -> Training:
        return self.recipe.training


def epoch_seed(seed: int, *where: int) -> int:
    """A seed for torch from the recipe's seed and the place where it is used (fold, epoch, process)."""
    return int(np.random.SeedSequence([seed, *where]).generate_state(1, np.uint64)[0] >> 1)


def training_seed(recipe: Recipe) -> int:
    """The seed of weights, order and augmentation: the recipe's, or a different one for each `training.repeat`."""
    return epoch_seed(recipe.seed, recipe.training.repeat, 0) % 2**32 if recipe.training.repeat else recipe.seed


def draw_weights(balance: str, labels: np.ndarray, laboratories: np.ndarray) -> np.ndarray | None:
    """Relative probabilities of drawing each cell; None where each is shown once. "sampler": every class as often as
    every other. "laboratory": also, within a class, each laboratory in proportion to the square root of its cells, of
    which no more than ENOUGH count: a large laboratory does not decide, and ten cells are not shown as often as a
    thousand."""
    if balance not in ("sampler", "laboratory"):
        return None
    weights = np.zeros(len(labels))
    for label in np.unique(labels):
        own = labels == label
        for laboratory in np.unique(laboratories[own]):
            here = own & (laboratories == laboratory)
            count = here.sum()
            weights[here] = min(count, ENOUGH) ** 0.5 / count if balance == "laboratory" else 1.0
        weights[own] /= weights[own].sum()
    return weights


def optimizer_for(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that a recipe names, for the network and, as a second group, the optics. The optics have their own
    learning rate and no weight decay. `pace` of a group is its rate as a multiple of the recipe's."""
    training, rate = recipe.training, recipe.training.learning_rate
    microscope = microscope_of(network)
    optics = [p for p in microscope.parameters() if p.requires_grad] if microscope is not None else []
    in_optics = set(map(id, optics))
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in in_optics]
    groups: list[dict[str, object]] = [{"params": others, "pace": 1.0, "weight_decay": training.weight_decay}]
    if optics:
        groups.append({"params": optics, "pace": recipe.optics.learning_rate / rate, "weight_decay": 0.0})
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=training.momentum)
    return (torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW)(groups, lr=rate)


class FoldModule(lightning.LightningModule):
    """The training of one fold, starting with the epoch after `progress`."""

    def __init__(self, task: FoldTask, network: Units, progress: Progress, optimizer_state: StateDict | None,
                 on_event: OnEvent) -> None:
        super().__init__()
        self.task = task
        self.network = network
        self.progress = progress
        self.optimizer_state = optimizer_state
        self.on_event = on_event
        self.checkpoint = Checkpoint()
        self.writer: SummaryWriter | None = None
        self.started = 0.0
        classes = len(task.recipe.data.classes)
        counts = np.maximum(np.bincount(task.labels[task.train_rows], minlength=classes), 1)  # none is divided by 0
        self.shares = counts / counts.sum()
        weights = torch.tensor(1 / (self.shares * classes), dtype=torch.float32)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights if task.training.balance == "weights" else None)
        # Sums of loss, correct cells and cells, in training and in validation. Not a buffer: DDP would overwrite it.
        self.sums = torch.zeros(2, 3)

    def train(self, mode: bool = True) -> FoldModule:
        """Frozen units stay in evaluation mode, so that their batch statistics do not change."""
        super().train(mode)
        for name in self.task.recipe.network.frozen:
            self.network.get_submodule(name).eval()
        return self

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # CellBatches makes batches on the right device

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = optimizer_for(self.task.recipe, self.network)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        return optimizer

    def train_dataloader(self) -> CellBatches:
        """The training cells of the next epoch; made anew for each."""
        task, training, augment = self.task, self.task.training, self.task.recipe.augment
        batches = self._batches(
            task.train_rows, training.batch_size // self.trainer.world_size,
            augment=augment if augment.each_epoch else None, shuffle=True,
            weights=draw_weights(training.balance, task.labels[task.train_rows], task.laboratories[task.train_rows]),
            rank=self.trainer.global_rank, world_size=self.trainer.world_size, drop_last=self._drops_last())
        batches.set_epoch(self.progress.epoch)
        return batches

    def val_dataloader(self) -> CellBatches:
        # Each process takes its own cells of the part, one more or less, so that none is counted twice.
        own = self.task.selection_rows[self.trainer.global_rank::self.trainer.world_size]
        return self._batches(own, self.task.training.batch_size, augment=None)

    def _drops_last(self) -> bool:
        """Whether the last batch is left out, because it has fewer cells than the network can be trained with."""
        ranks = self.trainer.world_size
        share, size = -(-len(self.task.train_rows) // ranks), self.task.training.batch_size // ranks
        return share > size and 0 < share % size < self.network.least_batch

    def _batches(self, rows: np.ndarray, batch_size: int, **options: Any) -> CellBatches:
        task = self.task
        seed = epoch_seed(training_seed(task.recipe), task.fold) % 2**32
        return CellBatches(task.packed, rows, task.labels[rows], batch_size=batch_size, steps=task.steps, seed=seed,
                           device=str(self.device), **options)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss over the batch of all processes, scaled so that DDP's average of gradients is its gradient."""
        ranks = self.trainer.world_size
        # Where the cells cannot be divided evenly, the last cell of some processes is a repeated one: not counted.
        extra = 0 if self._drops_last() else len(self.task.train_rows) % ranks
        repeated = 0 < extra <= self.trainer.global_rank and batch_idx + 1 == self.trainer.num_training_batches
        losses = self._losses(batch, 0, len(batch.labels) - repeated)
        count = torch.tensor(float(len(losses)), device=losses.device)
        if ranks > 1:
            count = self.trainer.strategy.reduce(count, reduce_op="sum")
        return losses.sum() * (ranks / count)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._losses(batch, 1, len(batch.labels))

    def _losses(self, batch: Batch, part: int, count: int) -> Tensor:
        """The losses of the first `count` cells, also added to the sums of the part; the other cells are ignored."""
        images = batch.images.contiguous(memory_format=torch.channels_last)
        logits, labels = self.network(images).float()[:count], batch.labels[:count]
        losses = functional.cross_entropy(logits, labels, weight=self.class_weights, reduction="none",
                                          label_smoothing=self.task.training.label_smoothing)
        with torch.no_grad():
            correct = (logits.argmax(1) == labels).sum()
            self.sums[part] += torch.stack([losses.sum(), correct, torch.full_like(correct, len(losses))])
        return losses

    def on_train_start(self) -> None:
        if self.trainer.is_global_zero:
            from torch.utils.tensorboard.writer import SummaryWriter  # here because it takes a second

            epoch = self.progress.epoch
            # Later epochs that a killed run has written are hidden.
            self.writer = SummaryWriter(str(self.task.folder / "tensorboard"), purge_step=epoch + 1 if epoch else None)

    def on_train_epoch_start(self) -> None:
        task, progress = self.task, self.progress
        torch.manual_seed(epoch_seed(training_seed(task.recipe), task.fold, progress.epoch + 1,
                                     self.trainer.global_rank))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group.get("pace", 1.0) * learning_rate(task.training, progress)
        self.sums = torch.zeros(2, 3, device=self.device)
        self.train()
        self.started = time.perf_counter()

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        self._tell("batch", batch_idx + 1, int(self.trainer.num_training_batches), {})

    def on_train_epoch_end(self) -> None:
        """Update the progress, save, log, and stop if this was the last epoch."""
        trainer, training = self.trainer, self.task.training
        sums = trainer.strategy.reduce(self.sums, reduce_op="sum") if trainer.world_size > 1 else self.sums
        row = self._row(sums.double().cpu().numpy())
        self.progress = after_epoch(self.progress, training, row)
        finished = is_finished(self.progress, training)
        if trainer.is_global_zero:
            save_checkpoint(self.checkpoint, self.task.folder, self.progress, self.network, trainer.optimizers[0],
                            now=finished)
            assert self.writer is not None
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

    def __setstate__(self, state: dict[str, object]) -> None:
        # Called in a process that Lightning has spawned, before the training starts.
        super().__setstate__(state)
        quiet_lightning()

    def _row(self, sums: np.ndarray) -> Row:
        values: dict[str, float | None] = {"epoch": self.progress.epoch + 1}
        for part, (loss, correct, count) in zip(("train", "validation"), sums, strict=True):
            values[f"{part}_loss"] = float(loss / count) if count else None
            values[f"{part}_accuracy"] = float(correct / count) if count else None
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        microscope = microscope_of(self.network)
        return values | {"learning_rate": rate, "seconds": round(time.perf_counter() - self.started, 3),
                         **(microscope.summary() if microscope is not None else {})}

    def _tell(self, phase: str, done: int, total: int, metrics: Row) -> None:
        if self.trainer.is_global_zero:
            task, epoch = self.task, self.progress.epoch + (phase == "batch")
            self.on_event(Event(phase, done, total, task.fold, task.folds, epoch, task.training.epochs, metrics))


def quiet_lightning() -> None:
    """Hide Lightning's remarks about devices and itself; its errors, and the warnings of torch and of this package, are
    still shown. The caller restores the filters of warnings."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
