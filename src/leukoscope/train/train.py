"""One recipe is one run: prepare the cells, train the folds, join their predictions, evaluate.

Ends with metrics.json; the report is made from the folder by others.
"""

from __future__ import annotations

import errno
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import polars as pl
import torch

from .. import __version__
from ..cells.stages import fit_stages
from ..errors import RecipeError, RunError
from ..evaluate.evaluate import evaluate
from ..files import read_json, write_json
from ..leaks.guard import Verdict
from ..manifest import make_manifest, without_copies, write_table
from ..predict.table import mean_over_folds
from ..recipes.recipe import Recipe
from ..runs.network import fresh_network
from ..runs.run import Run, read_fold_tables
from .checkpoint import remove_checkpoints
from .epochs import Event
from .fold import Hardware, train_fold
from .lightning_module import FoldTask
from .prepare import Prepared, is_prepared, prepare, prepare_again, select_cells, with_classes
from .transfer import check_start_unseen, check_transfer, start_digest

__all__ = ["Event", "check_folder", "train"]

OnEvent = Callable[[Event], None]

PACKAGES = ("torch", "torchvision", "lightning", "numpy", "polars", "scipy",
            "opencv-python-headless", "pillow", "numba", "safetensors", "pydantic")
LOCK = ".lock"


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
    """Train a recipe on a manifest's cells and leave a finished run in `out`.

    resume: go on with a run that was stopped, at whatever moment, to the numbers it would have reached; start one
        where `out` is not there yet. Without it, `out` must be new or empty.
    devices: GPUs, or processes on the CPU (`accelerator = "cpu"`); a batch is shared among them.
    Raises LeukoscopeError for whatever a user can get wrong; nothing is left in `out` unless training could start.
    """
    out = Path(out)
    tell: OnEvent = on_event or (lambda event: None)
    started = time.monotonic()
    with _explained(out):
        manifest = without_copies(make_manifest(manifest))
        recipe = with_classes(recipe, select_cells(manifest, recipe.data, seed=recipe.seed).classes)
        hardware = _check(recipe, Hardware(accelerator, devices))
        going_on = check_folder(out, resume)
        if going_on:
            with _locked(out):
                for leftover in out.rglob(".*.partial*"):
                    leftover.unlink(missing_ok=True)
                _check_same_start(recipe, out)
                prepared = prepare_again(recipe, manifest, out, on_event=tell)
                return _finish(prepared, out, hardware, tell, started)
        _fetch_weights(recipe)
        prepared = prepare(recipe, manifest, out, skip_damaged=skip_damaged, on_event=tell,
                           environment=_environment(recipe, hardware), guard=_look_at_start,
                           claim=lambda: _claimed(out, resume))
        with _locked(out):
            return _finish(prepared, out, hardware, tell, started)


def _finish(prepared: Prepared, out: Path, hardware: Hardware, tell: OnEvent, started: float) -> Run:
    """Train the folds that are not done, join and evaluate."""
    run = Run(out)
    if run.finished:
        return run
    folds = run.all_folds
    for number, fold in enumerate(folds):
        if fold not in run.folds:
            _one_fold(prepared, run, fold, hardware, tell)
        remove_checkpoints(run.fold_folder(fold))  # a kill may have come between fold.json and their removal
        tell(Event("fold", number + 1, len(folds), fold, len(folds), metrics=run.fold(fold)))
    tell(Event("evaluate", 0, 1))
    metrics = _evaluate(run, prepared.recipe)
    environment = read_json(out / "environment.json")
    trained = sum(run.fold(fold)["seconds"] for fold in folds)  # by earlier processes too, where some were killed
    seconds = max(environment["seconds"] + time.monotonic() - started, trained)
    write_json(out / "environment.json", environment | {"seconds": round(seconds, 3)})
    write_json(out / "metrics.json", metrics)
    tell(Event("done", len(folds), len(folds), folds=len(folds), metrics=metrics["overall"]))
    return Run(out)


def _evaluate(run: Run, recipe: Recipe) -> dict[str, Any]:
    """Join the folds' predictions and evaluate. Where all folds test the same cells, their mean answers for each."""
    by_fold = read_fold_tables(run, "predictions.parquet")
    validation = read_fold_tables(run, "validation.parquet")
    assert by_fold is not None
    joined = recipe.split.kind == "holdout-kfold"
    predictions = mean_over_folds(by_fold, recipe.data.classes) if joined else by_fold
    write_table(predictions, run.folder / "predictions.parquet")
    if validation is not None:
        validation = mean_over_folds(validation, recipe.data.classes) if joined else validation
        write_table(validation, run.folder / "validation.parquet")
    return evaluate(predictions, recipe.data.classes, positive=recipe.data.positive, validation=validation,
                    by_fold=by_fold, seed=recipe.seed).to_dict()


def _one_fold(prepared: Prepared, run: Run, fold: int, hardware: Hardware, tell: OnEvent) -> None:
    recipe, packed = prepared.recipe, prepared.inputs
    learned, validated, tested = (prepared.rows(fold, part) for part in ("train", "validation", "test"))
    seen = np.arange(len(packed.pixels)) if recipe.split.fit_on == "all" else learned
    learned = prepared.shown(fold)
    stages = fit_stages(recipe, packed, seen,
                        on_progress=lambda done, total: tell(Event("fit", done, total, fold, len(run.all_folds))))
    chosen_by = tested if recipe.split.select_on == "test" else validated
    task = FoldTask(recipe, run.fold_folder(fold), fold, len(run.all_folds), packed, prepared.labels, learned,
                    chosen_by, stages)
    train_fold(task, hardware, tested=tested, validated=validated, cells=prepared.manifest, on_event=tell)


def _check(recipe: Recipe, hardware: Hardware) -> Hardware:
    """Raise RecipeError for what can be known to fail before a single image is read."""
    with torch.device("meta"):
        network = fresh_network(recipe)
    check_transfer(recipe, network)
    training = recipe.training
    accelerators = ("auto", "cpu", "gpu", "cuda", "mps")
    if hardware.accelerator not in accelerators:
        raise RunError(f"accelerator = '{hardware.accelerator}'", f"expected one of {', '.join(accelerators)}")
    if hardware.accelerator not in ("auto", "cpu") and hardware.device.type == "cpu":
        raise RunError(f"accelerator = '{hardware.accelerator}': torch finds none here", "take auto or cpu")
    if hardware.devices < 1:
        raise RunError(f"devices = {hardware.devices}", "take at least one")
    if training.batch_size % hardware.devices:
        raise RecipeError(f"training.batch_size = {training.batch_size} cannot be shared by {hardware.devices} devices",
                          f"take a multiple of {hardware.devices}")
    if hardware.device.type == "cuda" and hardware.devices > torch.cuda.device_count():
        raise RunError(f"devices = {hardware.devices}: this machine has {torch.cuda.device_count()} GPUs",
                       "take fewer")
    split = recipe.split
    chooses = split.select_on == "test" or split.validation > 0 or split.kind in ("official", "holdout-kfold")
    watching = training.patience > 0 or training.schedule == "plateau"
    if watching and not chooses:
        raise RecipeError("training.patience and training.schedule = 'plateau' need a part to watch, and "
                          "split.validation is 0", "set split.validation, for example to 0.1")
    return hardware


def _fetch_weights(recipe: Recipe) -> None:
    """RecipeError, before anything is written, where published weights are wanted and cannot be had."""
    if recipe.network.pretrained:
        with torch.random.fork_rng():
            fresh_network(recipe, pretrained=True)


def check_folder(out: Path, resume: bool) -> bool:
    """Whether an earlier run goes on. Raises RunError where `out` may not be written to."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file, not a folder", "name another folder")
    held = [path for path in out.iterdir() if path.name != LOCK] if out.is_dir() else []
    if not held or (resume and not is_prepared(out) and _is_begun(held)):
        return False
    if not resume:
        what = "holds a run already" if (out / "recipe.toml").is_file() else "is not empty"
        raise RunError(f"{out}: {what}", "go on with --resume, or name another folder" if "run" in what
                       else "name another folder")
    Run(out)
    return True


def _is_begun(held: list[Path]) -> bool:
    """Whether these are only what a run killed while it was being prepared leaves: then it is prepared anew."""
    known = {"recipe.toml", "guard.json", "left_out.json", "environment.json", "fingerprints.parquet",
             "manifest.parquet", "copies.csv"}
    return all(path.name in known or ".partial" in path.name for path in held)


def _check_same_start(recipe: Recipe, out: Path) -> None:
    if start_digest(recipe) != read_json(out / "environment.json").get("start"):
        raise RunError(f"{out}: the weights of network.start = '{recipe.network.start}' are not those that the run was "
                       "started with", "put the old run back, or train into another folder")


def _look_at_start(prepared: Prepared, prints: pl.DataFrame) -> Verdict | None:
    return check_start_unseen(prepared.recipe, prepared.manifest, prepared.splits, prints)


@contextmanager
def _claimed(out: Path, resume: bool) -> Iterator[None]:
    """Hold a folder that is still free: while cells were read, another process may have taken it."""
    with _locked(out):
        if check_folder(out, resume):
            raise RunError(f"{out}: another process has begun this run", "wait for it, or name another folder")
        yield


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Only one process trains a run. The lock of a killed process is free again; a finished run needs none."""
    try:
        with filelock.FileLock(out / LOCK, timeout=0):
            yield
            if (out / "metrics.json").is_file():
                (out / LOCK).unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise RunError(f"{out}: another process is training this run", "wait for it, or name another folder") from error


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """A full disk or a folder without permission is the user's to mend."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG):
            raise
        raise RunError(f"{error.filename or out}: cannot be written ({error.strerror})",
                       "make room or name a folder that may be written to, then go on with --resume") from error


def _environment(recipe: Recipe, hardware: Hardware) -> dict[str, Any]:
    """Where and with what the run was made."""
    device = hardware.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "leukoscope": __version__, "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(), "cpu": _cpu_name(), "device": name, "devices": hardware.devices,
        "threads": torch.get_num_threads(), "seed": recipe.seed, "command": shlex.join(sys.argv),
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": 0.0, "start": start_digest(recipe),
    }


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
