"""What every data set states about itself, and what indexing one returns.

A data set is one file beside this one. It knows its layout, licence, expected counts, labels and subjects; it opens
no image beyond what its own format needs, and it never downloads by itself: `download.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ..errors import DatasetError, ImageError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Names, in lower case, that operating systems leave in folders of images."""


@dataclass(frozen=True)
class Download:
    """One published file: where it is, how long it is (bytes), its checksum (`"sha256:<hex>"` or `"md5:<hex>"`).

    An `optional` file is fetched only when it is asked for by name.
    """

    url: str
    filename: str
    bytes: int | None = None
    checksum: str | None = None
    optional: bool = False


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
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise DatasetError(f"{root}: {what}", f"give the folder of {name} that holds {layout}")


def check_choice(view: str, views: Iterable[str], options: Iterable[str] = (), known: Iterable[str] = ()) -> None:
    """Raise DatasetError for a view or an option that the data set does not have."""
    if view not in views:
        raise DatasetError(f"there is no view '{view}'", f"the views are: {', '.join(views)}")
    for name in options:
        if name not in known:
            raise DatasetError(f"there is no option '{name}'", f"the options are: {', '.join(known) or 'none'}")


def find_folder(root: Path, holds: Callable[[Path], bool], name: str, layout: str, *, depth: int = 3) -> Path:
    """The shallowest folder at or below `root`, at most `depth` down, for which `holds` is true.

    Archives unpack into one folder or two; a user may give any of them. Raises DatasetError where there is none, or
    where two lie equally deep.
    """
    check_root(root, name, layout)
    level = [root]
    for _ in range(depth + 1):
        found = [folder for folder in level if holds(folder)]
        if len(found) > 1:
            raise DatasetError(f"{root}: both {found[0].name} and {found[1].name} hold {layout}", "give one of them")
        if found:
            return found[0]
        level = [child for folder in level for child in subfolders(folder)]
    raise DatasetError(f"{root}: does not hold {layout}", f"give the folder of {name} (leukoscope data info {name})")


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder` by name, without hidden ones and what operating systems leave."""
    return [child for child in children_of(folder) if not is_litter(child.name) and child.is_dir()]


def children_of(folder: Path) -> list[Path]:
    """What lies in `folder`, by name. Raises DatasetError where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror or error})", "check who may read it") from error


def is_litter(name: str) -> bool:
    """Whether a name is hidden or left by an operating system: never data."""
    return name.startswith(".") or name.lower() in LITTER


def inspect_image(path: Path) -> tuple[tuple[int, int] | None, str]:
    """(width, height) in px and "", or None and why the file cannot be an image. Reads the header, decodes nothing."""
    from ..images.read import image_size

    if is_litter(path.name):
        return None, "a hidden or system file, not an image"
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return None, "not named as an image"
    try:
        return image_size(path), ""
    except ImageError as error:
        return None, error.reason


def list_images(folder: Path) -> tuple[dict[Path, tuple[int, int]], list[tuple[str, str]]]:
    """What lies directly in `folder`, by name: image -> (width, height), and (path, reason) of what is no image."""
    images, damaged = {}, []
    for path in children_of(folder):
        size, reason = (None, "a folder, not an image") if path.is_dir() else inspect_image(path)
        if size is None:
            damaged.append((str(path), reason))
        else:
            images[path] = size
    return images, damaged
