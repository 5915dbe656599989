"""How fast the built-in model is beside the one that the package had before, cell by cell, in one run and one thread.

    python benchmarks/builtin.py

The former package is taken from the history of the repository. Two ratios: of the graphs alone, each at the size of
its own input; and of whole predictions from the same photographs, reading and framing included, each by its own
package in a process of its own.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession
from PIL import Image

from leukoscope.bundle.bundle import INPUT, open_bundle
from leukoscope.phantom import render_cell
from leukoscope.predict.batches import BATCH
from leukoscope.predict.model import packaged_model

FORMER = "e6e6694"
"""The last commit with the built-in model of one laboratory, with eight classes."""
FORMER_FILE = "src/leukoscope/packaged/leukoscope-small.zip"
ROUNDS = 7
PHOTOGRAPHS = 64
SIDE = 360  # px, as in PBC
WHOLE = """
import sys, time
from leukoscope import load
model, files = load(), sys.argv[1:]
model.predict(files[:4])
start = time.process_time()
model.predict(files)
print((time.process_time() - start) / len(files))
"""
"""What either package does with files, on the processor; s a cell."""


def graph_of(content: bytes) -> InferenceSession:
    """A graph in one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def git(*arguments: str) -> bytes:
    """What git prints of the repository."""
    answer = subprocess.run(["git", *arguments], cwd=Path(__file__).parents[1], capture_output=True, check=False)
    if answer.returncode:
        sys.exit(f"the former package is not in the history: {answer.stderr.decode().strip()}")
    return answer.stdout


def of_graphs() -> dict[str, float]:
    """Print and return seconds a cell of each network."""
    with zipfile.ZipFile(io.BytesIO(git("show", f"{FORMER}:{FORMER_FILE}"))) as archive:
        former = archive.read("model.onnx")
    graphs = {"former": graph_of(former), "built-in": graph_of(open_bundle(packaged_model()).parts["model.onnx"])}
    rng = np.random.default_rng(0)
    sides = {name: int(graph.get_inputs()[0].shape[1]) for name, graph in graphs.items()}
    cells = {name: rng.integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(ROUNDS):  # in turn, so that a busy machine slows both
        for name, graph in graphs.items():
            start = time.process_time()
            graph.run(None, {INPUT: cells[name]})
            seconds[name].append((time.process_time() - start) / BATCH)
    took = {name: median(values[1:]) for name, values in seconds.items()}
    for name, side in sides.items():
        print(f"{name:<9} {1000 * took[name]:6.2f} ms a cell, network alone, {side} px")
    return took


def of_predictions() -> dict[str, float]:
    """Print and return seconds of the processor a cell, from file to answer."""
    seconds: dict[str, list[float]] = {"former": [], "built-in": []}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with tarfile.open(fileobj=io.BytesIO(git("archive", FORMER, "src"))) as archive:
            archive.extractall(folder, filter="data")
        files = [folder / f"{seed}.png" for seed in range(PHOTOGRAPHS)]
        for seed, file in enumerate(files):
            label = ("lymphocyte", "neutrophil", "monocyte", "eosinophil")[seed % 4]
            Image.fromarray(render_cell(label, size=SIDE, seed=seed, micrometres_per_pixel=0.1).pixels).save(file)
        sources = {"former": folder / "src", "built-in": Path(__file__).parents[1] / "src"}
        for _ in range(3):
            for name, source in sources.items():
                answer = subprocess.run([sys.executable, "-W", "ignore", "-c", WHOLE, *map(str, files)],
                                        capture_output=True, text=True, check=False, cwd=folder,
                                        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"})
                if answer.returncode:
                    sys.exit(f"the {name} package does not predict: {answer.stderr.strip().splitlines()[-1]}")
                seconds[name].append(float(answer.stdout))
    took = {name: min(values) for name, values in seconds.items()}
    for name, value in took.items():
        print(f"{name:<9} {1000 * value:6.2f} ms a cell, from a photograph of {SIDE} px to the answer")
    return took


def main() -> None:
    """Print milliseconds a cell and the ratios."""
    for what, took in (("the network", of_graphs()), ("a whole prediction", of_predictions())):
        ratio = took["former"] / took["built-in"]
        print(f"{what} of the built-in model is {ratio:.2f} times as fast as before (at least 1: "
              f"{'ok' if ratio >= 1 else 'below'})")


if __name__ == "__main__":
    main()
