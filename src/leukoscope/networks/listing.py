"""Which networks are worth knowing of, and the facts about each: sizes, costs, licence of published weights.

Any other name of torchvision or timm can be asked for as well; these are those that the papers name, and small modern
ones for machines without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..recipes.sections import Network
from .costs import Cost, network_cost
from .registry import find_network, input_sizes
from .units import network_names

CLASSES = 2
USUAL = 224
"""Side in px at which costs are stated, where a network takes it and was not made for another."""
_MADE_FOR = {"wbcsnet2": 70, "wbcsnet": 70, "lenet5": 32, "resnet31": 100, "resnet12": 96}

WORTH_KNOWING: Mapping[str, str] = {
    "wbcsnet2": "almotairi2020: the paper's own",
    "wbcsnet": "almotairi2020: without batch normalisation and residual block",
    "lenet5": "almotairi2020: compared with",
    "alexnet": "almotairi2020: compared with",
    "resnet31": "noshad2021: the paper's own, 31 convolutions",
    "resnet12": "of the model that comes with the package: small, made for processors",
    "resnet50": "shalini2022: the paper's own",
    "googlenet": "shalini2022: compared with",
    "resnet101": "shalini2022: compared with",
    "resnet152": "shalini2022: compared with",
    "vgg16": "shalini2022: compared with",
    "vgg19": "shalini2022: compared with",
    "densenet121": "dimuro2020: behind the learned microscope",
    "resnet18": "the usual first baseline",
    "mobilenet_v3_small": "made for processors: few operations, few parameters",
    "efficientnet_b0": "depth, width and resolution grown together, from few parameters",
    "regnet_y_400mf": "as many operations as EfficientNet-B0, in plain groups",
    "shufflenet_v2_x1_0": "the fewest parameters here of a published design",
    "convnext_atto": "a modern one without batch normalisation, small",
    "mobilenetv4_conv_small": "a recent small one for processors",
    "vit_tiny_patch16_224": "a small transformer, where attention is to be tried",
}
"""Name -> why it is in the list."""

_OURS = "none published"


@dataclass(frozen=True)
class Facts:
    """One network: where it comes from, why it is listed (empty for others), sides of the input, costs at the usual
    side, and the licence of its published weights."""

    name: str
    origin: str
    why: str
    sizes: str
    cost: Cost
    licence: str


def network_facts(name: str, size: int = 0) -> Facts:
    """Facts about one network, costs at `size` px (0: at the side that it was made for)."""
    entry = find_network(name)
    usual = _MADE_FOR.get(name, USUAL)
    side = size or (usual if entry.sizes.takes(usual) else entry.sizes.near(usual))
    cost = network_cost(Network(name=name), classes=CLASSES, size=side)
    origin = _origin(name)
    return Facts(name, origin, WORTH_KNOWING.get(name, ""), str(entry.sizes), cost, _licence(name, origin))


def list_networks(names: Sequence[str] = (), size: int = 0, *,
                  on_progress: Callable[[int, int], None] | None = None) -> list[Facts]:
    """Facts about these networks, or those worth knowing; of the latter, those that do not take `size` are left out."""
    for name in names:
        find_network(name)
    wanted, facts = list(names or WORTH_KNOWING), []
    for number, name in enumerate(wanted, 1):
        if names or not size or input_sizes(name).takes(size):
            facts.append(network_facts(name, size))
        if on_progress is not None:
            on_progress(number, len(wanted))
    return facts


def _origin(name: str) -> str:
    from . import zoo

    if name in network_names() and name not in ("alexnet", "densenet121"):
        return "leukoscope"
    return "torchvision" if name in zoo.torchvision_names() else "timm"


def _licence(name: str, origin: str) -> str:
    """As the library states it. torchvision publishes its weights under its own licence (BSD-3-Clause) unless the
    weights name another."""
    if origin == "leukoscope":
        return _OURS
    if origin == "torchvision":
        from torchvision import models

        meta = models.get_model_weights(name)["DEFAULT"].meta
        return str(meta.get("license") or "BSD-3-Clause")
    import timm

    config = timm.get_pretrained_cfg(name.removeprefix("timm."))
    if config is None or not config.has_weights:
        return _OURS
    return str(config.license or "not stated")
