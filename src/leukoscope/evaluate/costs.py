"""What each kind of network costs: parameters, operations, memory, time to train and to predict; the Pareto front."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .compare_runs import Opened

if TYPE_CHECKING:
    import torch

BATCH = 16
TURNS = 5
"""Times that each network predicts a batch, in turns with the others; the quickest counts."""


def costs(runs: Sequence[Sequence[Opened]], *, timed: bool = True) -> list[dict[str, Any]]:
    """One table a kind: size (px), parameters, operations (MAC an image), weights and maps (bytes, see models.costs),
    training_seconds (all folds, mean of the trainings), and prediction_ms for an image in a batch of 16, by torch on
    this machine (None unless `timed`), without decoding."""
    import torch

    from ..networks.costs import cost_of
    from ..runs.network import load_network

    networks, images, tables = [], [], []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for own in runs:
        run = own[0].run
        network, _ = load_network(run, run.all_folds[0])
        size = run.recipe.preprocess.size
        cost = cost_of(network, torch.zeros(1, 3, size, size))
        seconds = [sum(one.run.fold(fold)["seconds"] for fold in one.run.all_folds) for one in own]
        tables.append({"size": size, "parameters": cost.parameters, "operations": cost.operations,
                       "weights": cost.weights, "maps": cost.maps, "training_seconds": float(np.mean(seconds)),
                       "prediction_ms": None})
        networks.append(network.to(device, memory_format=torch.channels_last))  # type: ignore[call-overload]  # torch's stub
        images.append(torch.zeros(BATCH, 3, size, size, device=device).contiguous(memory_format=torch.channels_last))
    if timed:
        for table, seconds in zip(tables, _timed(networks, images), strict=True):
            table["prediction_ms"] = 1000 * seconds / BATCH
    return tables


def _timed(networks: Sequence[torch.nn.Module], images: Sequence[torch.Tensor]) -> list[float]:
    """Seconds of each network for its batch, the least of several turns."""
    import torch

    best = [float("inf")] * len(networks)
    with torch.inference_mode():
        for turn in range(TURNS + 1):
            for i, (network, batch) in enumerate(zip(networks, images, strict=True)):
                start = time.perf_counter()
                network(batch)
                if batch.device.type == "cuda":
                    torch.cuda.synchronize()
                if turn:  # the first warms up
                    best[i] = min(best[i], time.perf_counter() - start)
    return best


def pareto(accuracy: Sequence[float], cost: Sequence[float | None]) -> list[bool]:
    """Whether no other kind is at least as right at no more cost, and better in one of the two."""
    front = []
    for i, (mine, spent) in enumerate(zip(accuracy, cost, strict=True)):
        if spent is None:
            front.append(False)
            continue
        front.append(not any(
            j != i and other is not None and theirs >= mine and other <= spent and (theirs > mine or other < spent)
            for j, (theirs, other) in enumerate(zip(accuracy, cost, strict=True))))
    return front
