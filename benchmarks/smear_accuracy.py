"""How well leukocytes are found in BCCD's fields, beside a way without training: docs/smear.md shows what it prints.

The argument is the official list to evaluate: python benchmarks/smear_accuracy.py validation (the default)
The other way is thresholds in stain space, distance transform and nearest core, with the same scale, grid and drawing
of outlines; its two constants were chosen on the training and validation lists. --weights FILE takes other weights, as
`python -m leukoscope.smear.train_network` writes them. --circles prints only what is found behind a black circle, as
around a photograph through an eyepiece.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import ndimage

from leukoscope.datasets import bccd
from leukoscope.finder.network import open_network
from leukoscope.images.read import read_image
from leukoscope.images.stain import otsu
from leukoscope.phantom import render_field
from leukoscope.smear import find_leukocytes
from leukoscope.smear.formats import NamedField, cells_table
from leukoscope.smear.score import FieldScore, Truth, score_field, summarise
from leukoscope.stats import wilson

STAINED = 0.06
"""Red + green - 2 x blue density above which a place is stained as leukocytes are."""
REACH = 3.0
"""um: how far cytoplasm reaches beyond the nucleus, at most."""
LMU_PIXEL = 1 / 14.14
"""um: Matek and others 2019."""
PIXEL = 0.25
"""um per pixel of the grid, nearly; the way without training does not know it exactly."""

Field = tuple[NDArray[np.uint8], Truth]


def thresholded(density: NDArray[np.float32], **unused: bool) -> NDArray[np.float32]:
    """What the network answers, without a network: maps (3, h, w) of nucleus, cell and core."""
    index = cv2.GaussianBlur(density @ np.array([1, 1, -2], np.float32), (0, 0), 0.3 / PIXEL)
    stained = index > STAINED
    levels = np.clip(index * 200, 0, 255).astype(int)
    limit = otsu(np.bincount(levels[stained], minlength=256)) / 200 if stained.any() else 1.0
    nucleus = cv2.morphologyEx((index > limit).astype(np.uint8), cv2.MORPH_OPEN, disc(0.4))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(nucleus, cv2.MORPH_CLOSE, disc(1.0)))
    large, pieces = np.zeros(count, bool), np.asarray(pieces, np.int32)
    large[1:] = stats[1:, cv2.CC_STAT_AREA] * PIXEL**2 > 8
    joined = large[pieces]  # lobes that lie close together are one nucleus
    nucleus = (nucleus > 0) & joined
    near = np.asarray(ndimage.distance_transform_edt(~joined)) * PIXEL < REACH if joined.any() else joined
    cell = cv2.morphologyEx((((index > STAINED / 2) & near) | joined).astype(np.uint8), cv2.MORPH_CLOSE, disc(0.8))
    cell = np.asarray(ndimage.binary_fill_holes(cv2.morphologyEx(cell, cv2.MORPH_OPEN, disc(0.8)) > 0)) | nucleus
    depth = cv2.GaussianBlur(cv2.distanceTransform(cell.astype(np.uint8), cv2.DIST_L2, 5), (0, 0), 0.5 / PIXEL)
    core = (depth > 0.75 * cv2.dilate(depth, disc(4.0))) & cell
    return np.stack([nucleus, cell, core]).astype(np.float32)


def disc(radius: float) -> NDArray[np.uint8]:
    """A structuring element of `radius` um."""
    reach = max(round(radius / PIXEL), 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)), np.uint8)


def bccd_fields(data: Path, split: str) -> list[Field]:
    """The fields of an official list, those without leukocytes included."""
    fields = []
    boxes = bccd.index(data, "boxes").manifest.filter(pl.col("split") == split)
    for _, rows in boxes.group_by("field", maintain_order=True):
        leukocytes = rows.filter(pl.col("label") == "leukocyte").select("x", "y", "width", "height").to_numpy()
        truth = Truth(rows["field"][0], leukocytes, *bccd.read_outlines(rows["mask"][0]))
        fields.append((read_image(rows["image"][0]), truth))
    return fields


def phantom_fields(white_cells: float, count: int = 16) -> list[Field]:
    """Rendered fields of 90 x 67 um, none of them trained on; the more leukocytes, the more touch."""
    fields = []
    for seed in range(count):
        field = render_field(900, 675, seed=(5, seed), white_cells=white_cells)
        leukocytes = [n for n, cell in enumerate(field.cells) if cell.type != "platelet"]
        boxes = [(field.cells[n].x, field.cells[n].y, field.cells[n].width, field.cells[n].height) for n in leukocytes]
        wanted = np.isin(field.cell_labels, np.array(leukocytes, int) + 1)
        fields.append((field.pixels, Truth(f"phantom {seed}", np.array(boxes, np.int64).reshape(-1, 4),
                                          field.nucleus_labels > 0, wanted)))
    return fields


def single_cells(folder: Path, each: int = 24) -> None:
    """Print how many cells are found of PBC's images, which show one in the middle and were never trained on, and the
    median of their sizes at 0.098 um per pixel, the scale by the red cells.
    """
    kinds = {kind: f"{kind}/*" for kind in ("eosinophil", "basophil", "lymphocyte", "monocyte", "ig", "erythroblast",
                                            "platelet")}
    for kind, pattern in {"segmented neutrophil": "neutrophil/SNE*", "band": "neutrophil/BNE*", **kinds}.items():
        files = sorted(folder.glob(pattern))
        files = [files[n] for n in np.linspace(0, len(files) - 1, each).astype(int)]
        middle = [[cell for cell in find_leukocytes(read_image(file), pixel=0.098).cells
                   if np.hypot(cell.centre[0] - 180, cell.centre[1] - 181) < 45] for file in files]
        sizes = [cells[0].morphometry for cells in middle if cells]
        diameter, share = (np.median([getattr(cell, name) for cell in sizes] or [np.nan])
                           for name in ("cell_diameter_um", "nucleus_share"))
        lobes = np.bincount([min(cell.lobes, 4) for cell in sizes], minlength=5)[1:]
        print(f"PBC, {kind}: {len(sizes)} of {each} found; {diameter:.1f} um, nucleus {share:.2f} of the cell; "
              f"one, two, three, more lobes: {', '.join(map(str, lobes))}", flush=True)


def flagged_cells(laboratory: str, folder: Path, kinds: Sequence[str], pixel: float, each: int = 120) -> None:
    """Print how many cells in the middle of a laboratory's images the rule calls blast-like. kinds: folders, one for
    each type; pixel: um a pixel."""
    for kind in kinds:
        files = sorted((folder / kind).glob("*"))
        files = [files[n] for n in np.unique(np.linspace(0, len(files) - 1, each).astype(int))]
        cells = like_blasts = 0
        for file in files:
            pixels = read_image(file)
            (x, y), near = np.array(pixels.shape[1::-1]) / 2, pixels.shape[0] / 8
            named = NamedField(file.stem, file.name, find_leukocytes(pixels, pixel=pixel))
            middle = [row for row in cells_table([named], None).iter_rows(named=True)
                      if np.hypot(row["centre_x"] - x, row["centre_y"] - y) < near and not row["cut"]]
            cells += len(middle[:1])
            like_blasts += sum(row["flag"] is not None for row in middle[:1])
        share = wilson(like_blasts, cells)
        print(f"{laboratory}, {kind}: {like_blasts} of {cells} look like blasts ({share.low:.3f} to {share.high:.3f})",
              flush=True)


def circles(name: str, fields: list[Field], radius: int = 300) -> None:
    """Print how many leukocytes that lie whole inside a black circle, and inside the photograph, are found and not cut
    by the circle, and what is found at its rim where neither boxes nor masks know a leukocyte. Each field is shown
    through a circle of `radius` px around its middle, at 0.087 um a pixel. An outline that reaches the border of the
    photograph counts, as it does so without the circle.
    """
    inside, missed, corners = 0, [], []
    for pixels, truth in fields:
        height, width = pixels.shape[:2]
        y, x = np.indices((height, width))
        black = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2) > radius
        cells = find_leukocytes(np.where(black[..., None], np.uint8(5), pixels), pixel=0.087).cells
        for box in truth.boxes.tolist():
            left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
            if min(left, top) > 0 and right < width and bottom < height and not black[top:bottom, left:right].any():
                inside += 1
                if not any(_overlap(cell.box, box) >= 0.5 and (not cell.cut or _at_border(cell.box, width, height))
                           for cell in cells):
                    missed.append(f"{truth.name} {box}")
        corners += [f"{truth.name} {cell.box}" for cell in cells
                    if cell.cut and not any(_overlap(cell.box, box) > 0 for box in truth.boxes.tolist())
                    and not (truth.nucleus is not None and _part(truth.nucleus, cell.box)[cell.nucleus].mean() > 0.5)]
    print(f"-- {name} behind a circle of {radius} px, {len(fields)} fields: {inside - len(missed)} of {inside} whole "
          f"leukocytes found; {len(corners)} cells at the rim that are none", flush=True)
    print("".join(f"   {what}: {'; '.join(ones)}\n" for what, ones in (("missed", missed), ("at the rim", corners))
                  if ones), end="", flush=True)


def _at_border(box: Sequence[int], width: int, height: int) -> bool:
    return min(box[:2]) == 0 or box[0] + box[2] == width or box[1] + box[3] == height


def _part(mask: NDArray[np.bool_], box: Sequence[int]) -> NDArray[np.bool_]:
    return mask[box[1]:box[1] + box[3], box[0]:box[0] + box[2]]


def _overlap(first: Sequence[int], second: Sequence[int]) -> float:
    """Intersection over union of two boxes."""
    width, height = (min(first[i] + first[i + 2], second[i] + second[i + 2]) - max(first[i], second[i]) for i in (0, 1))
    common = max(width, 0) * max(height, 0)
    return common / (first[2] * first[3] + second[2] * second[3] - common)


def evaluate(name: str, fields: list[Field], ways: dict[str, Callable | None]) -> None:
    """Print the table of each way, and the fields where a box has no partner."""
    for way, maps in ways.items():
        if maps is None:
            scores = [score_field(find_leukocytes(pixels), truth) for pixels, truth in fields]
        else:
            with patch("leukoscope.smear.find.predict_maps", maps):
                scores = [score_field(find_leukocytes(pixels), truth) for pixels, truth in fields]
        print(f"-- {name}, {way}: {summarise(scores).table()}", flush=True)
        print("\n".join(map(faults, filter(faults, scores))), flush=True)


def faults(score: FieldScore) -> str:
    """Which boxes have no partner; or ""."""
    parts = [f"{what} {', '.join(map(str, numbers))}" for what, numbers in (
        ("true boxes missed:", score.missed), ("found without a box:", score.extra)) if numbers]
    return f"   {score.name}: {'; '.join(parts)}" if parts else ""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("split", nargs="?", choices=["train", "validation", "test"], default="validation")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--circles", action="store_true")
    chosen = parser.parse_args()
    ways: dict[str, Callable | None] = {"network": None, "thresholds": thresholded}
    if chosen.weights:
        network = open_network(chosen.weights.read_bytes())
        patch("leukoscope.finder.network.finder", lambda *_: network).start()
    given = os.environ.get("LEUKOSCOPE_DATA")
    data = (Path(given) if given else Path(__file__).parents[2] / "shared" / "data") / "bccd"
    if data.is_dir():
        circles(f"BCCD, {chosen.split}", bccd_fields(data, chosen.split)[:30])
        if chosen.circles:
            return
        evaluate(f"BCCD, {chosen.split}", bccd_fields(data, chosen.split), ways)
        single_cells(data.parent / "pbc" / "PBC_dataset_normal_DIB")
        flagged_cells("PBC", data.parent / "pbc" / "PBC_dataset_normal_DIB",
                      ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte", "ig", "erythroblast"), 0.098)
        flagged_cells("LMU", data.parent / "lmu", ("MYO", "NGS", "LYT", "MON", "EOS"), LMU_PIXEL)
    else:
        print(f"no real fields: {data} does not exist (set LEUKOSCOPE_DATA)")
    for white_cells in (0.5, 2.0):
        evaluate(f"phantoms, {white_cells:g} leukocytes per 1,000 um2", phantom_fields(white_cells), ways)


if __name__ == "__main__":
    main()
