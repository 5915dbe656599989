"""Packed cells in batches: sampled, augmented and encoded by threads, ahead of the consumer.

The cells of an epoch, their order and their augmentation depend only on (seed, epoch, cell), not on the batch size, the
number of processes or the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Integer, UInt8

from ..images.decode import usable_cores
from ..recipes.sections import Augment
from .augment import Changes, augment_cpu, augment_torch, changed_pixels, sample_changes
from .augment_light import relight
from .cache import PackedCells
from .input_steps import InputSteps

_AHEAD = 2
"""Batches that are ready in advance, besides those in preparation."""


class Batch(NamedTuple):
    """images: the network's input; labels: class indices; rows: which packed cells these are (always on the CPU)."""

    images: Float32[torch.Tensor, "batch 3 size size"]
    labels: Int64[torch.Tensor, " batch"]
    rows: Int64[torch.Tensor, " batch"]


class CellBatches:
    """An iterable of batches of known length, prepared by threads.

    rows: numbers of cells of `packed`; a cell that is listed several times is changed differently each time. labels:
    their class indices. weights: relative probabilities of drawing each row with replacement (an epoch then has as many
    draws as rows). shuffle: a new order in each epoch.
    Each of `world_size` ranks gets every `world_size`-th cell and the same number of batches. If the cells cannot be
    divided evenly, the first ones are repeated; with `drop_last` the rest and an incomplete last batch are left out.
    packed: RGB, or the levels that `steps` makes of it, which cannot be augmented. On a device other than "cpu", cells
    are moved as uint8 and encoded there; colours are also augmented there.
    Raises ValueError for arguments that do not fit together.
    """

    def __init__(
        self,
        packed: PackedCells,
        rows: Integer[np.ndarray, " cells"],
        labels: Integer[np.ndarray, " cells"],
        *,
        batch_size: int,
        augment: Augment | None,
        steps: InputSteps,
        seed: int,
        shuffle: bool = False,
        weights: Float[np.ndarray, " cells"] | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        drop_last: bool = False,
        workers: int | None = None,
    ) -> None:
        self.packed = packed
        self.rows, self.labels = np.asarray(rows, np.int64), np.asarray(labels, np.int64)
        self.batch_size, self.augment, self.steps, self.seed = batch_size, augment, steps, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.weights = None if weights is None else np.asarray(weights, np.float64)
        self.rank, self.world_size = rank, world_size
        self.device = torch.device(device)
        self.workers = workers or min(4, usable_cores())
        self.epoch = 0
        self._check()

    def __len__(self) -> int:
        full, rest = divmod(self._share(), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order and the augmentation of the next iteration."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch, (order, cells) = self.epoch, self._order(self.epoch)
        waiting: deque[Future[_Prepared]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="cells")
        try:
            for start in range(0, len(self) * self.batch_size, self.batch_size):
                part = slice(start, start + self.batch_size)
                waiting.append(pool.submit(self._prepare, order[part], cells[part], epoch))
                if len(waiting) >= self.workers + _AHEAD:
                    yield self._finish(waiting.popleft().result())
            while waiting:
                yield self._finish(waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _share(self) -> int:
        """Cells of one rank in an epoch."""
        count, ranks = len(self.rows), self.world_size
        return count // ranks if self.drop_last else -(-count // ranks)

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions in `rows` for this rank, and the number that identifies each draw in `augment.py`."""
        count = len(self.rows)
        generator = np.random.default_rng([self.seed, epoch])
        order = np.arange(count)
        if self.weights is not None and count:
            order = generator.choice(count, count, p=self.weights / self.weights.sum())
        elif self.shuffle:
            order = generator.permutation(count)
        # Repeated draws of a cell in one epoch must look different, so the repetition is part of the number.
        cells = self.rows[order] + (_repetitions(self.rows[order]) << 40)
        own = np.arange(self.rank, self._share() * self.world_size, self.world_size) % max(count, 1)
        return order[own], cells[own]

    def _prepare(self, order: np.ndarray, cells: np.ndarray, epoch: int) -> _Prepared:
        rows = self.rows[order]
        pixels = np.ascontiguousarray(self.packed.pixels[rows])
        changes = sample_changes(self.augment, seed=self.seed, epoch=epoch, cells=cells, size=pixels.shape[1])
        pixels = relight(pixels, changes.light)
        labels, numbers = torch.from_numpy(self.labels[order]), torch.from_numpy(rows)
        if self.steps.plain and self.device.type == "cpu":
            images = torch.from_numpy(augment_cpu(pixels, changes, self.steps.mean, self.steps.std))
            return _Prepared(images, labels, numbers, None)
        if not self.steps.plain:
            if pixels.shape[-1] == 3:
                changed = changes.moves or changes.recolours
                pixels = self.steps.levels(changed_pixels(pixels, changes) if changed else pixels)
            if self.device.type == "cpu":
                images = self.steps.encode(torch.from_numpy(pixels)).contiguous()
                return _Prepared(images, labels, numbers, None)
        images = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            images, labels = images.pin_memory(), labels.pin_memory()
        return _Prepared(images, labels, numbers, changes)

    def _finish(self, prepared: _Prepared) -> Batch:
        # The consumer's thread moves the tensors, so that the work is queued on the consumer's CUDA stream.
        images, labels, rows, changes = prepared
        if changes is not None:
            images, labels = (tensor.to(self.device, non_blocking=True) for tensor in (images, labels))
            steps = self.steps
            images = augment_torch(images, changes, steps.mean, steps.std) if steps.plain else steps.encode(images)
        return Batch(images, labels, rows)

    def _check(self) -> None:
        count = len(self.rows)
        if self.rows.shape != (count,) or self.labels.shape != (count,):
            raise ValueError(f"rows and labels: expected two lists of equal length, got {self.rows.shape} and "
                             f"{self.labels.shape}")
        if count and not 0 <= self.rows.min() <= self.rows.max() < len(self.packed.pixels):
            raise ValueError(f"rows: expected 0 to {len(self.packed.pixels) - 1}, got {self.rows.min()} to "
                             f"{self.rows.max()}")
        if self.batch_size < 1 or not 0 <= self.rank < self.world_size:
            raise ValueError(f"batch_size {self.batch_size}, rank {self.rank} of {self.world_size}: out of range")
        if self.augment is not None and self.augment.changes and self.packed.pixels.shape[-1] != 3:
            raise ValueError("augment: only colours can be augmented; these cells have one channel")
        weights = self.weights
        if weights is not None and (weights.shape != (count,) or not np.isfinite(weights).all()
                                    or (weights < 0).any() or (count and not weights.sum() > 0)):
            raise ValueError("weights: expected one per row, none negative, not all zero")


class _Prepared(NamedTuple):
    """A batch in preparation: images are finished where `changes` is None, else still uint8."""

    images: UInt8[torch.Tensor, "batch size size channels"] | Float32[torch.Tensor, "batch 3 size size"]
    labels: Int64[torch.Tensor, " batch"]
    rows: Int64[torch.Tensor, " batch"]
    changes: Changes | None


def _repetitions(order: np.ndarray) -> np.ndarray:
    """How often each entry occurs earlier in `order`: [5, 3, 5, 5] -> [0, 0, 1, 2]."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    repetitions = np.empty(len(order), np.int64)
    repetitions[by_value] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return repetitions
