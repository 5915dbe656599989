"""An epoch of 224 x 224 cells from the packed cache, from the second epoch on, beside ImageFolder + DataLoader.

The peer decodes, resizes and normalises in 2 worker processes, which live on between epochs. The packed file is read
through the page cache, as in training from the second epoch on. Then growth: ten times the cells, at most eleven times
the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from leukoscope.cells import CellBatches, PackedCells, pack_cells
from leukoscope.cells.input_steps import InputSteps
from leukoscope.manifest import make_manifest
from leukoscope.recipes import Augment, Edges, Preprocess, load_recipe
from peers import cell_files, class_folders, machine, report, times_in_turn

CELLS, SIZE, BATCH = 600, 224, 64
MEAN, STD = (0.87, 0.75, 0.72), (0.16, 0.19, 0.08)
STEPS = InputSteps(Preprocess(), Edges(), np.array(MEAN), np.array(STD))
AFFINE = Augment(rotation=180, shear=10, shift=0.1, zoom=0.2)
RECIPE = load_recipe("shalini2022").augment.model_copy(update={"copies": {}})
"""The changes of that recipe, drawn anew instead of once."""


def peer_loader(root: Path, augment: Augment | None) -> DataLoader:
    """As torchvision's own tutorials load a folder of classes."""
    steps: list[Callable[..., object]] = [transforms.Resize((SIZE, SIZE))]
    if augment:
        steps.append(transforms.RandomAffine(
            augment.rotation, translate=(augment.shift, augment.shift), scale=(1 - augment.zoom, 1 + augment.zoom),
            shear=augment.shear, interpolation=transforms.InterpolationMode.BILINEAR))
        steps += [transforms.RandomHorizontalFlip()] if augment.flip_horizontal else []
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return DataLoader(ImageFolder(str(root), transforms.Compose(steps)), BATCH, shuffle=True, num_workers=2,
                      persistent_workers=True)


def our_batches(packed: PackedCells, augment: Augment | None, cells: int = CELLS) -> CellBatches:
    """`cells` of them; the packed ones come again where there are fewer."""
    rows = np.arange(cells) % len(packed.cell_ids)
    return CellBatches(packed, rows, rows % 2, batch_size=BATCH, augment=augment, steps=STEPS, seed=0,
                       shuffle=True)


def run_epoch(batches: DataLoader | CellBatches) -> int:
    return sum(len(batch[1]) for batch in batches)


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files, what = cell_files(folder, CELLS)
        print(f"loading: {CELLS} {what}, to {SIZE} x {SIZE}; {machine()}")
        manifest = make_manifest([{"cell_id": str(n), "image": str(file)} for n, file in enumerate(files)])
        packed = pack_cells(manifest, Preprocess(size=SIZE), cache=folder)
        root = class_folders(folder, files)
        for name, augment, target in (("no augmentation", None, 10.0), ("affine augmentation", AFFINE, 4.0),
                                      ("changes of shalini2022", RECIPE, 4.0)):
            seconds = times_in_turn({"ours": partial(run_epoch, our_batches(packed, augment)),
                                     "peer": partial(run_epoch, peer_loader(root, augment))})
            report(f"epoch, {name}, against ImageFolder", CELLS, seconds["ours"], seconds["peer"], target)
        _print_growth(folder, packed, manifest)


def _print_growth(folder: Path, packed: PackedCells, manifest: pl.DataFrame) -> None:
    fresh = iter(range(1_000_000))

    def pack(count: int) -> PackedCells:
        return pack_cells(manifest.head(count), Preprocess(size=SIZE), cache=folder / f"fresh{next(fresh)}")

    for name, once, ten_times in (
        ("packing 60 and 600 cells", partial(pack, 60), partial(pack, 600)),
        ("serving 300 and 3,000 cells", partial(run_epoch, our_batches(packed, AFFINE, 300)),
         partial(run_epoch, our_batches(packed, AFFINE, 3000))),
    ):
        seconds = times_in_turn({"once": once, "ten times": ten_times})
        growth = seconds["ten times"] / seconds["once"]
        print(f"{name:<58} {growth:.1f} times the time for ten times the cells (at most 11: "
              f"{'ok' if growth <= 11 else 'above'})", flush=True)


if __name__ == "__main__":
    main()
