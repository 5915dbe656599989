"""Images in one folder for each class: the simplest layout.

Knows nothing of the classes. Subjects come from the names, by a pattern that the user gives.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .base import Index, check_choice, general_layout, subfolders
from .collector import Collector
from .paths import PATTERN_HELP, SPLITS, split_of, whole_number

LAYOUT = "a folder for each class with its images, such as neutrophil/a.png"
VIEWS = {"classes": "one row for each image, the folder's name as its label"}
OPTIONS = {
    "depth": "which level of folders below the given one is the class: 1 for the first (default), 2 for the next, 0 "
             "for the folder that directly contains the image",
    "pattern": PATTERN_HELP,
}


def index(root: Path, view: str = "classes", **options: str) -> Index:
    """Index a folder of class folders, nested ones included. Raises DatasetError where there is no labelled image.

    A folder called train, val, validation or test above the class gives the column split.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    collector = Collector.walk(root, "class folders", LAYOUT, pattern=options.get("pattern", ""))
    depth = whole_number(options.get("depth", 1), "depth", 0, 20)
    shallow, unmatched = [], []
    for path in collector.paths:
        folders = path.relative_to(collector.root).parts[:-1]
        if len(folders) < max(depth, 1):
            shallow.append(str(path))
        elif image := collector.open(path, split=split_of(path, collector.root)):
            if options.get("pattern") and not collector.parts[path]:
                unmatched.append(str(path))
            collector.add(image, folders[depth - 1])
    labels = {str(row["label"]) for row in collector.rows}
    if "depth" not in options and labels and all(label.lower() in SPLITS for label in labels):
        raise DatasetError(f"{collector.root}: the folders {', '.join(sorted(labels))} are parts of a split, not "
                           "classes", "use the option depth=2, for the folders below them")
    if shallow and not collector.rows and not collector.damaged:
        raise DatasetError(f"{collector.root}: none of its {len(shallow)} images lies {max(depth, 1)} folders deep, "
                           f"for example {shallow[0]}", f"expected {LAYOUT}, or another depth")
    collector.note_some("images are left out because they are not in a class folder", shallow)
    collector.note_some("names do not match the pattern and have no subject or group", unmatched)
    if depth == 1:
        filled = {path.relative_to(collector.root).parts[0] for path in collector.paths}
        collector.missing += [
            f"images of the class '{folder.name}' (the folder {'holds none' if any(folder.iterdir()) else 'is empty'})"
            for folder in subfolders(collector.root) if folder.name not in filled]
    return collector.index(LAYOUT)


DATASET = general_layout("folder", "one folder for each class", VIEWS, index, OPTIONS, subject_rule=(
    "none, unless the option pattern has the named groups subject or group, which are read in the file names"))
