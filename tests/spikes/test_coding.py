"""First-spike coding: latencies against hand-worked examples, a slow sort in numpy and the published way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leukoscope.errors import LeukoscopeError
from leukoscope.spikes import first_spike, first_spike_image, rank_intensities, spike_wave
from leukoscope.spikes.kernels import LOW_BITS, SORTED
from leukoscope.spikes.ranks import latencies_by_counting, latencies_by_sorting

LARGEST = float(np.finfo(np.float32).max)
VALUES = st.one_of(st.sampled_from([0.0, -0.0, -1.0, 1e-45, 1.0, 1.0000001, 2.0, LARGEST]), st.floats(-1, 8, width=32))
STEPS = st.one_of(st.integers(1, 20), st.sampled_from([100, 254]))


@st.composite
def responses_given(draw) -> torch.Tensor:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)))
    return torch.from_numpy(draw(arrays(np.float32, shape, elements=VALUES)))


WAYS = {
    "kernel": first_spike,
    "counting": lambda responses, steps, *, compatible=False: latencies_by_counting(
        responses.view(torch.int32).flatten(1), steps, compatible).view(responses.shape),
    "sorting": lambda responses, steps, *, compatible=False: latencies_by_sorting(
        responses.flatten(1), steps, compatible).view(responses.shape),
}


@pytest.fixture(params=WAYS)
def code(request):
    return WAYS[request.param]


def image(*values: float) -> torch.Tensor:
    """One image of one row, in one map."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def distinct(*shape: int, seed: int = 0) -> torch.Tensor:
    """Positive responses without ties."""
    rng = np.random.default_rng(seed)
    each = np.stack([rng.permutation(math.prod(shape[1:])) + 1 for _ in range(shape[0])])
    return torch.from_numpy((each / 1000).astype(np.float32).reshape(shape))


def slow_latencies(responses: torch.Tensor, steps: int, compatible: bool) -> np.ndarray:
    """From the definition, one value after the other: how many positive ones are stronger, and where that puts it."""
    out = np.full(responses.shape, steps)
    for number, values in enumerate(responses.numpy()):
        total = int((values > 0).sum())
        for place, value in np.ndenumerate(values):
            if value <= 0:
                continue
            stronger = int((values > value).sum())
            if not compatible:
                out[(number, *place)] = stronger * steps // total
            elif total >= steps:
                out[(number, *place)] = min(stronger // (total // steps), steps)
    return out


def published_wave(responses: torch.Tensor, steps: int) -> np.ndarray:
    """One image's spike wave as the paper's text and the known libraries go about it: sort all, cut into `steps` bins
    of floor(n / steps), and add one bin after the other to a map."""
    flat = responses.flatten()
    taken = int((flat > 0).sum()) // steps
    order = torch.argsort(flat, descending=True)
    fired, wave = torch.zeros(len(flat), dtype=torch.bool), []
    for step in range(steps):
        fired[order[step * taken:(step + 1) * taken]] = True
        wave.append(fired.clone().view(responses.shape))
    return torch.stack(wave).numpy()


def test_by_hand_six_responses_in_three_steps(code):
    latency = code(image(0.1, 0.6, 0.0, 0.3, 0.5, 0.2, 0.4), 3)
    assert latency.flatten().tolist() == [2, 0, 3, 1, 0, 2, 1]


def test_by_hand_a_remainder(code):
    """Ranks 0..6 times 3/7 are 0, 0, 0, 1, 1, 2, 2; the published bins take 2, 2, 2 and leave one silent."""
    seven = image(7, 6, 5, 4, 3, 2, 1)
    assert code(seven, 3).flatten().tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert code(seven, 3, compatible=True).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_by_hand_ties_fire_with_their_first(code):
    tied = image(5, 3, 3, 3, 1, 0)
    assert code(tied, 5).flatten().tolist() == [0, 1, 1, 1, 4, 5]
    assert code(tied, 5, compatible=True).flatten().tolist() == [0, 1, 1, 1, 4, 5]
    assert code(image(2, 2, 2, 2), 4).flatten().tolist() == [0, 0, 0, 0]


def test_by_hand_fewer_responses_than_steps(code):
    few = image(0, 4, 0, 2)
    assert code(few, 15).flatten().tolist() == [15, 0, 15, 7]
    assert code(few, 15, compatible=True).flatten().tolist() == [15, 15, 15, 15]
    assert code(image(0, 9), 254).flatten().tolist() == [254, 0]


def test_zeros_and_negative_responses_never_fire(code):
    for nothing in (torch.zeros(2, 3, 4, 5), torch.full((1, 1, 2, 2), -0.0), -torch.rand(1, 2, 3, 3)):
        assert (code(nothing, 7) == 7).all()
        assert (code(nothing, 7, compatible=True) == 7).all()
    assert code(image(-9, 1e-45, 0, -1), 6).flatten().tolist() == [6, 0, 6, 6]


def test_maps_of_an_image_are_ranked_together(code):
    latency = code(torch.tensor([[[[8.0, 7.0]], [[2.0, 1.0]]]]), 2)
    assert latency.tolist() == [[[[0, 0]], [[1, 1]]]]


@settings(deadline=None)
@given(responses_given(), STEPS, st.booleans())
def test_all_ways_agree_with_the_definition(responses, steps, compatible):
    expected = slow_latencies(responses, steps, compatible)
    for name, way in WAYS.items():
        got = way(responses, steps, compatible=compatible)
        assert got.dtype == torch.uint8
        np.testing.assert_array_equal(got.numpy(), expected, err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_all_ways_agree_at_size_where_values_crowd(seed):
    """Many values in one bucket of the first count: spread over its lower bits, few distinct ones, and both sides."""
    rng = np.random.default_rng(seed)
    count = 3 * SORTED
    crowded = (np.float32(1.5).view(np.int32) + rng.integers(0, 1 << LOW_BITS, count, dtype=np.int32)).view(np.float32)
    few = rng.choice(np.array([0, 1.5, 1.5000001, 1.6, 40], np.float32), count)
    wide = np.exp(rng.normal(0, 20, count)).astype(np.float32)
    each = torch.from_numpy(np.stack([crowded, few, wide, np.where(rng.random(count) < 0.5, crowded, wide)]))
    for steps in (1, 2, 15, 254):
        for compatible in (False, True):
            totals = (each > 0).sum(dim=1)
            ordered = np.sort(each.numpy(), axis=1)
            stronger = np.stack([count - np.searchsorted(row, values, side="right")
                                 for row, values in zip(ordered, each.numpy(), strict=True)])
            share = totals.numpy()[:, None]
            step = np.minimum(stronger // (share // steps), steps) if compatible else stronger * steps // share
            expected = np.where(each.numpy() > 0, step, steps)
            for name, way in WAYS.items():
                got = way(each.view(4, 2, -1, 64), steps, compatible=compatible).view(4, -1)
                np.testing.assert_array_equal(got.numpy(), expected, err_msg=f"{name}, {steps} steps")


@settings(deadline=None)
@given(responses_given(), STEPS, st.booleans())
def test_stronger_is_never_later(responses, steps, compatible):
    for values, latency in zip(responses, first_spike(responses, steps, compatible=compatible), strict=True):
        order = torch.argsort(values.flatten(), descending=True)
        assert (latency.flatten()[order].int().diff() >= 0).all()


@settings(deadline=None)
@given(st.integers(1, 400), STEPS)
def test_populations_are_equal_without_ties(count, steps):
    latency = first_spike(distinct(2, 1, 1, count), steps)
    for each in latency:
        populations = torch.bincount(each.flatten().int(), minlength=steps)[:steps]
        assert populations.max() - populations.min() <= 1
        assert populations.sum() == count


@settings(deadline=None)
@given(st.integers(1, 400), STEPS)
def test_compatible_populations_are_those_of_the_published_code(count, steps):
    latency = first_spike(distinct(1, 2, 1, count), steps, compatible=True)
    populations = torch.bincount(latency.flatten().int(), minlength=steps + 1)
    assert (populations[:steps] == 2 * count // steps).all()
    assert populations[steps] == 2 * count - populations[:steps].sum()


@pytest.mark.parametrize(("shape", "steps"), [((1, 4, 9, 11), 15), ((1, 4, 8, 8), 7), ((1, 1, 5, 5), 15),
                                              ((1, 2, 6, 7), 1)])
def test_compatible_mode_is_the_published_way(shape, steps):
    responses = distinct(*shape)
    responses[0, 0, :2] = 0
    wave = spike_wave(first_spike(responses, steps, compatible=True), steps)
    np.testing.assert_array_equal(wave[0].numpy(), published_wave(responses[0], steps))


def test_where_steps_divide_both_modes_are_one():
    responses = distinct(3, 4, 10, 6)
    assert torch.equal(first_spike(responses, 15), first_spike(responses, 15, compatible=True))


@settings(deadline=None)
@given(responses_given(), STEPS, st.integers(-6, 6))
def test_gain_by_powers_of_two_changes_nothing(responses, steps, power):
    responses = responses.where(responses.abs() < 100, 100.0)
    responses = responses.where(responses.abs() > 1e-30, 0.0)
    assert torch.equal(first_spike(responses * 2.0**power, steps), first_spike(responses, steps))


@given(st.floats(0.01, 100))
def test_any_gain_changes_nothing_where_rounding_makes_no_ties(gain):
    responses = distinct(2, 3, 5, 7)
    assert torch.equal(first_spike(responses * gain, 15), first_spike(responses, 15))


def test_an_image_is_coded_as_if_it_were_alone(code):
    responses = distinct(5, 4, 12, 12)
    responses[1] = 0
    responses[3] *= 1e-6
    together = code(responses, 15)
    for number in range(5):
        assert torch.equal(together[number:number + 1], code(responses[number:number + 1].contiguous(), 15))
    assert torch.equal(together[3], code(responses[3:4] * 1e6, 15)[0])


def test_many_images_in_threads_are_as_few():
    responses = torch.rand(37, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        many = first_spike(responses, 15)
        torch.set_num_threads(1)
        assert torch.equal(many, first_spike(responses, 15))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_ranked_as_it_is(dtype):
    halves = (distinct(2, 4, 9, 9) - 0.05).to(dtype)
    assert torch.equal(first_spike(halves, 15), first_spike(halves.float(), 15))
    assert torch.equal(rank_intensities(halves), rank_intensities(halves.float()))


def test_views_and_gradients():
    responses = distinct(2, 4, 6, 8)
    turned = responses.transpose(2, 3)
    assert not turned.is_contiguous()
    assert torch.equal(first_spike(turned, 15), first_spike(responses, 15).transpose(2, 3))
    assert torch.equal(first_spike(responses.clone().requires_grad_(), 15), first_spike(responses, 15))


def test_empty_batches_and_images():
    assert first_spike(torch.zeros(0, 4, 5, 5), 15).shape == (0, 4, 5, 5)
    assert first_spike(torch.zeros(3, 0, 5, 5), 15).shape == (3, 0, 5, 5)
    assert rank_intensities(torch.zeros(0, 4, 5, 5)).shape == (0, 4, 5, 5)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_by_image(value):
    responses = distinct(9, 2, 4, 4)
    responses[5, 1, 2, 3] = value
    for function in (lambda: first_spike(responses, 15), lambda: rank_intensities(responses),
                     lambda: first_spike(responses.half(), 15)):
        with pytest.raises(LeukoscopeError, match=(
                r"image 5 of 9 \(from 0\): responses that are infinite or NaN; correct")):
            function()


def test_steps_and_types_out_of_range_are_refused():
    for steps in (0, -1, 255):
        with pytest.raises(LeukoscopeError, match=f"steps: expected 1 to 254 time steps, got {steps}"):
            first_spike(distinct(1, 1, 2, 2), steps)
    with pytest.raises(ValueError, match=r"got torch\.float64"):
        first_spike(distinct(1, 1, 2, 2).double(), 15)


def test_the_wave_is_cumulative_and_counts_down_to_the_latency():
    latency = first_spike(distinct(2, 3, 5, 4) - 0.02, 6)
    wave = spike_wave(latency, 6)
    assert wave.shape == (2, 6, 3, 5, 4)
    assert wave.dtype == torch.bool
    assert (wave[:, 1:] >= wave[:, :-1]).all()
    assert torch.equal(6 - wave.sum(dim=1), latency.long())
    assert not wave[:, :, latency[0] == 6][0].any()


def test_the_first_spike_image_by_hand():
    latency = torch.tensor([[[[0, 3, 4]], [[2, 1, 4]]]], dtype=torch.uint8)
    assert first_spike_image(latency, 4).tolist() == [[[1.0, 0.75, 0.0]]]


def test_rank_ordered_intensities_by_hand():
    ranks = rank_intensities(torch.tensor([[[[0.5, 9.0]], [[0.5, -1.0]], [[0.1, 0.0]]]]))
    assert ranks.tolist() == [[[[0.75, 1.0]], [[0.75, 0.0]], [[0.25, 0.0]]]]
    assert rank_intensities(torch.zeros(1, 1, 2, 2)).sum() == 0


@settings(deadline=None)
@given(responses_given(), st.integers(1, 64))
def test_latency_is_the_rank_ordered_intensity_cut_into_steps(responses, steps):
    ranks, total = rank_intensities(responses).double(), (responses > 0).flatten(1).sum(dim=1).view(-1, 1, 1, 1)
    stronger = ((1 - ranks) * total).round().long()
    expected = torch.where(responses > 0, stronger * steps // total.clamp(min=1), steps)
    assert torch.equal(first_spike(responses, steps).long(), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_gpu_agree():
    responses = torch.rand(8, 4, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.1
    for steps, compatible in ((15, False), (15, True), (254, False)):
        there = first_spike(responses.cuda(), steps, compatible=compatible)
        assert there.is_cuda
        assert torch.equal(there.cpu(), first_spike(responses, steps, compatible=compatible))
