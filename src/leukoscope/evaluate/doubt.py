"""What a bundle's doubts are worth on labelled cells: how often it is unsure, how often its sets hold the truth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle
from ..stats.bootstrap import bootstrap_rate
from ..stats.rates import wilson
from .table import read_cells


def doubt(bundle: Bundle, predictions: pl.DataFrame, classes: tuple[str, ...], *, seed: int = 0) -> dict[str, Any]:
    """What a bundle's own doubts are worth on these cells, each a share with its interval: unsure; unknown (unlike
    those of training); covered (the conformal set holds the true class); wrong_unsure, wrong_sure (wrong among those
    that are unsure, and that are not). Beside them what was aimed at. Empty where the bundle has no doubts."""
    told = bundle.description
    cells = read_cells(predictions, classes)
    table = predictions.sort("cell_id")

    def rate(hit: pl.Series, of: pl.Series | None = None) -> dict[str, Any]:
        counted = np.ones(table.height, bool) if of is None else of.to_numpy().astype(bool)
        told = hit.to_numpy().astype(bool) & counted
        if cells.independent:
            return wilson(int(told.sum()), int(counted.sum())).to_dict()
        return bootstrap_rate(cells.by_cluster(told), cells.by_cluster(counted), seed=seed, unit=cells.unit).to_dict()

    found: dict[str, Any] = {}
    if told.radius is not None:
        covered = pl.Series([label in json.loads(inside) for label, inside in zip(
            table["label"], table["set"], strict=True)])
        wrong, unsure = table["label"] != table["predicted"], table["unsure"]
        found |= {"unsure": rate(unsure), "covered": rate(covered), "wrong_unsure": rate(wrong, unsure),
                  "wrong_sure": rate(wrong, ~unsure), "coverage": told.coverage}
    if table["known"].null_count() == 0:
        found |= {"unknown": rate(~table["known"]), "rejected": told.rejected}
    return found
