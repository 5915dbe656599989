"""COCO: JSON files with images, annotations and categories. Segmentations without a box are reduced to their box."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .base import Dataset, Index, check_choice, check_root
from .collector import BadBox, Findings, numbers
from .paths import PATTERN_HELP, SPLITS, Lookup, cell_ids, compile_pattern, files_below, is_there, name_parts, split_of

KEYS = ("images", "annotations", "categories")
LAYOUT = "a JSON file with images, annotations and categories, and the images that it names"
VIEWS = {
    "boxes": "one row an annotation, its category as the label",
    "fields": "one row a listed image, without labels",
}
OPTIONS = {
    "annotations": "the JSON file below the folder (every one that fits if not given)",
    "pattern": PATTERN_HELP,
}
Edges = tuple[float, float, float, float]


def index(root: Path, view: str = "boxes", **options: str) -> Index:
    """Index a folder in the COCO layout. Raises DatasetError where there is no usable annotation.

    `train`, `val` or `test` in the name of the JSON file, else of the image's folder, becomes the column split. A
    field is its own group unless the pattern knows better. Crowds (`iscrowd`) are left out: they mark no single cell.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    check_root(Path(root), "COCO", LAYOUT)
    pattern = compile_pattern(options.get("pattern", ""))
    found = Findings(Path(root).absolute(), Path(root).absolute().name)
    paths = files_below(found.root)
    lookup, ids, parts = Lookup(found.root, paths), cell_ids(paths, found.root), name_parts(pattern, paths, found.root)
    taken: dict[Path, Path] = {}
    twice: list[str] = []
    for file, content in _contents(found, options.get("annotations", "")):
        for path, size, marks in _pairs(found, file, content, lookup):
            if path in taken:
                twice.append(f"{path} (in {taken[path].name} and {file.name})")
                continue
            taken[path] = file
            split = _split_in_name(file) or split_of(path, found.root)
            image = found.open(path, ids[path], {**({"split": split} if split else {}), **parts[path]})
            if image is not None and view == "fields":
                found.add(image, None, field=image.name)
            elif image is not None:
                found.compare_size(image, size)
                for number, (label, edges, where) in enumerate(marks, 1):
                    if label is not None:
                        found.add_box(image, number, label, edges, where)
    found.note_some("images are listed twice, the first entry is taken", twice)
    return found.index(LAYOUT)


def segmentation_edges(segmentation: Any) -> Edges:
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
            raise BadBox(f"a polygon needs pairs of numbers, three at least, got {len(values)} numbers")
        xs += values[0::2]
        ys += values[1::2]
    if not all(map(math.isfinite, (*xs, *ys))):
        raise BadBox("the polygon is not made of finite numbers")
    return min(xs), min(ys), max(xs), max(ys)


def _run_edges(mask: Mapping[str, Any]) -> Edges:
    """Runs down the columns, off and on in turns, from the upper left corner: lists of counts, or packed text."""
    size, counts = mask.get("size"), mask.get("counts")
    if isinstance(counts, str):
        counts = _unpack(counts)
    if not (isinstance(size, list) and len(size) == 2 and isinstance(counts, list)
            and all(isinstance(n, int) and n >= 0 for n in (*size, *counts)) and min(size) > 0):
        raise BadBox("the run-length mask is not made of a size and counts")
    height, width = size
    if sum(counts) > height * width:
        raise BadBox("the run-length mask is longer than its size")
    edges: list[Edges] = []
    start = 0
    for position, count in enumerate(counts):
        if position % 2 and count:
            first, last = start, start + count - 1
            left, right = first // height, last // height
            rows = (first % height, last % height) if left == right else (0, height - 1)
            edges.append((left, rows[0], right + 1, rows[1] + 1))
        start += count
    if not edges:
        raise BadBox("the run-length mask marks nothing")
    lefts, tops, rights, bottoms = zip(*edges, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _unpack(text: str) -> list[int]:
    """Counts from COCO's packed form: 5 bits a character, low ones first; from the third on, differences."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position >= len(text) or not 48 <= ord(text[position]) < 112 or shift > 60:
                raise BadBox("the run-length mask is damaged")
            code = ord(text[position]) - 48
            value |= (code & 31) << shift
            more, shift, position = bool(code & 32), shift + 5, position + 1
            if not more and code & 16:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def _contents(found: Findings, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each JSON file that lists images, annotations and categories; others are left out, broken ones damaged."""
    files = [_named_file(found.root, name)] if name else files_below(found.root, {".json"})
    for file in files:
        try:
            text = file.read_text(encoding="utf-8-sig")
            content = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            empty = not isinstance(error, OSError) and not file.stat().st_size
            found.damaged.append((str(file), "the file is empty" if empty else f"not readable as JSON ({error})"))
            continue
        if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS):
            yield file, content
        elif name:
            raise DatasetError(f"{file}: lists no images, annotations and categories", f"expected {LAYOUT}")
        else:
            found.notes.append(f"{file} lists no images, annotations and categories and is left out")


def _named_file(root: Path, name: str) -> Path:
    file = Path(os.path.normpath(root / name))
    if not is_there(file) or not file.is_file() or not file.is_relative_to(root):
        raise DatasetError(f"option annotations: {file}: no such file in {root}", "give its name below the folder")
    return file


Mark = tuple[str | None, Edges, str]
"""Label (None for an annotation that is not used, but keeps its number), edges in px, where it stands."""


def _pairs(
    found: Findings, file: Path, content: Mapping[str, Any], lookup: Lookup
) -> Iterator[tuple[Path, tuple[Any, Any], list[Mark]]]:
    """Each image of a file, where it is there, with the size that the file says and its annotations."""
    paths: dict[Any, Path | None] = {}
    sizes: dict[Any, tuple[Any, Any]] = {}
    for position, entry in enumerate(content["images"], 1):
        try:
            key, name = _fields(entry, ("id", "file_name"))
            if key in paths:
                raise ValueError(f"the id {key} stands twice")
            paths[key] = lookup.find(str(name), file)
            sizes[key] = entry.get("width"), entry.get("height")
        except ValueError as error:
            found.damaged.append((f"{file}: image {position}", str(error)))
            continue
        if paths[key] is None:
            found.missing.append(f"{name} (image {key} of {file})")
    marks = _marks(found, file, content, paths)
    for key, path in paths.items():
        if path is not None:
            yield path, sizes[key], marks[key]


def _marks(found: Findings, file: Path, content: Mapping[str, Any], images: Iterable[Any]) -> dict[Any, list[Mark]]:
    """The annotations of each image id."""
    labels = _labels(found, file, content["categories"])
    marks: dict[Any, list[Mark]] = {key: [] for key in images}
    crowds = 0
    for position, entry in enumerate(content["annotations"], 1):
        where = f"{file}: annotation {position}"
        try:
            key, category = _fields(entry, ("image_id", "category_id"))
            if key not in marks:
                raise ValueError(f"there is no image with the id {key}")
            marks[key].append((None, (0, 0, 0, 0), where))
            if category not in labels:
                raise ValueError(f"there is no category with the id {category}")
            if entry.get("iscrowd"):
                crowds += 1
            else:
                marks[key][-1] = (labels[category], _edges(entry), where)
        except ValueError as error:
            found.damaged.append((where, str(error)))
    if crowds:
        found.notes.append(f"{file}: {crowds} crowds are left out")
    return marks


def _labels(found: Findings, file: Path, categories: list[Any]) -> dict[Any, str]:
    labels: dict[Any, str] = {}
    for position, entry in enumerate(categories, 1):
        try:
            key, name = _fields(entry, ("id", "name"))
            labels[key] = str(name).strip()
        except ValueError as error:
            found.damaged.append((f"{file}: category {position}", str(error)))
    return labels


def _fields(entry: Any, names: tuple[str, str]) -> tuple[Any, Any]:
    """Two values of an entry. Raises ValueError where one is not there, or is no number or text."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object with {' and '.join(names)}, got {type(entry).__name__}")
    for name in names:
        if not isinstance(entry.get(name), str | int | float) or entry[name] == "":
            raise ValueError(f"has no usable {name}")
    return entry[names[0]], entry[names[1]]


def _edges(entry: Mapping[str, Any]) -> Edges:
    box = entry.get("bbox")
    if not box:
        return segmentation_edges(entry.get("segmentation"))
    values = numbers(box) if isinstance(box, list) else []
    if len(values) != 4:
        raise BadBox(f"a box has 4 numbers (x, y, width, height), got {len(values)}")
    x, y, width, height = values
    return x, y, x + width, y + height


def _split_in_name(file: Path) -> str | None:
    words = "".join(c if c.isalpha() else " " for c in file.stem.lower()).split()
    return next((SPLITS[word] for word in words if word in SPLITS), None)


DATASET = Dataset(
    name="coco",
    title="COCO: images with one JSON file of boxes or segmentations",
    licence="that of the images",
    citation="",
    homepage="https://cocodataset.org/#format-data",
    obtain="give a folder of your own",
    subject_rule="each image is one group, unless the option pattern names subject or group in the file names",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
