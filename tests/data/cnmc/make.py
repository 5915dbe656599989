"""Write a look-alike of C-NMC 2019: the official folders, with the official names or made-up ones, at any size.

As a program, it writes the training folders at full size, as phantom cells: python make.py OFFICIAL_LIST FOLDER
[--side 450] [--share 1.0].
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import runpy
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

PRELIMINARY = "validation_data/C-NMC_test_prelim_phase_data"
FINAL = "testing_data/C-NMC_test_final_phase_data"
LABELS_FILE = "validation_data/C-NMC_test_prelim_phase_data_labels.csv"


def make(root: Path, *, subjects: int = 4, cells: int = 2, side: int = 45, preliminary: int = 4, final: int = 3,
         seed: int = 0) -> Path:
    """Write `cells` cells for each of `subjects` leukemic and healthy subjects, and both test sets; return `root`."""
    paths = [f"training_data/fold_{subject % 3}/{label}/UID_{letter}{subject + 1}_{cell + 1}_1_{label}.bmp"
             for label, letter in (("all", ""), ("hem", "H")) for subject in range(subjects) for cell in range(cells)]
    paths += [f"{PRELIMINARY}/{number + 1}.bmp" for number in range(preliminary)]
    paths += [f"{FINAL}/{number + 1}.bmp" for number in range(final)]
    return write(root, paths, side=side, seed=seed)


def make_official(root: Path, official: Path, *, side: int = 8, seed: int = 0) -> Path:
    """Write every path of official_files.csv.gz as a small image; files that are identical there are identical here."""
    with gzip.open(official, "rt", newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row["path"].endswith(".bmp")]
    return write(root, [row["path"] for row in rows], side=side, seed=seed,
                 contents=[int(row["sha256"][:12], 16) for row in rows])


def make_phantom(root: Path, official: Path, *, side: int = 450, share: float = 1.0, seed: int = 0,
                 workers: int = 1) -> Path:
    """Write the training files of official_files.csv.gz, or an even `share` of each folder, as phantom cells cut out
    on black: lymphoblasts for leukemic subjects, lymphocytes for healthy ones, the stain of each subject its own.
    Files that are identical there are identical here, whatever subject they are under.
    """
    with gzip.open(official, "rt", newline="") as opened:
        rows = sorted((row for row in csv.DictReader(opened) if row["path"].startswith("training_data/")),
                      key=lambda row: row["path"])
    folders: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        folders.setdefault(row["path"].rpartition("/")[0], []).append(row)
    wanted = [rows[i] for rows in folders.values()
              for i in np.linspace(0, len(rows) - 1, max(1, round(share * len(rows)))).astype(int)]
    owner: dict[str, str] = {}
    for row in wanted:
        owner.setdefault(row["sha256"], row["subject"].upper())
    for folder in folders:
        (Path(root) / folder).mkdir(parents=True, exist_ok=True)
    jobs = [(row["path"], int(row["sha256"][:12], 16), owner[row["sha256"]]) for row in wanted]
    write_one = partial(_write_phantom, Path(root), side, seed)
    if workers == 1:
        for job in jobs:
            write_one(job)
    else:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(write_one, jobs, chunksize=64))
    return Path(root)


def _write_phantom(root: Path, side: int, seed: int, job: tuple[str, int, str]) -> None:
    from leukoscope.phantom import draw_subject, render_cell

    path, content, subject = job
    number = int(subject.lstrip("H")) + (1000 if subject.startswith("H") else 0)
    person = draw_subject(np.random.default_rng([seed, number]), state="healthy", name=subject)
    kind = "lymphocyte" if subject.startswith("H") else "lymphoblast"
    field = render_cell(kind, size=96, seed=(seed, content), subject=person)
    cell = np.where((field.cell_labels == 1)[..., None], field.pixels, 0).astype(np.uint8)
    inner = Image.fromarray(cell).resize((3 * side // 5, 3 * side // 5), Image.Resampling.BICUBIC)
    whole = Image.new("RGB", (side, side))
    whole.paste(inner, (side // 5, side // 5))
    whole.save(root / path, "BMP")


def write(root: Path, paths: Sequence[str], *, side: int, seed: int = 0, contents: Sequence[int] = ()) -> Path:
    """Write each path as a BMP of `side` px on black; equal `contents` (below 2**48) give equal images."""
    root = Path(root)
    for folder in {path.rpartition("/")[0] for path in paths}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    numbered = []
    drawn = {kind: _encoded(kind, side, seed) for kind in (1, 5)} if contents else {}
    for number, path in enumerate(paths):
        kind = 5 if path.endswith("_all.bmp") else 1
        if contents:  # thousands of files: one drawing for each class, differing in its first pixels
            pixels = drawn[kind]
            (root / path).write_bytes(pixels[:54] + contents[number].to_bytes(6, "big") + pixels[60:])
        else:
            (root / path).write_bytes(_encoded(kind, side, seed + number))
        if path.startswith(PRELIMINARY):
            numbered.append(path.rpartition("/")[2])
    if numbered:
        write_labels(root, numbered)
    return root


def _encoded(kind: int, side: int, seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_cell(kind, side, side, np.random.default_rng(seed), background=0)).save(buffer, "BMP")
    return buffer.getvalue()


def write_labels(root: Path, names: Sequence[str]) -> None:
    """The labels file of the preliminary test set: subjects of its own, leukemic and healthy in turn."""
    with open(root / LABELS_FILE, "w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(["Patient_ID", "new_names", "labels"])
        for number, name in enumerate(names):
            leukemic = number % 2 == 0
            subject = f"{57 + number % 4}" if leukemic else f"H{49 + number % 4}"
            table.writerow([f"UID_{subject}_{number + 1}_1_{'all' if leukemic else 'hem'}.bmp", name, int(leukemic)])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Write the training folders of C-NMC 2019 as phantom cells.")
    arguments.add_argument("official", type=Path)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--side", type=int, default=450)
    arguments.add_argument("--share", type=float, default=1.0)
    given = arguments.parse_args()
    make_phantom(given.folder, given.official, side=given.side, share=given.share, workers=2)
