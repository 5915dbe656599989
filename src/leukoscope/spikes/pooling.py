"""Optional stages around first-spike coding, as in published spiking models of vision.

Thorpe's rank-order models: Masquelier and Thorpe 2007 (doi:10.1371/journal.pcbi.0030031), Kheradpisheh et al. 2018
(doi:10.1016/j.neunet.2017.12.005), Mozafari et al. 2019 (doi:10.3389/fnins.2019.00625).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from ..errors import LeukoscopeError


def threshold(responses: Float[Tensor, "b m h w"], value: float | Sequence[float]) -> Float[Tensor, "b m h w"]:
    """Responses below `value` (one for all maps, or one each) become 0, in the responses' own units."""
    values = torch.as_tensor(value, dtype=responses.dtype, device=responses.device)
    if values.isnan().any() or values.ndim > 1 or values.numel() not in (1, responses.shape[1]):
        raise LeukoscopeError(f"threshold: expected one number or {responses.shape[1]}, one for each map, got {value}",
                              "give numbers in the units of the responses")
    return torch.where(responses >= values.view(-1, 1, 1), responses, 0)


def lateral_inhibition(responses: Float[Tensor, "b m h w"], percents: Sequence[float]) -> Float[Tensor, "b m h w"]:
    """Each strictly stronger neighbour in the same map weakens a response by a share: `percents[d - 1]` at distance d.

    Distance is the larger of the steps along rows and columns, in px. Shares are from 0 to 1; a response is multiplied
    by (1 - share) for each stronger neighbour within the image, and stays positive for shares below 1. All neighbours
    act with their uninhibited strength. Masquelier and Thorpe 2007 use 15 % to 5 % over 11 x 11 px.
    """
    shares = [float(share) for share in percents]
    if not all(0 <= share <= 1 for share in shares):
        raise LeukoscopeError(f"percents: expected shares from 0 to 1, got {shares}", "give 0.15 for 15 %")
    radius, (height, width) = len(shares), responses.shape[2:]
    around = functional.pad(responses, (radius,) * 4, value=-math.inf)
    left = torch.ones_like(responses)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            distance = max(abs(dy), abs(dx))
            if not distance or not shares[distance - 1]:
                continue
            top, start = radius + dy, radius + dx
            stronger = around[:, :, top:top + height, start:start + width] > responses
            left = torch.where(stronger, left * (1 - shares[distance - 1]), left)
    return responses * left


def pointwise_inhibition(latency: UInt8[Tensor, "b m h w"], steps: int,
                         responses: Float[Tensor, "b m h w"] | None = None) -> UInt8[Tensor, "b m h w"]:
    """At each pixel only the first map to fire fires; the others get `steps`, never.

    Of maps that fire in the same step the strongest is taken if `responses` are given, then the one with the lowest
    number.
    """
    first = latency == latency.amin(dim=1, keepdim=True)
    strength = first.to(torch.uint8) if responses is None else torch.where(first, responses, -math.inf)
    winner = strength.argmax(dim=1, keepdim=True)
    losers = torch.ones_like(latency, dtype=torch.bool).scatter_(1, winner, False)
    return latency.masked_fill(losers, steps)


def pool_latency(latency: UInt8[Tensor, "b m h w"], kernel: int,
                 stride: int | None = None) -> UInt8[Tensor, "b m rows columns"]:
    """The earliest spike in each window of `kernel` x `kernel` px, every `stride` px (default: `kernel`).

    Windows that reach beyond the image are left out, as by max_pool2d. Raises LeukoscopeError for a kernel below
    1 px or above the image, or a stride below 1.
    """
    stride = kernel if stride is None else stride
    if not 1 <= kernel <= min(latency.shape[2:]) or stride < 1:
        raise LeukoscopeError(f"pooling: kernel {kernel} and stride {stride} do not fit {tuple(latency.shape[2:])} px",
                              "give a kernel from 1 px to the image's side and a stride of 1 px or more")
    return (255 - functional.max_pool2d(255 - latency.to(torch.float32), kernel, stride)).to(torch.uint8)
