"""The learned microscope of dimuro2020 at 200 x 200 in batches of 32, forward and backward, with three and one kernel.

Its share of a training step together with DenseNet-121, forward and backward, without the optimizer. Compared with the
plain method: a complex Fourier transform and its inverse for each weighted channel; first both are checked to give the
same images and gradients. Then ten times the images, batch by batch, and the time to load and augment a batch, as a
share of a step.
With a GPU, the same there, and images per second of training compared with ImageFolder + DataLoader with one process
per core: the same network, precision and optimizer, epochs of the same length, only the batches differ.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from leukoscope.cells import CellBatches, PackedCells, pack_cells
from leukoscope.cells.input_steps import plain_steps
from leukoscope.manifest import make_manifest
from leukoscope.optics import Microscope, pool
from leukoscope.recipes import Preprocess, Recipe, load_recipe
from leukoscope.runs.network import fresh_network
from leukoscope.train.lightning_module import optimizer_for
from peers import Way, cell_files, class_folders, machine, report, times_in_turn
from spikes import growth

CELLS, SIZE, BATCH, ROUNDS = 512, 200, 32, 3
CLASSES = list("abcdefgh")
SAME = 1e-4
TURNS = 10
"""How often each cell comes in an epoch on the GPU: enough to keep all processes of the peer busy."""

Layer = Callable[[Tensor], Tensor]


def recipe_of(binning: int, transfer: str = "incoherent") -> Recipe:
    """dimuro2020 with learned optics and a sensor whose pixels are `binning` times as large."""
    return load_recipe("dimuro2020", settings=[
        f"data.classes={CLASSES}", f"optics.pool={binning}", f"optics.transfer={transfer}"])


def plain(microscope: Microscope, images: Tensor) -> Tensor:
    """The plain method with the same parameters: each channel is weighted, mirrored outwards and transformed by itself.
    """
    kernels, weights = microscope.psf(), microscope.illumination()
    reach, (height, width) = kernels.shape[-1] // 2, images.shape[-2:]
    signal = images.new_zeros(len(images), 1, height, width)
    for channel, kernel in enumerate(kernels.expand(len(weights), -1, -1)):
        lit = weights[channel] * images[:, channel:channel + 1]
        padded = functional.pad(lit, (reach, reach, reach, reach), mode="reflect")
        spread = functional.pad(kernel, (0, width - 1, 0, height - 1)).roll((-reach, -reach), (0, 1))
        blurred = torch.fft.ifft2(torch.fft.fft2(padded) * torch.fft.fft2(spread)).real
        signal = signal + blurred[..., reach:reach + height, reach:reach + width]
    return pool(signal, microscope.optics.pool)


def gradients(layer: Layer, learned: list[nn.Parameter], slopes: Tensor, images: Tensor) -> tuple[Tensor, ...]:
    """Of the learned parameters, after a pass forward and backward."""
    result = torch.autograd.grad(layer(images), learned, slopes)
    wait(images.device)
    return result


def train(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """A training step without the optimizer, at the precision of a run."""
    fast = images.is_cuda and torch.cuda.get_device_capability(images.device) >= (8, 0)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=fast):
        logits = network(images.contiguous(memory_format=torch.channels_last))
    functional.cross_entropy(logits.float(), labels).backward()


def step(recipe: Recipe, images: Tensor) -> Way:
    """`train` on one batch, with a network of its own."""
    network = placed(recipe, images.device)
    labels = torch.arange(len(images), device=images.device) % len(CLASSES)

    def run() -> None:
        network.zero_grad()
        train(network, images, labels)
        wait(images.device)

    return run


def epoch(recipe: Recipe, batches: CellBatches | DataLoader, device: torch.device) -> Way:
    """Training on all batches, with a network of its own."""
    network = placed(recipe, device)
    optimizer = optimizer_for(recipe, network)

    def run() -> None:
        for images, labels, *_ in batches:
            optimizer.zero_grad()
            train(network, images.to(device, non_blocking=True), labels.to(device, non_blocking=True))
            optimizer.step()
        wait(device)

    return run


def placed(recipe: Recipe, device: torch.device) -> nn.Module:
    """A fresh network on the device, with the memory format of a run."""
    return fresh_network(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch


def wait(device: torch.device) -> None:
    """Wait until the GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def our_batches(packed: PackedCells, recipe: Recipe, cells: int, device: str = "cpu") -> CellBatches:
    """Batches of `cells` cells; the packed ones are repeated where there are fewer."""
    rows = np.arange(cells) % len(packed.cell_ids)
    return CellBatches(packed, rows, rows % 2, batch_size=BATCH, augment=recipe.augment, steps=plain_steps(recipe),
                       seed=0, shuffle=True, device=device)


def peer_batches(root: Path, recipe: Recipe) -> DataLoader:
    """The same steps as torchvision users write them; the processes stay alive between epochs."""
    steps = transforms.Compose([
        transforms.CenterCrop(SIZE),
        transforms.RandomRotation(recipe.augment.rotation, transforms.InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip(), transforms.ToTensor()])
    return DataLoader(ImageFolder(str(root), steps), BATCH, shuffle=True, num_workers=max(2, os.cpu_count() or 1),
                      persistent_workers=True, pin_memory=torch.cuda.is_available())


def share(what: str, part: float, whole: float, target: float) -> None:
    """One line: a part of a training step, in per cent."""
    percent = 100 * part / whole
    print(f"{what:<58} {1e3 * part:.0f} of {1e3 * whole:.0f} ms, {percent:.1f} % of a step (under {target:g}: "
          f"{'ok' if percent < target else 'above'})", flush=True)


def check_same(ours: Layer, peer: Layer, learned: list[nn.Parameter], slopes: Tensor, images: Tensor) -> None:
    """AssertionError where the images differ, or the gradients by more than `SAME` of the largest."""
    torch.testing.assert_close(ours(images), peer(images), atol=SAME, rtol=0)
    for mine, other in zip(*(gradients(layer, learned, slopes, images) for layer in (ours, peer)), strict=True):
        torch.testing.assert_close(mine, other, atol=SAME * float(other.abs().max()), rtol=0)


def layer_beside(images: Tensor) -> None:
    """Print the time of the layer on the images' device, compared with a step and with the plain method."""
    where, target = (torch.cuda.get_device_name(), 10) if images.is_cuda else ("CPU", 15)
    slopes = torch.randn(BATCH, 1, SIZE // 2, SIZE // 2, device=images.device)
    for transfer in ("incoherent", "free"):
        recipe, name = recipe_of(2, transfer), f"{where}, {transfer}"
        microscope = Microscope(recipe.optics).to(images.device)
        learned = [values for values in microscope.parameters() if values.requires_grad]
        other = partial(plain, microscope)
        check_same(microscope, other, learned, slopes, images)
        ours = partial(gradients, microscope, learned, slopes)
        last = images.contiguous(memory_format=torch.channels_last)  # as it comes in training
        seconds = times_in_turn({"layer": partial(ours, last), "step": step(recipe, last)}, ROUNDS)
        share(f"{name}: the layer at N = 2", seconds["layer"], seconds["step"], target)
        seconds = times_in_turn({"ours": partial(ours, images),
                                 "peer": partial(gradients, other, learned, slopes, images)}, ROUNDS)
        report(f"{name}: the layer, against one FFT pair a channel", BATCH, seconds["ours"], seconds["peer"], 1.8)
        growth(f"{name}: the layer", lambda all_images, way=ours: [way(batch) for batch in all_images.split(BATCH)],
               images, images.repeat(10, 1, 1, 1))


def loading(packed: PackedCells, images: Tensor) -> None:
    """Print the time to load and augment a batch, with nothing else running."""
    batches = our_batches(packed, recipe_of(2), CELLS)
    steps = {f"N = {binning}": step(recipe_of(binning), images) for binning in (2, 4, 6)}
    seconds = times_in_turn({"cells": lambda: sum(len(batch.labels) for batch in batches), **steps}, ROUNDS)
    for name in steps:
        share(f"CPU: a batch loaded and augmented, {name}", seconds["cells"] / len(batches), seconds[name], 5)


def on_gpu(packed: PackedCells, root: Path) -> None:
    """Print images per second of training at N = 4, with both kinds of batches."""
    recipe, device, cells = recipe_of(4), torch.device("cuda"), TURNS * CELLS
    seconds = times_in_turn({"ours": epoch(recipe, our_batches(packed, recipe, cells, "cuda"), device),
                             "peer": epoch(recipe, peer_batches(root, recipe), device)})
    report("training at N = 4, against ImageFolder", cells, seconds["ours"], seconds["peer"], 2)


def main() -> None:
    """Print the shares and the ratios."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files, what = cell_files(folder, CELLS)
        print(f"optics: {CELLS} {what}, to {SIZE} x {SIZE}; {machine()}", flush=True)
        manifest = make_manifest([{"cell_id": str(n), "image": str(file)} for n, file in enumerate(files)])
        packed = pack_cells(manifest, Preprocess(crop=SIZE, size=SIZE, normalise="none"), cache=folder)
        images = (torch.from_numpy(np.array(packed.pixels[:BATCH])).movedim(-1, 1) / 255).contiguous()
        layer_beside(images)
        loading(packed, images)
        if torch.cuda.is_available():
            layer_beside(images.cuda())
            on_gpu(packed, class_folders(folder, TURNS * files))
        print(machine())


if __name__ == "__main__":
    main()
