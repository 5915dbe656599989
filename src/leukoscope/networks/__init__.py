"""The networks, by name: importing this package fills the registry, one file per family."""

from __future__ import annotations

from . import imagenet, lenet, resnet12, resnet31, wbcsnet
from .registry import build_network, input_sizes, network_options
from .units import Sizes, Units, network_names

__all__ = ["Sizes", "Units", "build_network", "imagenet", "input_sizes", "lenet", "network_names", "network_options",
           "resnet12", "resnet31", "wbcsnet"]
