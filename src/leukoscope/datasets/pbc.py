"""PBC: 17,092 single cells of healthy donors, Hospital Clinic of Barcelona, eight classes, one folder each.

Knows the layout and the finer types that the file names carry. There are no subject ids, and the whole set has 17
pairs of identical files: the audit finds them, not this reader.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ..errors import DatasetError
from ..manifest import make_manifest
from .base import Dataset, Download, Index, check_choice, find_folder, list_images, subfolders

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
"""Images a class of the published set (Acevedo et al. 2020, table 1)."""

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
"""Prefix of the file name -> folder, finer type. NEUTROPHIL and IG are cells whose stage was not stated."""

VIEWS = {
    "eight": "the eight classes of the published set",
    "fine": "band and segmented neutrophils, and the stages of immature granulocytes, apart",
    "five": "the five mature leukocytes only",
    "precursors": "two classes: precursor (immature granulocytes and erythroblasts) and mature (the five leukocytes)",
}
_KEPT = {"eight": tuple(COUNTS), "fine": tuple(COUNTS), "five": LEUKOCYTES,
         "precursors": tuple(sorted((*LEUKOCYTES, *PRECURSORS)))}
LAYOUT = "the class folders basophil, eosinophil, ..."


def index(root: Path, view: str = "eight", **options: str) -> Index:
    """Index the folder PBC_dataset_normal_DIB, or one above it. Raises DatasetError where it holds no cell."""
    check_choice(view, VIEWS, options)
    base = find_folder(Path(root), lambda folder: bool(_class_folders(folder)), "pbc", LAYOUT)
    folders = _class_folders(base)
    rows, damaged, odd = [], [], []
    for folder in folders:
        images, faults = list_images(folder)
        damaged += faults
        for path in images:
            label, fine, agrees = _labels(path)
            rows.append({"cell_id": f"{label}/{path.name}", "image": str(path.absolute()), "label": label,
                         "fine_label": fine, "source": "pbc"})
            if not agrees:
                odd.append(path.name)
    if not rows:
        raise DatasetError(f"{base}: the class folders hold no image", "unpack the archive again")
    cells = make_manifest(rows)
    notes = _notes(base, folders, odd)
    kept = _KEPT[view]
    if len(kept) < len(COUNTS):
        left_out = cells.filter(~pl.col("label").is_in(kept))
        cells = cells.filter(pl.col("label").is_in(kept))
        notes.append(f"{left_out.height} cells of other classes are left out in this view")
    if view == "precursors":
        precursor = pl.col("label").is_in(PRECURSORS)
        cells = cells.with_columns(label=pl.when(precursor).then(pl.lit("precursor")).otherwise(pl.lit("mature")))
    elif view == "fine":
        cells = cells.with_columns(label=pl.col("fine_label"))
        notes.append("neutrophils and immature granulocytes (ig) of no stated stage keep their class's name")
    if cells.is_empty():
        raise DatasetError(f"{base}: holds no cell of the view '{view}'", "use --view eight")
    missing = _missing(cells, kept)
    return Index(cells, _expected(view), missing, tuple(damaged), tuple(notes))


def _class_folders(folder: Path) -> list[Path]:
    return [child for child in subfolders(folder) if child.name.lower() in COUNTS]


def _labels(path: Path) -> tuple[str, str, bool]:
    """(label by the folder, finer type by the prefix, whether the two agree)."""
    label = path.parent.name.lower()
    folder, fine = FINE.get(path.stem.partition("_")[0].upper(), ("", label))
    return (label, fine, True) if folder == label else (label, label, False)


def _expected(view: str) -> dict[str, int]:
    if view == "five":
        return {label: COUNTS[label] for label in LEUKOCYTES}
    if view == "precursors":
        return {name: sum(COUNTS[label] for label in labels)
                for name, labels in (("precursor", PRECURSORS), ("mature", LEUKOCYTES))}
    if view == "fine":  # how many cells each stage has is published nowhere
        return {label: count for label, count in COUNTS.items() if label not in ("neutrophil", "ig")}
    return dict(COUNTS)


def _missing(cells: pl.DataFrame, classes: tuple[str, ...]) -> tuple[str, ...]:
    folder = pl.col("cell_id").str.split("/").list.first()
    found = dict(cells.group_by(folder).len().iter_rows())
    return tuple(f"{label}: {COUNTS[label] - found.get(label, 0):,} of {COUNTS[label]:,} images"
                 for label in classes if found.get(label, 0) < COUNTS[label])


def _notes(base: Path, folders: list[Path], odd: list[str]) -> list[str]:
    notes = ["the set has no subject ids: cells of one donor may stand on both sides of a split"]
    others = [child.name for child in subfolders(base) if child not in folders]
    if others:
        notes.append(f"folders that are no class of the set are left out: {', '.join(others)}")
    if odd:
        notes.append(f"{len(odd)} names do not carry the prefix of their folder's class (the folder is taken): "
                     f"{', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''}")
    return notes


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
)
