"""Di Muro, "Optimal Blurring and Illumination Patterns for Leukocytes Classification".

The microscope in front of DenseNet-121, for each N frozen and learned, trained several times from other weights; the
paper's Table 1 beside ours, what learning brings at each N, and whether it makes up for the pixels that were given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch

from ..commands.outcome import Outcome
from ..commands.train import run_experiment
from ..datasets import get_dataset
from ..errors import RecipeError
from ..files import write_json
from ..manifest import read_manifest
from ..recipes.recipe import Protocol, expand_variants, load_recipe, only_variants
from ..report.study import write_study
from ..runs.network import fresh_network
from ..text import aligned, plural
from ..train.prepare import select_cells, with_classes
from ..train.train import check_folder
from .dimuro2020_tables import PUBLISHED_CURVES, answers, table_one
from .request import Request, whole_cells

RECIPE = "dimuro2020"
SOURCE = "Di Muro, Table 1: validation accuracy, seven of the eight classes"
REPEATS = 3


def reproduce(request: Request) -> Outcome:
    """Train every microscope of the recipe, `repeats` times (3 if None), each in a folder PROTOCOL/repeat-K/NAME."""
    request.refuse_transfer(RECIPE)
    out, scale, settings = request.out, request.scale, request.settings
    cells, remarks = _read_cells(request.data, request.skip_damaged)
    count = request.repeats or REPEATS
    lines, metrics, page = list(remarks), {}, out
    for protocol in request.protocols:
        _check(cells, protocol, [out / protocol / f"repeat-{k}" for k in range(count)], request)
    for protocol in request.protocols:
        folder, found, names = out / protocol, [], []
        for repeat in range(count):
            recipe = only_variants(load_recipe(RECIPE, protocol=protocol, scale=scale,
                                               settings=[*settings, f"training.repeat={repeat}"]), request.only)
            run_experiment(recipe, cells, folder / f"repeat-{repeat}", resume=request.resume,
                           skip_damaged=request.skip_damaged, on_event=request.on_event)
            below = [name for name in expand_variants(recipe) if name]
            names += [f"repeat-{repeat}/{name}" for name in below] or [f"repeat-{repeat}"]
        study = {"title": f"The microscope that learns, {protocol} protocol, {scale} scale", "runs": names,
                 "source": SOURCE, "description": " ".join(remarks), "published": PUBLISHED_CURVES}
        write_json(folder / "study.json", study)
        rows = table_one(folder)
        tables, said = answers(folder, rows)
        write_json(folder / "study.json", study | {"tables": [*tables], "description": " ".join([*said, *remarks])})
        page = write_study(folder)
        found = [line for table in tables
                 for line in ("", table["title"], *aligned([table["columns"], *table["rows"]]))]
        heading = f"protocol {protocol}, {scale} scale, {plural(count, 'repeat')}"
        lines += ["", heading, *found, "", *said, f"report: {page}"]
        metrics[protocol] = {row.name: {"accuracy": row.accuracy.to_dict(), "repeats": row.repeats,
                                        "cells": row.cells} for row in rows}
    return Outcome(out, page, tuple(lines if remarks else lines[1:]), metrics)


def _check(cells: pl.DataFrame, protocol: Protocol, folders: Sequence[Path], request: Request) -> None:
    """Whatever can be known to fail before the first of many runs is trained."""
    recipe = only_variants(load_recipe(RECIPE, protocol=protocol, scale=request.scale, settings=request.settings),
                           request.only)
    if recipe.training.repeat:
        raise RecipeError("training.repeat: reproduce sets it itself", "say how often with --repeats")
    classes = select_cells(cells, recipe.data, seed=recipe.seed).classes
    for name, variant in expand_variants(recipe).items():
        if not variant.optics.simulate:
            raise RecipeError(f"optics.simulate = false{f' in variants.{name}' if name else ''}: dimuro2020 compares "
                              "microscopes", "leave it as it is, or use leukoscope train")
        with torch.device("meta"):
            fresh_network(with_classes(variant, classes))
        for folder in folders:
            check_folder(folder / name, request.resume)


def _read_cells(data: Path, skip_damaged: bool) -> tuple[pl.DataFrame, list[str]]:
    """A manifest from its file, or the eight classes of a folder of PBC and what it lacks."""
    if not data.is_dir():
        return read_manifest(data), []
    return whole_cells(get_dataset("pbc").index(data, "eight"), data, skip_damaged=skip_damaged)
