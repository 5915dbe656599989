"""One fold from fresh weights, or from where it was stopped, to weights, predictions and fold.json."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import polars as pl
import torch
from torch import multiprocessing

from ..errors import RunError
from ..files import write_json, write_text
from ..images.frame import framing
from ..manifest import write_table
from ..networks.units import Units
from ..pca.pca import save_pca
from ..predict.run import predict_cells
from ..predict.table import predictions_table
from ..recipes.sections import Training
from ..runs.network import COMPONENTS, fresh_network, trained_network
from .checkpoint import best_weights, load_checkpoint, remove_checkpoints, write_weights
from .epochs import Event, Progress, history_csv, is_finished, optics_csv
from .lightning_module import FoldModule, FoldTask, epoch_seed, quiet_lightning, training_seed
from .transfer import start_network

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Hardware:
    """accelerator: "auto", "cpu", "gpu" or "mps", as Lightning names them; devices: how many GPUs or processes."""

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


def train_fold(task: FoldTask, hardware: Hardware, *, tested: np.ndarray, validated: np.ndarray,
               cells: pl.DataFrame, on_event: OnEvent) -> None:
    """Train, then predict the `tested` and `validated` rows with the weights that are kept. fold.json comes last.

    Raises RunError where the loss became NaN or infinite.
    """
    start = time.monotonic()
    task.folder.mkdir(parents=True, exist_ok=True)
    state = load_checkpoint(task.folder)
    before = _seconds(state["progress"] if state else Progress())
    if state is None or not is_finished(state["progress"], task.training):
        with _isolated(hardware.device):
            _fit(task, hardware, state, on_event)
        state = load_checkpoint(task.folder)
    assert state is not None
    progress: Progress = state["progress"]
    _check_converged(progress, task)
    weights = best_weights(task.folder, state)
    network = trained_network(task.recipe, weights, where=str(task.folder))
    for name, rows in (("predictions.parquet", tested), ("validation.parquet", validated)):
        if len(rows):
            probabilities = predict_cells(network, task.packed, rows, task.stages,
                                          batch_size=max(64, task.training.batch_size), device=hardware.device)
            table = predictions_table(cells[rows], probabilities, task.recipe.data.classes, fold=task.fold)
            write_table(table, task.folder / name)
    write_weights(task.folder / "weights.safetensors", weights)
    if task.stages.pca is not None:
        save_pca(task.stages.pca, task.folder / COMPONENTS)
    write_text(task.folder / "history.csv", history_csv(progress))
    if task.recipe.optics.simulate:
        write_text(task.folder / "optics.csv", optics_csv(progress))
    write_json(task.folder / "fold.json", _facts(task, progress, network, before + time.monotonic() - start))
    remove_checkpoints(task.folder)


def _facts(task: FoldTask, progress: Progress, network: Units, seconds: float) -> dict[str, Any]:
    selected_on = "last epoch" if progress.best_score is None else task.recipe.split.select_on
    return {
        "fold": task.fold, "best_epoch": progress.best_epoch, "epochs": progress.epoch,
        "stopped_early": progress.epoch < task.training.epochs, "seconds": round(seconds, 3),
        "mean": task.stages.mean.tolist(), "std": task.stages.std.tolist(),
        "parameters": sum(p.numel() for p in network.parameters()), "selected_on": selected_on,
        "framing": framing(task.recipe.preprocess),
    }


def _seconds(progress: Progress) -> float:
    return sum(row["seconds"] or 0.0 for row in progress.history)


def _check_converged(progress: Progress, task: FoldTask) -> None:
    if progress.diverged:
        raise RunError(
            f"{task.folder}: the loss became NaN or infinite in epoch {progress.epoch} of fold {task.fold}",
            f"lower training.learning_rate (it is {task.training.learning_rate:g}) and train into another folder")


def _fit(task: FoldTask, hardware: Hardware, state: dict[str, Any] | None, on_event: OnEvent) -> None:
    """Let Lightning train the epochs that are left; the result is the fold's last checkpoint."""
    torch.manual_seed(epoch_seed(training_seed(task.recipe), task.fold))
    network = fresh_network(task.recipe, pretrained=state is None)
    start_network(task.recipe, network)
    if state is not None:
        network.load_state_dict(state["network"])
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch: not in its stub
    progress = state["progress"] if state else Progress()
    several = hardware.devices > 1
    with _told(on_event, several) as tell, _quiet(), _interruptible():
        module = FoldModule(task, network, progress, state["optimizer"] if state else None, tell)
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator, devices=hardware.devices, strategy="ddp_spawn" if several else "auto",
            precision=_precision(task.training, hardware.device), max_epochs=task.training.epochs - progress.epoch,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1, limit_val_batches=None if len(task.chosen_by) else 0,
            sync_batchnorm=several and hardware.device.type == "cuda", default_root_dir=task.folder)
        trainer.fit(module)


def _precision(training: Training, device: torch.device) -> Any:
    """bfloat16 is fast on CUDA from compute capability 8.0 on; elsewhere it is emulated or slower."""
    if training.precision == "bf16":
        return "bf16-mixed"
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "bf16-mixed" if training.precision == "auto" and fast else "32-true"


@contextmanager
def _isolated(device: torch.device) -> Iterator[None]:
    """Leave torch's generators and its choice of algorithms as they were. On a GPU, take those that repeat exactly."""
    cuda = device.type == "cuda"
    chosen = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # torch: a property
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else []):
        try:
            if cuda:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS does not repeat
                torch.use_deterministic_algorithms(True, warn_only=True)
                torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
        finally:
            torch.use_deterministic_algorithms(chosen[0], warn_only=chosen[1])
            torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        quiet_lightning()
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning turns Ctrl-C into an exit and then ignores it; give it back as what it was."""
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


class _Sender:
    """Sends events from a spawned process; `on_event` itself stays where it was made."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __call__(self, event: Event) -> None:
        self.queue.put(event)


@contextmanager
def _told(on_event: OnEvent, several: bool) -> Iterator[OnEvent]:
    """What the training process calls with its events: `on_event`, or where processes are spawned a queue to it."""
    if not several:
        yield on_event
        return
    queue = multiprocessing.get_context("spawn").SimpleQueue()

    failed: list[Exception] = []

    def pass_on() -> None:
        while (event := queue.get()) is not None:
            try:
                on_event(event)
            except Exception as error:  # raised below: a queue that nobody empties would stop the training
                failed.append(error)

    listener = threading.Thread(target=pass_on, daemon=True)
    listener.start()
    try:
        yield _Sender(queue)
    finally:
        queue.put(None)
        listener.join()
    if failed:
        raise failed[0]
