"""Which layout a folder is probably in, by the names of its files: for a user who has not said it.

Opens no image. A suggestion may be wrong: reading the folder tells.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .base import IMAGE_SUFFIXES, is_litter
from .paths import SPLITS

LOOKED_AT = 5_000
"""Files of a folder that are looked at, at most."""
GENERAL = "folder, table, voc, coco, yolo"
_PUBLIC = {
    "bloodmnist": r"bloodmnist(_\d+)?\.npz$",
    "cnmc": r"(^|/)UID_H?\d+_\d+_\d+_(all|hem)\.bmp$",
    "bccd": r"(^|/)Annotations/BloodImage_\d+\.xml$",
    "pbc": r"(^|/)(basophil|eosinophil|erythroblast|ig|lymphocyte|monocyte|neutrophil|platelet)/[A-Z]+_\d+\.jpg$",
    "allidb1": r"(^|/)Im\d{3}_[01]\.(jpg|xyc)$",
    "allidb2": r"(^|/)Im\d{3}_[01]\.tif$",
    "lisc": r"_expert\.bmp$",
    "raabin": r"(^|/)(Train|TestA|TestB)/(Basophil|Eosinophil|Lymphocyte|Monocyte|Neutrophil)/",
    "mll": r"(^|/)(ABE|ART|BLA|FGC|HAC|LYI|NIF|PEB|PLM)/([^/]+/)?[^/]+\.(jpg|tiff)$",
    "lmu": r"(^|/)(LYA|MOB|MYO|PMB)/[^/]+\.(jpg|tiff)$",
    "chula": r"(^|/)(HF-)?[BELMN]-\d+[A-Z]*[a-z]*_\d+\.(jpg|png|txt)$",
}
"""Data set -> what the path of one of its files looks like, and of no other's."""


def suggest_layout(folder: Path) -> str:
    """The data set or general layout that a folder is probably in, with the options that it needs; "" if unclear."""
    files = sorted(islice(_files(folder), LOOKED_AT))
    for name, pattern in _PUBLIC.items():
        if any(re.search(pattern, file.as_posix()) for file in files):
            return name
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    stems, first = {file.stem for file in images}, {file.parts[0].lower() for file in images if len(file.parts) > 1}
    by_suffix = {file.suffix.lower(): file for file in reversed(files)}
    tables = [file for file in files if file.suffix.lower() in (".csv", ".parquet") and len(file.parts) == 1]
    fits = {
        "voc": ".xml" in by_suffix and b"<annotation" in _start(folder / by_suffix[".xml"]),
        "coco": ".json" in by_suffix and re.search(rb'"(images|annotations)"', _start(folder / by_suffix[".json"])),
        "yolo": any(file.suffix.lower() == ".txt" and file.stem in stems for file in files),
        "table": tables and len(first) < 2,
        "folder --option depth=2": first and first <= SPLITS.keys(),
        "folder": first}
    return next((layout for layout, found in fits.items() if found), "")


def index_command(folder: Path) -> str:
    """The command line that indexes a folder, its layout filled in where its files tell it."""
    layout = suggest_layout(folder)
    command = f"leukoscope data index {layout or 'LAYOUT'} {shlex.quote(str(folder))} -o cells.parquet"
    return command if layout else f"{command}, with LAYOUT one of {GENERAL} (see leukoscope data list)"


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, as paths relative to it."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_litter(name))
        for name in sorted(names):
            if not is_litter(name):
                yield Path(where, name).relative_to(folder)


def _start(file: Path) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read(100_000)
    except OSError:
        return b""
