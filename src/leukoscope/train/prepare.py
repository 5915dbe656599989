"""From a manifest and a recipe to what is trained on: the chosen cells, packed, fingerprinted, split and guarded.

Nothing is written before all of it is known to be in order, so a refused experiment leaves no folder behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..cells.cache import PackedCells
from ..cells.copies import copies_table, pack_copies, plan_copies, split_copies, with_copies
from ..cells.pack import pack_cells
from ..cells.stages import check_components, level_cells
from ..errors import ManifestError, RecipeError, RunError
from ..files import read_json, write_json, write_text
from ..leaks.duplicates import duplicate_pairs, fingerprint_pixels
from ..leaks.guard import Verdict, check_leaks
from ..leaks.splits import make_splits
from ..manifest import write_manifest, write_table
from ..recipes.recipe import Recipe, dump_recipe
from ..recipes.sections import Data
from ..runs.run import Run
from .epochs import Event

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Selection:
    """The cells of an experiment, under its labels and in its classes' order; and how many were left out, and why."""

    cells: pl.DataFrame
    classes: tuple[str, ...]
    other_labels: dict[str, int]
    over_per_class: int
    unlabelled: int


@dataclass(frozen=True)
class Prepared:
    """What the folds are trained from: originals, then copies. labels: (n,) class index of each cell, in the manifest's
    order. inputs: what batches are made of: RGB, or where it need not be augmented any more the levels of it.
    shown_again: originals of copies that are not kept but shown, changed anew; a cell stands there once for each."""

    recipe: Recipe
    manifest: pl.DataFrame
    inputs: PackedCells
    labels: np.ndarray
    splits: pl.DataFrame
    shown_again: pl.Series

    def shown(self, fold: int) -> np.ndarray:
        """Row numbers of what an epoch of a fold shows: its training cells, and again those that are shown again."""
        own = self.rows(fold, "train")
        numbers = dict(zip(self.manifest["cell_id"], range(self.manifest.height), strict=True))
        again = np.array([numbers[cell] for cell in self.shown_again], np.int64)
        return np.concatenate([own, again[np.isin(again, own)]])

    def rows(self, fold: int, *parts: str) -> np.ndarray:
        """Row numbers of a fold's cells in these parts, ascending."""
        numbered = self.manifest.select("cell_id").with_row_index("row")
        chosen = self.splits.filter((pl.col("fold") == fold) & pl.col("part").is_in(parts))
        return numbered.join(chosen, on="cell_id", how="semi")["row"].to_numpy().astype(np.int64)


def select_cells(manifest: pl.DataFrame, data: Data, *, seed: int, most: Mapping[str, int] | None = None) -> Selection:
    """The cells that `data` asks for, in the manifest's order; of a class, at most those of `most`. Raises
    ManifestError for a class without cells, or fewer than two classes."""
    merged = manifest.with_columns(pl.col("label").replace(data.merge))
    labelled = merged.filter(pl.col("label").is_not_null() & (pl.col("label") != ""))
    counts = dict(labelled.group_by("label").len().sort("label").iter_rows())
    classes = data.classes or tuple(counts)
    for name in classes:
        if name not in counts:
            raise ManifestError(f"class '{name}' has no cells (labels there: {', '.join(counts) or 'none'})",
                                "correct data.classes, or rename labels with data.merge")
    if len(classes) < 2:
        raise ManifestError(f"{len(classes)} class ({', '.join(classes)}): nothing to tell apart",
                            "give cells of at least two labels")
    if data.positive and data.positive not in classes:
        raise ManifestError(f"data.positive = '{data.positive}' is not among the labels {', '.join(classes)}",
                            "correct data.positive")
    wanted = labelled.filter(pl.col("label").is_in(classes))
    cells = _draw(wanted, classes, most or {}, data.per_class, seed)
    return Selection(cells, classes, {name: n for name, n in counts.items() if name not in classes},
                     wanted.height - cells.height, merged.height - labelled.height)


def _draw(cells: pl.DataFrame, classes: tuple[str, ...], most: Mapping[str, int], per_class: int,
          seed: int) -> pl.DataFrame:
    """At most `most` cells of a class, or `per_class`; which ones depends on the seed and the ids, not on the rows'
    order."""
    if not per_class and not most:
        return cells
    chosen: list[str] = []
    for number, name in enumerate(classes):
        ids = cells.filter(pl.col("label") == name)["cell_id"].sort()
        limit = min(per_class or len(ids), most.get(name, len(ids)))
        order = np.random.default_rng([seed, number]).permutation(len(ids))[:limit]
        chosen += ids[order].to_list()
    return cells.filter(pl.col("cell_id").is_in(chosen))


def prepare(recipe: Recipe, manifest: pl.DataFrame, out: Path, *, skip_damaged: bool, on_event: OnEvent,
            environment: dict[str, Any], guard: Callable[[Prepared, pl.DataFrame], Verdict | None],
            claim: Callable[[], AbstractContextManager[None]]) -> Prepared:
    """Select, pack, fingerprint, split and guard; then write all that into the run folder, splits.parquet last.

    `claim` is held while the folder is written, and raises where another process has taken it meanwhile.
    `guard` may look further (at an earlier run that the weights come from) and returns a verdict to be joined.
    Raises whatever is wrong: ManifestError, ImageError, RecipeError, LeakError.
    """
    selection = select_cells(manifest, recipe.data, seed=recipe.seed, most=recipe.augment.copies)
    recipe = with_classes(recipe, selection.classes)
    packed = pack_cells(selection.cells, recipe.preprocess, skip_damaged=skip_damaged,
                        on_progress=lambda done, total: on_event(Event("pack", done, total)))
    originals = selection.cells.filter(pl.col("cell_id").is_in(packed.cell_ids))
    for name in selection.classes:
        if not (originals["label"] == name).any():
            raise ManifestError(f"every image of class '{name}' is damaged", "mend the images, or leave the class out")
    _check_colours(recipe, packed)
    prints = fingerprint_pixels(packed.cell_ids, packed.pixels,
                                on_progress=lambda done, total: on_event(Event("fingerprint", done, total)))
    pairs = duplicate_pairs(prints)
    cells, splits, copies = _parted(
        originals, recipe, lambda cells: make_splits(cells, recipe.split, seed=recipe.seed, pairs=pairs))
    verdict = check_leaks(cells, splits, recipe, pairs=pairs)
    verdict.enforce()
    _check_components(recipe, splits, cells.height)
    prepared = _prepared(recipe, cells, splits, copies, packed, on_event)
    further = guard(prepared, prints)
    left_out = {"damaged": [{key: str(value) for key, value in asdict(d).items()} for d in packed.damaged],
                "other_labels": selection.other_labels, "over_per_class": selection.over_per_class,
                "unlabelled": selection.unlabelled}
    digest = pixels_digest(packed)
    with claim():
        write_text(out / "recipe.toml", dump_recipe(recipe))
        write_json(out / "guard.json", _joined(verdict, further).to_dict())
        write_json(out / "left_out.json", left_out)
        write_json(out / "environment.json", environment | {"pixels": digest})
        write_table(prints, out / "fingerprints.parquet")
        write_manifest(cells, out / "manifest.parquet")
        if "copy" in cells.columns:
            write_table(copies_table(cells, recipe.augment, seed=recipe.seed), out / "copies.csv")
        write_table(splits, out / "splits.parquet")
    return prepared


def _parted(originals: pl.DataFrame, recipe: Recipe,
            split: Callable[[pl.DataFrame], pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The manifest and splits with the copies that the recipe keeps, and all the copies that it asks for, kept or only
    shown. `split` parts the cells that it is given."""
    wanted, kept = recipe.augment.copies, bool(recipe.augment.copies) and not recipe.augment.anew
    if kept and recipe.split.copies == "before":
        copies = plan_copies(originals, None, wanted, seed=recipe.seed)
        cells = with_copies(originals, copies)
        return cells, split(cells), copies
    splits = split(originals)
    copies = plan_copies(originals, splits, wanted, seed=recipe.seed)
    if not kept:
        return originals, splits, copies
    return with_copies(originals, copies), split_copies(splits, copies, recipe.split, seed=recipe.seed), copies


def _check_components(recipe: Recipe, splits: pl.DataFrame, cells: int) -> None:
    """RecipeError, before anything is written, where a fold has fewer cells to fit on than components are wanted."""
    seen = cells
    if recipe.split.fit_on == "train":
        seen = int(splits.filter(pl.col("part") == "train").group_by("fold").len()["len"].min())  # type: ignore[arg-type]  # no fold is empty
    check_components(recipe, seen)


def _check_colours(recipe: Recipe, packed: PackedCells) -> None:
    """RecipeError where a microscope has lamps to choose among and every cell is grey."""
    if not recipe.optics.simulate:
        return
    for start in range(0, len(packed.pixels), 256):
        block = packed.pixels[start:start + 256]
        if (block[..., :1] != block[..., 1:]).any():
            return
    raise RecipeError("optics: the cells are grey, one channel three times, so there is nothing to illuminate",
                      "give images in colour, or set optics.simulate = false")


def _prepared(recipe: Recipe, cells: pl.DataFrame, splits: pl.DataFrame, copies: pl.DataFrame, packed: PackedCells,
              on_event: OnEvent) -> Prepared:
    shown_again = copies["original"] if recipe.augment.anew else pl.Series("original", [], pl.String)
    inputs = packed if recipe.augment.anew else pack_copies(packed, copies, recipe.augment, seed=recipe.seed)
    if not recipe.augment.each_epoch:
        inputs = level_cells(inputs, recipe, on_progress=lambda done, total: on_event(Event("edges", done, total)))
    return Prepared(recipe, cells, inputs, class_numbers(cells, recipe.data.classes), splits, shown_again)


def is_prepared(out: Path) -> bool:
    """Whether a run folder holds everything that `prepare` writes."""
    return (out / "splits.parquet").is_file()


def prepare_again(recipe: Recipe, manifest: pl.DataFrame, out: Path, *, on_event: OnEvent) -> Prepared:
    """What an earlier `prepare` made, read from the run folder. Raises RunError where recipe or cells have changed."""
    run = Run(out)
    selection = select_cells(manifest, recipe.data, seed=recipe.seed, most=recipe.augment.copies)
    recipe = with_classes(recipe, selection.classes)
    _check_same_recipe(recipe, run)
    damaged = [row["cell_id"] for row in read_json(out / "left_out.json")["damaged"]]
    originals = selection.cells.filter(~pl.col("cell_id").is_in(damaged))
    cells, splits, copies = _parted(
        originals, recipe, lambda cells: run.splits.filter(pl.col("cell_id").is_in(cells["cell_id"].implode())))
    _check_same_cells(cells, run)
    packed = pack_cells(originals, recipe.preprocess,
                        on_progress=lambda done, total: on_event(Event("pack", done, total)))
    if pixels_digest(packed) != read_json(out / "environment.json")["pixels"]:
        raise RunError(f"{out}: the images are not those that the run was started with",
                       "put the old ones back, or train into another folder")
    return _prepared(recipe, cells, splits, copies, packed, on_event)


def with_classes(recipe: Recipe, classes: tuple[str, ...]) -> Recipe:
    """The recipe with its classes named, as a run keeps it."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"classes": classes}),
                                     "paper": {}, "scale": {}, "variants": {}})


def class_numbers(cells: pl.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """(n,) int64 index of each cell's label among the classes."""
    return cells["label"].replace_strict(classes, range(len(classes)), return_dtype=pl.Int64).to_numpy()


def pixels_digest(packed: PackedCells) -> str:
    """SHA-256 of the packed pixels: the same images, cut and resized the same way."""
    digest = hashlib.sha256()
    for start in range(0, len(packed.pixels), 1024):
        digest.update(np.ascontiguousarray(packed.pixels[start:start + 1024]).data)
    return digest.hexdigest()


def _joined(verdict: Verdict, further: Verdict | None) -> Verdict:
    if further is None:
        return verdict
    return Verdict(verdict.protocol, verdict.checked + further.checked, verdict.not_checked + further.not_checked,
                   verdict.leaks + further.leaks)


def _check_same_recipe(recipe: Recipe, run: Run) -> None:
    words = {"title", "description", "source"}  # they change nothing
    old, new = (found.model_dump(exclude=words) for found in (run.recipe, recipe))
    for key, was, now in _differences(old, new):
        raise RunError(f"{run.folder}: made with {key} = {was!r}, now it is {now!r}",
                       "resume with the recipe and settings that it was started with, or train into another folder")


def _differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for key in old.keys() | new.keys():
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found += _differences(was, now, f"{path}{key}.")
        elif was != now:
            found.append((f"{path}{key}", was, now))
    return sorted(found, key=lambda item: item[0])


def _check_same_cells(cells: pl.DataFrame, run: Run) -> None:
    # The images may have moved: their paths may differ, their pixels are compared once they are packed.
    old = run.manifest.drop("image", "mask")
    new = cells.drop("image", "mask")
    if old.equals(new):
        return
    hint = "resume with the manifest that it was started with, or train into another folder"
    if old.height != new.height:
        raise RunError(f"{run.folder}: made from {old.height} cells, this manifest gives {new.height}", hint)
    if old.columns != new.columns:
        raise RunError(f"{run.folder}: made from a manifest with other columns", hint)
    name = next(n for n in old.columns if not old[n].equals(new[n]))
    row = next(i for i, (a, b) in enumerate(zip(old[name], new[name], strict=True)) if a != b)
    raise RunError(f"{run.folder}: made with {name} = {old[name][row]!r} in row {row + 1} ('{old['cell_id'][row]}'), "
                   f"now it is {new[name][row]!r}", hint)
