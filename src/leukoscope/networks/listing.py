"""Networks worth knowing, and the facts about each: sizes, costs, licence of published weights.

Every other network of torchvision or timm can be used as well; listed are those of the papers, and small modern ones
for machines without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..progress import OnProgress
from ..recipes.sections import Network
from .costs import Cost, network_cost
from .registry import find_network, input_sizes
from .units import network_names

CLASSES = 2
USUAL = 224
"""Side in px at which costs are given, unless a network was designed for another or does not take it."""
_MADE_FOR = {"wbcsnet2": 70, "wbcsnet": 70, "lenet5": 32, "resnet31": 100, "resnet12": 96}

WORTH_KNOWING: Mapping[str, str] = {
    "wbcsnet2": "almotairi2020: the paper's own",
    "wbcsnet": "almotairi2020: without batch normalisation and residual block",
    "lenet5": "almotairi2020: compared with",
    "alexnet": "almotairi2020: compared with",
    "resnet31": "noshad2021: the paper's own, 31 convolutions",
    "tf_efficientnet_lite0": "of the built-in model: designed for CPUs",
    "resnet12": "small, designed for CPUs",
    "resnet50": "shalini2022: the paper's own",
    "googlenet": "shalini2022: compared with",
    "resnet101": "shalini2022: compared with",
    "resnet152": "shalini2022: compared with",
    "vgg16": "shalini2022: compared with",
    "vgg19": "shalini2022: compared with",
    "densenet121": "dimuro2020: behind the learned microscope",
    "resnet18": "the usual first baseline",
    "mobilenet_v3_small": "designed for CPUs: few operations, few parameters",
    "efficientnet_b0": "depth, width and resolution scaled together; few parameters",
    "regnet_y_400mf": "as many operations as EfficientNet-B0, in a regular design",
    "shufflenet_v2_x1_0": "the fewest parameters of the published designs here",
    "convnext_atto": "modern and small, without batch normalisation",
    "mobilenetv4_conv_small": "recent and small, for CPUs",
    "vit_tiny_patch16_224": "a small transformer, to try attention",
}
"""Name -> why it is listed."""

_NO_WEIGHTS = "none published"


@dataclass(frozen=True)
class Facts:
    """A network: which library it comes from, why it is listed (empty for others), the sides of the input that it
    takes, its costs, and the licence of its published weights."""

    name: str
    origin: str
    why: str
    sizes: str
    cost: Cost
    licence: str


def network_facts(name: str, size: int = 0) -> Facts:
    """Facts about a network, costs at `size` px (0: at the side that it was designed for)."""
    entry = find_network(name)
    usual = _MADE_FOR.get(name, USUAL)
    side = size or (usual if entry.sizes.takes(usual) else entry.sizes.near(usual))
    cost = network_cost(Network(name=name), classes=CLASSES, size=side)
    origin, licence = _source(name)
    return Facts(name, origin, WORTH_KNOWING.get(name, ""), str(entry.sizes), cost, licence)


def list_networks(names: Sequence[str] = (), size: int = 0, *, on_progress: OnProgress | None = None) -> list[Facts]:
    """Facts about these networks, or those worth knowing; of the latter, those that do not take `size` are left out."""
    for name in names:
        find_network(name)
    listed, facts = list(names or WORTH_KNOWING), []
    for number, name in enumerate(listed, 1):
        if names or not size or input_sizes(name).takes(size):
            facts.append(network_facts(name, size))
        if on_progress is not None:
            on_progress(number, len(listed))
    return facts


def _source(name: str) -> tuple[str, str]:
    """The library of a network, and the licence of its weights as stated there. torchvision publishes weights under its
    own licence (BSD-3-Clause) unless they name another."""
    if name in network_names() and name not in ("alexnet", "densenet121"):
        return "leukoscope", _NO_WEIGHTS
    from torchvision import models

    from .zoo import torchvision_names

    if name in torchvision_names():
        licence = models.get_model_weights(name)["DEFAULT"].meta.get("license")
        return "torchvision", str(licence or "BSD-3-Clause")
    import timm

    config = timm.get_pretrained_cfg(name.removeprefix("timm."))
    if config is None or not config.has_weights:
        return "timm", _NO_WEIGHTS
    return "timm", str(config.license or "not stated")
