"""A small U-Net (Ronneberger et al. 2015) that says of each pixel whether it is nucleus, leukocyte or its middle.

Knows nothing of boxes, cells or micrometres: optical density in, three logits out. `fit.py` trains it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import torch
from jaxtyping import Float32
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

OUTPUTS = ("nucleus", "cell", "core")
"""core: the middle of a leukocyte, by which cells that touch are told apart."""
WIDTHS = (12, 24, 32, 48)
STRIDE = 2 ** (len(WIDTHS) - 1)
"""px: sides that the network takes are multiples of this, and so are shifts that it follows exactly."""
REACH = 48
"""px: no output depends on anything farther away."""
WEIGHTS = "outline.safetensors"


class Outliner(nn.Module):
    """Optical density (n, 3, height, width) to logits (n, 3, height, width), in the order of OUTPUTS."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(_pair(before, width) for before, width in zip((3, *WIDTHS), WIDTHS, strict=False))
        self.up = nn.ModuleList(_single(below + width, width)
                                for width, below in zip(WIDTHS[-2::-1], WIDTHS[:0:-1], strict=True))
        self.last = nn.Conv2d(WIDTHS[0], len(OUTPUTS), 1)

    def forward(self, density: Float32[Tensor, "n 3 height width"]) -> Float32[Tensor, "n 3 height width"]:
        kept = []
        seen = density
        for number, block in enumerate(self.down):
            seen = block(functional.max_pool2d(seen, 2) if number else seen)
            kept.append(seen)
        for block, beside in zip(self.up, kept[-2::-1], strict=True):
            seen = block(torch.cat([functional.interpolate(seen, scale_factor=2.0, mode="nearest"), beside], dim=1))
        return self.last(seen)


@cache
def outliner() -> Outliner:
    """The network with the weights of the package, its normalisation folded into the convolutions."""
    network = Outliner().eval()
    with as_file(files("leukoscope.smear") / WEIGHTS) as path:
        network.load_state_dict(load_file(path))
    for block in (*network.down, *network.up):
        _fold(block)
    return network.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch


def _single(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_single(before, after), *_single(after, after))


def _fold(block: nn.Module) -> None:
    """Join each convolution of a sequence with the normalisation behind it, in place."""
    parts = list(block.children())
    for number, part in enumerate(parts[:-1]):
        following = parts[number + 1]
        if isinstance(part, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            block[number] = torch.nn.utils.fuse_conv_bn_eval(part, following)  # type: ignore[index]
            block[number + 1] = nn.Identity()  # type: ignore[index]
