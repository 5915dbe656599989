"""`leukoscope features`: the steps of one cell through a run's network, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..cells.input_steps import InputSteps
from ..figures.common import save_png
from ..figures.pca import components_sheet, reconstruction_sheet, variance_curve
from ..figures.pipeline import pipeline_strip
from ..figures.training import feature_map_sheet
from ..filenames import stem_for
from ..finder.frame import shaped
from ..predict.inside import feature_maps, input_steps
from ..runs.elsewhere import Elsewhere
from ..runs.network import load_network
from ..runs.run import Run
from .example_cells import cell_pixels, first_of_each_class
from .inputs import check_free

REBUILT_FROM = (10, 50, 200)
"""Numbers of components from which a few cells are rebuilt, besides all of them."""


def draw_features(folder: Path, cell: str, out: Path, *, fold: int = 0, overwrite: bool = True,
                  elsewhere: Elsewhere | None = None) -> Path:
    """Draw the feature maps of a cell in each unit of a run's network, as one PNG in `out`. cell: a cell_id or a file.
    elsewhere: where the images are now, if they were moved.

    LeukoscopeError where that PNG exists and `overwrite` is false.
    """
    check_free(out, (f"{stem_for(cell)}.png",), overwrite=overwrite)
    run = Run(folder, elsewhere)
    pixels = cell_pixels(run, cell)
    path = out / f"{stem_for(cell)}.png"
    preprocess = run.recipe.preprocess
    shown = shaped(pixels, preprocess)
    save_png(feature_map_sheet(feature_maps(run, fold, pixels), shown), path)
    return path


def draw_input(run: Run, cell: str, out: Path, *, fold: int = 0) -> None:
    """Draw, as PNG files in `out`, the steps from a cell to the network's input, and the fold's components."""
    pixels = cell_pixels(run, cell)
    if run.recipe.preprocess.input == "edges":
        steps = input_steps(run, fold, pixels)
        save_png(pipeline_strip(steps.cell, steps.grey, steps.responses, steps.latency, steps.steps, steps.stages),
                 out / f"1_from_cell_to_input_{stem_for(cell)}.png")
    _, stages = load_network(run, fold)
    if stages.pca is not None:
        size, channels = run.recipe.preprocess.size, len(stages.pca.mean) // run.recipe.preprocess.size**2
        save_png(components_sheet(stages.pca, size, channels), out / "2_mean_and_first_components.png")
        save_png(variance_curve(stages.pca), out / "3_variance_kept.png")
        if channels == 1:
            cells = list(first_of_each_class(run).values())[:3]
            samples = np.stack([_input_before_components(run, stages, name) for name in cells])
            counts = [k for k in REBUILT_FROM if k < len(stages.pca.components)]
            save_png(reconstruction_sheet(stages.pca, samples, (*counts, len(stages.pca.components))),
                     out / "4_rebuilt_from_components.png")


def _input_before_components(run: Run, stages: InputSteps, cell: str) -> np.ndarray:
    """(size, size) input of one cell before it is projected."""
    preprocess = run.recipe.preprocess
    pixels = shaped(cell_pixels(run, cell), preprocess)
    return stages.flat(torch.from_numpy(stages.levels(pixels[None]))).view(preprocess.size, preprocess.size).numpy()
