"""PBC: 17,092 single cells of healthy donors, Hospital Clinic of Barcelona, eight classes, one folder for each.

Knows the layout and the finer types that the file names give. There are no subject ids, and the whole set has 17 pairs
of identical files: the audit finds them, not this reader.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .base import Dataset, Download, Index, check_choice, find_folder, list_images, subfolders
from .collector import Collector
from .leukocytes import CLASS_OF, VIEW

COUNTS = {
    "basophil": 1218,
    "eosinophil": 3117,
    "erythroblast": 1551,
    "ig": 2895,
    "lymphocyte": 1214,
    "monocyte": 1420,
    "neutrophil": 3329,
    "platelet": 2348,
}
"""Images of each class in the published set (Acevedo et al. 2020, table 1); ig: immature granulocytes."""

LEUKOCYTES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")

PRECURSORS = ("erythroblast", "ig")

FINE = {
    "BNE": ("neutrophil", "band neutrophil"),
    "SNE": ("neutrophil", "segmented neutrophil"),
    "NEUTROPHIL": ("neutrophil", "neutrophil"),
    "PMY": ("ig", "promyelocyte"),
    "MY": ("ig", "myelocyte"),
    "MMY": ("ig", "metamyelocyte"),
    "IG": ("ig", "ig"),
    "BA": ("basophil", "basophil"),
    "EO": ("eosinophil", "eosinophil"),
    "ERB": ("erythroblast", "erythroblast"),
    "LY": ("lymphocyte", "lymphocyte"),
    "MO": ("monocyte", "monocyte"),
    "PLATELET": ("platelet", "platelet"),
}
"""Prefix of the file name -> folder, finer type. The stage of cells named NEUTROPHIL and IG is not stated."""

SUBTYPES = {fine: "immature granulocyte" if fine == "ig" else fine for _, fine in FINE.values()}
"""Finer type -> subtype in the view `leukocytes`."""

VIEWS = {
    "eight": "the eight classes of the published set",
    "fine": "band and segmented neutrophils, and the stages of immature granulocytes, as classes of their own",
    "five": "the five mature leukocytes only",
    "precursors": "two classes: precursor (immature granulocytes and erythroblasts) and mature (the five leukocytes)",
    "leukocytes": VIEW,
}
_CLASSES = {"five": LEUKOCYTES, "precursors": tuple(sorted((*LEUKOCYTES, *PRECURSORS)))}
LAYOUT = "the class folders basophil, eosinophil, ..."


def index(root: Path, view: str = "eight", **options: str) -> Index:
    """Index the folder PBC_dataset_normal_DIB, or one above it. Raises DatasetError where there is no cell."""
    check_choice(view, VIEWS, options)
    base = find_folder(Path(root), lambda folder: bool(_class_folders(folder)), "pbc", LAYOUT).absolute()
    collector = Collector(base, "pbc")
    classes = _CLASSES.get(view, tuple(COUNTS))
    count: Counter[str] = Counter()
    odd: list[str] = []
    for folder in _class_folders(base):
        images, faults = list_images(folder)
        collector.damaged += faults
        label = folder.name.lower()
        count[label] += len(images)
        for path in images:
            folder_of_name, fine = FINE.get(path.stem.partition("_")[0].upper(), ("", label))
            if folder_of_name != label:
                fine = label
                odd.append(path.name)
            if label in classes:
                more = {"subtype": SUBTYPES[fine]} if view == "leukocytes" else {}
                collector.rows.append({"cell_id": f"{label}/{path.name}", "image": str(path), "source": "pbc",
                                       "label": _label(view, label, fine), "fine_label": fine, **more})
    _add_notes(collector, view, odd, sum(count.values()) - len(collector.rows))
    collector.missing += [f"{label}: {COUNTS[label] - count[label]:,} of {COUNTS[label]:,} images"
                          for label in classes if count[label] < COUNTS[label]]
    expected: Counter[str] = Counter()
    for label in classes:
        if view != "fine" or label not in ("neutrophil", "ig"):  # the number of cells of each stage is not published
            expected[_label(view, label, label)] += COUNTS[label]
    return collector.index(f"{LAYOUT} with images; --view eight uses all of them", expected)


def _class_folders(folder: Path) -> list[Path]:
    return [child for child in subfolders(folder) if child.name.lower() in COUNTS]


def _label(view: str, label: str, fine: str) -> str:
    """The label in a view of a cell with this folder and finer type."""
    return {"fine": fine, "precursors": "precursor" if label in PRECURSORS else "mature",
            "leukocytes": CLASS_OF[SUBTYPES[fine]]}.get(view, label)


def _add_notes(collector: Collector, view: str, odd: list[str], left_out: int) -> None:
    collector.notes.append("the set has no subject ids: cells of one donor may be in training and in test")
    others = [child.name for child in subfolders(collector.root) if child.name.lower() not in COUNTS]
    if others:
        collector.notes.append(f"folders that are not a class of the set are left out: {', '.join(others)}")
    if odd:
        collector.notes.append(f"{len(odd)} names do not have the prefix of their folder's class (the folder is used): "
                               f"{', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''}")
    if left_out:
        collector.notes.append(f"{left_out} cells of other classes are left out in this view")
    if view == "fine":
        collector.notes.append("neutrophils and immature granulocytes (ig) whose stage is not stated keep the name of "
                               "their class")


DATASET = Dataset(
    name="pbc",
    title="PBC: normal peripheral blood cells, eight classes (Barcelona)",
    licence="CC BY 4.0",
    citation="A. Acevedo et al., A dataset of microscopic peripheral blood cell images for development of automatic "
             "recognition systems, Data in Brief 30 (2020) 105474, doi 10.1016/j.dib.2020.105474",
    homepage="https://doi.org/10.17632/snkd93bnjr.1",
    obtain="download PBC_dataset_normal_DIB.zip from https://data.mendeley.com/datasets/snkd93bnjr/1 and unpack it",
    subject_rule="none: the set names no donors; duplicates, which the audit finds, are the only known groups",
    views=VIEWS,
    index=index,
    downloads=(Download(
        "https://data.mendeley.com/public-files/datasets/snkd93bnjr/files/2fc38728-2ae7-4a62-a857-032af82334c3/"
        "file_downloaded", "PBC_dataset_normal_DIB.zip"),),
    leukocytes=SUBTYPES,
)
