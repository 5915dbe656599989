"""Where nothing was recorded, and how a field was lit; and that fields look even and whole after it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from leukoscope.images.light import uneven_light
from leukoscope.images.read import read_image
from leukoscope.images.unrecorded import unrecorded
from leukoscope.phantom import render_field
from leukoscope.smear import find_leukocytes
from leukoscope.smear.even import even_field, unevenness
from leukoscope.smear.source import field_source

PINK = (240, 120, 180)
Colour = int | tuple[int, int, int]


@cache
def field():
    return render_field(900, 700, seed=3, micrometres_per_pixel=0.1, white_cells=2.0)


@cache
def found_in_whole():
    return find_leukocytes(field().pixels)


def behind(hidden: np.ndarray, level: Colour) -> np.ndarray:
    return np.where(hidden[..., None], np.array(level, np.uint8), field().pixels).astype(np.uint8)


def circle(share: float = 0.5) -> np.ndarray:
    y, x = np.indices(field().pixels.shape[:2])
    return np.hypot(x - 450, y - 350) > share * 900 * 0.75


def two_circles() -> np.ndarray:
    """Both eyepieces of a microscope, in one photograph."""
    y, x = np.indices(field().pixels.shape[:2])
    return (np.hypot(x - 235, y - 350) > 190) & (np.hypot(x - 665, y - 350) > 190)


def frame(width: int) -> np.ndarray:
    mask = np.ones(field().pixels.shape[:2], bool)
    mask[width:-width, width:-width] = False
    return mask


def tile() -> np.ndarray:
    mask = np.zeros(field().pixels.shape[:2], bool)
    mask[:300, 500:] = True
    return mask


def squares(side: int = 230) -> np.ndarray:
    y, x = np.indices(field().pixels.shape[:2])
    return (x // side + y // side) % 2 == 0


def bent(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """An L of missing tiles."""
    mask = np.zeros(field().pixels.shape[:2], bool)
    mask[top:bottom, left:(left + right) // 2] = True
    mask[top:(top + bottom) // 2, left:right] = True
    return mask


HIDDEN = {"round view": (circle(), 6), "dark round view": (circle(), 30), "black frame": (frame(50), 0),
          "white frame": (frame(50), 255), "missing tile": (tile(), 0), "white tile": (tile(), 255),
          "white L": (bent(0, 0, 500, 400), 255), "black L inside": (bent(300, 150, 700, 550), 0),
          "black squares": (squares(), 0), "white squares": (squares(), 255), "narrow view": (circle(0.35), 12),
          "two eyepieces": (two_circles(), 9), "pink frame": (frame(40), PINK), "blue frame": (frame(9), (60, 90, 200))}
FEW_CELLS = {"black squares", "white squares", "narrow view", "two eyepieces"}  # whole ones


@pytest.mark.parametrize("name", HIDDEN)
def test_what_was_not_recorded_is_found(name):
    hidden, level = HIDDEN[name]
    found = unrecorded(behind(hidden, level))
    both = (found & hidden).sum() / (found | hidden).sum()
    assert both > 0.97


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("name", ["black frame", "white frame", "narrow white frame", "missing tile", "white tile",
                                  "white L", "black L inside", "pink frame"])
def test_the_edge_of_a_frame_or_tile_is_found_in_a_jpeg(name, quality):
    """JPEG mixes it with what lies beside it: as far as a block, of which the edge is here no multiple."""
    hidden, level = {**HIDDEN, "narrow white frame": (frame(9), 255)}[name]
    stored = simplejpeg.encode_jpeg(behind(hidden, level), quality=quality, colorsubsampling="420")
    pixels = simplejpeg.decode_jpeg(stored)
    found = unrecorded(pixels)
    assert np.array_equal(found, unrecorded(pixels[::-1])[::-1])
    differs = np.argwhere(found != hidden)
    assert len(differs) <= 0.02 * hidden.sum()
    assert uneven_light(pixels, found) is None


def test_a_tile_is_found_where_it_is_most_of_the_field_and_a_white_background_is_none():
    hidden = np.zeros(field().pixels.shape[:2], bool)
    hidden[:, 300:] = True
    assert np.mean(unrecorded(behind(hidden, 255)) == hidden) > 0.99
    bright = np.clip(field().pixels.astype(int) * 14 // 10, 0, 255).astype(np.uint8)
    bright[:40] = 255  # rows without a cell
    assert not unrecorded(bright).any()


def test_nothing_is_hidden_in_a_whole_field_however_bright_or_dark():
    pixels = field().pixels
    assert not unrecorded(pixels).any()
    assert not unrecorded(np.clip(pixels.astype(int) * 13 // 10, 0, 255).astype(np.uint8)).any()  # a white background
    assert not unrecorded((pixels * 0.45).astype(np.uint8)).any()
    assert even_field(field_source(pixels)) is None


@pytest.mark.parametrize("name", sorted(HIDDEN.keys() - FEW_CELLS))
def test_whole_cells_are_found_as_without_it_and_no_corner_is_a_cell(name):
    hidden, level = HIDDEN[name]
    found = find_leukocytes(behind(hidden, level))
    whole = [cell for cell in found_in_whole().cells if not cell.cut]

    def visible(cell) -> float:
        return 1 - hidden[cell.y:cell.y + cell.height, cell.x:cell.x + cell.width].mean()

    clear = [cell for cell in whole if visible(cell) == 1]
    assert len(clear) >= 4
    near = [min((np.hypot(c.centre[0] - cell.centre[0], c.centre[1] - cell.centre[1]) for c in found.cells),
                default=np.inf) for cell in clear]
    assert np.mean(np.array(near) < 8) >= 0.9
    # What is left of a cell that the rim cuts has its middle elsewhere, but lies where the whole cell does.
    assert all(any(c.x - 15 <= x <= c.x + c.width + 15 and c.y - 15 <= y <= c.y + c.height + 15
                   for c in found_in_whole().cells) for x, y in (cell.centre for cell in found.cells))
    assert found.scale.micrometres_per_pixel == pytest.approx(0.1, rel=0.1)
    share = round(100 * hidden.mean())
    assert any(remark.endswith("shows nothing (black, white or of one colour) and was left out") and abs(
        int(remark.split()[0].split("\u202f")[0]) - share) <= 3 for remark in found.remarks)


def test_a_cell_at_the_rim_is_cut():
    hidden = circle(0.45)
    found = find_leukocytes(behind(hidden, 5))
    assert found.even is not None
    beside = cv2.dilate(hidden.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)  # the rim is blurred
    near = np.pad(beside, 3)
    touching = [cell for cell in found.cells if near[cell.y:cell.y + cell.height + 6, cell.x:cell.x + cell.width + 6][
        cv2.dilate(np.pad(cell.cell, 3).astype(np.uint8), np.ones((3, 3))) > 0].any()]
    assert touching
    assert all(cell.cut for cell in touching)
    inside = [cell for cell in found.cells if not hidden[max(cell.y - 25, 0):cell.y + cell.height + 25,
                                                         max(cell.x - 25, 0):cell.x + cell.width + 25].any()]
    assert inside
    border = [cell for cell in inside if cell.x == 0 or cell.y == 0]
    assert not any(cell.cut for cell in inside if cell not in border)


@pytest.mark.parametrize(("right", "down"), [(0.25, 0.0), (0.0, -0.3), (0.2, 0.15)])
def test_uneven_light_changes_neither_scale_nor_count(right, down):
    height, width = field().pixels.shape[:2]
    light = 1 - np.abs(right) / 2 - np.abs(down) / 2 + right * (
        np.linspace(-0.5, 0.5, width)[None]) + down * np.linspace(-0.5, 0.5, height)[:, None]
    pixels = np.clip(np.rint(field().pixels * light[..., None]), 0, 255).astype(np.uint8)
    assert uneven_light(pixels, np.zeros((height, width), bool)) is not None
    found, plain = find_leukocytes(pixels), found_in_whole()
    assert found.scale.micrometres_per_pixel == pytest.approx(plain.scale.micrometres_per_pixel, rel=0.05)
    assert abs(len(found.cells) - len(plain.cells)) <= 1
    assert "the light is uneven; it was evened out before cells were measured" in found.remarks


def test_lines_that_somebody_has_drawn_hide_nothing():
    drawn = field().pixels.copy()
    cv2.rectangle(drawn, (100, 100), (400, 300), (0, 255, 0), 4)
    cv2.putText(drawn, "10 um", (500, 600), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 0, 0), 6)
    assert not unrecorded(drawn).any()


def lit(light: np.ndarray) -> np.ndarray:
    """The field under other light: (height, width), or what can be spread to it."""
    height, width = field().pixels.shape[:2]
    levels = np.rint(field().pixels * np.broadcast_to(light, (height, width))[..., None])
    return np.clip(levels, 0, 255).astype(np.uint8)


def wave(depth: float, count: int) -> np.ndarray:
    return 1 - depth * (0.5 + 0.5 * np.sin(np.linspace(0, 2 * np.pi * count, field().pixels.shape[1])))


def from_middle() -> np.ndarray:
    """Distance from the middle of the field, 1 at its left and right end."""
    y, x = np.indices(field().pixels.shape[:2])
    return np.hypot(x - 450, y - 350) / 450


LIGHT = {"wave": wave(0.3, 1), "bands": wave(0.5, 3),
         "flickering lamp": 1 - 0.3 * (0.5 + 0.5 * np.sin(np.linspace(0, 30 * np.pi, 700)))[:, None],
         "bright middle": 0.4 + 0.6 * np.exp(-(from_middle() / 0.5)**4),
         "bright ring": 0.6 + 0.4 * np.exp(-((from_middle() - 0.6) / 0.2)**2)}


@pytest.mark.parametrize("name", LIGHT)
def test_light_that_rises_and_falls_changes_neither_scale_nor_count(name: str):
    found, plain = find_leukocytes(lit(LIGHT[name])), found_in_whole()
    assert found.scale.micrometres_per_pixel == pytest.approx(plain.scale.micrometres_per_pixel, rel=0.05)
    assert abs(len(found.cells) - len(plain.cells)) <= 1
    assert "the light is uneven; it was evened out before cells were measured" in found.remarks


@pytest.mark.parametrize("light", [
    1 - 0.4 * (0.5 + 0.5 * np.sin(np.linspace(0, 20 * np.pi, 900)[None] + np.linspace(0, 14 * np.pi, 700)[:, None])),
    np.where(np.indices((700, 900))[0] // 8 % 2, 1.0, 0.6)])
def test_no_scale_is_given_where_light_changes_within_a_cell(light: np.ndarray):
    found = find_leukocytes(lit(light))
    assert found.scale.micrometres_per_pixel is None
    assert "the light is uneven and could not be evened out: counts and outlines are doubtful" in found.remarks
    assert "no scale: the light could not be evened out; sizes are in pixels only" in found.remarks


def test_waves_that_are_red_cells_are_left(data_folder: Path):
    """Where red cells are as grey as their background, waves through them would make the light worse."""
    for name in ("N-3B_0469", "N-3B_0096", "L-8_0277"):
        pixels = read_image(next((data_folder / "chula" / "WBC_Samples").glob(f"*/images/{name}.jpg")))
        light = uneven_light(pixels, np.zeros(pixels.shape[:2], bool))
        assert light is not None
        assert light.evened
        assert light.coefficients.shape == (3, 3, 3)


@pytest.mark.parametrize("start", ["136_", "221_", "27_", "300_", "602_"])
def test_a_round_eyepiece_with_little_background_has_no_bands(data_folder: Path, start: str):
    """Rows near the rim of the circle show few pixels, and differ for that alone."""
    pixels = read_image(next((data_folder / "phone_pig").glob(f"*/images/{start}*.jpg")))
    look = unevenness(field_source(pixels))
    assert look is not None
    assert look.light is None or look.light.evened


@pytest.mark.parametrize("name", ["M-8_0810", "N-3B_0058", "N-3B_0743"])
def test_bands_over_a_field_with_little_background_are_noticed(data_folder: Path, name: str):
    pixels = read_image(next((data_folder / "chula" / "WBC_Samples").glob(f"*/images/{name}.jpg")))
    hidden = np.zeros(pixels.shape[:2], bool)
    for across in (0, 1):
        bands = 1 - 0.3 * (0.5 + 0.5 * np.cos(np.linspace(0, 10 * np.pi, pixels.shape[across])))
        under = (pixels * (bands[None, :, None] if across else bands[:, None, None])).astype(np.uint8)
        light = uneven_light(under, hidden)
        assert light is not None
        assert not light.evened
    light = uneven_light(pixels, hidden)
    assert light is not None
    assert light.evened


def test_what_is_left_of_the_light_is_small():
    even = even_field(field_source(lit(LIGHT["bands"])))
    assert even is not None
    flat = even.read(0, 0, 900, 700)
    bands = [np.percentile(flat[:, left:left + 50, 1], 90) for left in range(0, 900, 50)]
    assert np.ptp(bands) < 12  # grey levels; 90 before


@pytest.mark.parametrize("quality", [30, 80])
def test_a_view_of_less_than_half_the_field_is_found_in_a_jpeg(quality: int):
    """What is dark is not black then: grey levels of 3 to 14."""
    noise = np.random.default_rng(2).integers(3, 15, field().pixels.shape).astype(np.uint8)
    for hidden in (circle(0.3), two_circles(), np.indices(circle().shape)[1] > 400):
        stored = simplejpeg.encode_jpeg(np.where(hidden[..., None], noise, field().pixels), quality=quality)
        found = unrecorded(simplejpeg.decode_jpeg(stored))
        assert np.mean(found == hidden) > 0.98


@pytest.mark.parametrize("change", ["negative", "very dark", "very bright"])
def test_light_that_is_even_stays_so_in_fields_that_are_strangely_lit(change: str):
    pixels = {"negative": 255 - field().pixels, "very dark": field().pixels // 8,
              "very bright": np.minimum(field().pixels.astype(int) * 2, 255).astype(np.uint8)}[change]
    assert not unrecorded(pixels).any()
    assert uneven_light(pixels, np.zeros(pixels.shape[:2], bool)) is None


def test_coloured_light_is_evened_in_each_channel():
    """As in fields that are pink at one side and grey-blue at the other."""
    height, width = field().pixels.shape[:2]
    x = np.linspace(-1, 1, width)[None, :, None]
    pixels = np.clip(field().pixels * (0.8 - 0.15 * x * np.array([1.0, 0.2, -0.8])), 0, 255).astype(np.uint8)
    even = even_field(field_source(pixels))
    assert even is not None
    flat = even.read(0, 0, width, height)
    sides = [np.percentile(part.reshape(-1, 3), 90, axis=0) for part in (flat[:, :200], flat[:, -200:])]
    assert np.abs(sides[0] - sides[1]).max() < 8  # grey levels; 60 before
    assert height == even.height


@pytest.mark.parametrize("radius", [5, 8, 12, 40])
@pytest.mark.parametrize("background", [(255, 255, 255), (235, 235, 235), (240, 232, 245)])
def test_a_background_of_one_colour_is_no_part_however_few_cells_lie_on_it(background: tuple[int, ...], radius: int):
    """Over-exposed, or cut to the range of video: no pixel of it differs from the next."""
    rng = np.random.default_rng(radius)
    for cover in (0.01, 0.03, 0.05, 0.1, 0.3):
        pixels = np.full((600, 800, 3), background, np.uint8)
        for x, y in rng.integers(0, (800, 600), (max(int(cover * 480_000 / (np.pi * radius**2)), 1), 2)).tolist():
            cv2.circle(pixels, (x, y), radius, (200, 140, 150), -1)
        cells = cv2.GaussianBlur(pixels, (0, 0), 1) + rng.normal(0, 3, pixels.shape)
        stained = (pixels != background).any(axis=2, keepdims=True)
        assert not unrecorded(np.where(stained, cells, pixels).clip(0, 255).astype(np.uint8)).any(), cover


@pytest.mark.parametrize("quality", [5, 10, 20])
def test_coarse_jpeg_hides_nothing(quality: int):
    stored = simplejpeg.encode_jpeg(render_field(640, 480, seed=1).pixels, quality=quality)
    assert not unrecorded(simplejpeg.decode_jpeg(stored)).any()
