"""Optional stages of spiking models: thresholds, inhibition over neighbours and over maps, pooling of spikes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leukoscope.errors import LeukoscopeError
from leukoscope.spikes import first_spike, lateral_inhibition, pointwise_inhibition, pool_latency, threshold

SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(2, 6), st.integers(2, 6))
LATENCIES = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 5))).map(torch.from_numpy)


def test_threshold_keeps_what_reaches_it():
    responses = torch.tensor([[[[0.1, 0.2]], [[0.3, 0.4]]]])
    assert threshold(responses, 0.3).flatten().tolist() == pytest.approx([0, 0, 0.3, 0.4])
    assert threshold(responses, [0.2, 0.4]).flatten().tolist() == pytest.approx([0, 0.2, 0, 0.4])
    for bad in ([0.1, 0.2, 0.3], float("nan")):
        with pytest.raises(LeukoscopeError, match="threshold: expected one number or 2"):
            threshold(responses, bad)


def test_a_stronger_neighbour_takes_its_share_by_hand():
    responses = torch.tensor([[[[8.0, 4.0, 2.0]]]])
    left = lateral_inhibition(responses, [0.5, 0.25])
    assert left.flatten().tolist() == [8.0, 4 * 0.5, 2 * 0.5 * 0.75]


@settings(deadline=None, max_examples=40)
@given(SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.integers(0, 4))),
       st.lists(st.floats(0, 1, width=32), min_size=0, max_size=3))
def test_inhibition_agrees_with_a_loop_over_pixels(responses, percents):
    batch, maps, height, width = responses.shape
    expected = responses.astype(np.float64)
    for b, m, y, x in np.ndindex(batch, maps, height, width):
        for v, u in np.ndindex(height, width):
            distance = max(abs(v - y), abs(u - x))
            if 0 < distance <= len(percents) and responses[b, m, v, u] > responses[b, m, y, x]:
                expected[b, m, y, x] *= 1 - percents[distance - 1]
    got = lateral_inhibition(torch.from_numpy(responses), percents)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_inhibition_leaves_equals_maxima_and_other_maps_alone():
    flat = torch.full((1, 2, 5, 5), 3.0)
    assert torch.equal(lateral_inhibition(flat, [0.15, 0.1]), flat)
    flat[0, 1, 2, 2] = 9.0
    left = lateral_inhibition(flat, [0.15])
    assert torch.equal(left[0, 0], flat[0, 0])
    assert left[0, 1, 2, 2] == 9
    for bad in ([1.5], [-0.1], [float("nan")]):
        with pytest.raises(LeukoscopeError, match="percents: expected shares from 0 to 1"):
            lateral_inhibition(flat, bad)


def test_the_first_map_to_fire_wins_and_ties_go_by_strength_then_by_number():
    latency = torch.tensor([[[[3, 1, 4, 2]], [[2, 1, 4, 2]], [[2, 0, 4, 2]]]], dtype=torch.uint8)
    assert pointwise_inhibition(latency, 4)[0, :, 0].tolist() == [[4, 4, 4, 2], [2, 4, 4, 4], [4, 0, 4, 4]]
    strength = torch.tensor([[[[9.0, 9, 0, 1]], [[1, 9, 0, 1]], [[2, 1, 0, 3]]]])
    assert pointwise_inhibition(latency, 4, strength)[0, :, 0].tolist() == [[4, 4, 4, 4], [4, 4, 4, 4], [2, 0, 4, 2]]


@settings(deadline=None)
@given(LATENCIES)
def test_one_map_at_most_fires_and_as_early_as_before(latency):
    left = pointwise_inhibition(latency, 5)
    assert ((left < 5).sum(dim=1) <= 1).all()
    assert torch.equal(left.amin(dim=1), latency.amin(dim=1))


@settings(deadline=None)
@given(LATENCIES, st.integers(1, 2), st.integers(1, 3))
def test_pooling_is_the_least_of_each_window(latency, kernel, stride):
    windows = latency.unfold(2, kernel, stride).unfold(3, kernel, stride)
    assert torch.equal(pool_latency(latency, kernel, stride), windows.amin(dim=(4, 5)))


def test_pooling_without_a_stride_and_windows_that_do_not_fit():
    latency = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5)
    assert pool_latency(latency, 2).tolist() == [[[[0, 2], [10, 12]]]]
    for kernel, stride in ((6, 1), (0, 1), (2, 0)):
        with pytest.raises(LeukoscopeError, match=f"kernel {kernel} and stride {stride} do not fit"):
            pool_latency(latency, kernel, stride)


def test_stages_in_a_row_keep_never_as_never():
    """Threshold, inhibition, coding, one winner, pooling: what the threshold silenced stays silent."""
    responses = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    responses[1] = 0.1
    strong = threshold(responses, 0.2)
    latency = pointwise_inhibition(first_spike(lateral_inhibition(strong, [0.15, 0.05]), 15), 15)
    assert (latency[strong == 0] == 15).all()
    assert (pool_latency(latency, 2)[1] == 15).all()
    assert (pool_latency(latency, 8)[0] == 0).any()
