"""Augmentation of a batch of 64 at 224 x 224 beside torchvision v2, one image at a time, with the same steps.

Both start from uint8 cells in memory and end with normalised float32 planes, on one core. Bilinear resampling in
both; torchvision fills the border with zeros, which is less work than reflecting.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms import v2

from leukoscope.cells.augment import augment_cpu, sample_changes
from leukoscope.images.read import read_image
from leukoscope.images.resample import resize
from leukoscope.recipes import Augment
from peers import cell_files, machine, report, times_in_turn

CELLS, SIZE, TARGET = 64, 224, 4.0
MEAN, STD = (0.87, 0.75, 0.72), (0.16, 0.19, 0.08)
GEOMETRY = Augment(rotation=180, shear=10, shift=0.1, zoom=0.2, flip_horizontal=True, flip_vertical=True)
COLOUR = GEOMETRY.model_copy(update={"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05})


def torchvision_steps(augment: Augment) -> v2.Compose:
    """The same steps as torchvision users write them."""
    affine = v2.RandomAffine(
        [-augment.rotation, augment.rotation], translate=(augment.shift, augment.shift),
        scale=(1 - augment.zoom, 1 + augment.zoom), shear=[-augment.shear, augment.shear],
        interpolation=v2.InterpolationMode.BILINEAR)
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), affine]
    if augment.brightness:
        steps.append(v2.ColorJitter(augment.brightness, augment.contrast, augment.saturation, augment.hue))
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def main() -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files, what = cell_files(Path(folder), CELLS)
        pixels = np.stack([resize(read_image(file), SIZE) for file in files])
    print(f"augmentation: {CELLS} {what}, at {SIZE} x {SIZE}; {machine()}")
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    epoch = iter(range(1_000_000))

    def ours(augment: Augment) -> np.ndarray:
        changes = sample_changes(augment, seed=0, epoch=next(epoch), cells=np.arange(CELLS), size=SIZE)
        return augment_cpu(pixels, changes, MEAN, STD)

    for name, augment in (("geometry", GEOMETRY), ("geometry and colour", COLOUR)):
        steps = torchvision_steps(augment)
        seconds = times_in_turn({"ours": lambda a=augment: ours(a),
                                 "peer": lambda s=steps: torch.stack([s(image) for image in images])}, rounds=7)
        report(f"{name}, against torchvision v2", CELLS, seconds["ours"], seconds["peer"], TARGET)


if __name__ == "__main__":
    main()
