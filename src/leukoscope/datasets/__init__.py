"""The data sets and general layouts that can be listed, fetched and indexed: one file each.

A data set's module is imported when it is asked for, so that listing names costs nothing.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path

from ..errors import DatasetError
from .base import Dataset, Download, Index

__all__ = ["Dataset", "Download", "Index", "dataset_names", "get_dataset", "index"]

_PUBLIC = ("pbc", "bccd", "cnmc", "allidb1", "allidb2", "lisc", "raabin", "chula", "lmu", "mll", "bloodmnist")
_GENERAL = ("folder", "table", "voc", "coco", "yolo")


def dataset_names() -> tuple[str, ...]:
    """Every name that `get_dataset` knows: the public data sets, then the general layouts."""
    return _PUBLIC + _GENERAL


def get_dataset(name: str) -> Dataset:
    """The data set of that name. Raises DatasetError with the nearest names when there is none."""
    known = dataset_names()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
        hint = f"the nearest: {', '.join(near)}" if near else f"there are: {', '.join(known)}"
        raise DatasetError(f"no data set or layout is called '{name}'", hint)
    return import_module(f".{name}", __name__).DATASET


def index(layout: str, folder: Path | str, view: str = "", **options: str) -> Index:
    """The cells of a folder of images as a manifest, with what is missing, damaged or worth knowing.

    layout: a name of `dataset_names()`, such as "folder" for one sub-folder a class. view: which labels or parts of a
    data set; "" for its first. options: of the layout (`leukoscope data info LAYOUT` names them). Raises DatasetError
    for an unknown layout, view or option and for a folder of another layout.
    """
    chosen = get_dataset(layout)
    view = view or chosen.default_view
    if view not in chosen.views:
        raise DatasetError(f"{layout} has no view '{view}'", f"choose one of {', '.join(chosen.views)}")
    unknown = sorted(set(options) - set(chosen.options))
    if unknown:
        raise DatasetError(f"{layout} has no option '{unknown[0]}'", f"it has {', '.join(chosen.options) or 'none'}")
    return chosen.index(Path(folder), view, **options)
