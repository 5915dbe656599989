"""Splits: which cells are for training, validation and test, in each fold.

k-fold, hold-out, both, official, or by laboratory; stratified by label; by unit (subject, group, duplicates) or by
image. The same seed gives the same splits in any order of the rows. Knows nothing of pixels; the guard is in guard.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import ManifestError, RecipeError
from ..manifest import INDEX_FIRST
from ..recipes.sections import Split
from .guard import PARTS, Leak, Verdict, check_leaks

__all__ = ["PARTS", "Leak", "Verdict", "check_leaks", "make_splits", "unit_numbers"]

RESTARTS = 8
"""Orders that are tried where units have several cells (fewer for thousands of units); the most even one is used."""


@dataclass(frozen=True)
class _Table:
    """Cells to split: label (n,) as an index into `names`, unit (n,)."""

    labels: np.ndarray
    units: np.ndarray
    names: list[str]


def make_splits(manifest: pl.DataFrame, split: Split, *, seed: int, pairs: pl.DataFrame | None = None) -> pl.DataFrame:
    """`[cell_id, fold, part]`, one row for each fold and cell, folds from 0, cells in the order of the manifest.

    With `by = "group"` the units are the connected components of subject, group, `original` and `pairs`
    (`duplicates.duplicate_pairs`). Every part of every fold has cells of every class, except where each fold tests one
    laboratory (`kind = "laboratory"`, in the order of `laboratory_names`): none has all classes. Raises ManifestError
    for cells without a label, a single class, wrong official parts or fewer than two laboratories, and RecipeError for
    more folds or parts than a class has units.
    """
    if manifest.is_empty():
        raise ManifestError("the manifest has no cells to split", INDEX_FIRST)
    cells = manifest.with_row_index("row").sort("cell_id")
    names, labels = _labels(cells)
    table = _Table(labels, unit_numbers(cells, by=split.by, pairs=pairs), names)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5B117]))
    if split.kind == "official":
        parts = [_official(cells, split, table, rng)]
    elif split.kind == "holdout":
        parts = [_carve_validation(_holdout(split, table, rng), split, table, "hold-out", rng)]
    elif split.kind == "holdout-kfold":
        parts = _holdout_kfold(split, table, rng)
    elif split.kind == "laboratory":
        parts = _by_laboratory(cells, split, table, rng)
    else:
        parts = _kfold(split, table, rng)
    back = np.argsort(cells["row"].to_numpy())
    return pl.concat([
        pl.DataFrame({"cell_id": manifest["cell_id"], "part": np.array(PARTS)[part[back]]}).select(
            "cell_id", pl.lit(fold, dtype=pl.Int32).alias("fold"), "part")
        for fold, part in enumerate(parts)])


def unit_numbers(manifest: pl.DataFrame, *, by: str = "group", pairs: pl.DataFrame | None = None) -> np.ndarray:
    """(n,) int64: equal numbers for cells that must stay together; numbered in the order of the first `cell_id`.

    by: "group" joins cells of one subject, of one group, an augmented copy with its original, and both cells of each
        pair (`first`, `second`; pairs with a cell that is not in the manifest are ignored); "image" joins none.
    """
    ids = manifest["cell_id"]
    rank = np.empty(len(ids), np.int64)
    rank[ids.arg_sort().to_numpy()] = np.arange(len(ids))
    if by == "image":
        return rank
    links = []
    for name in ("subject", "group", "original"):
        if name in manifest.columns:  # rows with one value are a chain; nulls link nothing
            chains = pl.DataFrame({name: manifest[name]}).with_row_index("row").drop_nulls().group_by(name).agg("row")
            ends = [link for chain in chains["row"].to_list() for link in pairwise(chain)]
            links.append(np.array(ends, np.int64).reshape(-1, 2))
    if pairs is not None and pairs.height:
        links.append(_rows_of(manifest, pairs))
    if "original" in manifest.columns:
        links.append(_rows_of(manifest, manifest.select(first="cell_id", second="original").drop_nulls()))
    ends = np.concatenate([np.empty((0, 2), np.int64), *links])
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(ids), len(ids)))
    count, component = connected_components(graph, directed=False)
    first = np.full(count, len(ids))
    np.minimum.at(first, component, rank)
    order = np.empty(count, np.int64)
    order[np.argsort(first)] = np.arange(count)
    return order[component]


def _rows_of(manifest: pl.DataFrame, pairs: pl.DataFrame) -> np.ndarray:
    rows = manifest.select("cell_id").with_row_index("row")
    joined = pairs.select("first", "second").join(rows, left_on="first", right_on="cell_id").join(
        rows, left_on="second", right_on="cell_id", suffix="_second")
    return joined.select("row", "row_second").to_numpy().astype(np.int64)


def _labels(cells: pl.DataFrame) -> tuple[list[str], np.ndarray]:
    missing = cells.filter(pl.col("label").is_null() | (pl.col("label") == ""))
    if missing.height:
        raise ManifestError(f"{missing.height} of {cells.height} cells have no label (the first is "
                            f"'{missing['cell_id'][0]}')", "label them, or leave them out of the manifest")
    names = cells["label"].unique().sort().to_list()
    if len(names) < 2:
        raise ManifestError(f"all {cells.height} cells have the label '{names[0]}'",
                            "cells of at least two classes are needed")
    return names, np.searchsorted(np.array(names), cells["label"].to_numpy())


def _kfold(split: Split, table: _Table, rng: np.random.Generator) -> list[np.ndarray]:
    key = f"split.folds = {split.folds}"
    if split.folds > len(table.labels):
        raise RecipeError(f"{key}: there are {len(table.labels)} cells", f"use at most {len(table.labels)} folds")
    fold_of = _assign(table, [1 / split.folds] * split.folds, key, rng)
    result = []
    for fold, own in enumerate(rng.spawn(split.folds)):
        part = np.where(fold_of == fold, 2, 0)
        result.append(_carve_validation(part, split, table, f"fold {fold} of {split.folds}", own))
    return result


def _holdout(split: Split, table: _Table, rng: np.random.Generator) -> np.ndarray:
    if split.test == 0:
        raise RecipeError("split.test = 0: a hold-out needs a test part", "set a share, for example split.test = 0.2")
    key = f"split.test = {split.test:g}"
    return np.where(_assign(table, [1 - split.test, split.test], key, rng) == 1, 2, 0)


def _holdout_kfold(split: Split, table: _Table, rng: np.random.Generator) -> list[np.ndarray]:
    """One test part; each fold of the rest is the validation part once."""
    part = _holdout(split, table, rng)
    rest = np.flatnonzero(part == 0)
    left = _Table(table.labels[rest], table.units[rest], table.names)
    fold_of = _assign(left, [1 / split.folds] * split.folds, f"split.folds = {split.folds} (outside the test part)",
                      rng)
    result = []
    for fold in range(split.folds):
        own = part.copy()
        own[rest[fold_of == fold]] = 1
        result.append(own)
    return result


def laboratory_names(manifest: pl.DataFrame) -> list[str]:
    """The laboratories of a manifest, which its column `source` names, in alphabetical order: that of the folds with
    `split.kind = "laboratory"`. ManifestError for fewer than two, or cells without one."""
    missing = manifest.filter(pl.col("source").is_null() | (pl.col("source") == ""))
    names = manifest["source"].drop_nulls().unique().sort().to_list()
    if missing.height:
        raise ManifestError(f"split.kind = 'laboratory', but {missing.height} of {manifest.height} cells name no "
                            f"laboratory (the first is '{missing['cell_id'][0]}')",
                            "name it in the column source, or join tables with leukoscope data join")
    if len(names) < 2:
        raise ManifestError(f"split.kind = 'laboratory', but all cells are of one laboratory ('{names[0]}')",
                            "join tables of several with leukoscope data join, or use split.kind = 'kfold'")
    return names


def _by_laboratory(cells: pl.DataFrame, split: Split, table: _Table, rng: np.random.Generator) -> list[np.ndarray]:
    """Each laboratory is the test part once. A class that the others have in one unit only stays in training."""
    source, result = cells["source"].to_numpy(), []
    names = laboratory_names(cells)
    for name, own in zip(names, rng.spawn(len(names)), strict=True):
        part = np.where(source == name, 2, 0)
        rest = np.flatnonzero(part == 0)
        if len(np.unique(table.labels[rest])) < 2:
            raise ManifestError(f"without laboratory '{name}', only one class is left to train on",
                                "add cells of further classes or laboratories")
        result.append(_carve_validation(part, split, table, f"without {name}", own, rare=True))
    return result


def _official(cells: pl.DataFrame, split: Split, table: _Table, rng: np.random.Generator) -> np.ndarray:
    given = cells["split"] if "split" in cells.columns else pl.Series("split", [None] * cells.height, dtype=pl.String)
    wrong = (~given.is_in(PARTS).fill_null(False)).arg_true()
    if len(wrong):
        raise ManifestError(f"split.kind = 'official', but {len(wrong)} of {cells.height} cells have no official part "
                            f"('{cells['cell_id'][wrong[0]]}' has {given[wrong[0]]!r})",
                            f"write {', '.join(PARTS)} in the column 'split', or use split.kind = 'kfold'")
    part = given.replace_strict(PARTS, range(3), return_dtype=pl.Int64).to_numpy()
    if not (part == 1).any():
        part = _carve_validation(part, split, table, "the official split", rng)
    for number in sorted({0, 2} | set(part.tolist())):
        for name in sorted(set(range(len(table.names))) - set(table.labels[part == number].tolist())):
            raise ManifestError(f"the official {PARTS[number]} part has no cell of class '{table.names[name]}'",
                                "leave the class out (data.classes), or use split.kind = 'kfold'")
    return part


def _carve_validation(part: np.ndarray, split: Split, table: _Table, where: str, rng: np.random.Generator, *,
                      rare: bool = False) -> np.ndarray:
    """Move the share `split.validation` of the training cells, by units, to the validation part. rare: allow classes
    of a single unit, which stays in training."""
    if split.validation == 0:
        return part
    rest = np.flatnonzero(part == 0)
    key = f"split.validation = {split.validation:g} ({where})"
    if rare:
        several = [label for label in np.unique(table.labels[rest])
                   if len(np.unique(table.units[rest][table.labels[rest] == label])) > 1]
        alone = np.unique(table.units[rest][~np.isin(table.labels[rest], several)])
        rest = rest[~np.isin(table.units[rest], alone)]
        names, labels = np.unique(table.labels[rest], return_inverse=True)
        training = _Table(labels.reshape(-1), table.units[rest], [table.names[name] for name in names])
    else:
        training = _Table(table.labels[rest], table.units[rest], table.names)
    chosen = _assign(training, [1 - split.validation, split.validation], key, rng)
    part = part.copy()
    part[rest[chosen == 1]] = 1
    return part


def _assign(table: _Table, shares: Sequence[float], key: str, rng: np.random.Generator) -> np.ndarray:
    """(n,) int: the part of each cell; parts have about the given shares of every class, units are not divided."""
    names = table.names
    _, units = np.unique(table.units, return_inverse=True)
    counts = np.zeros((units.max(initial=-1) + 1, len(names)))
    np.add.at(counts, (units, table.labels), 1)
    _check_enough(counts, len(shares), names, key)
    targets = np.outer(shares, counts.sum(0))
    several = int((counts.sum(1) > 1).sum())
    tries = min(RESTARTS, max(1, 4000 // several)) if several else 1
    best: tuple[tuple[int, float], np.ndarray, np.ndarray] | None = None
    for _ in range(tries):
        chosen, loads = _one_order(counts, targets, rng)
        score = (int((loads == 0).sum()), float((((loads - targets) ** 2) / targets.sum(0)).sum()))
        if best is None or score < best[0]:
            best = score, chosen, loads
    assert best is not None
    if best[0][0]:
        part, name = np.argwhere(best[2] == 0)[0]
        held = int((counts[:, name] > 0).sum())
        raise RecipeError(
            f"{key}: not every one of {len(shares)} parts can have cells of class '{names[name]}' "
            f"({int(counts[:, name].sum())} cells in {held} units, part {part + 1} has none)",
            "use fewer folds, another seed, or leave the class out (data.classes)")
    return best[1][units]


def _check_enough(counts: np.ndarray, parts: int, names: list[str], key: str) -> None:
    held = (counts > 0).sum(0)
    short = int(np.argmin(held))
    if held[short] < parts:
        raise RecipeError(
            f"{key}: class '{names[short]}' has {int(counts[:, short].sum())} cells in {held[short]} units "
            f"(subjects, groups or duplicates that stay together), {parts} parts need at least {parts} units",
            f"use fewer folds, merge '{names[short]}' with another class (data.merge) or leave it out (data.classes)")


def _one_order(counts: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Large units first, each to the part that needs it most; then moves that make parts more even; then single
    cells."""
    sizes = counts.sum(1)
    chosen = np.full(len(counts), -1)
    loads = np.zeros_like(targets)
    several = np.flatnonzero(sizes > 1)
    several = several[np.lexsort((rng.random(len(several)), -sizes[several] * rng.uniform(0.8, 1, len(several))))]
    waiting = (counts > 0).sum(0)
    for sweep in range(3):
        moved = 0
        for unit in several:
            held = counts[unit] > 0
            if sweep:
                loads[chosen[unit]] -= counts[unit]
                waiting += held
            part = _neediest(counts[unit], loads, targets, waiting)
            waiting -= held
            moved += part != chosen[unit]
            chosen[unit] = part
            loads[part] += counts[unit]
        if not moved:
            break
    for name in range(targets.shape[1]):
        single = rng.permutation(np.flatnonzero((sizes == 1) & (counts[:, name] > 0)))
        quota = _quota(targets[:, name], loads[:, name], len(single), rng)
        chosen[single] = np.repeat(np.arange(len(targets)), quota)
        loads[:, name] += quota
    return chosen, loads


def _neediest(unit: np.ndarray, loads: np.ndarray, targets: np.ndarray, waiting: np.ndarray) -> int:
    """The part whose squared distance from its targets, relative to them, decreases most (or increases least).

    If a class has no more units `waiting` (including this one) than parts without it, those parts come first.
    """
    held = unit > 0
    empty = loads[:, held] == 0
    missing = targets[:, held] - loads[:, held]
    growth = (unit[held] * (unit[held] - 2 * missing) / targets[:, held]).sum(1)
    scarce = waiting[held] <= empty.sum(0)
    return int(np.lexsort((growth, -(empty & scarce).sum(1)))[0])


def _quota(targets: np.ndarray, loads: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(parts,) int with the sum `count`: single cells for each part, so that loads approach the targets.

    A part without any gets one first; the rest goes where most is missing, in proportion to what is missing. If all
    loads are zero, this is largest-remainder rounding.
    """
    quota = np.zeros(len(targets), np.int64)
    empty = np.flatnonzero(loads == 0)
    for part in empty[np.argsort(targets[empty], kind="stable")][:count]:
        quota[part] = 1
    left = count - int(quota.sum())
    missing = np.maximum(targets - loads - quota, 0)
    if left and missing.sum() > 0:
        share = missing * min(1.0, left / missing.sum())
        quota += np.floor(share).astype(np.int64)
    left = count - int(quota.sum())
    order = np.lexsort((rng.random(len(targets)), loads + quota - targets))
    quota[order] += left // len(order)
    quota[order[: left % len(order)]] += 1
    return quota
