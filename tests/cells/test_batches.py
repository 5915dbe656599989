"""Batches: what they hold, that it depends on seed, epoch and cell alone, and that their threads end with them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leukoscope.cells import CellBatches, PackedCells
from leukoscope.cells.augment import augment_cpu, sample_changes
from leukoscope.cells.input_steps import InputSteps
from leukoscope.recipes import Augment, Edges, Preprocess

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
STEPS = InputSteps(Preprocess(), Edges(), np.array(MEAN), np.array(STD))
TURN = Augment(rotation=180, shift=0.1, brightness=0.2, flip_horizontal=True)


def packed_cells(count: int = 40, size: int = 12) -> PackedCells:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return PackedCells(tuple(f"c{n}" for n in range(count)), pixels, (), "key", Path("nowhere"))  # pyright: ignore[reportArgumentType] - in memory


def batches(count: int = 23, *, epoch: int = 0, **options: object) -> CellBatches:
    rows = np.random.default_rng(1).permutation(40)[:count]
    made = CellBatches(packed_cells(), rows, rows % 5, **{  # pyright: ignore[reportArgumentType] - a test's shorthand
        "batch_size": 4, "augment": TURN, "steps": STEPS, "seed": 7, **options})
    made.set_epoch(epoch)
    return made


def joined(made: CellBatches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    whole = list(made)
    return (np.concatenate([b.images.numpy() for b in whole]), np.concatenate([b.labels.numpy() for b in whole]),
            np.concatenate([b.rows.numpy() for b in whole]))


def test_batches_hold_each_cell_once_with_its_label():
    made = batches()
    sizes = [len(batch.labels) for batch in made]
    assert sizes == [4, 4, 4, 4, 4, 3]
    assert len(made) == 6
    images, labels, rows = joined(made)
    np.testing.assert_array_equal(rows, made.rows)
    np.testing.assert_array_equal(labels, rows % 5)
    assert images.dtype == np.float32
    changes = sample_changes(TURN, seed=7, epoch=0, cells=rows, size=12)
    np.testing.assert_array_equal(images, augment_cpu(packed_cells().pixels[rows], changes, MEAN, STD))


def test_without_augmentation_pixels_are_only_normalised():
    images, _, rows = joined(batches(augment=None))
    pixels = packed_cells().pixels[rows].transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(images, (pixels - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1)), atol=1e-5)


def test_shuffling_is_a_new_order_each_epoch_and_the_same_one_again():
    orders = [joined(batches(shuffle=True, epoch=epoch))[2].tolist() for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(batches().rows)
    assert joined(batches(shuffle=True, seed=8))[2].tolist() != orders[0]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 4), st.booleans(), st.integers(1, 3))
def test_order_and_pixels_do_not_depend_on_batch_size_ranks_or_threads(size, ranks, shuffle, workers):
    images, labels, rows = joined(batches(shuffle=shuffle))
    parts = [joined(batches(shuffle=shuffle, batch_size=size, rank=rank, world_size=ranks, workers=workers))
             for rank in range(ranks)]
    assert len({len(part[2]) for part in parts}) == 1
    for number, part in enumerate(zip(*parts, strict=True)):
        together = np.stack(part, axis=1).reshape(-1, *part[0].shape[1:])
        np.testing.assert_array_equal(together[:23], (images, labels, rows)[number])
        np.testing.assert_array_equal(together[23:], (images, labels, rows)[number][:len(together) - 23])


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=40)
def test_every_rank_has_as_many_batches_as_announced(count, size, ranks, drop_last):
    lengths = set()
    for rank in range(ranks):
        made = batches(count, batch_size=size, rank=rank, world_size=ranks, drop_last=drop_last, augment=None)
        sizes = [len(batch.rows) for batch in made]
        assert len(sizes) == len(made)
        assert all(s == size for s in (sizes if drop_last else sizes[:-1]))
        lengths.add(tuple(sizes))
    assert len(lengths) == 1
    if drop_last:
        assert sum(next(iter(lengths))) == count // ranks // size * size


def test_weights_draw_with_replacement_in_proportion():
    rows = np.arange(40)
    weights = np.where(rows < 4, 9.0, 1.0)
    made = CellBatches(packed_cells(), rows, rows, batch_size=8, augment=None, steps=STEPS, seed=0,
                       weights=weights)
    drawn = []
    for epoch in range(200):
        made.set_epoch(epoch)
        drawn.append(made._order(epoch)[0])
    assert all(len(order) == 40 for order in drawn)
    share = (np.concatenate(drawn) < 4).mean()
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / 8000)
    assert sum(len(batch.rows) for batch in made) == 40


def test_a_cell_drawn_twice_in_an_epoch_looks_different_each_time():
    weights = np.zeros(23)
    weights[3] = 1.0
    images, _, rows = joined(batches(weights=weights))
    assert set(rows) == {batches().rows[3]}
    assert len(np.unique(images.reshape(23, -1), axis=0)) == 23


def test_augmentation_differs_between_epochs():
    first, second = (joined(batches(epoch=epoch))[0] for epoch in (0, 1))
    assert (np.abs(first - second).max(axis=(1, 2, 3)) > 0.1).all()


def test_another_device_is_served_there():
    """The meta device has no values, only shapes, and takes the road of a GPU."""
    made = batches(device="meta", augment=TURN)
    assert [tuple(batch.images.shape) for batch in made] == [(4, 3, 12, 12)] * 5 + [(3, 3, 12, 12)]
    assert all(batch.images.is_meta and batch.labels.is_meta for batch in made)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gets_the_same_batches_within_rounding():
    there, here = list(batches(device="cuda")), list(batches())
    for one, other in zip(there, here, strict=True):
        assert one.images.is_cuda
        assert one.labels.is_cuda
        np.testing.assert_allclose(one.images.cpu().numpy(), other.images.numpy(), atol=0.01)


def test_errors_reach_the_consumer():
    made = batches()
    made.steps = replace(STEPS, mean=np.array([0.1, 0.2]))
    before = threading.active_count()
    with pytest.raises(ValueError, match="three values"):
        list(made)
    assert threading.active_count() == before


def test_a_consumer_that_stops_early_leaves_no_thread():
    before = threading.active_count()
    for batch in batches(batch_size=1):
        assert len(batch.rows) == 1
        break
    assert threading.active_count() == before
    iterator = iter(batches(batch_size=1))
    next(iterator)
    del iterator
    assert threading.active_count() == before


def test_two_iterations_at_once_do_not_mix():
    made = batches(shuffle=True)
    first = iter(made)
    start = next(first).rows.tolist()
    made.set_epoch(1)
    other = [row for batch in made for row in batch.rows.tolist()]
    rest = [row for batch in first for row in batch.rows.tolist()]
    assert start + rest == joined(batches(shuffle=True))[2].tolist()
    assert other == joined(batches(shuffle=True, epoch=1))[2].tolist()


def test_arguments_that_do_not_fit_are_refused():
    packed, rows = packed_cells(), np.arange(5)
    options = {"batch_size": 2, "augment": None, "steps": STEPS, "seed": 0}
    for changed, says in [({"rows": np.array([0, 40])}, "0 to 39"), ({"labels": np.arange(4)}, "equal length"),
                          ({"weights": np.array([1.0, -1, 1, 1, 1])}, "weights"), ({"weights": np.zeros(5)}, "weights"),
                          ({"batch_size": 0}, "batch_size"), ({"rank": 2, "world_size": 2}, "rank 2 of 2")]:
        given_ = {"rows": rows, "labels": rows[:len(changed.get("rows", rows))], **options, **changed}
        with pytest.raises(ValueError, match=says):
            CellBatches(packed, **given_)  # pyright: ignore[reportArgumentType] - wrong on purpose
