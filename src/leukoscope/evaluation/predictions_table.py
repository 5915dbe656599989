"""Anybody's predictions: a table of any program to the table that `evaluate` takes. Computes no metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..datasets.labels import alike, label_counts, same_labels, subject_alike_note
from ..errors import LeukoscopeError
from ..text import join, plural
from .given_table import find_column, numbers_in, read_given
from .table import TOLERANCE, read_cells

NAMES = {
    "cell_id": ("cell_id", "cell", "image", "file", "filename", "id"),
    "label": ("label", "true", "truth", "y_true", "target", "true_label", "class"),
    "predicted": ("predicted", "prediction", "y_pred", "predicted_label", "pred"),
    "subject": ("subject", "patient", "subject_id", "patient_id", "donor"),
    "group": ("group", "slide", "smear"),
    "fold": ("fold",),
}
"""What each column may be called, the most usual name first."""
PREFIXES = ("p_", "prob_", "probability_", "score_")
ONE_SCORE = ("score", "probability", "p", "y_score", "prob")


@dataclass(frozen=True)
class GivenPredictions:
    """table: cell_id, subject, group, fold, label, predicted, p_<class>..., then the other columns as text. columns:
    what each was called. remarks: what a reader must know."""

    table: pl.DataFrame
    classes: tuple[str, ...]
    columns: Mapping[str, str]
    remarks: tuple[str, ...]


def read_predictions(path: Path, *, columns: Mapping[str, str] | None = None, positive: str = "") -> GivenPredictions:
    """A table with one row for each cell: its label, a probability for each class, and its subject where it is known.

    columns: of NAMES, what they are called in this table. Probabilities are columns `p_<class>` or named as the class;
    for two classes also one column `score`, of the class `positive`. Raises LeukoscopeError that names file, row and
    column.
    """
    given = dict(columns or {})
    unknown = sorted(given.keys() - NAMES.keys())
    if unknown:
        raise LeukoscopeError(f"--column {unknown[0]}: unknown", f"the columns are {', '.join(NAMES)}")
    frame = read_given(path, [*given.values(), *(name for names in NAMES.values() for name in names)])
    found = {key: _column(frame, key, given, path) for key in NAMES}
    if not found["label"]:
        raise LeukoscopeError(f"{path}: no column of labels (it has {', '.join(frame.columns)})",
                              "name it with --column label=NAME")
    labels = _labels(frame, found["label"], path)
    probabilities = _probabilities(frame, labels, found, positive, path)
    classes = tuple(probabilities)
    _check_classes(labels, classes, path)
    p = np.stack([probabilities[name].to_numpy() for name in classes], axis=1)
    _check_sums(p, path)
    predicted = frame[found["predicted"]] if found["predicted"] else pl.Series(
        "predicted", [classes[k] for k in p.argmax(1)])
    used = {*found.values(), *(series.name for series in probabilities.values())}
    table = pl.DataFrame([
        _ids(frame, found["cell_id"]), _names(frame, found["subject"], "subject"),
        _names(frame, found["group"], "group"), _folds(frame, found["fold"], path), labels.alias("label"),
        predicted.alias("predicted"), *(probabilities[name].alias(f"p_{name}") for name in classes),
        *(frame[name] for name in frame.columns if name not in used and name not in NAMES)])
    read_cells(table.select(table.columns[:6 + len(classes)]), classes, str(path))
    return GivenPredictions(table, classes, {key: name for key, name in found.items() if name},
                            tuple(_remarks(table, found)))


def _column(frame: pl.DataFrame, key: str, given: Mapping[str, str], path: Path) -> str:
    if key not in given:
        return find_column(frame, NAMES[key])
    if given[key] not in frame.columns:
        raise LeukoscopeError(f"{path}: no column '{given[key]}' (it has {', '.join(frame.columns)})",
                              f"correct --column {key}={given[key]}")
    return given[key]


def _labels(frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    labels = frame[name]
    empty = labels.is_null().arg_true()
    if len(empty):
        raise LeukoscopeError(f"{path}, row {empty[0] + 1}: column '{name}' is empty",
                              "leave out cells without a label")
    for group in same_labels(label_counts(labels)):
        raise LeukoscopeError(f"{path}: labels {join(repr(label) for label in group)} differ only in case or blanks",
                              f"write '{group[0]}' in all of these rows")
    return labels


def _probabilities(frame: pl.DataFrame, labels: pl.Series, found: Mapping[str, str], positive: str,
                   path: Path) -> dict[str, pl.Series]:
    """Class -> its column of probabilities."""
    taken = set(found.values())
    prefix = next((each for each in PREFIXES if sum(name.startswith(each) for name in frame.columns) > 1), "")
    named = [name for name in frame.columns if name not in taken and (
        name.startswith(prefix) if prefix else alike(name) in set(map(alike, labels.unique())))]
    if len(named) < 2:
        return _one_score(frame, labels, positive, path)
    columns = {}
    for name in named:
        values = numbers_in(frame, name, path)
        if values is None:
            raise LeukoscopeError(f"{path}: column '{name}' holds no numbers", "write probabilities from 0 to 1")
        columns[name.removeprefix(prefix)] = values.rename(name)
    return columns


def _one_score(frame: pl.DataFrame, labels: pl.Series, positive: str, path: Path) -> dict[str, pl.Series]:
    """Two classes, and the probability of one of them."""
    classes, name = sorted(labels.unique()), find_column(frame, ONE_SCORE)
    values = numbers_in(frame, name, path) if name else None
    if values is None:
        raise LeukoscopeError(f"{path}: no columns of probabilities (it has {', '.join(frame.columns)})",
                              "give a column p_<class> for each class, from 0 to 1")
    if len(classes) != 2 or positive not in classes:
        raise LeukoscopeError(f"{path}: column '{name}' is the probability of one class, which is not named",
                              f"name it with --positive: {join(classes, 'or')}" if len(classes) == 2 else
                              "give a column p_<class> for each class")
    other = next(label for label in classes if label != positive)
    return {other: (1 - values).alias(name), positive: values}


def _check_classes(labels: pl.Series, classes: Sequence[str], path: Path) -> None:
    """Every label has a column of probabilities."""
    seen = {alike(name): name for name in classes}
    for label in sorted(set(labels) - set(classes)):
        if alike(label) in seen:
            raise LeukoscopeError(f"{path}: label '{label}' and class '{seen[alike(label)]}' of the probabilities "
                                  "differ only in case or blanks", f"write '{seen[alike(label)]}' in both")
        cells = int((labels == label).sum())
        raise LeukoscopeError(f"{path}: no column of probabilities for class '{label}' ({plural(cells, 'cell')}), only "
                              f"for {', '.join(classes)}", f"add the column p_{label}, or leave these cells out")


def _check_sums(p: np.ndarray, path: Path) -> None:
    sums = p.sum(1)
    wrong = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if wrong.size:
        hint = ("these are percentages: divide them by 100" if np.allclose(sums, 100, atol=0.5) else
                "these are no probabilities: take the softmax of the network's outputs"
                if (p < 0).any() or (p > 1).any() else "add the missing class, or divide each row by its sum")
        raise LeukoscopeError(f"{path}, row {wrong[0] + 1}: the probabilities add up to {sums[wrong[0]]:.4g}, not 1 "
                              f"({plural(wrong.size, 'row')} in all)", hint)


def _ids(frame: pl.DataFrame, name: str) -> pl.Series:
    return (frame[name] if name else pl.Series([f"row {k + 1}" for k in range(frame.height)])).alias("cell_id")


def _names(frame: pl.DataFrame, name: str, as_: str) -> pl.Series:
    return (frame[name] if name else pl.Series([None] * frame.height, dtype=pl.String)).alias(as_)


def _folds(frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    values = numbers_in(frame, name, path) if name else None
    if name and (values is None or values.null_count() or (values != values.round()).any()):
        raise LeukoscopeError(f"{path}: column '{name}' holds no whole numbers", "number the folds from 0")
    return (pl.Series([0] * frame.height) if values is None else values.cast(pl.Int64)).alias("fold")


def _remarks(table: pl.DataFrame, found: Mapping[str, str]) -> list[str]:
    if not found["subject"] and not found["group"]:
        return ["no column names the subject, so cells are taken as independent: with several cells a person the "
                "intervals are too narrow (--column subject=NAME)"]
    missing = table["subject"].null_count()
    return [*([f"{plural(missing, 'cell')} without a subject"] if found["subject"] and missing else []),
            *subject_alike_note(table["subject"], "evaluate again")]
