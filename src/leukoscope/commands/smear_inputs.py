"""Which photographs are the fields of a smear, and whose smear it is, from the paths that a user names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets.base import IMAGE_SUFFIXES, is_litter
from ..errors import LeukoscopeError
from ..filenames import SUMMARY, TABLES
from ..predict.sources import LeftOut, Listed, Source, look_through
from ..text import plain
from .smear_folder import written_in

LONGEST = 180
"""Bytes of a file's name: file systems hold 255, and writers add to it."""


@dataclass(frozen=True)
class Subject:
    """Whose smear it is, the folder for its results, its fields and what else lies with them."""

    name: str
    folder: str
    fields: Listed


def fields_of(inputs: Sequence[str | Path], out: Path) -> Listed:
    """The fields, without pictures that earlier calls have written, into `out` or elsewhere, and what else lies in the
    inputs. Raises LeukoscopeError where no field is left, and for inputs that are no photographs."""
    own = out.resolve()
    listed = look_through(inputs)
    sources = [source for source in listed.sources if not Path(source.image).resolve().is_relative_to(own)]
    tables = [given for given in inputs if Path(given).suffix.lower() in TABLES]
    if tables:
        raise LeukoscopeError(f"{tables[0]}: is a table of cells, not a field", "give photographs of a smear")
    if not sources or any(Path(given).is_file() and Path(given).resolve().is_relative_to(own) for given in inputs):
        raise LeukoscopeError(f"{out}: the photographs are in the folder for the results",
                              "name another folder with -o")
    written = {folder: written_in(folder) for folder in {Path(source.image).parent for source in sources}}
    photographs = [source for source in sources if Path(source.image).name not in written[Path(source.image).parent]]
    if not photographs:
        raise LeukoscopeError(f"{sources[0].image}: was written by an earlier call", "give the photographs themselves")
    earlier = [LeftOut(source.image, "was written by an earlier call") for source in sources
               if Path(source.image).name in written[Path(source.image).parent]]
    return Listed(photographs, [*(one for one in listed.left_out if not _is_result(Path(one.name), own)), *earlier])


def _is_result(path: Path, out: Path) -> bool:
    """Whether it lies in the folder for the results, or an earlier call has written it beside its pictures."""
    return path.resolve().is_relative_to(out) or path.name in {SUMMARY, *written_in(path.parent)}


def beside_subjects(inputs: Sequence[str | Path], subjects: Sequence[Subject], out: Path) -> list[LeftOut]:
    """What lies in the inputs and belongs to no subject: files beside their folders, and folders without an image."""
    left_out = []
    folders = {Path(source.image).resolve() for each in subjects for source in each.fields.sources}
    for given in map(Path, inputs):
        if any(path.parent == given.resolve() for path in folders):
            continue  # a subject itself: what lies in it is named with it
        for path in sorted(given.iterdir()):
            if is_litter(path.name) or path.resolve() == out.resolve() or _is_result(path, out.resolve()):
                continue
            if path.is_dir() and not any(source.is_relative_to(path.resolve()) for source in folders):
                left_out.append(LeftOut(str(path), "is a folder without a photograph"))
            elif path.is_file():
                left_out.append(LeftOut(str(path), "lies beside the folders of the subjects"))
    return left_out


def subjects_of(inputs: Sequence[str | Path], out: Path) -> list[Subject]:
    """The subjects, by their folders; in the order of the inputs, then by name. Raises LeukoscopeError where folders do
    not say who the subjects are."""
    folders: list[Path] = []
    for given in map(Path, inputs):
        if not given.is_dir():
            raise LeukoscopeError(f"{given}: --by-folder takes folders, one for each subject", "name folders")
        below = [path for path in sorted(given.iterdir()) if path.is_dir() and not path.name.startswith(".")
                 and path.resolve() != out.resolve() and _holds_photograph(path)]
        beside = [path for path in sorted(given.iterdir()) if _is_image(path)]
        if below and beside:
            raise LeukoscopeError(f"{given}: {beside[0].name} lies beside folders of subjects, so its subject is "
                                  "unknown", "move it into one of them, or name the folders one by one")
        folders += [path for path in below or [given] if path.resolve() not in {one.resolve() for one in folders}]
    names = [plain(folder.resolve().name) for folder in folders]
    names = [name if names.count(name) == 1 else f"{plain(folder.resolve().parent.name)}/{name}"
             for name, folder in zip(names, folders, strict=True)]
    duplicate = next((name for name in names if names.count(name) > 1), "")
    if duplicate:
        raise LeukoscopeError(f"{duplicate}: two folders have this name, and each must be one subject",
                              "rename one of them")
    safe = unique_names([name.lstrip(".").replace("/", "_") or "subject" for name in names], {"index", "subjects"})
    return [Subject(name, plain_folder, fields_of([folder], out))
            for name, plain_folder, folder in zip(names, safe, folders, strict=True)]


def file_names(sources: Sequence[Source]) -> list[str]:
    """A name for the files of each field: that of the image, and its page where the image holds several fields."""
    pages = ["" if source.page is None or source.name == source.image else f"_{source.page}" for source in sources]
    stems = [plain(Path(source.image).stem).lstrip(".").replace("/", "_") for source in sources]
    return unique_names([f"{stem}{page}" for stem, page in zip(stems, pages, strict=True)],
                        {"summary", "cells", "smear"})


def unique_names(stems: Sequence[str], taken: set[str]) -> list[str]:
    """A name for each, not among `taken` (in lower case) and no two alike: with a number where needed. Very long ones
    are cut."""
    names, taken = [], set(taken)
    for whole in stems:
        stem = whole.encode("utf-8", "surrogateescape")[:LONGEST].decode("utf-8", "ignore")
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _holds_photograph(folder: Path) -> bool:
    """Whether it or a folder below has an image that no earlier call has written."""
    for where, _, files in os.walk(folder):
        images = {name for name in files if _is_image(Path(where, name))}
        if images and images - written_in(Path(where)):
            return True
    return False
