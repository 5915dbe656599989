"""C-NMC 2019: 15,114 cells of children with and without acute lymphoblastic leukemia, cut out on black.

Knows the official folders and names, and which subject ids belong to the same child: identical files are listed under
several ids, so a split by id, or by the official folds, leaks. Reads a list of the official files where it is given.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import polars as pl

from ..errors import DatasetError, first_line
from ..files import sha256
from ..tables import read_csv
from .base import Dataset, Index, check_choice, check_root, is_litter
from .collector import Collector
from .leukocytes import CLASS_OF, VIEW, class_counts

LABELS = {"all": "leukemic", "hem": "healthy"}
SUBTYPES = {"leukemic": "lymphoblast", "healthy": "lymphocyte"}
"""Label -> subtype in the view `leukocytes`."""
FOLDS = {(0, "all"): 2397, (0, "hem"): 1130, (1, "all"): 2418, (1, "hem"): 1163, (2, "all"): 2457, (2, "hem"): 1096}
"""Images in each training folder."""
PRELIMINARY = {"leukemic": 1219, "healthy": 648}
FINAL = 2586
DEPTH = 5
"""Folders between the given one and the images: archives unpack into one or two more than the official three."""

SAME_SUBJECT = (("20", "21"), ("51", "75", "78"), ("H2", "H4", "H5", "H6"), ("H3", "H10"))
"""Subject ids with identical files: 71, 21, 6 and 1 pairs, by the SHA-256 of the official files."""

VIEWS = {
    "training": "the three training folds",
    "all": "the training folds (split: train) and the preliminary test set (split: test)",
    "preliminary": "the preliminary test set, with its labels file",
    "final": "the final test set, whose labels were never published",
    "leukocytes": f"{VIEW}; of the training folds",
}
OPTIONS = {
    "official": "a CSV (.csv or .csv.gz) of the official files, columns path, bytes and sha256, to report files that "
                "are missing or have another length",
    "hashes": "yes: compare the SHA-256 with that list too",
}
LAYOUT = "training_data, validation_data and testing_data"
_GROUPS = {subject: "+".join(same) for same in SAME_SUBJECT for subject in same}
_TRAINING = re.compile(r"(?:^|/)fold_(\d+)/(all|hem)/([^/]+)$")
_TEST = re.compile(r"(?:^|/)C-NMC_test_(prelim|final)_phase_data/([^/]+)$")
_NAME = re.compile(r"^UID_([Hh]?\d+)_(\d+)_(\d+)_(all|hem)\.bmp$")
_RETRIEVE = "download it again"
_LABELS_FILE = "C-NMC_test_prelim_phase_data_labels.csv"
_FOLDERS = {"prelim": "validation_data/C-NMC_test_prelim_phase_data",
            "final": "testing_data/C-NMC_test_final_phase_data"}
_PARTS = {"all": ("training", "prelim"), "preliminary": ("prelim",), "final": ("final",)}


def index(root: Path, view: str = "training", **options: str) -> Index:
    """Index the folder that contains training_data, validation_data and testing_data, or any one of them.

    Cell ids are the official paths. Raises DatasetError where the part that the view needs is missing.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    if options.get("hashes", "no") not in ("yes", "no") or ("hashes" in options and "official" not in options):
        raise DatasetError(f"option hashes={options['hashes']}: must be yes or no, and needs the option official",
                           "use official=official_files.csv.gz hashes=yes")
    root = Path(root).absolute()
    check_root(root, "cnmc", LAYOUT)
    parts = _PARTS.get(view, ("training",))
    reader = _Reader(root, "cnmc", of=parts, labels=_prelim_labels(root) if "prelim" in parts else {})
    for path, relative in _walk(root):
        _add_file(reader, path, relative)
    reader.rows.sort(key=lambda row: str(row["cell_id"]))
    for first, second in pairwise(reader.rows):
        if first["cell_id"] == second["cell_id"]:
            raise DatasetError(f"{first['image']} and {second['image']} have the same official name",
                               "give the folder of one copy of the set")
    if "official" in options:
        _compare(reader, Path(options["official"]), hashes=options.get("hashes") == "yes")
    else:
        _add_missing(reader)
    _add_notes(reader)
    if view == "leukocytes":
        for row in reader.rows:
            row["subtype"] = SUBTYPES[str(row["label"])]
            row["label"] = CLASS_OF[row["subtype"]]
    return reader.index(f"{LAYOUT} of C-NMC 2019, with cells of the view '{view}'", _expected(view, parts))


def group_of(subject: str) -> str:
    """The child of a subject id, upper and lower case being the same: ids with identical files are one group, such as
    "20+21"."""
    subject = subject.upper()
    return _GROUPS.get(subject, subject)


@dataclass
class _Reader(Collector):
    """of: the parts that are read. labels: file in the preliminary test set -> (original name, label). corrected:
    subject ids that were written in lower case."""

    of: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    corrected: list[str] = field(default_factory=list)


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file at most `DEPTH` folders below `root`, with its path from `root`'s own name on, in order."""
    for folder, folders, files in os.walk(root, followlinks=True):
        deep = len(Path(folder).relative_to(root).parts) >= DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not is_litter(name))
        above = Path(folder).relative_to(root.parent).as_posix()
        for name in sorted(files):
            yield Path(folder, name), f"{above}/{name}"


def _add_file(reader: _Reader, path: Path, relative: str) -> None:
    """Add the row of a file that belongs to a part that is read, or add the file to `damaged`."""
    training = _TRAINING.search(relative) if "training" in reader.of else None
    test = _TEST.search(relative) if path.name != _LABELS_FILE else None
    if not (training or (test and test[1] in reader.of)) or reader.open(path) is None:
        return
    row: dict[str, object] = {"image": str(path), "source": "cnmc"}
    try:
        if training:
            fold, folder, name = training.groups()
            row |= {"cell_id": f"training_data/fold_{fold}/{folder}/{name}", "fold_official": int(fold),
                    "split": "train" if "prelim" in reader.of else None} | _read_name(reader, name)
            if row["label"] != LABELS[folder]:
                raise ValueError(f"named {row['label']}, but is in the folder {folder}")
        elif test:
            part, name = test.groups()
            row |= {"cell_id": f"{_FOLDERS[part]}/{name}", "fold_official": None, "split": "test"}
            if part == "prelim":
                if name not in reader.labels:
                    raise ValueError(f"is not in {_LABELS_FILE}")
                original, label = reader.labels[name]
                row |= _read_name(reader, original)
                if row["label"] != label:
                    raise ValueError(f"{_LABELS_FILE} calls it {original}, but gives the label {label}")
    except ValueError as error:
        reader.damaged.append((str(path), str(error)))
    else:
        reader.rows.append(row)


def _read_name(reader: _Reader, name: str) -> dict[str, object]:
    """What UID_<subject>_<image>_<cell>_all|hem.bmp says. ValueError says what is wrong with the name."""
    parsed = _NAME.match(name)
    if parsed is None:
        raise ValueError(f"expected UID_<subject>_<image>_<cell>_all|hem.bmp, got {name}")
    subject = parsed[1].upper()
    if subject.startswith("H") != (parsed[4] == "hem"):
        raise ValueError(f"the subject {subject} and the ending {parsed[4]} contradict each other (healthy subjects "
                         "start with H)")
    if subject != parsed[1]:
        reader.corrected.append(parsed[1])
    return {"label": LABELS[parsed[4]], "subject": subject, "group": group_of(subject),
            "field": f"{subject}_{parsed[2]}"}


def _prelim_labels(root: Path) -> dict[str, tuple[str, str]]:
    """File name in the preliminary test set -> (original name, label), from the official labels file."""
    path = next((path for path, _ in _walk(root) if path.name == _LABELS_FILE), None)
    if path is None:
        raise DatasetError(f"{root}: the preliminary test set needs its labels file {_LABELS_FILE}",
                           "give the folder that contains both (validation_data), or use --view training")
    try:
        table = read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{path}: not a readable table ({first_line(error)})", _RETRIEVE) from error
    columns = ["Patient_ID", "new_names", "labels"]
    if set(columns) - set(table.columns):
        raise DatasetError(f"{path}: expected the columns {', '.join(columns)}, got {', '.join(table.columns)}",
                           _RETRIEVE)
    labels: dict[str, tuple[str, str]] = {}
    for number, (original, name, label) in enumerate(table.select(columns).iter_rows(), start=2):
        if not original or not name or label not in ("0", "1"):
            raise DatasetError(f"{path}, line {number}: expected two names and 0 or 1, got {original}, {name}, {label}",
                               _RETRIEVE)
        if name in labels:
            raise DatasetError(f"{path}, line {number}: {name} is listed twice", _RETRIEVE)
        labels[name] = (original, "leukemic" if label == "1" else "healthy")
    return labels


def _add_missing(reader: _Reader) -> None:
    """Compare the number of images in each folder with the published one."""
    folders = Counter(str(row["cell_id"]).rpartition("/")[0] for row in reader.rows)
    published = {"training": {f"training_data/fold_{fold}/{folder}": n for (fold, folder), n in FOLDS.items()},
                 "prelim": {_FOLDERS["prelim"]: sum(PRELIMINARY.values())}, "final": {_FOLDERS["final"]: FINAL}}
    reader.missing += [f"{folder}: {count - folders[folder]:,} of {count:,} images" for part in reader.of
                       for folder, count in published[part].items() if folders[folder] < count]
    if "prelim" in reader.of and len(reader.labels) < sum(PRELIMINARY.values()):
        reader.missing.append(f"{_LABELS_FILE}: {len(reader.labels):,} rows of {sum(PRELIMINARY.values()):,}")


def _expected(view: str, parts: tuple[str, ...]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    if "training" in parts:
        for (_, folder), count in FOLDS.items():
            counts[LABELS[folder]] += count
    if "prelim" in parts:
        counts.update(PRELIMINARY)
    if view == "leukocytes":
        return class_counts({SUBTYPES[label]: count for label, count in counts.items()})
    return dict(counts) if "final" not in parts else {"": FINAL}


def _compare(reader: _Reader, official: Path, *, hashes: bool) -> None:
    """Add to `missing` each official file that does not exist here; move files of another length or content to
    `damaged`."""
    try:
        table = read_csv(official, infer_schema=False)
        listed = [(name, int(length), digest) for name, length, digest in
                  table.select("path", "bytes", "sha256").iter_rows()]
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{official}: not a list of official files ({first_line(error)})",
                           "it needs the columns path, bytes and sha256") from error
    prefixes = tuple("training_data/" if part == "training" else f"{_FOLDERS[part]}/" for part in reader.of)
    rows = {str(row["cell_id"]): row for row in reader.rows}
    for name, length, digest in listed:
        if not name.startswith(prefixes):
            continue
        if name not in rows:
            reader.missing.append(name)
            continue
        image = Path(str(rows[name]["image"]))
        got = image.stat().st_size
        wrong = f"{got:,} bytes, the official file has {length:,}" if got != length else ""
        if not wrong and hashes and sha256(image) != digest:
            wrong = "its SHA-256 is not that of the official file"
        if wrong:
            reader.damaged.append((str(image), wrong))
            reader.rows.remove(rows[name])


def _add_notes(reader: _Reader) -> None:
    merged = [str(row["group"]) for row in reader.rows if "+" in str(row.get("group"))]
    if merged:
        reader.notes.append(f"subject ids with identical files are one group ({', '.join(sorted(set(merged)))}): "
                            f"{len(merged):,} cells")
    if reader.corrected:
        names = ", ".join(f"{name} is {name.upper()}" for name in sorted(set(reader.corrected)))
        reader.notes.append(f"names in lower case were corrected: {names} ({len(reader.corrected)} files)")


DATASET = Dataset(
    name="cnmc",
    title="C-NMC 2019: leukemic and healthy B-lymphoid cells",
    licence="CC BY 3.0",
    citation="A. Gupta and R. Gupta, ALL Challenge dataset of ISBI 2019 (C-NMC 2019), The Cancer Imaging Archive "
             "(2019), doi 10.7937/tcia.2019.dc64i46r",
    homepage="https://www.cancerimagingarchive.net/collection/c-nmc-2019/",
    obtain="The Cancer Imaging Archive gives it through its own downloader: open https://www.cancerimagingarchive."
           "net/collection/c-nmc-2019/, download the images with the IBM Aspera plug-in, unpack the archives, and "
           "index the folder that contains them",
    subject_rule="the number in UID_<subject>_... (h3 is H3); ids with identical files are one group",
    views=VIEWS,
    index=index,
    options=OPTIONS,
    leukocytes=SUBTYPES,
)
