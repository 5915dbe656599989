"""Draw docs/spikes.png: the way of one phantom cell from pixels to its first-spike image. python docs/make_strip.py"""

from __future__ import annotations

from pathlib import Path

import torch

from leukoscope.cells.input_steps import plain_steps
from leukoscope.figures.common import save_png
from leukoscope.figures.pipeline import pipeline_strip
from leukoscope.phantom import render_cells
from leukoscope.recipes import load_recipe
from leukoscope.spikes import edge_responses, first_spike, first_spike_image, gabor_bank, grey_levels

STEPS = 15


def main() -> None:
    """Write the picture beside this file."""
    cell = render_cells(["lymphoblast"], size=100, seed=3)
    grey = grey_levels(cell)
    responses = edge_responses(torch.from_numpy(grey).float() / 255, gabor_bank())
    latency = first_spike(responses, STEPS)
    picture = first_spike_image(latency, STEPS)[0].numpy()
    stages = plain_steps(load_recipe("noshad2021-cnmc"))
    blurred = stages.flat(torch.from_numpy(stages.levels(cell))).view(100, 100).numpy()
    figure = pipeline_strip(cell[0], grey[0], responses[0].numpy(), latency[0].numpy(), STEPS, [
        ("First-spike image", "early is bright", picture), ("Blurred, z-scored", "Gaussian, 1 px", blurred)])
    save_png(figure, Path(__file__).with_name("spikes.png"), dpi=90)


if __name__ == "__main__":
    main()
