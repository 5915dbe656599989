"""Where a microscope stands, as arrays with physical axes: for figures, for export, for whoever builds it."""

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
"""Samples a side of a transfer function that is drawn."""


@dataclass(frozen=True, eq=False)
class OpticsState:
    """A microscope's settings in float64.

    lamps: weights of the red, green and blue lamp. mask: amplitude over the pupil's grid, the clearest place 1 (of a
    free transfer function the weights themselves), 0 outside and less at the rim, where samples lie half inside.
    aperture: the share of each that does. clear: the mask as it is made, the rim left to the stop. path: optical path
    difference in micrometres. psf: of each wavelength, or the one kernel of a free transfer function. otf: its
    transform's size at `frequencies` (cycles per micrometre, the middle one 0). throughput: share of the light that the
    mask lets through.
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
        """Whether the transfer function was set freely, so that no pupil makes it."""
        return self.optics.transfer == "free"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the point spread functions."""
        return ("all channels",) if self.free else COLOURS

    @property
    def pupil_coordinates(self) -> Float64[np.ndarray, " n"]:
        """Of the mask's samples, in units of the aperture's radius."""
        return grid(len(self.mask), 2 / len(self.mask))

    @property
    def positions(self) -> Float64[np.ndarray, " window"]:
        """Of the PSF's pixels, in micrometres."""
        return grid(self.psf.shape[-1], self.optics.pixel)

    @property
    def frequencies(self) -> Float64[np.ndarray, " m"]:
        """Of the OTF's samples, in cycles per micrometre."""
        samples = self.otf.shape[-1]
        return grid(samples, 1 / (samples * self.optics.pixel))

    def cutoff(self, lamp: int) -> float:
        """The highest frequency that passes, in cycles per micrometre: 2 NA / wavelength, or half the sampling."""
        if self.free:
            return 1 / (2 * self.optics.pixel)
        return 2 * self.optics.numerical_aperture / self.optics.wavelengths[lamp]

    def otf_profile(self, lamp: int, bins: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """(frequencies, mean size of the OTF) in rings from 0 to the highest frequency of the sampling."""
        nyquist = 1 / (2 * self.optics.pixel)
        radius = np.hypot(self.frequencies[:, None], self.frequencies)
        ring = np.minimum((radius / nyquist * bins + 0.5).astype(int), bins)
        total = np.bincount(ring.ravel(), self.otf[lamp].ravel(), bins + 1)
        count = np.bincount(ring.ravel(), minlength=bins + 1)
        return np.arange(bins) * nyquist / bins, (total / np.maximum(count, 1))[:bins]


def state_of(microscope: Microscope) -> OpticsState:
    """The state of a microscope, as it stands."""
    with torch.no_grad():
        still = Microscope(microscope.optics).double()
        still.load_state_dict(microscope.state_dict())
        mask, psf, disc = still.amplitude().cpu().numpy(), still.psf(), aperture(still.optics.grid)
        clear = np.where(disc > 0, functional.softplus(still.mask).cpu().numpy(), 0.0)
        transfer = np.stack([otf(one, max(OTF_SAMPLES, len(one))).abs().cpu().numpy() for one in psf])
        free = still.optics.transfer == "free"
        return OpticsState(
            still.optics, still.illumination().cpu().numpy(), mask if free else mask / mask.max(),
            disc, np.minimum(clear / mask.max(), 1.0), still.path().cpu().numpy(), psf.cpu().numpy(), transfer,
            float(still.throughput()))
