"""How slides are counted: the options of a call, checked, and the engine and the model that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import LeukoscopeError
from ..files import JsonObject
from ..images.decode import usable_cores
from ..predict.model import Model
from .cluster import Cluster
from .cluster_join import check_cluster
from .engines import Engine, Here, Processes
from .smear import open_model

TARGET = 200
"""Leukocytes of a usual count."""
LOCAL, RAY = "local", "ray"
"""Engines."""
OnNote = Callable[[str], None]
"""Takes lines for the user, while the work goes on."""


@dataclass(frozen=True)
class SlideOptions:
    """How slides are counted. target: leukocytes after which the count of a slide ends; None for all of the monolayer.
    workers: processes; None for as many as there are cores. engine: "local" for processes of this machine, or "ray".
    address: of the Ray cluster, or None for this machine's."""

    bundle: str | None = None
    types: bool = True
    micrometres: float | None = None
    target: int | None = TARGET
    workers: int | None = None
    engine: str = LOCAL
    address: str | None = None


def unheard(line: str) -> None:
    """Take a line and say nothing."""


def model_for(options: SlideOptions) -> Model | None:
    """The model that types the cells. Raises LeukoscopeError for options that cannot be."""
    if options.target is not None and options.target < 1:
        raise LeukoscopeError(f"--target {options.target}: expected at least 1 leukocyte", "usual are 100, 200 and 400")
    return open_model(options.bundle, options.types, options.micrometres)


def check_engine(options: SlideOptions) -> None:
    """Raise LeukoscopeError for options that cannot be, and where nothing answers at the address of the cluster."""
    if options.workers is not None and options.workers < 1:
        raise LeukoscopeError(f"--workers {options.workers}: expected at least 1", "leave it out to use all cores")
    if options.engine not in (LOCAL, RAY):
        raise LeukoscopeError(f"--engine {options.engine}: unknown", f"use {LOCAL} or {RAY}")
    if options.engine == RAY:
        check_cluster(options.address)
    elif options.address is not None:
        raise LeukoscopeError("--address: is of a Ray cluster", f"add --engine {RAY}")


def engine_for(options: SlideOptions, folder: Path, on_note: OnNote) -> Engine:
    """What does the work. folder: where results are stored meanwhile. Raises LeukoscopeError where the cluster cannot
    be joined."""
    if options.engine == RAY:
        bundle = Path(options.bundle).absolute() if options.bundle and Path(options.bundle).exists() else None
        return Cluster(options.address, options.workers, folder.absolute(), on_note, [str(bundle)] if bundle else [])
    workers = options.workers if options.workers is not None else usable_cores()
    return Here() if workers == 1 else Processes(workers)


def stated(options: SlideOptions) -> JsonObject:
    """What must be the same for a stopped run to go on."""
    return {"micrometres": options.micrometres, "target": options.target}
