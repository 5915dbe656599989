"""First-spike coding at 224 x 224: grey images in memory to latency maps, four Gabor filters and 15 time steps.

Compared with the method of the published libraries, one image at a time: the same four convolutions, a full sort of
all responses, and for each time step a scatter into a map that is then copied. Also compared with the convolutions
alone, with ten times the images, and, with a GPU, with a copy of the response maps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.nn import functional

from leukoscope.images.read import read_image
from leukoscope.images.resample import resize
from leukoscope.spikes import edge_responses, first_spike, first_spike_levels, gabor_bank, grey_levels
from peers import cell_files, machine, report, times_in_turn

Images = TypeVar("Images", np.ndarray, torch.Tensor)
CELLS, SIZE, STEPS = 64, 224, 15
# A smaller batch would fit into memory that malloc reuses (32 MB), and ten times the batch would not: page faults would
# be unequal.


def code(grey: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """Ours: grey (n, size, size) to latencies (n, 4, size, size)."""
    return first_spike(edge_responses(grey, bank), STEPS)


def convolve(grey: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """The four convolutions alone, the whole batch at once."""
    return functional.conv2d(grey[:, None], bank[:, None], padding=bank.shape[-1] // 2)


def sort_and_scatter(image: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """The published method: one grey image to its cumulative spike wave (steps, 4, size, size)."""
    responses = convolve(image[None], bank).abs()
    share = int(torch.count_nonzero(responses)) // STEPS
    values, places = responses.flatten().sort(descending=True)
    bins = zip(values.split(share), places.split(share), strict=True)
    fired, wave = torch.zeros_like(values), []
    for _, (strengths, where) in zip(range(STEPS), bins, strict=False):
        fired.scatter_(0, where, strengths)
        wave.append(fired.clone().view(responses.shape[1:]))
    return torch.stack(wave).sign()


def growth(what: str, way: Callable[[Images], object], once: Images, tenfold: Images) -> None:
    """Print the time for ten times the images divided by that for the images, both measured in turns."""
    seconds = times_in_turn({"once": lambda: [way(once) for _ in range(10)], "tenfold": lambda: way(tenfold)}, rounds=5)
    ratio = 10 * seconds["tenfold"] / seconds["once"]
    print(f"{what}, ten times the images: {ratio:.1f} times the time (at most 11: {'ok' if ratio <= 11 else 'above'})",
          flush=True)


def on_gpu(grey: torch.Tensor, bank: torch.Tensor) -> None:
    """Print the time on the GPU divided by that of reading and writing the maps once."""
    there, bank = grey.cuda(), bank.cuda()
    maps = edge_responses(there, bank)

    def waited(function, *inputs):
        def run():
            function(*inputs)
            torch.cuda.synchronize()
        return run

    seconds = times_in_turn({"ours": waited(code, there, bank), "ranks": waited(first_spike, maps, STEPS),
                             "copy": waited(torch.clone, maps)}, rounds=20)
    for name in ("ours", "ranks"):
        print(f"{torch.cuda.get_device_name()}: {name} {len(grey) / seconds[name]:.0f}/s, "
              f"{seconds[name] / seconds['copy']:.1f} times a copy of the maps (at most 3)", flush=True)


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        files, what = cell_files(Path(folder), CELLS)
        pixels = np.stack([resize(read_image(file), SIZE) for file in files])
    print(f"first-spike coding: {CELLS} {what}, at {SIZE} x {SIZE}; {machine()}")
    levels, bank = grey_levels(pixels), gabor_bank()
    grey = torch.from_numpy(levels.astype(np.float32) / np.float32(255))
    seconds = times_in_turn({
        "ours": lambda: code(grey, bank),
        "sort": lambda: [sort_and_scatter(image, bank) for image in grey],
        "convolutions": lambda: convolve(grey, bank),
        "levels": lambda: first_spike_levels(levels, bank, STEPS),
    }, rounds=5)
    report("grey to latencies, against sort and scatter", CELLS, seconds["ours"], seconds["sort"], 20)
    report("the same, against the four convolutions alone", CELLS, seconds["ours"], seconds["convolutions"], 0.25)
    report("grey levels to earliest step, against sort and scatter", CELLS, seconds["levels"], seconds["sort"], 20)
    growth("grey to latencies", lambda images: code(images, bank), grey, grey.repeat(10, 1, 1))
    growth("levels to steps", lambda images: first_spike_levels(images, bank), levels, np.tile(levels, (10, 1, 1)))
    if torch.cuda.is_available():
        on_gpu(grey.repeat(8, 1, 1), bank)


if __name__ == "__main__":
    main()
