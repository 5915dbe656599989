"""AlexNet and DenseNet-121 of torchvision, divided into units, fresh or with published ImageNet weights.

The published weights of any network, and how a first convolution takes other channels, are here too.
"""

from __future__ import annotations

import re
from http.client import HTTPException
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ..errors import RecipeError
from ..recipes.sections import Section
from .units import Units, register
from .weights_file import divided

ALEXNET_UNITS = (0, 3, 6, 8, 10, 13)  # where each convolutional unit begins in torchvision's list of layers
DENSE_BLOCKS = 4


class AlexNetOptions(Section):
    """dropout: probability, before each of the two hidden layers."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


class DenseNetOptions(Section):
    """dropout: probability, after each convolution of a dense layer."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


@register("alexnet", options=AlexNetOptions, smallest=63, pretrained=True)  # 63 px leave one after the last pooling
def alexnet(*, classes: int, channels: int, pretrained: bool, options: AlexNetOptions, **_: object) -> Units:
    """AlexNet (Krizhevsky et al. 2012, one column) with a fresh last layer of `classes`.

    The adaptive pooling before the hidden layers takes any side from 63 px; it was trained at 224.
    """
    import torchvision.models  # here: it takes a second

    whole = torchvision.models.alexnet(dropout=options.dropout)
    if pretrained:
        whole.load_state_dict(published_weights("alexnet"))
    layers, head = list(whole.features), list(whole.classifier)
    if channels != 3:
        layers[0] = for_channels(layers[0], channels, pretrained)
    starts = ALEXNET_UNITS
    units: dict[str, nn.Module] = {
        f"unit{i + 1}": nn.Sequential(*layers[starts[i]:starts[i + 1]]) for i in range(len(starts) - 1)}
    units["hidden1"] = nn.Sequential(whole.avgpool, nn.Flatten(), *head[:3])
    units["hidden2"] = nn.Sequential(*head[3:6])
    units["last"] = nn.Linear(4096, classes)
    return Units(units)


@register("densenet121", options=DenseNetOptions, smallest=29, pretrained=True)  # as little as five halvings allow
def densenet121(*, classes: int, channels: int, pretrained: bool, options: DenseNetOptions, **_: object) -> Units:
    """DenseNet-121 (Huang et al. 2017): a stem, four dense blocks (the first three with the transition that follows),
    global pooling and a dense layer. Takes any side from 29 px."""
    import torchvision.models  # here: it takes a second

    whole = torchvision.models.densenet121(drop_rate=options.dropout)
    if pretrained:
        # Published under names such as norm.1.weight, which are norm1.weight now.
        whole.load_state_dict({re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name): value
                               for name, value in published_weights("densenet121").items()})
    layers = dict(whole.features.named_children())
    if channels != 3:
        layers["conv0"] = for_channels(layers["conv0"], channels, pretrained)
    units: dict[str, nn.Module] = {
        "stem": nn.Sequential(*(layers[f"{name}0"] for name in ("conv", "norm", "relu", "pool")))}
    for i in range(1, DENSE_BLOCKS + 1):
        behind = [layers[f"transition{i}"]] if i < DENSE_BLOCKS else [layers["norm5"], nn.ReLU(inplace=True)]
        units[f"block{i}"] = nn.Sequential(layers[f"denseblock{i}"], *behind)
    last = nn.Linear(whole.classifier.in_features, classes)
    units["last"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    return Units(units, least_batch=2)


def published_weights(name: str) -> dict[str, Tensor]:
    """The state dict that torchvision publishes for a network, downloaded once into torch's cache; RecipeError where
    that fails."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["DEFAULT"]
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, HTTPException, RuntimeError) as error:  # URLError is an OSError; RuntimeError: wrong hash
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise RecipeError(f"network.pretrained: {weights.url} cannot be downloaded ({error})",
                          f"connect to the internet, put that file into {folder}, or set network.pretrained = false"
                          ) from error


def for_channels(conv: nn.Module, channels: int, pretrained: bool) -> nn.Conv2d:
    """A first convolution like `conv` for another number of channels. Pretrained weights are summed over colours and
    divided equally: a grey image gives what it would give as three equal channels."""
    assert isinstance(conv, nn.Conv2d)
    fresh = nn.Conv2d(channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,  # type: ignore[arg-type]  # torch: as wide as its own attributes
                      bias=conv.bias is not None)
    if pretrained:
        fresh.weight.data.copy_(divided(conv.weight.data, channels))
        if conv.bias is not None and fresh.bias is not None:
            fresh.bias.data.copy_(conv.bias.data)
    else:
        nn.init.kaiming_normal_(fresh.weight)
    return fresh
