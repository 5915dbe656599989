"""BloodMNIST: the cells of PBC, cropped and shrunk to 28, 64, 128 or 224 px, with official splits, in one .npz file.

Unpacks the arrays without loss into PNG files, one for each cell, because everything else starts from files. Pickled
contents are never loaded.
"""

from __future__ import annotations

import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from ..errors import DatasetError, LeukoscopeError
from ..files import read_json, write_json
from ..manifest import make_manifest
from ..progress import OnProgress
from .base import Dataset, Download, Index, check_choice, check_root, children_of
from .pbc import COUNTS, LEUKOCYTES

CLASSES = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")
"""The labels 0 to 7 in order; ig: immature granulocytes."""

SPLITS = {"train": ("train", 11_959), "val": ("validation", 1_712), "test": ("test", 3_421)}
FILES = {28: "bloodmnist.npz", 64: "bloodmnist_64.npz", 128: "bloodmnist_128.npz", 224: "bloodmnist_224.npz"}
MD5 = {28: "7053d0359d879ad8a5505303e11de1dc", 64: "2b94928a2ae4916078ca51e05b6b800b",
       128: "adace1e0ed228fccda1f39692059dd4c", 224: "b718ff6835fcbdb22ba9eacccd7b2601"}

VIEWS = {"eight": "the eight classes of the published set", "five": "the five mature leukocytes only"}
OPTIONS = {
    "size": "side in px of the cells to index (28, 64, 128 or 224), where the folder contains several files",
    "unpack": "folder to unpack the PNG files into (default: beside the .npz)",
}
LABELS_LIMIT = 10_000_000
"""Bytes of the longest list of labels that is read: the published ones have under 100,000."""
_MARK = "unpacked.json"
_RETRIEVE = "download it with: leukoscope data get bloodmnist"


def index(root: Path, view: str = "eight", *, on_progress: OnProgress | None = None, **options: str) -> Index:
    """Index a bloodmnist*.npz, or the folder that contains one; the first call unpacks it.

    Raises DatasetError where the file is damaged or is not BloodMNIST. The cells are those of PBC: see its problems.
    """
    check_choice(view, VIEWS, options, OPTIONS)
    archive = _archive(Path(root), options.get("size", ""))
    labels, unpacked = _unpack(archive, Path(options["unpack"]) if "unpack" in options else archive.parent, on_progress)
    rows, missing = [], []
    wanted = CLASSES if view == "eight" else LEUKOCYTES
    for split, (part, count) in SPLITS.items():
        if len(labels[split]) < count:
            missing.append(f"{split}: {count - len(labels[split]):,} of {count:,} cells")
        rows += [{"cell_id": f"{split}/{number:05d}", "image": str(unpacked / split / f"{number:05d}.png"),
                  "label": CLASSES[label], "source": "bloodmnist", "split": part}
                 for number, label in enumerate(labels[split]) if CLASSES[label] in wanted]
    if not rows:
        raise DatasetError(f"{archive}: contains no cell of the view '{view}'", _RETRIEVE)
    left_out = sum(map(len, labels.values())) - len(rows)
    notes = ["the cells are those of PBC, without subjects: the official split was drawn image by image"]
    if left_out:
        notes.append(f"{left_out} cells of other classes are left out in this view")
    return Index(make_manifest(rows), {label: COUNTS[label] for label in wanted}, tuple(missing), (), tuple(notes))


def _archive(root: Path, size: str) -> Path:
    """The .npz file, chosen by `size` where the folder contains several."""
    if size and size not in map(str, FILES):
        raise DatasetError(f"size={size}: BloodMNIST does not have this size",
                           f"choose one of {', '.join(map(str, FILES))}")
    if root.suffix == ".npz":
        if not root.is_file():
            raise DatasetError(f"{root}: no such file", _RETRIEVE)
        return root
    check_root(root, "bloodmnist", FILES[28])
    here = {path.name for path in children_of(root)}
    names = [name for side, name in FILES.items() if name in here and size in ("", str(side))]
    if not names:
        wanted = FILES[int(size)] if size else " or ".join(FILES.values())
        raise DatasetError(f"{root}: contains no {wanted}", _RETRIEVE)
    if len(names) > 1:
        raise DatasetError(f"{root}: contains {' and '.join(names)}", "choose one with --option size=28 (64, 128, 224)")
    return root / names[0]


@dataclass(frozen=True)
class _Cells:
    """One array of cells in the archive: its file, the bytes before the first cell, its shape, and the labels."""

    member: str
    start: int
    shape: tuple[int, ...]
    labels: tuple[int, ...]


def _unpack(archive: Path, parent: Path,
            on_progress: OnProgress | None) -> tuple[dict[str, tuple[int, ...]], Path]:
    """Labels of each split, and the folder with `<split>/<number>.png`, which is written if it does not exist."""
    folder = parent.absolute() / f"{archive.stem}_png"
    try:
        with zipfile.ZipFile(archive) as opened:
            cells = {split: _check_split(opened, split) for split in SPLITS}
            key = [[info.filename, info.CRC, info.file_size] for info in opened.infolist()]
            if not _is_unpacked(folder, key, cells):
                _write(opened, cells, folder, key, on_progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error.args[0] if error.args else "") or type(error).__name__
        raise DatasetError(f"{archive}: damaged, or not BloodMNIST ({reason})", _RETRIEVE) from error
    except OSError as error:
        raise DatasetError(f"{error.filename or folder}: {error.strerror or error}", "free some space or grant write "
                           "permission, or choose another folder with --option unpack=FOLDER") from error
    return {split: part.labels for split, part in cells.items()}, folder


def _check_split(archive: zipfile.ZipFile, split: str) -> _Cells:
    """Shape and labels of one split. ValueError or KeyError says what is wrong; no image is read."""
    member, labels_member = f"{split}_images.npy", f"{split}_labels.npy"
    with archive.open(member) as opened:
        read_header = npy.read_array_header_1_0 if npy.read_magic(opened) == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(opened)
        start = opened.tell()
    if dtype != np.uint8 or fortran:
        raise ValueError(f"{member} is of type {dtype}, expected uint8 in C order")
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or shape[1] not in FILES:
        raise ValueError(f"{member} has the shape {shape}, expected (cells, side, side, 3)")
    if archive.getinfo(member).file_size != start + int(np.prod(shape)):
        raise ValueError(f"{member} does not contain the {shape[0]} images of its header")
    if archive.getinfo(labels_member).file_size > LABELS_LIMIT:
        raise ValueError(f"{labels_member} is larger than any list of labels")
    with archive.open(labels_member) as opened:
        labels = npy.read_array(opened, allow_pickle=False).reshape(-1)
    if labels.dtype.kind not in "iu" or len(labels) != shape[0]:
        raise ValueError(f"{labels_member} contains {len(labels)} labels of type {labels.dtype} for {shape[0]} images")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(CLASSES):
        raise ValueError(f"{labels_member} contains labels outside 0 to {len(CLASSES) - 1}")
    return _Cells(member, start, shape, tuple(labels.tolist()))


def _images(archive: zipfile.ZipFile, cells: _Cells) -> Iterator[np.ndarray]:
    """Each uint8 (side, side, 3) in turn, so that memory does not grow with their number."""
    with archive.open(cells.member) as opened:
        opened.read(cells.start)
        length = int(np.prod(cells.shape[1:]))
        for _ in range(cells.shape[0]):
            pixels = opened.read(length)
            if len(pixels) != length:
                raise ValueError(f"{cells.member} ends early")
            yield np.frombuffer(pixels, np.uint8).reshape(cells.shape[1:])
        opened.read(1)  # the checksum is compared when the end is reached


def _is_unpacked(folder: Path, key: list[list[str | int]], cells: dict[str, _Cells]) -> bool:
    try:
        if read_json(folder / _MARK) != key:
            return False
    except LeukoscopeError:
        return False
    return all((folder / split).is_dir() and len(list((folder / split).glob("*.png"))) == part.shape[0]
               for split, part in cells.items())


def _write(archive: zipfile.ZipFile, cells: dict[str, _Cells], folder: Path, key: list[list[str | int]],
           on_progress: OnProgress | None) -> None:
    """Write every PNG into a temporary folder, then rename it: a reader sees all cells or none."""
    total, done = sum(part.shape[0] for part in cells.values()), 0
    if folder.exists() and not (folder / _MARK).is_file():
        raise DatasetError(f"{folder}: already exists and was not made from {archive.filename}",
                           "remove it, or choose another folder with --option unpack=FOLDER")
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        for split, part in cells.items():
            (partial / split).mkdir(parents=True)
            for number, pixels in enumerate(_images(archive, part)):
                Image.fromarray(pixels).save(partial / split / f"{number:05d}.png", compress_level=1)
                done += 1
                if on_progress and (done % 100 == 0 or done == total):
                    on_progress(done, total)
        write_json(partial / _MARK, key)
        if folder.exists():
            os.replace(folder, partial.with_suffix(".old"))
        try:
            os.replace(partial, folder)
        except OSError:  # another process has unpacked it in the meantime
            if not _is_unpacked(folder, key, cells):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(partial.with_suffix(".old"), ignore_errors=True)


_URL = "https://zenodo.org/records/10519652/files/"

DATASET = Dataset(
    name="bloodmnist",
    title="BloodMNIST: the cells of PBC at 28, 64, 128 or 224 px, official splits",
    licence="CC BY 4.0",
    citation="J. Yang et al., MedMNIST v2, Scientific Data 10 (2023) 41, doi 10.1038/s41597-022-01721-8; A. Acevedo et "
             "al., Data in Brief 30 (2020) 105474",
    homepage="https://medmnist.com",
    obtain="leukoscope data get bloodmnist, or download bloodmnist.npz (28 px; _64, _128, _224 for larger) from "
           "https://zenodo.org/records/10519652",
    subject_rule="none: the set names no donors, and its official split was drawn image by image",
    views=VIEWS,
    index=index,
    downloads=tuple(Download(f"{_URL}{name}?download=1", name, checksum=f"md5:{MD5[side]}", optional=side != 28)
                    for side, name in FILES.items()),
    options=OPTIONS,
)
