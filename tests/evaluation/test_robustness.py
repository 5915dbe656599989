"""Corruptions of cell images: what optics and arithmetic say of each; draws hang on seed and cell alone."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leukoscope.errors import LeukoscopeError
from leukoscope.evaluation.corruptions import ASSUMED_SPAN, CORRUPTIONS, STRENGTHS, corrupt, scene_of, side_of
from leukoscope.evaluation.corruptions_optical import (
    brightness,
    contrast,
    defocus,
    disc_kernel,
    jpeg,
    line_kernel,
    motion,
    noise,
    pixel_size,
)
from leukoscope.evaluation.corruptions_staining import bubbles, deposits, dye_colours, mixing, stain_hue, stain_strength
from leukoscope.images.read import read_image
from leukoscope.images.stain import optical_density, white_point
from leukoscope.phantom import render_cell


@pytest.fixture(scope="module")
def cell() -> np.ndarray:
    return render_cell("neutrophil", seed=3).pixels


def flat(*colour: int, size: int = 60) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = float(((one.astype(float) - other) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


# Each by itself

@given(st.floats(0, 12), st.floats(0, math.pi))
@settings(max_examples=40, deadline=None)
def test_kernels_take_no_light_and_shift_nothing(size, angle):
    for kernel in (disc_kernel(size), line_kernel(size, angle)):
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        assert kernel.min() >= 0
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
    colour = flat(201, 160, 33)
    assert np.array_equal(defocus(colour, size), colour)
    assert np.array_equal(motion(colour, size, angle), colour)


def test_kernels_have_the_spread_of_a_disc_and_of_a_line():
    for radius in (4.0, 7.5, 12.0):
        kernel = disc_kernel(radius)
        y, x = np.mgrid[:len(kernel), :len(kernel)] - (len(kernel) - 1) / 2
        assert (kernel * (x**2 + y**2)).sum() == pytest.approx(radius**2 / 2, rel=0.03)  # of a disc
    for angle in (0.0, 0.7, 2.0):
        kernel = line_kernel(20.0, angle)
        y, x = np.mgrid[:len(kernel), :len(kernel)] - (len(kernel) - 1) / 2
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        assert (kernel * along**2).sum() == pytest.approx(20**2 / 12, rel=0.06)  # of a line, with round ends
        assert (kernel * across**2).sum() < 0.3


def test_nothing_is_done_at_no_strength(cell):
    white = white_point(cell)
    for same in (defocus(cell, 0), motion(cell, 0, 1.0), stain_strength(cell, 1, white), brightness(cell, 1),
                 contrast(cell, 1), pixel_size(cell, 1), bubbles(cell, np.empty((0, 3))),
                 deposits(cell, np.empty((0, 3)))):
        assert np.array_equal(same, cell)
    assert np.abs(stain_hue(cell, 0, white).astype(int) - cell).max() <= 1
    assert np.abs(noise(cell, 1e9, np.random.default_rng(0)).astype(int) - cell).max() == 0


@given(st.integers(0, 255), st.floats(0.2, 3))
@settings(max_examples=60, deadline=None)
def test_brightness_and_contrast_are_multiplications(value, factor):
    wanted = min(round(value * factor - 1e-9), 255), min(round(value * factor + 1e-9), 255)
    assert brightness(flat(value, value, value, size=2), factor)[0, 0, 0] in wanted
    pair = np.array([[[value] * 3, [100] * 3]], np.uint8)
    found = contrast(pair, factor).astype(float)[0, :, 0]
    if found.min() > 0 and found.max() < 255:
        assert found[0] - found[1] == pytest.approx(factor * (value - 100), abs=1.01)
        assert found.mean() == pytest.approx(pair.mean(), abs=1)


def test_a_stain_of_twice_the_strength_has_twice_the_optical_density(cell):
    white = white_point(cell)
    for factor in (0.5, 0.8, 1.4):
        found = stain_strength(cell, factor, white)
        before, after = optical_density(cell, white), optical_density(found, white)
        inner = (cell > 20).all(-1) & (found > 20).all(-1) & (found < 250).all(-1)
        assert inner.mean() > 0.3
        np.testing.assert_allclose(after[inner], factor * before[inner], atol=0.02)


def test_eosin_and_azure_are_changed_and_nothing_else():
    eosin, azure = dye_colours()
    np.testing.assert_allclose(mixing(1.0) @ eosin, 2 * eosin, atol=1e-12)
    np.testing.assert_allclose(mixing(1.0) @ azure, azure / 2, atol=1e-12)
    np.testing.assert_allclose(mixing(0.4) @ mixing(-0.4), np.eye(3), atol=1e-12)
    assert eosin[1] == eosin.max()  # eosin takes green away, so it looks pink
    assert azure[0] > 3 * eosin[0]  # azure takes red away too, so it looks blue
    white = np.array([250.0, 240, 230])
    mixed = np.rint(white * 10 ** -(0.4 * eosin + 0.5 * azure)).astype(np.uint8)
    expected = white * 10 ** -(0.4 * eosin * 2**0.5 + 0.5 * azure / 2**0.5)
    np.testing.assert_allclose(stain_hue(flat(*mixed, size=4), 0.5, white)[0, 0], expected, atol=2)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_jpeg_is_pillows(cell, quality, tmp_path):
    Image.fromarray(cell).save(tmp_path / "cell.jpg", quality=quality)
    assert np.abs(jpeg(cell, quality).astype(int) - read_image(tmp_path / "cell.jpg")).max() <= 1
    file = io.BytesIO()
    Image.fromarray(cell).save(file, "JPEG", quality=quality)
    assert np.array_equal(jpeg(cell, quality), np.array(Image.open(file)))


def test_noise_has_the_variance_of_shot_noise():
    for value, electrons in ((60, 500), (128, 500), (128, 80)):
        found = noise(flat(value, value, value, size=300), electrons, np.random.default_rng(1)).astype(float)
        assert found.mean() == pytest.approx(value, abs=0.1)
        assert found.var() == pytest.approx(255 * value / electrons + 1 / 12, rel=0.02)  # and rounding
    planes = noise(flat(128, 128, 128, size=300), 200, np.random.default_rng(1)).reshape(-1, 3).astype(float)
    assert np.abs(np.corrcoef(planes.T) - np.eye(3)).max() < 0.02


def test_larger_pixels_keep_the_mean_and_lose_fine_structure():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    for factor in (2, 4, 8):
        found = pixel_size(picture, factor).astype(float)
        assert found.shape == picture.shape
        assert found.mean() == pytest.approx(picture.mean(), abs=1.5)
        small = cv2.resize(picture, (96 // factor,) * 2, interpolation=cv2.INTER_AREA).astype(float)
        means = picture.reshape(96 // factor, factor, 96 // factor, factor, 3).mean((1, 3))
        assert np.abs(small - means).max() <= 0.51
        assert found.std() < 1.05 * means.std()


def test_deposits_only_darken_where_they_lie(cell):
    specks = np.array([[20.0, 30, 3], [50, 10, 1.5]])
    found = deposits(cell, specks)
    assert (found <= cell).all()
    assert (found[30, 20] < 0.5 * cell[30, 20].astype(float)).all()
    y, x = np.mgrid[:len(cell), :cell.shape[1]]
    far = np.min([np.hypot(x - px, y - py) - r for px, py, r in specks], axis=0) > 4
    assert np.array_equal(found[far], cell[far])


def test_a_bubble_is_bright_inside_with_a_dark_rim():
    found = bubbles(flat(150, 150, 150, size=101), np.array([[50.0, 50, 20]])).astype(float).mean(-1)
    assert found[50, 50] > 190
    assert found[50, 50 + 18] < 80
    assert np.array_equal(found[:, :15], np.full((101, 15), 150.0))
    np.testing.assert_allclose(found, found.T, atol=0.51)  # round
    np.testing.assert_allclose(found, found[::-1], atol=0.51)


# The table

def test_every_corruption_gets_worse_with_its_strength(cell):
    for name in CORRUPTIONS:
        for number in range(4):
            scene = scene_of(cell, 0, 22 / min(cell.shape[:2]))
            seen = [psnr(corrupt(name, strength, cell, cell_id=f"c{number}", scene=scene), cell)
                    for strength in (0, *STRENGTHS)]
            assert seen[0] == math.inf
            assert seen[1] > 18, (name, seen)  # mild
            assert all(a > b or a == b == math.inf for a, b in pairwise(seen)), (name, seen)
            assert seen[-1] < 36, (name, seen)


def test_what_is_drawn_hangs_on_seed_and_cell_alone(cell):
    scene = scene_of(cell, 0, 0.2)
    for name in ("motion", "noise", "deposits", "bubbles", "stain_hue"):
        first = corrupt(name, 3, cell, cell_id="one", scene=scene, seed=5)
        corrupt(name, 3, cell, cell_id="two", scene=scene, seed=5)
        assert np.array_equal(corrupt(name, 3, cell, cell_id="one", scene=scene, seed=5), first)
        if name != "stain_hue":
            assert not np.array_equal(corrupt(name, 3, cell, cell_id="two", scene=scene, seed=5), first)
            assert not np.array_equal(corrupt(name, 3, cell, cell_id="one", scene=scene, seed=6), first)


def test_sides_are_drawn_evenly_and_are_what_is_done(cell):
    scene = scene_of(cell, 0, None)
    for name, one in CORRUPTIONS.items():
        sides = [side_of(name, f"cell {i}") for i in range(400)]
        if not one.sides:
            assert set(sides) == {""}
            continue
        assert 150 < sides.count(one.sides[1]) < 250
    for i in range(6):
        found = corrupt("brightness", 2, cell, cell_id=f"cell {i}", scene=scene)
        assert (found.mean() > cell.mean()) == (side_of("brightness", f"cell {i}") == "brighter")
        found = corrupt("stain_strength", 2, cell, cell_id=f"cell {i}", scene=scene)
        assert (found.mean() < cell.mean()) == (side_of("stain_strength", f"cell {i}") == "deeper")
        spread = corrupt("contrast", 1, cell, cell_id=f"cell {i}", scene=scene).std() - cell.std()
        assert (spread > 0) == (side_of("contrast", f"cell {i}") == "harder")


def test_lengths_follow_the_scale():
    rng = np.random.default_rng(2)
    small = cv2.GaussianBlur(rng.integers(0, 256, (120, 120, 3), dtype=np.uint8), (0, 0), 1.5)
    large = cv2.resize(small, (240, 240), interpolation=cv2.INTER_CUBIC)
    assert scene_of(small, 0, None).micrometres == ASSUMED_SPAN / 120
    assert scene_of(large, 110, None).micrometres == ASSUMED_SPAN / 110
    assert (scene_of(large, 110, 0.3).micrometres, scene_of(large, 110, 0.3).known) == (0.3, True)
    one, two = (corrupt("defocus", 4, pixels, cell_id="c", scene=scene_of(pixels, 0, None))
                for pixels in (small, large))
    back = cv2.resize(two, (120, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(back.astype(float) - one).mean() < 0.25 * np.abs(small.astype(float) - one).mean()


def test_what_there_is_not_is_refused(cell):
    scene = scene_of(cell, 0, None)
    for name, strength in (("fog", 1), ("noise", 6), ("noise", -1)):
        with pytest.raises(LeukoscopeError, match="there are defocus, motion"):
            corrupt(name, strength, cell, cell_id="c", scene=scene)


def test_a_scale_at_which_no_cell_is_photographed_is_refused():
    """At 10 um a pixel a picture of 360 px would get a million specks."""
    for micrometres in (1e-4, 10.0):
        with pytest.raises(LeukoscopeError, match="correct --micrometres"):
            scene_of(np.zeros((360, 360, 3), np.uint8), 0, micrometres)
