"""The book-keeping of training: best epochs, rates and stops, against plain re-computation."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leukoscope.recipes import Training
from leukoscope.train.epochs import Progress, after_epoch, is_finished, learning_rate

SCORES = st.tuples(st.integers(0, 4).map(lambda i: i / 4), st.integers(1, 5).map(float))  # accuracy, loss
ROWS = st.lists(SCORES, min_size=1, max_size=12)


def follow(rows: list[tuple[float, float]], training: Training) -> list[Progress]:
    steps = [Progress()]
    for accuracy, loss in rows:
        row = {"epoch": steps[-1].epoch + 1, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": loss,
               "validation_accuracy": accuracy, "learning_rate": learning_rate(training, steps[-1]), "seconds": 1.0}
        steps.append(after_epoch(steps[-1], training, row))
    return steps


@given(ROWS, st.sampled_from(["accuracy", "loss"]))
def test_the_best_epoch_is_the_first_of_the_best(rows, monitor):
    last = follow(rows, Training(monitor=monitor))[-1]
    scores = [(a, -b) if monitor == "accuracy" else (-b, a) for a, b in rows]
    assert last.best_epoch == scores.index(max(scores)) + 1
    assert last.stale == len(rows) - last.best_epoch
    assert Progress.from_dict(json.loads(json.dumps(last.to_dict()))) == last


@given(ROWS, st.integers(1, 4))
def test_plateau_lowers_the_rate_after_each_so_many_epochs_without_a_better_one(rows, plateau):
    training = Training(schedule="plateau", plateau=plateau, factor=0.5, learning_rate=0.1, epochs=100)
    steps = follow(rows, training)
    drops, waited, best = 0, 0, None
    for step, (accuracy, loss) in zip(steps[1:], rows, strict=True):
        if best is None or (accuracy, -loss) > best:
            best, waited = (accuracy, -loss), 0
        else:
            waited += 1
            if waited == plateau:
                drops, waited = drops + 1, 0
        assert learning_rate(training, step) == pytest.approx(0.1 * 0.5**drops)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(1, 6))
def test_training_is_finished_when_epochs_or_patience_are_used_up(stale, patience, epoch):
    progress = Progress(epoch=epoch, stale=stale)
    assert is_finished(progress, Training(epochs=6, patience=patience)) \
        == (epoch >= 6 or (patience > 0 and stale >= patience))
