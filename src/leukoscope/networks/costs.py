"""The costs of a network: parameters, operations and memory, counted without running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..recipes.sections import Network
from .registry import build_network
from .units import Units

_BYTES = 4  # of a float32


@dataclass(frozen=True)
class Cost:
    """size: side of the image in px. parameters: their number. operations: multiplications with an addition (MAC) for
    one image, of convolutions, dense layers and attention. weights: bytes of parameters and buffers. maps: bytes of the
    outputs of all layers for one image, in float32, which training keeps in memory."""

    size: int
    parameters: int
    operations: int
    weights: int
    maps: int


def network_cost(network: Network, *, classes: int, size: int, channels: int = 3) -> Cost:
    """The cost of a network for one image of `size` px; RecipeError as `build_network`."""
    with torch.device("meta"):
        built = build_network(network.model_copy(update={"pretrained": False}), classes=classes, channels=channels,
                              size=size)
        return cost_of(built, torch.zeros(1, channels, size, size))


def cost_of(network: Units, image: Tensor) -> Cost:
    """The same for a network that is built; `image` is (1, channels, size, size) on its device."""
    maps = 0

    def count(module: nn.Module, given: object, out: object) -> None:
        nonlocal maps
        if isinstance(out, Tensor):
            maps += out.numel() * _BYTES

    layers = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [layer.register_forward_hook(count) for layer in layers]
    was_training = network.training
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(image)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    parameters = sum(p.numel() for p in network.parameters())
    buffers = sum(b.numel() * b.element_size() for b in network.buffers())
    return Cost(image.shape[-1], parameters, counter.get_total_flops() // 2, parameters * _BYTES + buffers, maps)
