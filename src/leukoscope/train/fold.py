"""One fold, from fresh weights or from where it was stopped, to weights, predictions and fold.json."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from typing import Literal

import lightning.pytorch as lightning
import numpy as np
import polars as pl
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import multiprocessing

from ..errors import RunError
from ..files import JsonObject, write_json, write_text
from ..finder.frame import framing
from ..manifest import write_table
from ..networks.units import Units
from ..pca.pca import save_pca
from ..predict.run import predict_cells
from ..predict.table import predictions_table
from ..recipes.sections import Training
from ..runs.network import COMPONENTS, fresh_network, trained_network
from .checkpoint import State, best_weights, load_checkpoint, remove_checkpoints, write_weights
from .epochs import Event, OnEvent, Progress, history_csv, is_finished, optics_csv
from .lightning_module import FoldModule, FoldTask, epoch_seed, quiet_lightning, training_seed
from .transfer import start_network


@dataclass(frozen=True)
class Hardware:
    """accelerator: "auto", "cpu", "gpu" or "mps", as in Lightning; devices: number of GPUs or processes."""

    accelerator: str = "auto"
    devices: int = 1

    @property
    def device(self) -> torch.device:
        """The first device, which also predicts."""
        if self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
            return torch.device("cuda", 0)
        if self.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")


def train_fold(task: FoldTask, hardware: Hardware, *, test_rows: np.ndarray, validation_rows: np.ndarray,
               cells: pl.DataFrame, on_event: OnEvent) -> None:
    """Train, then predict the test and validation rows with the selected weights. fold.json is written last.

    Raises RunError where the loss became NaN or infinite.
    """
    start = time.monotonic()
    task.folder.mkdir(parents=True, exist_ok=True)
    state = load_checkpoint(task.folder)
    before = state.progress.seconds if state else 0.0
    if state is None or not is_finished(state.progress, task.training):
        with _isolated(hardware.device):
            _fit(task, hardware, state, on_event)
        state = load_checkpoint(task.folder)
    assert state is not None
    progress, recipe = state.progress, task.recipe
    if progress.diverged:
        raise RunError(
            f"{task.folder}: the loss became NaN or infinite in epoch {progress.epoch} of fold {task.fold}",
            f"lower training.learning_rate (now {task.training.learning_rate:g}) and train into another folder")
    weights = best_weights(task.folder, state)
    network = trained_network(recipe, weights, where=str(task.folder))
    for name, rows in (("predictions.parquet", test_rows), ("validation.parquet", validation_rows)):
        if len(rows):
            probabilities = predict_cells(network, task.packed, rows, task.steps,
                                          batch_size=max(64, task.training.batch_size), device=hardware.device)
            write_table(predictions_table(cells[rows], probabilities, recipe.data.classes, fold=task.fold),
                        task.folder / name)
    write_weights(task.folder / "weights.safetensors", weights)
    if task.steps.pca is not None:
        save_pca(task.steps.pca, task.folder / COMPONENTS)
    write_text(task.folder / "history.csv", history_csv(progress))
    if recipe.optics.simulate:
        write_text(task.folder / "optics.csv", optics_csv(progress))
    write_json(task.folder / "fold.json", _facts(task, progress, network, before + time.monotonic() - start))
    remove_checkpoints(task.folder)


def _facts(task: FoldTask, progress: Progress, network: Units, seconds: float) -> JsonObject:
    """The content of fold.json."""
    return {
        "fold": task.fold, "best_epoch": progress.best_epoch, "epochs": progress.epoch,
        "stopped_early": progress.epoch < task.training.epochs, "seconds": round(seconds, 3),
        "mean": task.steps.mean.tolist(), "std": task.steps.std.tolist(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "selected_on": "last epoch" if progress.best_score is None else task.recipe.split.select_on,
        "framing": framing(task.recipe.preprocess),
    }


def _fit(task: FoldTask, hardware: Hardware, state: State | None, on_event: OnEvent) -> None:
    """Let Lightning train the epochs that are left; the result is the last checkpoint of the fold."""
    torch.manual_seed(epoch_seed(training_seed(task.recipe), task.fold))
    network = fresh_network(task.recipe, pretrained=state is None)
    start_network(task.recipe, network)
    if state is not None:
        network.load_state_dict(state.network)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch: not in its stub
    progress = state.progress if state else Progress()
    several = hardware.devices > 1
    with _across_processes(on_event, several) as tell, warnings.catch_warnings(), _interruptible():
        quiet_lightning()
        module = FoldModule(task, network, progress, state.optimizer if state else None, tell)
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator, devices=hardware.devices,
            strategy=_Processes(start_method="spawn") if several else "auto",
            precision=_precision(task.training, hardware.device), max_epochs=task.training.epochs - progress.epoch,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1, limit_val_batches=None if len(task.selection_rows) else 0,
            sync_batchnorm=several and hardware.device.type == "cuda", default_root_dir=task.folder)
        trainer.fit(module)


class _Processes(DDPStrategy):
    """Processes that close their connections before they end: a thread of Gloo that still listens when its process
    ends aborts it, and the finished training would count as failed."""

    def teardown(self) -> None:
        super().teardown()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _precision(training: Training, device: torch.device) -> Literal["bf16-mixed", "32-true"]:
    """bfloat16 is fast on CUDA from compute capability 8.0 on; elsewhere it is emulated or slower."""
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    wanted = training.precision == "bf16" or (training.precision == "auto" and fast)
    return "bf16-mixed" if wanted else "32-true"


@contextmanager
def _isolated(device: torch.device) -> Iterator[None]:
    """Restore torch's generators and choice of algorithms afterwards. On a GPU, use reproducible algorithms."""
    cuda = device.type == "cuda"
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # torch: a property
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else []):
        try:
            if cuda:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not reproducible without it
                torch.use_deterministic_algorithms(True, warn_only=True)
                torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning turns Ctrl-C into an exit and then ignores it; make it a KeyboardInterrupt again."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _across_processes(on_event: OnEvent, several: bool) -> Iterator[OnEvent]:
    """What the training process calls with its events: `on_event`, or, in spawned processes, a queue that feeds it."""
    if not several:
        yield on_event
        return
    queue: SimpleQueue[Event | None] = multiprocessing.get_context("spawn").SimpleQueue()
    errors: list[Exception] = []

    def pass_on() -> None:
        while (event := queue.get()) is not None:
            try:
                on_event(event)
            except Exception as error:  # raised below: if nobody emptied the queue, the training would stop
                errors.append(error)

    listener = threading.Thread(target=pass_on, daemon=True)
    listener.start()
    try:
        yield queue.put
    finally:
        queue.put(None)
        listener.join()
    if errors:
        raise errors[0]
