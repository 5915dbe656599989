"""The shortcut check of a run whose split is by laboratory: its cells through one of its networks, and what these
features say of the laboratory."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64

from ..bundle.graph import CellGraph
from ..cells.pack import pack_cells
from ..evaluation.laboratory_shortcut import EACH, laboratory_shortcut
from ..evaluation.table import clusters_of
from ..files import write_json
from ..leaks.splits import laboratory_names
from ..runs.laboratories import LaboratoryShortcut
from ..runs.network import load_network
from ..runs.run import SHORTCUT, Run

_BLOCK = 64


def check_shortcut(run: Run) -> LaboratoryShortcut | None:
    """The check, which is also written into the run; None where the network does not end in a linear layer. The first
    fold's network sees EACH cells of every class and laboratory at most, which takes some seconds."""
    packed = pack_cells(run.manifest, run.recipe.preprocess, skip_damaged=True)  # as in training, so from the cache
    cells = run.manifest.filter(pl.col("cell_id").is_in(packed.cell_ids)).with_row_index("row")
    pair = ["source", "label"]
    cells = cells.filter(pl.col("source").is_not_null(),
                         pl.col("copy") == 0 if "copy" in cells.columns else pl.lit(True))
    cells = cells.with_columns(pl.len().over(pair).alias("all"))
    cells = cells.filter(pl.int_range(pl.len()).shuffle(seed=run.recipe.seed).over(pair) < EACH)
    cells = cells.with_columns(frequency=pl.col("all") / pl.len().over(pair))
    fold = run.all_folds[0]
    features = _features(run, fold, packed.pixels, cells["row"].to_list())
    if features is None:
        return None
    found = laboratory_shortcut(
        features, cells["label"].to_list(), cells["source"].to_list(), clusters_of(cells)[0],
        cells["frequency"].to_numpy(), laboratory_names(run.manifest)[fold], np.random.default_rng(run.recipe.seed))
    write_json(run.folder / SHORTCUT, found.to_dict())
    return found


def _features(run: Run, fold: int, pixels: np.ndarray, rows: list[int]) -> Float64[np.ndarray, "n features"] | None:
    """What the last layer of a fold's network is given for packed cells."""
    graph, done = CellGraph(*load_network(run, fold), 1.0), []
    if len(graph.outputs) < 3:
        return None
    with torch.inference_mode():
        for start in range(0, len(rows), _BLOCK):
            block = torch.from_numpy(np.array(pixels[rows[start:start + _BLOCK]]))
            done.append(graph(block)[2].double().numpy())
    return np.concatenate(done)
