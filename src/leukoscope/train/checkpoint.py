"""The state of a fold between epochs, on disk: complete or missing, and readable without unpickling code."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.optimizer import StateDict

from ..errors import RunError, first_line
from ..files import atomic_path, write_text
from ..runs.network import read_weights
from .epochs import Progress, history_csv

SECONDS_BETWEEN = 20.0
"""A checkpoint is not written more often, except the last one of a fold: with 78 million weights it has 0.6 GB."""

LAST = "last.ckpt"


@dataclass(frozen=True)
class State:
    """A fold after an epoch: its progress, and the state dicts of network and optimizer."""

    progress: Progress
    network: dict[str, Tensor]
    optimizer: StateDict


@dataclass
class Checkpoint:
    """What the running process remembers: the best weights so far (none before the first) and their epoch, the epoch of
    the best weights that are on disk, and when it last wrote (seconds, monotonic)."""

    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    written_epoch: int = 0
    written_at: float = field(default_factory=time.monotonic)


def save_checkpoint(checkpoint: Checkpoint, folder: Path, progress: Progress, network: nn.Module,
                    optimizer: torch.optim.Optimizer, *, now: bool) -> None:
    """Remember the weights if they are the best, and write everything if it is time, or `now`.

    The best weights are in a file named by their epoch, and the checkpoint names this file: whichever of the two a
    killed process did not write, the pair that is read belongs together.
    """
    if progress.best_epoch == progress.epoch and progress.best_score is not None:
        checkpoint.best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        checkpoint.best_epoch = progress.epoch
    if not now and time.monotonic() - checkpoint.written_at < SECONDS_BETWEEN:
        return
    best = _best_path(folder, progress)
    if best is not None and checkpoint.best_epoch > checkpoint.written_epoch:
        write_weights(best, checkpoint.best)
        checkpoint.written_epoch = checkpoint.best_epoch
    state = {"progress": progress.to_dict(), "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    with atomic_path(folder / LAST) as beside, open(beside, "wb") as file:
        torch.save(state, file)
    write_text(folder / "history.csv", history_csv(progress))
    for stale in folder.glob("best-*.safetensors"):
        if stale != best:
            stale.unlink(missing_ok=True)
    checkpoint.written_at = time.monotonic()


def load_checkpoint(folder: Path) -> State | None:
    """The last state, or None where none was written."""
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return State(Progress.from_dict(state["progress"]), state["network"], state["optimizer"])
    except Exception as error:  # the errors of torch for damaged files have no common base class
        reason = "the file is empty" if not path.stat().st_size else first_line(error)
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
            # torch's own text says how to run what is in the file
            reason = "it holds other objects than numbers, which are not loaded because they could run code"
        raise RunError(f"{path}: not a readable checkpoint ({reason})",
                       "delete it; with --resume the fold then starts again") from error


def best_weights(folder: Path, state: State) -> dict[str, Tensor]:
    """The weights of a finished fold: the best on the part that selects, else those of the last epoch."""
    path = _best_path(folder, state.progress)
    return state.network if path is None else read_weights(path)


def _best_path(folder: Path, progress: Progress) -> Path | None:
    """The file of the best weights; None where the weights of the last epoch are used."""
    return folder / f"best-{progress.best_epoch}.safetensors" if progress.best_score is not None else None


def write_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write weights as safetensors, completely or not at all."""
    with atomic_path(path) as beside:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, beside)


def remove_checkpoints(folder: Path) -> None:
    """Delete the files that only an unfinished fold needs."""
    for path in (*folder.glob("best-*.safetensors"), folder / LAST):
        path.unlink(missing_ok=True)
