"""Filter banks, edge responses, grey levels, the fused way from levels to steps, and export to ONNX."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import correlate

from leukoscope.errors import LeukoscopeError
from leukoscope.spikes import (
    FLOOR,
    dog_bank,
    edge_responses,
    first_spike,
    first_spike_image,
    first_spike_levels,
    gabor_bank,
    grey_levels,
)
from leukoscope.spikes.coding import _responses_torch as responses_torch


def levels(count: int = 3, height: int = 24, width: int = 31, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


def grey(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(255))


def gabor_by_formula(window: int, theta: float, wavelength: float, sigma: float, gamma: float) -> np.ndarray:
    """One weight after the other, as the paper's equation 1 reads; then zero mean and peak 1."""
    out = np.empty((window, window))
    for row in range(window):
        for column in range(window):
            x, y = column - (window - 1) / 2, row - (window - 1) / 2
            along, across = x * np.cos(theta) + y * np.sin(theta), -x * np.sin(theta) + y * np.cos(theta)
            out[row, column] = np.exp(-(along**2 + gamma**2 * across**2) / (2 * sigma**2)) * np.cos(
                2 * np.pi * along / wavelength)
    out -= out.mean()
    return out / np.abs(out).max()


@pytest.mark.parametrize("window", [4, 5, 7])
def test_gabor_is_the_papers_formula_at_the_papers_angles(window):
    bank = gabor_bank(window)
    assert bank.dtype == torch.float32
    for number in range(4):
        expected = gabor_by_formula(window, number * np.pi / 4 + np.pi / 8, 2.5, 2.0, 0.5)
        np.testing.assert_allclose(bank[number].numpy(), expected, atol=2 / 4096)


def test_a_quarter_turn_takes_a_filter_to_the_next_but_one():
    bank = gabor_bank()
    for number in range(4):
        assert torch.equal(torch.rot90(bank[number], -1), bank[(number + 2) % 4])


@settings(deadline=None)
@given(st.integers(3, 33), st.floats(2.2, 20), st.floats(0.7, 15), st.floats(0.1, 2), st.integers(1, 9))
def test_every_filter_has_zero_sum_and_peak_one(window, wavelength, sigma, gamma, orientations):
    bank = gabor_bank(window, wavelength, sigma, gamma, orientations)
    assert bank.shape == (orientations, window, window)
    assert (bank.double().sum(dim=(1, 2)) == 0).all()
    assert (bank.abs().amax(dim=(1, 2)) == 1).all()
    assert torch.equal(bank, bank.flip(1, 2))


def test_differences_of_gaussians():
    on, off = dog_bank(7, 1.0, 2.0)
    assert torch.equal(on, -off)
    assert on.double().sum() == 0
    assert on[3, 3] == 1 == on.max()
    x = np.arange(7) - 3
    squares = x[:, None] ** 2 + x**2
    expected = np.exp(-squares / 2) - np.exp(-squares / 8) / 4
    expected -= expected.mean()
    np.testing.assert_allclose(on.numpy(), expected / expected.max(), atol=2 / 4096)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: gabor_bank(1), "window: expected 2 to 99 px, got 1"),
    (lambda: gabor_bank(100), "window: expected 2 to 99 px, got 100"),
    (lambda: gabor_bank(wavelength=0.0), "wavelength: expected a number above 0, got 0"),
    (lambda: gabor_bank(sigma=-1.0), "sigma: expected a number above 0, got -1"),
    (lambda: gabor_bank(gamma=float("nan")), "gamma: expected a number above 0, got nan"),
    (lambda: gabor_bank(orientations=0), "orientations: expected 1 or more, got 0"),
    (lambda: gabor_bank(3, wavelength=1e9, sigma=1e9), "a filter of the bank is flat"),
    (lambda: gabor_bank(2, orientations=1), "a filter of the bank is flat"),
    (lambda: gabor_bank(4, wavelength=2.0, orientations=1), "a filter of the bank is flat"),
    (lambda: dog_bank(5, 2.0, 1.0), "sigma_centre 2 is not below sigma_surround 1"),
    (lambda: dog_bank(5, 0.0, 1.0), "sigma_centre: expected a number above 0"),
])
def test_bad_banks_are_refused(call, said):
    with pytest.raises(LeukoscopeError, match=said):
        call()


@pytest.mark.parametrize("bank", [
    gabor_bank(), gabor_bank(4), gabor_bank(2), gabor_bank(11, 5.0, 4.0), dog_bank(7, 1.0, 2.0),
], ids=["5", "4", "2", "11", "difference"])
def test_responses_are_the_correlation_with_repeated_borders(bank):
    """scipy in float64; an even window there reaches further up and left, so that its origin has to be moved."""
    pixels, shift = levels(), bank.shape[1] % 2 - 1
    for absolute in (True, False):
        got = edge_responses(grey(pixels), bank, absolute=absolute)
        assert got.shape == (3, len(bank), 24, 31)
        for image, maps in zip(pixels, got, strict=True):
            for weights, one in zip(bank.double().numpy(), maps, strict=True):
                exact = correlate(image / 255, weights, mode="nearest", origin=shift)
                exact = np.abs(exact) if absolute else np.maximum(exact, 0)
                np.testing.assert_allclose(one.numpy(), exact, rtol=1e-6, atol=FLOOR)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(2, 11))
def test_kernel_and_torch_give_the_same_bits(seed, height, width, window):
    image, bank = grey(levels(2, height, width, seed)), gabor_bank(window)
    for absolute in (True, False):
        assert torch.equal(edge_responses(image, bank, absolute=absolute), responses_torch(image, bank, absolute))


@settings(deadline=None)
@given(st.floats(0, 1, width=32), st.integers(2, 9))
def test_a_flat_image_never_fires(value, window):
    flat = torch.full((2, 12, 13), value)
    assert (edge_responses(flat, gabor_bank(window)) == 0).all()
    assert (first_spike(edge_responses(flat, gabor_bank(window)), 15) == 15).all()


def test_one_grey_step_is_far_above_the_floor():
    step = np.full((1, 16, 16), 100, np.uint8)
    step[:, :, 8:] = 101
    for pixels in (step, step.transpose(0, 2, 1)):
        strongest = edge_responses(grey(pixels), gabor_bank()).amax(dim=(0, 2, 3))
        assert (strongest > 40 * FLOOR).all()


def test_negation_leaves_levels_exactly_and_other_greys_within_rounding():
    pixels, bank = levels(), gabor_bank()
    positive = edge_responses(grey(pixels), bank)
    assert torch.equal(edge_responses(grey(255 - pixels), bank), positive)
    np.testing.assert_array_equal(first_spike_levels(255 - pixels, bank), first_spike_levels(pixels, bank))
    fine = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(edge_responses(1 - fine, bank), edge_responses(fine, bank), atol=2e-6 + FLOOR)


def test_an_edge_answers_to_its_own_angle():
    """A ramp of the filters' wavelength along theta_l excites map l most."""
    y, x = np.mgrid[:40, :40]
    for number in range(4):
        theta = number * np.pi / 4 + np.pi / 8
        stripes = 0.5 + 0.5 * np.cos(2 * np.pi * (x * np.cos(theta) + y * np.sin(theta)) / 2.5)
        means = edge_responses(torch.from_numpy(stripes.astype(np.float32))[None], gabor_bank()).mean(dim=(0, 2, 3))
        assert means.argmax() == number


def test_a_quarter_turn_of_the_image_turns_the_steps():
    pixels, bank = levels(4, 30, 30), gabor_bank()
    turned = first_spike_levels(np.ascontiguousarray(np.rot90(pixels, axes=(1, 2))), bank)
    np.testing.assert_array_equal(turned, np.rot90(first_spike_levels(pixels, bank), axes=(1, 2)))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(2, 7),
       st.sampled_from([1, 4, 15, 254]), st.booleans())
def test_fused_and_unfused_are_the_same(seed, height, width, window, steps, compatible):
    pixels, bank = levels(3, height, width, seed), gabor_bank(window)
    pixels[1] //= 64
    latency = first_spike(edge_responses(grey(pixels), bank), steps, compatible=compatible)
    fused = first_spike_levels(pixels, bank, steps, compatible=compatible)
    np.testing.assert_array_equal(fused, latency.amin(dim=1).numpy())
    bright = (steps - fused.astype(np.float32)) / np.float32(steps)
    np.testing.assert_array_equal(bright, first_spike_image(latency, steps))


def test_fused_with_a_bank_of_ones_own():
    """Weights of any kind: the loops are the same, so the bits are."""
    bank = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    latency = first_spike(edge_responses(grey(levels()), bank), 15)
    np.testing.assert_array_equal(first_spike_levels(levels(), bank), latency.amin(dim=1).numpy())


def test_fused_reads_mapped_files_and_odd_views(tmp_path: Path):
    pixels, bank = levels(9), gabor_bank()
    np.save(tmp_path / "levels.npy", pixels)
    expected = first_spike_levels(pixels, bank)
    np.testing.assert_array_equal(first_spike_levels(np.load(tmp_path / "levels.npy", mmap_mode="r"), bank), expected)
    np.testing.assert_array_equal(first_spike_levels(pixels[::2], bank), expected[::2])
    mirrored = first_spike_levels(pixels[:, :, ::-1], bank)
    np.testing.assert_array_equal(mirrored, first_spike_levels(np.ascontiguousarray(pixels[:, :, ::-1]), bank))
    assert first_spike_levels(pixels[:0], bank).shape == (0, 24, 31)
    assert (first_spike_levels(np.full((2, 9, 9), 77, np.uint8), bank, 15) == 15).all()


def test_grey_levels_are_pillows():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), dtype=np.uint8)
    pixels[0, :2] = [[[0]], [[255]]]
    for grey_level, expected in zip(grey_levels(pixels), pixels, strict=True):
        np.testing.assert_array_equal(grey_level, np.asarray(Image.fromarray(expected).convert("L")))
    every = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(grey_levels(every).ravel(), np.arange(256))
    np.testing.assert_array_equal(grey_levels(pixels[:, ::2, ::-1]), grey_levels(pixels)[:, ::2, ::-1])
    assert grey_levels(pixels[:0]).shape == (0, 40, 50)


@pytest.mark.parametrize("value", [1.01, -0.01, 255.0, float("nan"), float("inf")])
def test_grey_out_of_range_is_refused_by_image(value):
    images = torch.zeros(4, 6, 6)
    images[2, 3, 3] = value
    with pytest.raises(LeukoscopeError, match=r"image 2 of 4 \(from 0\): grey values outside \[0, 1\], or NaN; divide"):
        edge_responses(images, gabor_bank())


def test_banks_that_would_spoil_the_arithmetic_are_refused():
    for value in (float("nan"), float("inf"), 1e30):
        bank = gabor_bank()
        bank[1, 2, 3] = value
        with pytest.raises(ValueError, match="the weights are not numbers, or above a million"):
            edge_responses(grey(levels()), bank)
        with pytest.raises(ValueError, match="the weights are not numbers, or above a million"):
            first_spike_levels(levels(), bank)


def test_empty_batches_have_empty_responses():
    assert edge_responses(torch.zeros(0, 5, 5), gabor_bank()).shape == (0, 4, 5, 5)


class Coding(torch.nn.Module):
    """What a model file holds: grey in, first-spike image out."""

    def __init__(self, steps: int, compatible: bool) -> None:
        super().__init__()
        self.steps, self.compatible = steps, compatible
        self.register_buffer("bank", gabor_bank())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.bank, torch.Tensor)
        latency = first_spike(edge_responses(images, self.bank), self.steps, compatible=self.compatible)
        return first_spike_image(latency, self.steps)


@pytest.mark.parametrize(("dynamo", "steps", "compatible"), [(False, 15, False), (False, 30, True), (True, 15, False)])
def test_onnx_gives_the_same_image(tmp_path: Path, dynamo: bool, steps: int, compatible: bool):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pixels = levels(5, 24, 24)
    pixels[1], pixels[2] = 9, pixels[2] // 32
    pixels[3] = 0
    pixels[3, 4, 4] = 200
    images, model, file = grey(pixels), Coding(steps, compatible).eval(), str(tmp_path / "coding.onnx")
    sizes: dict[str, Any] = {"dynamic_axes": {"images": {0: "batch"}}}
    if dynamo:
        sizes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    with warnings.catch_warnings():  # the exporters' own: one is older, the other uses what torch will leave
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (images[:2],), file, input_names=["images"], dynamo=dynamo, verbose=False, **sizes)
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        (there,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
        np.testing.assert_array_equal(there, model(batch).numpy())
