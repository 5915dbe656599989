"""WBCsNet and WBCsNet-2 (Almotairi and Shahin 2020, section 3.1 and figure 3).

Three convolutional units of 64, 256 and 512 filters, then two fully connected layers. WBCsNet-2 adds batch
normalisation, dropout, and a residual block in one unit: the first, where filters are few.
"""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from ..recipes.sections import Section
from .units import Units, register

FILTERS = (64, 256, 512)
KERNELS = (5, 5, 3)
HIDDEN = 512
SMALLEST = 8  # two poolings leave 2 x 2

Width = Annotated[float, Field(gt=0, le=1)]


class PlainOptions(Section):
    """width: share of the paper's filters and hidden units; 1 is the paper's network."""

    width: Width = 1.0


class ResidualOptions(PlainOptions):
    """residual_unit: the unit that becomes a residual block. dropout: probability, before the last layer."""

    residual_unit: Annotated[Literal["1", "2", "3", "none"], BeforeValidator(str)] = "1"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


class ResidualBlock(nn.Module):
    """Three convolutions, each with its normalisation and ReLU; the output of the first is added after the third.

    (b, before, h, w) -> (b, filters, h, w). The paper's ReLU after the sum is left out: both terms are outputs of a
    ReLU, so it would change nothing.
    """

    def __init__(self, before: int, filters: int, kernel: int, batch_norm: bool) -> None:
        super().__init__()
        self.first = _convolution(before, filters, kernel, batch_norm)
        self.second = _convolution(filters, filters, kernel, batch_norm)
        self.third = _convolution(filters, filters, kernel, batch_norm)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f h w"]:
        first = self.first(x)
        return first + self.third(self.second(first))


@register("wbcsnet", options=PlainOptions, smallest=SMALLEST)
def wbcsnet(*, classes: int, channels: int, size: int, options: PlainOptions, **_: object) -> Units:
    """The plain network: no normalisation, no dropout, no residual block."""
    return _build(classes, channels, size, options.width, residual_unit="none", dropout=0.0, batch_norm=False)


@register("wbcsnet2", options=ResidualOptions, smallest=SMALLEST)
def wbcsnet2(*, classes: int, channels: int, size: int, options: ResidualOptions, **_: object) -> Units:
    """WBCsNet-2, with its residual block in `options.residual_unit`."""
    return _build(classes, channels, size, options.width, residual_unit=options.residual_unit,
                  dropout=options.dropout, batch_norm=True)


def _build(classes: int, channels: int, size: int, width: float, *, residual_unit: str, dropout: float,
           batch_norm: bool) -> Units:
    *filters, hidden = (max(1, round(width * count)) for count in (*FILTERS, HIDDEN))
    units: dict[str, nn.Module] = {}
    before = channels
    for number, (after, kernel) in enumerate(zip(filters, KERNELS, strict=True), start=1):
        convolve = ResidualBlock if str(number) == residual_unit else _convolution
        pooling = [nn.MaxPool2d(2)] if number < len(filters) else []
        units[f"unit{number}"] = nn.Sequential(convolve(before, after, kernel, batch_norm), *pooling)
        before = after
    # No ReLU between the two layers: the paper has none (FC1, dropout, FC2).
    units["hidden"] = nn.Sequential(nn.Flatten(), nn.Linear(before * (size // 4) ** 2, hidden), nn.Dropout(dropout))
    units["last"] = nn.Linear(hidden, classes)
    return Units(units)


def _convolution(before: int, after: int, kernel: int, batch_norm: bool) -> nn.Module:
    # Padding keeps the size: without it (the paper's "zero padding") the residual sum is impossible. Batch
    # normalisation would cancel a bias, so there is none with it.
    steps: list[nn.Module] = [nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=not batch_norm)]
    if batch_norm:
        steps.append(nn.BatchNorm2d(after))
    return nn.Sequential(*steps, nn.ReLU())
