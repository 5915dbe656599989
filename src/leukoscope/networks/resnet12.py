"""A residual network of eleven convolutions and a dense layer, small enough for the built-in model.

Five blocks as of He et al. (2016), each with a shortcut, over four sizes of maps. Maps are normalised by choice with
statistics of the batch (Ioffe and Szegedy 2015), which at prediction are those of training; of groups of channels of
the image itself (Wu and He 2018); or of each channel of the image (Singh and Krishnan 2020).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..recipes.sections import Section
from .units import Units, register

CHANNELS = (24, 48, 48, 96, 96, 128)
"""Maps behind the stem and behind each block, at width 1."""
STRIDES = (2, 1, 2, 1, 2)
GROUPS = 8


class Options(Section):
    """width: maps as a multiple of CHANNELS. norm: "batch", "group" or "filter". dropout: before the last layer."""

    width: float = Field(1.0, gt=0, le=8)
    norm: Literal["batch", "group", "filter"] = "batch"
    dropout: float = Field(0.0, ge=0, lt=1)


class FilterNorm(nn.Module):
    """Filter response normalisation with its thresholded unit: max(gain x / sqrt(mean x^2 + e) + shift, least), in
    place of normalisation and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.least = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        power = x.square().mean((2, 3), keepdim=True)
        return torch.maximum(self.gain * x * torch.rsqrt(power + 1e-6) + self.shift, self.least)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where size or maps change."""

    def __init__(self, before: int, maps: int, stride: int, norm: str) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, maps, 3, stride, 1, bias=False), *_normed(maps, norm))
        self.second = nn.Sequential(nn.Conv2d(maps, maps, 3, 1, 1, bias=False), *_normed(maps, norm, last=True))
        plain = before == maps and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Sequential(
            nn.Conv2d(before, maps, 1, stride, bias=False), *_normed(maps, norm, last=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def _normed(maps: int, norm: str, *, last: bool = False) -> list[nn.Module]:
    """Normalisation and ReLU; no ReLU before a sum."""
    if norm == "filter":
        return [FilterNorm(maps)]
    layer = nn.BatchNorm2d(maps) if norm == "batch" else nn.GroupNorm(GROUPS, maps)
    return [layer] if last else [layer, nn.ReLU(inplace=True)]


@register("resnet12", options=Options, smallest=16)
def resnet12(*, classes: int, channels: int, size: int, options: Options, **_: object) -> Units:
    """Stem, five blocks, pooling and a dense layer; at width 1 it has 0.62 million parameters for eight classes."""
    maps = [max(GROUPS, round(options.width * count / GROUPS) * GROUPS) for count in CHANNELS]
    units: dict[str, nn.Module] = {
        "stem": nn.Sequential(nn.Conv2d(channels, maps[0], 5, 2, 2, bias=False), *_normed(maps[0], options.norm))}
    for i, stride in enumerate(STRIDES):
        units[f"block{i + 1}"] = Block(maps[i], maps[i + 1], stride, options.norm)
    dropout = [nn.Dropout(options.dropout)] if options.dropout else []
    units["last"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout, nn.Linear(maps[-1], classes))
    return Units(units, least_batch=2 if options.norm == "batch" and size <= 16 else 1)
