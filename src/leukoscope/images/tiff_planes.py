"""Pages of a TIFF that belong together: planes of focus and channels of one field, by the descriptions of ImageJ and
tifffile."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from . import tiff_tags as tags
from .tiff_tags import Directory, Tiff

MOST_STATED = 1_000_000
"""Pages that a description may state; beyond it is not believed."""
_RED_GREEN_BLUE = ({"red", "r"}, {"green", "g"}, {"blue", "b"})


@dataclass(frozen=True)
class Picture:
    """One field. planes: its planes of focus, each as its channel pages: one page, or three in the order red, green,
    blue. refused: why it cannot be read, or "". stated: whether the file itself says what its pages are."""

    planes: tuple[tuple[int, ...], ...]
    refused: str = ""
    stated: bool = False

    @property
    def first(self) -> int:
        """Number of its first page."""
        return self.planes[0][0]


@dataclass(frozen=True)
class Planes:
    """What a description says of planes. axes: letters and sizes, the slowest first. colours: of the channels."""

    axes: tuple[tuple[str, int], ...]
    colours: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return math.prod(size for _, size in self.axes)

    def place(self, number: int) -> dict[str, int]:
        """The coordinates of a plane along the axes."""
        place = {}
        for name, size in reversed(self.axes):
            number, place[name] = divmod(number, size)
        return place


def imagej_planes(text: str) -> Planes | None:
    """What the description that ImageJ writes says of planes."""
    if not text.startswith("ImageJ="):
        return None
    stated = {key: int(value) for key, value in re.findall(r"^(images|channels|slices|frames)=(\d{1,7})\s*$", text,
                                                           re.MULTILINE)}
    images = min(stated.get("images", 1), MOST_STATED)
    sizes = [stated.get(key, 1) for key in ("frames", "slices", "channels")]
    if math.prod(sizes) != images:  # plain stacks are of unknown meaning
        return Planes((("I", images),))
    return Planes(tuple(zip("TZC", sizes, strict=True)))


def shaped_planes(text: str, tiff: Tiff, page: Directory) -> Planes | None:
    """What the description that tifffile writes says of planes."""
    if not text.startswith('{"shape"'):
        return None
    try:
        stated = json.loads(text)
        shape = [int(size) for size in stated["shape"][:16]]
        axes = str(stated.get("axes", ""))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    stored = [tiff.number(page, tag, 1) for tag in (tags.HEIGHT, tags.WIDTH, tags.SAMPLES)]
    sides = [[size for size in some if size != 1] for some in (stored, [stored[2], *stored[:2]], shape)]
    if min(shape, default=0) <= 0 or min(stored) <= 0 or not any(
            sides[2][len(sides[2]) - len(own):] == own for own in sides[:2]):
        return None  # of another image, from which a program has copied it
    pages, leading = math.prod(shape) // math.prod(stored), 0
    if pages > MOST_STATED:
        return None
    while leading < len(shape) and math.prod(shape[:leading]) < pages:
        leading += 1
    if len(axes) != len(shape) or math.prod(shape[:leading]) != pages:
        return Planes((("I", pages),))
    return Planes(tuple(zip(axes[:leading], shape[:leading], strict=True)))


def grouped(planes: Planes, fields: Sequence[int]) -> tuple[Picture, ...]:
    """Planes of focus and channels of each time point or position as one field. fields: pages in the order of the
    planes."""
    groups: dict[tuple[tuple[str, int], ...], dict[int, dict[int, int]]] = {}
    for number in range(planes.count):
        place = planes.place(number)
        focus, channel = place.pop("Z", 0), place.pop("C", 0)
        page = fields[number] if number < len(fields) else -1
        groups.setdefault(tuple(place.items()), {}).setdefault(focus, {})[channel] = page
    return tuple(_picture([[channels[c] for c in sorted(channels)] for _, channels in sorted(group.items())],
                          planes.colours) for group in groups.values())


def _picture(planes: Sequence[Sequence[int]], colours: Sequence[str]) -> Picture:
    """A field of planes, each with its channel pages; -1 for a page that is not in the file."""
    order = _colour_order(len(planes[0]), colours)
    pages = [page for plane in planes for page in plane]
    missing, first = pages.count(-1), max(min(pages), 0)
    if missing:
        present = next((page for page in pages if page >= 0), 0)
        return Picture(((present,),), f"{missing} of its {len(pages)} planes are missing", True)
    if order is None:
        named = f" ({', '.join(colours)})" if any(colours) else ""
        return Picture(((first,),), f"its {len(planes[0])} channels{named} are pages of their own, and only red, green "
                       "and blue make a colour image", True)
    return Picture(tuple(tuple(plane[place] for place in order) for plane in planes), "", True)


def _colour_order(channels: int, colours: Sequence[str]) -> tuple[int, ...] | None:
    """Places of red, green and blue among the channels; (0,) for a single one; None where they are other colours."""
    if channels == 1:
        return (0,)
    if channels != 3:
        return None
    names = [colour.strip().lower() for colour in colours]
    if not any(names):
        return 0, 1, 2
    places = [next((i for i, name in enumerate(names) if name in wanted), -1) for wanted in _RED_GREEN_BLUE]
    return tuple(places) if sorted(places) == [0, 1, 2] else None
