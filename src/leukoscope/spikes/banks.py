"""Filters of first-spike coding: Gabor and difference of Gaussians, with weights that sum to exactly 0."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..errors import LeukoscopeError


def gabor_bank(window: int = 5, wavelength: float = 2.5, sigma: float = 2.0, gamma: float = 0.5,
               orientations: int = 4) -> Float32[Tensor, "orientations window window"]:
    """Gabor filters exp(-(X^2 + gamma^2 Y^2) / (2 sigma^2)) cos(2 pi X / wavelength), in px (noshad2021, eq. 1).

    X points along theta_l = (l - 1/2) pi / orientations for l = 1, 2, ... (pi/8, 3 pi/8, 5 pi/8, 7 pi/8 for four),
    measured from the columns' axis to the rows'. The mean is subtracted; the peak is 1 or -1. Weights are multiples of
    a power of two (1/4096 for the defaults, 1/1024 at the coarsest), so that they sum to exactly 0, and responses to
    8-bit images are exact unless a filter's absolute weights sum to more than 63. An even window has its centre between
    pixels.

    Raises LeukoscopeError for a window below 2 or above 99 px, a length that is not positive, or a flat filter.
    """
    _check_window(window)
    for name, value in (("wavelength", wavelength), ("sigma", sigma), ("gamma", gamma)):
        _check_positive(name, value)
    if orientations < 1:
        raise LeukoscopeError(f"orientations: expected 1 or more, got {orientations}", "give 4, as the paper does")
    y, x = _grid(window)
    theta = ((np.arange(orientations) + 0.5) * np.pi / orientations)[:, None, None]
    along, across = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
    envelope = np.exp(-(along**2 + (gamma * across) ** 2) / (2 * sigma**2))
    return _balanced(envelope * np.cos(2 * np.pi * along / wavelength))


def dog_bank(window: int, sigma_centre: float, sigma_surround: float) -> Float32[Tensor, "2 window window"]:
    """Differences of two Gaussians of equal volume, sigmas in px: on centre, off centre; sum and peak as gabor_bank.

    The two differ only in sign: use them with edge_responses(..., absolute=False). Raises LeukoscopeError as
    gabor_bank does, and for a centre that is not narrower than the surround.
    """
    _check_window(window)
    _check_positive("sigma_centre", sigma_centre)
    _check_positive("sigma_surround", sigma_surround)
    if sigma_centre >= sigma_surround:
        raise LeukoscopeError(f"sigma_centre {sigma_centre:g} is not below sigma_surround {sigma_surround:g}",
                              "give the narrower Gaussian first")
    y, x = _grid(window)
    centre, surround = (np.exp(-(x**2 + y**2) / (2 * s**2)) / s**2 for s in (sigma_centre, sigma_surround))
    on = _balanced((centre - surround)[None])
    return torch.cat([on, -on])


def _balanced(shapes: np.ndarray) -> Float32[Tensor, "m window window"]:
    """Zero sum, peak 1 or -1, weights in whole multiples of a power of two that keeps sums of 255 levels below 2^24.

    What rounding leaves in the sum is removed: an odd unit from the centre, pairs from the weights rounded most. The
    peak, which may be the centre, is even and stays.
    """
    flat = (shapes - shapes.mean(axis=(1, 2), keepdims=True)).reshape(len(shapes), -1)
    flat = (flat + flat[:, ::-1]) / 2  # exactly symmetric about the centre in spite of rounding
    peaks = np.abs(flat).max(axis=1, keepdims=True)
    if not (peaks > 1e-9).all():
        raise LeukoscopeError("a filter of the bank is flat: it would never respond",
                              "give a wavelength and widths between a pixel and the window")
    flat = flat / peaks
    unit = max(2.0 ** math.floor(24 - math.log2(255 * (np.abs(flat).sum(axis=1).max() + 1))), 1024.0)
    whole, pairs = np.rint(flat * unit), flat.shape[1] // 2
    for exact, weights in zip(flat * unit, whole, strict=True):
        if weights.sum() % 2:
            weights[pairs] -= np.sign(weights.sum())
        error = (weights - exact)[:pairs]
        below_peak = np.abs(weights[:pairs]) < np.abs(weights).max()
        while (rest := weights.sum()) != 0:
            most = np.where(below_peak, error * np.sign(rest), -np.inf).argmax()
            weights[[most, -1 - most]] -= np.sign(rest)
            error[most] -= np.sign(rest)
    return torch.from_numpy((whole / unit).astype(np.float32).reshape(shapes.shape))


def _grid(window: int) -> tuple[np.ndarray, np.ndarray]:
    along = np.arange(window) - (window - 1) / 2
    return along[:, None], along[None, :]


def _check_window(window: int) -> None:
    if not 2 <= window <= 99:
        raise LeukoscopeError(f"window: expected 2 to 99 px, got {window}", "give 5, the default")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise LeukoscopeError(f"{name}: expected a number above 0, got {value}", "give a length in px (gamma: a ratio)")
