"""One recipe gives one run: prepare the cells, train the folds, join their predictions, evaluate.

Ends with metrics.json. The report is written later, from the folder.
"""

from __future__ import annotations

import platform
import shlex
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import polars as pl
import torch

from .. import __version__
from ..cells.input_steps import fit_steps
from ..errors import RecipeError, RunError
from ..evaluation.evaluate import evaluate
from ..evaluation.laboratories import evaluate_laboratories
from ..files import JsonObject, read_json, write_json
from ..leaks.splits import laboratory_names
from ..manifest import make_manifest, without_copies, write_table
from ..networks.units import Units
from ..predict.table import mean_over_folds
from ..recipes.recipe import Recipe
from ..runs.network import fresh_network
from ..runs.run import LABORATORIES, Run, read_fold_tables
from .checkpoint import remove_checkpoints
from .epochs import Event, OnEvent
from .fold import Hardware, train_fold
from .folder import check_folder, check_name, claimed, disk_errors, locked
from .lightning_module import FoldTask
from .prepare import Prepared, prepare, prepare_again, with_classes
from .selection import select_cells
from .transfer import check_transfer, start_digest

__all__ = ["Event", "train"]

PACKAGES = ("torch", "torchvision", "lightning", "numpy", "polars", "scipy",
            "opencv-python-headless", "pillow", "numba", "safetensors", "pydantic")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


def train(
    recipe: Recipe,
    manifest: pl.DataFrame,
    out: Path,
    *,
    resume: bool = False,
    skip_damaged: bool = False,
    on_event: OnEvent | None = None,
    devices: int = 1,
    accelerator: str = "auto",
) -> Run:
    """Train a recipe on the cells of a manifest; the finished run is in `out`.

    resume: continue a run that was stopped at any moment; its numbers are the same as without the stop. Starts a new
        run where there is none. Without it, `out` must be new or empty.
    devices: GPUs, or processes on the CPU (`accelerator = "cpu"`); they share each batch.
    Raises LeukoscopeError for what a user can correct; nothing is left in `out` unless training could start.
    """
    out = Path(out)
    check_name(out)
    tell: OnEvent = on_event or (lambda event: None)
    started = time.monotonic()
    with disk_errors(out):
        manifest = without_copies(make_manifest(manifest))
        recipe = with_classes(recipe, select_cells(manifest, recipe).classes)
        hardware = Hardware(accelerator, devices)
        _check(recipe, hardware)
        if check_folder(out, resume):
            with locked(out):
                for leftover in out.rglob(".*.partial*"):
                    leftover.unlink(missing_ok=True)
                if start_digest(recipe) != read_json(out / "environment.json").get("start"):
                    raise RunError(f"{out}: the weights of network.start = '{recipe.network.start}' have changed since "
                                   "this run was started", "restore the old run, or train into another folder")
                prepared = prepare_again(recipe, manifest, out, on_event=tell)
                return _finish(prepared, out, hardware, tell, started)
        if recipe.network.pretrained:  # before anything is written: the weights may not be available
            with torch.random.fork_rng():
                fresh_network(recipe, pretrained=True)
        prepared = prepare(recipe, manifest, out, skip_damaged=skip_damaged, on_event=tell,
                           environment=_environment(recipe, hardware), claim=lambda: claimed(out, resume))
        with locked(out):
            return _finish(prepared, out, hardware, tell, started)


def _finish(prepared: Prepared, out: Path, hardware: Hardware, tell: OnEvent, started: float) -> Run:
    """Train the folds that are not finished, join their predictions and evaluate."""
    run = Run(out)
    if run.finished:
        return run
    folds = run.all_folds
    for number, fold in enumerate(folds):
        if fold not in run.folds:
            _train_one(prepared, run, fold, hardware, tell)
        remove_checkpoints(run.fold_folder(fold))  # a process may have been killed between fold.json and this
        tell(Event("fold", number + 1, len(folds), fold, len(folds)))
    tell(Event("evaluate", 0, 1))
    metrics = _evaluate(run, prepared.recipe)
    environment = read_json(out / "environment.json")
    trained = sum(run.fold(fold)["seconds"] for fold in folds)  # by earlier processes too
    seconds = max(environment["seconds"] + time.monotonic() - started, trained)
    write_json(out / "environment.json", environment | {"seconds": round(seconds, 3)})
    write_json(out / "metrics.json", metrics)
    tell(Event("done", len(folds), len(folds), folds=len(folds)))
    return Run(out)


def _evaluate(run: Run, recipe: Recipe) -> JsonObject:
    """Join the folds' predictions and evaluate; where all folds test the same cells, the predictions are their mean."""
    by_fold = read_fold_tables(run, "predictions.parquet")
    validation = read_fold_tables(run, "validation.parquet")
    assert by_fold is not None
    predictions = by_fold
    if recipe.split.kind == "holdout-kfold":
        predictions = mean_over_folds(by_fold, recipe.data.classes)
        validation = None if validation is None else mean_over_folds(validation, recipe.data.classes)
    write_table(predictions, run.folder / "predictions.parquet")
    if validation is not None:
        write_table(validation, run.folder / "validation.parquet")
    if recipe.split.kind == "laboratory":
        write_json(run.folder / LABORATORIES, _laboratories(run, recipe, predictions))
    return evaluate(predictions, recipe.data.classes, positive=recipe.data.positive, validation=validation,
                    by_fold=by_fold, seed=recipe.seed).to_dict()


def _laboratories(run: Run, recipe: Recipe, predictions: pl.DataFrame) -> JsonObject:
    """Laboratory by laboratory, each tested by a network that was trained on the others."""
    trained: dict[int, set[str]] = {}
    for fold in run.all_folds:
        cells = run.manifest.filter(pl.col("cell_id").is_in(run.part(fold, "train").implode()))
        trained[fold] = set(cells["label"].unique().to_list())
    sources = dict(enumerate(laboratory_names(run.manifest)))
    return evaluate_laboratories(predictions, recipe.data.classes, sources, trained,
                                 positive=recipe.data.positive).to_dict()


def _train_one(prepared: Prepared, run: Run, fold: int, hardware: Hardware, tell: OnEvent) -> None:
    recipe, packed, folds = prepared.recipe, prepared.inputs, len(run.all_folds)
    fitted_on = np.arange(len(packed.pixels)) if recipe.split.fit_on == "all" else prepared.rows(fold, "train")
    steps = fit_steps(recipe, packed, fitted_on,
                      on_progress=lambda done, total: tell(Event("fit", done, total, fold, folds)))
    tell(Event("start", fold=fold, folds=folds))
    task = FoldTask(recipe, run.fold_folder(fold), fold, folds, packed, prepared.labels, prepared.epoch_rows(fold),
                    prepared.rows(fold, recipe.split.select_on), steps, prepared.laboratories)
    train_fold(task, hardware, test_rows=prepared.rows(fold, "test"), validation_rows=prepared.rows(fold, "validation"),
               cells=prepared.manifest, on_event=tell)


def _check(recipe: Recipe, hardware: Hardware) -> None:
    """Raise RecipeError or RunError for what is certain to fail, before an image is read."""
    with torch.device("meta"):
        network = fresh_network(recipe)
    check_transfer(recipe, network)
    training, devices, device = recipe.training, hardware.devices, hardware.device
    if hardware.accelerator not in ACCELERATORS:
        raise RunError(f"accelerator = '{hardware.accelerator}'", f"expected one of {', '.join(ACCELERATORS)}")
    if hardware.accelerator not in ("auto", "cpu") and device.type == "cpu":
        raise RunError(f"accelerator = '{hardware.accelerator}': PyTorch finds none on this machine",
                       "use auto or cpu")
    if devices < 1:
        raise RunError(f"devices = {devices}", "use at least one")
    if training.batch_size % devices:
        raise RecipeError(f"training.batch_size = {training.batch_size} cannot be divided by {devices} devices",
                          f"use a multiple of {devices}")
    least = _least_batch(network, recipe)
    if training.batch_size // devices < least:
        each = f" on {devices} devices" if devices > 1 else ""
        raise RecipeError(f"training.batch_size = {training.batch_size}{each}: {recipe.network.name} normalises over "
                          f"the batch and needs {least}{' a device' if devices > 1 else ''}",
                          f"use {least * devices} or more, or a larger preprocess.size")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise RunError(f"devices = {devices}: this machine has {torch.cuda.device_count()} GPUs", "use fewer")
    split = recipe.split
    selects = split.select_on == "test" or split.validation > 0 or split.kind in ("official", "holdout-kfold")
    if (training.patience > 0 or training.schedule == "plateau") and not selects:
        raise RecipeError("training.patience and training.schedule = 'plateau' need a validation part, and "
                          "split.validation is 0", "set split.validation, for example to 0.1")


def _least_batch(network: Units, recipe: Recipe) -> int:
    """Cells that a batch needs: more than one where batch normalisation gets maps of one pixel, at this size of the
    input. network: on the meta device."""
    if network.least_batch < 2:
        return 1
    network.train()
    for name in recipe.network.frozen:
        network.get_submodule(name).eval()
    size = recipe.preprocess.size
    try:
        with torch.no_grad():
            network(torch.empty(1, 3, size, size, device="meta"))
    except Exception:  # what batch normalisation says; or the network cannot be run without values
        return network.least_batch
    return 1


def _environment(recipe: Recipe, hardware: Hardware) -> JsonObject:
    """The machine, the software and the command of the run, for environment.json."""
    device = hardware.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "leukoscope": __version__, "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(), "cpu": _cpu_name(), "device": name, "devices": hardware.devices,
        "threads": torch.get_num_threads(), "seed": recipe.seed, "command": _command(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": 0.0, "start": start_digest(recipe),
    }


def _command() -> str:
    """What was typed: of the program, the name and not its path."""
    program = "leukoscope" if Path(sys.argv[0]).name in ("leukoscope", "__main__.py", "-c") else sys.argv[0]
    return shlex.join([program, *sys.argv[1:]])


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
