"""From cells to predictions with the networks of a run, in PyTorch. Knows no command line."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import polars as pl
import torch
from jaxtyping import UInt8
from torch import nn

from ..cells.augment import augment_cpu, sample_changes
from ..cells.cache import PackedCells
from ..cells.input_steps import InputSteps, level_cells
from ..cells.pack import pack_cells
from ..leaks.duplicates import fingerprint_pixels
from ..leaks.training_overlap import without_overlap
from ..progress import OnProgress, behind
from ..runs.network import load_network
from ..runs.run import Run, check_finished
from ..runs.training_overlap import run_overlap
from .batches import Picture, predict_pictures
from .classifiers import Classifier, Energies, Probabilities
from .labelled import known_cells
from .table import Predicted, predictions_table

Device = torch.device | str


class RunClassifier(Classifier):
    """A run: the mean of its folds' probabilities. It calls no cell unsure or unknown."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.recipe.preprocess, run.classes)
        self.run = run

    @cached_property
    def networks(self) -> list[tuple[nn.Module, InputSteps]]:
        """Of all folds."""
        return [(_placed(network, "cpu"), steps) for network, steps in
                (load_network(self.run, fold) for fold in self.run.all_folds)]

    def answer(self, cells: UInt8[np.ndarray, "n size size 3"]) -> tuple[Probabilities, Energies | None]:
        levels = self.networks[0][1].levels(cells)
        return np.mean([_probabilities(network, steps, levels) for network, steps in self.networks], axis=0), None


def predict_cells(module: nn.Module, packed: PackedCells, rows: np.ndarray, steps: InputSteps, *, batch_size: int,
                  device: Device = "cpu", on_progress: OnProgress | None = None) -> Probabilities:
    """Probabilities of packed cells (RGB, or levels of it), in the order of `rows`; each row sums to 1. steps: as
    fitted in training. Memory does not grow with the cells."""
    was_training = module.training
    module = _placed(module, device).eval()
    answers = predict_pictures(
        (Picture(lambda row=row: packed.pixels[row], [(place, {})]) for place, row in enumerate(rows)),
        lambda _, pixels: ([pixels], None), lambda cells: (_probabilities(module, steps, cells), None),
        parallel=False, batch=batch_size, total=len(rows), on_progress=on_progress)
    module.train(was_training)
    return answers.probabilities[0]


def _placed(module: nn.Module, device: Device) -> nn.Module:
    return module.to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub


def _probabilities(module: nn.Module, steps: InputSteps, cells: UInt8[np.ndarray, "n size size c"]) -> Probabilities:
    """cells: RGB, or levels of it. Plain colours are normalised on the CPU by the same code as in training."""
    device = next(module.parameters()).device
    with torch.inference_mode():
        if steps.plain and device.type == "cpu":
            unchanged = sample_changes(None, seed=0, epoch=0, cells=np.arange(len(cells)), size=cells.shape[1])
            images = torch.from_numpy(augment_cpu(cells, unchanged, steps.mean, steps.std))
        else:
            images = steps.encode(torch.from_numpy(cells if cells.shape[-1] == 1 else steps.levels(cells)).to(device))
        logits = module(images.contiguous(memory_format=torch.channels_last))
        return torch.softmax(logits.cpu().double(), 1).numpy()


def predict_run(run: Run, manifest: pl.DataFrame, *, skip_damaged: bool = False, leave_out_trained: bool = False,
                batch_size: int = 64, device: Device | None = None,
                on_progress: OnProgress | None = None) -> Predicted:
    """Predict cells from elsewhere with a finished run: the mean of its folds' probabilities.

    Labels are merged as the recipe says. Cells whose label is not a class of the run are left out and counted; cells
    without a label are predicted only where no cell has one, else they are left out too. `fold` is 0 throughout.
    Raises LeakError where cells were in the run's training, unless its protocol is "paper" or these cells are to be
    left out.
    """
    check_finished(run)
    cells, left_out = known_cells(run, manifest)
    packed = pack_cells(cells, run.recipe.preprocess, skip_damaged=skip_damaged)
    cells = cells.filter(pl.col("cell_id").is_in(packed.cell_ids))
    prints = fingerprint_pixels(packed.cell_ids, packed.pixels)
    kept, verdict = without_overlap(run_overlap(run, cells, prints, run.all_folds, run.recipe.protocol),
                                    cells["cell_id"], leave_out_trained)
    left_out = replace(left_out, damaged=packed.damaged, trained=int((~kept).sum()))
    cells = cells.filter(kept)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    levels, folds = level_cells(packed, run.recipe), run.all_folds
    total = np.zeros((cells.height, len(run.classes)))
    for number, fold in enumerate(folds):
        module, steps = load_network(run, fold)
        total += predict_cells(module, levels, np.flatnonzero(kept), steps, batch_size=batch_size, device=device,
                               on_progress=behind(on_progress, number * cells.height, len(folds) * cells.height))
    return Predicted(predictions_table(cells, total / len(folds), run.classes, fold=0), cells, left_out, verdict)
