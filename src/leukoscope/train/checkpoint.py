"""The state of a fold between epochs, on disk: whole or not there, and readable without unpickling code."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import RunError
from ..files import atomic_path, write_text
from ..runs.network import read_weights
from .epochs import Progress, history_csv

SECONDS_BETWEEN = 20.0
"""A checkpoint is not written more often, the last one of a fold excepted: with 78 million weights one is 0.6 GB."""

LAST = "last.ckpt"


@dataclass
class Checkpoint:
    """What the running process keeps: the best weights so far and of which epoch they are, if it found any; the epoch
    of those that it wrote; and when it wrote last."""

    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    written_epoch: int = 0
    written_at: float = field(default_factory=time.monotonic)


def save_checkpoint(kept: Checkpoint, folder: Path, progress: Progress, network: nn.Module,
                    optimizer: torch.optim.Optimizer, *, now: bool) -> None:
    """Note the weights where they are the best, and write everything where it is time, or `now`.

    The best weights lie in a file named by their epoch, which the checkpoint names in turn: whichever of the two a
    killed process did not get to write, the pair that is read belongs together.
    """
    if progress.best_epoch == progress.epoch and progress.best_score is not None:
        kept.best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        kept.best_epoch = progress.epoch
    if not now and time.monotonic() - kept.written_at < SECONDS_BETWEEN:
        return
    best = best_path(folder, progress)
    if best is not None and kept.best_epoch > kept.written_epoch:
        write_weights(best, kept.best)
        kept.written_epoch = kept.best_epoch
    state = {"progress": progress.to_dict(), "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    with atomic_path(folder / LAST) as beside, open(beside, "wb") as file:
        torch.save(state, file)
    write_text(folder / "history.csv", history_csv(progress))
    for stale in folder.glob("best-*.safetensors"):
        if stale != best:
            stale.unlink(missing_ok=True)
    kept.written_at = time.monotonic()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last state, or None where none was written: `progress` (a Progress), `network`, `optimizer` (state dicts)."""
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {**state, "progress": Progress.from_dict(state["progress"])}
    except Exception as error:  # torch names no common base for what a damaged file can raise
        raise RunError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]})",
                       "remove it, and the fold starts anew with --resume") from error


def best_weights(folder: Path, state: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that a finished fold keeps: the best by the selecting part, else those of the last epoch."""
    path = best_path(folder, state["progress"])
    return state["network"] if path is None else read_weights(path)


def best_path(folder: Path, progress: Progress) -> Path | None:
    """Where the best weights lie; None where the last epoch's are the best by rule."""
    return folder / f"best-{progress.best_epoch}.safetensors" if progress.best_score is not None else None


def write_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write weights as safetensors, whole or not at all."""
    with atomic_path(path) as beside:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, beside)


def remove_checkpoints(folder: Path) -> None:
    """Remove what only a fold in progress needs."""
    for path in (*folder.glob("best-*.safetensors"), folder / LAST):
        path.unlink(missing_ok=True)
