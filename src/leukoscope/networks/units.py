"""Networks as named units, and the register of this package's own: each adds itself with its options and sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from ..recipes.sections import Section

LARGEST = 1024
"""Largest side of an input in px."""


class Units(nn.Sequential):
    """A network as named units in order, each a module; the last one gives the logits.

    Transfer keeps or freezes units, and feature maps have their names. A module with an attribute `parts` is not one
    unit but several: its submodules of these names, such as `body.layer1`. least_batch: least number of cells in a
    training batch, 2 where batch normalisation may get maps of one pixel.
    """

    def __init__(self, units: dict[str, nn.Module], least_batch: int = 1) -> None:
        super().__init__(OrderedDict(units))
        self.least_batch = least_batch

    @property
    def units(self) -> tuple[str, ...]:
        names: list[str] = []
        for name, unit in self.named_children():
            names += [f"{name}.{part}" for part in getattr(unit, "parts", ())] or [name]
        return tuple(names)

    def unit_maps(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Unit -> its output (b, maps, h', w'), for the units that give square maps."""
        maps: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, object, object], None]:
            def hook(module: nn.Module, given: object, out: object) -> None:
                if isinstance(out, Tensor) and out.dim() == 4 and out.shape[2] == out.shape[3]:
                    maps[name] = out.clone()  # the next unit may work in place

            return hook

        handles = [self.get_submodule(name).register_forward_hook(keep(name)) for name in self.units]
        try:
            self(x)
        finally:
            for handle in handles:
                handle.remove()
        return maps


Builder = Callable[..., Units]
"""`builder(*, classes: int, channels: int, size: int, pretrained: bool, options: Section) -> Units`."""


@dataclass(frozen=True)
class Sizes:
    """The sides in px that a network takes: from `smallest` on, in steps of `step`; or those of `only`."""

    smallest: int = 32
    step: int = 1
    only: tuple[int, ...] = ()

    def takes(self, size: int) -> bool:
        if self.only:
            return size in self.only
        return self.smallest <= size <= LARGEST and size % self.step == 0

    def __str__(self) -> str:
        if self.only:
            return f"{', '.join(map(str, self.only))} px"
        largest = LARGEST - LARGEST % self.step
        return f"{f'a multiple of {self.step} from ' if self.step > 1 else ''}{self.smallest} to {largest} px"

    def near(self, size: int) -> int:
        """The side that it takes nearest to `size`, the larger of two equally near."""
        sides = self.only or range(self.smallest, LARGEST + 1, self.step)
        return min(sides, key=lambda side: (abs(side - size), -side))


@dataclass(frozen=True)
class Entry:
    """A network that can be built. `sizes`: sides of the input; `pretrained`: whether weights are published."""

    builder: Builder
    options: type[Section]
    sizes: Sizes
    pretrained: bool


_REGISTRY: dict[str, Entry] = {}


def register(name: str, *, options: type[Section] = Section, smallest: int,
             pretrained: bool = False) -> Callable[[Builder], Builder]:
    """Decorator: register a builder under `name`; `options` is the model that validates its `network.options`."""

    def add(builder: Builder) -> Builder:
        assert name not in _REGISTRY, f"two networks are named {name}"
        _REGISTRY[name] = Entry(builder, options, Sizes(smallest), pretrained)
        return builder

    return add


def network_names() -> tuple[str, ...]:
    """Names of this package's own networks, in alphabetical order; those of torchvision and timm are in `zoo.py`."""
    return tuple(sorted(_REGISTRY))


def own_entry(name: str) -> Entry | None:
    """One of this package's own networks; None where no such name exists."""
    return _REGISTRY.get(name)
