"""Light through a smear: Beer-Lambert, white point, fall-off, blur and noise against what physics says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukoscope.errors import LeukoscopeError
from leukoscope.phantom import Camera, Optics, RedCells, Stain, Subject, render_field
from leukoscope.phantom.optics import (
    ABSORBERS,
    WAVELENGTHS,
    absorbance,
    bend,
    blurred,
    illumination,
    photograph,
    spectra,
    transmitted,
)

BLANK = Subject(red_cells=RedCells(density=0), platelets=0, debris=0, focus_spread=0)
AMOUNT = st.floats(0, 4, width=32)


@settings(deadline=None)
@given(st.tuples(AMOUNT, AMOUNT, AMOUNT, AMOUNT), st.floats(0, 3))
def test_absorbance_is_linear_in_the_amounts(amounts: tuple[float, ...], factor: float) -> None:
    once = absorbance(np.array(amounts))
    assert absorbance(factor * np.array(amounts)) == pytest.approx(factor * once, abs=1e-9)


def test_doubling_the_stain_doubles_the_absorbance_of_the_dyes() -> None:
    amounts = np.array([0.3, 1.2, 0.5, 0.4], np.float32)
    dyes = np.array([1, 1, 1, 0], np.float32)
    once = absorbance(Stain(azure=1.1, eosin=0.9, blueing=0.1).apply(amounts * dyes))
    twice = absorbance(Stain(azure=2.2, eosin=1.8, blueing=0.1).apply(amounts * dyes))
    assert twice == pytest.approx(2 * once, rel=1e-5)
    blood = absorbance(Stain(azure=2, eosin=2).apply(amounts * (1 - dyes)))
    assert blood == pytest.approx(absorbance(Stain().apply(amounts * (1 - dyes))), rel=1e-6)


def test_transmission_is_the_band_average_of_ten_to_the_minus_absorbance() -> None:
    amounts = np.array([0.2, 0.8, 0.3, 0.5])
    light = transmitted(amounts.astype(np.float32))
    for channel, (centre, spread) in enumerate(((612, 33), (540, 26), (458, 26))):
        weight = np.exp(-0.5 * ((WAVELENGTHS - centre) / spread) ** 2)
        expected = np.sum(weight * 10 ** -(amounts @ spectra())) / weight.sum()
        assert light[channel] == pytest.approx(expected, rel=1e-5)


def test_twenty_nanometres_are_fine_enough() -> None:
    fine = np.arange(400, 701, 1, dtype=np.float64)
    amounts = np.array([0.2, 0.8, 0.3, 0.5])
    light = transmitted(amounts.astype(np.float32))
    for channel, (centre, spread) in enumerate(((612, 33), (540, 26), (458, 26))):
        weight = np.exp(-0.5 * ((fine - centre) / spread) ** 2)
        assert light[channel] == pytest.approx(np.sum(weight * 10 ** -(amounts @ spectra(fine))) / weight.sum(),
                                               abs=0.01)


def test_nothing_absorbs_nothing_and_more_dye_lets_less_through() -> None:
    assert transmitted(np.zeros((4, 2, 3), np.float32)) == pytest.approx(1, abs=1e-5)
    steps = transmitted(np.array([[0.1], [1], [0.2], [0.3]], np.float32) * np.linspace(0, 3, 20, dtype=np.float32))
    assert (np.diff(steps, axis=0) < 0).all()


def test_dyes_take_the_colours_they_are_known_for() -> None:
    red, green, blue = range(3)
    azure, purple, eosin, blood = (transmitted(row) for row in np.eye(len(ABSORBERS), dtype=np.float32))
    assert azure[red] < azure[green] < azure[blue]  # blue
    assert purple[green] < purple[red] < purple[blue]  # purple
    assert eosin[green] < eosin[blue] < eosin[red]  # orange-red
    assert blood[blue] < min(blood[red], blood[green])  # yellowish without stain


def test_a_blank_field_has_the_white_point() -> None:
    subject = replace(BLANK, camera=Camera(white_point=(240.0, 220.0, 200.0), full_well=1e6, read_noise=0))
    pixels = render_field(80, 60, seed=1, subject=subject, types={}).pixels
    assert pixels.reshape(-1, 3).mean(axis=0) == pytest.approx([240, 220, 200], abs=0.2)


def test_fall_off_dims_the_corners_by_its_share() -> None:
    optics = Optics(fall_off=0.3, fall_off_centre=(0.5, 0.5))
    light = illumination(401, 301, optics)
    assert light[150, 200] == pytest.approx(1, abs=1e-4)
    assert light[[0, 0, -1, -1], [0, -1, 0, -1]] == pytest.approx(0.7, abs=0.005)
    aside = illumination(400, 300, Optics(fall_off=0.3, fall_off_centre=(0.25, 0.25)))
    assert aside[-1, -1] == pytest.approx(0.7, abs=0.005)
    assert aside.min() == aside[-1, -1]


def test_noise_has_the_moments_of_shot_and_read_noise() -> None:
    camera = Camera(white_point=(200.0, 200.0, 200.0), full_well=4000, read_noise=30, gamma=1.0)
    for level in (1.0, 0.25):
        light = np.full((300, 300, 3), level, np.float32)
        values = photograph(light, camera, np.random.default_rng(0)).astype(float) / 200
        expected = np.sqrt(level / 4000 + (30 / 4000) ** 2 + 1 / 12 / 200**2)  # and rounding to whole values
        assert values.mean() == pytest.approx(level, abs=5e-4)
        assert values.std() == pytest.approx(expected, rel=0.02)


def test_without_noise_the_code_value_is_the_gamma_curve() -> None:
    camera = Camera(white_point=(255.0, 255.0, 255.0), full_well=np.inf, read_noise=0, gamma=2.2)
    light = np.linspace(0, 1, 256, dtype=np.float32)[None, :, None].repeat(3, axis=2)
    values = photograph(light, camera, np.random.default_rng(0))[0, :, 0]
    assert np.abs(values - 255 * np.linspace(0, 1, 256) ** (1 / 2.2)).max() <= 0.51


@pytest.mark.parametrize("defocus", [0.0, 0.3, -0.3, 0.8])
def test_blur_of_an_edge_has_the_stated_width(defocus: float) -> None:
    scale, optics = 0.05, Optics(defocus=defocus)
    edge = np.zeros((8, 400), np.float32)
    edge[:, 200:] = 1
    spread = np.diff(blurred(edge, optics.blur, scale)[4].astype(float))
    at = np.arange(len(spread)) * scale
    width = np.sqrt(np.sum(spread * at**2) - np.sum(spread * at) ** 2)
    assert width == pytest.approx(optics.blur, rel=0.03)


def test_defocus_widens_and_aperture_sharpens() -> None:
    blur = [Optics(defocus=z).blur for z in (0, 0.2, 0.5, 1.0)]
    assert blur == sorted(blur)
    assert blur[3] == pytest.approx(np.hypot(0.21 * 0.55 / 1.25, 0.5 * np.tan(np.arcsin(1.25 / 1.515))))
    assert Optics(numerical_aperture=0.65).blur > Optics(numerical_aperture=1.25).blur


def test_refraction_turns_over_at_the_focus_and_keeps_the_light() -> None:
    y, x = np.mgrid[-40:40, -40:40] * 0.1
    dome = np.maximum(2 - (x**2 + y**2) / 4, 0).astype(np.float32)
    light = np.ones((80, 80, 3), np.float32)
    near, far = (bend(light, dome, Optics(defocus=z, refraction=0.02), 0.1) for z in (0.2, -0.2))
    assert near[40, 40, 0] > 1 > far[40, 40, 0]
    assert near + far == pytest.approx(2, abs=1e-5)
    assert near.mean() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("make", [
    lambda: Optics(numerical_aperture=1.6), lambda: Optics(fall_off=1.0), lambda: Optics(defocus=float("nan")),
    lambda: Camera(white_point=(0, 10, 10)), lambda: Camera(full_well=0), lambda: Camera(gamma=0),
    lambda: Stain(azure=-1), lambda: Stain(blueing=2),
])
def test_impossible_optics_are_refused(make) -> None:
    with pytest.raises(LeukoscopeError, match="expected"):
        make()
