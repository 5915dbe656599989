"""The attributes of cells in an audit: how many cells have each, its values, and how closely it follows the class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..datasets.labels import label_counts, same_labels
from ..manifest import ATTRIBUTE, attributes_of


@dataclass(frozen=True)
class Attribute:
    """One attribute: cells in which it is known; its values and their cells, the most frequent first; groups of values
    that differ only in case, blanks or Unicode form; with_class: Cramer's V with the label, from 0 (none) to 1 (one
    gives the other), None where one of the two is always the same."""

    name: str
    known: int
    values: tuple[tuple[str, int], ...]
    alike: tuple[tuple[str, ...], ...]
    with_class: float | None


def find_attributes(manifest: pl.DataFrame) -> tuple[Attribute, ...]:
    """Every column `attribute_...` of a manifest that holds a value."""
    return tuple(_found(manifest))


def _found(manifest: pl.DataFrame) -> Iterator[Attribute]:
    for column in attributes_of(manifest):
        known = manifest.filter(pl.col(column).is_not_null())
        if known.height:
            counts = known[column].value_counts(sort=False).sort("count", column, descending=[True, False])
            alike = tuple(tuple(group) for group in same_labels(label_counts(known[column])))
            yield Attribute(column.removeprefix(ATTRIBUTE), known.height, tuple(counts.iter_rows()), alike,
                            _cramers_v(known.select("label", column).drop_nulls()))


def _cramers_v(pairs: pl.DataFrame) -> float | None:
    """Cramer's V of two columns (Cramer 1946): the root of chi-squared over its largest value."""
    rows, columns = (np.unique(pairs[name].to_numpy(), return_inverse=True)[1] for name in pairs.columns)
    table = np.zeros((rows.max(initial=-1) + 1, columns.max(initial=-1) + 1))
    np.add.at(table, (rows, columns), 1)
    least = min(table.shape) - 1
    if least < 1:
        return None
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / least))
