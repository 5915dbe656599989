"""Changed copies of cells that are made once: how many, of which cells, in which parts of the folds, and their pixels.

A copy is a row of its own; `original` names its cell. Under `split.copies = "after"` a copy is never tested, and is
never used in a fold that tests its original. Under `split.by = "group"` such copies are used for training only. Under
"image", as papers do, they are also used for validation, wherever their original is; the leak guard reports that. Under
"before" copies are split, and tested, like cells of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from ..errors import ManifestError, RecipeError
from ..manifest import MARK
from ..recipes.sections import Augment, Split
from .augment import changed_pixels, draw_changes, sample_changes
from .cache import PackedCells, derived_cells

BLOCK = 256


def plan_copies(cells: pl.DataFrame, splits: pl.DataFrame | None, copies: dict[str, int], *,
                seed: int) -> pl.DataFrame:
    """The rows of the copies that bring each class to its number of cells, in a fixed order; none for a class that has
    enough. Column `copy` counts the copies of one cell from 1.

    cells, splits: the originals and their parts. Copies are made in turn of the cells of the class that are trained on
    in some fold (without splits: of all), in an order drawn by the seed. RecipeError for a label that no cell has.
    """
    for label in copies:
        if not (cells["label"] == label).any():
            known = ", ".join(cells["label"].unique().sort().to_list())
            raise RecipeError(f"augment.copies: no cell has the label '{label}' (labels: {known})",
                              "use the labels of the experiment, after data.merge")
    trained = cells["cell_id"] if splits is None else splits.filter(pl.col("part") == "train")["cell_id"].unique()
    planned: list[tuple[str, int]] = []
    for number, (label, wanted) in enumerate(sorted(copies.items())):
        own = cells.filter(pl.col("label") == label)["cell_id"]
        originals = own.filter(own.is_in(trained.implode())).sort()
        order = np.random.default_rng([seed, number, 0xC0B1]).permutation(len(originals))
        planned += [(originals[int(order[i % len(order)])], i // len(order) + 1) for i in range(wanted - len(own))]
    plan = pl.DataFrame(planned, schema={"original": pl.String, "copy": pl.Int32}, orient="row")
    rows = plan.join(cells.drop("original", "copy", strict=False), left_on="original", right_on="cell_id", how="left",
                     maintain_order="left", coalesce=True)
    named = rows.with_columns((pl.col("original") + MARK + pl.col("copy").cast(pl.String)).alias("cell_id"))
    taken = named.join(cells.select("cell_id"), on="cell_id", how="semi")
    if taken.height:
        raise ManifestError(f"cell '{taken['cell_id'][0]}' has the name of a copy of '{taken['original'][0]}'",
                            f"rename it: ids that end in {MARK} and a number are reserved for copies")
    return named


def with_copies(cells: pl.DataFrame, copies: pl.DataFrame) -> pl.DataFrame:
    """The manifest of the originals, then the copies. A cell without subject and group gets its id as the group of
    itself and its copies."""
    copied = pl.col("cell_id").is_in(copies["original"].implode())
    alone = pl.col("subject").is_null() & pl.col("group").is_null() & copied
    grouped = cells.with_columns(pl.when(alone).then("cell_id").otherwise("group").alias("group"))
    groups = grouped.select("cell_id", "group")
    own = copies.drop("group").join(groups, left_on="original", right_on="cell_id", how="left", maintain_order="left")
    return pl.concat([grouped.with_columns(pl.lit(0, pl.Int32).alias("copy")),
                      own.select(*grouped.columns, "copy")])


def split_copies(splits: pl.DataFrame, copies: pl.DataFrame, split: Split, *, seed: int) -> pl.DataFrame:
    """The splits of originals and copies. A copy has no row in a fold that does not use it."""
    if copies.is_empty():
        return splits
    parts = copies.select("cell_id", "original").join(
        splits.rename({"cell_id": "original"}), on="original", maintain_order="left")
    if split.by == "group":
        own = parts.filter(pl.col("part") == "train")
    else:
        own = _split_by_image(parts.filter(pl.col("part") != "test"), splits, copies["cell_id"], split, seed)
    return pl.concat([splits, own.select(splits.columns).sort("fold", maintain_order=True)])


def _split_by_image(parts: pl.DataFrame, splits: pl.DataFrame, ids: pl.Series, split: Split,
                    seed: int) -> pl.DataFrame:
    """Copies split independently of their originals, with the same share for validation in each fold."""
    order = np.random.default_rng([seed, 0xC0B2]).permutation(len(ids))
    rank = pl.DataFrame({"cell_id": ids, "rank": order})
    if split.kind == "holdout-kfold":
        validated = pl.col("rank") % split.folds == pl.col("fold")
    else:
        shares = splits.filter(pl.col("part") != "test").group_by("fold").agg(
            share=(pl.col("part") == "validation").mean())
        parts = parts.join(shares, on="fold", maintain_order="left")
        # Another section of the order in each fold, so that not all folds validate the same copies.
        turned = (pl.col("rank") + pl.col("fold") * len(ids) // (splits["fold"].n_unique())) % len(ids)
        validated = turned < pl.col("share") * len(ids)
    return parts.join(rank, on="cell_id", maintain_order="left").with_columns(
        part=pl.when(validated).then(pl.lit("validation")).otherwise(pl.lit("train")))


def copy_numbers(cell_ids: Sequence[str], copies: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """((n,) row of each copy's original among `cell_ids`, (n,) the number that identifies the copy in `augment.py`)."""
    numbers = dict(zip(cell_ids, range(len(cell_ids)), strict=True))
    rows = np.array([numbers[original] for original in copies["original"]], np.int64)
    return rows, rows + (copies["copy"].to_numpy().astype(np.int64) << 40)


def copies_table(cells: pl.DataFrame, augment: Augment, *, seed: int) -> pl.DataFrame:
    """What was done to each copy: `cell_id, original, copy, label`, then each draw by name (see `draw_changes`).

    cells: the manifest of originals and copies, as `with_copies` gives it.
    """
    copies = cells.filter(pl.col("copy") > 0)
    _, numbers = copy_numbers(cells.filter(pl.col("copy") == 0)["cell_id"].to_list(), copies)
    drawn = draw_changes(augment, seed=seed, epoch=0, cells=numbers)
    return copies.select("cell_id", "original", "copy", "label").with_columns(
        **{name: pl.Series(values) for name, values in drawn.items()})


def pack_copies(packed: PackedCells, copies: pl.DataFrame, augment: Augment, *, seed: int) -> PackedCells:
    """The packed originals, then the pixels of the copies. The change of a copy depends on the seed, the place of its
    original and its number."""
    if copies.is_empty():
        return packed
    rows, numbers = copy_numbers(packed.cell_ids, copies)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(packed.pixels), BLOCK):
            yield packed.pixels[start:start + BLOCK]
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            pixels = np.ascontiguousarray(packed.pixels[rows[part]])
            changes = sample_changes(augment, seed=seed, epoch=0, cells=numbers[part], size=pixels.shape[1])
            yield changed_pixels(pixels, changes)

    what = f"copies 1 {seed} {json.dumps(augment.model_dump(exclude={'copies'}), sort_keys=True)}"
    return derived_cells(packed, what, (*packed.cell_ids, *copies["cell_id"]), packed.pixels.shape[3], blocks)
