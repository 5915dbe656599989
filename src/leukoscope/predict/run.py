"""From cells to predictions, with networks that are trained. Knows no command line and no HTTP."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import UInt8
from torch import nn

from ..cells.batches import CellBatches
from ..cells.cache import PackedCells
from ..cells.pack import pack_cells
from ..cells.stages import Stages, level_cells
from ..errors import ManifestError
from ..leaks.duplicates import fingerprint_pixels
from ..leaks.training_overlap import refuse_overlap
from ..manifest import make_manifest, without_copies
from ..progress import OnProgress
from ..recipes.sections import Preprocess
from ..runs.network import load_network
from ..runs.run import Run, check_finished
from ..runs.training_overlap import run_overlap
from .classifiers import Probabilities, _Shaped
from .table import Predicted, predictions_table

Device = torch.device | str


def predict_cells(module: nn.Module, packed: PackedCells, rows: np.ndarray, stages: Stages, *, batch_size: int,
                  device: Device = "cpu", on_progress: OnProgress | None = None) -> np.ndarray:
    """Probabilities (len(rows), classes), float64, in the order of `rows`; each row sums to 1.

    packed: RGB, or levels of it; stages: as fitted in training. Works batch by batch: memory does not grow with the
    cells.
    """
    device = torch.device(device)
    labels = np.zeros(len(rows), np.int64)
    batches = CellBatches(packed, rows, labels, batch_size=batch_size, augment=None, stages=stages, seed=0,
                          device=str(device))
    was_training = module.training
    module = module.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch's stub
    done = []
    with torch.inference_mode():
        for number, batch in enumerate(batches, start=1):
            logits = module(batch.images.contiguous(memory_format=torch.channels_last))
            done.append(torch.softmax(logits.cpu().double(), 1).numpy())
            if on_progress is not None:
                on_progress(number, len(batches))
    module.train(was_training)
    return np.concatenate(done)


def predict_run(run: Run, manifest: pl.DataFrame, *, skip_damaged: bool = False, cache: Path | None = None,
                batch_size: int = 64, device: Device | None = None, on_progress: OnProgress | None = None) -> Predicted:
    """Predict cells from elsewhere with a finished run: the mean of its folds' probabilities.

    Labels are merged as the recipe says. Cells whose label is not one of the run's classes are left out and counted;
    cells without a label are predicted, unless others have one: then they are left out too. `fold` is 0 throughout.
    Raises LeakError where cells were in the run's training, unless its protocol is "paper".
    """
    check_finished(run)
    cells, left_out = _known_cells(run, manifest)
    packed = pack_cells(cells, run.recipe.preprocess, cache=cache, skip_damaged=skip_damaged)
    cells = cells.filter(pl.col("cell_id").is_in(packed.cell_ids))
    left_out["damaged"] = [{key: str(value) for key, value in asdict(d).items()} for d in packed.damaged]
    prints = fingerprint_pixels(packed.cell_ids, packed.pixels)
    verdict = run_overlap(run, cells, prints, run.all_folds, run.recipe.protocol)
    refuse_overlap(verdict)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    levels = level_cells(packed, run.recipe)
    rows = np.arange(cells.height)
    mean_of_folds = np.zeros((cells.height, len(run.classes)))
    for number, fold in enumerate(run.all_folds):
        module, stages = load_network(run, fold)
        mean_of_folds += predict_cells(module, levels, rows, stages, batch_size=batch_size, device=device,
                                       on_progress=_part(on_progress, number, len(run.all_folds)))
    probabilities = mean_of_folds / len(run.all_folds)
    return Predicted(predictions_table(cells, probabilities, run.classes, fold=0), cells, left_out, verdict)


def _known_cells(run: Run, manifest: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    cells = without_copies(make_manifest(manifest))
    merged = cells.with_columns(pl.col("label").replace(run.recipe.data.merge).replace("", None))
    unlabelled = merged["label"].is_null()
    known = merged["label"].is_in(run.classes).fill_null(False)
    others = merged.filter(~known & ~unlabelled).group_by("label").len().sort("label")
    left_out = {"damaged": [], "other_labels": dict(others.iter_rows()), "over_per_class": 0,
                "unlabelled": int(unlabelled.sum()) if known.any() else 0}
    cells = merged.filter(known) if known.any() else merged.filter(unlabelled)
    if cells.is_empty():
        raise ManifestError(f"no cell has a label that the run knows ({', '.join(run.classes)}); labels there: "
                            f"{', '.join(others['label']) or 'none'}", "rename them in the manifest")
    return cells, left_out


def _part(on_progress: OnProgress | None, number: int, folds: int) -> OnProgress | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(number * total + done, folds * total)


@dataclass(frozen=True)
class RunClassifier(_Shaped):
    """A run: the mean of its folds' probabilities. It sets no cell apart as unsure or unknown."""

    run: Run

    @property
    def steps(self) -> Preprocess:
        return self.run.recipe.preprocess

    @property
    def classes(self) -> tuple[str, ...]:
        return self.run.classes

    @property
    def micrometres(self) -> float | None:
        return None

    @property
    def radius(self) -> float | None:
        return None

    @property
    def least_energy(self) -> float | None:
        return None

    @cached_property
    def networks(self) -> list[Any]:
        return [load_network(self.run, fold) for fold in self.run.all_folds]

    def answer(self, cells: UInt8[np.ndarray, "n size size 3"]) -> tuple[Probabilities, np.ndarray | None]:
        found = []
        with torch.inference_mode():
            for network, stages in self.networks:
                logits = network(stages.encode(torch.from_numpy(stages.levels(cells))))
                found.append(torch.softmax(logits.double(), 1).numpy())
        return np.mean(found, axis=0), None
