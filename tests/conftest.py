"""Shared fixtures: where the real data is, and shape annotations turned into checks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

CHECKED = ["augment", "models", "stats", "optics", "optics_sensor", "optics_layer", "spikes", "spikes_banks",
           "spikes_stages", "pca", "smear"]
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
