"""Files and names, for all layouts: walk folders, make stable ids, read parts of names, find the image of a name.

Knows no data set and opens no image.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from ..errors import DatasetError
from .base import ARCHIVES, HIDDEN, IMAGE_SUFFIXES, NOT_READ, is_hidden_image, is_litter

SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
          "validation": "validation", "test": "test", "testing": "test"}
"""Name of a folder or file, in lower case -> value of the column `split`."""

_TEXTS = frozenset({".csv", ".htm", ".html", ".json", ".md", ".parquet", ".txt", ".xml", ".yaml", ".yml"})
"""Suffixes of files of which data sets have very many; they are not opened to see whether they hold an image."""
MOST_BYTES = 64 * 2**20
"""Of a text file of labels."""
NAME_PARTS = ("subject", "group", "split", "field")
PATTERN_HELP = ("regular expression, searched in each image's path below the folder, with named groups "
                "subject, group, split or field, such as (?P<subject>P\\d+)_")


def files_below(root: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Files below `root` with one of the suffixes (in upper or lower case), sorted.

    Hidden and system files are left out. Links are followed, but each folder is read once, and links to folders above
    `root` are not followed, so that a loop of links ends. Raises DatasetError for a folder that cannot be read and for
    a name that is not UTF-8, which no manifest can store.
    """
    done = {_identity(folder) for folder in root.resolve().parents}
    files: list[Path] = []
    folders, links = [root], []
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            identity, entries = _identity(folder), _entries(folder)
        except FileNotFoundError:  # it was removed since its name was read
            continue
        if identity in done:
            continue
        done.add(identity)
        for entry in entries:
            if is_litter(entry.name):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself
                is_folder = False
            if is_folder:
                (links if entry.is_symlink() else folders).append(Path(entry.path))
            elif Path(entry.name).suffix.lower() in suffixes and _may_be_read(entry):
                files.append(Path(entry.path))
    return sorted(files)


def left_out_below(root: Path) -> list[tuple[str, str]]:
    """Files below `root` that hold pictures and are not read, or are hidden, and why. Archives are named only where
    they lie among the images: those that a set was unpacked from lie beside its folders."""
    files, done = [], {_identity(folder) for folder in root.resolve().parents}
    for where, folders, names in os.walk(root, followlinks=True):
        try:
            identity = _identity(Path(where))
        except FileNotFoundError:  # it was removed since its name was read
            continue
        if identity in done:  # a link that leads back
            folders.clear()
            continue
        done.add(identity)
        folders[:] = sorted(name for name in folders if not is_litter(name))
        for name in sorted(names):
            reason = _left_out(Path(where, name), at_top=where == str(root))
            files += [(os.path.join(where, name), reason)] if reason else []
    return files


def _left_out(path: Path, *, at_top: bool) -> str:
    """Why a file that may hold a picture is not read, or ""."""
    suffix = path.suffix.lower()
    if is_hidden_image(path.name):
        return HIDDEN
    if is_litter(path.name) or (suffix in ARCHIVES and at_top):
        return ""
    return NOT_READ.get(suffix) or ("" if suffix in _TEXTS else _misnamed(path, suffix))


def _misnamed(path: Path, suffix: str) -> str:
    """Why a file is not read that is no file, or holds an image under another name; or ""."""
    from ..images.headers import is_image  # late: a folder without such files needs no library

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "is not a regular file" if suffix in IMAGE_SUFFIXES else ""
        if suffix in IMAGE_SUFFIXES:
            return ""
        with open(path, "rb") as file:
            return "is an image whose name does not end as one (rename it)" if is_image(file.read(18)) else ""
    except OSError:  # a broken link with the name of an image is a damaged cell
        return ""


def cell_ids(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """A stable id for each file: its path below `root` without the suffix, or with it where two files would have the
    same id."""
    full = {path: path.relative_to(root).as_posix() for path in paths}
    short = {path: path.relative_to(root).with_suffix("").as_posix() for path in paths}
    count = Counter(short.values())
    ids = {path: short[path] if count[short[path]] == 1 else full[path] for path in paths}
    return ids if len(set(ids.values())) == len(ids) else full


def split_of(path: Path, root: Path) -> str | None:
    """The split that a folder between `root` and the file is called by (`train`, `val2017`), the innermost first."""
    names = (re.sub(r"\d{4}$", "", part.lower()) for part in reversed(path.relative_to(root).parts[:-1]))
    return next((SPLITS[name] for name in names if name in SPLITS), None)


def name_parts(pattern: str, paths: Sequence[Path], root: Path) -> dict[Path, dict[str, str]]:
    """What the option `pattern` reads in each path below `root`; nothing if it is empty.

    Raises DatasetError for a wrong pattern, and for one that matches no path.
    """
    if not pattern:
        return {path: {} for path in paths}
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"option pattern: '{pattern}' is not a regular expression ({error})",
                           PATTERN_HELP) from error
    wrong = [name for name in compiled.groupindex if name not in NAME_PARTS]
    if wrong or not compiled.groupindex:
        got = f"the group '{wrong[0]}'" if wrong else "no named group"
        raise DatasetError(f"option pattern: '{pattern}' has {got}", PATTERN_HELP)
    parts: dict[Path, dict[str, str]] = {}
    for path in paths:
        match = compiled.search(path.relative_to(root).as_posix())
        parts[path] = {name: part for name, part in match.groupdict().items() if part} if match else {}
    if paths and not any(parts.values()):
        raise DatasetError(f"option pattern: '{pattern}' matches no name, for example "
                           f"'{paths[0].relative_to(root).as_posix()}'", PATTERN_HELP)
    return parts


def whole_number(value: object, option: str, low: int, high: int) -> int:
    """An option as a whole number in [low, high]. Raises DatasetError that names the option."""
    try:
        number = int(str(value))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise DatasetError(f"option {option}: expected a whole number from {low} to {high}, got '{value}'")
    return number


Placed = tuple[tuple[str, ...], Path]
"""The folders between the root and an image, and the image."""


class Lookup:
    """Finds the image of an annotation by the name that it gives: the same name, else with other upper and lower case,
    else without the suffix."""

    def __init__(self, root: Path, paths: Iterable[Path]) -> None:
        self.root = root
        self.names: dict[str, list[Placed]] = {}
        for path in paths:
            name, stem = _plain(path.name), _plain(path.stem)
            for key in {name, name.lower(), stem.lower()}:
                self.names.setdefault(key, []).append((path.relative_to(root).parts[:-1], path))
        self._ends: dict[str, dict[tuple[str, ...], list[Placed]]] = {}
        self._starts: dict[tuple[str, ...], dict[tuple[str, ...], list[Placed]]] = {}

    def find(self, name: str, near: Path) -> Path | None:
        """The image called `name`, which may contain folders; of several, the one nearest to the file `near`.

        Nearest: in the same folder, else in a folder that the name of `near` contains, else below the folder that
        shares most of its path. None if there is no such image. Raises ValueError if two fit equally well.
        """
        parts = [part for part in _plain(name).replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts:
            return None
        last = parts.pop()
        stem = last.rpartition(".")[0] if Path(last).suffix.lower() in IMAGE_SUFFIXES else last
        key = next((key for key in (last, last.lower(), stem.lower()) if key in self.names), None)
        if key is None:
            return None
        beside = near.relative_to(self.root).parts[:-1]
        fits = self._nearest(key, parts, beside)
        same = [path for folders, path in fits if folders == beside]
        named = set(re.split(r"[^a-z0-9]+", near.stem.lower()))
        mentioned = [path for folders, path in fits if named.intersection(folder.lower() for folder in folders)]
        for best in (same, mentioned, [path for _, path in fits]):
            if len(best) == 1:
                return best[0]
        both = " and ".join(str(path.relative_to(self.root)) for _, path in fits[:2])
        raise ValueError(f"'{name}' may be {both}")

    def _nearest(self, key: str, parts: list[str], beside: tuple[str, ...]) -> list[Placed]:
        """Images of a name whose folders end like `parts` for longest; of these, those that start like `beside` for
        longest. Groups are made when a name first needs them, so that equal names in many folders cost little."""
        if len(self.names[key]) == 1:
            return self.names[key]
        if key not in self._ends:
            self._ends[key] = _grouped(self.names[key], lambda folders, n: folders[len(folders) - n:])
        tail = next(t for n in range(len(parts), -1, -1) if (t := tuple(parts[len(parts) - n:])) in self._ends[key])
        if (key, *tail) not in self._starts:
            self._starts[key, *tail] = _grouped(self._ends[key][tail], lambda folders, n: folders[:n])
        starts = self._starts[key, *tail]
        return next(starts[head] for n in range(len(beside), -1, -1) if (head := beside[:n]) in starts)


def exists(path: Path) -> bool:
    """Whether the file exists; False also for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_lines(path: Path, *, most: int = MOST_BYTES) -> list[str]:
    """The lines of a text file in UTF-8 of at most `most` bytes. Raises ValueError with the reason."""
    try:
        if path.stat().st_size > most:
            raise ValueError(f"larger than {most / 2**20:g} MiB")
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("not a text file in UTF-8") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def _plain(name: str) -> str:
    """A name with each accent joined to its letter: some systems store the two separately."""
    return unicodedata.normalize("NFC", name)


def _grouped(
    placed: Iterable[Placed], part: Callable[[tuple[str, ...], int], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Placed]]:
    """Images grouped by every part of their folders; the empty part holds all images."""
    groups: dict[tuple[str, ...], list[Placed]] = {}
    for entry in placed:
        for length in range(len(entry[0]) + 1):
            groups.setdefault(part(entry[0], length), []).append(entry)
    return groups


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, a link to a file, or a broken link: reading a pipe or a device would never end."""
    try:
        return stat.S_ISREG(entry.stat().st_mode) if entry.is_symlink() else entry.is_file()
    except OSError:
        return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror})", "grant read permission") from error
    for entry in listed:
        if not entry.name.isprintable() and any("\udc80" <= c <= "\udcff" for c in entry.name):
            raise DatasetError(f"{folder}: the name {os.fsencode(entry.name)!r} is not UTF-8", "rename the file")
    return listed
