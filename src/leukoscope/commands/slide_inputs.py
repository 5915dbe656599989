"""Which slides are counted, and whose they are: a slide, a folder, a list (.txt) or a table (.csv, .parquet)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import polars as pl

from ..datasets.base import IMAGE_SUFFIXES, is_litter
from ..errors import LeukoscopeError
from ..filenames import SCANNERS, SLIDE_LIST, TABLES, UNREAD_SLIDES
from ..predict.sources import LeftOut
from ..slides.door import dicom_slides, is_slide, open_slide
from ..tables import UnreadableTable, read_any_csv, read_parquet
from ..text import plain
from .slide_list import is_list, listed_path, no_slide, read_list
from .smear_folder import PARTITIONS, written_in
from .smear_inputs import unique_names

SLIDE, SUBJECT = "slide", "subject"
"""Columns of a table of slides."""
_COMPANIONS = (".mrxs", ".vms", ".vmu")  # their pixels lie in further files beside them


@dataclass(frozen=True)
class SlideInput:
    """A slide, whose it is, and the folder for its results."""

    path: Path
    subject: str
    folder: str


@dataclass(frozen=True)
class Slides:
    """The slides of an archive, and what else lies there."""

    slides: tuple[SlideInput, ...]
    left_out: tuple[LeftOut, ...]


def are_slides(inputs: Sequence[str]) -> bool:
    """Whether a call is about slides, and not about photographs of fields."""
    return any(map(_is_about_slides, _matched(inputs)))


def check_named_slides(inputs: Sequence[str]) -> None:
    """Raise ImageError for a file that is named as a slide and is none that is read, before it is taken for a
    photograph."""
    for path in _matched(inputs):
        if path.suffix.lower() in (*SCANNERS, *UNREAD_SLIDES) and path.is_file() and not is_slide(path):
            open_slide(path).close()


def is_archive(inputs: Sequence[str]) -> bool:
    """Whether there may be several slides, so that each gets a folder of its own."""
    return len(inputs) > 1 or not is_slide(inputs[0])


def _matched(inputs: Sequence[str]) -> list[Path]:
    """The inputs, with what patterns match."""
    paths: list[Path] = []
    for given in inputs:
        pattern = has_magic(given) and not Path(given).exists()
        paths += map(Path, sorted(glob(given, recursive=True)) if pattern else [given])
    return paths


def one_slide(given: str, subject: str) -> SlideInput:
    """The only slide of a call."""
    return SlideInput(Path(given), subject, "")


def slides_of(inputs: Sequence[str], out: Path) -> Slides:
    """The slides of all inputs, in their order, each once. Raises LeukoscopeError where there is none, where one of a
    list is missing or has two subjects, and where two cannot be told by their names."""
    found: dict[Path, tuple[Path, str]] = {}
    left_out: list[LeftOut] = []
    for given in _matched(inputs):
        for path, subject in _slides_in(given, out.resolve(), left_out):
            known = found.setdefault(path.resolve(), (path, subject))[1]
            if known and subject and known != subject:
                raise LeukoscopeError(f"{given}: {path} has two subjects, {known} and {subject}", "correct the table")
            found[path.resolve()] = path, known or subject
    if not found:
        raise no_slide(inputs[0])
    paths = [path for path, _ in found.values()]
    names = _names(paths)
    folders = unique_names([name.replace("/", "_").lstrip(".") or "slide" for name in names],
                           {"index", "subjects", PARTITIONS})
    return Slides(tuple(SlideInput(path, subject or name, folder) for (path, subject), name, folder in zip(
        found.values(), names, folders, strict=True)), tuple(left_out))


def _is_about_slides(path: Path) -> bool:
    if is_list(path):
        return True
    if path.suffix.lower() in TABLES and path.is_file():
        return SLIDE in _columns(path)
    if path.is_dir() and not is_slide(path):
        files = list(_walk(path, None))
        slides = [one for one in files if one.is_dir() or one.suffix.lower() in (*SCANNERS, *IMAGE_SUFFIXES)]
        # A folder with photographs is one of photographs, in which slides are named and left out.
        return bool(slides) and all(map(is_slide, slides))
    return is_slide(path)


def _slides_in(given: Path, out: Path, left_out: list[LeftOut]) -> Iterator[tuple[Path, str]]:
    """Slides with their subject, "" where it is not stated."""
    if given.suffix.lower() in (SLIDE_LIST, *TABLES) and given.is_file():
        rows = [(name, "") for name in read_list(given)] if is_list(given) else _rows(given)
        for number, (name, subject) in enumerate(rows, start=1):
            yield listed_path(given, number, name), subject
    elif is_slide(given):
        yield given, ""
    elif given.is_dir():
        for path in _walk(given, out):
            if is_slide(path):
                yield path, ""
            elif not path.is_dir() and path.name not in written_in(path.parent):
                left_out.append(LeftOut(str(path), _why_not(path)))
    elif given.exists():
        left_out.append(LeftOut(str(given), _why_not(given)))
    else:
        raise LeukoscopeError(f"{given}: no such file or folder", "name slides, folders, a list or a table")


def _why_not(path: Path) -> str:
    if path.suffix.lower() in UNREAD_SLIDES:
        return "is a slide of a kind that is not read (export it as OME-TIFF or SVS)"
    return "is no slide"


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """Files below a folder by name, and folders that are DICOM slides; without those that are hidden, results, or hold
    the pixels of a slide beside them. Of a DICOM slide among other files, one of its levels."""
    for where, folders, files in os.walk(folder):
        here = Path(where)
        beside = {Path(name).stem for name in files if name.lower().endswith(_COMPANIONS)}
        folders[:] = sorted(name for name in folders if not is_litter(name) and name not in beside
                            and (out is None or (here / name).resolve() != out))
        for name in list(folders):
            if is_slide(here / name):
                folders.remove(name)
                yield here / name
        further = {path for slide in dicom_slides(here) for path in slide[1:]}
        yield from (here / name for name in sorted(files) if not is_litter(name) and here / name not in further)


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each slide: its file's, where needed with the ending or the folder."""
    for name_of in (lambda path: path.stem, lambda path: path.name, lambda path: f"{path.parent.name}/{path.name}"):
        names = [plain(name_of(path)) for path in paths]
        if len({name.lower() for name in names}) == len(names):
            return names
    double = next(name for name in names if [one.lower() for one in names].count(name.lower()) > 1)
    raise LeukoscopeError(f"{double}: two slides have this name and folder, and their results cannot be distinguished",
                          "rename one of them")


def _columns(path: Path) -> list[str]:
    try:
        return _table(path).columns
    except LeukoscopeError:
        return []


def _rows(path: Path) -> list[tuple[str, str]]:
    table = _table(path)
    if SLIDE not in table.columns:
        raise LeukoscopeError(f"{path}: has no column '{SLIDE}'", f"name the column of files '{SLIDE}', and that of "
                              f"patients '{SUBJECT}'")
    if SUBJECT not in table.columns:
        table = table.with_columns(pl.lit("").alias(SUBJECT))
    return list(table.select(pl.col(SLIDE, SUBJECT).cast(pl.String).fill_null("")).iter_rows())


def _table(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return read_parquet(path)
        return read_any_csv(path, {SLIDE, SUBJECT})[0]
    except (UnreadableTable, pl.exceptions.PolarsError, OSError) as error:
        raise LeukoscopeError(f"{path}: not a readable table ({error})", "save it as CSV in UTF-8") from error
