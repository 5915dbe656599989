"""DenseNet-121 (Huang et al. 2017, torchvision's form), for any number of channels, fresh or with ImageNet weights."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from ..recipes.sections import Section
from .units import Units, register
from .weights import for_channels, published_weights

SMALLEST = 29  # leaves one pixel after the last of five halvings
BLOCKS = 4


class Options(Section):
    """dropout: probability, after each convolution of a dense layer."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


@register("densenet121", options=Options, smallest=SMALLEST, pretrained=True)
def densenet121(*, classes: int, channels: int, size: int, pretrained: bool, options: Any) -> Units:
    """A stem, four dense blocks (the first three with the transition behind them), global pooling and a dense layer.

    Takes any `size` from 29 px. For another number of channels than three, pretrained weights of the first convolution
    are summed over colours and shared out evenly: a grey image gives what it would give as three equal channels.
    """
    import torchvision.models  # here: it takes a second

    whole = torchvision.models.densenet121(drop_rate=options.dropout)
    if pretrained:
        whole.load_state_dict(_renamed(published_weights(torchvision.models.DenseNet121_Weights.IMAGENET1K_V1)))
    layers = dict(whole.features.named_children())
    if channels != 3:
        layers["conv0"] = for_channels(layers["conv0"], channels, pretrained)
    units: dict[str, nn.Module] = {
        "stem": nn.Sequential(*(layers[f"{name}0"] for name in ("conv", "norm", "relu", "pool")))}
    for i in range(1, BLOCKS + 1):
        behind = [layers[f"transition{i}"]] if i < BLOCKS else [layers["norm5"], nn.ReLU(inplace=True)]
        units[f"block{i}"] = nn.Sequential(layers[f"denseblock{i}"], *behind)
    last = nn.Linear(whole.classifier.in_features, classes)
    units["last"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    network = Units(units)
    network.least_batch = 2
    return network


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published under names such as norm.1.weight, which are norm1.weight now."""
    return {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name): value
            for name, value in weights.items()}
