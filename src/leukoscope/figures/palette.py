"""The colour of each type of cell, the same on every page and in every figure."""

from __future__ import annotations

from collections.abc import Sequence

from ..smear.count import plain_name
from ..smear.formats import UNTYPED

TYPE_COLOURS = {
    "neutrophil": "#0072b2", "lymphocyte": "#d55e00", "monocyte": "#009e73", "eosinophil": "#f0b400",
    "basophil": "#6a3d9a", "blast": "#000000", "immature_granulocyte": "#7a2e00", "ig": "#7a2e00",
    "erythroblast": "#e6004c", "nrbc": "#e6004c", "platelet": "#56b4e9", "smudge": "#5d6472",
    "leukemic": "#d55e00", "healthy": "#0072b2", UNTYPED: "#5b8c00",
}
"""By `plain_name`. None is pink, as stained smears are."""
OTHERS = ("#7f7f00", "#00606b", "#a6761d", "#1b7837", "#8c510a", "#01665e", "#4d4d4d", "#b35806")
"""Of types without a colour of their own, in their order; after the last they start again."""


def colours_of(classes: Sequence[str]) -> dict[str, str]:
    """Class -> "#rrggbb", that of cells without a type too; two names of one type that stand beside each other get
    different colours."""
    colours, taken = {UNTYPED: TYPE_COLOURS[UNTYPED]}, set()
    others = 0
    for name in dict.fromkeys(classes):
        colour = TYPE_COLOURS.get(plain_name(name), "")
        if not colour or colour in taken:
            colour = OTHERS[others % len(OTHERS)]
            others += 1
        taken.add(colour)
        colours[name] = colour
    return colours
