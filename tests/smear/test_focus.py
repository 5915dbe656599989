"""How wide the edges of cells are; what is said of a field out of focus, of a tiny one, and of one that is no smear."""

from __future__ import annotations

from importlib.metadata import distribution

import cv2
import numpy as np
import pytest

from leukoscope.images.read import read_image
from leukoscope.phantom import render_field
from leukoscope.smear import find_leukocytes
from leukoscope.smear.find import first_look_at
from leukoscope.smear.focus import SOFT, width_of_edges
from leukoscope.smear.source import field_source


@pytest.mark.parametrize("scale", [0.1, 0.25])
def test_the_width_of_an_edge_is_that_of_its_blur(scale):
    """A disc of density 0.2 that a Gaussian of sigma blurs has a steepest slope of 0.2 / (sqrt(2 pi) sigma)."""
    side = round(40 / scale)
    y, x = np.indices((side, side)) - (side - 1) / 2
    disc = np.where(np.hypot(x, y) * scale < 12, np.float32(0.2), np.float32(0))
    for sigma in (0.6, 1.2):
        seen = cv2.GaussianBlur(disc, (0, 0), sigma / scale)
        both = np.hypot(sigma, max(0.15, 0.5 * scale))  # it is smoothed once more before the slope is taken
        assert width_of_edges(seen, 0.2, scale) == pytest.approx(np.sqrt(2 * np.pi) * both, rel=0.1)
    assert width_of_edges(np.zeros((50, 50), np.float32), 0.2, scale) is None


@pytest.mark.parametrize("scale", [0.1, 0.2])
def test_a_field_out_of_focus_is_called_so(scale):
    sharp = render_field(round(80 / scale), round(60 / scale), seed=(13, 2), micrometres_per_pixel=scale).pixels
    blurred = cv2.GaussianBlur(sharp, (0, 0), 1.4 / scale).astype(np.uint8)
    first, second = (first_look_at(field_source(pixels)).survey.edge_um for pixels in (sharp, blurred))
    assert first is not None
    assert second is not None
    assert first < 0.6 * SOFT
    assert second > SOFT
    assert not [text for text in find_leukocytes(sharp).remarks if "focus" in text]
    assert [text for text in find_leukocytes(blurred).remarks if text.startswith("out of focus, or taken ")]


def test_a_tiny_field_is_no_error():
    """Smaller than the network is ever shown."""
    for shape in ((43, 58, 3), (32, 32, 3)):
        assert not find_leukocytes(np.full(shape, 230, np.uint8)).is_smear
    small = cv2.resize(render_field(640, 480, seed=3).pixels, (58, 43), interpolation=cv2.INTER_AREA).astype(np.uint8)
    remarks = find_leukocytes(small).remarks
    assert "too few to outline leukocytes" in remarks[0]
    assert not [text for text in remarks if "focus" in text]


def test_a_logo_is_no_smear():
    """Letters and coloured sectors, one of the pictures that come with matplotlib: sure, but ragged."""
    file = distribution("matplotlib").locate_file("matplotlib/mpl-data/sample_data/logo2.png")
    found = find_leukocytes(read_image(str(file)))
    assert not found.is_smear
    assert found.cells == ()


def test_what_is_round_in_a_portrait_is_of_mixed_sizes():
    """In a bright print of it: the dark uniform would be taken for a part that was not recorded."""
    file = distribution("matplotlib").locate_file("matplotlib/mpl-data/sample_data/grace_hopper.jpg")
    bright = (70 + 185 / 255 * read_image(str(file)).astype(float)).astype(np.uint8)
    assert first_look_at(field_source(bright)).survey.of_mixed_sizes


def test_red_cells_are_of_one_size():
    assert not first_look_at(field_source(render_field(640, 480, seed=3).pixels)).survey.of_mixed_sizes
