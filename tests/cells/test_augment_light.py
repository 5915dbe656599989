"""Stain, light, camera and surround: each does what it says, drawn for each cell and epoch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from leukoscope.cells.augment import sample_changes
from leukoscope.cells.augment_light import Light, draw_light, relight
from leukoscope.images.stain import AZURE, EOSIN
from leukoscope.recipes import Augment

CELLS = np.arange(400)


def cells(count: int = 1, size: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(30, 226, (count, size, size, 3)).astype(np.uint8)


def light(count: int = 1, **changed: object) -> Light:
    """No change at all, but for what is given."""
    plain = {"stains": np.repeat(np.eye(3, dtype=np.float32)[None], count, 0),
             "lights": np.zeros((count, 3), np.float32), "kept": np.ones((count, 2), np.float32),
             "blurs": np.zeros(count, np.float32), "noise": np.zeros(count, np.float32),
             "jpeg": np.zeros(count, np.int64), "seeds": np.zeros(count, np.int64)}
    return Light(**{**plain, **changed})  # type: ignore[arg-type]


def drawn(cells: np.ndarray = CELLS, epoch: int = 0, **steps: float) -> Light:
    found = draw_light(Augment(**steps), seed=1, epoch=epoch, cells=cells)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_no_change_leaves_every_level():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.abs(relight(levels, light()).astype(int) - np.maximum(levels, 1)).max() == 0
    assert relight(levels, None) is levels


def test_stain_scales_the_density_and_light_divides():
    pixels = cells()
    density = -np.log10(pixels / 255.0)
    strong = relight(pixels, light(stains=1.5 * np.eye(3, dtype=np.float32)[None]))
    assert np.abs(strong - 255 * 10**(-1.5 * density)).max() <= 0.51
    dim = relight(pixels, light(lights=np.log10(np.array([[0.9, 1.0, 0.8]], np.float32))))
    assert np.abs(dim - pixels * [0.9, 1, 0.8]).max() <= 0.51


def test_mixing_takes_density_from_one_channel_to_another():
    pixels = cells()
    mixed = np.array([[[1, 0, 0], [0.5, 1, 0], [0, 0, 1]]], np.float32)
    found = relight(pixels, light(stains=mixed))
    density = -np.log10(pixels / 255.0)
    assert np.array_equal(found[..., 0], pixels[..., 0])
    assert np.abs(found[..., 1] - 255 * 10**-(density[..., 1] + 0.5 * density[..., 0])).max() <= 0.51


def test_the_surround_is_white_outside_of_the_rectangle():
    found = relight(cells(size=20), light(kept=np.array([[0.5, 0.7]], np.float32)))[0]
    white = (found == 240).all(-1)
    assert white[:, :5].all()
    assert white[:, 15:].all()
    assert white[:3].all()
    assert not white[3:17, 5:15].any()


def test_blur_keeps_the_mean_and_noise_has_its_deviation():
    flat = np.full((1, 64, 64, 3), 128, np.uint8)
    assert (relight(flat, light(blurs=np.array([2.0], np.float32))) == 128).all()
    edge = cells(size=64)
    assert relight(edge, light(blurs=np.array([2.0], np.float32))).std() < 0.3 * edge.std()
    noisy = relight(flat, light(noise=np.array([6.0], np.float32))).astype(float) - 128
    assert noisy.std() == pytest.approx(6, rel=0.05)
    assert abs(noisy.mean()) < 0.3


def test_jpeg_changes_more_the_lower_its_quality():
    pixels = cells(size=64)
    lost = [np.abs(relight(pixels, light(jpeg=np.array([quality]))).astype(int) - pixels).mean()
            for quality in (95, 70, 40)]
    assert 0 < lost[0] < lost[1] < lost[2]


def test_draws_fill_their_ranges():
    found = drawn(stain=0.3, stain_hue=0.2, light=0.05, defocus=2.0, noise=5.0, jpeg=40, surround=0.3)
    strength = drawn(stain=0.3).stains[:, 0, 0]
    assert (strength.min(), strength.max()) == pytest.approx((0.7, 1.3), abs=0.01)
    mixing = drawn(stain_hue=0.2).stains - np.eye(3)
    own = mixing.diagonal(axis1=1, axis2=2)
    assert (own.min(), own.max()) == pytest.approx((-0.2, 0.2), abs=0.01)
    other = mixing[:, ~np.eye(3, dtype=bool)]
    assert (other.min(), other.max()) == pytest.approx((-0.1, 0.1), abs=0.01)
    assert np.abs(10**found.lights - 1).max() == pytest.approx(0.05, rel=0.02)
    assert (found.blurs == 0).mean() == pytest.approx(0.5, abs=0.08)
    assert found.blurs.max() == pytest.approx(2, rel=0.05)
    assert found.noise.max() == pytest.approx(5, rel=0.05)
    assert (found.jpeg == 0).mean() == pytest.approx(0.5, abs=0.08)
    assert found.jpeg[found.jpeg > 0].min() == pytest.approx(40, abs=3)
    assert (found.kept < 1).all(1).mean() == pytest.approx(0.3, abs=0.08)
    assert found.kept.min() == pytest.approx(0.45, abs=0.02)


def test_eosin_is_multiplied_and_azure_is_left():
    stains = drawn(eosin=1.5).stains
    factors = np.array([np.linalg.norm(one @ EOSIN) / np.linalg.norm(EOSIN) for one in stains])
    assert (np.log2(factors).min(), np.log2(factors).max()) == pytest.approx((-1.5, 1.5), abs=0.03)
    assert np.abs(stains @ AZURE - AZURE).max() < 1e-6
    assert np.abs(stains @ np.cross(AZURE, EOSIN) - np.cross(AZURE, EOSIN)).max() < 1e-6


def test_each_step_alone_leaves_the_others_out():
    alone = drawn(noise=5.0)
    assert (alone.stains == np.eye(3)).all()
    assert not alone.lights.any()
    assert (alone.kept == 1).all()
    assert not alone.blurs.any()
    assert not alone.jpeg.any()


def test_draws_depend_on_the_cell_and_the_epoch_alone():
    steps: dict[str, Any] = {"stain": 0.3, "light": 0.1, "noise": 5.0}
    whole, part = drawn(**steps), drawn(CELLS[100:110], **steps)
    pixels = np.repeat(cells(), 400, 0)
    assert np.array_equal(relight(pixels, whole)[100:110], relight(pixels[:10], part))
    assert not np.array_equal(drawn(epoch=1, **steps).stains, whole.stains)


def test_geometry_is_drawn_as_if_there_were_no_light():
    plain = sample_changes(Augment(rotation=90, zoom=0.1), seed=3, epoch=2, cells=CELLS, size=32)
    lit = sample_changes(Augment(rotation=90, zoom=0.1, stain=0.2), seed=3, epoch=2, cells=CELLS, size=32)
    assert np.array_equal(plain.matrices, lit.matrices)
    assert plain.light is None
    assert lit.light is not None


def test_kept_copies_are_not_relit():
    with pytest.raises(ValueError, match="anew"):
        Augment(stain=0.2, copies={"a": 10})
    assert Augment(stain=0.2, copies={"a": 10}, anew=True).each_epoch
