"""Sets in one folder for each type, named by a code of three letters: the two from Munich.

The code is the folder nearest to the image: the official archives put further folders above the codes, and below those
of types with many images. The names of the images begin with the code too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .base import Index, check_choice, find_folder, subfolders
from .collector import Collector
from .leukocytes import CLASS_OF, VIEW, class_counts

VIEWS = {"types": "the types of the published set, by their full names", "leukocytes": VIEW}


@dataclass(frozen=True)
class Type:
    """A type of cell: its full name, which is also its subtype, and its images in the published set."""

    name: str
    count: int


def index_codes(root: Path, view: str, options: Mapping[str, str], *, name: str, types: Mapping[str, Type]) -> Index:
    """Index the folder that contains the folders of codes, or one above it. Raises DatasetError where there is no cell.

    types: code -> type. The columns subtype and code are the same in both views.
    """
    check_choice(view, VIEWS, options)
    layout = f"folders called by the codes {', '.join(list(types)[:3])}, ..."
    base = find_folder(Path(root), lambda folder: any(child.name.upper() in types for child in subfolders(folder)),
                       name, layout)
    collector = Collector.walk(base, name, layout)
    strangers, odd = [], []
    for path in collector.paths:
        folders = [part.upper() for part in path.relative_to(collector.root).parts[:-1]]
        code = next((folder for folder in reversed(folders) if folder in types), None)
        if code is None:
            strangers.append(str(path))
        elif image := collector.open(path):
            subtype = types[code].name
            label = subtype if view == "types" else CLASS_OF.get(subtype)
            collector.add(image, label, subtype=subtype, code=code)
            if not path.name.upper().startswith(code):
                odd.append(str(path))
    collector.note_some("images are left out because they are in no folder of a code", strangers)
    collector.note_some("names do not begin with the code of their folder (the folder is used)", odd)
    collector.notes.append("the set has no subject ids: cells of one patient may be in training and in test")
    counts = {kind.name: kind.count for kind in types.values()}
    collector.short_of(counts, "images", column="subtype")
    if view == "types":
        return collector.index(layout, counts)
    unlabelled = sorted({str(row["subtype"]) for row in collector.rows if row["label"] is None})
    if unlabelled:
        collector.notes.append(f"these types are in none of the classes and have no label: {', '.join(unlabelled)}")
    return collector.index(layout, class_counts(counts))
