"""How good a bundle's own warnings are on labelled cells: unsure, conformal sets, unlike the cells of training."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle
from .results import Doubt
from .table import IntervalOptions, read_cells


def doubt(bundle: Bundle, predictions: pl.DataFrame, classes: tuple[str, ...], *, seed: int = 0) -> Doubt:
    """predictions: with the columns `unsure`, `set` (JSON, the classes of the conformal set) and `known`, which are
    null where the bundle cannot tell."""
    cells, options, description = read_cells(predictions, classes), IntervalOptions(seed=seed), bundle.description
    table, every, warnings = predictions.sort("cell_id"), np.ones(predictions.height, bool), Doubt()
    if description.radius is not None:
        unsure = table["unsure"].to_numpy().astype(bool)
        covered = np.array([label in json.loads(names) for label, names in table.select("label", "set").iter_rows()])
        warnings = Doubt(cells.rate(unsure, every, options), cells.rate(covered, every, options),
                         cells.rate(~cells.correct, unsure, options), cells.rate(~cells.correct, ~unsure, options),
                         description.coverage)
    if table["known"].null_count() == 0:
        unknown = cells.rate(~table["known"].to_numpy().astype(bool), every, options)
        warnings = replace(warnings, unknown=unknown, rejected=description.rejected)
    return warnings
