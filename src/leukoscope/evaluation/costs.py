"""What each kind of network costs: parameters, operations, memory, time to train and to predict; the Pareto front."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..runs.comparison import Cost
from .compare_runs import Opened

if TYPE_CHECKING:
    import torch

BATCH = 16
TURNS = 5
"""Times that each network predicts a batch, in turns with the others; the quickest counts."""


def costs(runs: Sequence[Sequence[Opened]], *, timed: bool = True) -> list[Cost]:
    """The cost of each kind; prediction times, by torch on this machine, only where `timed`."""
    import torch

    from ..networks.costs import cost_of
    from ..runs.network import load_network

    networks, images, of_kinds = [], [], []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for own in runs:
        run = own[0].run
        network, _ = load_network(run, run.all_folds[0])
        size = run.recipe.preprocess.size
        cost = cost_of(network, torch.zeros(1, 3, size, size))
        seconds = [sum(opened.run.fold(fold)["seconds"] for fold in opened.run.all_folds) for opened in own]
        of_kinds.append(Cost(size, cost.parameters, cost.operations, cost.weights, cost.maps, float(np.mean(seconds)),
                          None))
        networks.append(network.to(device, memory_format=torch.channels_last))  # type: ignore[call-overload]  # torch's stub
        images.append(torch.zeros(BATCH, 3, size, size, device=device).contiguous(memory_format=torch.channels_last))
    if not timed:
        return of_kinds
    return [replace(cost, prediction_ms=1000 * seconds / BATCH)
            for cost, seconds in zip(of_kinds, _timed(networks, images), strict=True)]


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
    """Whether no other kind is at least as accurate at no more cost, and better in one of the two."""
    known = [(right, spent) for right, spent in zip(accuracy, cost, strict=True) if spent is not None]
    return [spent is not None and not any(
        other >= right and less <= spent and (other, less) != (right, spent) for other, less in known)
        for right, spent in zip(accuracy, cost, strict=True)]
