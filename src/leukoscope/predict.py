"""From cells to predictions, with networks that are trained. Knows no command line and no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from .cells import CellBatches, PackedCells, pack_cells
from .copies import without_copies
from .duplicates import fingerprint_pixels
from .errors import ManifestError
from .frame import shaped
from .leaks import Verdict
from .manifest import make_manifest
from .runs import Run, check_finished, load_network
from .runs_seen import seen_cells
from .seen import refuse_seen
from .spikes import edge_responses, first_spike, gabor_bank, grey_levels
from .stages import Stages, level_cells

OnProgress = Callable[[int, int], None]
Device = torch.device | str


@dataclass(frozen=True)
class Predicted:
    """Predictions of a run on cells from elsewhere: the table, the cells under the run's labels, what was left out
    (as in left_out.json), and whether the run had seen them in training."""

    predictions: pl.DataFrame
    manifest: pl.DataFrame
    left_out: dict[str, Any]
    verdict: Verdict


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


def predictions_table(cells: pl.DataFrame, probabilities: np.ndarray, classes: Sequence[str], *,
                      fold: int) -> pl.DataFrame:
    """The predictions table of cells (manifest rows) and their probabilities (n, classes), in the cells' order."""
    predicted = np.asarray(classes, object)[probabilities.argmax(1)]
    number = pl.lit(fold, dtype=pl.Int64).alias("fold")
    return cells.select("cell_id", "subject", "group", number, "label").with_columns(
        pl.Series("predicted", predicted, dtype=pl.String),
        *(pl.Series(f"p_{name}", probabilities[:, i], dtype=pl.Float64) for i, name in enumerate(classes)))


def mean_over_folds(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """One row a cell, as of one fold 0: the mean of the probabilities that several folds give it."""
    names = [f"p_{name}" for name in classes]
    cells = predictions.group_by("cell_id", maintain_order=True).agg(
        pl.first("subject", "group", "label"), pl.mean(*names))
    return predictions_table(cells, cells.select(names).to_numpy(), classes, fold=0)


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
    verdict = seen_cells(run, cells, prints, run.all_folds, run.recipe.protocol)
    refuse_seen(verdict)
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


def feature_maps(run: Run, fold: int, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What each unit of a fold's network makes of one cell: unit -> float32 (maps, height, width).

    pixels: uint8 (h, w, 3) of the cell as it is in the manifest; it is cropped and resized as in training.
    """
    preprocess = run.recipe.preprocess
    module, stages = load_network(run, fold)
    cell = shaped(pixels, preprocess)
    image = stages.encode(torch.from_numpy(stages.levels(cell[None])))
    with torch.inference_mode():
        maps = module.unit_maps(image)
    return {unit: values[0].numpy() for unit, values in maps.items()}


@dataclass(frozen=True, eq=False)
class InputSteps:
    """What becomes of one cell before the network sees it, each step of the recipe in turn.

    cell: uint8 (size, size, 3) as packed; grey: uint8 (size, size); responses: float32 (maps, size, size); latency:
    uint8 (maps, size, size) or None without spikes. stages: (title, remark, picture) of the later ones, (size, size).
    """

    cell: np.ndarray
    grey: np.ndarray
    responses: np.ndarray
    latency: np.ndarray | None
    steps: int
    stages: tuple[tuple[str, str, np.ndarray], ...]


def input_steps(run: Run, fold: int, pixels: np.ndarray) -> InputSteps:
    """The steps of a run whose input is edges, for one cell: uint8 (h, w, 3) as it is in the manifest."""
    recipe = run.recipe
    _, stages = load_network(run, fold)
    cell = shaped(pixels, recipe.preprocess)
    grey = grey_levels(cell[None])
    edges, spikes = recipe.edges, recipe.edges.spikes
    bank = gabor_bank(edges.window, edges.wavelength, edges.sigma, edges.gamma, edges.orientations)
    responses = edge_responses(torch.from_numpy(grey).to(torch.float32) / 255, bank)
    latency = first_spike(responses, edges.steps) if spikes else None
    levels = torch.from_numpy(stages.levels(cell[None]))
    size = recipe.preprocess.size

    def after(**without: Any) -> np.ndarray:
        kept = replace(stages, preprocess=stages.preprocess.model_copy(update=without))
        return kept.flat(levels).view(size, size).numpy()

    shown = [("First-spike image" if spikes else "Strongest edges", "early is bright" if spikes else "",
              after(blur=0.0, normalise="none"))]
    if recipe.preprocess.blur:
        shown.append(("Blurred", f"Gaussian, {recipe.preprocess.blur:g} px", after(normalise="none")))
    if stages.pca is not None:
        shown.append(("Rebuilt", f"{len(stages.pca.components)} components", stages.encode(levels)[0, 0].numpy()))
    return InputSteps(cell, grey[0], responses[0].numpy(), None if latency is None else latency[0].numpy(),
                      edges.steps, tuple(shown))


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
