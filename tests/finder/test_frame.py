"""Framing: a cell looks the same in any light and at any scale of the photograph."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukoscope.finder.frame import (
    LIT,
    SPAN,
    find_frame,
    frame_cell,
    frame_outlined,
    relit,
    shaped,
    shown_side,
    shown_square,
)
from leukoscope.images.read import read_image
from leukoscope.images.resample import crop_centre, resize
from leukoscope.images.stain import AZURE, EOSIN, optical_density
from leukoscope.recipes import Preprocess


def cell(radius: float = 30, at: tuple[float, float] = (100, 100), size: int = 200,
         white: tuple[int, int, int] = (250, 240, 225)) -> np.ndarray:
    """A round nucleus in its cytoplasm, with red cells in the corners, drawn four times as large and averaged."""
    big = np.full((4 * size, 4 * size, 3), white, np.uint8)
    x, y = (round(4 * value + 1.5) for value in at)

    def disc(where: tuple[int, int], reach: float, light: tuple[float, float, float]) -> None:
        colour = tuple(float(w * share) for w, share in zip(white, light, strict=True))
        cv2.circle(big, where, round(4 * reach), colour, -1)

    for corner in ((0, 0), (4 * size, 0), (0, 4 * size), (4 * size, 4 * size)):
        disc(corner, size / 6, (0.85, 0.7, 0.7))
    disc((x, y), 1.5 * radius, (0.8, 0.75, 0.9))
    disc((x, y), radius, (0.35, 0.25, 0.6))
    return np.asarray(cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("radius", [12, 20, 40])
@pytest.mark.parametrize("at", [(100.0, 100.0), (80.0, 118.0)])
def test_the_frame_is_about_the_nucleus_and_in_proportion_to_it(radius, at):
    found = find_frame(cell(radius, at))
    assert (found.x, found.y) == pytest.approx(at, abs=1)
    assert found.side == pytest.approx(SPAN * 2 * radius * 1.5**0.5, rel=0.12)  # the cell is 1.5 times as wide


@pytest.mark.parametrize("white", [(250, 240, 225), (200, 210, 230), (230, 200, 180)])
def test_the_light_of_a_free_place_is_found_and_becomes_one(white):
    pixels = cell(white=white)
    assert find_frame(pixels).white == pytest.approx(white, abs=1)
    framed = frame_cell(pixels, 96)
    assert np.median(framed[:8].reshape(-1, 3), axis=0) == pytest.approx([LIT] * 3, abs=2)


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(0.6, 2), red=st.floats(0.75, 1), green=st.floats(0.75, 1), blue=st.floats(0.75, 1))
def test_scale_and_light_of_the_photograph_make_little_difference(scale, red, green, blue):
    pixels = cell()
    side = round(scale * 200)
    other = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    other = np.rint(other * [red, green, blue]).astype(np.uint8)
    first, second = (frame_cell(one, 64).astype(float) for one in (pixels, np.asarray(other)))
    assert np.abs(first - second).mean() < 3  # grey levels; the edge of the nucleus alone differs
    assert np.abs(resize(pixels, 64).astype(float) - resize(other, 64)).mean() > 3 or min(red, green, blue) > 0.93


def stained(azure: np.ndarray, eosin: np.ndarray = EOSIN) -> np.ndarray:
    """A nucleus among granules stained by eosin only, in a pale cytoplasm stained by a tenth of both dyes."""
    y, x = np.mgrid[:200, :200] - 99.5
    apart = np.hypot(y, x)
    amounts = np.stack([np.select([apart < 30, apart < 42, apart < 50], [1, 0, 0.1], 0),
                        np.select([apart < 30, apart < 42, apart < 50], [0, 0.6, 0.1], 0)], axis=-1)
    return np.rint([250, 240, 225] * 10 ** -(amounts @ np.stack([azure, eosin]))).astype(np.uint8)


def nucleus_density(framed: np.ndarray) -> float:
    middle = len(framed) // 2
    square = framed[middle - 4:middle + 4, middle - 4:middle + 4]
    return float(np.median(optical_density(square, np.full(3, float(LIT)))[..., 1]))


@pytest.mark.parametrize("strength", [0.35, 0.6, 1.6])
def test_depth_of_stain_is_brought_near_to_one(strength):
    whole, other = stained(AZURE), stained(strength * AZURE)
    depths = nucleus_density(frame_cell(whole, 64)), nucleus_density(frame_cell(other, 64))
    assert abs(np.log(depths[1] / depths[0])) < 0.45 * abs(np.log(strength))
    assert find_frame(other).gain == pytest.approx((0.62 / (strength * AZURE[1])) ** 0.75, rel=0.1)


def test_colours_are_not_changed():
    """All densities are multiplied by one number."""
    pixels = stained(0.5 * AZURE)
    frame = find_frame(pixels)
    square = optical_density(frame_cell(pixels, 96), np.full(3, float(LIT)))
    nucleus = np.median(square[46:50, 46:50].reshape(-1, 3), axis=0)
    assert nucleus == pytest.approx(frame.gain * 0.5 * AZURE, abs=0.03)


def test_only_the_cell_is_shown():
    """Neighbours and the border of the photograph would tell the laboratory."""
    pixels = cell(30, (100, 100))
    pixels[140:150, 140:150] = 200, 160, 160
    square = frame_cell(pixels, 96)
    y, x = np.mgrid[:96, :96] - 47.5
    apart = np.hypot(y, x) * find_frame(pixels).side / 96
    assert (square[apart > 1.5 * 30 + 10] == LIT).all()
    assert np.abs(square[apart < 1.5 * 30 - 2].astype(int) - LIT).min(axis=0).max() > 5
    assert (frame_cell(pixels, 96, replace(find_frame(pixels), shown=None))[apart > 58] < LIT - 5).any()


def test_a_trace_of_stain_is_not_made_a_nucleus():
    frame = find_frame(np.full((50, 70, 3), 200, np.uint8))
    assert (frame.gain, frame.shown, frame.found) == (1.0, None, False)
    assert find_frame(stained(0.15 * AZURE)).gain <= 2.6


@pytest.mark.parametrize("strength", [0.14, 0.2, 0.3, 0.4, 0.45])
def test_a_pale_nucleus_is_looked_at_again_with_stronger_densities(strength):
    """At the last two, the first look sees a part of the nucleus only."""
    pixels = relit(cell(), np.array([250.0, 240, 225]), strength)
    found, deep = find_frame(pixels), find_frame(cell())
    assert found.found
    assert (found.x, found.y, found.side) == pytest.approx((deep.x, deep.y, deep.side), abs=4)


def test_a_black_bar_does_not_hide_a_pale_nucleus():
    pixels = np.ascontiguousarray(relit(cell(), np.array([250.0, 240, 225]), 0.14))
    pixels[:12] = 0
    assert find_frame(pixels).found


@pytest.mark.parametrize("strength", [0.3, 0.5, 1.0])
def test_a_pale_red_cell_is_not_made_a_nucleus(strength):
    pixels = np.full((200, 200, 3), 240, np.uint8)
    cv2.circle(pixels, (100, 100), 40, (235, 160, 170), -1)
    assert not find_frame(relit(pixels, np.full(3, 240.0), strength)).found


def test_known_outlines_give_the_frame_that_is_searched_for():
    pixels = cell(30, (110, 95))
    y, x = np.mgrid[:200, :200]
    apart = np.hypot(y - 95, x - 110)
    given, found = frame_outlined(pixels, apart < 30, apart < 45, np.array([250.0, 240, 225])), find_frame(pixels)
    assert (given.x, given.y) == pytest.approx((110, 95), abs=0.1)
    assert given.side == pytest.approx(SPAN * (60 * 90) ** 0.5, rel=0.01)
    assert (found.x, found.y, found.side) == pytest.approx((given.x, given.y, given.side), rel=0.06)
    assert found.gain == pytest.approx(given.gain, rel=0.05)


def test_beyond_the_image_all_is_as_a_free_place():
    framed = frame_cell(cell(40, (60, 100), 200)[:, 10:], 96)
    assert np.abs(framed[:, :6].astype(int) - LIT).max() <= 2


def test_an_image_without_a_cell_is_framed_as_a_whole():
    found = find_frame(np.full((50, 70, 3), 200, np.uint8))
    assert (found.x, found.y, found.side) == (34.5, 24.5, 70)
    assert not found.found
    assert find_frame(cell()).found
    assert (frame_cell(np.zeros((40, 40, 3), np.uint8), 32) == LIT).all()  # nothing was recorded at all


def test_where_nothing_was_recorded_nothing_is_measured():
    """Like the cells of C-NMC: cut out along their outline, black around it."""
    pixels = cell()
    y, x = np.mgrid[:200, :200]
    pixels[(x - 100)**2 + (y - 100)**2 > 46**2] = 0
    found = find_frame(pixels)
    assert (found.x, found.y) == pytest.approx((100, 100), abs=1)
    assert found.side == pytest.approx(SPAN * (60 * 92) ** 0.5, rel=0.1)
    assert len(set(found.white)) == 1  # grey: nothing is known of the colour of the light
    assert nucleus_density(frame_cell(pixels, 96)) == pytest.approx(0.6, abs=0.15)
    assert (frame_cell(pixels, 96)[:3] == LIT).all()


def test_a_nucleus_that_was_recorded_as_black_stays_dark():
    """With a steep camera curve or a dark stain: black, but not a cell that was cut out."""
    pixels = stained(AZURE)
    pixels[np.hypot(*(np.mgrid[:200, :200] - 99.5)) < 30] = 0
    assert find_frame(pixels).side == pytest.approx(find_frame(stained(AZURE)).side, rel=0.06)
    square = frame_cell(pixels, 96)
    assert np.median(square[40:56, 40:56]) < 100
    shown = shown_square(pixels, Preprocess(size=32, frame="cell"))
    middle = slice(len(shown) // 2 - 10, len(shown) // 2 + 10)
    assert (shown[middle, middle] == 0).all()


@pytest.mark.parametrize("bar", [np.s_[:, :20], np.s_[180:], np.s_[:40], np.s_[:30, :30]])
def test_a_black_bar_is_no_nucleus(bar):
    """As at the edge of a scan, or around a round field of view."""
    pixels = stained(AZURE)
    whole, square = find_frame(pixels), frame_cell(pixels, 96)
    pixels[bar] = 2
    found = find_frame(pixels)
    assert (found.x, found.y, found.side) == pytest.approx((whole.x, whole.y, whole.side), rel=0.01)
    assert np.abs(frame_cell(pixels, 96).astype(int) - square).mean() < 4.5  # grey levels
    shown = shaped(pixels, Preprocess(size=200, frame="light"))
    assert np.abs(shown[bar].astype(int) - LIT).max() <= 2


def test_a_black_nucleus_stays_dark_where_the_cell_was_cut_out_too():
    pixels = stained(AZURE)
    apart = np.hypot(*(np.mgrid[:200, :200] - 99.5))
    pixels[(apart > 55) | (apart < 25)] = 0
    found, square = find_frame(pixels), frame_cell(pixels, 96)
    assert len(set(found.white)) == 1
    assert np.median(square[44:52, 44:52]) < 100
    assert np.abs(square[0, [0, -1]].astype(int) - LIT).max() <= 1  # the corners


def test_relit_scales_each_channel():
    pixels = np.array([[[100, 100, 100], [0, 0, 0], [200, 250, 255]]], np.uint8)
    white = np.array([200.0, 240.0, 255.0])
    assert relit(pixels, white).tolist() == [[[120, 100, 94], [0, 0, 0], [240, 250, 240]]]
    assert relit(pixels, white, 2.0).tolist() == [[[60, 42, 37], [0, 0, 0], [240, 255, 240]]]


def test_frames_of_real_cells_hold_the_cell(data_folder):
    """PBC's cells stand in the middle of 360 x 363 px, at one scale: nuclei of 4 to 25 micrometres, platelets down to
    1.5."""
    files = sorted((data_folder / "pbc").rglob("*.jpg"))[::60]
    frames = [find_frame(read_image(file)) for file in files]
    near = [np.hypot(frame.x - 180, frame.y - 181) < 60 for frame in frames]
    assert np.mean(near) > 0.97
    sides = np.array([frame.side for frame in frames])
    assert 130 < np.median(sides) < 240
    assert np.percentile(sides, 2) > 36
    assert np.percentile(sides, 98) < 370


def test_shaped_does_what_is_asked():
    pixels = cell(white=(200, 210, 230))
    assert np.array_equal(shaped(pixels, Preprocess(size=32, crop=90)), resize(crop_centre(pixels, 90), 32))
    assert np.array_equal(shaped(pixels, Preprocess(size=32, frame="cell")), frame_cell(pixels, 32))
    assert np.array_equal(shaped(pixels, Preprocess(size=32, frame="light")),
                          resize(relit(pixels, find_frame(pixels).white), 32))


def test_how_much_of_a_picture_is_shown():
    pixels = cell(20)
    assert shown_side(pixels, Preprocess(size=32, crop=90)) == 90
    assert shown_side(pixels, Preprocess(size=32)) == 0
    assert shown_side(pixels, Preprocess(size=32, frame="cell")) == pytest.approx(SPAN * 40 * 1.5**0.5, rel=0.1)


def test_the_shown_square_is_that_of_the_frame_in_its_own_light():
    pixels = cell(20, at=(60, 130), white=(200, 210, 230))
    assert np.array_equal(shown_square(pixels, Preprocess(size=32, crop=90)), crop_centre(pixels, 90))
    found, square = find_frame(pixels), shown_square(pixels, Preprocess(size=32, frame="cell"))
    side = round(found.side)
    left, top = round(found.x - (side - 1) / 2), round(found.y - (side - 1) / 2)
    assert np.array_equal(square, pixels[top:top + side, left:left + side])


@pytest.mark.parametrize("shape", [(1, 1000), (3, 500), (2000, 30)])
def test_a_strip_that_is_stained_at_its_far_end_is_framed_as_a_whole(shape):
    pixels = np.full((*shape, 3), 230, np.uint8)
    pixels[-max(shape[0] // 20, 1):, -max(shape[1] // 20, 1):] = (90, 40, 130)
    assert find_frame(pixels).side == max(shape)
    assert frame_cell(pixels, 32).shape == (32, 32, 3)


def test_an_image_of_any_shape_fits_into_memory():
    """Its square would need 30 GB."""
    strip = np.full((1, 100_000, 3), 200, np.uint8)
    strip[:, 50_000:] = 100
    framed = frame_cell(strip, 64)
    assert framed.shape == (64, 64, 3)
    assert np.array_equal(framed[:31], np.full((31, 64, 3), LIT))


def test_a_frame_and_a_crop_exclude_each_other():
    with pytest.raises(ValueError, match="frame = 'cell' crops already"):
        Preprocess(frame="cell", crop=100)
