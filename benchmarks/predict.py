"""Prediction of PBC cells from JPEG files by a bundle, in 32 and in 8 bits, beside torch eager with a DataLoader on the
same network: images a second on the processor, processor time a cell, and the memory of ten times the cells.

Processor time is what a busy machine changes least. What bounds ResNet-18: its multiplications, 0.67 GFLOP a cell at
96 px, which ONNX Runtime does at nine tenths of what a core can do in float32; only fewer bits make it faster.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from leukoscope.bundle.bundle import Bundle, open_bundle
from leukoscope.commands.export import export_run
from leukoscope.manifest import make_manifest
from leukoscope.predict.stream import predict_stream
from leukoscope.recipes import make_recipe
from leukoscope.runs.network import load_network
from leukoscope.runs.run import Run
from leukoscope.train.train import train
from peers import Way, cell_files, class_folders, machine, report, times_in_turn

CELLS, SIZE, BATCH = 1000, 96, 32
NETWORKS, TARGET = ("resnet18", "densenet121"), 2.0
MEMORY = "--memory"


def trained(folder: Path, files: list[Path], name: str) -> Run:
    """A run of one step on a few cells: what it answers does not matter here."""
    cells = make_manifest([{"cell_id": str(n), "image": str(file), "label": "ab"[n % 2]}
                           for n, file in enumerate(files[:60])])
    recipe = make_recipe({"name": name, "network": {"name": name}, "preprocess": {"size": SIZE},
                          "training": {"epochs": 1}, "split": {"kind": "holdout", "test": 0.4, "validation": 0.4}})
    return train(recipe, cells, folder / name, accelerator="cpu")


def peer(run: Run, root: Path) -> None:
    network: nn.Module = load_network(run, 0)[0].to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    steps = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.ToTensor(),
                                transforms.Normalize((0.87, 0.75, 0.72), (0.16, 0.19, 0.08))])
    with torch.inference_mode():
        for images, _ in DataLoader(ImageFolder(str(root), steps), BATCH, num_workers=2):
            torch.softmax(network(images.contiguous(memory_format=torch.channels_last)), 1).numpy()


def processor_seconds(way: Way) -> float:
    """Of this process and its children."""
    def used() -> float:
        every = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in every)

    start = used()
    way()
    return used() - start


def ours(bundle: Bundle, root: Path, out: Path) -> None:
    predict_stream(bundle, [root], out, overwrite=True)


def peak(bundle: Path, root: Path, out: Path) -> float:
    """Peak memory in MB of a process that predicts a folder."""
    answer = subprocess.run([sys.executable, __file__, MEMORY, str(bundle), str(root), str(out)], check=True,
                            capture_output=True, text=True)
    return float(answer.stdout.split()[-1])


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files, what = cell_files(folder, CELLS)
        print(f"prediction: {CELLS} {what}, at {SIZE}; {machine()}")
        root = class_folders(folder, files)
        for name in NETWORKS:
            run = trained(folder, files, name)
            export_run(run, folder / f"{name}-bundle")
            export_run(run, folder / f"{name}-int8", int8=True)
            float32, int8 = (open_bundle(folder / f"{name}-{kind}") for kind in ("bundle", "int8"))
            table = folder / "p.parquet"
            ways: dict[str, Way] = {"peer": partial(peer, run, root), "32 bits": partial(ours, float32, root, table),
                                    "8 bits": partial(ours, int8, root, table)}
            seconds = times_in_turn(ways, 2)
            for kind in ("32 bits", "8 bits"):
                report(f"{name} in {kind} from files, against torch and DataLoader", CELLS, seconds[kind],
                       seconds["peer"], TARGET)
            spent = [f"{kind} {1000 * processor_seconds(way) / CELLS:.1f} ms" for kind, way in ways.items()]
            print(f"{name}, processor time a cell: {', '.join(spent)}", flush=True)
        many = class_folders(folder / "many", list(np.resize(np.array(files, object), 10 * CELLS)))
        few, ten = (peak(folder / "resnet18-bundle", where, folder / "m.parquet") for where in (root, many))
        print(f"peak memory: {few:.0f} MB for {CELLS:,} cells, {ten:.0f} MB for {10 * CELLS:,} ({ten / few:.2f} times; "
              f"at most 1.1: {'ok' if ten <= 1.1 * few else 'above'})")


if __name__ == "__main__":
    if sys.argv[1:2] == [MEMORY]:
        ours(open_bundle(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        main()
