"""The audit's tables: balance, outliers, sources, and the facts of both cells of a pair."""

from __future__ import annotations

import numpy as np
import polars as pl

FACTS = ("label", "subject", "group", "source", "split", "fold")
"""Columns whose values are compared in a pair."""
SCORE = 5.0
"""Robust z-score above which a cell is an outlier: 1 in 2 million of normally distributed values."""
STAIN = ("brightness", "density", "hue", "sharpness")


def pair_facts(pairs: pl.DataFrame, manifest: pl.DataFrame) -> pl.DataFrame:
    """The pairs with each fact of both cells (`label`, `label_second`, ...) and whether they differ (`other_label`)."""
    names = [name for name in FACTS if name in manifest.columns and manifest[name].is_not_null().any()]
    facts = manifest.select("cell_id", *names)
    both = pairs.join(facts, left_on="first", right_on="cell_id", how="left", maintain_order="left").join(
        facts, left_on="second", right_on="cell_id", how="left", suffix="_second", maintain_order="left")
    return both.with_columns(pl.col(name).ne_missing(pl.col(f"{name}_second")).alias(f"other_{name}") for name in names)


def balance_of(manifest: pl.DataFrame) -> pl.DataFrame:
    """`[label, cells, share, subjects]`, most frequent first; cells without a label are counted under ''."""
    return (manifest.group_by(pl.col("label").fill_null("")).agg(
        pl.len().alias("cells"), pl.col("subject").drop_nulls().n_unique().alias("subjects"))
        .with_columns((pl.col("cells") / manifest.height).alias("share"))
        .select("label", "cells", "share", "subjects").sort("cells", "label", descending=[True, False]))


def outliers_of(located: pl.DataFrame) -> pl.DataFrame:
    """`[cell_id, what, value, low, high, score]`, the highest score first: cells more than SCORE robust standard
    deviations from the median of their source.

    side (geometric mean of width and height) and aspect are compared as logarithms; the spread is at least 0.02 (2 %),
    as files often have one size. located: the measures with the column source.
    """
    numbers = dict.fromkeys(("value", "low", "high", "score"), pl.Float64())
    tables = [pl.DataFrame(schema={"cell_id": pl.String(), "what": pl.String(), **numbers})]
    for _, cells in located.group_by("source", maintain_order=True):
        width, height = cells["width"].to_numpy(), cells["height"].to_numpy()
        columns = {"side": np.log(width * height) / 2, "aspect": np.log(width / height),
                   "sharpness": cells["sharpness"].to_numpy(), "brightness": cells["brightness"].to_numpy()}
        tables += [_far(cells["cell_id"], what, values) for what, values in columns.items()]
    return pl.concat(tables).sort("score", "cell_id", descending=[True, False])


def _far(ids: pl.Series, what: str, values: np.ndarray) -> pl.DataFrame:
    middle = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), 0.02)
    score = np.abs(values - middle) / spread
    shown = np.exp if what in ("side", "aspect") else np.asarray
    low, high = (float(shown(middle + sign * SCORE * spread)) for sign in (-1, 1))
    far = score > SCORE
    table = pl.DataFrame({"cell_id": ids.filter(pl.Series(far)), "value": shown(values[far]), "score": score[far]})
    return table.select("cell_id", pl.lit(what).alias("what"), "value", pl.lit(low).alias("low"),
                        pl.lit(high).alias("high"), "score")


def sources_of(located: pl.DataFrame, by: str) -> pl.DataFrame:
    """Cells, mean and standard deviation of brightness, stain and sharpness for each value of `by` (or of all
    cells)."""
    key = pl.col(by).fill_null("(unknown)").alias("of") if by else pl.lit("all cells").alias("of")
    return located.with_columns(pl.col(name).fill_nan(None) for name in STAIN).group_by(key).agg(
        pl.len().alias("cells"), *(pl.col(name).mean() for name in STAIN),
        *(pl.col(name).std().alias(f"{name}_spread") for name in STAIN)).sort("of")


def share_explained(located: pl.DataFrame, by: str) -> dict[str, float]:
    """The share of the variance of each stain measure between the values of `by`, adjusted (epsilon squared).

    Kelley 1935, doi 10.1073/pnas.21.9.554; 0 if there is no difference between the values of `by`.
    """
    if not by or located.is_empty():
        return {}
    result = {}
    for name in STAIN:
        table = located.select(by, pl.col(name).fill_nan(None)).drop_nulls()
        groups, cells = table[by].n_unique(), table.height
        variance = table[name].var()
        if groups < 2 or cells <= groups or not isinstance(variance, float) or variance == 0:
            continue
        total = variance * (cells - 1)
        inside = table.select(((pl.col(name) - pl.col(name).mean().over(by)) ** 2).sum()).item()
        result[name] = max(0.0, 1 - (inside / (cells - groups)) / (total / (cells - 1)))
    return result
