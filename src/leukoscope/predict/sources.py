"""The cells to predict: files, folders, globs, manifests, pages of a TIFF; listed once, in a fixed order.

Reads no pixels. Of a TIFF it counts the pages, and names those that are missing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import tifffile

from ..datasets.base import IMAGE_SUFFIXES
from ..errors import ImageError, LeukoscopeError
from ..images.headers import tiff_pages
from ..images.read import Pixels, read_cell, read_image
from ..manifest import BOX, read_manifest

TIFF = {".tif", ".tiff"}
TABLES = {".parquet", ".csv"}


@dataclass(frozen=True)
class Source:
    """One cell to predict: its `name` in the answer, the image file, the page of a TIFF of several (from 0), or the row
    of a manifest. missing: why the page is not in the file, or ""."""

    name: str
    image: str
    page: int | None = None
    row: tuple[tuple[str, Any], ...] = ()
    missing: str = ""

    def read(self) -> Pixels:
        """Raises ImageError."""
        if self.missing:
            raise ImageError(self.image, self.missing, "download or export the file again")
        return read_cell(dict(self.row)) if self.row else read_image(Path(self.image), page=self.page)


def list_sources(inputs: Sequence[str | Path]) -> list[Source]:
    """Every cell of the inputs, in their order; within folders and globs by name, each file once.

    Files are images, or manifests (.parquet, .csv) with a row a cell. Raises LeukoscopeError for an input that does not
    exist, or that holds no image.
    """
    sources: dict[tuple[str, int | None, tuple[Any, ...]], Source] = {}
    for given in inputs:
        empty = True
        for source in _listed(str(given)):
            sources.setdefault((source.image, source.page, source.row), source)
            empty = False
        if empty:
            raise LeukoscopeError(f"{given}: holds no image", f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return list(sources.values())


def digest_of(sources: Sequence[Source]) -> str:
    """A digest of the cells, in their order, and of the state of their files: it tells whether a stopped run can go on.
    """
    digest = hashlib.sha256()
    states: dict[str, str] = {}
    for source in sources:
        if source.image not in states:
            states[source.image] = os.path.abspath(source.image)
            try:
                state = os.stat(source.image)
                states[source.image] += f"\0{state.st_size}\0{state.st_mtime_ns}\0{state.st_ctime_ns}"
            except (OSError, ValueError):
                pass  # reading says what is wrong with it
        digest.update(os.fsencode(f"{source.name}\0{source.page}\0{source.row}\0{states[source.image]}\n"))
    return digest.hexdigest()


def _listed(given: str) -> Iterator[Source]:
    path = Path(given)
    if path.is_dir():
        for file in _below(path):
            yield from _pages(file)
    elif path.is_file() and path.suffix.lower() in TABLES:
        for row in read_manifest(path).iter_rows(named=True):
            box = tuple((name, row.get(name)) for name in ("cell_id", "image", *BOX))
            yield Source(str(row["cell_id"]), str(row["image"]), None, box)
    elif path.is_file():
        yield from _pages(path)
    elif has_magic(given):
        for file in map(Path, sorted(glob(given, recursive=True))):
            if not file.is_dir() and file.suffix.lower() in IMAGE_SUFFIXES:
                yield from _pages(file)
    else:
        raise LeukoscopeError(f"{given}: no such file or folder", "name images, folders, patterns or a manifest")


def _below(folder: Path) -> Iterator[Path]:
    """Images of a folder and its subfolders, by name, broken links too (reading names them), without hidden ones.
    LeukoscopeError for a folder that cannot be read."""
    def refuse(error: OSError) -> None:
        raise LeukoscopeError(f"{error.filename}: the folder cannot be read ({error.strerror})",
                              "grant read permission, or name folders that can be read")

    visited = set()
    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(where)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(files)
                    if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES)


def _pages(file: Path) -> Iterator[Source]:
    """The file, or each page of a TIFF of several, with those that are missing. Other damage is named when it is read.
    """
    pages, stated, broken = _count_pages(file) if file.suffix.lower() in TIFF else (1, 1, "")
    total = max(pages + bool(broken), stated)
    if total == 1:
        yield Source(str(file), str(file))
        return
    for page in range(total):
        missing = "" if page < pages else (
            f"page {page} is missing: the file should have {stated}, counted from 0" if stated > pages else
            f"page {page} and all after it are missing") + (f" ({broken})" if broken else "")
        yield Source(f"{file}#{page}", str(file), page, missing=missing)


def _count_pages(file: Path) -> tuple[int, int, str]:
    """(pages of the file, pages that it should have, what is wrong after the last); (1, 1, "") where that is unknown.
    """
    try:
        with open(file, "rb") as opened:
            pages, broken = tiff_pages(opened)
        with tifffile.TiffFile(file) as tiff:
            return pages, _stated(tiff), broken
    except Exception:  # of many classes; reading says what is wrong
        return 1, 1, ""


def _stated(tiff: tifffile.TiffFile) -> int:
    """How many pages a TIFF should have, by the description that ImageJ and tifffile write; else 1."""
    page = tiff.pages.first
    images = re.search(r"^images=(\d{1,6})$", page.description, re.MULTILINE)
    if images:
        return int(images[1])
    if not page.description.startswith('{"shape"'):
        return 1
    values, each = math.prod(json.loads(page.description)["shape"]), math.prod(page.shape)
    return values // each if each and values % each == 0 and values < 1_000_000 * each else 1
