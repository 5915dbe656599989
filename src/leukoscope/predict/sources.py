"""What is to be predicted: files, folders, globs, manifests, pages of a TIFF; listed once, in a fixed order.

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

import numpy as np
import tifffile

from ..datasets.base import IMAGE_SUFFIXES
from ..errors import ImageError, LeukoscopeError
from ..images.headers import tiff_pages
from ..images.read import read_cell, read_image
from ..manifest import read_manifest

TIFF = {".tif", ".tiff"}
TABLES = {".parquet", ".csv"}


@dataclass(frozen=True)
class Source:
    """One cell to be predicted: `name` in the answer, the image file, the page of a TIFF of several (from 0), or the
    row of a manifest. missing: why the page is not in the file, or ""."""

    name: str
    image: str
    page: int | None = None
    row: tuple[tuple[str, Any], ...] = ()
    missing: str = ""

    def read(self) -> np.ndarray:
        """uint8 (h, w, 3). Raises ImageError."""
        if self.missing:
            raise ImageError(self.image, self.missing, "fetch or export the file anew")
        if self.row:
            return read_cell(dict(self.row))
        return read_image(Path(self.image), page=self.page)


def list_sources(inputs: Sequence[str | Path]) -> list[Source]:
    """Every cell of the inputs, in their order; within folders and globs by name, each file once.

    Files are images, or manifests (.parquet, .csv) with a row a cell. Raises LeukoscopeError for an input that is not
    there, or that holds no image.
    """
    found: dict[tuple[str, int | None, tuple[Any, ...]], Source] = {}
    for given in inputs:
        before = len(found)
        for source in _listed(str(given)):
            found.setdefault((source.image, source.page, source.row), source)
        if len(found) == before and not any(True for _ in _listed(str(given))):
            raise LeukoscopeError(f"{given}: holds no image", f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return list(found.values())


def digest_of(sources: Sequence[Source]) -> str:
    """A digest of what is to be predicted, in its order, and of the state of the files: to know it again when a stopped
    run goes on."""
    digest = hashlib.sha256()
    states: dict[str, str] = {}
    for source in sources:
        if source.image not in states:
            states[source.image] = _state(source.image)
        digest.update(os.fsencode(f"{source.name}\0{source.page}\0{source.row}\0{states[source.image]}\n"))
    return digest.hexdigest()


def _state(image: str) -> str:
    try:
        found = os.stat(image)
    except (OSError, ValueError):
        return os.path.abspath(image)
    return f"{os.path.abspath(image)}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}"


def _listed(given: str) -> Iterator[Source]:
    path = Path(given)
    if path.is_dir():
        for file in _below(path):
            yield from _pages(file)
    elif path.is_file() and path.suffix.lower() in TABLES:
        for row in read_manifest(path).iter_rows(named=True):
            kept = {name: row.get(name) for name in ("cell_id", "image", "x", "y", "width", "height")}
            yield Source(str(row["cell_id"]), str(row["image"]), None, tuple(kept.items()))
    elif path.is_file():
        yield from _pages(path)
    elif has_magic(given):
        for file in sorted(glob(given, recursive=True)):
            if not Path(file).is_dir() and Path(file).suffix.lower() in IMAGE_SUFFIXES:
                yield from _pages(Path(file))
    else:
        raise LeukoscopeError(f"{given}: no such file or folder", "name images, folders, patterns or a manifest")


def _below(folder: Path) -> Iterator[Path]:
    """Images of a folder and those below, by name, broken links among them (reading names them); hidden ones are left
    out. LeukoscopeError for a folder that may not be read."""
    def refuse(error: OSError) -> None:
        raise LeukoscopeError(f"{error.filename}: the folder cannot be read ({error.strerror})",
                              "give it to be read, or name the folders that can be")

    seen = set()
    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(files)
                    if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES)


def _pages(file: Path) -> Iterator[Source]:
    """The file, or each page of a TIFF that has several, those among them that are missing. What else is damaged is
    left for reading to name."""
    there, stated, broken = _count_pages(file) if file.suffix.lower() in TIFF else (1, 1, "")
    wanted = max(there + bool(broken), stated)
    if wanted == 1:
        yield Source(str(file), str(file))
        return
    yield from (Source(f"{file}#{page}", str(file), page) for page in range(there))
    for page in range(there, wanted):
        said = (f"page {page} is missing: {stated} are said to be there, counted from 0" if stated > there else
                f"page {page} and all after it are missing")
        missing = said + (f" ({broken})" if broken else "")
        yield Source(f"{file}#{page}", str(file), page, missing=missing)


def _count_pages(file: Path) -> tuple[int, int, str]:
    """(pages that are there, pages that the file says it has, what is wrong after the last); one of one where nothing
    can be said."""
    try:
        with open(file, "rb") as opened:
            there, broken = tiff_pages(opened)
        with tifffile.TiffFile(file) as tiff:
            return there, _stated(tiff), broken
    except Exception:  # of many classes; reading says what is wrong
        return 1, 1, ""


def _stated(tiff: tifffile.TiffFile) -> int:
    """How many pages a TIFF says that it has, by the description that ImageJ and tifffile write; else 1."""
    page = tiff.pages.first
    images = re.search(r"^images=(\d{1,6})$", page.description, re.MULTILINE)
    if images:
        return int(images[1])
    if not page.description.startswith('{"shape"'):
        return 1
    values, each = math.prod(json.loads(page.description)["shape"]), math.prod(page.shape)
    return values // each if each and values % each == 0 and values < 1_000_000 * each else 1
