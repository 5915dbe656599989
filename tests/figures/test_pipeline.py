"""The strip from cell to input: what it draws is what it was given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from leukoscope.figures.pipeline import FRAMES, ORIENTATIONS, pipeline_strip

SIDE, MAPS = 12, 4


def strip(latency: np.ndarray | None, steps: int) -> Figure:
    rng = np.random.default_rng(0)
    return pipeline_strip(
        rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8), rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8),
        rng.random((MAPS, SIDE, SIDE)), latency, steps,
        [("First-spike image", "early", rng.random((SIDE, SIDE))), ("Rebuilt", "9", rng.random((SIDE, SIDE)))])


def titles(figure: Figure) -> list[str]:
    return [title for axes in figure.axes if (title := axes.get_title(loc="left"))]


def frames(figure: Figure) -> list[np.ndarray]:
    """The pictures of single steps."""
    named = [axes for axes in figure.axes if any(text.get_text().startswith("step ") for text in axes.texts)]
    return [np.asarray(axes.images[0].get_array()) for axes in named]


def test_every_stage_is_there_in_order():
    latency = np.random.default_rng(1).integers(0, 6, (MAPS, SIDE, SIDE)).astype(np.uint8)
    assert titles(strip(latency, 5)) == [
        "The cell", "Grey", "Edges, 22.5°", "Edges, 67.5°", "Edges, 112.5°", "Edges, 157.5°",
        "Spikes of each of 5 time steps", "Spike raster", "First-spike image", "Rebuilt"]
    assert titles(strip(None, 5))[-2:] == ["First-spike image", "Rebuilt"]
    assert not any("pike" in title for title in titles(strip(None, 5))[:-2])


def test_a_frame_shows_what_fires_in_its_step_in_the_colour_of_its_map():
    latency = np.full((MAPS, SIDE, SIDE), 3, np.uint8)  # 3: never
    latency[1, 2, 5] = 0
    latency[3, 4, 6] = 2
    shown = frames(strip(latency, 3))
    assert len(shown) == 3
    for frame, spikes in zip(shown, [{(2, 5): 1}, {}, {(4, 6): 3}], strict=True):
        coloured = {tuple(place) for place in np.argwhere((frame < 1).any(-1)).tolist()}
        assert coloured == set(spikes)
        for (y, x), one in spikes.items():
            colour = [int(ORIENTATIONS[one][i:i + 2], 16) / 255 for i in (1, 3, 5)]
            np.testing.assert_allclose(frame[y, x], colour, atol=1e-6)


@pytest.mark.parametrize(("steps", "pictures"), [(1, 1), (FRAMES, FRAMES), (200, FRAMES)])
def test_of_many_steps_some_are_shown_the_first_and_the_last_among_them(steps: int, pictures: int):
    latency = np.random.default_rng(1).integers(0, steps + 1, (MAPS, SIDE, SIDE)).astype(np.uint8)
    figure = strip(latency, steps)
    shown = frames(figure)
    assert len(shown) == pictures
    assert ((shown[0] < 1).any(-1) == (latency == 0).any(0)).all()
    assert ((shown[-1] < 1).any(-1) == (latency == steps - 1).any(0)).all()


def test_the_raster_has_a_dot_at_the_step_of_each_neuron_and_none_for_silent_ones():
    latency = np.full((MAPS, SIDE, SIDE), 7, np.uint8)
    latency[0, :2, :3] = [[0, 1, 2], [3, 4, 5]]
    figure = strip(latency, 7)
    raster = next(axes for axes in figure.axes if axes.get_title(loc="left") == "Spike raster")
    assert [np.sort(np.asarray(line.get_xdata())).tolist() for line in raster.lines] == [[1, 2, 3, 4, 5, 6], [], [], []]
    assert any("99 % of all never fire" in text.get_text() for text in raster.texts)


def test_a_cell_without_any_edge_is_drawn():
    latency = np.full((MAPS, SIDE, SIDE), 3, np.uint8)
    figure = strip(latency, 3)
    assert all((frame == 1).all() for frame in frames(figure))
