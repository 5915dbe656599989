"""Optics of a microscope whose illumination, pupil and sensor can be learned (dimuro2020; Goodman, Fourier Optics).

Pure functions of arrays; lengths in micrometres, spatial frequencies in cycles per micrometre. Under incoherent light
imaging is linear in intensity: an image is a sum over colour channels, each weighted by its lamp and convolved with its
point spread function (PSF). Knows nothing of networks, recipes or files; `microscope.py` holds the parameters.

Every grid, of the pupil, of a PSF and of its Fourier transform, has an odd number of samples with the middle one at 0.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Complex, Float, Float64
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

ABERRATIONS = ("defocus", "spherical", "astigmatism")
"""Names of the Zernike polynomials of `zernike`."""
_FINER = 16
"""Points along each side of a pupil's sample by which its share inside the aperture is counted."""


def grid(samples: int, spacing: float = 1.0) -> Float64[np.ndarray, " samples"]:
    """Coordinates of an odd number of samples, `spacing` apart, the middle one at 0. ValueError for an even number."""
    if samples < 1 or samples % 2 == 0:
        raise ValueError(f"samples: expected an odd number, got {samples}")
    return (np.arange(samples) - samples // 2) * spacing


def aperture(samples: int, radius: float = 1.0) -> Float64[np.ndarray, "samples samples"]:
    """A disc on the pupil's grid: the share of each sample's square that lies inside `radius`, in units of the
    aperture's radius.

    The grid divides [-1, 1] into `samples` squares; so `aperture(n).sum() * (2 / n) ** 2` is the disc's area.
    """
    fine = (np.arange(samples * _FINER) + 0.5) * (2 / (samples * _FINER)) - 1
    inside = fine[:, None] ** 2 + fine**2 <= radius**2
    return inside.reshape(samples, _FINER, samples, _FINER).mean((1, 3))


def zernike(name: str, samples: int) -> Float64[np.ndarray, "samples samples"]:
    """A Zernike polynomial on the pupil's grid, 0 outside the aperture, of mean square 1 over it (Noll 1976).

    "defocus" Z4, "spherical" (primary) Z11, "astigmatism" (along the axes) Z6. ValueError for another name.
    """
    along = grid(samples, 2 / samples)
    across, radius2 = along[:, None], along[:, None] ** 2 + along**2
    if name not in ABERRATIONS:
        raise ValueError(f"zernike: expected one of {', '.join(ABERRATIONS)}, got {name!r}")
    values = {"defocus": math.sqrt(3) * (2 * radius2 - 1),
              "spherical": math.sqrt(5) * (6 * radius2**2 - 6 * radius2 + 1),
              "astigmatism": math.sqrt(6) * (along**2 - across**2)}[name]
    return np.where(aperture(samples) > 0, values, 0.0)


def linear_light(images: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """sRGB values in [0, 1] to light, in [0, 1] (IEC 61966-2-1)."""
    return torch.where(images <= 0.04045, images / 12.92, ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def illuminate(images: Float[Tensor, "b c h w"], weights: Float[Tensor, " lamps"]) -> Float[Tensor, "b 1 h w"]:
    """The monochrome image under lamps of these weights: the weighted sum of the channels.

    ValueError for another number of channels, or weights that are negative, all zero or not finite.
    """
    if not bool((torch.isfinite(weights) & (weights >= 0)).all()) or not bool((weights > 0).any()):
        raise ValueError(f"weights of the illumination: expected finite numbers of at least 0, not all zero, got "
                         f"{', '.join(f'{w:g}' for w in weights.tolist())}")
    return _weighted(images, weights)


def image_pupil(amplitude: Float[Tensor, "n n"], path: Float[Tensor, "n n"] | None,
                wavelength: float) -> Complex[Tensor, "n n"]:
    """The complex pupil: its amplitude, and the phase of an optical path difference in micrometres (None: 0)."""
    if path is None:
        return torch.complex(amplitude, torch.zeros_like(amplitude))
    return torch.polar(amplitude, path * (2 * math.pi / wavelength))


def incoherent_psf(pupil: Complex[Tensor, "n n"], *, numerical_aperture: float, wavelength: float, pixel: float,
                   window: int) -> Float[Tensor, "window window"]:
    """PSF = |FT(pupil)|^2, sampled at `pixel` micrometres, `window` px a side, of sum 1 (so its OTF is 1 at 0).

    The pupil has radius NA / wavelength in spatial frequency, so the OTF ends at 2 NA / wavelength. The PSF repeats
    every n wavelength / (2 NA), because the pupil is sampled; choose n so that the window is not larger. Goodman,
    equations 6-36 and 6-41.
    """
    spread = _spread(pupil, numerical_aperture / wavelength * pixel, window)
    return spread / spread.sum()


def window_share(pupil: Complex[Tensor, "n n"], *, numerical_aperture: float, wavelength: float, pixel: float,
                 window: int) -> Float[Tensor, ""]:
    """The share of the light behind the pupil that falls into the PSF's window, in (0, 1], by Parseval's theorem."""
    step = numerical_aperture / wavelength * pixel
    whole = (pupil.real**2 + pupil.imag**2).sum()
    return _spread(pupil, step, window).sum() * (2 * step / len(pupil)) ** 2 / whole


def _spread(pupil: Tensor, step: float, window: int) -> Tensor:
    """(window, window) |FT(pupil)|^2; `step` is cut-off times pixel."""
    field = _transformed(pupil, step, window)
    return field.real**2 + field.imag**2


def free_psf(weights: Float[Tensor, "n n"], *, cutoff: float, pixel: float,
             window: int) -> Float[Tensor, "window window"]:
    """The kernel of a transfer function that is set freely (dimuro2020): `weights` on a disc of radius `cutoff` in
    cycles per micrometre, 0 outside. The image is real, so each weight is averaged with the one opposite the centre.
    Where cutoff = 1 / (2 pixel) and window = n, the kernel's discrete transform is exactly the weights."""
    whole = torch.complex(weights, torch.zeros_like(weights))
    return _transformed(whole, cutoff * pixel, window).real * (2 * cutoff * pixel / len(weights)) ** 2


def otf(psf: Float[Tensor, "window window"], samples: int | None = None) -> Complex[Tensor, "samples samples"]:
    """The optical transfer function: the PSF's Fourier transform, frequency 0 in the middle, spaced by
    1 / (samples pixel). `samples`: odd, at least as many as the PSF's; None: as many."""
    samples = samples or len(psf)
    reach = (samples - len(psf)) // 2
    padded = functional.pad(psf, (reach, reach, reach, reach))
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(padded)))


def pupil_throughput(amplitude: Float[Tensor, "n n"], open_pupil: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """The share of the light that a mask lets through, in (0, 1]: a mask cannot amplify, so its clearest point counts
    as open."""
    return (amplitude**2).sum() / (amplitude.amax() ** 2 * (open_pupil**2).sum())


def convolve(images: Float[Tensor, "b c h w"], kernels: Float[Tensor, "k window window"],
             weights: Float[Tensor, " lamps"]) -> Float[Tensor, "b 1 h w"]:
    """Each channel convolved with its kernel, and their weighted sum; one kernel serves all channels.

    The images are mirrored outwards by half a window, and the transform is long enough that nothing wraps round from
    the opposite edge: it is a linear convolution. With one kernel the channels are summed first, which is the same.
    Weights are not checked, so that NaN in training is reported as such.
    ValueError where half a window is not smaller than the image, or the number of channels does not match.
    """
    images = _channels(images, len(weights))
    if len(kernels) == 1:
        images, weights = _weighted(images, weights), weights.new_ones(1)
    if len(kernels) != len(weights):
        raise ValueError(f"kernels: expected 1 or {len(weights)}, got {len(kernels)}")
    reach = kernels.shape[-1] // 2
    height, width = images.shape[-2:]
    if reach >= min(height, width):
        raise ValueError(f"images of {width} x {height} px: half a PSF of {kernels.shape[-1]} px must be smaller")
    padded = functional.pad(images, (reach, reach, reach, reach), mode="reflect")
    sides = [next_fast_len(side + 2 * reach, real=True) for side in (height, width)]
    spectra = torch.fft.rfft2(padded, s=sides)
    transfer = torch.fft.rfft2(weights[:, None, None] * kernels, s=sides)
    whole = torch.fft.irfft2((spectra * transfer).sum(1, keepdim=True), s=sides)
    return whole[..., 2 * reach:2 * reach + height, 2 * reach:2 * reach + width]


def _transformed(pupil: Tensor, step: float, window: int) -> Tensor:
    """(window, window) FT(pupil)."""
    basis = torch.from_numpy(_basis(len(pupil), window, step)).to(pupil.device, pupil.dtype)
    return basis @ pupil @ basis.T


def _weighted(images: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", _channels(images, len(weights)), weights)[:, None]


def _channels(images: Tensor, expected: int) -> Tensor:
    if images.ndim != 4 or images.shape[1] != expected:
        raise ValueError(f"images: expected (cells, {expected}, height, width), one channel per lamp, got "
                         f"{tuple(images.shape)}")
    return images


@lru_cache(maxsize=64)
def _basis(samples: int, window: int, step: float) -> np.ndarray:
    """(window, samples) Fourier matrix from the pupil's grid to pixels; `step` is cut-off times pixel."""
    return np.exp(2j * np.pi * step * np.outer(grid(window), grid(samples, 2 / samples)))
