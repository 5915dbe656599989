"""The state of a microscope, as arrays with physical axes: for figures, for export, for building it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch.nn import functional

from ..recipes.sections import Optics
from .microscope import COLOURS, Microscope
from .propagation import aperture, grid, otf

OTF_SAMPLES = 255
"""Samples along each side of the transfer function, at least."""


@dataclass(frozen=True, eq=False)
class OpticsState:
    """A microscope's settings in float64.

    lamps: weights of the red, green and blue lamp. mask: amplitude over the pupil's grid, the clearest point 1 (of a
    free transfer function the weights themselves), 0 outside and less at the rim, where samples are partly inside.
    aperture: the share of each sample inside. clear: the mask to build, without the rim, which the objective's stop
    cuts. path: optical path difference in micrometres. psf: of each wavelength, or the one kernel of a free transfer
    function. otf: absolute value of its transform at `frequencies`. throughput: share of the light that the mask lets
    through.
    """

    optics: Optics
    lamps: Float64[np.ndarray, " 3"]
    mask: Float64[np.ndarray, "n n"]
    aperture: Float64[np.ndarray, "n n"]
    clear: Float64[np.ndarray, "n n"]
    path: Float64[np.ndarray, "n n"]
    psf: Float64[np.ndarray, "k window window"]
    otf: Float64[np.ndarray, "k m m"]
    throughput: float

    @property
    def free(self) -> bool:
        """Whether the transfer function was set freely, without a pupil."""
        return self.optics.transfer == "free"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the point spread functions."""
        return ("all channels",) if self.free else COLOURS

    @property
    def pupil_coordinates(self) -> Float64[np.ndarray, " n"]:
        """Coordinates of the mask's samples along one side, in units of the aperture's radius."""
        return grid(len(self.mask), 2 / len(self.mask))

    @property
    def positions(self) -> Float64[np.ndarray, " window"]:
        """Coordinates of the PSF's pixels along one side, in micrometres."""
        return grid(self.psf.shape[-1], self.optics.pixel)

    @property
    def frequencies(self) -> Float64[np.ndarray, " m"]:
        """Frequencies of the OTF's samples along one side, in cycles per micrometre, the middle one 0."""
        samples = self.otf.shape[-1]
        return grid(samples, 1 / (samples * self.optics.pixel))

    def cutoff(self, lamp: int) -> float:
        """The highest frequency that passes, in cycles per micrometre: 2 NA / wavelength, or half the sampling."""
        if self.free:
            return 1 / (2 * self.optics.pixel)
        return 2 * self.optics.numerical_aperture / self.optics.wavelengths[lamp]

    def otf_profile(self, lamp: int, bins: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """(frequencies, mean of the OTF) in rings from 0 to the highest frequency of the sampling."""
        nyquist = 1 / (2 * self.optics.pixel)
        radius = np.hypot(self.frequencies[:, None], self.frequencies)
        ring = np.minimum((radius / nyquist * bins + 0.5).astype(int), bins).ravel()
        total, count = np.bincount(ring, self.otf[lamp].ravel(), bins + 1), np.bincount(ring, minlength=bins + 1)
        return np.arange(bins) * nyquist / bins, (total / np.maximum(count, 1))[:bins]


def state_of(microscope: Microscope) -> OpticsState:
    """The present state of a microscope."""
    with torch.no_grad():
        double = Microscope(microscope.optics).double()
        double.load_state_dict(microscope.state_dict())
        mask, psf, disc = double.amplitude().numpy(), double.psf(), aperture(double.optics.grid)
        clear = np.where(disc > 0, functional.softplus(double.mask).numpy(), 0.0)
        transfer = np.stack([otf(kernel, max(OTF_SAMPLES, len(kernel))).abs().numpy() for kernel in psf])
        relative = mask if double.optics.transfer == "free" else mask / mask.max()
        return OpticsState(
            double.optics, double.illumination().numpy(), relative, disc, np.minimum(clear / mask.max(), 1.0),
            double.path().numpy(), psf.numpy(), transfer, float(double.throughput()))
