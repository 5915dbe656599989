"""The networks, by name: importing this package fills the registry, one file a family."""

from . import alexnet, densenet, lenet, resnet12, resnet31, wbcsnet
from .registry import build_network, check_size, input_sizes, network_options
from .units import Sizes, Units, network_names

__all__ = ["Sizes", "Units", "alexnet", "build_network", "check_size", "densenet", "input_sizes", "lenet",
           "network_names", "network_options", "resnet12", "resnet31", "wbcsnet"]
