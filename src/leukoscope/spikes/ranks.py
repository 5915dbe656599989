"""First-spike latencies in torch operations, for other devices than the CPU of kernels.py, and for export."""

from __future__ import annotations

import torch
from torch import Tensor

from .kernels import NEVER

_DIGITS = ((20, 11), (10, 10), (0, 10))
"""The 31 bits of a positive float32 in three digits: lowest bit, width."""


def latencies_by_counting(bits: Tensor, steps: int, compatible: bool) -> Tensor:
    """uint8 latencies (b, n) of responses given as the int32 bits of float32; all images at once, no sort.

    Radix selection: the thresholds' digits are found one after the other, the highest first, by counting the values
    that share a threshold's digits so far. Here thresholds are in ascending order.
    """
    positive = bits > 0
    total = positive.sum(dim=1)
    ranks = _ranks(total, steps, compatible).flip(1)
    silent = (ranks < 1).any(dim=1, keepdim=True)
    cuts = torch.zeros(ranks.shape, dtype=torch.int32, device=bits.device)
    for shift, width in _DIGITS if ranks.shape[1] else ():
        cuts, ranks = _next_digit(bits, positive, cuts, ranks.clamp(min=1), shift, width)
    if not compatible:
        cuts = torch.cat([torch.ones_like(cuts[:, :1]) if cuts.shape[1] else cuts.new_ones(len(cuts), 1), cuts], dim=1)
    cuts = torch.where(silent, NEVER, cuts).contiguous()
    return (steps - torch.searchsorted(cuts, bits, right=True)).to(torch.uint8)


def _next_digit(bits: Tensor, positive: Tensor, cuts: Tensor, ranks: Tensor, shift: int,
                width: int) -> tuple[Tensor, Tensor]:
    """`cuts` (the digits so far, ascending) with one more digit, and the ranks among the values that share them all."""
    above, size = bits >> (shift + width), 1 << width
    slots = torch.searchsorted(cuts, above).clamp_(max=cuts.shape[1] - 1)
    shared = positive & (cuts.gather(1, slots) == above)
    digits = (bits >> shift) & (size - 1)
    counts = torch.zeros(len(bits), cuts.shape[1] * size, dtype=torch.int32, device=bits.device)
    counts.scatter_add_(1, slots * size + digits, shared.to(torch.int32))
    own = torch.searchsorted(cuts, cuts)[:, :, None].expand(-1, -1, size)
    reached = counts.view(*cuts.shape, size).flip(2).cumsum(2).gather(1, own)
    places = torch.searchsorted(reached, ranks[:, :, None])
    before = torch.where(places > 0, reached.gather(2, (places - 1).clamp(min=0)), 0)
    digit = (size - 1 - places[:, :, 0]).to(torch.int32)
    return (cuts << width) | digit, ranks - before[:, :, 0]


def latencies_by_sorting(values: Tensor, steps: int, compatible: bool) -> Tensor:
    """The same from float32 values (b, n), in operations of ONNX; the graph repeats them for each step."""
    positive = values > 0
    total = positive.sum(dim=1)
    ordered = values.sort(dim=1, descending=True).values
    ranks = _ranks(total, steps, compatible)
    cuts = ordered.gather(1, (ranks - 1).clamp(min=0))
    latency = torch.zeros_like(values, dtype=torch.int32)
    for number in range(ranks.shape[1]):
        latency = latency + (values < cuts[:, number:number + 1]).to(torch.int32)
    fires = positive & (total >= steps)[:, None] if compatible else positive
    return torch.where(fires, latency, steps).to(torch.uint8)


def _ranks(total: Tensor, steps: int, compatible: bool) -> Tensor:
    """How many responses fire before step 1, 2, ...: the rank of the weakest of them, the threshold, from 1."""
    if compatible:
        return (total // steps)[:, None] * torch.arange(1, steps + 1, device=total.device)
    return (total[:, None] * torch.arange(1, steps, device=total.device) + (steps - 1)) // steps
