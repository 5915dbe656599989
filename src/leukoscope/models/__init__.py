"""The networks, by name: importing this package fills the registry, one file a family."""

from . import alexnet, lenet, wbcsnet
from .registry import Units, build_network, network_names, network_options

__all__ = ["Units", "alexnet", "build_network", "lenet", "network_names", "network_options", "wbcsnet"]
