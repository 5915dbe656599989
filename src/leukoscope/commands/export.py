"""One fold of a finished run as a bundle: graph, calibration on validation cells, figures of the test cells."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64, UInt8
from scipy.special import logsumexp, softmax

from .. import __version__
from ..bundle.bundle import INPUT, OUTPUTS, SEEN, write_bundle
from ..bundle.calibration import REJECTED, Calibration, calibrate
from ..bundle.card import model_card
from ..bundle.graph import CellGraph, export_graph, half_graph, half_weights, int8_graph, round_weights
from ..bundle.parts import WEIGHTS, check_replaceable
from ..cells.input_steps import InputSteps
from ..cells.pack import pack_cells
from ..errors import BundleError, RunError
from ..evaluation.evaluate import evaluate
from ..evaluation.operating_point import choose_threshold
from ..evaluation.table import IntervalOptions, read_cells
from ..files import JsonObject, sha256
from ..finder.frame import framing
from ..leaks.training_table import training_table_bytes
from ..networks.units import Units
from ..predict.table import predictions_table
from ..progress import OnProgress
from ..runs.laboratories import Laboratories
from ..runs.network import load_network
from ..runs.run import Run, check_finished
from ..runs.training_overlap import trained_in_fold
from ..stats.paired import paired_difference

GOLDEN = 4
"""Reference cells. They are made up: a bundle carries no image of anyone."""
RANGES = 256
"""Cells at most that give the ranges of activations in 8 bits."""
BLOCK = 64
FIGURES = ("accuracy", "macro_sensitivity", "macro_f1", "macro_auc", "log_loss")
"""Figures over all classes that a bundle states."""

Pixels = UInt8[np.ndarray, "n size size 3"]
Logits = Float64[np.ndarray, "n classes"]
Calibrate = Callable[[Logits, np.ndarray, float | None], Calibration]


@dataclass(frozen=True, eq=False)
class Part:
    """n cells of one part of a fold: manifest rows, class indices (n,), prepared pixels."""

    cells: pl.DataFrame
    labels: np.ndarray
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Exported:
    """A graph as a bundle holds it. content: ONNX; golden: cells that are made up, smooth as a stain is, with their
    probabilities and energies; validated, tested: logits of the validation and test cells. cost: of 8 bits, for
    bundle.json."""

    content: bytes
    golden: Mapping[str, np.ndarray]
    calibration: Calibration
    validated: Logits
    tested: Logits
    cost: JsonObject = field(default_factory=dict)


def export_run(run: Run, out: Path, *, fold: int = 0, coverage: float = 0.95, micrometres: float | None = None,
               licence: str = "not stated", half: bool = False, int8: bool = False,
               graph_only: bool = False, laboratories: Laboratories | None = None, notes: Sequence[str] = (),
               overwrite: bool = False, on_progress: OnProgress | None = None) -> JsonObject:
    """Write one fold of a run as a bundle (see `write_bundle`); returns what bundle.json says but its digests.

    coverage: of the conformal sets; micrometres: width of a pixel of the run's images, where it is known; licence: of
    the weights; half: store them in float16, rounded; int8: convolve in 8 bits, at a cost that the model card states;
    graph_only: leave out the weights for PyTorch; laboratories: what the same recipe got in laboratories that it was
    not trained on, which then give temperature and radius, and are stated; notes: sentences for the model card;
    overwrite: replace a bundle. The fold's validation and test cells are read once more. Raises BundleError, and
    RunError where the run is not finished; ImageError where its images are missing.
    """
    check_finished(run)
    check_replaceable(out, overwrite)
    _check(coverage, micrometres, half and int8)
    coverage = laboratories.coverage if laboratories else coverage
    network, steps = load_network(run, fold)
    if half:
        round_weights(network)
    validation, test = (_part(run, fold, name) for name in ("validation", "test"))
    calibrated = _calibrator(laboratories, coverage)
    exported = _in_float(network, steps, validation, test, calibrated, half, on_progress)
    if int8:
        ranges = validation if len(validation.labels) else _part(run, fold, "train")
        exported = _in_8_bits(exported, ranges.pixels, validation, test, calibrated, run, on_progress)
    seen, not_known = trained_in_fold(run, fold)
    description = _description(run, fold, exported, validation, test) | {
        "coverage": None if exported.calibration.radius is None else coverage, "micrometres": micrometres,
        "licence": licence, "notes": tuple(notes)}
    if laboratories is not None:
        description["metrics"]["elsewhere"] = _elsewhere(laboratories)
    description["trained"]["not_in_seen"] = not_known
    golden = io.BytesIO()
    np.savez_compressed(golden, **exported.golden)  # type: ignore[arg-type]  # its stub takes the names for options
    write_bundle(out, description, {
        "model.onnx": exported.content, **({} if graph_only else {WEIGHTS: _weights(run, fold, network, half)}),
        "recipe.toml": (run.folder / "recipe.toml").read_bytes(), "golden.npz": golden.getvalue(),
        "MODEL_CARD.md": model_card(description).encode(), SEEN: training_table_bytes(seen)}, overwrite=overwrite)
    return description


def _weights(run: Run, fold: int, network: Units, half: bool) -> bytes:
    return half_weights(network) if half else (run.fold_folder(fold) / WEIGHTS).read_bytes()


def _calibrator(laboratories: Laboratories | None, coverage: float) -> Calibrate:
    """How logits of validation cells and their labels become a calibration: by these cells, or by other laboratories.
    A temperature that is given stays."""
    def calibrated(logits: Logits, labels: np.ndarray, temperature: float | None) -> Calibration:
        if laboratories is None:
            return calibrate(logits, labels, coverage, temperature)
        own = calibrate(logits, labels, coverage, temperature or laboratories.temperature)
        return replace(own, radius=laboratories.radius if own.radius is not None else None)
    return calibrated


def _elsewhere(laboratories: Laboratories) -> JsonObject:
    """What bundle.json says of laboratories that were not trained on."""
    rows = [{"name": row.name, "cells": row.cells, "accuracy": row.accuracy.to_dict(),
             **{name: None if (one := getattr(row, name)) is None else one.to_dict()
                for name in ("area", "sensitivity", "specificity")}} for row in laboratories.rows]
    return {"accuracy": laboratories.accuracy, "calibration_error": laboratories.calibration_error,
            "covered": laboratories.covered, "coverage": laboratories.coverage, "worst": laboratories.worst,
            "positive": laboratories.positive, "rows": rows}


def _check(coverage: float, micrometres: float | None, both: bool) -> None:
    if not 0 < coverage < 1:
        raise BundleError(f"coverage is {coverage:g}, expected a number between 0 and 1", "for example 0.95")
    if micrometres is not None and not 0.001 <= micrometres <= 10:
        raise BundleError(f"{micrometres:g} micrometres a pixel: expected 0.001 to 10", "give the width of one pixel")
    if both:
        raise BundleError("--half and --int8: weights are stored in 16 bits or in 8", "use one of the two")


def _part(run: Run, fold: int, name: str) -> Part:
    """The cells of a part, without copies, whose pixels are in no file."""
    cells = run.manifest.filter(pl.col("cell_id").is_in(run.part(fold, name).implode()))
    if "copy" in cells.columns:
        cells = cells.filter(pl.col("copy") == 0)
    labels = cells["label"].replace_strict(run.classes, range(len(run.classes)), return_dtype=pl.Int64).to_numpy()
    if name == "test" and not len(labels):
        raise RunError(f"{run.folder}: the fold tested only copies of cells, so there are no figures to state",
                       "export a run whose test part holds cells")
    return Part(cells, labels, pack_cells(cells, run.recipe.preprocess).pixels if len(labels) else np.empty(0))


def _logits(part: Part, logits_of: Callable[[Pixels], Logits], on_progress: OnProgress | None) -> Logits:
    total, done = len(part.labels), []
    with torch.inference_mode():
        for start in range(0, total, BLOCK):
            done.append(logits_of(np.array(part.pixels[start:start + BLOCK])))  # a copy: the file is read-only
            if on_progress is not None:
                on_progress(min(start + BLOCK, total), total)
    return np.concatenate(done) if done else np.empty((0, 0))


def _in_float(network: Units, steps: InputSteps, validation: Part, test: Part, calibrated: Calibrate,
              half: bool, on_progress: OnProgress | None) -> Exported:
    """The graph in 32 bits, with weights in 16 where `half`, calibrated on the validation cells."""
    plain, size = CellGraph(network, steps, 1.0), steps.preprocess.size
    validated, tested = (_logits(part, lambda cells: plain.logits(torch.from_numpy(cells)).double().numpy(),
                                 on_progress) for part in (validation, test))
    calibration = calibrated(validated, validation.labels, None)
    graph = CellGraph(network, steps, calibration.temperature)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.onnx"
        export_graph(graph, size, file, fold=not half)
        content = half_graph(file.read_bytes()) if half else file.read_bytes()
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(40, 256, (GOLDEN, 3, 6, 6)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    cells = smooth.round().to(torch.uint8).movedim(1, -1).contiguous()
    with torch.inference_mode():
        probabilities, energy, *_ = graph(cells)
    golden = {"cells": cells.numpy(), "probabilities": probabilities.numpy(), "energy": energy.numpy()}
    return Exported(content, golden, calibration, validated, tested)


def _in_8_bits(exported: Exported, ranges: Pixels, validation: Part, test: Part, calibrated: Calibrate,
               run: Run, on_progress: OnProgress | None) -> Exported:
    """The same graph with convolutions in 8 bits, calibrated and tested again; the temperature in it stays."""
    from onnxruntime import InferenceSession

    content = int8_graph(exported.content, np.array(ranges[::-(-len(ranges) // RANGES)]))
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    temperature = exported.calibration.temperature

    def logits_of(cells: Pixels) -> Logits:
        """From what the graph gives: p = softmax(z / temperature), energy = logsumexp(z)."""
        probabilities, energies = (np.asarray(values, np.float64) for values in session.run(OUTPUTS, {INPUT: cells}))
        logits = temperature * np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        return logits + (energies - logsumexp(logits, axis=1))[:, None]

    validated, tested = (_logits(part, logits_of, on_progress) for part in (validation, test))
    cells = exported.golden["cells"]
    golden = dict(zip(OUTPUTS, map(np.asarray, session.run(OUTPUTS, {INPUT: cells})), strict=True), cells=cells)
    before, after = (softmax(logits / temperature, axis=1) for logits in (exported.tested, tested))
    first, second = (read_cells(predictions_table(test.cells, p, run.classes, fold=0), run.classes)
                     for p in (before, after))
    change = np.abs(after - before)
    difference = paired_difference(second.correct, first.correct, None if first.independent else first.clusters)
    accuracy = first.rate(first.correct, np.ones(len(first.labels), bool), IntervalOptions(seed=run.recipe.seed))
    cost = {"accuracy_float32": accuracy.to_dict(), "difference": difference.difference.to_dict(),
            "changed": int((first.predicted != second.predicted).sum()), "mean_change": float(change.mean()),
            "largest_change": float(change.max())}
    calibration = calibrated(validated, validation.labels, temperature)
    return Exported(content, golden, calibration, validated, tested, {"int8": cost})


def _description(run: Run, fold: int, exported: Exported, validation: Part, test: Part) -> JsonObject:
    """What bundle.json says of the recipe, the calibration, the training and the test."""
    recipe, steps, calibration = run.recipe, run.recipe.preprocess, exported.calibration
    validated, tested = (softmax(logits / calibration.temperature, axis=1) if len(logits) else logits
                         for logits in (exported.validated, exported.tested))
    threshold, positive = None, recipe.data.positive
    if positive and len(validation.labels):
        k = run.classes.index(positive)
        threshold = choose_threshold(validation.labels == k, validated[:, k])
    figures = evaluate(predictions_table(test.cells, tested, run.classes, fold=0), run.classes, positive=positive,
                       seed=recipe.seed).to_dict()
    learned = run.manifest.filter(pl.col("cell_id").is_in(run.part(fold, "train").implode()))
    return {
        "leukoscope": __version__, "name": recipe.name, "title": recipe.title, "classes": run.classes,
        "positive": positive, "frame": steps.frame, "crop": steps.crop, "size": steps.size, "framing": framing(steps),
        "smaller": steps.smaller, "temperature": calibration.temperature, "radius": calibration.radius,
        "least_energy": calibration.least_energy, "threshold": threshold,
        "rejected": None if calibration.least_energy is None else REJECTED,
        "trained": {
            "network": recipe.network.name, "fold": fold, "cells": learned.height,
            "validation_cells": len(validation.labels), "sources": sorted(set(learned["source"].drop_nulls())),
            "subjects": sorted(set(learned["subject"].drop_nulls())),
            "manifest_sha256": sha256(run.folder / "manifest.parquet"), "protocol": recipe.protocol,
            "counts": dict(learned.group_by("label").len().sort("label").iter_rows())},
        "metrics": {
            "cells": figures["cells"], "protocol": recipe.protocol, "confusion": figures["confusion"],
            "overall": {key: figures["overall"][key] for key in FIGURES if key in figures["overall"]},
            "sensitivity": {name: one["sensitivity"] for name, one in figures["per_class"].items()},
            "calibration_error": (figures["calibration"] or {}).get("expected_calibration_error"), **exported.cost}}
