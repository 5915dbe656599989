"""The leak guard: are cells of the test part, or of their subjects, in training or in the choice of weights too?

Names each leak by kind and fold. `Verdict.enforce` refuses them under protocol "clean"; under "paper" they are only
named. Knows nothing of pixels: duplicates are given as pairs, or by the manifest's `sha256` column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import polars as pl

from ..errors import LeakError, RunError
from ..files import JsonObject
from ..recipes.recipe import Protocol, Recipe
from ..tables import Row
from ..text import join

PARTS = ("train", "validation", "test")
_AGAIN = "make the splits again from this manifest"
EXAMPLES = 5
"""Examples listed for each leak."""

KINDS = {
    "laboratory": ("laboratories", "use split.kind = 'laboratory', which tests each as a whole"),
    "subject": ("subjects", "use split.by = 'group', which keeps each subject in one part"),
    "group": ("groups", "use split.by = 'group', which keeps each group in one part"),
    "identical": ("pairs of identical images", "use split.by = 'group', which keeps duplicates in one part"),
    "near": ("pairs of near-identical images", "use split.by = 'group', which keeps duplicates in one part"),
    "augmented": ("pairs of turned or mirrored copies", "use split.by = 'group', which keeps copies in one part"),
    "copy": ("copies in another part than their original", "use split.by = 'group', which keeps copies with their "
             "original"),
    "fitted": ("steps fitted outside the training part", "set split.fit_on = 'train'"),
    "chosen": ("choices made on the test part", "set split.select_on = 'validation' and split.validation above 0"),
}
"""Kind -> (what is counted, hint)."""


@dataclass(frozen=True)
class Leak:
    """One leak between parts. fold: None if it concerns all folds. count: in units of `KINDS`. cells: ids of the cells
    here that are in the training of a model, all of them; empty for leaks between the parts of a run."""

    kind: str
    fold: int | None
    parts: tuple[str, ...]
    count: int
    examples: tuple[str, ...]
    text: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the guard checked, what it could not check and why, and the leaks."""

    protocol: Protocol
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    leaks: tuple[Leak, ...]

    @property
    def summary(self) -> tuple[str, ...]:
        """One sentence for each kind of leak, over all folds."""
        lines = []
        for kind, (what, _) in KINDS.items():
            leaks = [leak for leak in self.leaks if leak.kind == kind]
            if not leaks or leaks[0].fold is None:
                lines += [leak.text for leak in leaks]
                continue
            most = max(leak.count for leak in leaks)
            lines.append(f"{what} in two parts: in {len(leaks)} fold{'s' * (len(leaks) > 1)}, up to {most} in one; "
                         f"for example {leaks[0].examples[0]}")
        return tuple(lines)

    def to_dict(self) -> JsonObject:
        """JSON-safe; written to guard.json."""
        leaks = [{key: value for key, value in asdict(leak).items() if key != "cells"} for leak in self.leaks]
        return asdict(self) | {"leaks": leaks, "summary": list(self.summary)}

    def enforce(self) -> None:
        """Raise LeakError with the first leak under protocol "clean"; under "paper" leaks are allowed and reported."""
        if self.protocol == "clean" and self.leaks:
            first = self.leaks[0]
            more = len({leak.kind for leak in self.leaks}) - 1
            others = f" (and {more} other kind{'s' * (more > 1)} of leak)" if more else ""
            raise LeakError(f"{first.text}{others}", f"{KINDS[first.kind][1]}, or run with --protocol paper")


def check_leaks(manifest: pl.DataFrame, splits: pl.DataFrame, recipe: Recipe, *,
                pairs: pl.DataFrame | None = None) -> Verdict:
    """Check `splits` and `recipe` for every known kind of leak.

    pairs: `duplicates.duplicate_pairs`; without them, identical images are recognised by the manifest's `sha256` column
    if it has one, else not checked. Raises RunError unless the splits have every cell of the manifest exactly once in
    each fold.
    """
    _check_complete(manifest, splits, recipe)
    joined = splits.join(manifest, on="cell_id", how="left")
    checked: list[str] = []
    missing: list[str] = []
    leaks: list[Leak] = []
    for name in ("subject", "group"):
        known = manifest[name].is_not_null().sum() if name in manifest.columns else 0
        of = f"{known:,}" if known else "none"
        partly = "" if known == manifest.height else f" (known for {of} of {manifest.height:,} cells)"
        (checked if known else missing).append(f"{KINDS[name][0]}{partly}")
        leaks += _shared(joined, name) if known else []
    if recipe.split.kind == "laboratory":
        checked.append(KINDS["laboratory"][0])
        leaks += _shared(joined.with_columns(pl.col("part").replace("validation", "train")), "source")
    if pairs is not None:
        checked += [KINDS[kind][0] for kind in ("identical", "near", "augmented")]
        leaks += _across(splits, pairs)
    elif "sha256" in manifest.columns:
        checked.append(KINDS["identical"][0])
        missing += [KINDS["near"][0], KINDS["augmented"][0]]
        leaks += _shared(joined, "sha256")
    else:
        missing.append("duplicate images (they were not searched for)")
    if "original" in manifest.columns and manifest["original"].is_not_null().any():
        checked.append(KINDS["copy"][0])
        leaks += _copies(manifest, splits)
    checked += [KINDS["fitted"][0], KINDS["chosen"][0]]
    leaks += _by_recipe(recipe, splits)
    return Verdict(recipe.protocol, tuple(checked), tuple(missing), tuple(leaks))


def _check_complete(manifest: pl.DataFrame, splits: pl.DataFrame, recipe: Recipe) -> None:
    """Raise RunError unless every fold has every cell exactly once, in a known part (copies at most once), and in
    k-fold every cell except copies is tested exactly once."""
    wrong = splits.filter(~pl.col("part").is_in(PARTS) | pl.col("part").is_null() | pl.col("fold").is_null())
    if wrong.height:
        raise RunError(f"splits: cell '{wrong['cell_id'][0]}' has part '{wrong['part'][0]}' in fold {wrong['fold'][0]}",
                       f"parts are {', '.join(PARTS)}; {_AGAIN}")
    twice = splits.filter(pl.struct("fold", "cell_id").is_duplicated())
    if twice.height:
        raise RunError(f"splits: cell '{twice['cell_id'][0]}' is in fold {twice['fold'][0]} more than once", _AGAIN)
    strangers = splits.join(manifest, on="cell_id", how="anti")
    if "original" in manifest.columns:
        manifest = manifest.filter(pl.col("original").is_null())
        splits = splits.join(manifest.select("cell_id"), on="cell_id", how="semi")
    cells = manifest.height
    counts = splits.group_by("fold").len().filter(pl.col("len") != cells)
    if strangers.height or counts.height or (splits.is_empty() and cells):
        what = (f"cell '{strangers['cell_id'][0]}' is not in the manifest" if strangers.height else
                f"fold {counts['fold'][0]} has {counts['len'][0]} cells, the manifest {cells}" if counts.height else
                "the table is empty")
        raise RunError(f"splits: {what}", _AGAIN)
    if recipe.split.kind in ("kfold", "laboratory"):
        tests = splits.filter(pl.col("part") == "test").group_by("cell_id").len().filter(pl.col("len") != 1)
        if tests.height or (splits["part"] == "test").sum() != cells:
            raise RunError(f"splits: with {recipe.split.kind} each cell must be tested exactly once, here it is not",
                           _AGAIN)


def _parts_of(parts: pl.Series) -> tuple[str, ...]:
    names = set(parts.explode().to_list())
    return tuple(part for part in PARTS if part in names)


def _shared(joined: pl.DataFrame, name: str) -> Iterator[Leak]:
    """Values of a column that are in two parts of a fold."""
    kind = {"sha256": "identical", "source": "laboratory"}.get(name, name)
    spread = (joined.filter(pl.col(name).is_not_null()).group_by("fold", name)
              .agg(pl.col("part").unique(), pl.col("cell_id").min(), pl.len())
              .filter(pl.col("part").list.len() > 1).sort("fold", "cell_id"))
    for (fold,), rows in spread.group_by("fold", maintain_order=True):
        text = f"fold {fold}: {rows.height} {'images' if name == 'sha256' else KINDS[kind][0]}"
        values = rows["cell_id"] if name == "sha256" else rows[name]
        parts = _parts_of(rows["part"])
        examples = tuple(f"'{value}' in {join(_parts_of(pl.Series([part])))}"
                         for value, part in zip(values.head(EXAMPLES), rows["part"].head(EXAMPLES), strict=True))
        yield Leak(kind, int(fold), parts, rows.height, examples,  # type: ignore[call-overload]  # polars: object
                   f"{text} in two parts ({examples[0]})")


def _across(splits: pl.DataFrame, pairs: pl.DataFrame) -> Iterator[Leak]:
    """Pairs with one cell in one part of a fold and the other in another."""
    apart = (pairs.join(splits, left_on="first", right_on="cell_id")
             .join(splits, left_on=["second", "fold"], right_on=["cell_id", "fold"], suffix="_second")
             .filter(pl.col("part") != pl.col("part_second")).sort("fold", "distance", "first", "second"))
    yield from _apart(apart, lambda row: f"'{row['first']}' ({row['part']}) and '{row['second']}' "
                                         f"({row['part_second']})")


def _copies(manifest: pl.DataFrame, splits: pl.DataFrame) -> Iterator[Leak]:
    """Augmented copies on disk that are in another part than their original, or than another copy of it."""
    # A cell belongs to the family of its original and to its own, so that a copy of a copy is compared too.
    family = pl.concat([manifest.filter(pl.col("original").is_not_null()).select("cell_id", "original"),
                        manifest.select("cell_id", original="cell_id")]).with_columns(kind=pl.lit("copy"))
    held = splits.join(family, on="cell_id")
    first = held.sort(pl.col("cell_id") != pl.col("original"), "cell_id").group_by("fold", "original").first()
    apart = (held.join(first, on=["fold", "original"], suffix="_second")
             .filter(pl.col("part") != pl.col("part_second")).sort("fold", "cell_id"))
    yield from _apart(apart, lambda row: f"'{row['cell_id']}' ({row['part']}), original '{row['original']}' "
                                         f"({row['part_second']})")


def _apart(apart: pl.DataFrame, show: Callable[[Row], str]) -> Iterator[Leak]:
    for kind in KINDS:
        for (fold,), rows in apart.filter(pl.col("kind") == kind).group_by("fold", maintain_order=True):
            examples = tuple(show(row) for row in rows.head(EXAMPLES).iter_rows(named=True))
            parts = _parts_of(pl.concat([rows["part"], rows["part_second"].rename("part")]))
            yield Leak(kind, int(fold), parts, rows.height, examples,  # type: ignore[call-overload]  # polars: object
                       f"fold {fold}: {rows.height} {KINDS[kind][0]} across parts ({examples[0]})")


def _by_recipe(recipe: Recipe, splits: pl.DataFrame) -> Iterator[Leak]:
    split, training = recipe.split, recipe.training
    if split.fit_on == "all":
        fitted = (("normalisation", recipe.preprocess.normalise == "channel"),
                  ("principal components", recipe.pca.used))
        steps = tuple(name for name, used in fitted if used) or ("any fitted step",)
        verb = "is" if len(steps) == 1 and steps[0] != "principal components" else "are"
        yield Leak("fitted", None, PARTS, len(steps), steps,
                   f"{join(steps)} {verb} fitted on all cells, including the test part (split.fit_on = 'all')")
    if split.select_on == "test":
        yield Leak("chosen", None, ("test",), 1, ("weights",),
                   "the epoch and weights are chosen on the test part (split.select_on = 'test')")
    elif not (splits["part"] == "validation").any():
        watching = [text for text, on in (
            (f"early stopping (training.patience = {training.patience})", training.patience > 0),
            ("the learning rate (training.schedule = 'plateau')", training.schedule == "plateau")) if on]
        if watching:
            yield Leak("chosen", None, ("test",), len(watching), tuple(watching),
                       f"there is no validation part, so {join(watching)} could only use the test part")
