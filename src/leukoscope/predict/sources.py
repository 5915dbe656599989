"""The cells to predict: files, folders, globs, manifests, fields of a TIFF; listed once, in a fixed order, with what is
left out.

Reads pixels only where a TIFF of several pages does not say what they are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from ..datasets.base import HIDDEN, IMAGE_SUFFIXES, NOT_READ, is_hidden_image, is_litter
from ..errors import ImageError, LeukoscopeError
from ..filenames import TABLES
from ..images.read import Page, Pixels, read_cell, read_image
from ..images.stacks import TiffFields, fields_of_tiff, is_tiff
from ..manifest import BOX, read_manifest
from ..text import grouped

MISSING = 20
"""Missing pages of a TIFF that are named one by one."""


@dataclass(frozen=True)
class Source:
    """One cell to predict: its `name` in the answer, the image file, the page of a TIFF of several (from 0), or the row
    of a manifest. missing: why the page cannot be read, or "". channels: the pages with red, green and blue, where each
    has its own. note: what a reader must know of how the page was chosen, or ""."""

    name: str
    image: str
    page: int | None = None
    row: tuple[tuple[str, object], ...] = ()
    missing: str = ""
    channels: tuple[int, ...] = ()
    note: str = ""

    @property
    def pages(self) -> Page | None:
        """The page, or pages, as `read_image` takes them."""
        return self.channels or self.page

    def read(self) -> Pixels:
        """Raises ImageError."""
        if self.missing:
            raise ImageError(self.image, self.missing, "download or export the file again")
        return read_cell(dict(self.row)) if self.row else read_image(Path(self.image), page=self.pages)


@dataclass(frozen=True)
class LeftOut:
    """A file, or pages of one, that lies in the input and is in no result, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Listed:
    """The cells of the inputs, and what else lies there."""

    sources: list[Source]
    left_out: list[LeftOut]


def look_through(inputs: Sequence[str | Path]) -> Listed:
    """Every cell of the inputs, in their order; within folders and globs by name, each file once; and what is left out.

    Files are images, or manifests (.parquet, .csv) with one row for each cell. Raises LeukoscopeError for an input
    that does not exist, or that holds no image.
    """
    sources: dict[tuple[str, int | None, tuple[tuple[str, object], ...]], Source] = {}
    left_out: list[LeftOut] = []
    for given in inputs:
        before, empty = len(left_out), True
        for source in _listed(str(given), left_out):
            sources.setdefault((source.image, source.page, source.row), source)
            empty = False
        if empty:
            others = "; ".join(grouped((Path(one.name).name, one.reason) for one in left_out[before:]))
            raise LeukoscopeError(f"{given}: holds no image{f' ({others})' if others else ''}",
                                  f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return Listed(list(sources.values()), list(dict.fromkeys(left_out)))


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
        digest.update(os.fsencode(f"{source.name}\0{source.pages}\0{source.row}\0{states[source.image]}\n"))
    return digest.hexdigest()


def _listed(given: str, left_out: list[LeftOut]) -> Iterator[Source]:
    path = Path(given)
    if path.is_dir():
        for file in _below(path):
            yield from _in_folder(file, left_out)
    elif path.is_file() and path.suffix.lower() in TABLES:
        for row in read_manifest(path).iter_rows(named=True):
            box = tuple((name, row.get(name)) for name in ("cell_id", "image", *BOX))
            yield Source(str(row["cell_id"]), str(row["image"]), None, box)
    elif path.is_file():
        yield from _pages(path, left_out)
    elif has_magic(given):
        for file in map(Path, sorted(glob(given, recursive=True))):
            if not file.is_dir():
                yield from _in_folder(file, left_out)
    else:
        raise LeukoscopeError(f"{given}: no such file or folder", "name images, folders, patterns or a manifest")


def _in_folder(file: Path, left_out: list[LeftOut]) -> Iterator[Source]:
    """The cells of a file of a folder or pattern: only those are taken whose name ends as that of an image."""
    suffix = file.suffix.lower()
    if is_hidden_image(file.name):
        left_out.append(LeftOut(str(file), HIDDEN))
        return
    if suffix in IMAGE_SUFFIXES:
        yield from _pages(file, left_out)
        return
    kind = f"a {suffix} file" if suffix else "a file without an ending"
    reason = "is a table (name it by itself)" if suffix in TABLES else NOT_READ.get(suffix, f"is {kind}, not an image")
    left_out.append(LeftOut(str(file), reason))


def _below(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders, by name, broken links and hidden images too, without what else is hidden or
    the system's. LeukoscopeError for a folder that cannot be read."""
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
        folders[:] = sorted(name for name in folders if not is_litter(name))
        yield from (Path(where, name) for name in sorted(files) if not is_litter(name) or is_hidden_image(name))


def _pages(file: Path, left_out: list[LeftOut]) -> Iterator[Source]:
    """The file, or each field of a TIFF of several pages, with the pages that are missing. Other damage is named when
    it is read."""
    tiff = None
    if is_tiff(file):
        try:
            tiff = fields_of_tiff(file)
        except Exception:  # of many classes; reading says what is wrong
            tiff = None
    if tiff is None or not tiff.fields:
        yield Source(str(file), str(file))
        return
    reasons: dict[str, list[int]] = {}
    for page, why in sorted(tiff.left_out.items()):
        reasons.setdefault(why, []).append(page)
    left_out += [LeftOut(str(file), f"{'pages' if len(pages) > 1 else 'page'} {', '.join(map(str, pages[:6]))}"
                                    f"{', ...' * (len(pages) > 6)} (counted from 0): {why}")
                 for why, pages in reasons.items()]
    alone = len(tiff.fields) == 1 and tiff.total <= tiff.pages
    for field in tiff.fields:
        name = str(file) if alone else f"{file}#{field.page or 0}"
        page = field.page if alone else field.page or 0
        yield Source(name, str(file), page, missing=field.refused, channels=field.channels, note=field.note)
    yield from _missing(file, tiff)


def _missing(file: Path, tiff: TiffFields) -> Iterator[Source]:
    """The pages that a file should have and has not: the first MISSING each by itself, the others together."""
    broken = f" ({tiff.broken})" if tiff.broken else ""
    stated = tiff.stated > tiff.pages
    for page in range(tiff.pages, min(tiff.total, tiff.pages + MISSING)):
        why = f"page {page} is missing: the file should have {tiff.total:,}, counted from 0" if stated else (
            f"page {page} and all after it are missing")
        yield Source(f"{file}#{page}", str(file), page, missing=why + broken)
    rest = tiff.pages + MISSING
    if tiff.total > rest:
        why = f"pages {rest} to {tiff.total - 1:,} are missing: the file should have {tiff.total:,}, counted from 0"
        yield Source(f"{file}#{rest}", str(file), rest, missing=why + broken)
