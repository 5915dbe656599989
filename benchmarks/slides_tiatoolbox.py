"""The finder's network on a whole slide by TIAToolbox's tiled inference, for benchmarks/slides.py.

    PYTHON benchmarks/slides_tiatoolbox.py SLIDE [THREADS]

PYTHON has tiatoolbox and leukoscope. TIAToolbox finds the tissue, reads overlapping tiles, merges the maps and
stores them; cells are not outlined, measured or typed. Prints seconds of processors and of the clock, and the mm2 of
the tiles, as JSON.
"""

# pyright: reportMissingImports=false
# TIAToolbox is not among the dependencies.

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tiatoolbox.models import IOSegmentorConfig, SemanticSegmentor
from tiatoolbox.models.models_abc import ModelABC
from tiatoolbox.wsicore import WSIReader

from leukoscope.finder.network import INPUT, OUTPUT, REACH, THREADS, finder
from leukoscope.images.stain import optical_density, white_point

TILE, BATCH = 512, 4


class Finder(ModelABC):
    """The network as TIAToolbox takes it: pixels to maps, (batch, height, width, 3) both. white: RGB of a place
    without cells."""

    def __init__(self, white: np.ndarray) -> None:
        super().__init__()
        self.white, self.tiles = white, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.tiles += len(images)
        density = np.stack([optical_density(image, self.white) for image in images.numpy().astype(np.uint8)])
        maps = finder().run([OUTPUT], {INPUT: np.ascontiguousarray(density.transpose(0, 3, 1, 2))})[0]
        inner = np.asarray(maps)[:, :, REACH:-REACH, REACH:-REACH]
        return torch.from_numpy(np.ascontiguousarray(inner.transpose(0, 2, 3, 1)))

    @staticmethod
    def infer_batch(model: torch.nn.Module, batch_data: torch.Tensor, *, device: str) -> np.ndarray:
        return model(batch_data).numpy()


def main() -> None:
    """Print what tiled inference takes."""
    slide = Path(sys.argv[1])
    os.environ[THREADS] = sys.argv[2] if len(sys.argv) > 2 else "1"
    logging.disable(logging.WARNING)
    reader = WSIReader.open(slide)
    small = np.asarray(reader.slide_thumbnail(resolution=1.25, units="power"))
    whole, side = [{"units": "baseline", "resolution": 1.0}], TILE + 2 * REACH
    config = IOSegmentorConfig(input_resolutions=whole, output_resolutions=whole, patch_input_shape=(side, side),
                               patch_output_shape=(TILE, TILE), stride_shape=(TILE, TILE))
    network = Finder(white_point(small))
    engine = SemanticSegmentor(network, batch_size=BATCH, num_workers=0, verbose=False)
    clock, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        engine.run([slide], patch_mode=False, ioconfig=config, auto_get_mask=True, device="cpu", output_type="zarr",
                   save_dir=Path(folder) / "out", return_probabilities=True)
    wide = TILE * float(np.mean(reader.info.mpp)) / 1000
    print(json.dumps({"clock": time.perf_counter() - clock, "processors": time.process_time() - used,
                      "mm2": network.tiles * wide * wide}))


if __name__ == "__main__":
    main()
