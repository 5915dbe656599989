"""Published weights: fetched once into torch's cache, or refused with what to do; and fitted to other channels."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

import torch
from torch import nn

from ..errors import RecipeError


def published_weights(weights: Any) -> dict[str, torch.Tensor]:
    """The state dict of a torchvision `weights` entry; RecipeError where it cannot be had."""
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, HTTPException, RuntimeError) as error:  # URLError is an OSError; RuntimeError: wrong hash
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise RecipeError(f"network.pretrained: {weights.url} cannot be had ({error})",
                          f"go online, put that file into {folder}, or set network.pretrained = false") from error


def for_channels(conv: nn.Module, channels: int, pretrained: bool) -> nn.Conv2d:
    """A first convolution like `conv` for another number of channels. Pretrained weights are summed over colours and
    shared out evenly: a grey image gives what it would give as three equal channels."""
    assert isinstance(conv, nn.Conv2d)
    fresh = nn.Conv2d(channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,  # type: ignore[arg-type]  # torch: as wide as its own attributes
                      bias=conv.bias is not None)
    if pretrained:
        fresh.weight.data.copy_(conv.weight.data.sum(1, keepdim=True).expand_as(fresh.weight) / channels)
        if conv.bias is not None and fresh.bias is not None:
            fresh.bias.data.copy_(conv.bias.data)
    else:
        nn.init.kaiming_normal_(fresh.weight)
    return fresh
