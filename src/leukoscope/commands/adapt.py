"""Fit a bundle to one's own laboratory: from confirmed cells to a bundle with a new head, and a page that says what it
brings.

Runs on the processor without PyTorch. The fit is `adaptation/`; this reads the cells, guards against leaks, and writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from .. import __version__
from ..adaptation.fit import Confirmed, find_temperatures, fit_head
from ..adaptation.validate import Adapted, OfGroup, Size, honest_probabilities, learning_curve
from ..bundle.bundle import SEEN, Bundle, open_bundle, write_bundle
from ..bundle.calibration import REJECTED, conformal_radius
from ..bundle.card import model_card
from ..bundle.parts import HEAD
from ..errors import ManifestError
from ..evaluation.evaluate import evaluate
from ..evaluation.operating_point import choose_threshold
from ..evaluation.table import clusters_of
from ..files import JsonObject
from ..images.decode import Damaged
from ..leaks.duplicates import duplicate_pairs, prints_table
from ..leaks.training_overlap import without_overlap
from ..leaks.training_table import training_table, training_table_bytes
from ..predict.classifiers import BundleClassifier, classify_cells
from ..predict.labelled import bundle_overlap, bundle_recipe, labelled_cells, whole_cells, with_fingerprint
from ..predict.model import bundle_path
from ..predict.table import predictions_table
from ..progress import OnProgress
from ..report.adapt import NO_SLIDES, write_adapted
from ..stats.paired import paired_difference
from ..text import interval, join, plural, points, type_name
from .inputs import check_new_bundle
from .outcome import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Engine

LEAST = 5
"""Confirmed cells of a type that are enough to fit it."""
_NAMED = 3  # contradictions that a message names
_FIGURES = ("accuracy", "macro_sensitivity", "macro_f1", "macro_auc", "log_loss")


@dataclass(frozen=True)
class AdaptOptions:
    """name: of the laboratory, for pages. skip_damaged: leave out damaged images. leave_out_trained: leave out cells
    that the model was trained on. known_only: leave out cells of types that the model does not know. coverage: of the
    conformal sets; None for that of the model."""

    name: str = ""
    skip_damaged: bool = False
    leave_out_trained: bool = False
    known_only: bool = False
    coverage: float | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class _Seen:
    """Cells (manifest rows) as the graph of a bundle sees them: probabilities (n, classes), energies (n,), features
    (n, features), fingerprints."""

    cells: pl.DataFrame
    probabilities: np.ndarray
    energies: np.ndarray
    features: np.ndarray
    prints: pl.DataFrame

    def some(self, rows: np.ndarray) -> _Seen:
        """rows: (n,) bool."""
        return _Seen(self.cells.filter(rows), self.probabilities[rows], self.energies[rows], self.features[rows],
                     self.prints.filter(rows))


@dataclass(frozen=True, eq=False)
class Read:
    """The confirmed cells that are used. unit: what their groups are: subject, group or cell; left_out: sentences."""

    seen: _Seen
    confirmed: Confirmed
    unit: str
    left_out: tuple[str, ...]


def adapt(path: Path | str, manifest: pl.DataFrame, out: Path | str, options: AdaptOptions | None = None, *,
          on_progress: OnProgress | None = None) -> Outcome:
    """Fit the head of a bundle to labelled cells of one laboratory; write a bundle, and a page beside it.

    path: of the bundle; "packaged" for the built-in model. Raises BundleError where the graph gives no features or
    `out` exists, ManifestError where the cells are too few, contradict each other, or do not help, LeakError where the
    model was trained on them.
    """
    options, path, out = options or AdaptOptions(), bundle_path(path), Path(out)
    check_new_bundle(out)
    bundle = open_bundle(path)
    bundle.features(np.zeros((1, bundle.description.size, bundle.description.size, 3), np.uint8))  # an error at once
    read = _read(bundle, manifest, options, on_progress)
    rng = np.random.default_rng(options.seed)
    temperatures = find_temperatures(read.confirmed, rng)
    honest = honest_probabilities(read.confirmed, rng)
    adapted = _compared(bundle, read, honest, options, learning_curve(read.confirmed, temperatures, rng))
    before, after = (estimate.value or 0.0 for estimate in adapted.accuracies)
    if after <= before:
        raise ManifestError(
            f"fitting to these cells does not help: {interval(adapted.accuracies[0])} are right before, "
            f"{interval(adapted.accuracies[1])} after, in cells that the fit did not see",
            "confirm more cells of each type from several slides, and look at the labels again")
    head = fit_head(read.confirmed, temperatures)
    description = _description(bundle, read, honest, adapted, options)
    write_bundle(out, description, {
        **{name: bundle.parts[name] for name in ("model.onnx", "recipe.toml", "golden.npz")},
        HEAD: head.to_bytes(), "MODEL_CARD.md": model_card(description).encode(), SEEN: _seen(bundle, read)})
    page = write_adapted(adapted, out)
    content = {"before": adapted.before.to_dict(), "after": adapted.after.to_dict(), "adapted": description["adapted"],
               "curve": [vars(one) for one in adapted.curve], "by_group": [vars(one) for one in adapted.by_group]}
    return Outcome(out, page, (*_lines(adapted), f"bundle: {out}", f"report: {page}"), content)


def confirmed_in(folders: Sequence[Path], engine: Engine | None = None) -> pl.DataFrame:
    """The manifest of the cells that people confirmed in the reviews of counted smears. engine: where decisions are
    kept; None is a file beside each result. Raises LeukoscopeError where there are none."""
    from ..review.export import confirmed_cells
    from ..review.smear import Review, results_with_records

    tables, names = [], set[str]()
    for folder in results_with_records(folders, engine):
        review = Review.open(folder, engine)
        try:
            table, name = confirmed_cells(review, review.state()), review.result.name
            if name in names:  # another count with the same name
                table = table.with_columns(cell_id=pl.lit(f"{review.result.key}/") + pl.col("cell_id"))
            names.add(name)
            tables.append(table)
        finally:
            review.close()
    return pl.concat(tables, how="diagonal_relaxed")


def _read(bundle: Bundle, manifest: pl.DataFrame, options: AdaptOptions, on_progress: OnProgress | None) -> Read:
    """The confirmed cells that can be used. Raises as `adapt`."""
    manifest, unknown = _known(bundle, manifest) if options.known_only else (manifest, [])
    cells, left = labelled_cells(bundle, manifest)
    _enough(cells)
    seen, damaged = _seen_by(bundle, cells, options.skip_damaged, on_progress)
    own, _ = without_overlap(bundle_overlap(bundle, seen.cells, seen.prints), seen.cells["cell_id"],
                             options.leave_out_trained)
    seen = seen.some(own)
    _check_contradictions(seen.cells, seen.prints)
    few = {name: count for name, count in seen.cells.group_by("label").len().sort("label").iter_rows() if count < LEAST}
    seen = seen.some(~seen.cells["label"].is_in(list(few)).to_numpy())
    _enough(seen.cells)
    remarks = unknown + [f"{plural(count, what)}{which}" for count, what, which in (
        (left.unlabelled, "cell", " without a label"), (len(damaged), "damaged image", ""),
        (int((~own).sum()), "cell", " that the model was trained on")) if count]
    remarks += [f"{plural(count, 'cell')} of the type {type_name(name)}: fewer than {LEAST}, so it stays as it was"
                for name, count in few.items()]
    labels = np.array([bundle.classes.index(name) for name in seen.cells["label"]])
    groups, _, unit = clusters_of(seen.cells)
    return Read(seen, Confirmed(seen.probabilities, seen.features, labels, groups), unit, tuple(remarks))


def _known(bundle: Bundle, manifest: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The cells of types that a model knows, and sentences on the others: types that a laboratory has added."""
    known = pl.col("label").replace(bundle_recipe(bundle).data.merge).is_in(bundle.classes)
    others = manifest.filter(~known).group_by("label").len().sort("label")
    return manifest.filter(known), [f"{plural(count, 'cell')} of the type {type_name(name)}, which the model does not "
                                    "know" for name, count in others.iter_rows()]


def _seen_by(bundle: Bundle, cells: pl.DataFrame, skip_damaged: bool,
             on_progress: OnProgress | None) -> tuple[_Seen, list[Damaged]]:
    """The cells that can be read, before any head of the bundle; and the others. Raises ImageError for these, unless
    they are to be skipped."""
    classifier = BundleClassifier(bundle)
    classified = classify_cells(classifier, cells, with_fingerprint(classifier), 1, answer=bundle.features,
                                on_progress=on_progress)
    whole, damaged = whole_cells(cells, classified, skip_damaged)
    assert classified.energies is not None  # some cell has an answer
    assert classified.features is not None
    prints = prints_table(cells["cell_id"].to_list(), classified.notes).filter(whole)
    probabilities, energies, features = (part[0][whole].astype(np.float64) for part in (
        classified.probabilities, classified.energies, classified.features))
    return _Seen(cells.filter(whole), probabilities, energies, features, prints), damaged


def _enough(cells: pl.DataFrame) -> None:
    """Raise ManifestError unless two types have enough cells."""
    counts = dict(cells.group_by("label").len().sort("label").iter_rows())
    if sum(count >= LEAST for count in counts.values()) < 2:
        have = join(f"{count} {type_name(name)}" for name, count in counts.items())
        raise ManifestError(f"too few confirmed cells: {have}",
                            f"confirm at least {LEAST} cells of at least two types; about 20 of each type are good")


def _check_contradictions(cells: pl.DataFrame, prints: pl.DataFrame) -> None:
    """Raise ManifestError where one cell, or copies of it, have several labels."""
    labels = dict(cells.select("cell_id", "label").iter_rows())
    pairs = [(first, second) for first, second in duplicate_pairs(prints).select("first", "second").iter_rows()
             if labels[first] != labels[second]]
    if pairs:
        named = "; ".join(f"'{first}' is {type_name(labels[first])} and '{second}' {type_name(labels[second])}"
                          for first, second in pairs[:_NAMED])
        raise ManifestError(f"the labels contradict each other: {plural(len(pairs), 'pair')} of copies of one cell "
                            f"have two types ({named}{'; ...' * (len(pairs) > _NAMED)})", "correct the labels")


def _compared(bundle: Bundle, read: Read, honest: np.ndarray, options: AdaptOptions,
              curve: Sequence[Size]) -> Adapted:
    """The model as it was and as it is now, on the confirmed cells."""
    cells, confirmed = read.seen.cells, read.confirmed
    was = confirmed.probabilities if bundle.head is None else bundle.head.probabilities(
        confirmed.probabilities, confirmed.features)  # a model that was fitted before
    both = was, honest
    before, after = (evaluate(predictions_table(cells, p, bundle.classes, fold=0), bundle.classes, seed=options.seed)
                     for p in both)
    was_right, is_right = (p.argmax(1) == confirmed.labels for p in both)
    groups = len(np.unique(confirmed.groups))
    difference = paired_difference(is_right, was_right, None if groups == cells.height else confirmed.groups)
    counts = dict(cells.group_by("label").len().sort("label").iter_rows())
    return Adapted(options.name or "this laboratory", before, after, difference, tuple(curve), counts, read.unit,
                   groups, groups > 1, read.left_out,
                   _by_group(cells, read.unit, confirmed.groups, was_right, is_right),
                   not (cells["group"].is_null() & cells["subject"].is_null()).any())


def _by_group(cells: pl.DataFrame, unit: str, groups: np.ndarray, before: np.ndarray,
              after: np.ndarray) -> tuple[OfGroup, ...]:
    """What was right in each slide or person. unit: what `groups` are; before, after: (n,) bool, of each cell."""
    if len(np.unique(groups)) == cells.height:
        return ()
    first, second = ("subject", "group") if unit == "subject" else ("group", "subject")
    named = cells.select(pl.coalesce(first, second, "cell_id").alias("name")).with_columns(
        number=pl.Series(groups), before=pl.Series(before), after=pl.Series(after))
    rows = named.group_by("number").agg(pl.col("name").unique().sort().str.join(", "), pl.len(),
                                        pl.col("before").sum(), pl.col("after").sum()).sort("name")
    return tuple(OfGroup(name, cells, was, now) for _, name, cells, was, now in rows.iter_rows())


def _description(bundle: Bundle, read: Read, honest: np.ndarray, adapted: Adapted,
                 options: AdaptOptions) -> JsonObject:
    """What bundle.json of the new bundle says."""
    old, labels = bundle.description, read.confirmed.labels
    coverage = options.coverage or old.coverage or 0.95
    figures = adapted.after.to_dict()
    threshold = old.threshold
    if old.positive and adapted.counts.get(old.positive):
        positive = bundle.classes.index(old.positive)
        threshold = choose_threshold(labels == positive, honest[:, positive])
    fitted = (f"Fitted to {plural(len(labels), 'confirmed cell')} of {adapted.name}: "
              f"{join(f'{count} {type_name(name)}' for name, count in adapted.counts.items())}.")
    return old.content() | {
        "leukoscope": __version__, "title": f"{old.title or old.name}, fitted to {adapted.name}",
        "coverage": coverage, "radius": conformal_radius(honest, labels, coverage), "threshold": threshold,
        "least_energy": float(np.quantile(read.seen.energies, REJECTED)), "rejected": REJECTED,
        "notes": (*old.notes, fitted),
        "trained": old.trained | {"validation_cells": len(labels)},
        "metrics": {
            "cells": figures["cells"], "protocol": "clean", "confusion": figures["confusion"],
            "overall": {key: figures["overall"][key] for key in _FIGURES if key in figures["overall"]},
            "sensitivity": {name: one["sensitivity"] for name, one in figures["per_class"].items()},
            "calibration_error": (figures["calibration"] or {}).get("expected_calibration_error")},
        "adapted": {"name": adapted.name, "digest": old.digest, "counts": adapted.counts, "groups": adapted.groups,
                    "before": adapted.accuracies[0].to_dict(), "after": adapted.accuracies[1].to_dict(),
                    "difference": adapted.difference.difference.to_dict()}}


def _seen(bundle: Bundle, read: Read) -> bytes:
    """The cells of the training and the confirmed ones, for the leak guard."""
    own = training_table(read.seen.cells, read.seen.prints)
    old = [bundle.seen] if bundle.seen is not None else []
    return training_table_bytes(pl.concat([*old, own]).unique().sort(
        "hash", "pixels", "source", "subject", "group", nulls_last=True))


def _lines(adapted: Adapted) -> list[str]:
    by = f" of {plural(adapted.groups, adapted.unit)}" if adapted.apart and adapted.unit != "cell" else ""
    lines = [f"{plural(adapted.after.cells, 'confirmed cell')}{by}: "
             f"{join(f'{count} {type_name(name)}' for name, count in adapted.counts.items())}",
             f"before: accuracy {interval(adapted.accuracies[0])}",
             f"after: accuracy {interval(adapted.accuracies[1])}, in cells that the fit did not see",
             f"difference: {interval(adapted.difference.difference, points, ' points')}"]
    lines += [NO_SLIDES] if not adapted.slides_known else []
    return lines + [f"left out: {remark}" for remark in adapted.left_out]
