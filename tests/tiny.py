"""Cells that a small network tells apart in a few steps, and a recipe that trains on them in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from leukoscope.manifest import make_manifest
from leukoscope.recipes import Recipe, make_recipe
from leukoscope.runs.run import Run
from leukoscope.train.train import train

COLOURS = {"a": (200, 60, 60), "b": (60, 200, 60), "c": (60, 60, 200)}


def make_cells(root: Path, *, counts: dict[str, int] | None = None, size: int = 20, strength: float = 0.15,
               seed: int = 0, prefix: str = "") -> pl.DataFrame:
    """PNG files, a class a colour under noise: write `counts` cells a class (default 12) of `size` px below
    `root`; return their manifest.

    strength: of the colour against noise of 40 levels; 0 leaves nothing to learn.
    """
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for label, count in (counts or dict.fromkeys(COLOURS, 12)).items():
        tint = strength * (np.array(COLOURS[label]) - 128)
        for number in range(count):
            noise = rng.normal(128, 40, (size, size, 3))
            name = f"{prefix}{label}{number:03d}"
            Image.fromarray(np.clip(noise + tint, 0, 255).astype(np.uint8)).save(root / f"{name}.png")
            rows.append({"cell_id": name, "image": str(root / f"{name}.png"), "label": label})
    return make_manifest(rows)


def tiny_recipe(**overrides: Any) -> Recipe:
    """A recipe that trains in a second; `section__key` overrides a key."""
    raw: dict[str, Any] = {
        "name": "tiny", "preprocess": {"size": 16}, "network": {"name": "lenet5"},
        "training": {"epochs": 3, "optimizer": "sgd", "learning_rate": 0.05, "batch_size": 8},
        "split": {"kind": "holdout", "test": 0.3, "validation": 0.25}}
    for key, value in overrides.items():
        section, _, name = key.partition("__")
        if name:
            raw.setdefault(section, {})[name] = value
        else:
            raw[section] = value
    return make_recipe(raw)


def train_on_cpu(chosen: Recipe, cells: pl.DataFrame, out: Path, **options: Any) -> Run:
    return train(chosen, cells, out, accelerator="cpu", **options)


def history(run: Run, fold: int = 0) -> pl.DataFrame:
    return pl.read_csv(run.fold_folder(fold) / "history.csv")
