"""Light through a stained smear: absorption by wavelength, blur, refraction, illumination, sensor.

Knows nothing of cells: it takes amounts of what absorbs and gives pixels. The stain is that of May-Grünwald-Giemsa:
two dyes, eosin and azure. Azure has two forms, because bound azure changes colour (the Romanowsky-Giemsa effect):
single on RNA, where it looks blue, and stacked with eosin on DNA and azurophilic granules, where it looks purple. The
purple band is at 552 nm (Friedrich et al. 1990, Histochemistry 93:247). The other bands are not measurements: they lie
near the known maxima of the dyes and of haemoglobin, and their widths and heights were chosen so that mean colours
resemble those of photographs. Light scattered out of the objective counts as absorbed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import LeukoscopeError

Floats = NDArray[np.floating]

ABSORBERS = ("azure", "azure-eosin", "eosin", "haemoglobin")
"""What absorbs, in the order of the first axis of an array of amounts: as planes they add several times faster."""

WAVELENGTHS = np.arange(400, 701, 20, dtype=np.float64)
"""Wavelengths (nm) at which light is computed."""

# A band: height, centre (nm), standard deviation (nm). Amount 1 gives an absorbance (base 10) of about 1 at its peak.
_BANDS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "azure": ((0.62, 648, 27), (0.85, 600, 34), (0.28, 555, 30), (0.06, 420, 60)),
    "azure-eosin": ((1.0, 552, 34), (0.38, 604, 30), (0.14, 650, 30), (0.08, 430, 50)),
    "eosin": ((1.0, 525, 18), (0.60, 492, 28), (0.10, 440, 60)),
    "haemoglobin": ((1.25, 415, 17), (0.145, 541, 14), (0.155, 577, 10), (0.11, 500, 200)),
}
# The sensor's channels: centre and standard deviation (nm) of its sensitivity times the lamp's spectrum.
_CHANNELS = ((612, 33), (540, 26), (458, 26))

_BLOCK = 1 << 14  # pixels whose light at all wavelengths stays in the processor's cache


@dataclass(frozen=True)
class Optics:
    """The microscope. Lengths in micrometres.

    numerical_aperture: of an oil objective (immersion 1.515), in (0, 1.5).
    defocus: distance of the smear from the plane of focus; its sign decides whether edges are bright or dark.
    refraction: how much of the light an edge deflects, 0 for none (transport of intensity).
    fall_off: share of the light missing in the corner farthest from the brightest point, in [0, 1).
    fall_off_centre: the brightest point, in widths and heights of the field.
    """

    numerical_aperture: float = 1.25
    defocus: float = 0.0
    refraction: float = 0.01
    fall_off: float = 0.0
    fall_off_centre: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        check_range("numerical_aperture", self.numerical_aperture, 0.05, 1.5)
        check_range("defocus", self.defocus, -20, 20)
        check_range("refraction", self.refraction, 0, 1)
        check_range("fall_off", self.fall_off, 0, 0.95)

    @property
    def blur(self) -> float:
        """Standard deviation (um) of the point spread along one axis.

        Diffraction is 0.21 wavelength / NA (the Gaussian nearest to the Airy disc); defocus adds the second moment of a
        disc of radius |z| tan(angle of the aperture), which is a quarter of the radius squared.
        """
        diffraction = 0.21 * 0.55 / self.numerical_aperture
        sine = self.numerical_aperture / 1.515
        radius = abs(self.defocus) * sine / np.sqrt(1 - sine**2)
        return float(np.hypot(diffraction, radius / 2))


@dataclass(frozen=True)
class Camera:
    """The sensor. `white_point` is the 8-bit RGB of a place without cells; `full_well` and `read_noise` in electrons.

    full_well: electrons at the white point; shot noise is its square root. numpy.inf switches noise off.
    gamma: pixel value = 255 x light ** (1 / gamma).
    sharpening: how much of the difference to a blurred copy (1 px) the camera adds, 0 for none.
    """

    white_point: tuple[float, float, float] = (252.0, 229.0, 204.0)
    full_well: float = 12000.0
    read_noise: float = 12.0
    gamma: float = 2.2
    sharpening: float = 0.0

    def __post_init__(self) -> None:
        for value in self.white_point:
            check_range("white_point", value, 1, 255)
        check_range("full_well", self.full_well, 10, np.inf)
        check_range("read_noise", self.read_noise, 0, 1e6)
        check_range("gamma", self.gamma, 0.5, 5)
        check_range("sharpening", self.sharpening, 0, 3)


def check_range(name: str, value: float, low: float, high: float, hint: str = "choose one inside") -> None:
    """LeukoscopeError unless low <= value <= high."""
    if not low <= value <= high:
        raise LeukoscopeError(f"{name}: expected a number in [{low:g}, {high:g}], got {value}", hint)


def spectra(wavelengths: NDArray[np.float64] = WAVELENGTHS) -> NDArray[np.float64]:
    """Absorbance (base 10) of one unit of each absorber: (4, wavelengths), in the order of `ABSORBERS`."""
    return np.array([sum(height * _bell(wavelengths, centre, spread) for height, centre, spread in _BANDS[name])
                     for name in ABSORBERS])


def absorbance(amounts: NDArray[np.floating], wavelengths: NDArray[np.float64] = WAVELENGTHS) -> NDArray[np.floating]:
    """Beer-Lambert: absorbance (base 10) of amounts (4, ...) at each wavelength: (w, ...). Linear in them."""
    return np.tensordot(spectra(wavelengths).astype(amounts.dtype), amounts, axes=(0, 0))


def transmitted(amounts: Floats) -> Floats:
    """Linear light in the sensor's channels (..., 3) behind amounts (4, ...); 1 where nothing absorbs.

    Each wavelength is absorbed by itself and the channels add up what is left, so a channel does not simply darken in
    proportion to the stain.
    """
    natural, weights = _tables()
    flat = amounts.reshape(len(ABSORBERS), -1)
    light = np.empty((flat.shape[1], 3), np.float32)
    for start in range(0, len(light), _BLOCK):
        block = slice(start, start + _BLOCK)
        depth = natural @ flat[:, block]
        light[block] = (weights @ np.exp(depth, out=depth)).T
    return light.reshape(*amounts.shape[1:], 3)


def bend(light: Floats, thickness: Floats, optics: Optics, micrometres_per_pixel: float) -> Floats:
    """Brighten and darken edges as refraction does: intensity x (1 - k Laplacian(thickness)).

    thickness: (h, w) in um. The sign of k is that of the defocus, so bright and dark edges swap at the focus.
    """
    if optics.refraction == 0:
        return light
    smooth = blurred(thickness, max(optics.blur, 0.25), micrometres_per_pixel)
    curvature = cv2.Laplacian(smooth, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE) / micrometres_per_pixel**2
    sign = 1.0 if optics.defocus >= 0 else -1.0
    factor = 1 - np.clip(sign * optics.refraction * curvature, -0.35, 0.35)
    return light * factor[..., None].astype(np.float32)


def blurred(image: Floats, spread: float, micrometres_per_pixel: float) -> Floats:
    """Gaussian blur of standard deviation `spread` (um); border pixels are repeated outwards."""
    pixels = spread / micrometres_per_pixel
    if pixels < 0.15:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE), np.float32)


def illumination(width: int, height: int, optics: Optics) -> Floats:
    """Light of the lamp over the field (height, width); 1 at the brightest point, 1 - fall_off in the far corner."""
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - optics.fall_off_centre[0]
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - optics.fall_off_centre[1]
    far = sum(max(abs(c), abs(1 - c)) ** 2 for c in optics.fall_off_centre)
    return (1 - optics.fall_off * (y[:, None] ** 2 + x[None] ** 2) / far).astype(np.float32)


def photograph(light: Floats, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the sensor makes of linear light (h, w, 3): shot and read noise, white point, gamma, 8 bits."""
    noisy = np.maximum(light, 0)
    variance = noisy / np.float32(camera.full_well)
    if np.isfinite(camera.full_well):
        variance += np.float32((camera.read_noise / camera.full_well) ** 2)
    noisy = noisy + np.sqrt(variance, out=variance) * rng.standard_normal(light.shape, dtype=np.float32)
    white = np.asarray(camera.white_point, np.float32)
    # exp(log) is ten times faster than a power of 32-bit numbers; light below 1e-12 is black in any case.
    coded = np.log(np.maximum(noisy, 1e-12, out=noisy), out=noisy)
    coded *= np.float32(1 / camera.gamma)
    coded = np.exp(coded, out=coded) * white
    if camera.sharpening > 0:
        soft = cv2.GaussianBlur(coded, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
        coded += np.float32(camera.sharpening) * (coded - soft)
    return np.clip(np.rint(coded, out=coded), 0, 255).astype(np.uint8)


@cache
def _tables() -> tuple[Floats, Floats]:
    """(wavelengths, absorbers) to natural exponents, and (channels, wavelengths) of summed weight 1 a channel."""
    sensitivity = np.stack([_bell(WAVELENGTHS, centre, spread) for centre, spread in _CHANNELS])
    natural = np.ascontiguousarray(-np.log(10) * spectra().T, np.float32)
    return natural, (sensitivity / sensitivity.sum(axis=1, keepdims=True)).astype(np.float32)


def _bell(at: NDArray[np.float64], centre: float, spread: float) -> NDArray[np.float64]:
    return np.exp(-0.5 * ((at - centre) / spread) ** 2)
