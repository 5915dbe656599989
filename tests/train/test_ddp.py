"""Several devices: two processes on the CPU give the numbers of one, and tell what they do."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from leukoscope.runs.network import read_weights
from leukoscope.train.epochs import Event
from tiny import history, make_cells, tiny_recipe, train_on_cpu


def test_two_processes_give_the_numbers_of_one(tmp_path, monkeypatch, capfd):
    """With LeNet-5, which has no batch statistics: on the CPU each process would have its own.

    23 training cells in batches of 8: neither goes up in two, so the share of the last, odd cell counts too.
    """
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "cells", counts={"a": 15, "b": 12, "c": 12}, strength=0.3)
    recipe = tiny_recipe(augment={"rotation": 90}, training__balance="weights", training__weight_decay=0.001,
                         split={"kind": "holdout", "test": 0.2, "validation": 0.25})
    events: list[Event] = []
    one = train_on_cpu(recipe, cells, tmp_path / "one")
    capfd.readouterr()
    two = train_on_cpu(recipe, cells, tmp_path / "two", devices=2, on_event=events.append)
    assert capfd.readouterr() == ("", "")

    assert len(one.part(0, "train")) % 2 == 1
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"):
        np.testing.assert_allclose(history(two)[name], history(one)[name], rtol=1e-5, err_msg=name)
    weights = [read_weights(run.fold_folder(0) / "weights.safetensors") for run in (one, two)]
    for name in weights[0]:
        np.testing.assert_allclose(weights[1][name], weights[0][name], rtol=1e-4, atol=1e-6, err_msg=name)
    probabilities = pl.selectors.starts_with("p_")
    np.testing.assert_allclose(two.predictions.select(probabilities), one.predictions.select(probabilities), rtol=1e-4)
    assert [e.epoch for e in events if e.phase == "epoch"] == [1, 2, 3]
    assert [e.metrics["train_loss"] for e in events if e.phase == "epoch"] == pytest.approx(
        history(two)["train_loss"].to_list(), rel=1e-6)
