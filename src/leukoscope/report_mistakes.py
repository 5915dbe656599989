"""The worst mistakes: the cells that the network was most sure of and got wrong, as thumbnails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from .errors import LeukoscopeError
from .images import read_cell
from .pages import image_uri
from .report_read import Results

MOST = 18
SIDE = 176


def worst_mistakes(results: Results, most: int = MOST) -> list[dict[str, Any]]:
    """Wrong cells by falling probability of the wrong answer: picture (or why there is none), classes, probabilities.

    A picture that cannot be read any more is named by `gone`, and stops nothing.
    """
    classes = results.classes
    wrong = results.predictions.filter(pl.col("label") != pl.col("predicted"))
    sure = pl.max_horizontal(pl.col(f"p_{name}") for name in classes)
    chosen = wrong.with_columns(sure.alias("_sure")).sort(["_sure", "cell_id"], descending=[True, False]).head(most)
    cells = _cells(results.manifest, chosen["cell_id"].to_list())
    return [_mistake(row, cells.get(row["cell_id"])) for row in chosen.iter_rows(named=True)]


def _cells(manifest: pl.DataFrame | None, ids: list[str]) -> dict[str, dict[str, Any]]:
    if manifest is None:
        return {}
    return {row["cell_id"]: row for row in manifest.filter(pl.col("cell_id").is_in(ids)).iter_rows(named=True)}


def _mistake(row: Mapping[str, Any], cell: Mapping[str, Any] | None) -> dict[str, Any]:
    picture, gone = "", ""
    if cell is None:
        gone = "not in the manifest of this run"
    else:
        try:
            picture = image_uri(read_cell(cell), side=SIDE)
        except LeukoscopeError as error:
            gone = error.what
    return {"cell_id": row["cell_id"], "fold": row["fold"], "true": row["label"], "said": row["predicted"],
            "p_true": row.get(f"p_{row['label']}"), "p_said": row[f"p_{row['predicted']}"],
            "picture": picture, "gone": gone}
