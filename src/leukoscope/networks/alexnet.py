"""AlexNet (Krizhevsky et al. 2012, torchvision's one-column form), fresh or with weights from ImageNet."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import nn

from ..recipes.sections import Section
from .units import Units, register
from .weights import for_channels, published_weights

SMALLEST = 63  # leaves one pixel after the last pooling
STARTS = (0, 3, 6, 8, 10, 13)  # where each convolutional unit begins in torchvision's list of layers


class Options(Section):
    """dropout: probability, before each of the two hidden layers."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


@register("alexnet", options=Options, smallest=SMALLEST, pretrained=True)
def alexnet(*, classes: int, channels: int, size: int, pretrained: bool, options: Any) -> Units:
    """AlexNet with a fresh last layer of `classes`; `pretrained` fetches ImageNet weights once into torch's cache.

    The adaptive pooling before the hidden layers takes any `size` from 63 px; it was trained at 224.
    """
    import torchvision.models  # here: it takes a second, and only this network needs it

    whole = torchvision.models.alexnet(dropout=options.dropout)
    if pretrained:
        whole.load_state_dict(published_weights(torchvision.models.AlexNet_Weights.IMAGENET1K_V1))
    layers, head = list(whole.features), list(whole.classifier)
    if channels != 3:
        layers[0] = for_channels(layers[0], channels, pretrained)
    units: dict[str, nn.Module] = {
        f"unit{i + 1}": nn.Sequential(*layers[STARTS[i]:STARTS[i + 1]]) for i in range(len(STARTS) - 1)}
    units["hidden1"] = nn.Sequential(whole.avgpool, nn.Flatten(), *head[:3])
    units["hidden2"] = nn.Sequential(*head[3:6])
    units["last"] = nn.Linear(4096, classes)
    return Units(units)
