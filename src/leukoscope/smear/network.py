"""The network of the finder: of each pixel, whether it is nucleus, leukocyte or the middle of one.

A small U-Net (Ronneberger et al. 2015) as an ONNX file, run by ONNX Runtime. Knows nothing of boxes, cells or
micrometres: optical density in, three probabilities out. `train_network.py` trains and writes it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OUTPUTS = ("nucleus", "cell", "core")
"""core: the middle of a leukocyte, by which cells that touch are told apart."""
STRIDE = 8
"""px: sides that the network takes are multiples of this, and so are shifts that it follows exactly."""
REACH = 48
"""px: no output depends on anything farther away."""
FILE = "outline.onnx"
INPUT, OUTPUT = "density", "maps"


def predict_maps(density: Float32[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "3 height width"]:
    """Probabilities of nucleus, cell and core of each pixel. What lies beyond the window counts as empty."""
    height, width = density.shape[:2]
    padded = np.zeros((1, 3, height + -height % STRIDE, width + -width % STRIDE), np.float32)
    padded[0, :, :height, :width] = density.transpose(2, 0, 1)
    maps = np.asarray(finder().run([OUTPUT], {INPUT: padded})[0], np.float32)
    return np.ascontiguousarray(maps[0, :, :height, :width])


@cache
def finder() -> InferenceSession:
    """The network that comes with Leukoscope: `density` (n, 3, height, width) to `maps` (n, 3, height, width)."""
    return open_network((files("leukoscope.smear") / FILE).read_bytes())


def open_network(content: bytes) -> InferenceSession:
    """A session that keeps no memory between calls: tiles differ in size, and an arena would hold the largest."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
