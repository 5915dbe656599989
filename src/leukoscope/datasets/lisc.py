"""LISC: 250 fields of 720 x 576 px from eight healthy people, in a folder a leukocyte type, with masks by an expert.

Knows the folders 'Main Dataset' and 'Ground Truth Segmentation' of the published archive.
"""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, Index, check_choice, check_root
from .collector import Findings
from .paths import cell_ids, files_below

FOLDERS = {"baso": "basophil", "eosi": "eosinophil", "lymp": "lymphocyte", "mono": "monocyte", "neut": "neutrophil",
           "mix": "mixed"}
"""Start of the folder's name, in lower case -> label."""

COUNTS = {"basophil": 53, "eosinophil": 39, "lymphocyte": 52, "monocyte": 48, "neutrophil": 50, "mixed": 8}
LAYOUT = "the folders 'Main Dataset' and 'Ground Truth Segmentation', each with Baso, eosi, lymp, mono, neut, mixt"
VIEWS = {
    "labels": "one row a field that shows one leukocyte type, with its mask",
    "fields": "every field, those with several types labelled mixed",
}


def index(root: Path, view: str = "labels", **options: str) -> Index:
    """Index the folder 'LISC Database', or one above it. Raises DatasetError where it holds no field."""
    check_choice(view, VIEWS, options)
    check_root(Path(root), "lisc", LAYOUT)
    found = Findings(Path(root).absolute(), "lisc")
    fields, masks, without = _sorted_paths(found.root)
    ids = cell_ids([path for path, _ in fields], found.root)
    mixed = 0
    for path, label in fields:
        if label == "mixed" and view == "labels":
            mixed += 1
            continue
        image = found.open(path, ids[path])
        if image is not None:
            found.add(image, label, field=image.name, mask=_mask(found, masks, path, label, image.size))
    if not masks:
        found.missing.append("the folder 'Ground Truth Segmentation' with the masks")
    if mixed:
        found.notes.append(f"{mixed} fields of several types are left out in this view")
    found.note_some("images are left out: they stand in no folder of a type, or have no ground truth", without)
    found.notes.append("the set has no subject ids: fields of one person may stand on both sides of a split")
    expected = {label: n for label, n in COUNTS.items() if view == "fields" or label != "mixed"}
    found.short_of(expected, "fields")
    return found.index(LAYOUT, expected)


def _sorted_paths(root: Path) -> tuple[list[tuple[Path, str]], dict[tuple[str, str], Path], list[str]]:
    """(fields with labels, masks by label and name, other images)."""
    fields, masks, others = [], {}, []
    # A mask marked by the expert comes before another file of the same number.
    for path in sorted(files_below(root), key=lambda p: (not p.stem.lower().endswith("_expert"), p)):
        folders = [part.lower() for part in path.relative_to(root).parts[:-1]]
        label = next((name for folder in reversed(folders) for start, name in FOLDERS.items()
                      if folder.startswith(start)), None)
        if label is None or any(folder.startswith("more dataset") for folder in folders):
            others.append(str(path))
        elif any(folder.startswith("ground truth") for folder in folders):
            masks.setdefault((label, path.stem.lower().removesuffix("_expert")), path)
        else:
            fields.append((path, label))
    return sorted(fields), masks, sorted(others)


def _mask(found: Findings, masks: dict[tuple[str, str], Path], path: Path, label: str,
          size: tuple[int, int]) -> str | None:
    mask = masks.get((label, path.stem.lower()))
    if mask is None:
        if masks:
            found.missing.append(f"the mask of {path}")
        return None
    opened = found.open(mask, "")
    if opened is not None and opened.size != size:
        found.damaged.append((str(mask), f"has {opened.size[0]} x {opened.size[1]} px, its field "
                                         f"{size[0]} x {size[1]}"))
        return None
    return str(mask) if opened is not None else None


DATASET = Dataset(
    name="lisc",
    title="LISC: fields of five leukocyte types with masks of nucleus and cytoplasm (Tehran)",
    licence="for research and teaching, free of charge; not to be passed on",
    citation="S. H. Rezatofighi, H. Soltanian-Zadeh, Automatic recognition of five types of white blood cells in "
             "peripheral blood, Computerized Medical Imaging and Graphics 35 (2011) 333-343, "
             "doi 10.1016/j.compmedimag.2011.01.003",
    homepage="http://users.cecs.anu.edu.au/~hrezatofighi/Data/Leukocyte%20Data.htm",
    obtain="only from the first author's page, http://users.cecs.anu.edu.au/~hrezatofighi/Data/Leukocyte%20Data.htm: "
           "download 'LISC Database.zip' there and unpack it",
    subject_rule="none: the eight people and the slides are not marked",
    views=VIEWS,
    index=index,
)
