"""The microscope in front of a network: the learned parameters of `propagation.py` and `sensor.py`, as one module.

Built from the section `[optics]` of a recipe. Constants (grids, masks) are computed from it, so that a file of weights
holds only what is learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..errors import RecipeError, RunError
from ..networks.units import Units
from ..recipes.sections import Optics
from .propagation import (
    ABERRATIONS,
    aperture,
    convolve,
    free_psf,
    grid,
    image_pupil,
    incoherent_psf,
    linear_light,
    pupil_throughput,
    window_share,
    zernike,
)
from .sensor import Camera, draws_of, image_numbers, pool, record

COLOURS = ("red", "green", "blue")
RINGS = 8
"""Rings of equal width in which `summary` gives the mean amplitude of the pupil."""
_DIM = 0.05
"""Amplitude outside the disc that a pupil starts from: not 0, so that it can be learned."""


class Microscope(nn.Module):
    """Cells (b, 3, h, w) in [0, 1] to what the sensor reads, (b, 1, h // N, w // N): illumination, blur, sensor.

    The weights of lamps and mask are the softplus of the parameters `lamps` and `mask`; `wavefront` holds the
    aberrations in micrometres, root mean square. The recipe says which of them are learned. In training, noise is drawn
    from torch's generator; in evaluation each image has its own noise, always the same.
    """

    def __init__(self, optics: Optics) -> None:
        super().__init__()
        self.optics = optics
        self.camera = Camera(optics.photons, optics.read_noise, optics.full_well, optics.bit_depth)
        self.lamps = nn.Parameter(torch.full((3,), math.log(math.expm1(1 / 3))), "illumination" in optics.learn)
        amplitude = np.ones((optics.grid, optics.grid))
        if optics.start == "disc":
            amplitude = np.maximum(aperture(optics.grid, optics.disc), _DIM)
        mask = torch.tensor(np.log(np.expm1(amplitude)), dtype=torch.float32)
        self.mask = nn.Parameter(mask, "pupil" in optics.learn)
        self.wavefront = nn.Parameter(torch.tensor([getattr(optics, name) for name in ABERRATIONS],
                                                   dtype=torch.float32), "aberration" in optics.learn)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 i j"]:
        with torch.autocast(images.device.type, enabled=False):
            return self.recorded(images.float().contiguous())

    def recorded(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 i j"]:
        """`forward` at the precision of the images."""
        signal = pool(self.blurred(images), self.optics.pool)
        if not self.camera.photons:
            return record(signal, self.camera)
        signal = signal * self.gathered()
        size = (len(signal), 2, *signal.shape[2:])
        draws = torch.randn(size, dtype=signal.dtype, device=signal.device) if self.training else draws_of(
            image_numbers(images), *signal.shape[2:]).to(signal.dtype)
        return record(signal, self.camera, draws)

    def blurred(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """The image that falls on the sensor, before its pixels gather it."""
        light = linear_light(images) if self.optics.light == "srgb" else images
        return convolve(light, self.psf(), self.illumination())

    def illumination(self) -> Float[Tensor, " 3"]:
        """Weights of the red, green and blue lamp."""
        weights = functional.softplus(self.lamps)
        if self.optics.constraint == "sum":
            return weights / weights.sum()
        return weights / (math.sqrt(3) * weights.norm()) if self.optics.constraint == "power" else weights

    def amplitude(self) -> Float[Tensor, "n n"]:
        """Of the pupil, or of the free transfer function, as the mask lets it through; 0 outside the aperture."""
        return functional.softplus(self.mask) * self._aperture()

    def path(self) -> Float[Tensor, "n n"]:
        """Optical path difference over the pupil in micrometres."""
        return torch.einsum("m,myx->yx", self.wavefront, self._constant(_modes(self.optics.grid)))

    def psf(self) -> Float[Tensor, "k window window"]:
        """The PSF of each lamp's wavelength, or the one kernel of a free transfer function."""
        optics = self.optics
        if optics.transfer == "free":
            return free_psf(self.amplitude(), cutoff=1 / (2 * optics.pixel), pixel=optics.pixel,
                            window=optics.window)[None]
        return self._of_each_lamp(incoherent_psf, self.amplitude(), self.path())

    def gathered(self) -> Float[Tensor, ""]:
        """The share of the light that passes the mask and falls into the PSF's window; light that a fine mask scatters
        farther is lost. Relative to an open pupil without aberrations."""
        weights, inside = self.illumination(), self._of_each_lamp(window_share, self.amplitude(), self.path())
        with torch.no_grad():
            open_inside = self._of_each_lamp(window_share, self._aperture(), None)
        return self.throughput() * ((weights * inside).sum() / (weights * open_inside).sum()).clamp(max=1)

    def throughput(self) -> Float[Tensor, ""]:
        """The share of the light that the pupil's mask lets through."""
        return pupil_throughput(self.amplitude(), self._aperture())

    def summary(self) -> dict[str, float]:
        """The state of the optics in a few numbers: lamps as shares, mean amplitude in rings (clearest ring 1), width
        of the PSF (root mean square radius in micrometres, weighted by the lamps)."""
        with torch.no_grad():
            lamps = self.illumination().double()
            shares = (lamps / lamps.sum()).tolist()
            rings = ring_means(self.amplitude().double().cpu().numpy())
            radii = psf_radius(self.psf().double().cpu().numpy(), self.optics.pixel)
            throughput = float(self.throughput())
        weights = shares if len(radii) > 1 else [1.0]
        return {**{f"lamp_{name}": share for name, share in zip(COLOURS, shares, strict=True)},
                **{f"ring_{i + 1}": float(value) for i, value in enumerate(rings)},
                "throughput": throughput,
                **dict(zip(ABERRATIONS, self.wavefront.tolist(), strict=True)),
                "psf_radius": float(sum(w * r for w, r in zip(weights, radii, strict=True)))}

    def _of_each_lamp(self, function: Callable[..., Tensor], amplitude: Tensor, path: Tensor | None) -> Tensor:
        optics = self.optics
        return torch.stack([function(
            image_pupil(amplitude, path, wavelength), numerical_aperture=optics.numerical_aperture,
            wavelength=wavelength, pixel=optics.pixel, window=optics.window) for wavelength in optics.wavelengths])

    def _aperture(self) -> Tensor:
        return self._constant(_disc(self.optics.grid))

    def _constant(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.mask.device, self.mask.dtype)


class StillMicroscope(nn.Module):
    """A trained microscope in evaluation, with its kernel as a constant and the convolution written out: for export,
    which has no Fourier transforms and no complex numbers. The same within rounding."""

    kernel: Tensor
    gathered: Tensor

    def __init__(self, microscope: Microscope) -> None:
        super().__init__()
        self.optics, self.camera = microscope.optics, microscope.camera
        with torch.no_grad():
            kernel = (microscope.illumination()[:, None, None] * microscope.psf()).flip(-2, -1)[None]
            self.register_buffer("kernel", kernel.contiguous())
            self.register_buffer("gathered", microscope.gathered() if self.camera.photons else kernel.new_ones(()))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 i j"]:
        light = linear_light(images) if self.optics.light == "srgb" else images
        reach = self.optics.window // 2
        padded = functional.pad(light, (reach, reach, reach, reach), mode="reflect")
        signal = pool(functional.conv2d(padded, self.kernel), self.optics.pool)
        if not self.camera.photons:
            return record(signal, self.camera)
        draws = draws_of(image_numbers(images), *signal.shape[2:])
        return record(signal * self.gathered, self.camera, draws)


def with_microscope(network: Units, optics: Optics) -> Units:
    """The microscope, a gain that brings its readings to mean 0 and deviation 1, and the network for one channel."""
    gain = nn.BatchNorm2d(1, affine=False)
    whole = Units({"microscope": Microscope(optics), "gain": gain, **dict(network.named_children())})
    whole.least_batch = network.least_batch
    return whole


def microscope_of(network: nn.Module) -> Microscope | None:
    """The microscope in front of a network, if it has one."""
    first = getattr(network, "microscope", None)
    return first if isinstance(first, Microscope) else None


def sensor_size(optics: Optics, size: int) -> int:
    """Side in px of the network's input, from that of the image; RecipeError where half the PSF does not fit into
    the image."""
    if optics.window // 2 >= size:
        raise RecipeError(f"optics.window = {optics.window}: half of it must be smaller than the input of {size} px",
                          f"set optics.window to {2 * size - 1} or less, or preprocess.size to more")
    return size // optics.pool


def check_microscope(microscope: Microscope, where: str) -> None:
    """RunError where loaded weights are not usable: not finite, or all zero."""
    with torch.no_grad():
        lamps, mask = functional.softplus(microscope.lamps), microscope.amplitude()
        for name, values in (("lamps", lamps), ("mask", mask), ("wavefront", microscope.wavefront)):
            if not bool(torch.isfinite(values).all()):
                raise RunError(f"{where}: microscope.{name} holds a value that is not a number", "train the run again")
            if name != "wavefront" and not bool((values > 0).any()):
                raise RunError(f"{where}: every weight of microscope.{name} is zero, so no light reaches the sensor",
                               "train the run again")


def ring_means(amplitude: np.ndarray) -> np.ndarray:
    """(RINGS,) mean amplitude in rings of equal width from the centre to the edge of the aperture, the clearest 1."""
    along = grid(len(amplitude), 2 / len(amplitude))
    ring = np.minimum((np.hypot(along[:, None], along) * RINGS).astype(int), RINGS).ravel()
    total, weight = (np.bincount(ring, values.ravel(), RINGS + 1)[:RINGS]
                     for values in (amplitude, aperture(len(amplitude))))
    means = np.divide(total, weight, out=np.zeros(RINGS), where=weight > 0)
    return means / max(means.max(), 1e-12)


def psf_radius(psf: np.ndarray, pixel: float) -> Sequence[float]:
    """Root mean square radius in micrometres of each PSF (k, window, window), weighted by its absolute values."""
    along = grid(psf.shape[-1], pixel)
    radius2 = along[:, None] ** 2 + along**2
    size = np.abs(psf)
    return np.sqrt((size * radius2).sum((1, 2)) / size.sum((1, 2))).tolist()


_disc = lru_cache(maxsize=16)(aperture)


@lru_cache(maxsize=16)
def _modes(samples: int) -> np.ndarray:
    """(3, samples, samples) the aberrations."""
    return np.stack([zernike(name, samples) for name in ABERRATIONS])
