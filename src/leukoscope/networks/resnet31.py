"""The 31-layer residual network (Noshad and Fallahi 2021, Table 2).

A 7 x 7 convolution, nine bottleneck blocks in three stages, 2 x 2 average pooling and one dense layer. The paper counts
convolutions, shortcuts included; its pooling is called global there, but 12,544 = 7 * 7 * 256 inputs of the dense layer
are those of 2 x 2 average pooling at 224 px.
"""

from __future__ import annotations

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .units import Units, register

STAGES = (("stage2", (32, 32, 64), 1), ("stage3", (64, 64, 128), 2), ("stage4", (64, 64, 256), 2))
"""Unit, filters of a block's three convolutions, stride of the stage's first block."""
STEM = 64
SMALLEST = 32  # leaves 2 x 2 before the last pooling


class Block(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions added to their input (identity block), or to its 1 x 1 convolution where the
    size or the number of maps changes (convolutional block). (b, before, h, w) -> (b, filters[2], h', w').
    """

    def __init__(self, before: int, filters: tuple[int, int, int], stride: int, *, shortcut: bool) -> None:
        super().__init__()
        first, second, third = filters
        self.branch2a = _normalised(before, first, 1, stride)
        self.branch2b = _normalised(first, second, 3)
        self.branch2c = _normalised(second, third, 1)
        self.branch1 = _normalised(before, third, 1, stride) if shortcut else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f i j"]:
        y = functional.relu(self.branch2a(x), inplace=True)
        y = functional.relu(self.branch2b(y), inplace=True)
        return functional.relu(self.branch2c(y) + self.branch1(x), inplace=True)


@register("resnet31", smallest=SMALLEST)
def resnet31(*, classes: int, channels: int, size: int, **_: object) -> Units:
    """The network of Table 2, for any input of at least 32 px a side."""
    units: dict[str, nn.Module] = {"stage1": nn.Sequential(
        nn.Conv2d(channels, STEM, 7, stride=2, padding=3), nn.BatchNorm2d(STEM), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2))}
    before, side = STEM, ((size + 1) // 2 - 3) // 2 + 1
    for name, filters, stride in STAGES:
        blocks: OrderedDict[str, nn.Module] = OrderedDict(
            a=Block(before, filters, stride, shortcut=True), b=Block(filters[2], filters, 1, shortcut=False),
            c=Block(filters[2], filters, 1, shortcut=False))
        units[name] = nn.Sequential(blocks)
        before, side = filters[2], (side + stride - 1) // stride
    units["last"] = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(before * (side // 2) ** 2, classes))
    return Units(units)


def _normalised(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    # With a bias, though batch normalisation cancels it: the paper counts it.
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride, kernel // 2), nn.BatchNorm2d(after))
