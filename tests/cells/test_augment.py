"""Augmentation: what a change does to pixels, that CPU and torch agree, and what the draws depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.ndimage import affine_transform

from leukoscope.cells.augment import Changes, augment_cpu, augment_torch, colour, geometry, sample_changes
from leukoscope.recipes import Augment

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
EVERYTHING = Augment(rotation=180, shear=20, shift=0.2, zoom=0.4, flip_horizontal=True, flip_vertical=True,
                     brightness=0.3, contrast=0.4, saturation=0.5, hue=0.1)
WAYS = {
    "cpu": augment_cpu,
    "torch": lambda pixels, *rest: augment_torch(torch.from_numpy(pixels), *rest).numpy(),
}
LEVELS = 0.1 / 255
"""How far a value may be from exact arithmetic: a tenth of a grey level."""


def cells(count: int = 3, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(0, 3, 1, 2).astype(np.float64) / 255


def drawn(augment: Augment | None, count: int, size: int, *, seed: int = 1, epoch: int = 0) -> Changes:
    return sample_changes(augment, seed=seed, epoch=epoch, cells=np.arange(count), size=size)


def moved(size: int, count: int = 1, /, **given_: float | bool) -> Changes:
    """Changes with geometry as given, each cell alike."""
    def all_alike(name: str, default: float | bool) -> np.ndarray:
        return np.full(count, given_.get(name, default))

    matrices = geometry(
        size, rotation=all_alike("rotation", 0.0), shear=all_alike("shear", 0.0), shift_x=all_alike("shift_x", 0.0),
        shift_y=all_alike("shift_y", 0.0), zoom=all_alike("zoom", 1.0),
        flip_horizontal=all_alike("flip_horizontal", False), flip_vertical=all_alike("flip_vertical", False))
    return replace(drawn(None, count, size), matrices=matrices, moves=True)


def recoloured(size: int, count: int = 1, **given_: float) -> Changes:
    def all_alike(name: str, default: float) -> np.ndarray:
        return np.full(count, given_.get(name, default))

    colours, pivots = colour(brightness=all_alike("brightness", 1.0), contrast=all_alike("contrast", 1.0),
                             saturation=all_alike("saturation", 1.0), hue=all_alike("hue", 0.0))
    return replace(drawn(None, count, size), colours=colours, pivots=pivots, recolours=True)


@pytest.fixture(params=WAYS)
def change(request):
    return WAYS[request.param]


def test_nothing_set_changes_nothing(change):
    pixels = cells()
    for nothing in (None, Augment()):
        np.testing.assert_allclose(change(pixels, drawn(nothing, 3, 32), ZERO, ONE), planes(pixels), atol=1e-6)


def test_values_are_normalised_a_channel(change):
    mean, std = (0.2, 0.5, 0.7), (0.1, 0.2, 0.3)
    expected = (planes(cells()) - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(change(cells(), drawn(None, 3, 32), mean, std), expected, atol=2e-6)
    np.testing.assert_allclose(change(cells(), moved(32, 3), mean, std), expected, atol=LEVELS / 0.1)
    np.testing.assert_allclose(change(cells(), recoloured(32, 3), mean, std), expected, atol=2e-5)


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_a_quarter_turn_is_rot90(change, turns):
    pixels = cells(size=31)
    expected = planes(np.rot90(pixels, turns, axes=(1, 2)))
    np.testing.assert_allclose(change(pixels, moved(31, 3, rotation=90.0 * turns), ZERO, ONE), expected, atol=LEVELS)


def test_a_flip_is_a_flip(change):
    pixels = cells()
    mirrored = change(pixels, moved(32, 3, flip_horizontal=True), ZERO, ONE)
    np.testing.assert_allclose(mirrored, planes(pixels[:, :, ::-1]), atol=LEVELS)
    upside_down = change(pixels, moved(32, 3, flip_vertical=True), ZERO, ONE)
    np.testing.assert_allclose(upside_down, planes(pixels[:, ::-1]), atol=LEVELS)


def test_a_shift_by_whole_pixels_rolls_the_inside_and_reflects_at_the_border(change):
    pixels = cells()
    shifted = change(pixels, moved(32, 3, shift_x=5 / 32, shift_y=-3 / 32), ZERO, ONE)
    expected = np.pad(pixels, ((0, 0), (3, 3), (5, 5), (0, 0)), mode="symmetric")[:, 6:38, 0:32]
    np.testing.assert_array_equal(expected[:, :29, 5:], np.roll(pixels, (-3, 5), axis=(1, 2))[:, :29, 5:])
    np.testing.assert_allclose(shifted, planes(expected), atol=LEVELS)


def test_zoom_by_two_shows_the_middle_twice_as_large(change):
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, None, :, None] * 8, (1, 32, 32, 3))
    zoomed = change(np.ascontiguousarray(ramp), moved(32, zoom=2.0), ZERO, ONE)
    expected = (15.5 + (np.arange(32) - 15.5) / 2) * 8 / 255
    np.testing.assert_allclose(zoomed[0, 0, 7], expected, atol=LEVELS)


def test_steps_apply_in_the_documented_order(change):
    """Flip, zoom, shear, turn, shift: the composed matrix is the product of the single ones."""
    steps = {"flip_horizontal": True, "zoom": 1.3, "shear": 15.0, "rotation": 40.0, "shift_x": 0.1, "shift_y": -0.05}

    def matrix(**step: float | bool) -> np.ndarray:
        return np.vstack([moved(32, 1, **step).matrices[0], [0, 0, 1]])

    shift = {name: steps[name] for name in ("shift_x", "shift_y")}
    single = [{"flip_horizontal": True}, {"zoom": 1.3}, {"shear": 15.0}, {"rotation": 40.0}, shift]
    # From output back to input: the last step is undone first.
    expected = np.linalg.multi_dot([matrix(**step) for step in single])
    np.testing.assert_allclose(matrix(**steps), expected, atol=1e-5)
    x = np.array([20.0, 9.0, 1.0])  # a point of the output, walked back by hand
    centred = x[:2] - 15.5 - np.array([3.2, -1.6])
    turn = np.deg2rad(40.0)
    centred = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ centred
    centred = np.array([centred[0] - np.tan(np.deg2rad(15.0)) * centred[1], centred[1]]) / 1.3 * np.array([-1, 1])
    np.testing.assert_allclose((matrix(**steps) @ x)[:2], centred + 15.5, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40))
def test_geometry_agrees_with_scipy(seed: int, size: int):
    """An independent implementation: scipy's spline of order 1 with symmetric borders ("reflect" there)."""
    augment = EVERYTHING.model_copy(update={"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0})
    pixels, changes = cells(1, size, seed), drawn(augment, 1, size, seed=seed)
    (a, b, c), (d, e, f) = changes.matrices[0].astype(np.float64)
    for channel in range(3):  # scipy's coordinates are (row, column)
        expected = affine_transform(pixels[0, :, :, channel].astype(np.float64), np.array([[e, d, f], [b, a, c]]),
                                    order=1, mode="reflect") / 255
        for name, way in WAYS.items():
            np.testing.assert_allclose(way(pixels, changes, ZERO, ONE)[0, channel], expected, atol=LEVELS, err_msg=name)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(8, 64), st.integers(1, 4))
def test_cpu_and_torch_agree(seed: int, size: int, count: int):
    pixels, changes = cells(count, size, seed), drawn(EVERYTHING, count, size, seed=seed)
    ours, theirs = (way(pixels, changes, (0.5, 0.6, 0.7), (0.2, 0.1, 0.3)) for way in WAYS.values())
    # These colours may make a difference almost four times as large; the least deviation is 0.1.
    assert np.abs(ours - theirs).max() <= 4 * LEVELS / 0.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_gpu_agree():
    pixels, changes = cells(16, 96), drawn(EVERYTHING, 16, 96)
    there = augment_torch(torch.from_numpy(pixels).cuda(), changes, ZERO, ONE)
    assert there.is_cuda
    np.testing.assert_allclose(there.cpu().numpy(), augment_cpu(pixels, changes, ZERO, ONE), atol=2 * LEVELS)


def test_brightness_scales_and_clips(change):
    pixels = cells()
    np.testing.assert_allclose(change(pixels, recoloured(32, 3, brightness=1.5), ZERO, ONE),
                               np.minimum(planes(pixels) * 1.5, 1), atol=1e-5)


def test_contrast_turns_about_the_cells_own_luma(change):
    pixels = cells() // 4 + 80
    luma = (planes(pixels).mean(axis=(2, 3)) @ [0.299, 0.587, 0.114])[:, None, None, None]
    np.testing.assert_allclose(change(pixels, recoloured(32, 3, contrast=0.5), ZERO, ONE),
                               luma + 0.5 * (planes(pixels) - luma), atol=1e-5)


def test_saturation_zero_is_luma(change):
    pixels = cells()
    luma = np.einsum("c,nchw->nhw", [0.299, 0.587, 0.114], planes(pixels))
    faded = change(pixels, recoloured(32, 3, saturation=0.0), ZERO, ONE)
    for channel in range(3):
        np.testing.assert_allclose(faded[:, channel], luma, atol=1e-3)


@given(st.floats(-0.5, 0.5), st.floats(0, 2))
def test_hue_and_saturation_keep_grey_and_luma(hue: float, saturation: float):
    matrix = recoloured(8, hue=hue, saturation=saturation).colours[0].astype(np.float64)
    np.testing.assert_allclose(matrix @ np.ones(3), np.ones(3), atol=1e-5)
    np.testing.assert_allclose(np.array([0.299, 0.587, 0.114]) @ matrix, [0.299, 0.587, 0.114], atol=1e-5)


def test_hue_turns_add_up_and_a_full_circle_is_none():
    def matrix(hue: float) -> np.ndarray:
        return recoloured(8, hue=hue).colours[0].astype(np.float64)

    np.testing.assert_allclose(matrix(0.1) @ matrix(0.25), matrix(0.35), atol=1e-5)
    np.testing.assert_allclose(matrix(1.0), np.eye(3), atol=1e-5)


def test_a_cells_changes_do_not_depend_on_its_batch(change):
    pixels = cells(6)
    together = change(pixels, drawn(EVERYTHING, 6, 32), ZERO, ONE)
    for number in (0, 3, 5):
        alone = sample_changes(EVERYTHING, seed=1, epoch=0, cells=np.array([number]), size=32)
        np.testing.assert_allclose(change(pixels[number:number + 1], alone, ZERO, ONE)[0], together[number], atol=1e-6)


def test_changes_differ_between_cells_epochs_and_seeds():
    matrices = [drawn(EVERYTHING, 50, 32, seed=seed, epoch=epoch).matrices
                for seed, epoch in ((1, 0), (1, 1), (2, 0), (0, 1), (0, 2))]
    every = np.concatenate(matrices).reshape(-1, 6)
    assert len(np.unique(every.round(5), axis=0)) == len(every)
    np.testing.assert_array_equal(drawn(EVERYTHING, 50, 32).matrices, matrices[0])


def test_draws_are_uniform_and_independent():
    augment = Augment(rotation=90, shift=0.25, flip_horizontal=True, brightness=0.5)
    changes = sample_changes(augment, seed=3, epoch=7, cells=np.arange(20_000), size=10)
    forward = np.linalg.inv(changes.matrices[:, :, :2].astype(np.float64))
    mirrored = np.linalg.det(forward) < 0
    assert stats.binomtest(int(mirrored.sum()), len(mirrored)).pvalue > 1e-4
    brightness = changes.colours.sum(axis=2)[:, 0] - 0.5
    assert stats.kstest(brightness, "uniform").pvalue > 1e-4
    angle = np.rad2deg(np.arctan2(-forward[:, 1, 0], np.where(mirrored, -1, 1) * forward[:, 0, 0]))
    upright = np.where(mirrored, -angle, angle)
    assert stats.kstest(upright / 180 + 0.5, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(upright, brightness)[0, 1]) < 0.03
    assert abs(np.corrcoef(brightness[1:], brightness[:-1])[0, 1]) < 0.03


def test_limits_of_the_recipe_are_kept():
    changes = sample_changes(Augment(zoom=0.25), seed=0, epoch=0, cells=np.arange(5000), size=10)
    zoom = 1 / changes.matrices[:, 0, 0]
    assert 0.75 <= zoom.min() < 0.76
    assert 1.24 < zoom.max() <= 1.25
    turned = sample_changes(Augment(rotation=10), seed=0, epoch=0, cells=np.arange(5000), size=10)
    assert turned.matrices[:, 0, 0].min() >= np.float32(np.cos(np.deg2rad(10)))


def test_odd_batches(change):
    assert change(cells(0), drawn(EVERYTHING, 0, 32), ZERO, ONE).shape == (0, 3, 32, 32)
    view = np.asarray(cells(4, 16)[::2])
    np.testing.assert_allclose(change(view, drawn(None, 2, 16), ZERO, ONE), planes(view), atol=1e-6)


def test_what_would_read_outside_the_pixels_is_refused():
    good, pixels = drawn(EVERYTHING, 3, 32), cells()
    with pytest.raises(ValueError, match="changes of 3 cells for 2"):
        augment_cpu(pixels[:2], good, ZERO, ONE)
    with pytest.raises(ValueError, match="contain NaN"):
        augment_cpu(pixels, replace(good, matrices=np.full((3, 2, 3), np.nan, np.float32)), ZERO, ONE)
    with pytest.raises(ValueError, match="std above 0"):
        augment_cpu(pixels, good, ZERO, ZERO)
