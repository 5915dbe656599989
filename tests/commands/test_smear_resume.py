"""The parts of finding leukocytes, against analytic solutions, brute force and independent implementations."""

from __future__ import annotations

from itertools import pairwise, permutations
from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.filters import threshold_otsu
from skimage.measure import regionprops

from leukoscope.errors import LeukoscopeError
from leukoscope.finder.outline import outline_cells, separate
from leukoscope.images.stain import optical_density, otsu, white_point
from leukoscope.smear import ArrayField, FoundCell, FoundField, Scale
from leukoscope.smear.grid import grid_of, tiles
from leukoscope.smear.measure import count_lobes, measure, shape
from leukoscope.smear.scale import measure_red_cells
from leukoscope.smear.score import OVERLAP, Truth, dice, match, overlaps, score_field, summarise
from leukoscope.smear.train_network import Sample, depths, fit, lay_in, numbered, phantom_samples
from leukoscope.smear.train_network import crop as crop_of


def disc(x: float, y: float, radius: float, size: int = 200) -> np.ndarray:
    rows, columns = np.indices((size, size))
    return np.hypot(columns - x, rows - y) <= radius


# ------------------------------------------------------------------------------------------------ stain and scale

def test_the_white_point_is_the_background_whatever_lies_on_it():
    pixels = np.full((200, 200, 3), (230, 220, 210), np.uint8)
    for x in (30, 80, 130):
        pixels[disc(x, 60, 22)] = (200, 150, 160)
    pixels[disc(120, 140, 30)] = (90, 60, 150)
    assert white_point(pixels).tolist() == [230, 220, 210]


def test_the_white_point_is_not_that_of_pale_cells_which_cover_more_than_the_background():
    pixels = np.full((200, 200, 3), (210, 165, 170), np.uint8)
    pixels[:, :60] = (250, 225, 200)
    pixels[disc(130, 100, 40)] = (60, 30, 110)
    assert white_point(pixels).tolist() == [250, 225, 200]


def test_optical_density_is_the_logarithm_of_what_is_left():
    pixels = np.array([[[200, 20, 2], [250, 0, 200]]], np.uint8)
    density = optical_density(pixels, np.array([200.0, 200, 200]))
    np.testing.assert_allclose(density[0, 0], [0, 1, 2], atol=1e-6)
    np.testing.assert_allclose(density[0, 1], [-np.log10(1.25), np.log10(200), 0], atol=1e-6)


@settings(deadline=None)
@given(arrays(np.int64, 64, elements=st.integers(0, 50)))
def test_otsu_parts_as_well_as_another_implementation(counts: np.ndarray):
    counts[[3, 40]] += 1
    ours, other = otsu(counts), int(threshold_otsu(hist=(counts, np.arange(64))))

    def between(threshold: int) -> float:
        low, high = np.arange(64) <= threshold, np.arange(64) > threshold
        weights = counts[low].sum(), counts[high].sum()
        means = [np.average(np.arange(64)[part], weights=counts[part]) for part in (low, high)]
        return float(weights[0] * weights[1] * (means[0] - means[1]) ** 2)

    assert between(ours) == pytest.approx(between(other))


@pytest.mark.parametrize("radius", [9, 20, 45])
def test_red_cells_are_measured_where_they_overlap(radius: int):
    """Discs that overlap in pairs; 0.96 is what cells, which are less round, lack of a disc."""
    size = radius * 14
    pixels = np.full((size, size, 3), 220, np.uint8)
    for row in range(3):
        for column in range(4):
            x, y = (2.2 + 2 * 1.5 * column - 0.55 * (column % 2)) * radius, (2.2 + 3.4 * row) * radius
            pixels[disc(x, y, radius, size)] = (200, 160, 170)
    found = measure_red_cells([pixels], white_point(pixels), [np.zeros(pixels.shape[:2], bool)])
    assert len(found.diameters) == 12
    assert np.median(found.diameters) * 0.96 == pytest.approx(2 * radius, rel=0.05)


def test_no_scale_is_given_by_fewer_than_four_red_cells():
    pixels = np.full((300, 300, 3), 220, np.uint8)
    for number, x in enumerate((60, 150, 240)):
        pixels[disc(x, 100 + 40 * number, 30, 300)] = (200, 160, 170)
    found = measure_red_cells([pixels], white_point(pixels), [np.zeros(pixels.shape[:2], bool)])
    assert len(found.diameters) == 3
    assert found.scale is None


# ------------------------------------------------------------------------------------------------ grid

@settings(deadline=None)
@given(st.floats(0.02, 0.75))
def test_the_working_grid_is_near_a_quarter_micrometre(scale: float):
    grid = grid_of(scale)
    assert 1 in (grid.merged, grid.split)
    assert grid.scale == pytest.approx(scale * grid.merged / grid.split)
    assert 0.25 / 1.51 < grid.scale < 0.25 * 1.51


@given(width=st.integers(32, 3000), height=st.integers(32, 3000), scale=st.sampled_from([0.05, 0.1, 0.3, 0.7]),
       largest=st.integers(96, 900))
@settings(max_examples=40, deadline=None)
def test_cores_cover_the_field_once_and_windows_hold_their_cores(width: int, height: int, scale: float, largest: int):
    grid = grid_of(scale)
    source = ArrayField(np.broadcast_to(np.uint8(0), (height, width, 3)))
    columns, rows = grid.size(source)
    covered = 0
    for tile in tiles(source, grid, largest):
        left, top, right, bottom = tile.core
        covered += (right - left) * (bottom - top)
        assert tile.left <= left < right <= tile.left + tile.width <= columns
        assert tile.top <= top < bottom <= tile.top + tile.height <= rows
        assert tile.left * grid.merged % grid.split == 0
    assert covered == columns * rows


# ------------------------------------------------------------------------------------------------ outlines

def maps_of(*cells: tuple[float, float, float, float], size: int = 160) -> np.ndarray:
    """Maps of round cells (x, y, radius, radius of the nucleus), as the network would give them."""
    maps = np.zeros((3, size, size), np.float32)
    for x, y, radius, nucleus in cells:
        maps[0][disc(x, y, nucleus, size)] = 0.9
        maps[1][disc(x, y, radius, size)] = 0.95
        maps[2][disc(x, y, radius * 0.5, size)] = 0.9
    return maps


def test_cells_that_touch_part_half_way_between_their_cores():
    labels = separate(maps_of((50, 80, 30, 20), (106, 80, 30, 20)), 50.0)
    left, right = labels[80, 50], labels[80, 106]
    assert left != right
    assert (labels[80, 21:77] == left).all()
    assert (labels[80, 80:136] == right).all()
    assert len(outline_cells(maps_of((50, 80, 30, 20), (106, 80, 30, 20)), 0.25)) == 2


def test_a_core_without_a_nucleus_is_no_cell_of_its_own():
    maps = maps_of((50, 80, 30, 20), (106, 80, 30, 2))
    assert len(outline_cells(maps, 0.25)) == 1


def test_what_is_as_small_as_a_platelet_is_left_out_unless_the_edge_cuts_it():
    small = maps_of((80, 80, 12, 7))  # 6 um across with a nucleus of 3.5 um
    assert outline_cells(small, 0.25) == []
    cut = maps_of((80, -1, 20, 17))  # half of a cell of 10 um
    assert len(outline_cells(cut, 0.25)) == 1
    assert len(outline_cells(cut, 0.12)) == 0


# ------------------------------------------------------------------------------------------------ morphometry

@pytest.mark.parametrize("radius", [8, 15, 40, 90])
def test_a_disc_is_round_and_convex(radius: int):
    roundness, solidity = shape(disc(100, 100, radius))
    assert roundness == pytest.approx(1, abs=0.02)
    assert solidity == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0])
def test_roundness_of_an_ellipse_is_that_of_its_axes(ratio: float):
    rows, columns = np.indices((200, 300))
    a, b = 30 * ratio, 30
    mask = ((columns - 150) / a) ** 2 + ((rows - 100) / b) ** 2 <= 1
    h = ((a - b) / (a + b)) ** 2
    perimeter = pi * (a + b) * (1 + 3 * h / (10 + sqrt(4 - 3 * h)))  # Ramanujan
    assert shape(mask)[0] == pytest.approx(4 * pi * (pi * a * b) / perimeter**2, rel=0.02)


def test_solidity_agrees_with_another_implementation():
    mask = disc(70, 100, 35) | disc(130, 100, 35) | disc(100, 60, 20)
    assert shape(mask)[1] == pytest.approx(regionprops(mask.astype(int))[0].solidity, abs=0.02)


@pytest.mark.parametrize("lobes", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("zoom", [1, 2])
def test_lobes_on_thin_strands_are_counted_at_any_scale(lobes: int, zoom: int):
    size = 150 * zoom
    centres = [((75 + 45 * np.cos(t)) * zoom, (75 + 45 * np.sin(t)) * zoom) for t in np.arange(lobes) * 1.05]
    mask = np.zeros((size, size), bool)
    for x, y in centres:
        mask |= disc(x, y, 16 * zoom, size)
    for (x, y), (x2, y2) in pairwise(centres):
        for share in np.linspace(0, 1, 24):
            mask |= disc(x + share * (x2 - x), y + share * (y2 - y), 3 * zoom, size)
    assert count_lobes(mask) == lobes


def test_a_band_is_one_lobe_and_an_appendage_none():
    rows, columns = np.indices((200, 200))
    ring = np.hypot(columns - 100, rows - 100)
    band = (ring > 35) & (ring < 60) & (columns < 130)
    assert count_lobes(band) == 1
    assert count_lobes(disc(90, 100, 40) | disc(142, 100, 8) | (disc(130, 100, 3))) == 1
    assert count_lobes(np.zeros((9, 9), bool)) == 0


def test_a_cell_is_measured_in_pixels_and_micrometres():
    cell, nucleus = disc(100, 100, 60), disc(100, 100, 30)
    pixels = np.full((200, 200, 3), 240, np.uint8)
    pixels[cell] = (180, 120, 200)
    pixels[nucleus] = (90, 60, 120)
    sizes = measure(pixels, cell, nucleus, np.array([240.0, 240, 240]), 0.1)
    assert sizes.cell_area == cell.sum()
    assert sizes.cell_area_um2 == pytest.approx(pi * 36, rel=0.01)
    assert sizes.nucleus_diameter_um == pytest.approx(6, rel=0.01)
    assert sizes.nucleus_share == pytest.approx(0.25, rel=0.01)
    assert sizes.nucleus_to_cytoplasm == pytest.approx(1 / 3, rel=0.01)
    assert sizes.nucleus_colour == pytest.approx((0.375, 0.25, 0.5))
    assert sizes.cytoplasm_colour == pytest.approx((0.75, 0.5, 200 / 240))
    bare = measure(pixels, nucleus, nucleus, np.array([240.0, 240, 240]), None)
    assert bare.nucleus_to_cytoplasm == np.inf
    assert bare.cytoplasm_colour is None
    assert bare.cell_diameter_um is None


# ------------------------------------------------------------------------------------------------ evaluation

BOXES = st.lists(st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2), min_size=1, max_size=5)


@settings(deadline=None)
@given(BOXES, BOXES)
def test_overlap_is_counted_pixel_by_pixel_and_pairs_are_as_many_as_can_be(first: list, second: list):
    likeness = overlaps(np.array(first, float), np.array(second, float))

    def pixels(box: tuple[int, ...]) -> set[tuple[int, int]]:
        x, y, width, height = box
        return {(i, j) for i in range(x, x + width) for j in range(y, y + height)}

    for i, one in enumerate(first):
        for j, other in enumerate(second):
            a, b = pixels(one), pixels(other)
            assert likeness[i, j] == pytest.approx(len(a & b) / len(a | b))
    pairs = match(likeness, OVERLAP)
    few, many = (likeness, likeness.T)[:: 1 if len(first) <= len(second) else -1]
    best = max(sum(few[i, j] >= OVERLAP for i, j in enumerate(order))
               for order in permutations(range(many.shape[0] if few is many.T else few.shape[1]), len(few)))
    assert len(pairs) == best
    assert all(likeness[i, j] >= OVERLAP for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


def found_with(*boxes: tuple[int, int, int, int]) -> FoundField:
    cells = []
    for x, y, width, height in boxes:
        mask = np.ones((height, width), bool)
        sizes = measure(np.full((height, width, 3), 99, np.uint8), mask, mask, np.array([200.0] * 3), None)
        centre = (x + (width - 1) / 2, y + (height - 1) / 2)
        cells.append(FoundCell(x, y, width, height, centre, mask, mask, False, 0.9, sizes))
    scale = Scale(None, "none", "", 0, None)
    return FoundField(100, 80, tuple(cells), scale, (200.0, 200.0, 200.0), True, ())


def test_a_field_is_scored_by_hand():
    mask = np.zeros((80, 100), bool)
    mask[10:30, 10:30] = True
    truth = Truth("a", np.array([[10, 10, 20, 20], [60, 40, 20, 20]]), mask, mask)
    score = score_field(found_with((10, 10, 20, 10), (66, 46, 10, 10), (0, 70, 8, 8)), truth)
    assert (score.true, score.found, score.matched, score.inside) == (2, 3, 1, 2)
    assert score.missed == (1,)
    assert score.extra == (1, 2)
    assert score.masked == ()
    assert score.nucleus_dice == pytest.approx(2 * 200 / (400 + 200 + 100 + 64))


def test_a_cell_that_the_masks_have_and_the_boxes_lack_is_no_false_alarm_by_mask():
    mask = np.zeros((80, 100), bool)
    mask[10:30, 10:30] = mask[40:60, 60:80] = True
    truth = Truth("a", np.array([[10, 10, 20, 20]]), mask, mask)
    alone = score_field(found_with((10, 10, 20, 20), (60, 40, 20, 20), (0, 70, 8, 8)), truth)
    assert (alone.extra, alone.masked) == ((1, 2), (1,))
    figures = summarise([alone] * 3)
    assert (figures.precision.count, figures.precision_masked.count, figures.precision_masked.total) == (3, 6, 9)
    pieces = score_field(found_with((10, 10, 20, 20), (10, 30, 20, 8), (60, 40, 10, 20), (70, 40, 10, 20)), truth)
    assert (pieces.extra, pieces.masked) == ((1, 2, 3), ())  # one in two pieces is two false alarms at best


def test_a_summary_adds_fields_and_has_intervals():
    truth = Truth("a", np.array([[10, 10, 20, 20]]))
    right, wrong, empty = found_with((10, 10, 20, 20)), found_with((50, 50, 20, 20)), found_with()
    figures = summarise([score_field(found, truth) for found in (right, right, right, wrong, empty)])
    perfect = summarise([score_field(right, truth)] * 5).f1
    assert perfect.value == perfect.high == 1
    assert perfect.low is not None
    assert perfect.low < 0.9
    assert (figures.recall.count, figures.recall.total) == (3, 5)
    assert (figures.precision.count, figures.precision.total) == (3, 4)
    assert figures.f1.value == pytest.approx(6 / 9)
    for figure in (figures.recall, figures.precision, figures.f1, figures.recall_by_cell):
        assert figure.low is not None
        assert figure.high is not None
        assert figure.value is not None
        assert 0 <= figure.low < figure.value < figure.high <= 1
    assert figures.nucleus_dice.value is None
    assert "3 of 5" in figures.table()


def test_dice_of_two_empty_masks_is_not_defined():
    assert dice(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) is None
    assert dice(np.array([True, True, False]), np.array([True, False, True])) == 0.5


def test_masks_of_another_size_are_refused():
    with pytest.raises(LeukoscopeError, match="mask"):
        score_field(found_with(), Truth("a", np.zeros((0, 4), np.int64), np.zeros((5, 5), bool)))
    with pytest.raises(LeukoscopeError, match="mask"):  # where a found cell is to be looked up in it, too
        score_field(found_with((60, 40, 20, 20)), Truth("a", np.zeros((0, 4), np.int64), None, np.zeros((5, 5), bool)))
    with pytest.raises(LeukoscopeError, match="no field"):
        summarise([])


# ------------------------------------------------------------------------------------------------ training

def test_a_mask_with_two_boxes_is_parted_and_the_field_edge_is_no_outline():
    mask = disc(40, 60, 20, 120) | disc(76, 60, 20, 120) | disc(110, 10, 9, 120)
    numbers = numbered(mask, np.array([[40.0, 60], [76, 60], [110, 10]]))
    assert len({numbers[60, 30], numbers[60, 86], numbers[10, 110], 0}) == 4
    assert (numbers > 0).tolist() == mask.tolist()
    cut = depths(disc(60, 0, 30, 120).astype(np.int32))
    assert np.unravel_index(cut.argmax(), cut.shape)[0] < 4
    assert cut.max() == 1


def test_a_cell_that_is_laid_in_lies_whole_beside_another():
    rng = np.random.default_rng(1)
    cells = disc(60, 60, 25, 120).astype(np.int32)
    pixels = np.full((120, 120, 3), 220, np.uint8)
    sample = Sample(pixels, disc(60, 60, 15, 120), cells, depths(cells), np.array([220.0] * 3), 0.25)
    laid = 0
    for _ in range(20):
        one, other = crop_of(sample, rng), crop_of(sample, rng)
        both = lay_in(one, other, rng)
        if (both.cells != one.cells).any():
            laid += 1
            assert set(np.unique(both.cells)) <= {0, 1, 10_000}
            assert not (both.nuclei & (both.cells == 0)).any()
    assert laid > 0


def test_training_is_repeatable():
    samples = phantom_samples(1)
    first, check_complete = (fit([samples], steps=1).state_dict() for _ in range(2))
    assert all((first[name] == check_complete[name]).all() for name in first)
