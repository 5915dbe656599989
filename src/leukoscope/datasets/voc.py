"""Pascal VOC: an XML file an image, with one `object` a box.

Knows the folders Annotations, JPEGImages and ImageSets, and any other that holds such files.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection
from pathlib import Path
from xml.parsers import expat

from .base import Dataset, Index, check_choice, check_root
from .collector import BadBox, Findings, Image, numbers
from .paths import (
    PATTERN_HELP,
    SPLITS,
    Lookup,
    cell_ids,
    compile_pattern,
    files_below,
    name_parts,
    read_lines,
    split_of,
    whole_number,
)

CORNERS = ("xmin", "ymin", "xmax", "ymax")
MAX_BYTES = 64 * 2**20
LAYOUT = "XML files with the tag 'annotation', and the images that they name"
VIEWS = {
    "boxes": "one row a box, its class as the label",
    "fields": "one row an annotated image, without labels",
}
OPTIONS = {
    "first_pixel": "1 (if not given): corners are px counted from 1, both inside the box, as the VOC development kit "
                   "says; 0: corners are edges counted from 0, as some tools write",
    "pattern": PATTERN_HELP,
}


class BadAnnotation(ValueError):
    """An XML file that is no VOC annotation."""


def index(root: Path, view: str = "boxes", **options: str) -> Index:
    """Index a folder of VOC annotations. Raises DatasetError where there is no usable box.

    The lists of ImageSets, else folders called train, val or test, become the column split. A field is its own
    group unless the pattern knows better.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    check_root(Path(root), "Pascal VOC", LAYOUT)
    shift = whole_number(options.get("first_pixel", 1), "first_pixel", 0, 1)
    pattern = compile_pattern(options.get("pattern", ""))
    found = Findings(Path(root).absolute(), Path(root).absolute().name)
    paths = files_below(found.root)
    annotations = files_below(found.root, {".xml"})
    lookup, splits = Lookup(found.root, paths), _listed_splits(found, {path.stem for path in annotations})
    ids, parts = cell_ids(paths, found.root), name_parts(pattern, paths, found.root)
    mended, taken = [], {}
    for annotation in annotations:
        try:
            tree = read_annotation(annotation)
            path = _image_of(tree, annotation, lookup, mended)
        except ValueError as error:
            found.damaged.append((str(annotation), str(error)))
            continue
        if path is None:
            found.missing.append(f"{_written_name(tree) or annotation.stem} (the image of {annotation})")
            continue
        if taken.setdefault(path, annotation) != annotation:
            found.damaged.append((str(annotation), f"a second annotation of {path.name}, {taken[path]} is used"))
            continue
        split = splits.get(annotation.stem) or split_of(path, found.root)
        image = found.open(path, ids[path], {**({"split": split} if split else {}), **parts[path]})
        if image is not None and view == "fields":
            found.add(image, None, field=image.name)
        elif image is not None:
            found.compare_size(image, _written_size(tree))
            for number, thing in enumerate(tree.findall("object"), 1):
                _add_box(found, image, thing, number=number, where=f"{annotation}: object {number}", shift=shift)
    found.note_some("annotations name another file than the one that was found", mended)
    found.note_some("images have no annotation", [str(path) for path in paths if path not in taken])
    return found.index(LAYOUT)


def read_annotation(path: Path) -> ET.Element:
    """The root of an annotation. Raises BadAnnotation; a document type is refused, as entities could grow unbounded."""
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
    except (expat.ExpatError, ET.ParseError, LookupError, ValueError) as error:
        if isinstance(error, BadAnnotation):
            raise
        raise BadAnnotation(f"not valid XML ({error})") from error
    if tree.tag != "annotation":
        raise BadAnnotation(f"expected the tag 'annotation', got '{tree.tag}'")
    return tree


def _refuse_doctype(*_: object) -> None:
    raise BadAnnotation("declares a document type, which an annotation never needs")


def _written_name(tree: ET.Element) -> str:
    return (tree.findtext("filename") or "").strip()


def _written_size(tree: ET.Element) -> tuple[int, int]:
    texts = [(tree.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    width, height = (int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0 for text in texts)
    return width, height


def _image_of(tree: ET.Element, annotation: Path, lookup: Lookup, mended: list[str]) -> Path | None:
    """The image by the written name, else by the annotation's own: files are often renamed together."""
    written = _written_name(tree)
    path = lookup.find(written, annotation) or lookup.find(annotation.stem, annotation)
    if path is not None and written and path.name != written.replace("\\", "/").rpartition("/")[2]:
        mended.append(f"{annotation} ('{written}' for {path.name})")
    return path


def _add_box(found: Findings, image: Image, thing: ET.Element, *, number: int, where: str, shift: int) -> None:
    label = (thing.findtext("name") or "").strip()
    try:
        if not label:
            raise BadBox("has no name")
        corners = numbers(_corner(thing, name) for name in CORNERS)
    except BadBox as error:
        found.damaged.append((where, str(error)))
        return
    found.add_box(image, number, label, (corners[0] - shift, corners[1] - shift, corners[2], corners[3]), where)


def _corner(thing: ET.Element, name: str) -> str:
    text = thing.findtext(f"bndbox/{name}")
    if text is None:
        raise BadBox(f"has no {name}")
    return text.strip()


def _listed_splits(found: Findings, known: Collection[str]) -> dict[str, str]:
    """Annotation -> split, by lists such as ImageSets/Main/train.txt; one that stands in two is not believed."""
    splits: dict[str, str] = {}
    torn: set[str] = set()
    for path in files_below(found.root, {".txt"}):
        split = SPLITS.get(path.stem.lower())
        if split is None or "imagesets" not in (part.lower() for part in path.parts):
            continue
        for line in _lines(found, path):
            name = line if line in known else line.split()[0]  # lists a class say 1 or -1 behind the name
            if splits.setdefault(name, split) != split:
                torn.add(name)
    found.note_some("names stand in the lists of two splits and get none", sorted(torn))
    return {name: split for name, split in splits.items() if name not in torn}


def _lines(found: Findings, path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_lines(path) if line.strip()]
    except ValueError as error:
        found.damaged.append((str(path), str(error)))
        return []


DATASET = Dataset(
    name="voc",
    title="Pascal VOC: images with XML files of boxes",
    licence="that of the images",
    citation="",
    homepage="http://host.robots.ox.ac.uk/pascal/VOC/",
    obtain="give a folder of your own",
    subject_rule="each image is one group, unless the option pattern names subject or group in the file names",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
