"""The phantom's cells: truth agrees with pixels, sizes and nuclei are those of haematology, colour is no shortcut."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label as components
from skimage.measure import regionprops
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leukoscope.errors import LeukoscopeError
from leukoscope.phantom import DIAMETERS, TYPES, Subject, draw_subject, render_cell, render_cells, render_field

PER_TYPE = 16
SUBJECTS = 8


@cache
def measured() -> dict[str, np.ndarray]:
    """Shape of cell and nucleus from the masks, colour from the pixels, of PER_TYPE cells a type over SUBJECTS."""
    subjects = [draw_subject(number) for number in range(SUBJECTS)]
    rows: dict[str, list[object]] = defaultdict(list)
    for kind, name in enumerate(TYPES):
        for number in range(PER_TYPE):
            field = render_cell(name, seed=(1, kind, number), subject=subjects[number % SUBJECTS], size=72)
            cell, nucleus = field.cell_labels == 1, field.nucleus_labels == 1
            truth = field.cells[0]
            parts = regionprops(np.asarray(components(nucleus)))
            largest = max(parts, key=lambda part: part.area) if parts else None
            rows["type"].append(kind)
            rows["subject"].append(number % SUBJECTS)
            rows["shape"].append([truth.area, truth.nucleus_area / truth.area, largest.solidity if largest else 1.0,
                                  largest.eccentricity if largest else 0.0])
            rows["colour"].append(field.pixels.mean(axis=(0, 1)))
            rows["cell colour"].append(field.pixels[cell].mean(axis=0))
            rows["expected area"].append(np.pi * truth.diameter**2 / 4)
            rows["whole"].append(truth.whole)
            rows["subtype"].append(truth.subtype)
    return {name: np.array(values) for name, values in rows.items()}


def of(name: str, column: int, subtype: str | None = None) -> np.ndarray:
    table = measured()
    chosen = table["type"] == TYPES.index(name)
    if subtype is not None:
        chosen &= table["subtype"] == subtype
    return table["shape"][chosen, column]


def accuracy(features: str, chosen: np.ndarray | None = None) -> float:
    """Of a linear classifier, trained on five subjects, on the other three."""
    table = measured()
    chosen = np.ones(len(table["type"]), bool) if chosen is None else chosen
    train, test = chosen & (table["subject"] < 5), chosen & (table["subject"] >= 5)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    model.fit(table[features][train], table["type"][train])
    return float(model.score(table[features][test], table["type"][test]))


# ------------------------------------------------------------------------------------------------ haematology

def test_area_is_that_of_the_drawn_diameter() -> None:
    table = measured()
    error = table["shape"][:, 0] / table["expected area"] - 1
    assert np.abs(error[table["expected area"] > 30]).max() < 0.03
    assert np.abs(error).max() < 0.15  # a platelet has a few dozen pixels
    assert table["whole"].all()


@pytest.mark.parametrize("name", TYPES)
def test_diameters_lie_in_the_stated_range(name: str) -> None:
    low, high = DIAMETERS[name]
    area = of(name, 0)
    assert area.min() > 0.85 * np.pi * low**2 / 4
    assert area.max() < 1.05 * np.pi * high**2 / 4


def test_sizes_are_ordered_as_in_blood() -> None:
    mean = {name: of(name, 0).mean() for name in TYPES}
    assert mean["platelet"] < mean["lymphocyte"] < mean["neutrophil"] < mean["monocyte"]
    assert mean["lymphocyte"] < mean["lymphoblast"]
    assert mean["neutrophil"] < mean["ig"]
    red_cell = np.pi * 7.5**2 / 4
    assert mean["platelet"] < 0.4 * red_cell < red_cell < mean["lymphocyte"]


def test_share_of_the_nucleus_is_that_of_the_type() -> None:
    median = {name: float(np.median(of(name, 1))) for name in TYPES}
    assert (of("platelet", 1) == 0).all()
    assert 0.28 < median["neutrophil"] < 0.45
    assert 0.28 < median["eosinophil"] < 0.45
    assert 0.40 < median["monocyte"] < 0.60
    assert 0.65 < median["lymphocyte"] < 0.9
    assert 0.74 < median["lymphoblast"] < 0.93
    order = ("neutrophil", "monocyte", "lymphocyte", "lymphoblast")
    assert [median[name] for name in order] == sorted(median[name] for name in order)


def test_nucleus_shrinks_as_an_erythroblast_and_a_granulocyte_ripen() -> None:
    for name, stages in (("erythroblast", ("basophilic", "polychromatic", "orthochromatic")),
                         ("ig", ("promyelocyte", "myelocyte", "metamyelocyte"))):
        share = [of(name, 1, stage).mean() for stage in stages]
        assert share == sorted(share, reverse=True)


def test_nuclei_are_lobed_notched_or_round() -> None:
    solidity = {name: float(np.median(of(name, 2))) for name in TYPES}
    assert solidity["neutrophil"] < 0.8
    assert solidity["neutrophil"] < solidity["eosinophil"] < solidity["monocyte"] < solidity["lymphocyte"]
    assert solidity["erythroblast"] > 0.95
    assert solidity["lymphocyte"] > 0.94


def test_lobes_of_a_segmented_nucleus_come_apart_at_their_strands_and_a_band_does_not() -> None:
    lobes: dict[str, list[int]] = defaultdict(list)
    for number in range(16):
        field = render_cell("neutrophil", size=200, seed=(2, number), subject=Subject(), micrometres_per_pixel=0.08)
        depth = np.asarray(ndimage.distance_transform_edt(field.nucleus_labels == 1)) * 0.08
        sizes = [part.area for part in regionprops(np.asarray(components(depth > 0.8)))]
        lobes[field.cells[0].subtype].append(sum(size > 60 for size in sizes))
    assert np.mean(lobes["segmented"]) > 1.7
    assert max(lobes["segmented"]) >= 3
    assert np.mean(lobes["band"]) < 1.2


def test_eosinophils_are_redder_and_lymphoblasts_bluer_than_neutrophils() -> None:
    table = measured()
    ratio = table["cell colour"][:, 0] / table["cell colour"][:, 2]
    mean = {name: ratio[table["type"] == kind].mean() for kind, name in enumerate(TYPES)}
    assert mean["eosinophil"] > mean["neutrophil"] > mean["lymphocyte"] > 0
    assert mean["lymphoblast"] < mean["ig"]


# ------------------------------------------------------------------------------------------------ no shortcut

def test_shape_tells_types_apart_and_mean_colour_does_not() -> None:
    assert accuracy("shape") > 0.7
    assert accuracy("colour") < 0.6
    assert accuracy("cell colour") < 0.8
    assert accuracy("shape") > accuracy("cell colour")


def test_subjects_differ_in_stain_more_than_cells_of_one_subject() -> None:
    same = render_cells(["neutrophil"] * 10, seed=3, size=48, subjects=[draw_subject(5)] * 10)
    different = render_cells(["neutrophil"] * 10, seed=3, size=48, subjects=[draw_subject(k) for k in range(10)])
    background = [np.percentile(cells, 95, axis=(1, 2)).std(axis=0).mean() for cells in (same, different)]
    assert background[1] > 2 * background[0]


# ------------------------------------------------------------------------------------------------ truth

@settings(max_examples=10, deadline=None)
@given(width=st.integers(1, 220), height=st.integers(1, 220), seed=st.integers(0, 10**6),
       scale=st.sampled_from([0.1, 0.13, 0.3, 1.0]))
def test_boxes_areas_and_masks_agree(width: int, height: int, seed: int, scale: float) -> None:
    field = render_field(width, height, seed=seed, micrometres_per_pixel=scale, white_cells=1.0)
    assert field.pixels.shape == (height, width, 3)
    assert field.pixels.dtype == np.uint8
    assert field.cell_labels.shape == field.nucleus_labels.shape == (height, width)
    assert set(np.unique(field.cell_labels)) <= set(range(len(field.cells) + 1))
    nucleus = field.nucleus_labels > 0
    assert (field.nucleus_labels[nucleus] == field.cell_labels[nucleus]).all()
    for number, cell in enumerate(field.cells, start=1):
        rows, columns = np.nonzero(field.cell_labels == number)
        assert (cell.x, cell.y) == (columns.min(), rows.min())
        assert (cell.width, cell.height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert cell.area == pytest.approx(len(rows) * scale**2)
        assert cell.nucleus_area == pytest.approx(np.sum(field.nucleus_labels == number) * scale**2)


def test_field_holds_what_was_asked_for() -> None:
    types = {"monocyte": 2, "eosinophil": 3, "platelet": 4}
    field = render_field(700, 500, seed=7, types=types)
    names = [cell.type for cell in field.cells]
    assert {name: names.count(name) for name in set(names)} == types


def test_nuclei_are_dark_where_the_truth_says() -> None:
    field = render_field(500, 400, seed=11, types={"lymphocyte": 4, "neutrophil": 3})
    green = field.pixels[..., 1].astype(float)
    nucleus, blank = field.nucleus_labels > 0, np.percentile(green, 95)
    assert green[nucleus].mean() < 0.35 * blank
    dark = green < 0.35 * blank
    assert (dark & nucleus).sum() / (dark & (field.cell_labels > 0)).sum() > 0.9


def test_crowded_cells_touch_without_sharing_pixels() -> None:
    field = render_field(400, 400, seed=5, types={"lymphocyte": 12, "platelet": 0})
    areas = [(field.cell_labels == number).sum() * 0.01 for number in range(1, 13)]
    assert min(areas) > 0.3 * np.pi * 8**2 / 4
    assert sum(areas) == pytest.approx(sum(cell.area for cell in field.cells))


def test_red_cells_overlap_and_their_absorbances_add() -> None:
    field = render_field(500, 500, seed=2, types={}, subject=Subject())
    assert len(field.red_cells) > 15
    centres, reach = field.red_cells[:, :2], field.red_cells[:, 2]
    apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)) - (reach[:, None] + reach[None]) / 2
    assert (apart[np.triu_indices(len(apart), 1)] < -5).any()


# ------------------------------------------------------------------------------------------------ randomness

def test_same_seed_same_field_and_another_seed_another() -> None:
    first, again, other = (render_field(150, 100, seed=seed) for seed in (4, 4, 5))
    assert (first.pixels == again.pixels).all()
    assert first.cells == again.cells
    assert first.subject == again.subject
    assert (first.pixels != other.pixels).any()


def test_a_cell_depends_on_its_place_in_the_list_alone() -> None:
    subject = Subject()
    few = render_cells(["basophil", "ig"], seed=9, size=32, subjects=[subject] * 2)
    many = render_cells(["basophil", "ig", "monocyte"], seed=9, size=32, subjects=[subject] * 3)
    assert (few == many[:2]).all()
    assert (few[0] != few[1]).any()


def test_default_subjects_do_not_follow_the_labels() -> None:
    """Labels often come in turns; were subjects to come in turns too, the stain would give the label away."""
    cells = render_cells(["lymphocyte", "platelet"] * 20, seed=3, size=24)
    white = np.percentile(cells, 95, axis=(1, 2))
    assert len({tuple(row) for row in (white[::2] // 4).astype(int)}) >= 2
    assert len({tuple(row) for row in (white[1::2] // 4).astype(int)}) >= 2
    assert np.abs(white[::2].mean(axis=0) - white[1::2].mean(axis=0)).max() < 2 * white.std(axis=0).max()


def test_global_random_state_is_neither_read_nor_changed() -> None:
    np.random.seed(0)  # noqa: NPY002
    first = render_cells(["neutrophil"], seed=1, size=32)
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert np.random.random() == drawn  # noqa: NPY002
    assert (render_cells(["neutrophil"], seed=1, size=32) == first).all()


# ------------------------------------------------------------------------------------------------ extremes and mistakes

@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 64), (1, 300), (300, 1), (257, 31)])
def test_any_size(width: int, height: int) -> None:
    field = render_field(width, height, seed=0, types={"lymphocyte": 1, "platelet": 0})
    assert field.pixels.shape == (height, width, 3)
    assert len(field.cells) == 1
    assert field.cells[0].width >= 1


@pytest.mark.parametrize("scale", [0.03, 2.0, 5.0])
def test_any_scale(scale: float) -> None:
    field = render_cell("monocyte", size=40, seed=1, micrometres_per_pixel=scale)
    assert field.cells[0].type == "monocyte"
    assert field.cells[0].whole == (scale >= 2)


@pytest.mark.parametrize(("call", "part"), [
    (lambda: render_field(0, 5, seed=1), "0 x 5"),
    (lambda: render_field(10, 5.5, seed=1), "5.5"),  # pyright: ignore[reportArgumentType]
    (lambda: render_field(10, 10, seed=-1), "seed"),
    (lambda: render_field(10, 10, seed=1, micrometres_per_pixel=0), "micrometres_per_pixel"),
    (lambda: render_field(10, 10, seed=1, micrometres_per_pixel=float("nan")), "micrometres_per_pixel"),
    (lambda: render_field(100, 100, seed=1, types={"neutrofil": 1}), "neutrofil"),
    (lambda: render_field(100, 100, seed=1, types={"neutrophil": -1}), "-1"),
    (lambda: render_field(100, 100, seed=1, types={"neutrophil": 500}), "fit"),
    (lambda: render_field(100, 100, seed=1, types={"neutrophil": 1.5}), "1.5"),  # pyright: ignore[reportArgumentType]
    (lambda: render_field(100, 100, seed=1, white_cells=-1), "white_cells"),
    (lambda: render_field(100, 100, seed="a"), "seed"),  # pyright: ignore[reportArgumentType]
    (lambda: render_cells(["blast"], seed=1), "blast"),
    (lambda: render_cells(["ig"], seed=1, size=0), "0 x 0"),
    (lambda: render_cells(["ig", "ig"], seed=1, subjects=[Subject()]), "got 1"),
    (lambda: draw_subject(0, state="fine"), "fine"),
])
def test_mistakes_are_named(call, part: str) -> None:
    with pytest.raises(LeukoscopeError) as error:
        call()
    assert part in error.value.what
    assert error.value.hint
