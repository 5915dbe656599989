"""LISC: 250 fields of 720 x 576 px from eight healthy people, in one folder for each leukocyte type, with masks by an
expert.

Knows the folders 'Main Dataset' and 'Ground Truth Segmentation' of the published archive.
"""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, Index, check_choice, inspect_image
from .collector import Collector, Image

FOLDERS = {"baso": "basophil", "eosi": "eosinophil", "lymp": "lymphocyte", "mono": "monocyte", "neut": "neutrophil",
           "mix": "mixed"}
"""Start of the folder's name, in lower case -> label."""

COUNTS = {"basophil": 53, "eosinophil": 39, "lymphocyte": 52, "monocyte": 48, "neutrophil": 50, "mixed": 8}
LAYOUT = "the folders 'Main Dataset' and 'Ground Truth Segmentation', each with Baso, eosi, lymp, mono, neut, mixt"
VIEWS = {
    "labels": "one row for each field that shows one leukocyte type, with its mask",
    "fields": "every field; those with several types have the label mixed",
}


def index(root: Path, view: str = "labels", **options: str) -> Index:
    """Index the folder 'LISC Database', or one above it. Raises DatasetError where there is no field."""
    check_choice(view, VIEWS, options)
    collector = Collector.walk(root, "lisc", LAYOUT)
    fields, masks, without = _sorted_paths(collector)
    mixed = 0
    for path, label in fields:
        if label == "mixed" and view == "labels":
            mixed += 1
        elif image := collector.open(path):
            collector.add(image, label, field=image.name, mask=_mask(collector, masks, image, label))
    if not masks:
        collector.missing.append("the folder 'Ground Truth Segmentation' with the masks")
    if mixed:
        collector.notes.append(f"{mixed} fields of several types are left out in this view")
    collector.note_some("images are left out because they are in no folder of a type, or have no ground truth", without)
    collector.notes.append("the set has no subject ids: fields of one person may be in training and in test")
    expected = {label: n for label, n in COUNTS.items() if view == "fields" or label != "mixed"}
    collector.short_of(expected, "fields")
    return collector.index(LAYOUT, expected)


def _sorted_paths(collector: Collector) -> tuple[list[tuple[Path, str]], dict[tuple[str, str], Path], list[str]]:
    """(fields with labels, masks by label and name, other images)."""
    fields, masks, others = [], {}, []
    # A mask marked by the expert comes before another file of the same number.
    for path in sorted(collector.paths, key=lambda p: (not p.stem.lower().endswith("_expert"), p)):
        folders = [part.lower() for part in path.relative_to(collector.root).parts[:-1]]
        label = next((name for folder in reversed(folders) for start, name in FOLDERS.items()
                      if folder.startswith(start)), None)
        if label is None or any(folder.startswith("more dataset") for folder in folders):
            others.append(str(path))
        elif any(folder.startswith("ground truth") for folder in folders):
            masks.setdefault((label, path.stem.lower().removesuffix("_expert")), path)
        else:
            fields.append((path, label))
    return sorted(fields), masks, sorted(others)


def _mask(collector: Collector, masks: dict[tuple[str, str], Path], image: Image, label: str) -> str | None:
    mask = masks.get((label, image.path.stem.lower()))
    if mask is None:
        if masks:
            collector.missing.append(f"the mask of {image.path}")
        return None
    size, reason = inspect_image(mask)
    if size == image.size:
        return str(mask)
    collector.damaged.append((str(mask), reason if size is None else f"has {size[0]} x {size[1]} px, its field "
                                                                     f"{image.size[0]} x {image.size[1]}"))
    return None


DATASET = Dataset(
    name="lisc",
    title="LISC: fields of five leukocyte types with masks of nucleus and cytoplasm (Tehran)",
    licence="for research and teaching, free of charge; must not be passed on",
    citation="S. H. Rezatofighi, H. Soltanian-Zadeh, Automatic recognition of five types of white blood cells in "
             "peripheral blood, Computerized Medical Imaging and Graphics 35 (2011) 333-343, "
             "doi 10.1016/j.compmedimag.2011.01.003",
    homepage="http://users.cecs.anu.edu.au/~hrezatofighi/Data/Leukocyte%20Data.htm",
    obtain="only from the first author's page, http://users.cecs.anu.edu.au/~hrezatofighi/Data/Leukocyte%20Data.htm: "
           "download 'LISC Database.zip' there and unpack it",
    subject_rule="none: neither the eight people nor the slides are marked",
    views=VIEWS,
    index=index,
)
