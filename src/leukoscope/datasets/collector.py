"""What a reader gathers on its way: images with their size, rows, boxes in whole px, and what is missing or damaged.

Opens image headers only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import DatasetError
from ..manifest import make_manifest
from .base import Index, inspect_image


class BadBox(ValueError):
    """A box that marks no pixel of its image, or is not made of numbers."""


class PixelBox(NamedTuple):
    """A box in whole px from the image's upper left corner, inside the image; `clipped` when it was not at first."""

    x: int
    y: int
    width: int
    height: int
    clipped: bool


def pixel_box(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> PixelBox:
    """The whole-px box nearest to the edges (px, right and bottom not included), clipped to an image of `size`.

    Raises BadBox for edges that are not finite, a box without area, or one wholly outside the image.
    """
    edges = (left, top, right, bottom)
    if not all(math.isfinite(edge) for edge in edges):
        raise BadBox("the box is not made of finite numbers")
    x0, y0, x1, y1 = (math.floor(edge + 0.5) for edge in edges)
    if x1 <= x0 or y1 <= y0:
        raise BadBox(f"the box has no area (width {right - left:g}, height {bottom - top:g} px)")
    width, height = size
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise BadBox(f"the box lies outside the image of {width} x {height} px "
                     f"(from {left:g}, {top:g} to {right:g}, {bottom:g})")
    cx0, cy0, cx1, cy1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    return PixelBox(cx0, cy0, cx1 - cx0, cy1 - cy0, (cx0, cy0, cx1, cy1) != (x0, y0, x1, y1))


def numbers(values: Iterable[object]) -> list[float]:
    """Each value as a float. Raises BadBox that shows the first that is none."""
    result = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadBox(f"{value!r} is not a number")
        try:
            result.append(float(value))
        except (ValueError, OverflowError):
            raise BadBox(f"'{str(value)[:40]}' is not a number") from None
    return result


@dataclass(frozen=True)
class Image:
    """An image that a reader uses: where it is, its id, its size (width, height) in px, and parts of its name."""

    path: Path
    name: str
    size: tuple[int, int]
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Findings:
    """What a reader gathers on its way through a folder; `index` turns it into the answer."""

    root: Path
    source: str
    rows: list[dict[str, object]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)

    def open(self, path: Path, name: str, parts: Mapping[str, str] | None = None) -> Image | None:
        """The image with its size, from the header; None, and noted as damaged, when that cannot be read."""
        size, reason = inspect_image(path)
        if size is None:
            self.damaged.append((str(path), reason))
            return None
        return Image(path, name, size, parts or {})

    def compare_size(self, image: Image, written: tuple[object, object]) -> None:
        """Remember an image whose annotation says another (width, height): its boxes may be meant for another file."""
        if all(isinstance(side, int) and side > 0 for side in written) and tuple(written) != image.size:
            self.resized.append(f"{image.path} ({image.size[0]} x {image.size[1]} px, the annotation says "
                                f"{written[0]} x {written[1]})")

    def add(self, image: Image, label: str | None, **more: object) -> None:
        """One row for a whole image."""
        self.rows.append({"cell_id": image.name, "image": str(image.path), "label": label, "source": self.source,
                          **more, **image.parts})

    def add_box(self, image: Image, number: int, label: str, edges: Sequence[float], where: str) -> None:
        """One row for a box (left, top, right, bottom in px), the `number`-th of its image; a bad one is damaged.

        Cells of one field share its light and its smear, so the field is the group where nothing better is known.
        """
        try:
            box = pixel_box(*edges, size=image.size)
        except BadBox as error:
            self.damaged.append((where, str(error)))
            return
        if box.clipped:
            self.clipped.append(where)
        known = {"field": image.name, **image.parts}
        if "subject" not in known:
            known.setdefault("group", known["field"])
        self.rows.append({"cell_id": f"{image.name}#{number}", "image": str(image.path), "label": label,
                          "source": self.source, "x": box.x, "y": box.y, "width": box.width, "height": box.height,
                          **known})

    def short_of(self, expected: Mapping[str, int], what: str) -> None:
        """Note as missing, a label, how many of the published number of rows are not here."""
        found = Counter(row["label"] for row in self.rows)
        self.missing += [f"{label}: {count - found[label]:,} of {count:,} {what}"
                         for label, count in expected.items() if found[label] < count]

    def note_some(self, text: str, names: Sequence[str]) -> None:
        """A note with the count in front and the first name behind, when there are any."""
        if names:
            self.notes.append(f"{len(names)} {text}, the first: {names[0]}")

    def index(self, layout: str, expected: Mapping[str, int] | None = None) -> Index:
        """The answer. Raises DatasetError, with the layout that was expected, when there is no row."""
        if not self.rows:
            trouble = [f"{path} ({reason})" for path, reason in self.damaged] or self.missing
            kind = "damaged" if self.damaged else "missing"
            why = f", {len(trouble)} {kind}, the first: {trouble[0]}" if trouble else ""
            raise DatasetError(f"{self.root}: nothing here can be used{why}", f"expected {layout}")
        self.note_some("images are not as large as their annotation says; the image is believed", self.resized)
        self.note_some("boxes reached outside their image and were clipped", self.clipped)
        return Index(make_manifest(self.rows), dict(expected or {}), tuple(self.missing), tuple(self.damaged),
                     tuple(self.notes))
