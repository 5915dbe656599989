"""Trains the network that outlines leukocytes: python -m leukoscope.smear.train_network BCCD -o outline.onnx

BCCD is its folder with masks, of which the fields of the official training list are used. Phantom smears with exact
truth are rendered. `--cells` adds photographs of single cells, outlined by the network before this one (self-training),
`--boxes` fields with boxes of leukocytes, or without any. Stain, light and focus are changed hard. The
same seed gives the same weights on the same machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from ..datasets import bccd
from ..files import atomic_path
from ..finder.frame import outline_photograph
from ..finder.network import INPUT, OUTPUT, OUTPUTS
from ..finder.outline import NUCLEUS, separate
from ..images.read import read_image
from ..images.stain import optical_density, otsu, white_point
from ..manifest import read_manifest
from ..networks.onnx_file import write_onnx
from ..phantom.render import render_field
from .even import even_field
from .source import field_source
from .survey import survey

SIDE = 112
"""px of a crop: two cells that touch."""
BATCH = 8
STEPS = 2000
RATE = 4e-3
PHANTOMS = 160
SCALES = (0.15, 0.36)
"""um a pixel: what the working grid may be (grid.py), and a little more."""
CORE = 0.45
"""The core of a cell lies farther from its outline than this share of the most that it can."""
USUAL_BCCD = 0.082
"""um that a pixel of a BCCD field is taken for, one figure for all, since single fields show few red cells. These say
0.087 in the median, which is well within the scales that training varies."""

_GRID = 0.25  # um: pixels of the working grid
_ANOTHER = 10_000  # number of a cell that is laid into a crop

WIDTHS = (12, 24, 32, 48)


class Outliner(nn.Module):
    """Optical density (n, 3, height, width) to logits (n, 3, height, width), in the order of OUTPUTS."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(_pair(before, width) for before, width in zip((3, *WIDTHS), WIDTHS, strict=False))
        self.up = nn.ModuleList(_single(below + width, width)
                                for width, below in zip(WIDTHS[-2::-1], WIDTHS[:0:-1], strict=True))
        self.last = nn.Conv2d(WIDTHS[0], len(OUTPUTS), 1)

    def forward(self, density: Float32[Tensor, "n 3 height width"]) -> Float32[Tensor, "n 3 height width"]:
        skips, maps = [], density
        for number, block in enumerate(self.down):
            maps = block(functional.max_pool2d(maps, 2) if number else maps)
            skips.append(maps)
        for block, beside in zip(self.up, skips[-2::-1], strict=True):
            maps = block(torch.cat([functional.interpolate(maps, scale_factor=2.0, mode="nearest"), beside], dim=1))
        return self.last(maps)


def _single(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_single(before, after), *_single(after, after))


def write_network(network: Outliner, path: Path) -> None:
    """The network as ONNX, with a sigmoid behind it, for any number of windows of any sides that STRIDE divides."""
    axes = {0: torch.export.Dim("n"), 2: 8 * torch.export.Dim("rows"), 3: 8 * torch.export.Dim("columns")}
    write_onnx(nn.Sequential(network, nn.Sigmoid()).eval(), torch.zeros(2, 3, 64, 96), path, inputs=[INPUT],
               outputs=[OUTPUT], axes=axes)


@dataclass(frozen=True, eq=False)
class Sample:
    """A field to train on: uint8 (h, w, 3), nuclei bool (h, w), cells int32 (h, w) numbered from 1, and how deep in its
    cell each pixel lies, float32 (h, w) in 0 .. 1; um a pixel.
    """

    pixels: NDArray[np.uint8]
    nuclei: NDArray[np.bool_]
    cells: NDArray[np.int32]
    depth: NDArray[np.float32]
    white: NDArray[np.float64]
    scale: float


@dataclass(frozen=True, eq=False)
class Crop:
    """A piece of a sample: optical density (SIDE, SIDE, 3), nuclei, cells, depth."""

    density: NDArray[np.float32]
    nuclei: NDArray[np.bool_]
    cells: NDArray[np.int32]
    depth: NDArray[np.float32]


# ------------------------------------------------------------------------------------------------ what is trained on

def bccd_samples(data: Path, split: str = "train") -> list[Sample]:
    """The fields of an official list of BCCD, at half their size."""
    boxes = bccd.index(data, "boxes").manifest.filter(pl.col("split") == split)
    samples = []
    for _, rows in boxes.group_by("field", maintain_order=True):
        pixels = read_image(rows["image"][0])
        nuclei, cells = bccd.read_outlines(rows["mask"][0])
        half = tuple(side // 2 for side in pixels.shape[1::-1])
        small, nuclei, cells = (cv2.resize(image, half, interpolation=cv2.INTER_AREA)
                                for image in (pixels, nuclei * np.float32(1), cells * np.float32(1)))
        middles = rows.filter(pl.col("label") == "leukocyte").select(
            pl.col("x") + pl.col("width") / 2, pl.col("y") + pl.col("height") / 2)
        numbers = numbered(cells > 0.5, middles.to_numpy() / 2)
        samples.append(Sample(small.astype(np.uint8), nuclei > 0.5, numbers, depths(numbers), white_point(pixels),
                              2 * USUAL_BCCD))
    return samples


def numbered(mask: NDArray[np.bool_], centres: NDArray[np.float64]) -> NDArray[np.int32]:
    """Number the pieces of a mask; one that holds the middle (x, y) of several boxes is parted by the nearest."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    rows, columns = np.indices(mask.shape)
    place = np.clip(centres.astype(int), 0, np.array(mask.shape[::-1]) - 1)
    for piece in range(1, count):
        own = centres[pieces[place[:, 1], place[:, 0]] == piece]
        if len(own) > 1:
            nearest = np.argmin([(columns - x) ** 2 + (rows - y) ** 2 for x, y in own], axis=0)
            pieces = np.where(pieces == piece, np.where(nearest == 0, piece, pieces.max() + nearest), pieces)
    return pieces.astype(np.int32)


def phantom_samples(count: int, seed: int = 11) -> list[Sample]:
    """Rendered fields, each of a subject of its own, sparse to crowded. Platelets count as background."""
    samples = []
    for number in range(count):
        density = float(np.random.default_rng((seed, number)).choice([0.3, 1, 2, 3.5]))
        field = render_field(440, 330, seed=(seed, number), micrometres_per_pixel=0.15, white_cells=density)
        names = [0, *(0 if cell.type == "platelet" else n for n, cell in enumerate(field.cells, start=1))]
        cells = np.array(names, np.int32)[field.cell_labels]
        samples.append(Sample(field.pixels, field.nucleus_labels > 0, cells, depths(cells), white_point(field.pixels),
                              0.15))
    return samples


def depths(cells: NDArray[np.int32]) -> NDArray[np.float32]:
    """How far each pixel lies from the outline of its cell, 1 at the deepest. The edge of the field is no outline."""
    depth = np.zeros(cells.shape, np.float32)
    for number, place in enumerate(ndimage.find_objects(cells), start=1):
        if place is not None:
            window = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in place)
            mask = cells[window] == number
            inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
            depth[window][mask] = inside[mask] / inside.max()
    return depth


def cell_samples(manifest: pl.DataFrame, most: int, seed: int = 5) -> list[Sample]:
    """Photographs of single cells, at most `most` of each laboratory, as the present network outlines them. One in
    which it finds no cell is left out."""
    samples = []
    for _, rows in manifest.group_by("source", maintain_order=True):
        for image in rows.sample(min(most, rows.height), seed=seed)["image"]:
            outlined = outline_photograph(read_image(image))
            if outlined is not None:
                small, white, maps = outlined
                cells = separate(maps, 100)
                samples.append(Sample(small, maps[NUCLEUS] > 0.5, cells, depths(cells), white, _GRID))
    return samples


def boxed_samples(fields: pl.DataFrame) -> list[Sample]:
    """Fields with boxes of leukocytes: the cell is the ellipse in its box, the nucleus what is dark in it. Fields
    without a scale are left out."""
    samples = []
    for _, rows in fields.group_by("image", maintain_order=True):
        boxes = rows.drop_nulls("x").select("x", "y", "width", "height").to_numpy().astype(float)
        source = field_source(read_image(rows["image"][0]))
        source = even_field(source) or source
        scale = survey(source).scale.micrometres_per_pixel
        if scale is None:
            continue
        by = min(1.0, scale / _GRID)
        size = round(source.width * by), round(source.height * by)
        pixels = source.read(0, 0, source.width, source.height)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        white = white_point(small)
        nuclei, cells = _in_boxes(optical_density(small, white), boxes * by)
        samples.append(Sample(small, nuclei, cells, depths(cells), white, scale / by))
    return samples


def _in_boxes(density: NDArray[np.float32], boxes: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Nuclei and numbered cells. density: (height, width, 3)."""
    dark = np.clip(density[..., :2].mean(axis=2) * 200, 0, 255).astype(np.uint8)
    nuclei, cells = np.zeros(dark.shape, bool), np.zeros(dark.shape, np.int32)
    for number, (x, y, width, height) in enumerate(boxes, start=1):
        ellipse = np.zeros(dark.shape, np.uint8)
        cv2.ellipse(ellipse, (round(x + width / 2), round(y + height / 2)),
                    (max(1, round(0.47 * width)), max(1, round(0.47 * height))), 0, 0, 360, 1, cv2.FILLED)
        own = ellipse > 0
        if own.any():
            level = otsu(np.bincount(dark[own], minlength=256))
            cells[own] = number
            nuclei |= own & (dark > level)
    return nuclei, cells


# ------------------------------------------------------------------------------------------------ how it is varied

def crop(sample: Sample, rng: np.random.Generator) -> Crop:
    """A turned, mirrored, stretched piece at a scale within SCALES, mostly near a cell."""
    height, width = sample.nuclei.shape
    centre = rng.uniform(0, 1, 2) * (width, height)
    if rng.random() < 0.7 and sample.cells.any():
        rows, columns = np.nonzero(sample.cells)
        chosen = rng.integers(len(rows))
        centre = np.array([columns[chosen], rows[chosen]]) + rng.normal(0, 20, 2)
    zoom = sample.scale / np.exp(rng.uniform(*np.log(SCALES))) * np.exp(rng.normal(0, 0.05))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([zoom * rng.choice([-1, 1]) * np.exp(rng.normal(0, 0.04)), zoom])
    move = np.column_stack([turn, SIDE / 2 - turn @ centre]).astype(np.float32)
    pixels = sample.pixels
    if zoom < 1:
        pixels = cv2.GaussianBlur(pixels, (0, 0), max(0.4 * (1 / zoom - 0.6), 0.1))

    def warped(image: NDArray, method: int) -> NDArray:
        return np.asarray(cv2.warpAffine(image, move, (SIDE, SIDE), flags=method, borderMode=cv2.BORDER_REFLECT_101))

    return Crop(optical_density(warped(pixels, cv2.INTER_LINEAR), sample.white),
                warped(sample.nuclei.astype(np.float32), cv2.INTER_LINEAR) > 0.5,
                warped(sample.cells.astype(np.int16), cv2.INTER_NEAREST).astype(np.int32),
                warped(sample.depth, cv2.INTER_LINEAR))


def lay_in(crop_: Crop, other: Crop, rng: np.random.Generator) -> Crop:
    """With one cell of another crop laid in, beside or a little over another; as it was where no place is found."""
    edges = np.concatenate([other.cells[0], other.cells[-1], other.cells[:, 0], other.cells[:, -1]])
    numbers = sorted(set(np.unique(other.cells).tolist()) - set(edges.tolist()) - {0})
    if not numbers:
        return crop_
    mask = other.cells == rng.choice(numbers)
    middle = [int(at.mean()) for at in np.nonzero(mask)]
    for place in rng.integers(8, SIDE - 8, (8, 2)):
        shift = (int(place[0]) - middle[0], int(place[1]) - middle[1])
        moved = _moved(mask, shift)
        hidden = np.bincount(crop_.cells[moved])[1:]
        if not crop_.cells.any() or 0 < hidden.max(initial=0) < 0.15 * mask.sum():
            nuclei, density, depth = (_moved(image, shift) for image in (
                other.nuclei, other.density, other.depth))
            soft = cv2.GaussianBlur(moved.astype(np.float32), (0, 0), 0.8)[..., None]
            return Crop(crop_.density * (1 - soft) + density * soft, np.where(moved, nuclei, crop_.nuclei),
                        np.where(moved, _ANOTHER, crop_.cells), np.where(moved, depth, crop_.depth))
    return crop_


def _moved(image: NDArray, shift: tuple[int, int]) -> NDArray:
    """Shifted by rows and columns; what comes in is 0."""
    moved = np.roll(image, shift, (0, 1))
    for axis, by in enumerate(shift):
        gone = slice(0, by) if by > 0 else slice(moved.shape[axis] + by, None)
        moved[(slice(None),) * axis + (gone,)] = 0
    return moved


def tinge(density: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Another stain, camera, lamp and focus."""
    mix = np.eye(3) + rng.normal(0, 0.12, (3, 3))
    gains = np.exp(rng.normal(0, 0.35) + rng.normal(0, 0.22, 3))
    density = np.sign(density) * np.abs(density) ** np.exp(rng.normal(0, 0.15))
    density = (density @ mix.T * gains + rng.normal(0, 0.02, 3)).astype(np.float32)
    if rng.random() < 0.3:
        down, right = rng.normal(0, 0.04, 2)
        slope = np.linspace(-1, 1, SIDE, dtype=np.float32)
        density = (density + down * slope[:, None, None] + right * slope[None, :, None]).astype(np.float32)
    focus = rng.random()
    if focus < 0.35:
        density = np.asarray(cv2.GaussianBlur(density, (0, 0), rng.uniform(0.4, 1.6)), np.float32)
    elif focus < 0.5:
        density += np.float32(0.5) * (density - np.asarray(cv2.GaussianBlur(density, (0, 0), 1.0), np.float32))
    return (density + rng.normal(0, rng.uniform(0, 0.02), density.shape)).astype(np.float32)


# ------------------------------------------------------------------------------------------------ training

def batches(groups: Sequence[Sequence[Sample]], rng: np.random.Generator
            ) -> Iterator[tuple[Float32[Tensor, "n 3 side side"], Float32[Tensor, "n 3 side side"]]]:
    """Density and targets without end; each group of samples is drawn as often as every other."""
    while True:
        seen, targets = [], []
        for _ in range(BATCH):
            group = groups[int(rng.integers(len(groups)))]
            one = crop(group[int(rng.integers(len(group)))], rng)
            if rng.random() < 0.5:
                one = lay_in(one, crop(group[int(rng.integers(len(group)))], rng), rng)
            seen.append(tinge(one.density, rng))
            targets.append(np.stack([one.nuclei, one.cells > 0, one.depth > CORE]).astype(np.float32))
        density = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
        yield density.contiguous(memory_format=torch.channels_last), torch.from_numpy(np.stack(targets))


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, and half of what Dice lacks of 1, each output by itself."""
    shares = logits.sigmoid()
    common = (shares * targets).sum((0, 2, 3))
    dice = (2 * common + 1) / (shares.sum((0, 2, 3)) + targets.sum((0, 2, 3)) + 1)
    return functional.binary_cross_entropy_with_logits(logits, targets) + 0.5 * (1 - dice).mean()


def fit(groups: Sequence[Sequence[Sample]], *, steps: int = STEPS, seed: int = 0) -> Outliner:
    """A trained network. Prints the loss every hundred steps."""
    torch.manual_seed(seed)
    network = Outliner().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    total = 0.0
    for step, (density, targets) in zip(range(1, steps + 1), batches(groups, np.random.default_rng(seed)),
                                        strict=False):
        loss = loss_of(network(density), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}: loss {total / 100:.4f}", flush=True)
            total = 0.0
    return network.eval()


def main() -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(description="Train the network that outlines leukocytes.")
    parser.add_argument("data", type=Path, help="folder of BCCD, with nucleus_masks")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", type=Path, help="table of photographs of single cells")
    parser.add_argument("--most", type=int, default=150, help="of those, at most so many a laboratory")
    parser.add_argument("--boxes", type=Path, nargs="*", default=[], help="tables of fields with boxes of leukocytes, "
                        "or without any; each is drawn as often as BCCD")
    parser.add_argument("--on", choices=["both", "bccd", "phantoms"], default="both", help="for comparison")
    chosen = parser.parse_args()
    real = bccd_samples(chosen.data) if chosen.on != "phantoms" else []
    made = phantom_samples(PHANTOMS) if chosen.on != "bccd" else []
    photographs = cell_samples(read_manifest(chosen.cells), chosen.most) if chosen.cells else []
    boxed = [boxed_samples(read_manifest(path)) for path in chosen.boxes]
    groups = [group for group in (real, made, photographs, *boxed) if group]
    print("samples:", ", ".join(str(len(group)) for group in groups), flush=True)
    network = fit(groups, steps=chosen.steps, seed=chosen.seed)
    with atomic_path(chosen.output) as path:
        write_network(network, path)
    print(f"{sum(values.numel() for values in network.parameters())} parameters, written to {chosen.output}")


if __name__ == "__main__":
    main()
