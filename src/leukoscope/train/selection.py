"""Which cells of a manifest a recipe uses, under which labels. Reads no image, and needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl

from ..datasets.labels import label_counts, label_warning
from ..datasets.left_out import LeftOut
from ..errors import ManifestError
from ..recipes.recipe import Recipe
from ..recipes.sections import Data


@dataclass(frozen=True)
class Selection:
    """The cells of an experiment, with its labels, and its classes in order; and which cells are left out, but for
    damaged ones."""

    cells: pl.DataFrame
    classes: tuple[str, ...]
    left_out: LeftOut

    def remarks(self, merged: Mapping[str, str]) -> list[str]:
        """Lines for a terminal: how many cells are left out and why, and labels that look alike. merged: the merges of
        the recipe."""
        counts = {**label_counts(self.cells["label"]), **self.left_out.other_labels}
        return [line for line in (self.left_out.line(self.cells.height), label_warning(counts, merged)) if line]


def select_cells(manifest: pl.DataFrame, recipe: Recipe) -> Selection:
    """The cells that the recipe uses, in the manifest's order; of a class with copies, at most as many as those.

    ManifestError for a class without cells, or fewer than two classes.
    """
    data = recipe.data
    merged = manifest.with_columns(pl.col("label").replace(data.merge))
    labelled = merged.filter(pl.col("label").is_not_null() & (pl.col("label") != ""))
    counts = dict(labelled.group_by("label").len().sort("label").iter_rows())
    classes = data.classes or tuple(counts)
    for name in classes:
        if name not in counts:
            others = {label.lower(): label for label in counts if label not in classes}
            near = get_close_matches(name.lower(), others, n=1)
            question = f"did you mean {others[near[0]]}? " if near else ""
            raise ManifestError(f"class '{name}' has no cells (labels: {', '.join(counts) or 'none'})",
                                f"{question}correct data.classes, or rename labels with data.merge")
    if len(classes) < 2:
        raise ManifestError(f"only {len(classes)} class ({', '.join(classes)}), but training needs two or more",
                            "use cells of at least two labels")
    if data.positive and data.positive not in classes:
        raise ManifestError(f"data.positive = '{data.positive}' is not one of the labels {', '.join(classes)}",
                            "correct data.positive")
    chosen = labelled.filter(pl.col("label").is_in(classes))
    cells = _draw(chosen, classes, data, recipe.augment.copies, recipe.seed)
    return Selection(cells, classes, LeftOut(
        other_labels={name: n for name, n in counts.items() if name not in classes},
        over_per_class=chosen.height - cells.height, unlabelled=merged.height - labelled.height))


def _draw(cells: pl.DataFrame, classes: tuple[str, ...], data: Data, most: Mapping[str, int],
          seed: int) -> pl.DataFrame:
    """At most `data.per_class` cells of each class, and at most `most` of it. The choice depends on the seed and the
    ids, not on the order of the rows."""
    if not data.per_class and not most:
        return cells
    chosen: list[str] = []
    for number, name in enumerate(classes):
        ids = cells.filter(pl.col("label") == name)["cell_id"].sort()
        limit = min(data.per_class or len(ids), most.get(name, len(ids)))
        order = np.random.default_rng([seed, number]).permutation(len(ids))[:limit]
        chosen += ids[order].to_list()
    return cells.filter(pl.col("cell_id").is_in(chosen))
