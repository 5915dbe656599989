"""LeNet-5 (LeCun et al. 1998), for colour and any input size: the small network in the comparison of almotairi2020.

Two 5 x 5 convolutions of 6 and 16 filters, each with tanh and 2 x 2 average pooling, then layers of 120 and 84 and
the logits. At 32 x 32 the maps before the first layer are 5 x 5, as published; the sparse connection table and the
radial basis outputs of 1998 are replaced by full connections and logits, as is usual.
"""

from __future__ import annotations

from torch import nn

from .units import Units, register

SMALLEST = 16  # leaves one pixel before the first layer


@register("lenet5", smallest=SMALLEST)
def lenet5(*, classes: int, channels: int, size: int, **_: object) -> Units:
    """LeNet-5 with logits for `classes`."""
    side = ((size - 4) // 2 - 4) // 2
    return Units({
        "unit1": nn.Sequential(nn.Conv2d(channels, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
        "unit2": nn.Sequential(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        "hidden1": nn.Sequential(nn.Flatten(), nn.Linear(16 * side**2, 120), nn.Tanh()),
        "hidden2": nn.Sequential(nn.Linear(120, 84), nn.Tanh()),
        "last": nn.Linear(84, classes),
    })
