"""What `leukoscope smear` wrote into a folder: read, checked, and nothing of it changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from ..errors import LeukoscopeError, first_line
from ..filenames import SUMMARY
from ..smear.summary import FieldSummary, SmearSummary
from ..tables import read_parquet
from ..text import plain
from .cells import Cells
from .folders import AGAIN, summary_of

CELLS = "cells.parquet"
_COLUMNS = {"field", "image", "number", "flag", "flag_reason", "x", "y", "width", "height", "centre_x", "centre_y",
            "cut", "damaged", "micrometres_per_pixel", "cell_diameter_um", "cell_diameter_px", "predicted", "unsure",
            "set", "known"}


@dataclass(frozen=True, eq=False)
class SmearResult:
    """A result of `smear`. cells: its table, in the order of the file; digest: of table and summary; written: seconds
    since 1970, when it was finished."""

    folder: Path
    summary: SmearSummary
    cells: pl.DataFrame
    digest: str
    written: float

    @property
    def name(self) -> str:
        """Whose smear it is; without a subject, the folder's name."""
        return plain(self.summary.subject or self.folder.resolve().name)

    @property
    def key(self) -> str:
        """The smear in an address: the same as long as the folder stays where it is."""
        return hashlib.sha256(str(self.folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:10]

    @property
    def classes(self) -> tuple[str, ...]:
        """What the machine could type; empty where it typed nothing."""
        return self.summary.bundle.classes if self.summary.bundle else ()

    @cached_property
    def found(self) -> Cells:
        """The cells that the machine found."""
        return Cells(self.cells, self.cells.height, self.classes)

    def fields_by_need(self) -> list[str]:
        """Names of the fields, in the order in which a gallery shows their cells first."""
        types, fields = self.cells["predicted"].to_list(), self.cells["field"].to_list()
        places = {name: place for place, name in enumerate(self.classes)}
        shown = sorted(self.found.order, key=lambda row: places.get(types[row] or "", 0))
        return list(dict.fromkeys([*(fields[row] for row in shown), *(one.name for one in self.summary.fields)]))

    def photograph(self, field: FieldSummary) -> tuple[Path, int | None] | None:
        """The file of a field and its page, or None if it has gone: where `smear` read it, else seen from the folder of
        the result and those around it."""
        for name, page in _parted(field.image):
            around = [self.folder, *self.folder.resolve().parents[:3]]
            for path in (Path(name), *(folder / name for folder in around if not Path(name).is_absolute())):
                if path.is_file() or (self.summary.slide is not None and path.is_dir()):
                    return path, page
        return None

    def missing(self) -> list[str]:
        """Names of the fields whose photographs have gone."""
        return [field.name for field in self.summary.fields if self.photograph(field) is None]


def _parted(image: str) -> list[tuple[str, int | None]]:
    """The file and page that the name of a photograph can mean."""
    name, mark, page = image.rpartition("#")
    return [(image, None), *([(name, int(page))] if mark and page.isdecimal() else [])]


def read_result(folder: Path) -> SmearResult:
    """The result in a folder. Raises LeukoscopeError where it is damaged, incomplete or of another version."""
    summary_of(folder)
    try:
        summary = SmearSummary.read(folder)
    except LeukoscopeError as error:
        raise LeukoscopeError(error.what, AGAIN) from error
    outside = next((field.name for field in summary.fields if Path(field.name).name != field.name), None)
    if outside is not None:
        raise LeukoscopeError(f"{folder / SUMMARY}: '{plain(outside, 60)}' is not the name of a field", AGAIN)
    path = folder / CELLS
    try:
        content, written = path.read_bytes(), (folder / SUMMARY).stat().st_mtime
        cells = read_parquet(content)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LeukoscopeError(f"{path}: cannot be read ({first_line(error)})", AGAIN) from error
    lacking = sorted(_COLUMNS - set(cells.columns))
    if lacking:
        raise LeukoscopeError(f"{path}: lacks the column '{lacking[0]}'", AGAIN)
    if cells.select("field", "number").is_duplicated().any():
        raise LeukoscopeError(f"{path}: two cells have the same field and number", AGAIN)
    return SmearResult(folder, summary, cells, digest_of(folder), written)


def digest_of(folder: Path) -> str:
    """SHA-256 of a result: its table of cells, then its summary. Raises LeukoscopeError where one cannot be read."""
    try:
        return hashlib.sha256((folder / CELLS).read_bytes() + (folder / SUMMARY).read_bytes()).hexdigest()
    except OSError as error:
        raise LeukoscopeError(f"{error.filename}: cannot be read ({error.strerror})", AGAIN) from error
