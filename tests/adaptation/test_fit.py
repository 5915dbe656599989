"""Fitting a head: what it may change, what it leaves, and that left-out cells are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from leukoscope.adaptation.fit import (
    MEMBERS,
    Confirmed,
    Member,
    fit_head,
    fit_member,
    fold_of,
    left_out_logits,
)
from leukoscope.adaptation.validate import honest_probabilities, learning_curve
from leukoscope.bundle.head import Head, read_head

MEMBER = Member(1e-2, keep=True)


def laboratory(count: int = 120, classes: int = 4, *, known: int = 3, noise: float = 0.4, seed: int = 0,
               slides: int = 12) -> Confirmed:
    """Cells whose features tell their class, and to which the model gives the next class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % known)
    features = rng.normal(0, noise, (count, 40))
    features[np.arange(count), labels] += 2
    wrong = rng.normal(0, 0.3, (count, classes))
    wrong[np.arange(count), (labels + 1) % known] += 2
    return Confirmed(softmax(wrong, axis=1), features, labels, rng.integers(0, slides, count))


def accuracy(head: Head, cells: Confirmed) -> float:
    return float((head.probabilities(cells.probabilities, cells.features).argmax(1) == cells.labels).mean())


@pytest.mark.parametrize("keep", [True, False])
def test_a_head_learns_what_the_features_tell(keep):
    head = fit_member(laboratory(), Member(1e-2, keep))
    assert accuracy(head, laboratory(seed=1)) >= 0.95
    assert (laboratory(seed=1).probabilities.argmax(1) == laboratory(seed=1).labels).mean() == 0


def test_the_minimum_is_one():
    """No small step in any direction gives a lower loss: it is convex in weights and offsets."""
    cells = laboratory(60)
    head = fit_member(cells, MEMBER)

    def loss(other: Head) -> float:
        logits = other.logits(cells.probabilities, cells.features)
        weight = 1 / np.bincount(cells.labels)[cells.labels]
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return float(-(weight / weight.sum() * log_p[np.arange(60), cells.labels]).sum() + 1e-2 * (
            other.weights**2).sum() + 1e-3 * (other.offset**2).sum() + 1e-2 * np.log(other.gain[0])**2)

    rng, least = np.random.default_rng(0), loss(head)
    scale = np.abs(head.weights).max()
    _, _, axes = np.linalg.svd((cells.features - head.centre) / head.spread, full_matrices=False)
    for _ in range(20):
        step = np.zeros_like(head.weights)
        step[:, :3] = axes.T @ rng.normal(0, 0.01 * scale, (len(axes), 3))
        changed = replace(head, weights=head.weights + step)
        assert loss(changed) >= least - 1e-7


def test_types_without_confirmed_cells_keep_the_models_answer():
    head, cells = fit_member(laboratory(), MEMBER), laboratory(seed=1)
    sure = np.full((1, 4), 1e-6)
    sure[0, 3] = 1 - 3e-6
    assert head.probabilities(sure, np.zeros((1, 40)))[0, 3] > 0.99
    np.testing.assert_allclose(head.probabilities(cells.probabilities, cells.features)[:, 3], cells.probabilities[:, 3])


def test_confirmed_cells_are_not_called_what_they_are_not():
    """A model that calls everything the fourth type: the bar for it is raised until 95 % of these cells stay below."""
    cells = laboratory()
    p = np.concatenate([0.1 * cells.probabilities[:, :3], np.full((120, 1), 0.9)], axis=1)
    p[:, 3] -= np.random.default_rng(0).uniform(0, 0.2, 120)
    p /= p.sum(1, keepdims=True)
    head = fit_member(Confirmed(p, cells.features, cells.labels, cells.groups), MEMBER)
    called = head.probabilities(p, cells.features)
    assert (called[:, 3] > 0.5).mean() == pytest.approx(0.05, abs=0.01)
    assert head.probabilities(np.array([[1e-3, 1e-3, 1e-3, 0.997]]), np.zeros((1, 40)))[0, 3] > 0.9


def test_a_head_written_and_read_is_the_same():
    head = fit_member(laboratory(), MEMBER)
    read = read_head(head.to_bytes(), 40, 4)
    cells = laboratory(seed=2)
    np.testing.assert_allclose(read.probabilities(cells.probabilities, cells.features),
                               head.probabilities(cells.probabilities, cells.features), atol=1e-5)


@pytest.mark.parametrize(("features", "classes"), [(41, 4), (40, 3)])
def test_a_head_of_another_shape_is_refused(features, classes):
    with pytest.raises(ValueError, match=r"expected finite float32|larger than the graph"):
        read_head(fit_member(laboratory(), MEMBER).to_bytes(), features, classes)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_a_damaged_head_is_refused(content):
    with pytest.raises(ValueError, match=r"cut short|zip|magic"):
        read_head(content, 40, 4)


def test_a_head_with_a_number_that_is_not_finite_is_refused():
    head = fit_member(laboratory(), MEMBER)
    head.weights[0, 0] = np.nan
    with pytest.raises(ValueError, match="weights is float32"):
        read_head(head.to_bytes(), 40, 4)


@settings(max_examples=30, deadline=None)
@given(groups=st.lists(st.integers(0, 9), min_size=2, max_size=60), seed=st.integers(0, 9))
def test_folds_keep_groups_together(groups, seed):
    found = np.array(groups)
    folds = fold_of(found, np.random.default_rng(seed))
    assert len(np.unique(folds)) >= 2
    if len(np.unique(found)) > 1:
        assert all(len(np.unique(folds[found == group])) == 1 for group in np.unique(found))


def test_left_out_cells_are_not_seen():
    """The labels of a fold do not change the logits of that fold."""
    cells = laboratory(60)
    folds = fold_of(cells.groups, np.random.default_rng(0))
    before = left_out_logits(cells, MEMBER, folds)
    other = Confirmed(cells.probabilities, cells.features, np.where(folds == 0, (cells.labels + 1) % 3, cells.labels),
                      cells.groups)
    after = left_out_logits(other, MEMBER, folds)
    np.testing.assert_allclose(before[folds == 0], after[folds == 0])
    assert np.abs(before[folds == 1] - after[folds == 1]).max() > 0.1


def test_a_head_is_the_mean_of_its_members_at_their_temperatures():
    cells = laboratory(60)
    head = fit_head(cells, (0.5, 2.0, 4.0))
    first, second = (fit_member(cells, member).logits(cells.probabilities, cells.features) for member in MEMBERS)
    np.testing.assert_allclose(head.logits(cells.probabilities, cells.features), (first / 0.5 + second / 2.0) / 8)


def test_a_member_that_is_wrong_elsewhere_counts_little():
    """The model is right, and the features tell nothing: what is fitted to them stays without influence."""
    rng = np.random.default_rng(0)
    cells = laboratory(90)
    noise = Confirmed(np.roll(cells.probabilities[:, :3], -1, axis=1), rng.normal(size=(90, 40)), cells.labels,
                      cells.groups)
    honest = honest_probabilities(noise, rng)
    assert (honest.argmax(1) == noise.labels).mean() >= (noise.probabilities.argmax(1) == noise.labels).mean() - 0.03


def test_honest_probabilities_are_calibrated_and_right():
    cells = laboratory(150)
    honest = honest_probabilities(cells, np.random.default_rng(0))
    np.testing.assert_allclose(honest.sum(1), 1)
    right = honest.argmax(1) == cells.labels
    assert right.mean() > 0.9
    among = honest[:, :3] / honest[:, :3].sum(1, keepdims=True)
    assert abs(among.max(1).mean() - right.mean()) < 0.05


def test_more_cells_help():
    curve = learning_curve(laboratory(300, noise=2.0), (1.0, 1.0, 1.0), np.random.default_rng(0))
    assert [one.cells for one in curve] == [5, 10, 20, 50]
    assert curve[-1].middle > curve[0].middle + 0.05
    assert all(one.low <= one.middle <= one.high for one in curve)


def test_a_temperature_changes_no_answer():
    cells = laboratory()
    first, second = (fit_head(cells, (1.0, 1.0, whole)).probabilities(cells.probabilities, cells.features)
                     for whole in (1.0, 2.0))
    assert (first.argmax(1) == second.argmax(1)).all()
    assert second.max() < first.max()
