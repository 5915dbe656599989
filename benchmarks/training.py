"""Training at 224 x 224 on a GPU: an epoch of ours (decoded once, augmented on the device) beside the plain loop over
ImageFolder and DataLoader at the same precision, and beside the same steps on data that are in device memory already.

Without a GPU it runs a small network on few cells, to show that it works; those ratios say nothing.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import polars as pl
import torch
from torch import nn
from torch.nn import functional

from leukoscope.manifest import make_manifest
from leukoscope.networks import build_network
from leukoscope.recipes import Network, Recipe, load_recipe
from leukoscope.train.train import train
from loading import RECIPE as CHANGES
from loading import peer_loader
from peers import cell_files, class_folders, machine, report, times_in_turn

GPU = torch.cuda.is_available()
NAME, CELLS, BATCH, EPOCHS = ("resnet50", 4096, 64, 4) if GPU else ("resnet18", 128, 64, 2)
DEVICE = "cuda" if GPU else "cpu"


def one_step(network: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Forward, backward and update, in bfloat16 where a GPU does it."""
    with torch.autocast(DEVICE, torch.bfloat16, enabled=GPU):
        loss = functional.cross_entropy(network(images).float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
    network = build_network(Network(name=NAME), classes=2, size=224).to(
        DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    return network, torch.optim.Adam(network.parameters(), 1e-4)


def plain_epoch(root: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for images, labels in peer_loader(root, CHANGES):
        one_step(network, optimizer, images.to(DEVICE, memory_format=torch.channels_last), labels.to(DEVICE))
    _wait()


def synthetic_epoch(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    images = torch.zeros(BATCH, 3, 224, 224, device=DEVICE).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(BATCH, dtype=torch.int64, device=DEVICE)
    for _ in range(CELLS // BATCH):
        one_step(network, optimizer, images, labels)
    _wait()


def _wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def our_epoch(recipe: Recipe, manifest: pl.DataFrame, folder: Path) -> float:
    """Seconds of the quickest epoch but the first, from the history of a run of `leukoscope train`."""
    run = train(recipe, manifest, folder)
    return float(pl.read_csv(run.fold_folder(0) / "history.csv")["seconds"][1:].min())  # type: ignore[arg-type]  # no null


def main() -> None:
    """Print the ratios."""
    print(f"training: {NAME} at 224, {CELLS} cells, batches of {BATCH}, on {DEVICE}; {machine()}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files, _ = cell_files(folder, CELLS)
        root = class_folders(folder, files)
        manifest = make_manifest([{"cell_id": str(n), "image": str(file), "label": "ab"[n % 2], "group": str(n)}
                                  for n, file in enumerate(files)])
        recipe = load_recipe("shalini2022", settings=[
            'data.classes=["a", "b"]', "data.positive=b", "augment.copies={}", f"network.name={NAME}",
            f"training.epochs={EPOCHS}", f"training.batch_size={BATCH}", "split.kind=holdout", "split.test=0.05",
            "split.validation=0.0"]).model_copy(update={"variants": {}})
        ours = our_epoch(recipe, manifest, folder / "run") / 0.95
        network, optimizer = fresh()
        seconds = times_in_turn({"plain": partial(plain_epoch, root, network, optimizer),
                                 "synthetic": partial(synthetic_epoch, network, optimizer)}, 2 if GPU else 1)
        for what, peer, target in (("the plain loop", "plain", 3.0), ("data in device memory", "synthetic", 0.8)):
            if GPU:
                report(f"epoch, against {what}", CELLS, ours, seconds[peer], target)
            else:
                print(f"epoch, against {what}: {seconds[peer] / ours:.1f} (no GPU, so no measure)")


if __name__ == "__main__":
    main()
