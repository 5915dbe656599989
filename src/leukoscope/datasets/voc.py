"""Pascal VOC: an XML file for each image, with one `object` for each box.

Knows the folders Annotations, JPEGImages and ImageSets, and any other folder that holds such files.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from xml.parsers import expat

from .base import Index, check_choice, general_layout
from .collector import BadBox, Box, Collector, Field, Image, numbers
from .paths import PATTERN_HELP, SPLITS, Lookup, files_below, read_lines, whole_number
from .turned import TURNED_HELP

CORNERS = ("xmin", "ymin", "xmax", "ymax")
MAX_BYTES = 16 * 2**20
"""Of an annotation: 50,000 objects have as many."""
LAYOUT = "XML files with the tag 'annotation', and the images that they name"
VIEWS = {
    "boxes": "one row for each box, its class as the label",
    "fields": "one row for each annotated image, without labels",
}
OPTIONS = {
    "first_pixel": "1 (default): corners are px counted from 1, both inside the box, as the VOC development kit "
                   "says; 0: corners are edges counted from 0, as some tools write",
    "pattern": PATTERN_HELP,
    "turned": TURNED_HELP,
}


class BadAnnotation(ValueError):
    """An XML file that is not a VOC annotation."""


def index(root: Path, view: str = "boxes", **options: str) -> Index:
    """Index a folder of VOC annotations. Raises DatasetError where there is no usable box.

    The lists in ImageSets, else folders called train, val or test, give the column split. Each field is one group,
    unless the pattern gives subject or group.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    collector = Collector.walk(root, "Pascal VOC", LAYOUT, pattern=options.get("pattern", ""),
                               turned=options.get("turned", ""))
    shift = whole_number(options.get("first_pixel", 1), "first_pixel", 0, 1)
    collector.add_fields(view, _fields(collector, shift))
    return collector.index(LAYOUT)


def read_annotation(path: Path) -> ET.Element:
    """The root of an annotation. Raises BadAnnotation. A document type is refused: its entities can fill the memory."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadAnnotation(f"larger than {MAX_BYTES // 2**20} MiB")
        text = path.read_bytes()
    except OSError as error:
        raise BadAnnotation(f"cannot be read ({error.strerror})") from error
    if not text.strip():
        raise BadAnnotation("the file is empty")
    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = _refuse_doctype
    try:
        guard.Parse(text, True)
        tree = ET.fromstring(text)
    except BadAnnotation:
        raise
    except (expat.ExpatError, ET.ParseError, LookupError, ValueError) as error:
        raise BadAnnotation(f"not valid XML ({error})") from error
    if tree.tag != "annotation":
        raise BadAnnotation(f"expected the tag 'annotation', got '{tree.tag}'")
    return tree


def _refuse_doctype(*_: object) -> None:
    raise BadAnnotation("contains a document type, which may declare entities: not allowed in an annotation")


def written_size(tree: ET.Element) -> tuple[int, int]:
    """(width, height) in px as the annotation gives them; 0 where it gives none."""
    texts = [(tree.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    width, height = (int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0 for text in texts)
    return width, height


def read_boxes(collector: Collector, annotation: Path, tree: ET.Element, _: Image, *, shift: int = 1,
               labels: Mapping[str, str] | None = None) -> Iterator[Box]:
    """The boxes of an annotation, numbered from 1; an object without a name or corners is added to `damaged`.

    labels: name in the annotation -> label, of the only names that are allowed.
    """
    for number, thing in enumerate(tree.findall("object"), 1):
        where = f"{annotation}: object {number}"
        label = (thing.findtext("name") or "").strip()
        texts = {name: thing.findtext(f"bndbox/{name}") for name in CORNERS}
        try:
            for name, text in {"name": label or None, **texts}.items():
                if text is None:
                    raise BadBox(f"has no {name}")
            if len(thing.find("name") or ()):
                raise BadBox("has other tags in its name")
            if labels is not None and label not in labels:
                raise BadBox(f"is called {label}, expected one of {', '.join(labels)}")
            left, top, right, bottom = numbers((text or "").strip() for text in texts.values())
        except BadBox as error:
            collector.damaged.append((where, str(error)))
            continue
        yield Box(number, (labels or {}).get(label, label), (left - shift, top - shift, right, bottom), where)


def listed_splits(collector: Collector, known: Collection[str]) -> dict[str, str]:
    """Name of an annotation -> split, by lists such as ImageSets/Main/train.txt; a name in two lists gets none."""
    splits: dict[str, str] = {}
    in_two: set[str] = set()
    for path in files_below(collector.root, {".txt"}):
        split = SPLITS.get(path.stem.lower())
        if split is None or "imagesets" not in (part.lower() for part in path.parts):
            continue
        try:
            lines = [line.strip() for line in read_lines(path) if line.strip()]
        except ValueError as error:
            collector.damaged.append((str(path), str(error)))
            continue
        for line in lines:
            name = line if line in known else line.split()[0]  # lists for one class have 1 or -1 after the name
            if splits.setdefault(name, split) != split:
                in_two.add(name)
    collector.note_some("names are in the lists of two splits and get none", sorted(in_two))
    return {name: split for name, split in splits.items() if name not in in_two}


def _fields(collector: Collector, shift: int) -> Iterator[Field]:
    """The image of each annotation: by the name in it, else by the name of the file, as both are often renamed."""
    annotations = files_below(collector.root, {".xml"})
    lookup, splits = Lookup(collector.root, collector.paths), listed_splits(collector, {a.stem for a in annotations})
    renamed: list[str] = []
    used: dict[Path, Path] = {}
    for annotation in annotations:
        try:
            tree = read_annotation(annotation)
            name = (tree.findtext("filename") or "").strip()
            path = lookup.find(name, annotation) or lookup.find(annotation.stem, annotation)
        except ValueError as error:
            collector.damaged.append((str(annotation), str(error)))
            continue
        if path is None:
            collector.missing.append(f"{name or annotation.stem} (the image of {annotation})")
            continue
        if name and path.name != name.replace("\\", "/").rpartition("/")[2]:
            renamed.append(f"{annotation} ('{name}', used: {path.name})")
        if used.setdefault(path, annotation) != annotation:
            collector.damaged.append((str(annotation), f"a second annotation of {path.name}; {used[path]} is used"))
            continue
        yield Field(path, partial(read_boxes, collector, annotation, tree, shift=shift), written_size(tree),
                    {"split": splits.get(annotation.stem)})
    collector.note_some("annotations name another file than the image that is used", renamed)
    collector.note_some("images have no annotation", [str(path) for path in collector.paths if path not in used])


DATASET = general_layout("voc", "Pascal VOC: images with XML files of boxes", VIEWS, index, OPTIONS,
                         homepage="http://host.robots.ox.ac.uk/pascal/VOC/")
