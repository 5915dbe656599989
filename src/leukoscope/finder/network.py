"""The network of the finder: for each pixel, whether it is nucleus, leukocyte or the middle of one.

A small U-Net (Ronneberger et al. 2015) as an ONNX file, run by ONNX Runtime. Knows nothing of boxes, cells or
micrometres: optical density in, three probabilities out. `smear/train_network.py` trains and writes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from math import ceil
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Bool, Float32

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OUTPUTS = ("nucleus", "cell", "core")
"""core: the middle of a leukocyte, which separates cells that touch."""
STRIDE = 8
"""px: sides that the network takes are multiples of this, and so are shifts that it follows exactly."""
REACH = 48
"""px: no output depends on anything farther away. A multiple of STRIDE."""
BLOCK = 448
"""px: the longest side of what the network works on at once, which needs about 100 MB."""
FILE, WIDE_FILE = "outline.onnx", "outline_wide.onnx"
"""Two trainings of one network. The wide one saw harder changes of stain, and fields in which red cells are as blue or
as purple as nuclei; where they are not, the other one makes fewer mistakes."""
INPUT, OUTPUT = "density", "maps"
THREADS = "LEUKOSCOPE_THREADS"
"""Environment variable: threads of the network; as many as there are cores without it."""


def predict_maps(density: Float32[np.ndarray, "height width 3"], *,
                 wide: bool = False) -> Float32[np.ndarray, "3 height width"]:
    """Probabilities of nucleus, cell and core of each pixel. What lies beyond the window counts as empty. wide: by the
    network for unusual stains.

    A large window is worked on in blocks, which overlap by REACH on all sides: the answers are the same.
    """
    maps = np.empty((len(OUTPUTS), *density.shape[:2]), np.float32)
    for rows, inner_rows, target_rows in _blocks(density.shape[0]):
        for columns, inner_columns, target_columns in _blocks(density.shape[1]):
            block = density[rows, columns]
            beyond = [(0, -side % STRIDE) for side in block.shape[:2]]
            padded = np.pad(block.transpose(2, 0, 1), ((0, 0), *beyond))[None]
            answer = np.asarray(finder(WIDE_FILE if wide else FILE).run([OUTPUT], {INPUT: padded})[0], np.float32)
            maps[:, target_rows, target_columns] = answer[0, :, inner_rows, inner_columns]
    return maps


def predict_around(density: Float32[np.ndarray, "height width 3"], places: Bool[np.ndarray, "height width"], reach: int,
                   *, wide: bool = False) -> Float32[np.ndarray, "3 height width"]:
    """The same as `predict_maps` within `reach` px of `places`, and 0 elsewhere: where cells are few, most of the work
    is saved."""
    side = 2 * reach + 1
    near = cv2.dilate(places.astype(np.uint8), np.ones((side, side), np.uint8))
    _, _, boxes, _ = cv2.connectedComponentsWithStats(near)
    height, width = places.shape
    if sum((box[2] + 2 * REACH) * (box[3] + 2 * REACH) for box in boxes[1:].tolist()) > height * width:
        return predict_maps(density, wide=wide) * near.astype(np.float32)
    maps = np.zeros((len(OUTPUTS), height, width), np.float32)
    for left, top, across, down, _ in boxes[1:].tolist():
        # The window begins where the network's own grid does, so that its answers are those of the whole.
        x, y = (max(start - REACH, 0) // STRIDE * STRIDE for start in (left, top))
        answer = predict_maps(density[y:top + down + REACH, x:left + across + REACH], wide=wide)
        inner = np.s_[:, top:top + down, left:left + across]
        maps[inner] = np.maximum(maps[inner], answer[:, top - y:top - y + down, left - x:left - x + across])
    return maps * near.astype(np.float32)


def _blocks(side: int) -> Iterator[tuple[slice, slice, slice]]:
    """Along a side of a window: what a block spans, the part of its answer that is used, and where that goes."""
    count = 1 if side <= BLOCK else ceil(side / (BLOCK - 2 * REACH))
    length = ceil(side / count / STRIDE) * STRIDE
    for start in range(0, side, length):
        first, end = max(start - REACH, 0), min(start + length, side)
        yield slice(first, end + REACH), slice(start - first, end - first), slice(start, end)


@cache
def finder(file: str = FILE) -> InferenceSession:
    """The network that comes with Leukoscope: `density` (n, 3, height, width) to `maps` (n, 3, height, width)."""
    return open_network((files("leukoscope.finder") / file).read_bytes())


def open_network(content: bytes) -> InferenceSession:
    """A session that keeps no memory between calls: tiles differ in size, and an arena would hold the largest."""
    import onnxruntime as ort  # late: not needed before the first field

    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get(THREADS, "0"))
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave the core
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
