"""Networks by name: what a recipe may ask for, checked before anything is built.

One of our own, else one of torchvision, else one of timm.
"""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import ValidationError

from ..errors import RecipeError
from ..recipes.sections import Network, Section
from .units import Entry, Sizes, Units, network_names, own_entry


def input_sizes(name: str) -> Sizes:
    """The sides of the input that a network takes."""
    return find_network(name).sizes


def network_options(name: str) -> type[Section]:
    """The model of `network.options` of one network."""
    return find_network(name).options


def build_network(network: Network, *, classes: int, channels: int = 3, size: int) -> Units:
    """The network a recipe asks for, with fresh (or pretrained) weights; (b, channels, size, size) -> logits
    (b, classes).

    Fresh weights come from torch's global generator: seed it, or fork it, around the call. Raises RecipeError for an
    unknown name or option, an input that is too small, or pretrained weights that cannot be had. `network.start`,
    `keep` and `frozen` are for training to heed.
    """
    entry = find_network(network.name)
    options = _options(network, entry)
    check_size(network.name, size)
    if network.pretrained and not entry.pretrained:
        having = [name for name in network_names() if find_network(name).pretrained]
        raise RecipeError(f"network.pretrained: nobody publishes weights for {network.name}",
                          f"set it to false; these have some: {', '.join(having)}, and most of torchvision and timm")
    return entry.builder(classes=classes, channels=channels, size=size, pretrained=network.pretrained, options=options)


def check_size(name: str, size: int) -> None:
    """RecipeError, with the sides that it takes, where a network does not take an input of `size` px."""
    sizes = input_sizes(name)
    if not sizes.takes(size):
        raise RecipeError(f"preprocess.size = {size}: {name} needs an input of {sizes} a side",
                          f"set preprocess.size to {sizes.near(size)}")


def find_network(name: str) -> Entry:
    """One of ours, else of torchvision, else of timm; RecipeError with the three nearest names where there is none."""
    if own := own_entry(name):
        return own
    from . import zoo  # here: torchvision takes a second, timm two

    found = zoo.torchvision_entry(name) or zoo.timm_entry(name)
    if found is None:
        known = {*network_names(), *zoo.torchvision_names(), *zoo.timm_names()}
        near = get_close_matches(name, sorted(known), n=3, cutoff=0.0)
        raise RecipeError(f"network.name: no network '{name}'",
                          f"the nearest are: {', '.join(near)}; leukoscope models lists more")
    return found


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
