"""What every data set states about itself, and what indexing one returns.

A data set is one file beside this one. It knows its layout, licence, expected counts, labels and subjects. It reads
image headers only, and never downloads: `download.py` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ..errors import DatasetError, ImageError
from ..text import is_text

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
ARCHIVES = (".zip", ".tar", ".gz", ".7z", ".rar")
_KINDS = {
    "JPEG 2000 (save it as TIFF or PNG)": (".jp2", ".j2k", ".jpf", ".jpx"),
    "a scan of a slide (export its fields as TIFF or PNG)": (
        ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vsi", ".czi", ".lif", ".nd2", ".dcm", ".isyntax"),
    "raw data of a camera (save it as TIFF or PNG)": (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
    "an image of a kind that is not read (save it as TIFF or PNG)": (
        ".avif", ".jxl", ".psd", ".pdf", ".eps", ".svg", ".ico", ".tga", ".ppm", ".pgm", ".pnm", ".exr", ".jfif",
        ".jpe"),
    "an archive (unpack it)": ARCHIVES, "a film (save its frames as images)": (".mp4", ".avi", ".mov", ".mkv")}
NOT_READ = {suffix: f"is {kind}" for kind, suffixes in _KINDS.items() for suffix in suffixes}
"""Suffix of files that hold pictures and are not read -> why they are left out."""
HIDDEN = "is hidden (its name begins with a dot)"
LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Names, in lower case, that operating systems leave in folders of images."""


@dataclass(frozen=True)
class Download:
    """One published file: its address, its length in bytes, its checksum (`"sha256:<hex>"` or `"md5:<hex>"`).

    An `optional` file is downloaded only when it is named.
    """

    url: str
    filename: str
    bytes: int | None = None
    checksum: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class Index:
    """The result of indexing a folder.

    manifest: the cells, one row each.
    expected: cells of each label in the whole published set, in this view; empty where this is not known.
    missing: files or parts that the set should have and this folder does not have; the list is complete.
    damaged: (path, reason) of files that exist and cannot be used.
    notes: what a user should know: duplicates merged into a group, boxes clipped, names corrected.
    """

    manifest: pl.DataFrame
    expected: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> dict[str, int]:
        """Number of cells of each label, in alphabetical order; cells without a label are counted under ''."""
        counts = self.manifest.group_by(pl.col("label").fill_null("")).len().sort("label")
        return dict(counts.iter_rows())


Indexer = Callable[..., Index]
"""`index(root: Path, view: str, **options) -> Index`; `options` are those that `Dataset.options` names."""


@dataclass(frozen=True)
class Dataset:
    """A data set, or a general layout, that `leukoscope data` can list, get and index.

    views: name -> description; the first is the default. A view chooses labels (classes) or parts, never pixels.
    subject_rule: one sentence: how subject and group are known.
    downloads: files that a program can download; empty where a request or a login is needed, as `obtain` explains.
    options: name -> help, for what only this layout needs (column names, lists of classes).
    leukocytes: the set's own name of a type -> subtype in the view `leukocytes` (leukocytes.py); empty without it.
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
    leukocytes: Mapping[str, str] = field(default_factory=dict)

    @property
    def default_view(self) -> str:
        return next(iter(self.views))


def general_layout(name: str, title: str, views: Mapping[str, str], index: Indexer, options: Mapping[str, str], *,
                   homepage: str = "", obtain: str = "use a folder of your own",
                   subject_rule: str = "each image is one group, unless the option pattern names subject or group in "
                                       "the file names") -> Dataset:
    """A layout for the user's own images: without citation, and with the licence of the images."""
    return Dataset(name, title, "that of the images", "", homepage, obtain, subject_rule, views, index, options=options)


def check_root(root: Path, name: str, layout: str) -> None:
    """Raise DatasetError unless `root` is a folder; `layout` says in a few words what it should contain."""
    if not is_text(str(root.absolute())):
        raise DatasetError(f"{root.absolute()}: this name is not UTF-8, so that no table can hold the paths of its "
                           "images", "rename the folder")
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise DatasetError(f"{root}: {what}", f"name a folder that contains {layout}")


def check_choice(view: str, views: Iterable[str], options: Iterable[str] = (), known: Iterable[str] = ()) -> None:
    """Raise DatasetError for a view or an option that the data set does not have."""
    if view not in views:
        raise DatasetError(f"there is no view '{view}'", f"the views are: {', '.join(views)}")
    for name in options:
        if name not in known:
            raise DatasetError(f"there is no option '{name}'", f"the options are: {', '.join(known) or 'none'}")


def find_folder(root: Path, holds: Callable[[Path], bool], name: str, layout: str, *, depth: int = 3) -> Path:
    """The folder for which `holds` is true: `root`, or the first one below it, at most `depth` levels down.

    Archives unpack into one or two folders, and a user may give any of them. Raises DatasetError where there is no
    such folder, or where two are at the same level.
    """
    check_root(root, name, layout)
    level = [root]
    for _ in range(depth + 1):
        fitting = [folder for folder in level if holds(folder)]
        if len(fitting) > 1:
            raise DatasetError(f"{root}: both {fitting[0].name} and {fitting[1].name} contain {layout}",
                               "give one of them")
        if fitting:
            return fitting[0]
        level = [child for folder in level for child in subfolders(folder)]
    raise DatasetError(f"{root}: does not contain {layout}", f"give the folder of {name} (leukoscope data info {name})")


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder` by name, without hidden and system folders."""
    return [child for child in children_of(folder) if not is_litter(child.name) and child.is_dir()]


def children_of(folder: Path) -> list[Path]:
    """Files and folders in `folder`, by name. Raises DatasetError where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror or error})", "grant read permission") from error


def is_litter(name: str) -> bool:
    """Whether a name is hidden or made by an operating system: never data."""
    return name.startswith(".") or name.lower() in LITTER


def is_hidden_image(name: str) -> bool:
    """Whether a name is that of an image that somebody has hidden: not what macOS writes beside an image."""
    return name.startswith(".") and not name.startswith("._") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def inspect_image(path: Path) -> tuple[tuple[int, int] | None, str]:
    """(width, height) in px and "", or None and why the file cannot be an image. Reads the header only."""
    from ..images.read import image_size

    if is_litter(path.name):
        return None, "a hidden or system file, not an image"
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return None, "the name does not end as that of an image"
    try:
        return image_size(path), ""
    except ImageError as error:
        return None, error.reason


def list_images(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The files directly in `folder`, by name: images, and (path, reason) of everything else."""
    images, damaged = [], []
    for path in children_of(folder):
        size, reason = (None, "a folder, not an image") if path.is_dir() else inspect_image(path)
        if size is None:
            damaged.append((str(path), reason))
        else:
            images.append(path)
    return images, damaged
