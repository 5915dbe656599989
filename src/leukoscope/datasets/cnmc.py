"""C-NMC 2019: 15,114 cells of children with and without acute lymphoblastic leukemia, cut out on black.

Knows the official folders and names, and which subject ids name the same child: identical files stand under both, so
splitting by id, or by the official folds, leaks. Opens a list of the official files where it is given one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ..errors import DatasetError
from ..files import sha256
from ..manifest import make_manifest
from .base import Dataset, Index, check_choice, check_root, inspect_image, is_litter

LABELS = {"all": "leukemic", "hem": "healthy"}
FOLDS = {(0, "all"): 2397, (0, "hem"): 1130, (1, "all"): 2418, (1, "hem"): 1163, (2, "all"): 2457, (2, "hem"): 1096}
"""Images in each training folder."""
PRELIMINARY = {"leukemic": 1219, "healthy": 648}
FINAL = 2586
DEPTH = 5
"""Folders between the given one and the images: archives unpack into one or two more than the official three."""

SAME_SUBJECT = (("20", "21"), ("51", "75", "78"), ("H2", "H4", "H5", "H6"), ("H3", "H10"))
"""Subject ids under which identical files stand: 71, 21, 6 and 1 pairs, by the SHA-256 of the official files."""

VIEWS = {
    "training": "the three training folds",
    "all": "the training folds (split: train) and the preliminary test set (split: test)",
    "preliminary": "the preliminary test set, with its labels file",
    "final": "the final test set, whose labels were never published",
}
OPTIONS = {
    "official": "a CSV (.csv or .csv.gz) of the official files, columns path, bytes and sha256, to name what is "
                "missing or of another length",
    "hashes": "yes: compare the SHA-256 with that list too",
}
_GROUPS = {subject: "+".join(same) for same in SAME_SUBJECT for subject in same}
_TRAINING = re.compile(r"(?:^|/)fold_(\d+)/(all|hem)/([^/]+)$")
_TEST = re.compile(r"(?:^|/)C-NMC_test_(prelim|final)_phase_data/([^/]+)$")
_NAME = re.compile(r"^UID_([Hh]?\d+)_(\d+)_(\d+)_(all|hem)\.bmp$")
_LABELS_FILE = "C-NMC_test_prelim_phase_data_labels.csv"
_FOLDERS = {"prelim": "validation_data/C-NMC_test_prelim_phase_data",
            "final": "testing_data/C-NMC_test_final_phase_data"}
_PARTS = {"training": ("training",), "all": ("training", "prelim"), "preliminary": ("prelim",), "final": ("final",)}


def index(root: Path, view: str = "training", **options: str) -> Index:
    """Index the folder that holds training_data, validation_data and testing_data, or any one of them.

    Cell ids are the official paths. Raises DatasetError where the part that the view needs is not there.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    if options.get("hashes", "no") not in ("yes", "no") or ("hashes" in options and "official" not in options):
        raise DatasetError(f"option hashes={options['hashes']}: it is yes or no, and needs the option official",
                           "give official=official_files.csv.gz hashes=yes")
    root = Path(root)
    check_root(root, "cnmc", "training_data, validation_data and testing_data")
    parts = _PARTS[view]
    found = _Found(parts, _prelim_labels(root) if "prelim" in parts else {})
    for path, relative in _walk(root):
        _add_file(path, relative, found)
    if not found.rows:
        raise DatasetError(f"{root}: holds no cell of the view '{view}' of C-NMC 2019",
                           "give the folder that holds training_data, validation_data and testing_data")
    _check_once(found)
    if "official" in options:
        _compare(found, Path(options["official"]), hashes=options.get("hashes") == "yes")
    else:
        found.missing.extend(_missing(found))
    cells = make_manifest(sorted(found.rows, key=lambda row: str(row["cell_id"])))
    return Index(cells, _expected(parts), tuple(found.missing), tuple(found.damaged), tuple(_notes(cells, found)))


def group_of(subject: str) -> str:
    """The child behind a subject id, case apart: ids that share identical files give one group, such as "20+21"."""
    subject = subject.upper()
    return _GROUPS.get(subject, subject)


@dataclass(frozen=True)
class _Found:
    """What is looked for (parts, and the labels of the preliminary test set), and what turned up."""

    parts: tuple[str, ...]
    labels: Mapping[str, tuple[str, str]]
    rows: list[dict[str, object]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file at most `DEPTH` folders below `root`, with its path from `root`'s own name on, in order."""
    base = root.absolute()
    for folder, folders, files in os.walk(base, followlinks=True):
        deep = len(Path(folder).relative_to(base).parts) >= DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not is_litter(name))
        above = Path(folder).relative_to(base.parent).as_posix()
        for name in sorted(files):
            yield Path(folder, name), f"{above}/{name}"


def _add_file(path: Path, relative: str, found: _Found) -> None:
    """Add the row of one file that belongs to a part looked for, or name it as damaged."""
    training, test = _TRAINING.search(relative), _TEST.search(relative)
    if training and "training" in found.parts:
        row, reason = _training_row(int(training[1]), training[2], training[3], found)
    elif test and test[1] in found.parts and path.name != _LABELS_FILE:
        row, reason = _test_row(test[1], test[2], found)
    else:
        return
    size, fault = inspect_image(path)
    if size is None or reason:
        found.damaged.append((str(path), fault or reason))
    else:
        found.rows.append({**row, "image": str(path), "source": "cnmc"})


def _training_row(fold: int, folder: str, name: str, found: _Found) -> tuple[dict[str, object], str]:
    row: dict[str, object] = {"cell_id": f"training_data/fold_{fold}/{folder}/{name}", "fold_official": fold,
                              "split": "train" if "prelim" in found.parts else None}
    facts, reason = _read_name(name, found)
    if not reason and facts["label"] != LABELS[folder]:
        reason = f"named {facts['label']}, but stands in the folder {folder}"
    return row | facts, reason


def _test_row(part: str, name: str, found: _Found) -> tuple[dict[str, object], str]:
    row: dict[str, object] = {"cell_id": f"{_FOLDERS[part]}/{name}", "fold_official": None, "split": "test"}
    if part == "final":
        return row, ""
    if name not in found.labels:
        return row, f"{_LABELS_FILE} does not name it"
    original, label = found.labels[name]
    facts, reason = _read_name(original, found)
    if not reason and facts["label"] != label:
        reason = f"{_LABELS_FILE} names it {original} and gives the label of {label}"
    return row | facts, reason


def _read_name(name: str, found: _Found) -> tuple[dict[str, object], str]:
    """What UID_<subject>_<image>_<cell>_all|hem.bmp says, or ({}, why it says nothing)."""
    parsed = _NAME.match(name)
    if parsed is None:
        return {}, f"expected UID_<subject>_<image>_<cell>_all|hem.bmp, got {name}"
    subject = parsed[1].upper()
    if subject.startswith("H") != (parsed[4] == "hem"):
        return {}, f"the subject {subject} and the ending {parsed[4]} contradict each other (healthy ones start with H)"
    if subject != parsed[1]:
        found.mended.append(parsed[1])
    return {"label": LABELS[parsed[4]], "subject": subject, "group": group_of(subject),
            "field": f"{subject}_{parsed[2]}"}, ""


def _check_once(found: _Found) -> None:
    """Raise DatasetError where two files have one official name: two copies of the set lie in the folder."""
    seen: dict[object, object] = {}
    for row in found.rows:
        first = seen.setdefault(row["cell_id"], row["image"])
        if first != row["image"]:
            raise DatasetError(f"{first} and {row['image']} have the same official name", "give the folder of one copy")


def _prelim_labels(root: Path) -> dict[str, tuple[str, str]]:
    """File name in the preliminary test set -> (original name, label), from the official labels file."""
    path = next((path for path, _ in _walk(root) if path.name == _LABELS_FILE), None)
    if path is None:
        raise DatasetError(f"{root}: the preliminary test set needs its labels file {_LABELS_FILE}",
                           "give the folder that holds both (validation_data), or use --view training")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{path}: not a readable table ({str(error).splitlines()[0]})", "fetch it again") from error
    columns = ["Patient_ID", "new_names", "labels"]
    if set(columns) - set(table.columns):
        raise DatasetError(f"{path}: expected the columns {', '.join(columns)}, got {', '.join(table.columns)}",
                           "fetch it again")
    labels: dict[str, tuple[str, str]] = {}
    for number, (original, name, label) in enumerate(table.select(columns).iter_rows(), start=2):
        if not original or not name or label not in ("0", "1"):
            raise DatasetError(f"{path}, line {number}: expected a name, a name and 0 or 1, got {original}, {name}, "
                               f"{label}", "fetch it again")
        if name in labels:
            raise DatasetError(f"{path}, line {number}: {name} is named twice", "fetch it again")
        labels[name] = (original, "leukemic" if label == "1" else "healthy")
    return labels


def _missing(found: _Found) -> list[str]:
    folders = Counter(str(row["cell_id"]).rpartition("/")[0] for row in found.rows)
    wanted: dict[str, int] = {}
    if "training" in found.parts:
        wanted |= {f"training_data/fold_{fold}/{folder}": count for (fold, folder), count in FOLDS.items()}
    if "prelim" in found.parts:
        wanted[_FOLDERS["prelim"]] = sum(PRELIMINARY.values())
    if "final" in found.parts:
        wanted[_FOLDERS["final"]] = FINAL
    short = [f"{folder}: {count - folders[folder]:,} of {count:,} images"
             for folder, count in wanted.items() if folders[folder] < count]
    if "prelim" in found.parts and len(found.labels) < sum(PRELIMINARY.values()):
        short.append(f"{_LABELS_FILE}: {len(found.labels):,} rows of {sum(PRELIMINARY.values()):,}")
    return short


def _expected(parts: tuple[str, ...]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    if "training" in parts:
        for (_, folder), count in FOLDS.items():
            counts[LABELS[folder]] += count
    if "prelim" in parts:
        counts.update(PRELIMINARY)
    return dict(counts) if "final" not in parts else {"": FINAL}


def _compare(found: _Found, official: Path, *, hashes: bool) -> None:
    """Name each official file that is not there; move those of another length or content to the damaged."""
    listed = _read_official(official)
    prefixes = tuple("training_data/" if part == "training" else f"{_FOLDERS[part]}/" for part in found.parts)
    there = {str(row["cell_id"]): row for row in found.rows}
    for name, (length, digest) in listed.items():
        if not name.startswith(prefixes):
            continue
        if name not in there:
            found.missing.append(name)
            continue
        image = Path(str(there[name]["image"]))
        got = image.stat().st_size
        wrong = f"{got:,} bytes, officially {length:,}" if got != length else ""
        if not wrong and hashes and sha256(image) != digest:
            wrong = "its SHA-256 is not the official one"
        if wrong:
            found.damaged.append((str(image), wrong))
            found.rows.remove(there[name])


def _read_official(path: Path) -> dict[str, tuple[int, str]]:
    try:
        table = pl.read_csv(path, infer_schema=False)
        return {name: (int(length), digest) for name, length, digest in
                table.select("path", "bytes", "sha256").iter_rows()}
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: not a list of official files ({str(error).splitlines()[0]})",
                           "it needs the columns path, bytes and sha256") from error


def _notes(cells: pl.DataFrame, found: _Found) -> list[str]:
    notes = []
    merged = cells.filter(pl.col("group").str.contains("+", literal=True))
    if merged.height:
        groups = ", ".join(merged["group"].unique().sort().to_list())
        notes.append(f"subject ids that share identical files are one group ({groups}): {merged.height:,} cells")
    if found.mended:
        names = ", ".join(f"{name} is {name.upper()}" for name in sorted(set(found.mended)))
        notes.append(f"names mended, case apart: {names} ({len(found.mended)} files)")
    return notes


DATASET = Dataset(
    name="cnmc",
    title="C-NMC 2019: leukemic and healthy B-lymphoid cells",
    licence="CC BY 3.0",
    citation="A. Gupta and R. Gupta, ALL Challenge dataset of ISBI 2019 (C-NMC 2019), The Cancer Imaging Archive "
             "(2019), doi 10.7937/tcia.2019.dc64i46r",
    homepage="https://www.cancerimagingarchive.net/collection/c-nmc-2019/",
    obtain="The Cancer Imaging Archive hands it out through its own downloader: open https://www.cancerimagingarchive."
           "net/collection/c-nmc-2019/, fetch the images with the IBM Aspera plug-in, unpack the archives, and index "
           "the folder that holds them",
    subject_rule="the number in UID_<subject>_..., case apart; ids that share identical files are one group",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
