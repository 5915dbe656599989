"""The networks, by name: importing this package fills the registry, one file a family."""

from . import alexnet, densenet, lenet, resnet31, wbcsnet
from .registry import Units, build_network, network_names, network_options, smallest_input

__all__ = ["Units", "alexnet", "build_network", "densenet", "lenet", "network_names", "network_options", "resnet31",
           "smallest_input", "wbcsnet"]
