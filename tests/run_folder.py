"""Builds a run folder in the layout that training leaves: made-up predictions, real `evaluate()`, real images.

The predictions come from a classifier that is right with a given skill, so that every figure has something to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from leukoscope.evaluation.evaluate import evaluate
from leukoscope.files import write_json, write_text
from leukoscope.manifest import make_manifest, write_manifest, write_table
from leukoscope.recipes import dump_recipe, make_recipe

FIVE = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")


@dataclass(frozen=True)
class Plan:
    """What run to build. `images` are files that the cells show, in turn; without them, files that are not there."""

    classes: Sequence[str] = FIVE
    folds: int = 2
    cells: int = 200
    subjects: int = 12
    validation: bool = True
    protocol: str = "clean"
    positive: str = ""
    skill: float = 2.2
    seed: int = 0
    epochs: int = 12
    images: Sequence[Path] = ()
    leaks: Sequence[dict[str, Any]] = ()
    left_out: dict[str, Any] = field(default_factory=dict)
    optics: dict[str, Any] = field(default_factory=dict)


def build_run(folder: Path, plan: Plan) -> Path:
    """Write the whole folder, `metrics.json` last."""
    rng = np.random.default_rng(plan.seed)
    manifest = _manifest(plan, rng)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "recipe.toml", dump_recipe(make_recipe(_recipe(plan))))
    write_manifest(manifest, folder / "manifest.parquet")
    splits = _splits(plan, manifest, rng)
    write_table(splits, folder / "splits.parquet")
    write_json(folder / "guard.json", {"protocol": plan.protocol, "leaks": list(plan.leaks), "summary": [],
                                       "checked": ["subjects", "groups", "pairs of identical images"],
                                       "not_checked": []})
    write_json(folder / "left_out.json", {"damaged": [], "other_labels": {}, "over_per_class": 0, "unlabelled": 0}
               | plan.left_out)
    write_json(folder / "environment.json", {
        "leukoscope": "0.1.0", "python": "3.12.3", "packages": {"torch": "2.11.0", "numpy": "2.4.0"},
        "platform": "Linux", "cpu": "2 cores", "device": "cpu", "threads": 2, "seed": plan.seed,
        "command": "leukoscope train almotairi2020 --data cells.parquet -o runs/wbc",
        "started": "2025-01-02T03:04:05", "seconds": 754.2})
    tables = {part: _predictions(plan, manifest, splits, part, rng) for part in ("test", "validation")}
    for fold in range(plan.folds):
        _write_fold(folder / "folds" / str(fold), fold, plan, rng)
    write_table(tables["test"], folder / "predictions.parquet")
    validation = tables["validation"] if plan.validation else None
    if validation is not None:
        write_table(validation, folder / "validation.parquet")
    found = evaluate(tables["test"], list(plan.classes), positive=plan.positive, validation=validation, rounds=200)
    write_json(folder / "metrics.json", found.to_dict())
    return folder


def _recipe(plan: Plan) -> dict[str, Any]:
    split = {"kind": "kfold" if plan.folds > 1 else "holdout", "folds": max(plan.folds, 2),
             "validation": 0.1 if plan.validation else 0.0,
             **({"by": "image", "select_on": "test"} if plan.protocol == "paper" else {})}
    return {"name": "almotairi2020", "title": "WBCsNet-2 on five types of leukocyte", "protocol": plan.protocol,
            "data": {"classes": list(plan.classes), "positive": plan.positive},
            "network": {"name": "wbcsnet2", "options": {"residual_unit": "1"}},
            "training": {"epochs": plan.epochs, "optimizer": "sgd", "patience": 5},
            "augment": {"rotation": 180, "zoom": 0.1, "flip_horizontal": True}, "split": split,
            **({"optics": {"simulate": True, **plan.optics}, "preprocess": {"normalise": "none"}}
               if plan.optics else {})}


def _manifest(plan: Plan, rng: np.random.Generator) -> pl.DataFrame:
    """Rarer and rarer classes; each cell of some subject, where there are subjects."""
    shares = 1 / np.sqrt(np.arange(1, len(plan.classes) + 1))
    labels = rng.choice(len(plan.classes), size=plan.cells, p=shares / shares.sum())
    return make_manifest([{
        "cell_id": f"smear_{i // 40:02d}/cell_{i:05d}",
        "image": str(plan.images[i % len(plan.images)] if plan.images else Path("/nowhere") / f"cell_{i:05d}.png"),
        "label": plan.classes[label],
        "subject": _subject(plan, i, label) if plan.subjects else None,
        "source": "phantom"} for i, label in enumerate(labels)])


def _subject(plan: Plan, cell: int, label: int) -> str:
    """Patients are of one class each where the task is to find the ill, else they have cells of every class."""
    return f"{plan.classes[label][:3] if plan.positive else 'subject'} {cell % plan.subjects:02d}"


def _splits(plan: Plan, manifest: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    unit = np.arange(manifest.height) % (plan.subjects or manifest.height)
    rows = []
    for fold in range(plan.folds):
        tested = unit % max(plan.folds, 5 if plan.folds == 1 else 0) == fold
        part = np.where(tested, "test", "train").astype(object)
        if plan.validation:
            part[~tested & (rng.random(manifest.height) < 0.12)] = "validation"
        rows.append(pl.DataFrame({"cell_id": manifest["cell_id"], "fold": fold, "part": part.astype(str).tolist()}))
    return pl.concat(rows)


def _predictions(plan: Plan, manifest: pl.DataFrame, splits: pl.DataFrame, part: str,
                 rng: np.random.Generator) -> pl.DataFrame:
    chosen = splits.filter(pl.col("part") == part).join(manifest, on="cell_id", how="left", maintain_order="left")
    truth = np.array([list(plan.classes).index(label) for label in chosen["label"]], dtype=np.int64)
    scores = rng.normal(size=(chosen.height, len(plan.classes)))
    scores[np.arange(chosen.height), truth] += plan.skill
    exp = np.exp(1.6 * scores)
    probabilities = exp / exp.sum(axis=1, keepdims=True)
    return chosen.select("cell_id", "subject", "group", "fold", "label").with_columns(
        pl.Series("predicted", [plan.classes[i] for i in probabilities.argmax(axis=1)], dtype=pl.String),
        *(pl.Series(f"p_{name}", probabilities[:, i]) for i, name in enumerate(plan.classes)))


def _write_fold(folder: Path, fold: int, plan: Plan, rng: np.random.Generator) -> None:
    epoch = np.arange(1, plan.epochs + 1)
    fall = np.exp(-epoch / (0.3 * plan.epochs)) + 0.02 * rng.random(plan.epochs)
    nothing = pl.Series([None] * plan.epochs, dtype=pl.Float64)
    history = pl.DataFrame({
        "epoch": epoch, "train_loss": 1.5 * fall, "train_accuracy": 1 - 0.75 * fall,
        "validation_loss": 1.5 * fall + 0.12 + 0.002 * epoch if plan.validation else nothing,
        "validation_accuracy": 0.97 - 0.72 * fall if plan.validation else nothing,
        "learning_rate": 0.001, "seconds": 3.1})
    write_table(history, folder / "history.csv")
    write_json(folder / "fold.json", {
        "fold": fold, "best_epoch": max(1, round(0.8 * plan.epochs)), "epochs": plan.epochs, "stopped_early": False,
        "seconds": 37.4, "mean": [0.8, 0.7, 0.75], "std": [0.1, 0.15, 0.1], "parameters": 21_402_181,
        "selected_on": "validation" if plan.validation else "last epoch"})
