"""Networks by name: what a recipe may ask for, checked before anything is built.

Knows nothing of any one network; each registers itself with its options and the smallest input it can take.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor, nn

from ..errors import RecipeError
from ..recipe import Network, Section


class Units(nn.Sequential):
    """A network as named units in order, each a module; the last one gives the logits.

    Units are what transfer keeps or freezes, and what feature maps are named by. least_batch: cells that a batch of
    training must hold, 2 where batch normalisation meets maps of one pixel.
    """

    least_batch = 1

    def __init__(self, units: dict[str, nn.Module]) -> None:
        super().__init__(OrderedDict(units))

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def unit_maps(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Unit -> what it hands to the next, (b, maps, h', w'), of those units that give maps."""
        maps = {}
        for name, unit in self.named_children():
            x = unit(x)
            if x.dim() == 4:
                maps[name] = x
        return maps


Builder = Callable[..., Units]
"""`builder(*, classes: int, channels: int, size: int, pretrained: bool, options: Section) -> Units`."""


@dataclass(frozen=True)
class Entry:
    """A registered network. `smallest`: least side of the input in px; `pretrained`: weights can be had."""

    builder: Builder
    options: type[Section]
    smallest: int
    pretrained: bool


_REGISTRY: dict[str, Entry] = {}


def register(name: str, *, options: type[Section] = Section, smallest: int,
             pretrained: bool = False) -> Callable[[Builder], Builder]:
    """Decorator: make a builder known under `name`; `options` is the model that its `network.options` must fit."""

    def add(builder: Builder) -> Builder:
        assert name not in _REGISTRY, f"two networks are named {name}"
        _REGISTRY[name] = Entry(builder, options, smallest, pretrained)
        return builder

    return add


def network_names() -> tuple[str, ...]:
    """Names of all networks, in alphabetical order."""
    return tuple(sorted(_REGISTRY))


def smallest_input(name: str) -> int:
    """Least side of the input in px that a network takes."""
    return _entry(name).smallest


def network_options(name: str) -> type[Section]:
    """The model of `network.options` of one network."""
    return _entry(name).options


def build_network(network: Network, *, classes: int, channels: int = 3, size: int) -> Units:
    """The network a recipe asks for, with fresh (or pretrained) weights; (b, channels, size, size) -> logits
    (b, classes).

    Fresh weights come from torch's global generator: seed it, or fork it, around the call. Raises RecipeError for an
    unknown name or option, an input that is too small, or pretrained weights that cannot be had. `network.start`,
    `keep` and `frozen` are for training to heed.
    """
    entry = _entry(network.name)
    if size < entry.smallest:
        raise RecipeError(
            f"preprocess.size = {size}: {network.name} needs an input of {entry.smallest} to 1024 px a side",
            f"set preprocess.size to {entry.smallest} or more")
    if network.pretrained and not entry.pretrained:
        having = [name for name in network_names() if _REGISTRY[name].pretrained]
        raise RecipeError(f"network.pretrained: nobody publishes weights for {network.name}",
                          f"set it to false; these have some: {', '.join(having)}")
    return entry.builder(classes=classes, channels=channels, size=size, pretrained=network.pretrained,
                         options=_options(network, entry))


def _entry(name: str) -> Entry:
    if name not in _REGISTRY:
        near = get_close_matches(name, network_names(), n=3, cutoff=0.0)
        raise RecipeError(f"network.name: no network '{name}'", f"the nearest are: {', '.join(near)}")
    return _REGISTRY[name]


def _options(network: Network, entry: Entry) -> Section:
    try:
        return entry.options.model_validate(network.options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(entry.options.model_fields) or "none"
        if first["type"] == "extra_forbidden":
            raise RecipeError(f"network.options.{key}: {network.name} has no such option",
                              f"its options: {known}") from error
        raise RecipeError(f"network.options.{key}: {first['msg']} (got {first['input']!r})",
                          f"options of {network.name}: {known}") from error
