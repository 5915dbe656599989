"""Figures say what the metrics say, their names never overlap, and everyone can tell their colours apart."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from skimage.color import rgb2lab

from leukoscope.evaluation.evaluate import evaluate
from leukoscope.figures.audit import MAP, picture_map, places_on_map
from leukoscope.figures.common import PALETTE, line_style, save_png
from leukoscope.figures.metrics import (
    confusion_figure,
    dots_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from leukoscope.figures.palette import colours_of
from leukoscope.figures.svg import image_uri, svg, svg_text
from leukoscope.figures.training import feature_map_sheet, mosaic, training_figure
from leukoscope.runs.results import Metrics, json_view
from leukoscope.stats import Estimate
from leukoscope.text import count, duration, interval, number, percent, plain, points, short_names, span, type_name

FIVE = ["neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte"]
PAPER = [[1401, 10, 0, 0, 1], [13, 70, 0, 0, 0], [0, 0, 10, 0, 0], [0, 0, 0, 502, 15], [10, 0, 0, 13, 119]]
TWELVE = ["segmented neutrophil", "band neutrophil", "eosinophil", "basophil", "lymphocyte", "reactive lymphocyte",
          "monocyte", "immature granulocyte (metamyelocyte)", "immature granulocyte (promyelocyte)", "erythroblast",
          "platelet", "lymphoblast"]
SVG = "{http://www.w3.org/2000/svg}"


def found(classes, positive="", cells=240):
    rng = np.random.default_rng(3)
    truth = np.arange(cells) % len(classes)
    scores = np.exp(rng.normal(size=(cells, len(classes))) + 3 * np.eye(len(classes))[truth])
    share = scores / scores.sum(axis=1, keepdims=True)
    table = pl.DataFrame({
        "cell_id": [f"c{i}" for i in range(cells)], "subject": None, "group": None, "fold": 0,
        "label": [classes[i] for i in truth], "predicted": [classes[i] for i in share.argmax(axis=1)],
        **{f"p_{name}": share[:, k] for k, name in enumerate(classes)}},
        schema_overrides={"subject": pl.String, "group": pl.String})
    found = evaluate(table, classes, positive=positive, rounds=100).to_dict()
    return json_view(Metrics, found, Path("metrics.json")), share.max(axis=1)


@pytest.fixture(scope="module")
def metrics():
    return {name: found(classes, positive) for name, classes, positive in (
        ("five", FIVE, ""), ("twelve", TWELVE, ""), ("binary", ["healthy", "leukemic"], "leukemic"))}


def all_figures(metrics, probabilities):
    found = [own["sensitivity"] for own in metrics.per_class.values()]
    return [confusion_figure(metrics.classes, metrics.confusion), roc_figure(metrics),
            precision_recall_figure(metrics), reliability_figure(metrics.calibration, probabilities),
            dots_figure(list(metrics.per_class), found, title="Sensitivity", xlabel="x")]


def history(epochs=8, validation=True):
    epoch = np.arange(1, epochs + 1)
    return pl.DataFrame({"epoch": epoch, "train_loss": 1 / epoch, "train_accuracy": 1 - 0.5 / epoch,
                         "validation_loss": 1.2 / epoch if validation else [None] * epochs,
                         "validation_accuracy": 1 - 0.6 / epoch if validation else [None] * epochs})


def texts_of(figure):
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg_text(figure)).iter(f"{SVG}text")]


def estimate(value, low=None, high=None):
    return Estimate(value, low, high, "wilson")


@pytest.mark.parametrize("case", ["five", "twelve", "binary"])
def test_every_figure_names_itself_and_its_axes_in_valid_svg_with_ids_unique_on_a_page(metrics, case):
    figures = all_figures(*metrics[case])
    for figure in figures:
        shown = [axes for axes in figure.axes if axes.axison]
        assert shown[0].get_title(loc="left")
        assert shown[-1].get_xlabel()
        assert all(axes.get_ylabel() or figure is figures[-1] for axes in shown)
    drawn = [str(svg(figure)) for figure in figures]
    drawn.append(str(svg(figures[-1])))  # the same drawing twice on a page
    roots = [ET.fromstring(text) for text in drawn]
    ids = [node.get("id") for root in roots for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    for text, root in zip(drawn, roots, strict=True):
        wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert wanted <= {node.get("id") for node in root.iter()}
        assert re.findall(r'https?://[^"\s]+', text) == ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"]
    shown = " ".join("".join(node.itertext()) for node in roots[0].iter(f"{SVG}text"))
    assert all(name in shown for name in short_names(list(metrics[case][0].classes), 26))


def test_class_names_are_never_formulas_markup_or_references():
    names = ['$x_{', "<b>&amp;</b>", 'id="a" url(#b)', "]]>", "嗜中性粒细胞", "line\nbreak\x07"]
    figure = confusion_figure(names, np.eye(6, dtype=int).tolist())
    text = str(svg(figure))
    shown = " ".join("".join(node.itertext()) for node in ET.fromstring(text).iter(f"{SVG}text"))
    assert all(name in shown for name in names[:5])
    assert "line break" in shown


@pytest.mark.parametrize("names", [FIVE, TWELVE, ["x" * 80] * 4, ["immature granulocyte"] * 12], ids=len)
def test_class_names_never_overlap(names):
    n = len(names)
    for figure in (confusion_figure(names, (np.eye(n, dtype=int) * 12345).tolist()),
                   dots_figure(names, [estimate(0.9, 0.8, 1.0)] * n, title="t", xlabel="x")):
        renderer = FigureCanvasAgg(figure).get_renderer()
        axes = figure.axes[0]
        labels = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(labels))
        assert min(box.x0 for box in labels) >= 0
        across = axes.get_xticklabels()
        boxes = [label.get_window_extent(renderer) for label in across]
        if across[0].get_rotation():
            line = float(across[0].get_fontsize()) * figure.dpi / 72
            step = np.diff([axes.transData.transform((x, 0))[0] for x in axes.get_xticks()]).min()
            assert step * np.sin(np.deg2rad(45)) > line
        else:
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))


def test_shortened_names_stay_different():
    assert len(set(short_names(TWELVE, 26))) == 12
    assert len(set(short_names(["x" * 80] * 4, 26))) == 4


def test_confusion_matrix_shows_the_counts_and_row_percentages_of_the_paper():
    texts = texts_of(confusion_figure(FIVE, PAPER))
    for shown in ("1,401", "502", "119", "99.2", "84.3", "100.0", "97.1", "83.8"):
        assert shown in texts
    assert "neutrophil (1,412)" in [re.sub(r"\s+", " ", text) for text in texts]


def test_roc_draws_the_curves_of_the_metrics_and_prints_each_area(metrics):
    five, _ = metrics["five"]
    figure = roc_figure(five)
    colours = colours_of(FIVE)
    drawn = {str(line.get_color()): line.get_xydata() for line in figure.axes[0].lines}
    for name in FIVE:
        curve = five.curves[name].roc
        np.testing.assert_array_equal(drawn[colours[name]], np.column_stack([curve.fpr, curve.tpr]))
        area = five.per_class[name]["auc"]
        assert f"{number(area.value)} ({number(area.low)}–{number(area.high)})" in texts_of(figure)


def test_a_binary_task_draws_the_curve_of_its_positive_class_alone(metrics):
    texts = texts_of(roc_figure(metrics["binary"][0]))
    assert "leukemic" in texts
    assert "healthy" not in texts


def test_reliability_points_and_histogram_are_the_metrics(metrics):
    five, probabilities = metrics["five"]
    upper, lower = reliability_figure(five.calibration, probabilities).axes
    points = next(line for line in upper.lines if line.get_label() == "this run, with interval").get_xydata()
    np.testing.assert_array_equal(
        points, [[b.confidence, b.accuracy.value] for b in five.calibration.bins])
    assert sum(bar.get_bbox().height for bar in lower.patches if isinstance(bar, Rectangle)) == five.cells


def test_dots_show_value_and_interval_and_a_dash_where_there_is_none():
    figure = dots_figure(["a", "b"], [estimate(0.9714, 0.9637, 0.9776), estimate(None)], title="t", xlabel="x",
                         others=[0.968, None], others_label="paper")
    assert [0.9637, 0.9776] in [np.asarray(line.get_xdata()).tolist() for line in figure.axes[0].lines]
    assert {"97.1 (96.4–97.8)", "—", "paper"} <= set(texts_of(figure))
    low, high = figure.axes[0].get_xlim()
    assert low < 0.9637
    assert high >= 0.9776


@pytest.mark.parametrize("matrix", [
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
], ids=["normal", "protanopia", "deuteranopia", "tritanopia"])
def test_colours_are_told_apart_by_the_colour_blind(matrix):
    """Dichromats simulated after Machado, Oliveira and Fernandes 2009, in linear RGB; distances in CIELAB."""
    rgb = np.array([to_rgb(colour) for colour in PALETTE])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(matrix).T, 0, 1)
    encoded = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(encoded[None])[0]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > 9


def test_twelve_lines_differ_in_colour_or_dashes():
    assert len({(style["color"], style["linestyle"]) for style in map(line_style, range(12))}) == 12


def test_training_marks_the_epoch_that_was_kept():
    figure = training_figure(history(), best_epoch=6)
    for axes in (a for a in figure.axes if a.lines):
        marks = [np.asarray(line.get_xdata())[0] for line in axes.lines if line.get_marker() == "o"]
        assert marks == [6, 6]
    assert {"epoch used: 6", "epoch", "accuracy", "loss (cross-entropy)", "training", "validation"} \
        <= set(texts_of(figure))


def test_training_without_validation_draws_training_alone():
    texts = texts_of(training_figure(history(validation=False), best_epoch=8))
    assert "training" in texts
    assert "validation" not in texts


def test_training_of_one_epoch_shows_its_points():
    figure = training_figure(history(epochs=1), best_epoch=1)
    assert figure.axes[0].lines[0].get_marker() == "o"


def test_mosaic_scales_each_map_to_its_own_range():
    ramp = np.linspace(-3, 5, 16, dtype=np.float32).reshape(4, 4)
    picture = mosaic(np.stack([ramp, 1000 * ramp, np.full((4, 4), 7, np.float32)]))
    assert picture.shape == (9, 9)
    np.testing.assert_allclose(picture[:4, :4], (ramp + 3) / 8, atol=1e-6)
    np.testing.assert_allclose(picture[:4, 5:], picture[:4, :4], atol=1e-6)
    assert (picture[5:, :4] == 0).all()
    assert np.isnan(picture[4]).all()
    assert np.isnan(picture[5:, 5:]).all()


def test_feature_map_sheet_names_units_counts_and_sizes(tmp_path):
    rng = np.random.default_rng(0)
    maps = {"unit1": rng.random((64, 35, 35)), "unit2": rng.random((256, 17, 17)), "unit3": rng.random((512, 8, 8))}
    sheet = feature_map_sheet(maps, rng.integers(0, 255, (70, 70, 3), dtype=np.uint8))
    texts = texts_of(sheet)
    assert {"unit1", "unit2", "unit3", "64 feature maps, 35 × 35 px each", "64 of 256 feature maps, 17 × 17 px each",
            "64 of 512 feature maps, 8 × 8 px each"} <= set(texts)
    save_png(sheet, tmp_path / "maps.png", dpi=100)
    width, height = sheet.get_size_inches()
    with Image.open(tmp_path / "maps.png") as picture:
        assert picture.size == (int(width * 100), int(height * 100))


def test_the_same_figure_is_the_same_file_and_settings_are_left_alone(tmp_path):
    before = dict(mpl.rcParams)
    for name in ("a.svg", "b.svg"):
        (tmp_path / name).write_text(svg_text(confusion_figure(FIVE, PAPER)), encoding="utf-8")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert dict(mpl.rcParams) == before
    ET.parse(tmp_path / "a.svg")


@given(st.floats(0, 1))
def test_percent_is_right_to_its_last_digit_and_says_100_of_nothing_less(value):
    text = percent(value, unit=False)
    if text.startswith("<"):
        assert 0 < 100 * value < float(text[1:])
    else:
        assert abs(float(text) - 100 * value) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 0.01
        assert (text == "100.0") == (value == 1)
        assert (text == "0.0") == (value == 0)


@given(st.floats(-1, 1))
def test_number_is_right_to_its_last_digit_and_says_1_of_nothing_less(value):
    text = number(value).replace("−", "-")
    if not text.startswith("<"):
        assert abs(float(text) - value) <= 0.0005 + 1e-9
        assert text != "1.000" or value == 1


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_names_in_figures_are_single_printable_lines_and_escaped_in_pages(names):
    for text in short_names(tuple(names), 20):
        assert text.isprintable()
        assert text.strip()
    for name in names:
        assert len(plain(name, 20)) <= 20


def test_numbers_that_are_not_there_are_dashes():
    assert {percent(None), number(None), count(None), duration(None)} == {"—"}


def test_an_interval_is_written_as_the_field_writes_it():
    share = Estimate(0.9523, 0.9411, 0.9608, "wilson")
    loss = Estimate(-0.021, -0.035, -0.009, "paired")
    assert interval(share) == "95.2 % (95 % CI 94.1-96.1)"
    assert interval(share, page=True) == "95.2\u202f% (95\u202f% CI 94.1–96.1)"
    assert interval(share, confidence=0.9) == "95.2 % (90 % CI 94.1-96.1)"
    assert interval(loss, points, " points") == "-2.1 points (95 % CI -3.5 to -0.9)"
    assert interval(loss, points, "", confidence=None) == "-2.1 (-3.5 to -0.9)"
    assert span(0.9411, 0.9608, page=True) == "94.1–96.1"
    assert span(-0.1, 0.2, number, page=True) == "−0.100 to 0.200"
    assert span(None, None) == ""
    assert interval(Estimate(0.9, None, None, "one subject only")) == "90.0 %"
    assert interval(Estimate(None, None, None, "one class only")) == "not defined (one class only)"
    assert interval(Estimate(None, None, None, "one class only"), confidence=None) == "-"


def test_class_names_are_written_out_where_there_is_room():
    assert [type_name(label) for label in ("ig", "IG", "blast", "$x_{")] == [
        "immature granulocyte (IG)", "immature granulocyte (IG)", "blast", "$x_{"]
    assert type_name("ig", 16) == "ig"
    assert "immature granulocyte (IG)" in texts_of(confusion_figure(["ig", "neutrophil"], [[1, 0], [0, 1]]))


def test_durations_read_as_people_say_them():
    assert [duration(s) for s in (0.25, 9.96, 59.4, 60, 250, 7500)] == \
        ["0.2 s", "10.0 s", "59 s", "1 min", "4 min 10 s", "2 h 5 min"]


def test_pixels_survive_the_data_uri():
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    head, _, body = image_uri(pixels, lossless=True).partition(",")
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(b64decode(body)))), pixels)
    small = Image.open(BytesIO(b64decode(image_uri(pixels, side=15).partition(",")[2])))
    assert small.size == (15, 10)
    with pytest.raises(ValueError, match="expected uint8"):
        image_uri(pixels.astype(float))


def test_the_label_of_an_inline_figure_is_its_title_escaped():
    figure = Figure(figsize=(2, 2))
    figure.add_subplot().set_title('a <b> "c"', loc="left")
    assert ET.fromstring(str(svg(figure))).get("aria-label") == 'a <b> "c"'


def test_pictures_lie_where_their_cells_lie():
    x, y = np.linspace(0, 1, 500), np.linspace(5, 3, 500)  # from the upper left to the lower right
    places = places_on_map(x, y)
    assert places.keys() == {(0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6), (3, 7), (4, 8), (4, 9)}
    assert places[2, 4] < 250 < places[2, 5]
    one = places_on_map(np.full(4, 2.0), np.full(4, 1.0))
    assert len(one) == 1
    drawn = picture_map({(1, 2): (np.zeros((30, 40, 3), np.uint8), "#ff0000")})
    height, width = drawn.shape[0] // MAP[0], drawn.shape[1] // MAP[1]
    own = drawn[height:2 * height, 2 * width:3 * width]
    assert own[height // 2, width // 2].tolist() == [0, 0, 0]
    assert own[3, 3].tolist() == [255, 0, 0]
    assert int((drawn < 255).any(-1).sum()) == int((own < 255).any(-1).sum())
