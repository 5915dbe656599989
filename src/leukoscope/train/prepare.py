"""From a manifest and a recipe to what is trained on: cells selected, packed, split and checked for leaks.

Nothing is written before all checks have passed, so a refused experiment leaves no folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ..cells.augmented_copies import copies_table, pack_copies, plan_copies, split_copies, with_copies
from ..cells.cache import PackedCells
from ..cells.input_steps import check_components, level_cells
from ..cells.pack import pack_cells
from ..errors import ManifestError, RecipeError, RunError
from ..files import JsonObject, read_json, write_json, write_text
from ..leaks.duplicates import duplicate_pairs, fingerprint_pixels
from ..leaks.guard import check_leaks
from ..leaks.splits import laboratory_names, make_splits
from ..leaks.training_overlap import joined_verdict
from ..manifest import write_manifest, write_table
from ..progress import OnProgress
from ..recipes.recipe import Recipe, dump_recipe
from ..runs.run import Run
from .epochs import Event, OnEvent
from .selection import select_cells
from .transfer import start_verdict


@dataclass(frozen=True)
class Prepared:
    """What the folds are trained on.

    manifest: originals, then copies. inputs: their pixels: RGB, or levels where nothing is augmented in each epoch.
    labels: (n,) class index of each row. shown_again: for copies that are not kept but drawn anew in each epoch, the
    id of the original, once for each copy.
    """

    recipe: Recipe
    manifest: pl.DataFrame
    inputs: PackedCells
    labels: np.ndarray
    splits: pl.DataFrame
    shown_again: pl.Series

    @property
    def laboratories(self) -> np.ndarray:
        """(n,) the laboratory of each row, as a number; cells without a source are of one laboratory."""
        return self.manifest["source"].fill_null("").rank("dense").to_numpy().astype(np.int64)

    def epoch_rows(self, fold: int) -> np.ndarray:
        """Row numbers of the training cells of a fold, repeated as often as an epoch shows them."""
        own = self.rows(fold, "train")
        numbers = dict(zip(self.manifest["cell_id"], range(self.manifest.height), strict=True))
        again = np.array([numbers[cell] for cell in self.shown_again], np.int64)
        return np.concatenate([own, again[np.isin(again, own)]])

    def rows(self, fold: int, part: str) -> np.ndarray:
        """Row numbers of the cells in this part of a fold, ascending."""
        numbered = self.manifest.select("cell_id").with_row_index("row")
        chosen = self.splits.filter((pl.col("fold") == fold) & (pl.col("part") == part))
        return numbered.join(chosen, on="cell_id", how="semi")["row"].to_numpy().astype(np.int64)


def prepare(recipe: Recipe, manifest: pl.DataFrame, out: Path, *, skip_damaged: bool, on_event: OnEvent,
            environment: JsonObject, claim: Callable[[], AbstractContextManager[None]]) -> Prepared:
    """Select, pack, fingerprint, split and check for leaks; then write it all to the run folder, splits.parquet last.

    `claim` is held while the folder is written, and raises where another process has started a run there.
    Raises ManifestError, ImageError, RecipeError or LeakError.
    """
    selection = select_cells(manifest, recipe)
    for line in selection.remarks(recipe.data.merge):
        on_event(Event("note", text=line))
    recipe = with_laboratories(with_classes(recipe, selection.classes), selection.cells)
    packed = pack_cells(selection.cells, recipe.preprocess, skip_damaged=skip_damaged,
                        on_progress=_progress(on_event, "pack"))
    originals = selection.cells.filter(pl.col("cell_id").is_in(packed.cell_ids))
    for name in selection.classes:
        if not (originals["label"] == name).any():
            raise ManifestError(f"every image of class '{name}' is damaged",
                                "repair the images, or leave the class out")
    _check_colours(recipe, packed)
    prints = fingerprint_pixels(packed.cell_ids, packed.pixels, on_progress=_progress(on_event, "fingerprint"))
    pairs = duplicate_pairs(prints)
    cells, splits, copies = _split(
        originals, recipe, lambda cells: make_splits(cells, recipe.split, seed=recipe.seed, pairs=pairs))
    verdict = check_leaks(cells, splits, recipe, pairs=pairs)
    verdict.enforce()
    fitted_on = cells.height if recipe.split.fit_on == "all" else min(
        splits.filter(pl.col("part") == "train").group_by("fold").len()["len"])
    check_components(recipe, fitted_on)
    prepared = _prepared(recipe, cells, splits, copies, packed, on_event)
    verdicts = [verdict, *start_verdict(recipe, cells, splits, prints)]
    digest = pixels_digest(packed)
    with claim():
        write_text(out / "recipe.toml", dump_recipe(recipe))
        write_json(out / "guard.json", joined_verdict(recipe.protocol, verdicts).to_dict())
        write_json(out / "left_out.json", replace(selection.left_out, damaged=packed.damaged).to_dict())
        write_json(out / "environment.json", environment | {"pixels": digest})
        write_table(prints, out / "fingerprints.parquet")
        write_manifest(cells, out / "manifest.parquet")
        if "copy" in cells.columns:
            write_table(copies_table(cells, recipe.augment, seed=recipe.seed), out / "copies.csv")
        write_table(splits, out / "splits.parquet")
    return prepared


def _progress(on_event: OnEvent, phase: str) -> OnProgress:
    return lambda done, total: on_event(Event(phase, done, total))


def _split(originals: pl.DataFrame, recipe: Recipe,
           split: Callable[[pl.DataFrame], pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The manifest and the splits, with the copies that are kept, and all copies, kept or drawn anew. `split` gives the
    splits of a manifest."""
    numbers, keep = recipe.augment.copies, bool(recipe.augment.copies) and not recipe.augment.anew
    if keep and recipe.split.copies == "before":
        copies = plan_copies(originals, None, numbers, seed=recipe.seed)
        cells = with_copies(originals, copies)
        return cells, split(cells), copies
    splits = split(originals)
    copies = plan_copies(originals, splits, numbers, seed=recipe.seed)
    if not keep:
        return originals, splits, copies
    return with_copies(originals, copies), split_copies(splits, copies, recipe.split, seed=recipe.seed), copies


def _check_colours(recipe: Recipe, packed: PackedCells) -> None:
    """RecipeError where a microscope has lamps of several colours and every cell is grey."""
    blocks = (packed.pixels[start:start + 256] for start in range(0, len(packed.pixels), 256))
    if recipe.optics.simulate and not any((block[..., :1] != block[..., 1:]).any() for block in blocks):
        raise RecipeError("optics: all cells are grey (three equal channels), so lamps of different colour have no "
                          "effect", "use images in colour, or set optics.simulate = false")


def _prepared(recipe: Recipe, cells: pl.DataFrame, splits: pl.DataFrame, copies: pl.DataFrame, packed: PackedCells,
              on_event: OnEvent) -> Prepared:
    shown_again = copies["original"] if recipe.augment.anew else pl.Series("original", [], pl.String)
    inputs = packed if recipe.augment.anew else pack_copies(packed, copies, recipe.augment, seed=recipe.seed)
    if not recipe.augment.each_epoch:
        inputs = level_cells(inputs, recipe, on_progress=_progress(on_event, "edges"))
    classes = recipe.data.classes
    labels = cells["label"].replace_strict(classes, range(len(classes)), return_dtype=pl.Int64).to_numpy()
    return Prepared(recipe, cells, inputs, labels, splits, shown_again)


def prepare_again(recipe: Recipe, manifest: pl.DataFrame, out: Path, *, on_event: OnEvent) -> Prepared:
    """What an earlier `prepare` made, read from the run folder. RunError where recipe, cells or images have changed."""
    run = Run(out)
    selection = select_cells(manifest, recipe)
    recipe = with_laboratories(with_classes(recipe, selection.classes), selection.cells)
    texts = {"title", "description", "source"}  # they do not change the run
    old, new = (r.model_dump(exclude=texts) for r in (run.recipe, recipe))
    for key, before, now in sorted(_differences(old, new), key=lambda one: one[0]):
        raise RunError(f"{run.folder}: the run was started with {key} = {before!r}, now it is {now!r}",
                       "resume with the same recipe and settings, or train into another folder")
    damaged = [row["cell_id"] for row in read_json(out / "left_out.json")["damaged"]]
    originals = selection.cells.filter(~pl.col("cell_id").is_in(damaged))
    cells, splits, copies = _split(
        originals, recipe, lambda cells: run.splits.filter(pl.col("cell_id").is_in(cells["cell_id"].implode())))
    _check_same_cells(cells, run)
    packed = pack_cells(originals, recipe.preprocess, on_progress=_progress(on_event, "pack"))
    if pixels_digest(packed) != read_json(out / "environment.json")["pixels"]:
        raise RunError(f"{out}: the images have changed since the run was started",
                       "restore the old images, or train into another folder")
    return _prepared(recipe, cells, splits, copies, packed, on_event)


def with_laboratories(recipe: Recipe, manifest: pl.DataFrame) -> Recipe:
    """The recipe with one fold for each laboratory, where its split is by laboratory."""
    if recipe.split.kind != "laboratory":
        return recipe
    folds = len(laboratory_names(manifest))
    return recipe.model_copy(update={"split": recipe.split.model_copy(update={"folds": folds})})


def with_classes(recipe: Recipe, classes: tuple[str, ...]) -> Recipe:
    """The recipe of a run: with its classes, and without overrides."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"classes": classes}),
                                     "paper": {}, "scale": {}, "variants": {}})


def pixels_digest(packed: PackedCells) -> str:
    """SHA-256 of the packed pixels, to recognise the same images, cropped and resized in the same way."""
    digest = hashlib.sha256()
    for start in range(0, len(packed.pixels), 1024):
        digest.update(np.ascontiguousarray(packed.pixels[start:start + 1024]).data)
    return digest.hexdigest()


def _differences(old: JsonObject, new: JsonObject, path: str = "") -> Iterator[tuple[str, object, object]]:
    for key in old.keys() | new.keys():
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, f"{path}{key}.")
        elif before != now:
            yield f"{path}{key}", before, now


def _check_same_cells(cells: pl.DataFrame, run: Run) -> None:
    # The image files may have moved: their paths may differ, and their pixels are compared after packing. So may the
    # name of their source, which often is that of their folder, as long as the same cells share one.
    old = run.manifest.drop("image", "mask")
    new = _with_sources_of(old, cells.drop("image", "mask"))
    if old.equals(new):
        return
    hint = "resume with the same manifest, or train into another folder"
    if old.height != new.height:
        raise RunError(f"{run.folder}: the run was started with {old.height} cells, this manifest gives {new.height}",
                       hint)
    if old.columns != new.columns:
        raise RunError(f"{run.folder}: the run was started with a manifest with other columns", hint)
    name = next(n for n in old.columns if not old[n].equals(new[n]))
    row = next(i for i, (a, b) in enumerate(zip(old[name], new[name], strict=True)) if a != b)
    raise RunError(f"{run.folder}: the run was started with {name} = {old[name][row]!r} in row {row + 1} "
                   f"('{old['cell_id'][row]}'), now it is {new[name][row]!r}", hint)


def _with_sources_of(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """New cells with the old names of their sources, where each old name has become one other."""
    if old["cell_id"].to_list() != new["cell_id"].to_list():
        return new
    names = pl.DataFrame({"old": old["source"], "new": new["source"]}).unique()
    one_to_one = names["old"].n_unique() == names["new"].n_unique() == names.height
    return new.with_columns(old["source"]) if one_to_one else new
