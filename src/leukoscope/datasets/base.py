"""What every data set states about itself, and what indexing one returns.

A data set is one file beside this one. It knows its layout, licence, expected counts, labels and subjects; it opens
no image beyond what its own format needs, and it never downloads by itself: `download.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Download:
    """One published file: where it is, how long it is (bytes), its checksum (`"sha256:<hex>"` or `"md5:<hex>"`)."""

    url: str
    filename: str
    bytes: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Index:
    """What indexing a folder found.

    manifest: the cells, one row each.
    expected: how many the whole published set has, a label, in this view; empty where nobody can know.
    missing: what the set should hold and this folder does not (files or parts, named), shortened by nobody.
    damaged: (path, reason) of files that are there and cannot be used.
    notes: what a user should know: duplicates merged into a group, boxes clipped, names mended.
    """

    manifest: pl.DataFrame
    expected: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> dict[str, int]:
        """Cells a label, in alphabetical order; unlabelled cells stand under ''."""
        counts = self.manifest.group_by(pl.col("label").fill_null("")).len().sort("label")
        return dict(counts.iter_rows())


Indexer = Callable[..., Index]
"""`index(root: Path, view: str, **options) -> Index`; `options` are those that `Dataset.options` names."""


@dataclass(frozen=True)
class Dataset:
    """A data set, or a general layout, that `leukoscope data` can list, get and index.

    views: name -> what it is; the first is the default. A view chooses labels (classes) or parts, never pixels.
    subject_rule: in one sentence, where subject and group come from.
    downloads: what may be fetched by a program; empty where a request or a login is needed, and `obtain` says how.
    options: name -> help, of what only this layout needs (general layouts: column names, class lists).
    """

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    obtain: str
    subject_rule: str
    views: Mapping[str, str]
    index: Indexer
    downloads: tuple[Download, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    micrometres_per_pixel: float | None = None

    @property
    def default_view(self) -> str:
        return next(iter(self.views))


def check_root(root: Path, name: str, layout: str) -> None:
    """Raise DatasetError unless `root` is a folder; `layout` says in a few words what it should hold."""
    from ..errors import DatasetError

    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise DatasetError(f"{root}: {what}", f"give the folder of {name} that holds {layout}")
