"""What a reader collects on its way through a folder: rows, boxes in whole px, and what is missing or damaged.

Also the common way of all layouts with annotated images: open each image, then add a row for it or one for each box.
Reads image headers only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ..errors import DatasetError
from ..manifest import BOX, make_manifest
from ..text import grouped
from .base import Index, check_root, inspect_image
from .labels import label_notes, subject_alike_note
from .paths import cell_ids, files_below, left_out_below, name_parts, split_of
from .turned import check_turned, drawn_on_stored, orientation_of, shown_edges


class BadBox(ValueError):
    """A box that contains no pixel of its image, or is not made of numbers."""


class PixelBox(NamedTuple):
    """A box in whole px from the upper left corner of the image, inside the image; `clipped` if it was cut to fit."""

    x: int
    y: int
    width: int
    height: int
    clipped: bool


def pixel_box(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> PixelBox:
    """The whole-px box nearest to the edges (px, right and bottom not included), clipped to an image of `size`.

    Raises BadBox for edges that are not finite, a box without area, or one completely outside the image.
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
    """Each value as a float. Raises BadBox with the first value that is not a number."""
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
    """An image that a reader uses: its path, its id, its size (width, height) in px, and its subject, group or split,
    as far as they are known."""

    path: Path
    name: str
    size: tuple[int, int]
    known: Mapping[str, str] = field(default_factory=dict)


class Box(NamedTuple):
    """A box as an annotation gives it.

    number: its number in its image. edges: left, top, right, bottom in px, right and bottom not included. where: the
    file and line or number of the annotation.
    """

    number: int
    label: str
    edges: Sequence[float]
    where: str


@dataclass(frozen=True)
class Field:
    """An annotated image.

    boxes: gives its boxes once it is opened. written: its (width, height) as the annotation gives them. known: its
    group or split, if the annotation or the name gives them.
    """

    path: Path
    boxes: Callable[[Image], Iterable[Box]]
    written: tuple[object, object] = (None, None)
    known: Mapping[str, str | None] = field(default_factory=dict)


@dataclass
class Collector:
    """Rows, problems and notes that a reader collects; `index` gives the result.

    paths: the images below `root`. ids: the cell id of each. parts: what the pattern reads in each path. smallest:
    sides in px below which a box is damaged. suffix: number of a box -> what its cell id adds to the id of its image.
    turned: the option of that name (turned.py). subject_hint: how a user can say which subject a cell is of. turns: the
    EXIF orientation of images whose boxes were drawn on the pixels as stored.
    """

    root: Path
    source: str
    paths: list[Path] = field(default_factory=list)
    ids: dict[Path, str] = field(default_factory=dict)
    parts: dict[Path, dict[str, str]] = field(default_factory=dict)
    smallest: int = 1
    suffix: Callable[[int], str] = "#{}".format
    rows: list[dict[str, object]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    turned: str = ""
    subject_hint: str = ""
    turns: dict[Path, int] = field(default_factory=dict)

    @classmethod
    def walk(cls, root: Path | str, name: str, layout: str, *, pattern: str | None = None,
             turned: str = "") -> Collector:
        """Start with all images below the folder `root` of the set or layout `name`. Raises DatasetError.

        pattern: that of a general layout (a regular expression, may be empty); the source is then the folder's name.
        turned: its option of that name.
        """
        check_root(Path(root), name, layout)
        base = Path(root).absolute()
        paths = files_below(base)
        hint = "" if pattern is None else "if file names contain the subject, use --option pattern=..."
        return cls(base, name if pattern is None else base.name, paths, cell_ids(paths, base),
                   name_parts(pattern or "", paths, base), turned=check_turned(turned), subject_hint=hint,
                   notes=[f"left out: {line}" for line in grouped(left_out_below(base))])

    def open(self, path: Path, **known: str | None) -> Image | None:
        """The image with its size, from the header; None if that cannot be read: the image is added to `damaged`."""
        size, reason = inspect_image(path)
        if size is None:
            self.damaged.append((str(path), reason))
            return None
        given = {name: value for name, value in known.items() if value}
        return Image(path, self.ids.get(path, path.name), size, given | self.parts.get(path, {}))

    def add(self, image: Image, label: str | None, **more: object) -> None:
        """One row for a whole image."""
        self.rows.append({"cell_id": image.name, "image": str(image.path), "label": label, "source": self.source,
                          **more, **image.known})

    def pixels(self, image: Image, box: Box, written: tuple[object, object] = (None, None)) -> PixelBox:
        """A box in whole px of the image as it is shown. written: the size that its annotation gives. Raises BadBox.
        """
        edges = box.edges
        if orientation := self._turn(image, written):
            edges = shown_edges(edges, orientation, image.size)
        pixels = pixel_box(*edges, size=image.size)
        if edges[2] - edges[0] < 1 and edges[3] - edges[1] < 1:
            raise BadBox(f"the box has {edges[2] - edges[0]:g} x {edges[3] - edges[1]:g} px: give px, not shares of "
                         "the sides of the image")
        if min(pixels.width, pixels.height) < self.smallest:
            raise BadBox(f"the box has {pixels.width} x {pixels.height} px inside the image, expected at least "
                         f"{self.smallest} x {self.smallest}")
        if pixels.clipped:
            self.clipped.append(box.where)
        return pixels

    def drawn_size(self, image: Image) -> tuple[int, int]:
        """(width, height) in px of an image as it was when its boxes were drawn as shares of its sides."""
        try:
            width, height = image.size
            return (height, width) if self._turn(image, (None, None)) >= 5 else (width, height)
        except BadBox:  # its boxes are refused with this reason
            return image.size

    def _turn(self, image: Image, written: tuple[object, object]) -> int:
        """The EXIF orientation that boxes of an image have to follow; 0 where they were drawn on the image as shown.
        Raises BadBox where this is not known."""
        if image.path not in self.turns:
            orientation = orientation_of(image.path)
            stored = drawn_on_stored(orientation, written, image.size)
            if orientation > 1 and self.turned:
                stored = self.turned == "stored"
            self.turns[image.path] = -orientation if stored is None else orientation if stored else 0
        turn = self.turns[image.path]
        if turn < 0:
            raise BadBox(f"EXIF turns the photograph (orientation {-turn}), and nothing says whether the box was drawn "
                         "on it as stored or as shown: use the option turned=stored or turned=shown")
        return turn

    def add_box(self, image: Image, box: Box, written: tuple[object, object] = (None, None)) -> None:
        """One row for a box; a bad box is added to `damaged`. written: the size of the image in its annotation.

        Cells of one field have the same light and smear, so the field is the group where the subject is not known.
        """
        try:
            pixels = self.pixels(image, box, written)
        except BadBox as error:
            self.damaged.append((box.where, str(error)))
            return
        known: dict[str, object] = {"field": image.name, **image.known}
        if "subject" not in known:
            known.setdefault("group", known["field"])
        place = dict(zip(BOX, pixels[:4], strict=True))
        self.rows.append({"cell_id": image.name + self.suffix(box.number), "image": str(image.path),
                          "label": box.label, "source": self.source, **place, **known})

    def add_fields(self, view: str, fields: Iterable[Field]) -> list[Image]:
        """A row for each image (view `fields`) or for each of its boxes; the images that could be opened.

        The split is what the annotation says, else what a folder is called (`train`, `val`, `test`).
        """
        images = []
        for entry in fields:
            known = {"split": split_of(entry.path, self.root)} | {k: v for k, v in entry.known.items() if v}
            image = self.open(entry.path, **known)
            if image is None:
                continue
            images.append(image)
            if view == "fields":
                self.add(image, None, field=image.name)
                continue
            # Where the annotation gives another size, its boxes may belong to another file.
            for box in entry.boxes(image):
                self.add_box(image, box, entry.written)
            if (all(isinstance(side, int) and side > 0 for side in entry.written) and entry.written != image.size
                    and not self.turns.get(image.path)):
                self.resized.append(f"{image.path} ({image.size[0]} x {image.size[1]} px, the annotation says "
                                    f"{entry.written[0]} x {entry.written[1]})")
        return images

    def short_of(self, expected: Mapping[str, int], what: str, *, column: str = "label") -> None:
        """Add to `missing`, for each label, how many of the published number are not in this folder."""
        counts = Counter(row[column] for row in self.rows)
        self.missing += [f"{label}: {count - counts[label]:,} of {count:,} {what}"
                         for label, count in expected.items() if counts[label] < count]

    def note_some(self, text: str, names: Sequence[str]) -> None:
        """A note with the number of names before the text and the first name after it, if there are any."""
        if names:
            self.notes.append(f"{len(names)} {text}; the first: {names[0]}")

    def index(self, layout: str, expected: Mapping[str, int] | None = None) -> Index:
        """The result. Raises DatasetError, with the layout that was expected, when there is no row."""
        if not self.rows:
            problems = [f"{path} ({reason})" for path, reason in self.damaged] or self.missing
            kind = "damaged" if self.damaged else "missing"
            why = f", {len(problems)} {kind}, the first: {problems[0]}" if problems else ""
            raise DatasetError(f"{self.root}: contains no usable cell{why}", f"expected {layout}")
        self.note_some("images do not have the size that their annotation gives; the size of the image is used",
                       self.resized)
        self.note_some("boxes extend beyond their image and were clipped", self.clipped)
        self.note_some("photographs are turned by EXIF, and their boxes with them",
                       [str(path) for path, turn in self.turns.items() if turn > 0])
        manifest = make_manifest(self.rows)
        self.notes += [*subject_notes(manifest, self.subject_hint), *label_notes(manifest["label"]),
                       *subject_alike_note(manifest["subject"])]
        return Index(manifest, dict(expected or {}), tuple(self.missing), tuple(self.damaged), tuple(self.notes))


def subject_notes(manifest: pl.DataFrame, hint: str) -> list[str]:
    """What a split must know: of how many cells no subject is known. hint: how a user can name them; "" for a published
    set, whose groups take the place of subjects."""
    unknown = manifest.filter(pl.col("subject").is_null())
    alone = unknown["group"].null_count()
    if not unknown.height or not (alone or hint):
        return []
    share = "" if unknown.height == manifest.height else f" for {unknown.height:,} of {manifest.height:,} cells"
    text = f"no subject is known{share}" + (
        ": cells of one person may come into training and into the test" if alone else
        ", but each group stays in one part of a split")
    return [f"{text}; {hint}" if hint else text]
