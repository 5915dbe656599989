"""A finished run's fold to a bundle: its graph, calibrated on validation cells, with the figures of its test cells."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import softmax

from .. import __version__
from ..bundle.bundle import SEEN, write_bundle
from ..bundle.calibration import REJECTED, Calibration, calibrate
from ..bundle.card import model_card
from ..bundle.graph import CellGraph, export_graph, half_graph, half_weights, round_weights
from ..cells.pack import pack_cells
from ..errors import BundleError, RunError
from ..evaluate.evaluate import evaluate
from ..evaluate.operating_point import choose_threshold
from ..files import sha256
from ..images.frame import framing
from ..leaks.training_table import training_table_bytes
from ..predict.table import predictions_table
from ..progress import OnProgress
from ..runs.network import load_network
from ..runs.run import Run, check_finished
from ..runs.training_overlap import trained_in_fold

GOLDEN = 4
"""Cells of the golden pair. They are made up: a bundle carries no image of anyone."""
BLOCK = 64


@dataclass(frozen=True)
class Classified:
    """Cells of one part of a fold: their manifest rows, class indices and logits."""

    cells: pl.DataFrame
    labels: np.ndarray
    logits: np.ndarray


def export_run(run: Run, out: Path, *, fold: int = 0, coverage: float = 0.95, micrometres: float | None = None,
               licence: str = "not stated", half: bool = False, notes: Sequence[str] = (),
               on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Write one fold of a run as a bundle (see `bundle.write_bundle`); gives what the command prints.

    coverage: of the conformal sets; micrometres: side of a pixel of the run's images, where it is known; licence: of
    the weights; half: keep them in float16, rounded; notes: sentences for the model card. The fold's validation and
    test cells are read once more. Raises BundleError, and RunError where the run is not finished; ImageError where its
    images are gone.
    """
    check_finished(run)
    _check(out, coverage, micrometres)
    network, stages = load_network(run, fold)
    if half:
        round_weights(network)
    size = run.recipe.preprocess.size
    plain = CellGraph(network, stages, 1.0)
    validated = _classify(run, plain, fold, "validation", on_progress)
    found = calibrate(validated.logits, validated.labels, coverage)
    graph = CellGraph(network, stages, found.temperature)
    tested = _classify(run, plain, fold, "test", on_progress)
    seen, not_known = trained_in_fold(run, fold)
    description = {
        **_said_by_recipe(run), **_calibrated(found, coverage), "micrometres": micrometres, "licence": licence,
        "notes": tuple(notes), "threshold": _threshold(run, validated, found),
        "trained": {**_trained(run, fold, validated), "not_in_seen": not_known},
        "metrics": _metrics(run, tested, found.temperature)}
    weights = half_weights(network) if half else (run.fold_folder(fold) / "weights.safetensors").read_bytes()
    write_bundle(out, description, {
        "model.onnx": _onnx(graph, size, half=half), "weights.safetensors": weights,
        "recipe.toml": (run.folder / "recipe.toml").read_bytes(), "golden.npz": _golden(graph, size),
        "MODEL_CARD.md": model_card(description).encode(), SEEN: training_table_bytes(seen)})
    return description


def _said_by_recipe(run: Run) -> dict[str, Any]:
    recipe, steps = run.recipe, run.recipe.preprocess
    return {"leukoscope": __version__, "name": recipe.name, "title": recipe.title, "classes": run.classes,
            "positive": recipe.data.positive, "frame": steps.frame, "crop": steps.crop, "size": steps.size,
            "framing": framing(steps), "smaller": steps.smaller}


def _calibrated(found: Calibration, coverage: float) -> dict[str, Any]:
    return {"temperature": found.temperature, "coverage": None if found.radius is None else coverage,
            "radius": found.radius, "least_energy": found.least_energy,
            "rejected": None if found.least_energy is None else REJECTED}


def _onnx(graph: CellGraph, size: int, *, half: bool) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.onnx"
        export_graph(graph, size, file, fold=not half)
        return half_graph(file.read_bytes()) if half else file.read_bytes()


def _check(out: Path, coverage: float, micrometres: float | None) -> None:
    if out.exists():
        raise BundleError(f"{out}: is there already", "name another bundle, or remove that one")
    if not 0 < coverage < 1:
        raise BundleError(f"coverage is {coverage:g}, expected a number between 0 and 1", "for example 0.95")
    if micrometres is not None and not 0.001 <= micrometres <= 10:
        raise BundleError(f"{micrometres:g} micrometres a pixel: expected 0.001 to 10", "give the side of one pixel")


def _classify(run: Run, graph: CellGraph, fold: int, part: str, on_progress: OnProgress | None) -> Classified:
    """The logits of one part's cells (copies left out: their pixels are in no file)."""
    cells = run.manifest.filter(pl.col("cell_id").is_in(run.part(fold, part).implode()))
    if "copy" in cells.columns:
        cells = cells.filter(pl.col("copy") == 0)
    labels = cells["label"].replace_strict(run.classes, range(len(run.classes)), return_dtype=pl.Int64).to_numpy()
    if cells.is_empty():
        return Classified(cells, labels, np.empty((0, len(run.classes))))
    packed = pack_cells(cells, run.recipe.preprocess)
    logits = []
    with torch.inference_mode():
        for start in range(0, len(packed.pixels), BLOCK):
            block = torch.from_numpy(np.array(packed.pixels[start:start + BLOCK]))  # a copy: the file is read-only
            logits.append(graph.logits(block).double().numpy())
            if on_progress is not None:
                on_progress(min(start + BLOCK, len(packed.pixels)), len(packed.pixels))
    return Classified(cells, labels, np.concatenate(logits))


def _metrics(run: Run, tested: Classified, temperature: float) -> dict[str, Any]:
    """Figures of the fold's test cells at the temperature, with intervals."""
    if not len(tested.labels):
        raise RunError(f"{run.folder}: the fold tested copies alone, so there is nothing to state",
                       "export a run whose test part holds cells")
    table = predictions_table(tested.cells, softmax(tested.logits / temperature, axis=1), run.classes, fold=0)
    found = evaluate(table, run.classes, positive=run.recipe.data.positive, seed=run.recipe.seed).to_dict()
    keys = ("accuracy", "macro_sensitivity", "macro_f1", "macro_auc", "log_loss")
    return {"cells": found["cells"], "protocol": run.recipe.protocol, "confusion": found["confusion"],
            "overall": {key: found["overall"][key] for key in keys if key in found["overall"]},
            "sensitivity": {name: one["sensitivity"] for name, one in found["per_class"].items()},
            "calibration_error": (found["calibration"] or {}).get("expected_calibration_error")}


def _threshold(run: Run, validated: Classified, found: Calibration) -> float | None:
    positive = run.recipe.data.positive
    if not positive or not len(validated.labels):
        return None
    k = run.classes.index(positive)
    return choose_threshold(validated.labels == k, softmax(validated.logits / found.temperature, axis=1)[:, k])


def _trained(run: Run, fold: int, validated: Classified) -> dict[str, Any]:
    """Facts of the training: which cells of which sources, how many, whose."""
    learned = run.manifest.filter(pl.col("cell_id").is_in(run.part(fold, "train").implode()))
    return {"network": run.recipe.network.name, "fold": fold, "cells": learned.height,
            "validation_cells": len(validated.labels), "sources": sorted(set(learned["source"].drop_nulls())),
            "subjects": sorted(set(learned["subject"].drop_nulls())),
            "manifest_sha256": sha256(run.folder / "manifest.parquet"), "protocol": run.recipe.protocol,
            "counts": dict(learned.group_by("label").len().sort("label").iter_rows())}


def _golden(graph: CellGraph, size: int) -> bytes:
    """Made-up cells, smooth as a stain is, and what the graph makes of them in torch."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(40, 256, (GOLDEN, 3, 6, 6)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    cells = smooth.round().to(torch.uint8).movedim(1, -1).contiguous()
    with torch.inference_mode():
        probabilities, energy = graph(cells)
    file = io.BytesIO()
    np.savez_compressed(file, cells=cells.numpy(), probabilities=probabilities.numpy(), energy=energy.numpy())
    return file.getvalue()
