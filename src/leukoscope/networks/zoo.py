"""Networks of torchvision and timm by their own names, as units: the parts of the body, and the last layer.

The libraries build them; this module only finds their last layer. Networks with auxiliary classifiers for training
(GoogLeNet, Inception) are built without them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RecipeError, first_line
from ..recipes.sections import Section
from .imagenet import for_channels, published_weights
from .units import LARGEST, Entry, Sizes, Units

MOST_PARTS = 16
"""A sequence of more modules is one unit."""
_AUXILIARY = {"googlenet", "inception_v3"}
_SIZES = {"inception_v3": Sizes(75), "alexnet": Sizes(63), "maxvit_t": Sizes(224, 224)}
_TIMM = "timm."
"""Before a name, selects timm's network where torchvision has one of the same name."""
_PROBED = (32, 50, 64, 72, 75, 80, 96, 100, 128, 224, 225, 256, 384)
"""Sides in px at which a network of timm is tried, to state which it takes: multiples of powers of two, and others."""


def torchvision_names() -> tuple[str, ...]:
    """Classifiers of torchvision, in alphabetical order."""
    import torchvision.models

    return tuple(torchvision.models.list_models(module=torchvision.models))


def timm_names() -> tuple[str, ...]:
    """Networks of timm, without the tags of their weights."""
    import timm

    return tuple(timm.list_models())


@lru_cache(maxsize=64)
def torchvision_entry(name: str) -> Entry | None:
    """A classifier of torchvision; None where no such name exists."""
    if name not in torchvision_names():
        return None
    patch = re.fullmatch(r"vit_\w_(\d+)", name)
    sizes = Sizes(int(patch[1]), int(patch[1])) if patch else _SIZES.get(name, Sizes())
    return Entry(partial(_torchvision, name), Section, sizes, pretrained=True)


@lru_cache(maxsize=64)
def timm_entry(name: str) -> Entry | None:
    """A network of timm (`mobilenetv4_conv_small`, or with the tag of its weights); None where it does not exist."""
    import timm

    plain = name.removeprefix(_TIMM)
    architecture, _, tag = plain.partition(".")
    if not timm.is_model(architecture) or (tag and plain not in timm.list_pretrained(f"{architecture}.*")):
        return None
    return Entry(partial(_timm, plain), Section, _timm_sizes(plain), pretrained=timm.is_model_pretrained(plain))


def _timm_sizes(name: str) -> Sizes:
    """Transformers without windows take whole patches; all others are tried."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        with torch.device("meta"):
            network = timm.create_model(name)
        patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
        if type(network) is timm.models.VisionTransformer and patch and patch[0] == patch[1]:
            return Sizes(patch[0], patch[0])
    return _TriedSizes(name=name)


@dataclass(frozen=True)
class _TriedSizes(Sizes):
    """Sides that a network of timm takes, by trial: some need maps of even sides, or a whole number of windows."""

    name: str = ""

    def takes(self, size: int) -> bool:
        return size <= LARGEST and _runs(self.name, size)

    def rule(self) -> Sizes:
        """What the trials show: all sides from some side on, multiples of a number, or only those that were taken."""
        taken = tuple(size for size in _PROBED if self.takes(size))
        smallest = min(taken, default=LARGEST)
        for step in (1, 2, 4, 8, 16, 32):
            if taken == tuple(size for size in _PROBED if size >= smallest and size % step == 0):
                return Sizes(smallest, step)
        return Sizes(only=taken)

    def __str__(self) -> str:
        return str(self.rule())

    def near(self, size: int) -> int:
        return self.rule().near(size)


@lru_cache(maxsize=512)
def _runs(name: str, size: int) -> bool:
    """Whether a network of timm can be built and takes an input of `size` px; nothing is computed."""
    try:
        with torch.device("meta"), torch.no_grad():
            network = _timm(name, classes=2, channels=3, size=size, pretrained=False).eval()
            return tuple(network(torch.zeros(1, 3, size, size)).shape) == (1, 2)
    except Exception:  # networks raise many kinds of errors where an input is too small
        return False


def _torchvision(name: str, *, classes: int, channels: int, size: int, pretrained: bool, **_: object) -> Units:
    from torchvision import models

    more: dict[str, object] = {"image_size": size} if name.startswith("vit_") else {}
    if name == "maxvit_t":
        more["input_size"] = (size, size)
    if name in _AUXILIARY:
        more |= {"aux_logits": False, "init_weights": not pretrained, "transform_input": pretrained and channels == 3}
    # RegNet computes its widths with tensors, which have no values on the meta device.
    on_meta = torch.get_default_device().type == "meta"
    with torch.device("cpu") if on_meta and name.startswith("regnet") else nullcontext(), \
            torch.random.fork_rng(devices=[], enabled=on_meta):
        body = models.get_model(name, weights=None, num_classes=classes, **more)
    if pretrained:
        state = published_weights(name)
        if more.get("image_size", 224) != 224:
            state = dict(models.vision_transformer.interpolate_embeddings(size, int(name.rpartition("_")[2]),
                                                                          OrderedDict(state)))
        _load(body, state, name)
    if name.startswith("squeezenet"):
        features, last = (body.get_submodule(part) for part in ("features", "classifier"))
        return _ready({"body": _parted(features), "last": nn.Sequential(last, nn.Flatten())}, channels, pretrained)
    return _ready(_split(body), channels, pretrained)


def _timm(name: str, *, classes: int, channels: int, size: int, pretrained: bool, **_: object) -> Units:
    import timm

    settings: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        settings["img_size"] = size
    try:
        whole = timm.create_model(name, pretrained=pretrained, **settings)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        whole = timm.create_model(name, pretrained=pretrained, num_classes=classes, in_chans=channels)
    except Exception as error:  # the hub's errors have no class in common
        if not pretrained:
            raise
        raise RecipeError(f"network.pretrained: the weights of {name} cannot be downloaded ({first_line(error)})",
                          "connect to the internet, or set network.pretrained = false") from error
    return _ready(_split(whole), 3, False)  # timm has fitted the channels


def _load(body: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """Load published weights without the last layer, which is for other classes, and auxiliary classifiers."""
    last = _last_layer(body)
    own = body.state_dict()
    usable = {key: value for key, value in state.items() if key in own and key.rpartition(".")[0] != last}
    missing = [key for key in own if key not in usable and key.rpartition(".")[0] != last
               and not key.endswith("num_batches_tracked")]
    if missing:
        raise RecipeError(f"network.pretrained: the published weights of {name} lack {missing[0]}",
                          "set network.pretrained = false")
    body.load_state_dict(own | usable)


def _last_layer(body: nn.Module) -> str:
    """The name of the layer that gives the logits: the last dense layer, or if there is none the last convolution."""
    names = {kind: [name for name, module in body.named_modules() if isinstance(module, kind)]
             for kind in (nn.Linear, nn.Conv2d)}
    return (names[nn.Linear] or names[nn.Conv2d])[-1]


def _split(whole: nn.Module) -> dict[str, nn.Module]:
    """{"body": all that comes before the last layer, "last": that layer}; only the body where the network does not end
    with one dense layer."""
    last = _last_layer(whole)
    own = getattr(whole, "get_classifier", None)  # timm's
    layer = whole.get_submodule(last)
    if not isinstance(layer, nn.Linear) or (own is not None and own() is not layer):
        return {"body": _parted(whole)}
    above, _, name = last.rpartition(".")
    parent = whole.get_submodule(above)
    if isinstance(parent, nn.Sequential):
        parent[int(name) if name.isdigit() else list(parent._modules).index(name)] = nn.Identity()
    else:
        setattr(parent, name, nn.Identity())
    return {"body": _parted(whole), "last": layer}


def _parted(body: nn.Module) -> nn.Module:
    """The body, with the names of the submodules that are its units. A body with parameters of its own is one unit, so
    that no parameter is outside the units."""
    if not any(True for _ in body.parameters(recurse=False)):
        body.parts = tuple(_parts(body))  # type: ignore[assignment]  # a plain attribute, no parameter
    return body


def _parts(module: nn.Module) -> Iterator[str]:
    for name, child in module.named_children():
        if not any(True for _ in child.parameters()):
            continue
        inner = list(child.named_children()) if isinstance(child, nn.Sequential) and "." not in name else []
        if 1 < len(inner) <= MOST_PARTS and name in ("features", "stages", "blocks"):
            yield from (f"{name}.{below}" for below, part in inner if any(True for _ in part.parameters()))
        else:
            yield name


def _ready(units: dict[str, nn.Module], channels: int, pretrained: bool) -> Units:
    body = units["body"]
    if channels != 3:
        name = next(name for name, module in body.named_modules() if isinstance(module, nn.Conv2d))
        above, _, last = name.rpartition(".")
        body.get_submodule(above)._modules[last] = for_channels(body.get_submodule(name), channels, pretrained)
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for unit in units.values() for m in unit.modules())
    network = Units(units, least_batch=2 if normalised else 1)
    return network.to("meta") if torch.get_default_device().type == "meta" else network
