"""Shared fixtures: where the real data is, a cache for the session, and what many tests read and none changes: small
cells, a run and a bundle of it. Shape annotations are turned into checks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    import polars as pl

    from leukoscope.runs.run import Run
    from leukoscope.train.epochs import Event

CHECKED = ["cells.augment", "networks", "stats", "optics.propagation", "optics.sensor", "optics.microscope",
           "spikes.coding", "spikes.banks", "spikes.pooling", "pca.pca", "smear"]
install_import_hook([f"leukoscope.{name}" for name in CHECKED], "beartype.beartype")


def _data_folder() -> Path:
    given = os.environ.get("LEUKOSCOPE_DATA")
    return Path(given) if given else Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real images, as the README describes; tests that need it are skipped where there is none."""
    folder = _data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set LEUKOSCOPE_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Packed cells go nowhere near those of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The manifest of 12 cells each of the classes a, b, c."""
    from tiny import make_cells

    return make_cells(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="session")
def folds(cells: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Event]]:
    """A finished run of two folds on `cells`, and the events it told."""
    from tiny import tiny_recipe, train_on_cpu

    events: list[Event] = []
    chosen = tiny_recipe(split={"kind": "kfold", "folds": 2, "validation": 0.25})
    return train_on_cpu(chosen, cells, tmp_path_factory.mktemp("runs") / "folds", on_event=events.append), events


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on 40 cells each of a, b, c, with enough validation cells for a calibration."""
    from tiny import make_cells, tiny_recipe, train_on_cpu

    folder = tmp_path_factory.mktemp("run")
    cells = make_cells(folder / "images", counts={"a": 40, "b": 40, "c": 40})
    chosen = tiny_recipe(preprocess={"size": 16, "crop": 18}, split={"kind": "holdout", "test": 0.3, "validation": 0.4})
    return train_on_cpu(chosen, cells, folder / "run")


@pytest.fixture(scope="session")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of `run`, said to be of 1 um a pixel, under CC0."""
    from leukoscope.commands.export import export_run

    out = tmp_path_factory.mktemp("bundle") / "tiny"
    export_run(run, out, micrometres=1.0, licence="CC0")
    return out
