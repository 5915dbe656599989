"""The camera: what it gathers, its noise to the second moment, its limits, and gradients through all of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leukoscope.optics import Camera, draws_of, image_numbers, pool, record


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_large_pixels_are_means_and_what_fills_none_is_cut_off():
    images = torch.arange(2 * 7 * 9, dtype=torch.float64).view(2, 1, 7, 9)
    result = pool(images, 3)
    assert result.shape == (2, 1, 2, 3)
    expected = images[:, :, :6, :9].numpy().reshape(2, 1, 2, 3, 3, 3).mean((3, 5))
    np.testing.assert_allclose(result.numpy(), expected)
    assert pool(images, 1) is images


@pytest.mark.parametrize(("signal", "photons", "read_noise"),
                         [(0.8, 1000.0, 0.0), (0.25, 400.0, 12.0), (1.0, 50.0, 3.0)])
def test_noise_has_the_mean_and_variance_of_photons_and_of_reading(signal, photons, read_noise):
    count = 200_000
    result = record(torch.full((count, 1, 1, 1), signal, dtype=torch.float64), Camera(photons, read_noise),
                   draws(count, 2, 1, 1)) * photons
    variance = signal * photons + read_noise**2
    assert float(result.mean()) == pytest.approx(signal * photons, abs=5 * (variance / count) ** 0.5)
    assert float(result.var()) == pytest.approx(variance, rel=0.02)


def test_without_photons_nothing_is_random_and_with_them_draws_are_needed():
    signal = torch.rand(2, 1, 4, 4)
    assert torch.equal(record(signal, Camera()), signal)
    with pytest.raises(ValueError, match="two standard normal numbers per pixel"):
        record(signal, Camera(photons=10.0))


def test_full_wells_and_converters():
    signal = torch.tensor([0.0, 0.2, 0.49, 0.51, 2.0]).view(1, 1, 1, 5)
    assert record(signal, Camera(bit_depth=1)).flatten().tolist() == [0, 0, 0, 1, 1]
    still = torch.zeros(1, 2, 1, 5)
    held = record(signal, Camera(photons=100.0, full_well=50.0), still)
    assert held.flatten().tolist() == pytest.approx([0, 0.2, 0.49, 0.5, 0.5])
    two_bits = record(signal, Camera(photons=100.0, full_well=150.0, bit_depth=2), still)
    step = (1.5 + 0.05) / 3  # from five electrons below darkness
    assert two_bits.flatten().tolist() == pytest.approx([-0.05, -0.05, -0.05 + step, -0.05 + step, 1.5])
    assert len(torch.unique(record(torch.linspace(0, 1, 5000).view(1, 1, 50, 100), Camera(bit_depth=8)))) == 256


@pytest.mark.parametrize("signal", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("photons", [10.0, 100.0])
def test_a_converter_leaves_room_for_the_noise_of_dark_and_white(signal, photons):
    camera = Camera(photons, 2.0, bit_depth=12)
    plain, count = Camera(photons, 2.0), 100_000
    bright = torch.full((count, 1, 1, 1), signal, dtype=torch.float64)
    noise = draws(count, 2, 1, 1)
    read, exact = record(bright, camera, noise), record(bright, plain, noise)
    assert float(read.mean()) == pytest.approx(float(exact.mean()), abs=1e-3)
    assert float(read.std()) == pytest.approx(float(exact.std()), rel=5e-3)
    assert float(read.min()) >= camera.bottom
    assert float(read.max()) <= camera.top


@pytest.mark.parametrize("electrons", [0.0, 1.0, 2.0])
def test_a_dim_pixel_reads_true_without_reading_noise_and_darkness_is_dark(electrons):
    bright, noise = torch.full((100_000, 1, 1, 1), electrons / 10, dtype=torch.float64), draws(100_000, 2, 1, 1)
    read = record(bright, Camera(10.0, bit_depth=12), noise) * 10
    assert float(read.mean()) == pytest.approx(electrons, abs=0.02)
    assert float(read.std()) == pytest.approx(electrons**0.5, abs=0.05)


def test_a_full_pixel_still_shows_the_noise_of_reading():
    read = record(torch.full((50_000, 1, 1, 1), 5.0, dtype=torch.float64), Camera(100.0, 20.0, 50.0, 12),
                  draws(50_000, 2, 1, 1)) * 100
    assert float(read.mean()) == pytest.approx(50, abs=0.5)
    assert float(read.std()) == pytest.approx(20, rel=0.02)


def test_gradients_pass_noise_and_rounding():
    signal = (0.1 + 0.8 * torch.rand(2, 1, 3, 3, dtype=torch.float64)).requires_grad_()
    noise = draws(2, 2, 3, 3)
    assert torch.autograd.gradcheck(lambda s: record(s, Camera(300.0, 2.0, 900.0), noise), (signal,))
    record(signal, Camera(bit_depth=4)).sum().backward()
    assert signal.grad is not None
    assert torch.equal(signal.grad, torch.ones_like(signal))  # straight through
    dark = torch.zeros(1, 1, 1, 1, requires_grad=True)
    record(dark, Camera(100.0, 1.0), -torch.ones(1, 2, 1, 1)).sum().backward()
    assert dark.grad is not None
    assert torch.isfinite(dark.grad).all()


def test_each_image_has_noise_of_its_own_whatever_stands_beside_it():
    levels = torch.randint(0, 256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(1))
    images = levels / 255
    numbers = image_numbers(images)
    assert len(set(numbers.tolist())) == 6
    assert torch.equal(image_numbers(images[3:4]), numbers[3:4])
    assert torch.equal(image_numbers((levels / 255.0).double()), numbers)
    noise = draws_of(numbers, 5, 7)
    assert noise.shape == (6, 2, 5, 7)
    assert torch.equal(draws_of(numbers[3:4], 5, 7), noise[3:4])
    whole = draws_of(numbers, 200, 200)
    assert float(whole.mean()) == pytest.approx(0, abs=0.01)
    assert float(whole.var()) == pytest.approx(1, abs=0.01)
    assert abs(float((whole[0] * whole[1]).mean())) < 0.02
