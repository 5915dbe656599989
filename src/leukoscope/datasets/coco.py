"""COCO: JSON files with images, annotations and categories. Segmentations without a box are reduced to their box.

Run lengths are decoded here: pycocotools would be a compiled dependency in place of 40 lines, and it does not check
damaged masks, which have to be reported by their number.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from ..errors import DatasetError
from ..files import JsonObject
from ..text import is_text
from .base import Index, check_choice, general_layout
from .collector import BadBox, Box, Collector, Field, numbers
from .paths import PATTERN_HELP, SPLITS, Lookup, exists, files_below
from .turned import TURNED_HELP

KEYS = ("images", "annotations", "categories")
LAYOUT = "a JSON file with images, annotations and categories, and the images that it names"
VIEWS = {
    "boxes": "one row for each annotation, its category as the label",
    "fields": "one row for each listed image, without labels",
}
OPTIONS = {
    "annotations": "the JSON file below the folder (default: every JSON file with images, annotations and categories)",
    "pattern": PATTERN_HELP,
    "turned": TURNED_HELP,
}
Edges = tuple[float, float, float, float]
Key = int | float | str
"""What names an image, a category or an annotation."""
MOST_PARTS = 2_000_000
"""Lists and objects of a JSON file: those of 600,000 cells."""
LONGEST_SIDE = 1_000_000
"""px, of a run-length mask."""


@dataclass(frozen=True)
class Listed:
    """An image or a category of a JSON file: its name; of an image its path (None if it is missing) and its (width,
    height) as the file says. other: another name that a second entry of the same id gives."""

    name: str
    path: Path | None = None
    size: tuple[object, object] = (None, None)
    other: str = ""


def index(root: Path, view: str = "boxes", **options: str) -> Index:
    """Index a folder in the COCO layout. Raises DatasetError where there is no usable annotation.

    `train`, `val` or `test` in the name of the JSON file, else of the image's folder, gives the column split. Each
    field is one group, unless the pattern gives subject or group. Crowds (`iscrowd`) are left out: they mark no single
    cell.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    collector = Collector.walk(root, "COCO", LAYOUT, pattern=options.get("pattern", ""),
                               turned=options.get("turned", ""))
    collector.add_fields(view, _fields(collector, options.get("annotations", "")))
    return collector.index(LAYOUT)


def segmentation_edges(segmentation: object) -> Edges:
    """The box (left, top, right, bottom in px) around polygons or a run-length mask. Raises BadBox."""
    if isinstance(segmentation, Mapping):
        return _run_edges(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        raise BadBox("has neither a box nor a segmentation")
    xs: list[float] = []
    ys: list[float] = []
    for polygon in segmentation:
        values = numbers(polygon) if isinstance(polygon, list) else []
        if len(values) < 6 or len(values) % 2:
            raise BadBox(f"a polygon needs at least three pairs of numbers, got {len(values)} numbers")
        xs += values[0::2]
        ys += values[1::2]
    if not all(map(math.isfinite, (*xs, *ys))):
        raise BadBox("the polygon is not made of finite numbers")
    return min(xs), min(ys), max(xs), max(ys)


def _run_edges(mask: Mapping[str, object]) -> Edges:
    """Run lengths go down the columns, outside and inside in turn, from the upper left: a list, or packed as text."""
    size, counts = mask.get("size"), mask.get("counts")
    if isinstance(counts, str):
        counts = _unpack(counts)
    if not (isinstance(size, list) and len(size) == 2 and isinstance(counts, list)
            and all(isinstance(n, int) and n >= 0 for n in (*size, *counts))
            and 0 < min(size) <= max(size) <= LONGEST_SIDE):
        raise BadBox("the run-length mask is not made of a size and counts")
    height, width = size
    if sum(counts) > height * width:
        raise BadBox("the run-length mask is longer than its size")
    runs = [(end - count, end - 1) for end, count in list(zip(accumulate(counts), counts, strict=True))[1::2] if count]
    if not runs:
        raise BadBox("the run-length mask is empty")
    left, right = runs[0][0] // height, runs[-1][1] // height + 1
    if any(first // height != last // height for first, last in runs):  # it goes on in the next column
        return left, 0, right, height
    return left, min(first % height for first, _ in runs), right, max(last % height for _, last in runs) + 1


def _unpack(text: str) -> list[int]:
    """Counts from COCO's packed form: 5 bits in each character, the low bits first; from the third on, differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            raise BadBox("the run-length mask is damaged")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise BadBox("the run-length mask is damaged")
    return counts


def _fields(collector: Collector, name: str) -> Iterator[Field]:
    """The listed images of each JSON file (of the file `name`, if it is given) that exist, with their boxes."""
    lookup = Lookup(collector.root, collector.paths)
    used: dict[Path, Path] = {}
    twice: list[str] = []
    for file, content in _contents(collector, name):
        words = "".join(c if c.isalpha() else " " for c in file.stem.lower()).split()
        split = next((SPLITS[word] for word in words if word in SPLITS), None)
        images = _images(collector, file, content["images"], lookup)
        boxes = _boxes(collector, file, content, images)
        for key, listed in images.items():
            path = listed.path
            if path is None:
                continue
            if path in used:
                twice.append(f"{path} (in {used[path].name} and {file.name})")
                continue
            used[path] = file
            yield Field(path, lambda _, key=key, boxes=boxes: boxes[key], listed.size, {"split": split})
    collector.note_some("images are listed twice; the first entry is used", twice)
    collector.note_some("images are in no JSON file", [str(path) for path in collector.paths if path not in used])


def _contents(collector: Collector, name: str) -> Iterator[tuple[Path, JsonObject]]:
    """Each JSON file with images, annotations and categories; others are left out, broken ones are damaged."""
    files = files_below(collector.root, {".json"})
    if name:
        files = [Path(os.path.normpath(collector.root / name))]
        if not exists(files[0]) or not files[0].is_file() or not files[0].is_relative_to(collector.root):
            raise DatasetError(f"option annotations: {files[0]}: no such file in {collector.root}",
                               "give its name below the folder")
    for file in files:
        try:
            text = file.read_text(encoding="utf-8-sig")
            parts = text.count("{") + text.count("[")
            if parts > MOST_PARTS:
                raise ValueError(f"{parts:,} lists and objects, and at most {MOST_PARTS:,} are read")
            content = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            empty = not isinstance(error, OSError) and not file.stat().st_size
            collector.damaged.append((str(file), "the file is empty" if empty else f"not readable as JSON ({error})"))
            continue
        if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS):
            yield file, content
        elif name:
            raise DatasetError(f"{file}: lists no images, annotations and categories", f"expected {LAYOUT}")
        else:
            collector.notes.append(f"{file} lists no images, annotations and categories and is left out")


def _images(collector: Collector, file: Path, entries: list[JsonObject], lookup: Lookup) -> dict[Key, Listed]:
    """Image id -> its entry; the second of an id is damaged."""
    images: dict[Key, Listed] = {}
    for position, entry in enumerate(entries, 1):
        try:
            key, name = _values(entry, "id", "file_name")
            if key in images:
                if str(name) != images[key].name:
                    images[key] = replace(images[key], other=str(name))
                raise ValueError(f"the id {key} is used twice")
            images[key] = Listed(str(name), lookup.find(str(name), file), (entry.get("width"), entry.get("height")))
        except ValueError as error:
            collector.damaged.append((f"{file}: image {position}", str(error)))
            continue
        if images[key].path is None:
            collector.missing.append(f"{name} (image {key} of {file})")
    return images


def _categories(collector: Collector, file: Path, entries: list[JsonObject]) -> dict[Key, Listed]:
    """Category id -> its entry; the second of an id is damaged."""
    categories: dict[Key, Listed] = {}
    for position, entry in enumerate(entries, 1):
        try:
            key, name = _values(entry, "id", "name")
            label = str(name).strip()
            if key in categories:
                if label != categories[key].name:
                    categories[key] = replace(categories[key], other=label)
                raise ValueError(f"the id {key} is used twice, for '{categories[key].name}' and '{label}'")
            categories[key] = Listed(label)
        except ValueError as error:
            collector.damaged.append((f"{file}: category {position}", str(error)))
    return categories


def _boxes(collector: Collector, file: Path, content: JsonObject, images: Mapping[Key, Listed],
           ) -> dict[Key, list[Box]]:
    """Image id -> its boxes. A box keeps the number that it has among all annotations of its image."""
    categories = _categories(collector, file, content["categories"])
    boxes: dict[Key, list[Box]] = {key: [] for key in images}
    count: Counter[Key] = Counter()
    crowds = 0
    for position, entry in enumerate(content["annotations"], 1):
        where = f"{file}: annotation {position}"
        try:
            key, category = _values(entry, "image_id", "category_id")
            if key not in boxes:
                raise ValueError(f"there is no image with the id {key}")
            count[key] += 1
            if category not in categories:
                raise ValueError(f"there is no category with the id {category}")
            for what, number, listed in (("image", key, images[key]), ("category", category, categories[category])):
                if listed.other:
                    raise ValueError(f"the {what} {number} may be '{listed.name}' or '{listed.other}'")
            if entry.get("iscrowd"):
                crowds += 1
            else:
                boxes[key].append(Box(count[key], categories[category].name, _edges(entry), where))
        except ValueError as error:
            collector.damaged.append((where, str(error)))
    if crowds:
        collector.notes.append(f"{file}: {crowds} crowds are left out")
    return boxes


def _values(entry: JsonObject, first: str, second: str) -> tuple[Key, Key]:
    """Two values of an entry. Raises ValueError where one is missing, or is neither a number nor text."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object with {first} and {second}, got {type(entry).__name__}")
    for name in (first, second):
        value = entry.get(name)
        text = isinstance(value, str) and value != "" and is_text(value)
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63
        if not text and not number:
            raise ValueError(f"has no usable {name}")
    return entry[first], entry[second]


def _edges(entry: JsonObject) -> Edges:
    box = entry.get("bbox")
    if not box:
        return segmentation_edges(entry.get("segmentation"))
    values = numbers(box) if isinstance(box, list) else []
    if len(values) != 4:
        raise BadBox(f"a box has 4 numbers (x, y, width, height), got {len(values)}")
    x, y, width, height = values
    return x, y, x + width, y + height


DATASET = general_layout("coco", "COCO: images with one JSON file of boxes or segmentations", VIEWS, index, OPTIONS,
                         homepage="https://cocodataset.org/#format-data")
