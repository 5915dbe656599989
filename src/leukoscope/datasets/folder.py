"""Images in a folder a class: the plainest layout there is.

Knows nothing of what the classes are; subjects come from the names, by a pattern that the user gives.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .base import Dataset, Index, check_choice, check_root, subfolders
from .collector import Findings
from .paths import PATTERN_HELP, SPLITS, cell_ids, compile_pattern, files_below, name_parts, split_of, whole_number

LAYOUT = "a folder for each class with its images, such as neutrophil/a.png"
VIEWS = {"classes": "one row an image, the folder's name as its label"}
OPTIONS = {
    "depth": "which folder below the given one names the class: 1 is the first (if not given), 2 the one below it, "
             "0 the one that the image lies in",
    "pattern": PATTERN_HELP,
}


def index(root: Path, view: str = "classes", **options: str) -> Index:
    """Index a folder of class folders, nested ones included. Raises DatasetError where it holds no labelled image.

    A folder called train, val, validation or test above the class becomes the column split.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    check_root(Path(root), "class folders", LAYOUT)
    depth = whole_number(options.get("depth", 1), "depth", 0, 20)
    pattern = compile_pattern(options.get("pattern", ""))
    found = Findings(Path(root).absolute(), Path(root).absolute().name)
    paths = files_below(found.root)
    ids, parts = cell_ids(paths, found.root), name_parts(pattern, paths, found.root)
    shallow, unmatched = [], []
    for path in paths:
        folders = path.relative_to(found.root).parts[:-1]
        if len(folders) < max(depth, 1):
            shallow.append(str(path))
            continue
        image = found.open(path, ids[path], parts[path])
        if image is None:
            continue
        if pattern and not parts[path]:
            unmatched.append(str(path))
        split = {} if "split" in parts[path] else {"split": split_of(path, found.root)}
        found.add(image, folders[depth - 1], **split)
    labels = {str(row["label"]) for row in found.rows}
    if "depth" not in options and labels and all(label.lower() in SPLITS for label in labels):
        raise DatasetError(f"{found.root}: the folders {', '.join(sorted(labels))} are parts of a split, not classes",
                           "give the option depth=2, for the folders below them")
    if shallow and not found.rows and not found.damaged:
        raise DatasetError(f"{found.root}: none of its {len(shallow)} images lies {max(depth, 1)} folders deep, "
                           f"such as {shallow[0]}", f"expected {LAYOUT}, or another depth")
    found.note_some("images are left out, they do not lie in a class folder", shallow)
    found.note_some("names do not fit the pattern and stay without subject or group", unmatched)
    found.missing += _empty_classes(found, paths, depth)
    return found.index(LAYOUT)


def _empty_classes(found: Findings, paths: list[Path], depth: int) -> list[str]:
    if depth != 1:
        return []
    filled = {path.relative_to(found.root).parts[0] for path in paths}
    return [f"images of the class '{folder.name}' (the folder is empty)" for folder in subfolders(found.root)
            if folder.name not in filled]


DATASET = Dataset(
    name="folder",
    title="a folder a class",
    licence="that of the images",
    citation="",
    homepage="",
    obtain="give a folder of your own",
    subject_rule="none, unless the option pattern names the groups subject or group in the file names",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
