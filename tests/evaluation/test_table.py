"""Predictions that cannot be trusted: each is refused with row, column and hint."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from leukoscope.errors import LeukoscopeError
from leukoscope.evaluation.table import read_cells

CLASSES = ("leukemic", "healthy")


def frame() -> pl.DataFrame:
    return pl.DataFrame({
        "cell_id": ["a", "b", "c"], "subject": ["s1", "s1", None], "group": [None, "g", "g"], "fold": [0, 0, 1],
        "label": ["leukemic", "healthy", "healthy"], "predicted": ["leukemic", "healthy", "leukemic"],
        "p_leukemic": [0.9, 0.2, 0.7], "p_healthy": [0.1, 0.8, 0.3],
    })


def test_a_sound_table_becomes_arrays() -> None:
    cells = read_cells(frame(), CLASSES)
    assert cells.labels.tolist() == [0, 1, 1]
    assert cells.predicted.tolist() == [0, 1, 0]
    assert cells.probabilities == pytest.approx(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]))
    assert (cells.count, cells.unit) == (1, "group")  # s1 holds a and b, g holds b and c


def test_an_empty_name_is_no_subject() -> None:
    empty = frame().with_columns(subject=pl.lit(""), group=pl.lit(""))
    assert (read_cells(empty, CLASSES).count, read_cells(empty, CLASSES).unit) == (3, "cell")


def test_other_kinds_of_table_are_refused() -> None:
    with pytest.raises(LeukoscopeError, match="expected a polars DataFrame, got LazyFrame"):
        read_cells(frame().lazy(), CLASSES)  # type: ignore[arg-type]  # what a user may pass


def test_single_precision_and_rounding_on_the_way_are_no_fault() -> None:
    rounded = frame().with_columns(p_leukemic=pl.Series([0.3333, 0.2, 0.7], dtype=pl.Float32),
                                   p_healthy=pl.Series([0.6664, 0.8, 0.3], dtype=pl.Float32),
                                   predicted=pl.Series(["healthy", "healthy", "leukemic"]))
    assert read_cells(rounded, CLASSES).labels.size == 3


@pytest.mark.parametrize(("change", "text"), [
    (lambda f: f.drop("p_healthy"), r"no column 'p_healthy' \(it has cell_id"),
    (lambda f: f.drop("subject"), "no column 'subject'"),
    (lambda f: f.with_columns(p_blast=0.0), "column 'p_blast' belongs to no class"),
    (lambda f: f.head(0), "the table has no rows"),
    (lambda f: f.with_columns(label=pl.Series(["leukemic", "blast", "healthy"])),
     r"row 2 \('b'\): label 'blast' is not a class; the classes are leukemic, healthy"),
    (lambda f: f.with_columns(predicted=pl.Series(["x", "healthy", "leukemic"])), r"row 1 \('a'\): predicted 'x'"),
    (lambda f: f.with_columns(label=pl.Series([None, "healthy", "healthy"])), "row 1: column 'label' is empty"),
    (lambda f: f.with_columns(fold=pl.Series([0, None, 1])), "row 2: column 'fold' is empty"),
    (lambda f: f.with_columns(fold=pl.Series(["0", "one", "1"])), "row 2, column 'fold': 'one' is not of type"),
    (lambda f: f.with_columns(p_healthy=pl.Series(["0.1", "much", "0.3"])), "row 2, column 'p_healthy': 'much'"),
    (lambda f: f.with_columns(cell_id=pl.Series(["b", "a", "b"])), "cell_id 'b' appears in rows 1 and 3"),
    (lambda f: f.with_columns(p_healthy=pl.Series([0.1, float("nan"), 0.3])), r"row 2 \('b'\): a probability is mis"),
    (lambda f: f.with_columns(p_healthy=pl.Series([0.1, None, 0.3])), r"row 2 \('b'\): a probability is missing"),
    (lambda f: f.with_columns(p_healthy=pl.Series([0.1, 0.8, 0.5])), r"row 3 \('c'\): the probabilities do not add"),
    (lambda f: f.with_columns(p_leukemic=pl.Series([0.9, -0.2, 0.7]), p_healthy=pl.Series([0.1, 1.2, 0.3])),
     r"row 2 \('b'\): a probability is outside 0 to 1"),
    (lambda f: f.with_columns(predicted=pl.Series(["leukemic", "leukemic", "leukemic"])),
     r"row 2 \('b'\): 'predicted' is not the most probable class \(p_leukemic 0.2, p_healthy 0.8\)"),
])
def test_a_table_that_cannot_be_trusted_is_refused(change: Callable[[pl.DataFrame], pl.DataFrame], text: str) -> None:
    with pytest.raises(LeukoscopeError, match=text) as caught:
        read_cells(change(frame()), CLASSES)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_rows_are_numbered_as_the_user_sees_them() -> None:
    mixed = frame().with_columns(cell_id=pl.Series(["z", "y", "x"]), label=pl.Series(["leukemic", "blast", "blast"]))
    with pytest.raises(LeukoscopeError, match=r"row 2 \('y'\)"):
        read_cells(mixed, CLASSES)


@pytest.mark.parametrize("classes", [(), ("leukemic",), ("leukemic", "leukemic"), "leukemic"])
def test_classes_are_two_or_more_names(classes: tuple[str, ...]) -> None:
    with pytest.raises(LeukoscopeError, match="two or more different names"):
        read_cells(frame(), classes)
