"""YOLO: a text file an image, one line a box: class number, centre x, centre y, width, height, as shares of the image.

Knows the folders images and labels, files side by side, polygons (reduced to their boxes), and where the names of the
classes stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DatasetError
from .base import Dataset, Index, check_choice, check_root
from .collector import BadBox, Findings, Image, numbers
from .paths import PATTERN_HELP, cell_ids, compile_pattern, files_below, is_there, name_parts, read_lines, split_of

LAYOUT = "images and, beside them or in folders images and labels, text files of the same names"
NAME_FILES = ("data.yaml", "data.yml", "classes.txt", "obj.names")
VIEWS = {
    "boxes": "one row a box, its class as the label",
    "fields": "one row an image, without labels",
}
OPTIONS = {
    "classes": "names of the classes in the order of their numbers, with commas between them, or a file that lists "
               f"them (if not given: {', '.join(NAME_FILES)} is looked for)",
    "pattern": PATTERN_HELP,
}


class Line(NamedTuple):
    """One box of a label file: the number of its line from 1, its class, its edges as shares of the image."""

    number: int
    kind: int
    edges: tuple[float, float, float, float]


def index(root: Path, view: str = "boxes", **options: str) -> Index:
    """Index a folder in the YOLO layout. Raises DatasetError where there is no box or the names cannot be read.

    Folders called train, val, valid or test become the column split. A field is its own group unless the pattern
    knows better.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    check_root(Path(root), "YOLO", LAYOUT)
    found = Findings(Path(root).absolute(), Path(root).absolute().name)
    names = class_names(found, options.get("classes", ""))
    paths = files_below(found.root)
    pattern = compile_pattern(options.get("pattern", ""))
    ids, parts = cell_ids(paths, found.root), name_parts(pattern, paths, found.root)
    for path, labels in pair_labels(found, paths).items():
        split = split_of(path, found.root)
        image = found.open(path, ids[path], {**({"split": split} if split else {}), **parts[path]})
        if image is not None and view == "fields":
            found.add(image, None, field=image.name)
        elif image is not None and labels is not None:
            add_boxes(found, image, labels, names)
    return found.index(LAYOUT)


def pair_labels(found: Findings, images: Iterable[Path]) -> dict[Path, Path | None]:
    """The label file of each image; label files without an image are noted as missing images.

    Looked for where `images` in the path is `labels`, then beside the image, then in a folder `labels` above it.
    """
    files = {(path.parent, path.stem): path for path in files_below(found.root, {".txt"})}
    pairs: dict[Path, Path | None] = {}
    stray = []
    for path in images:
        if _in_labels(path, found.root):
            stray.append(str(path))  # masks, as some tools put them there
            continue
        places = [_labels_folder(path.parent), path.parent, *(f / "labels" for f in path.parents)]
        keys = [(place, path.stem) for place in places if place is not None]
        pairs[path] = next((files[key] for key in keys if key in files), None)
    used = set(pairs.values())
    found.missing += [f"the image of {path}" for path in sorted(files.values())
                      if path not in used and _in_labels(path, found.root) and path.name.lower() not in NAME_FILES]
    found.note_some("images are left out, they lie in a folder of labels", stray)
    found.note_some("images have no label file and count as fields without cells",
                    [str(path) for path, labels in pairs.items() if labels is None])
    return pairs


def add_boxes(found: Findings, image: Image, labels: Path, names: Mapping[int, str]) -> None:
    """One row for each box of a label file; bad lines are noted as damaged with their number."""
    try:
        lines = read_lines(labels)
    except ValueError as error:
        found.damaged.append((str(labels), str(error)))
        return
    width, height = image.size
    for number, text in enumerate(lines, 1):
        where = f"{labels}:{number}"
        try:
            line = parse_line(number, text)
        except BadBox as error:
            found.damaged.append((where, str(error)))
            continue
        if line is None:
            continue
        if names and line.kind not in names:
            found.damaged.append((where, f"class {line.kind} has no name (there are {len(names)})"))
            continue
        left, top, right, bottom = line.edges
        found.add_box(image, number, names.get(line.kind, str(line.kind)),
                      (left * width, top * height, right * width, bottom * height), where)


def parse_line(number: int, text: str) -> Line | None:
    """A line of a label file; None for an empty one. Raises BadBox that says what is wrong with it."""
    if not text.strip():
        return None
    values = numbers(text.split())
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise BadBox(f"expected 5 numbers (class, centre x, centre y, width, height), got {len(values)}")
    if values[0] < 0 or not values[0].is_integer():
        raise BadBox(f"the class is a whole number from 0, got '{text.split(maxsplit=1)[0]}'")
    if len(values) > 5:
        xs, ys = values[1::2], values[2::2]
        if not all(map(math.isfinite, values)):
            raise BadBox("the polygon is not made of finite numbers")
        return Line(number, int(values[0]), (min(xs), min(ys), max(xs), max(ys)))
    x, y, width, height = values[1:]
    return Line(number, int(values[0]), (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def class_names(found: Findings, given: str) -> dict[int, str]:
    """Class number -> name, from the option or a file of the folder; empty, with a note, where there is neither."""
    if given:
        for file in (found.root / given, Path(given)):
            if is_there(file) and file.is_file():
                return _names_in(file)
        if given.lower().endswith((".txt", ".names", ".yaml", ".yml")):
            raise DatasetError(f"option classes: {given}: no such file", "give names with commas, or a file")
        return dict(enumerate(name.strip() for name in given.split(",")))
    files = [path for path in files_below(found.root, {".yaml", ".yml", ".txt", ".names"})
             if path.name.lower() in NAME_FILES]
    if not files:
        found.notes.append(f"no names of classes ({', '.join(NAME_FILES)}): the labels are the numbers; "
                           "the option classes names them")
        return {}
    return _names_in(min(files, key=lambda f: (len(f.parts), NAME_FILES.index(f.name.lower()), f)))


def _names_in(file: Path) -> dict[int, str]:
    try:
        lines = read_lines(file)
    except ValueError as error:
        raise DatasetError(f"{file}: {error}", "mend it, or give the option classes=NAME,NAME") from error
    if file.suffix.lower() not in (".yaml", ".yml"):
        while lines and not lines[-1].strip():
            lines.pop()
        names: dict[int, Any] = dict(enumerate(line.strip() for line in lines))
    else:
        names = _yaml_names(file, "\n".join(lines))
    # Only plain values: nested lists that share parts would grow without bound when written out.
    if not names or not all(isinstance(key, int) and isinstance(name, str | int | float) and str(name).strip()
                            for key, name in names.items()):
        raise DatasetError(f"{file}: holds no list of class names", "mend it, or give the option classes=NAME,NAME")
    return {key: str(name).strip() for key, name in names.items()}


def _yaml_names(file: Path, text: str) -> dict[int, Any]:
    import yaml

    try:
        names = (yaml.safe_load(text) or {}).get("names")
    except (yaml.YAMLError, AttributeError, RecursionError, ValueError) as error:
        raise DatasetError(f"{file}: not a readable YAML file with names ({' '.join(str(error).split())})",
                           "mend it, or give the option classes=NAME,NAME") from error
    if isinstance(names, dict):
        return names
    return dict(enumerate(names)) if isinstance(names, list) else {}


def _in_labels(path: Path, root: Path) -> bool:
    return "labels" in (part.lower() for part in path.relative_to(root).parts[:-1])


def _labels_folder(folder: Path) -> Path | None:
    """The folder with the last part `images` replaced by `labels`, None where there is no such part."""
    parts = list(folder.parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position].lower() == "images":
            parts[position] = "labels"
            return Path(*parts)
    return None


DATASET = Dataset(
    name="yolo",
    title="YOLO: images with text files of boxes",
    licence="that of the images",
    citation="",
    homepage="https://docs.ultralytics.com/datasets/detect/",
    obtain="give a folder of your own",
    subject_rule="each image is one group, unless the option pattern names subject or group in the file names",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
