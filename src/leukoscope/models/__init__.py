"""The networks, by name: importing this package fills the registry, one file a family."""

from . import alexnet, lenet, resnet31, wbcsnet
from .registry import Units, build_network, network_names, network_options

__all__ = ["Units", "alexnet", "build_network", "lenet", "network_names", "network_options", "resnet31",
           "wbcsnet"]
