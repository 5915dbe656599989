"""A simulated microscope whose illumination, pupil and sensor can be learned (dimuro2020)."""

from __future__ import annotations

from .microscope import Microscope, StillMicroscope, microscope_of, sensor_size, with_microscope
from .propagation import (
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
from .sensor import Camera, draws_of, image_numbers, pool, record
from .state import OpticsState, state_of

__all__ = [
    "ABERRATIONS", "Camera", "Microscope", "OpticsState", "StillMicroscope", "aperture", "convolve", "draws_of",
    "free_psf", "grid", "illuminate", "image_numbers", "image_pupil", "incoherent_psf", "linear_light",
    "microscope_of", "otf", "pool", "pupil_throughput", "record", "sensor_size", "state_of", "window_share",
    "with_microscope", "zernike",
]
