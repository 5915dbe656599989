"""Imaging against physics: analytic solutions, independent transforms, symmetries and conservation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve as scipy_convolve
from scipy.signal import fftconvolve
from scipy.special import j1

from leukoscope.optics import (
    ABERRATIONS,
    aperture,
    convolve,
    free_psf,
    grid,
    illuminate,
    image_pupil,
    incoherent_psf,
    linear_light,
    otf,
    pupil_throughput,
    window_share,
    zernike,
)

NA, GREEN, PIXEL = 0.95, 0.525, 0.1


def open_pupil(samples: int) -> torch.Tensor:
    return torch.from_numpy(aperture(samples))


def psf_of(amplitude: torch.Tensor, path: torch.Tensor | None = None, *, window: int = 63, wavelength: float = GREEN,
           pixel: float = PIXEL) -> torch.Tensor:
    return incoherent_psf(image_pupil(amplitude, path, wavelength), numerical_aperture=NA, wavelength=wavelength,
                          pixel=pixel, window=window)


def random_psf(window: int, seed: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, window, window, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_images(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_grid_has_its_middle_at_zero_and_no_other_convention():
    assert grid(5, 0.5).tolist() == [-1, -0.5, 0, 0.5, 1]
    for even in (0, 4):
        with pytest.raises(ValueError, match="odd"):
            grid(even)


@pytest.mark.parametrize("radius", [1.0, 0.5, 0.31])
def test_the_aperture_has_the_area_of_a_disc(radius):
    for samples in (31, 63, 129):
        assert aperture(samples, radius).sum() * (2 / samples) ** 2 == pytest.approx(math.pi * radius**2, rel=2e-3)
    assert aperture(63)[31, 31] == 1
    assert aperture(63)[0, 0] == 0


def test_the_psf_of_an_open_pupil_is_the_airy_pattern():
    psf = psf_of(open_pupil(129), window=41).numpy()
    x = grid(41, PIXEL)
    v = 2 * np.pi * NA / GREEN * np.hypot(x[:, None], x)
    airy = (2 * np.divide(j1(v), v, out=np.full_like(v, 0.5), where=v > 0)) ** 2
    np.testing.assert_allclose(psf / psf.max(), airy, atol=2e-4)


def test_the_first_dark_ring_lies_at_061_wavelengths_over_na():
    fine = psf_of(open_pupil(129), window=201, pixel=0.005)[100].numpy()
    dark = np.flatnonzero(np.diff(np.sign(np.diff(fine[100:]))) > 0)[0] + 1
    assert dark * 0.005 == pytest.approx(0.61 * GREEN / NA, abs=0.005)


@pytest.mark.parametrize("wavelength", [0.46, 0.525, 0.625])
def test_the_otf_of_an_open_pupil_is_the_closed_form_and_ends_at_2_na_over_wavelength(wavelength):
    window = 501
    result = otf(psf_of(open_pupil(255), window=window, wavelength=wavelength, pixel=0.05)).numpy()
    frequency = grid(window, 1 / (window * 0.05))
    share = np.minimum(np.hypot(frequency[:, None], frequency) / (2 * NA / wavelength), 1)
    exact = 2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share**2))
    np.testing.assert_allclose(np.real(result), exact, atol=0.012)  # of the light, 1 % falls outside a window of 25 um
    assert abs(np.imag(result)).max() < 1e-12
    assert abs(result[share >= 1]).max() < 2e-3
    assert result[window // 2, window // 2] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("path", [None, "defocus", "astigmatism"])
def test_the_otf_by_fft_is_the_autocorrelation_of_the_pupil(path):
    samples = 21
    window = 2 * samples + 1
    amplitude = open_pupil(samples) * (0.5 + torch.rand(samples, samples, dtype=torch.float64,
                                                        generator=torch.Generator().manual_seed(3)))
    wave = None if path is None else 0.1 * torch.from_numpy(zernike(path, samples))
    pupil = image_pupil(amplitude, wave, GREEN)
    # With this pixel a step of the pupil's grid is one step of the window's transform.
    pixel = samples * GREEN / (2 * NA * window)
    psf = incoherent_psf(pupil, numerical_aperture=NA, wavelength=GREEN, pixel=pixel, window=window)
    p = pupil.numpy()
    overlap = fftconvolve(p, p[::-1, ::-1].conj())
    expected = np.pad(overlap, 1) / overlap[samples - 1, samples - 1]
    np.testing.assert_allclose(otf(psf).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("name", ABERRATIONS)
def test_zernike_polynomials_have_mean_square_one_and_are_orthogonal(name):
    inside = aperture(255)
    mean = {other: (inside * zernike(name, 255) * zernike(other, 255)).sum() / inside.sum() for other in ABERRATIONS}
    for other, value in mean.items():
        assert value == pytest.approx(1.0 if other == name else 0.0, abs=2e-2)
    assert (inside * zernike(name, 255)).sum() / inside.sum() == pytest.approx(0, abs=5e-3)


def test_an_unknown_aberration_is_refused():
    with pytest.raises(ValueError, match="defocus, spherical, astigmatism"):
        zernike("coma", 15)


@pytest.mark.parametrize("name", ABERRATIONS)
def test_a_small_aberration_lowers_the_peak_as_marechal_says(name):
    path = 0.02 * torch.from_numpy(zernike(name, 129))
    ratio = (psf_of(open_pupil(129), path, window=401, pixel=0.05)[200, 200]
             / psf_of(open_pupil(129), window=401, pixel=0.05)[200, 200])
    assert float(ratio) == pytest.approx(math.exp(-((2 * math.pi * 0.02 / GREEN) ** 2)), abs=4e-3)


def test_the_cut_off_scales_with_the_wavelength():
    red = psf_of(open_pupil(63), wavelength=0.6, pixel=0.12, window=51)
    blue = psf_of(open_pupil(63), wavelength=0.4, pixel=0.08, window=51)
    torch.testing.assert_close(red, blue, rtol=0, atol=1e-12)


def test_a_free_transfer_function_is_exactly_what_was_set_and_zero_outside():
    weights = open_pupil(31) * random_psf(31, 5)[0]
    kernel = free_psf(weights, cutoff=1 / (2 * PIXEL), pixel=PIXEL, window=31)
    result = otf(kernel)
    even = (weights + weights.flip(0, 1)) / 2
    torch.testing.assert_close(result, torch.complex(even, torch.zeros_like(even)), rtol=0, atol=1e-10)
    assert float(result.abs()[aperture(31) == 0].max()) < 1e-10


@given(st.integers(0, 2**31), st.sampled_from([3, 9, 15]), st.integers(9, 30), st.integers(9, 30))
@settings(deadline=None, max_examples=25)
def test_convolution_is_that_of_an_independent_library(seed, window, height, width):
    images, kernels = random_images(seed, 2, 3, height, width), random_psf(window, seed + 1, 3)
    weights = random_images(seed + 2, 3)
    expected = sum(w * np.stack([scipy_convolve(image[c], kernels[c], mode="mirror") for image in images.numpy()])
                   for c, w in enumerate(weights.tolist()))
    np.testing.assert_allclose(convolve(images, kernels, weights)[:, 0].numpy(), expected, atol=1e-10)


def test_the_order_of_blur_and_sum_does_not_matter_for_one_wavelength():
    images, weights = random_images(1, 2, 3, 40, 40), torch.tensor([0.2, 0.5, 0.9]).double()
    kernel = psf_of(open_pupil(31), window=15)[None]
    summed_first = convolve(illuminate(images, weights), kernel, torch.ones(1).double())
    torch.testing.assert_close(convolve(images, kernel, weights), summed_first, rtol=0, atol=1e-12)
    torch.testing.assert_close(convolve(images, kernel.expand(3, -1, -1), weights), summed_first, rtol=0, atol=1e-12)


def test_energy_is_kept():
    spot = torch.zeros(1, 1, 101, 101, dtype=torch.float64)
    spot[0, 0, 40:50, 55] = 3.0
    blurred = convolve(spot, psf_of(open_pupil(63), window=51)[None], torch.ones(1).double())
    assert float(blurred.sum()) == pytest.approx(30.0, rel=1e-12)
    flat = torch.full((1, 3, 64, 64), 0.7, dtype=torch.float64)
    kernels = torch.stack([psf_of(open_pupil(63), wavelength=w) for w in (0.625, 0.525, 0.46)])
    lamps = torch.full((3,), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(convolve(flat, kernels, lamps), flat[:, :1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("move", [(3, 0), (0, -4), (2, 5)])
def test_a_shift_of_the_input_shifts_the_output(move):
    field = torch.zeros(1, 1, 90, 90, dtype=torch.float64)
    field[..., 30:60, 30:60] = random_images(2, 30, 30)
    kernel, unit = psf_of(open_pupil(31), window=31)[None], torch.ones(1).double()
    torch.testing.assert_close(convolve(field.roll(move, (2, 3)), kernel, unit),
                               convolve(field, kernel, unit).roll(move, (2, 3)), rtol=0, atol=1e-12)


def test_nothing_comes_round_from_the_opposite_edge():
    spot = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    spot[0, 0, 32, 0] = 1.0
    blurred = convolve(spot, random_psf(63, 4), torch.ones(1).double())
    assert float(blurred[..., 32:].abs().max()) < 1e-12
    assert float(blurred[..., :32].abs().min()) > 0


def test_the_light_in_a_window_is_that_of_a_wider_one():
    pupil = image_pupil(open_pupil(63), None, GREEN)
    shares = {window: window_share(pupil, numerical_aperture=NA, wavelength=GREEN, pixel=PIXEL, window=window).item()
              for window in (15, 63, 173)}
    assert shares[173] == pytest.approx(1, abs=2e-3)  # a whole period of the grid: 174.1 px
    wide = psf_of(open_pupil(63), window=173)
    for window, share in shares.items():
        reach = window // 2
        assert share == pytest.approx(wide[86 - reach:87 + reach, 86 - reach:87 + reach].sum().item(), abs=2e-3)


def test_defocus_of_either_sign_looks_the_same_through_an_even_pupil():
    path = 0.2 * torch.from_numpy(zernike("defocus", 63))
    torch.testing.assert_close(psf_of(open_pupil(63), path), psf_of(open_pupil(63), -path), rtol=0, atol=1e-12)


def test_light_through_a_mask():
    whole = open_pupil(63)
    assert float(pupil_throughput(whole, whole)) == pytest.approx(1)
    assert float(pupil_throughput(7 * whole, whole)) == pytest.approx(1)  # a mask does not amplify
    half = torch.from_numpy(aperture(255, math.sqrt(0.5)))
    assert float(pupil_throughput(half, open_pupil(255))) == pytest.approx(0.5, rel=5e-3)


def test_srgb_values_become_light():
    values = torch.tensor([0.0, 0.04045, 0.5, 1.0], dtype=torch.float64)
    assert linear_light(values).tolist() == pytest.approx([0, 0.0031308, 0.2140411, 1], abs=1e-6)


@pytest.mark.parametrize(("weights", "images", "words"), [
    ([0.5, -0.1, 0.2], (1, 3, 8, 8), "numbers of at least 0"),
    ([0.0, 0.0, 0.0], (1, 3, 8, 8), "not all zero"),
    ([math.nan, 1.0, 1.0], (1, 3, 8, 8), "numbers of at least 0"),
    ([0.5, 0.5, 0.5], (1, 1, 8, 8), r"expected \(cells, 3, height, width\)"),
    ([0.5, 0.5, 0.5], (1, 2, 8, 8), "one channel per lamp"),
])
def test_lamps_that_make_no_light_and_missing_channels_are_refused(weights, images, words):
    with pytest.raises(ValueError, match=words):
        illuminate(torch.ones(images), torch.tensor(weights))
    if images[1] != 3:
        with pytest.raises(ValueError, match=words):
            convolve(torch.ones(images), torch.ones(3, 3, 3), torch.tensor(weights))


def test_an_image_smaller_than_half_the_psf_is_refused():
    with pytest.raises(ValueError, match="half a PSF of 63 px must be smaller"):
        convolve(torch.ones(1, 1, 31, 40), torch.ones(1, 63, 63), torch.ones(1))
    with pytest.raises(ValueError, match="kernels: expected 1 or 3, got 2"):
        convolve(torch.ones(1, 3, 40, 40), torch.ones(2, 3, 3), torch.ones(3))


def test_gradients_are_right():
    images, weights = random_images(1, 1, 3, 12, 12), random_images(2, 3).requires_grad_()
    kernels = random_psf(5, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda k, w: convolve(images, k, w), (kernels, weights))
    amplitude, path = random_images(4, 7, 7).requires_grad_(), (0.1 * random_images(5, 7, 7)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, p: psf_of(a, p, window=5), (amplitude, path))
    assert torch.autograd.gradcheck(lambda a: free_psf(a, cutoff=5.0, pixel=0.1, window=7), (amplitude,))
    assert torch.autograd.gradcheck(lambda a: pupil_throughput(a, open_pupil(7)), (amplitude,))
    assert torch.autograd.gradcheck(linear_light, ((0.05 + 0.9 * random_images(6, 3, 4)).requires_grad_(),))
