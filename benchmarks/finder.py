"""All figures of the finder in one command: docs/smear.md shows what it prints.

    python benchmarks/finder.py [MOST]

Recall and precision by boxes (intersection over union of 0.5) on BCCD's test list with the Dice of nuclei, Chula's
fields, phone photographs; false cells in fields of red cells; how often fields of every laboratory are taken for no
smear, and things that are no smear for one. MOST: fields of each set, spread over it; all without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leukoscope.images.read import read_image
from leukoscope.smear import find_leukocytes
from leukoscope.smear.score import Truth, score_field, summarise
from leukoscope.stats import wilson
from no_smears import no_smears
from smear_accuracy import bccd_fields

Field = tuple[NDArray[np.uint8], Truth]


def spread(files: Sequence[Path], most: int) -> list[Path]:
    """At most so many of some files, evenly."""
    files = sorted(files)
    return [files[n] for n in np.linspace(0, len(files) - 1, min(most, len(files))).astype(int)]


def yolo_fields(files: Sequence[Path]) -> Iterator[Field]:
    """Fields with a text file of boxes each, as shares of the width and height."""
    for file in files:
        pixels = read_image(file)
        height, width = pixels.shape[:2]
        text = (file.parents[1] / "labels" / file.with_suffix(".txt").name).read_text(encoding="ascii")
        boxes = np.array([line.split()[1:5] for line in text.splitlines() if line.strip()], np.float64).reshape(-1, 4)
        boxes[:, :2] -= boxes[:, 2:] / 2
        yield pixels, Truth(file.stem, np.rint(boxes * (width, height, width, height)).astype(np.int64))


def report(what: str, fields: Iterator[Field] | Sequence[Field]) -> None:
    """Print recall, precision and Dice of a set, and how many of its fields are taken for no smear."""
    scores, refused = [], 0
    for pixels, truth in fields:
        found = find_leukocytes(pixels)
        refused += not found.is_smear
        scores.append(score_field(found, truth))
    print(f"-- {what}: {len(scores)} fields, {refused} taken for no smear; {summarise(scores).table()}", flush=True)


def false_cells(what: str, files: Sequence[Path]) -> None:
    """Print how many cells are found in fields without leukocytes."""
    found = [find_leukocytes(read_image(file)) for file in files]
    cells, refused = sum(len(field.cells) for field in found), sum(not field.is_smear for field in found)
    print(f"-- {what}: {len(found)} fields, {refused} taken for no smear; {cells} false cells, "
          f"{10 * cells / max(len(found), 1):.1f} in ten fields", flush=True)


def gate(data: Path, most: int) -> None:
    """Print how many photographs of cells of each laboratory are taken for no smear, and other things for one."""
    for what, pattern in (("PBC", "pbc/PBC_dataset_normal_DIB/*/*.jpg"), ("LMU", "lmu/*/*.jpg"),
                          ("MLL", "mll/*/*.jpg"), ("Chula, cells", "chula/cells/*/*.jpg")):
        files = spread(list(data.glob(pattern)), most)
        refused = sum(not find_leukocytes(read_image(file)).is_smear for file in files)
        share = wilson(refused, len(files)) if files else None
        print(f"-- {what}, photographs of single cells: {refused} of {len(files)} taken for no smear" +
              (f" ({share.low:.3f} to {share.high:.3f})" if share else ""), flush=True)
    for kind, pictures in no_smears().items():
        seen = {name: find_leukocytes(pixels) for name, pixels in pictures}
        passed = {name: len(found.cells) for name, found in seen.items() if found.is_smear}
        named = ", ".join(f"{name} ({count} cells)" for name, count in passed.items())
        print(f"-- {kind} taken for a smear: {len(passed)} of {len(seen)}, with cells "
              f"{sum(count > 0 for count in passed.values())}: {named}", flush=True)


def main() -> None:
    """Print the figures."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    given = os.environ.get("LEUKOSCOPE_DATA")
    data = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not data.is_dir():
        print(f"no real fields: {data} does not exist (set LEUKOSCOPE_DATA)")
        return
    fields = bccd_fields(data / "bccd", "test")
    report("BCCD, test list", fields[::max(-(-len(fields) // most), 1)])
    for what, pattern in (("Chula, held out", "chula/WBC_Samples/valid/images/*"),
                          ("Chula, trained on", "chula/WBC_Samples/train/images/*"),
                          ("phone, held out", "phone_pig/[vt][ae][ls]*/images/*"),
                          ("phone, trained on", "phone_pig/train/images/*")):
        report(what, yolo_fields(spread(list(data.glob(pattern)), most)))
    false_cells("Chula's red cells", spread(list((data / "chula_rbc" / "Dataset").iterdir()), most))
    gate(data, min(most, 60))


if __name__ == "__main__":
    main()
