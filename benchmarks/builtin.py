"""How fast the built-in model is beside the one that the package had before, cell by cell, in one run and one thread.

    python benchmarks/builtin.py [FORMER.zip]

Without a file, the former bundle is read from the history of the repository. Both graphs get the same prepared cells;
preparing them (framing) is timed beside, since it belongs to every prediction.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession

from leukoscope.bundle.bundle import INPUT, open_bundle
from leukoscope.phantom import render_cell
from leukoscope.predict.batches import BATCH
from leukoscope.predict.classifiers import prepared
from leukoscope.predict.model import packaged_model

FORMER = "e6e6694:src/leukoscope/packaged/leukoscope-small.zip"
"""The built-in model of one laboratory, with eight classes."""
ROUNDS = 7


def graph_of(content: bytes) -> InferenceSession:
    """A graph in one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def former_bundle() -> bytes:
    """Of the file that is named, or of the history."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1]).read_bytes()
    answer = subprocess.run(["git", "show", FORMER], cwd=Path(__file__).parent, capture_output=True, check=False)
    if answer.returncode:
        sys.exit(f"no former bundle in the history ({answer.stderr.decode().strip()}): name its file")
    return answer.stdout


def main() -> None:
    """Print milliseconds a cell and the ratio."""
    bundle = open_bundle(packaged_model())
    with zipfile.ZipFile(io.BytesIO(former_bundle())) as archive:
        former = archive.read("model.onnx")
    graphs = {"former": graph_of(former), "built-in": graph_of(bundle.parts["model.onnx"])}
    rng = np.random.default_rng(0)
    cells = {}
    for name, graph in graphs.items():
        side = graph.get_inputs()[0].shape[1]
        cells[name] = rng.integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(ROUNDS):  # in turn, so that a busy machine slows both
        for name, graph in graphs.items():
            start = time.process_time()
            graph.run(None, {INPUT: cells[name]})
            seconds[name].append((time.process_time() - start) / BATCH)
    took = {name: median(values[1:]) for name, values in seconds.items()}
    photographs = [render_cell("lymphocyte", size=240, seed=seed).pixels for seed in range(8)]
    start = time.process_time()
    for pixels in photographs:
        prepared(pixels, bundle.description)
    framing = (time.process_time() - start) / len(photographs)
    for name, graph in graphs.items():
        print(f"{name:<9} {1000 * took[name]:6.2f} ms a cell, {graph.get_inputs()[0].shape[1]} px")
    print(f"framing   {1000 * framing:6.2f} ms a cell")
    ratio = took["former"] / took["built-in"]
    print(f"the built-in model is {ratio:.2f} times as fast (at least 1: {'ok' if ratio >= 1 else 'below'})")


if __name__ == "__main__":
    main()
