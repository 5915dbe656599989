"""YOLO: a text file for each image, one line for each box: class, centre x, centre y, width, height, as shares of the
image.

Knows the folders images and labels, files side by side, polygons (reduced to their boxes), and the files that give the
names of the classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..errors import DatasetError
from ..text import is_text
from .base import Index, check_choice, general_layout
from .collector import BadBox, Box, Collector, Field, Image, numbers
from .paths import PATTERN_HELP, exists, files_below, read_lines
from .turned import TURNED_HELP

LAYOUT = "images, and text files of the same names beside them or in folders images and labels"
NAME_FILES = ("data.yaml", "data.yml", "classes.txt", "obj.names")
VIEWS = {
    "boxes": "one row for each box, its class as the label",
    "fields": "one row for each image, without labels",
}
OPTIONS = {
    "classes": "names of the classes in the order of their numbers, with commas between them, or a file that lists "
               f"them (default: from {', '.join(NAME_FILES)})",
    "pattern": PATTERN_HELP,
    "turned": TURNED_HELP,
}
NAMES_BYTES, MOST_KEYS = 2**17, 2_000
"""Bytes of a file of class names, and entries of a table in it, at most."""
MOST_CLASSES = 1_000_000
_NAMES_HINT = "correct it, or use the option classes=NAME,NAME"


class Line(NamedTuple):
    """One box of a label file: its line number from 1, its class number, its edges as shares of the image."""

    number: int
    kind: int
    edges: tuple[float, float, float, float]


def index(root: Path, view: str = "boxes", **options: str) -> Index:
    """Index a folder in the YOLO layout. Raises DatasetError where there is no box or the names cannot be read.

    Folders called train, val, valid or test give the column split. Each field is one group, unless the pattern gives
    subject or group.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    collector = Collector.walk(root, "YOLO", LAYOUT, pattern=options.get("pattern", ""),
                               turned=options.get("turned", ""))
    names = class_names(collector, options.get("classes", ""))
    twice = sorted(name for name, times in Counter(names.values()).items() if times > 1)
    collector.note_some("names are those of several class numbers, whose cells are put together", twice)
    collector.add_fields(view, (Field(path, partial(read_boxes, collector, labels, names))
                                for path, labels in pair_labels(collector).items()))
    return collector.index(LAYOUT)


def pair_labels(collector: Collector) -> dict[Path, Path | None]:
    """The label file of each image; label files without an image are added to `missing`.

    Places, in this order: the folder that has `labels` in place of `images`, beside the image, a folder `labels` above.
    """
    files = {(path.parent, path.stem): path for path in files_below(collector.root, {".txt"})}
    pairs: dict[Path, Path | None] = {}
    masks = []
    for path in collector.paths:
        if _in_labels(path, collector.root):
            masks.append(str(path))  # some tools write them there
            continue
        parts = list(path.parent.parts)
        at = next((n for n in range(len(parts) - 1, -1, -1) if parts[n].lower() == "images"), None)
        instead = [] if at is None else [Path(*parts[:at], "labels", *parts[at + 1:])]
        places = [*instead, path.parent, *(folder / "labels" for folder in path.parents)]
        pairs[path] = next((files[place, path.stem] for place in places if (place, path.stem) in files), None)
    used = set(pairs.values())
    collector.missing += [f"the image of {path}" for path in sorted(files.values())
                          if path not in used and _in_labels(path, collector.root)
                          and path.name.lower() not in NAME_FILES]
    collector.note_some("images are left out because they are in a folder of labels", masks)
    collector.note_some("images have no label file and are used as fields without cells",
                        [str(path) for path, labels in pairs.items() if labels is None])
    return pairs


def read_boxes(collector: Collector, labels: Path | None, names: Mapping[int, str], image: Image) -> Iterator[Box]:
    """The boxes of a label file; a bad line is added to `damaged` with its number."""
    try:
        lines = read_lines(labels) if labels else []
    except ValueError as error:
        collector.damaged.append((str(labels), str(error)))
        return
    width, height = collector.drawn_size(image)
    for number, text in enumerate(lines, 1):
        where = f"{labels}:{number}"
        try:
            line = parse_line(number, text)
            if line is not None and names and line.kind not in names:
                raise BadBox(f"class {line.kind} has no name (there are {len(names)})")
        except BadBox as error:
            collector.damaged.append((where, str(error)))
            continue
        if line is not None:
            left, top, right, bottom = line.edges
            yield Box(number, names.get(line.kind, str(line.kind)),
                      (left * width, top * height, right * width, bottom * height), where)


def parse_line(number: int, text: str) -> Line | None:
    """A line of a label file; None for an empty line. Raises BadBox with what is wrong."""
    if not text.strip():
        return None
    values = numbers(text.split())
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise BadBox(f"expected 5 numbers (class, centre x, centre y, width, height), got {len(values)}")
    if not 0 <= values[0] < MOST_CLASSES or not values[0].is_integer():
        raise BadBox(f"the class must be a whole number from 0 on, got '{text.split(maxsplit=1)[0][:40]}'")
    if len(values) > 5:
        xs, ys = values[1::2], values[2::2]
        if not all(map(math.isfinite, values)):
            raise BadBox("the polygon is not made of finite numbers")
        return Line(number, int(values[0]), (min(xs), min(ys), max(xs), max(ys)))
    x, y, width, height = values[1:]
    return Line(number, int(values[0]), (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def class_names(collector: Collector, given: str) -> dict[int, str]:
    """Class number -> name, from the option or a file in the folder; empty, with a note, if there is neither."""
    if given:
        for file in (collector.root / given, Path(given)):
            if exists(file) and file.is_file():
                return _names_in(file)
        if given.lower().endswith((".txt", ".names", ".yaml", ".yml")):
            raise DatasetError(f"option classes: {given}: no such file", "give names with commas, or a file")
        return _numbered(given.split(","))
    files = [path for path in files_below(collector.root, {".yaml", ".yml", ".txt", ".names"})
             if path.name.lower() in NAME_FILES]
    if not files:
        collector.notes.append(f"no file with names of classes ({', '.join(NAME_FILES)}): the labels are numbers; "
                               "name them with the option classes")
        return {}
    return _names_in(min(files, key=lambda f: (len(f.parts), NAME_FILES.index(f.name.lower()), f)))


def _names_in(file: Path) -> dict[int, str]:
    try:
        lines = read_lines(file, most=NAMES_BYTES)
        if file.suffix.lower() not in (".yaml", ".yml"):
            names: Mapping[int, object] = _numbered("\n".join(lines).rstrip().split("\n"))
        else:
            names = _names_of_yaml("\n".join(lines))
    except (RecursionError, ValueError) as error:
        raise DatasetError(f"{file}: names of classes cannot be read ({' '.join(str(error).split())[:200]})",
                           _NAMES_HINT) from error
    # Only plain values: lists that contain each other would fill the memory when written out.
    texts = {key: name.strip() for key, name in names.items() if isinstance(name, str) and is_text(name)}
    if not texts or len(texts) < len(names) or not all(texts.values()):
        raise DatasetError(f"{file}: contains no list of class names", _NAMES_HINT)
    return texts


def _names_of_yaml(text: str) -> dict[int, object]:
    """The entry `names` of a YAML file: class number -> what it gives, text as it is written (`no` is a name). Raises
    ValueError for a number that two names have, and for what is no YAML.

    Merge keys (`<<`) and references are not followed: nested in each other they would fill the memory.
    """
    import yaml

    class Loader(yaml.BaseLoader):  # every value is text
        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("it refers from one place to another (*name), which is not followed")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for key in keys if keys.count(key) > 1), None) if len(keys) < MOST_KEYS else None
            if twice is not None or len(keys) >= MOST_KEYS:
                raise ValueError(f"'{twice}' is in it twice" if twice is not None else "it has too many entries")
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        return dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(key, str) and key.isdecimal() and len(key) < 10
                                              for key in names):
        return {}
    if len({int(key) for key in names}) < len(names):
        raise ValueError("two names have the same number")
    return {int(key): name for key, name in names.items()}


def _numbered(names: Iterable[str]) -> dict[int, str]:
    return dict(enumerate(name.strip() for name in names))


def _in_labels(path: Path, root: Path) -> bool:
    return "labels" in (part.lower() for part in path.relative_to(root).parts[:-1])


DATASET = general_layout("yolo", "YOLO: images with text files of boxes", VIEWS, index, OPTIONS,
                         homepage="https://docs.ultralytics.com/datasets/detect/")
