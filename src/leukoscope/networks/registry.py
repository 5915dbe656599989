"""Networks by name, checked before anything is built: this package's own, else torchvision's, else timm's."""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import ValidationError

from ..errors import RecipeError
from ..recipes.sections import Network, Section
from .units import Entry, Sizes, Units, network_names, own_entry


def input_sizes(name: str) -> Sizes:
    """The sides of the input that a network takes; RecipeError for an unknown name."""
    return find_network(name).sizes


def network_options(name: str) -> type[Section]:
    """The model of `network.options` of one network."""
    return find_network(name).options


def build_network(network: Network, *, classes: int, channels: int = 3, size: int) -> Units:
    """The network of a recipe, with fresh (or pretrained) weights; (b, channels, size, size) -> logits (b, classes).

    Fresh weights come from torch's global generator: seed it, or fork it, around the call. Raises RecipeError for an
    unknown name or option, an input size that it does not take, or pretrained weights that do not exist or cannot be
    downloaded. `network.start`, `keep` and `frozen` are left to training.
    """
    entry = find_network(network.name)
    options = _options(network, entry)
    if not entry.sizes.takes(size):
        raise RecipeError(f"preprocess.size = {size}: {network.name} needs an input of {entry.sizes} a side",
                          f"set preprocess.size to {entry.sizes.near(size)}")
    if network.pretrained and not entry.pretrained:
        published = [name for name in network_names() if find_network(name).pretrained]
        raise RecipeError(f"network.pretrained: no weights are published for {network.name}",
                          f"set it to false; weights exist for {', '.join(published)}, most of torchvision and timm")
    return entry.builder(classes=classes, channels=channels, size=size, pretrained=network.pretrained, options=options)


def find_network(name: str) -> Entry:
    """One of ours, else of torchvision, else of timm; RecipeError with the three nearest names where there is none."""
    if own := own_entry(name):
        return own
    from . import zoo  # here: torchvision takes a second, timm two

    if entry := zoo.torchvision_entry(name) or zoo.timm_entry(name):
        return entry
    known = {*network_names(), *zoo.torchvision_names(), *zoo.timm_names()}
    near = get_close_matches(name, sorted(known), n=3, cutoff=0.0)
    raise RecipeError(f"network.name: no network '{name}'",
                      f"the nearest are: {', '.join(near)}; leukoscope models lists more")


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
