"""From packed cells to the network's input: each step against the same step written out, and what is fitted on what."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from leukoscope.cells import CellBatches, PackedCells, pack_cells
from leukoscope.cells.input_steps import fit_steps, level_cells, plain_steps
from leukoscope.errors import LeukoscopeError, RecipeError
from leukoscope.recipes import Augment, Recipe, make_recipe
from leukoscope.spikes import edge_responses, first_spike, first_spike_image, gabor_bank, grey_levels
from tiny import make_cells

SIZE = 24
EDGES = {"input": "edges", "size": SIZE, "normalise": "none"}


def recipe(preprocess: dict, **sections) -> Recipe:
    return make_recipe({"name": "r", "network": {"name": "lenet5"}, "preprocess": preprocess, **sections})


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> PackedCells:
    folder = tmp_path_factory.mktemp("steps")
    cells = make_cells(folder / "images", counts={"a": 20, "b": 20}, size=30)
    return pack_cells(cells, recipe({"size": SIZE}).preprocess, cache=folder / "cache")


def encoded(chosen: Recipe, packed: PackedCells, rows: np.ndarray | None = None) -> torch.Tensor:
    levels = level_cells(packed, chosen)
    steps = fit_steps(chosen, levels, np.arange(len(levels.pixels)) if rows is None else rows)
    return steps.encode(torch.from_numpy(np.array(levels.pixels)))


def first_spikes(pixels: np.ndarray, steps: int = 15) -> torch.Tensor:
    grey = torch.from_numpy(grey_levels(pixels)).float() / 255
    return first_spike_image(first_spike(edge_responses(grey, gabor_bank()), steps), steps)


def test_edges_are_the_first_spike_image_in_three_equal_channels(packed):
    found = encoded(recipe(EDGES), packed)
    assert found.shape == (40, 3, SIZE, SIZE)
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])
    torch.testing.assert_close(found[:, 0], first_spikes(np.array(packed.pixels)), rtol=0, atol=1e-6)


def test_steps_and_filters_are_those_of_the_recipe(packed):
    found = encoded(recipe(EDGES, edges={"steps": 4, "window": 7, "wavelength": 4.0, "orientations": 2}), packed)
    grey = torch.from_numpy(grey_levels(np.array(packed.pixels))).float() / 255
    latency = first_spike(edge_responses(grey, gabor_bank(7, 4.0, 2.0, 0.5, 2)), 4)
    torch.testing.assert_close(found[:, 0], first_spike_image(latency, 4), rtol=0, atol=1e-6)


def test_without_spikes_the_strongest_response_is_taken(packed):
    found = encoded(recipe(EDGES, edges={"spikes": False}), packed)[:, 0]
    grey = torch.from_numpy(grey_levels(np.array(packed.pixels))).float() / 255
    strongest = edge_responses(grey, gabor_bank()).amax(1)
    torch.testing.assert_close(found, strongest / strongest.amax((1, 2), keepdim=True), rtol=0, atol=0.5 / 255 + 1e-6)
    assert (found.amax((1, 2)) == 1).all()


def test_grey_and_colour(packed):
    pixels = np.array(packed.pixels)
    grey = encoded(recipe({"input": "grey", "size": SIZE, "normalise": "none"}), packed)
    np.testing.assert_allclose(grey[:, 1].numpy(), grey_levels(pixels) / 255, atol=1e-6)
    colour = encoded(recipe({"size": SIZE, "normalise": "none"}), packed)
    np.testing.assert_allclose(colour.numpy(), np.moveaxis(pixels, -1, 1) / 255, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.5])
def test_blur_is_a_gaussian_with_repeated_borders(packed, sigma):
    found = encoded(recipe({**EDGES, "blur": sigma}), packed)[:, 0].numpy()
    sharp = first_spikes(np.array(packed.pixels)).numpy()
    side = 2 * round(4 * sigma) + 1
    for got, image in zip(found, sharp, strict=True):
        expected = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_each_image_is_standardised_by_itself(packed):
    found = encoded(recipe({**EDGES, "blur": 1.0, "normalise": "image"}), packed)[:, 0].double()
    torch.testing.assert_close(found.mean((1, 2)), torch.zeros(40).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.std((1, 2), correction=0), torch.ones(40).double(), rtol=0, atol=1e-5)


def test_channel_statistics_are_those_of_the_rows_that_are_seen(packed):
    rows = np.arange(0, 40, 3)
    chosen = recipe({**EDGES, "blur": 1.0, "normalise": "channel"})
    steps = fit_steps(chosen, level_cells(packed, chosen), rows)
    plain = encoded(recipe({**EDGES, "blur": 1.0}), packed)[rows, 0].double()
    assert steps.mean == pytest.approx([plain.mean().item()] * 3, rel=1e-5)
    assert steps.std == pytest.approx([plain.std(correction=0).item()] * 3, rel=1e-5)


def test_components_are_fitted_on_the_rows_that_are_seen_and_rebuild_the_others(packed):
    rows = np.arange(0, 40, 2)
    chosen = recipe({**EDGES, "normalise": "image"}, pca={"components": 5})
    found = encoded(chosen, packed, rows)[:, 0].flatten(1).double().numpy()
    plain = encoded(recipe({**EDGES, "normalise": "image"}), packed)[:, 0].flatten(1).double().numpy()
    mean = plain[rows].mean(0)
    directions = np.linalg.svd(plain[rows] - mean, full_matrices=False)[2][:5]
    np.testing.assert_allclose(found, mean + (plain - mean) @ directions.T @ directions, atol=1e-4)


def test_components_of_colours_keep_the_channels_apart(packed):
    chosen = recipe({"size": SIZE, "normalise": "none"}, pca={"variance": 0.999})
    found = encoded(chosen, packed)
    plain = encoded(recipe({"size": SIZE, "normalise": "none"}), packed)
    assert ((found - plain) ** 2).sum() <= 0.0011 * ((plain - plain.mean(0)) ** 2).sum()
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_many_samples_are_mapped_from_a_file(packed, monkeypatch):
    chosen = recipe({**EDGES, "normalise": "image"}, pca={"components": 5})
    expected = encoded(chosen, packed)
    monkeypatch.setattr("leukoscope.cells.input_steps.IN_MEMORY", 1000)
    monkeypatch.setattr("leukoscope.cells.input_steps.BLOCK", 7)
    torch.testing.assert_close(encoded(chosen, packed), expected, rtol=0, atol=1e-4)
    assert {path.suffix for path in packed.path.parent.iterdir()} == {".cells", ".lock"}


def test_a_constant_cell_becomes_zeros(tmp_path):
    pixels = np.full((2, SIZE, SIZE, 3), 77, np.uint8)
    pixels[1] = 0
    for preprocess in ({**EDGES, "blur": 1.0, "normalise": "image"},
                       {"input": "grey", "size": SIZE, "normalise": "image"}):
        steps = plain_steps(recipe(preprocess))
        assert not steps.encode(torch.from_numpy(steps.levels(pixels))).any()


def test_batches_from_levels_and_from_colours_are_the_same(packed):
    chosen = recipe({**EDGES, "blur": 1.0, "normalise": "image"}, pca={"components": 5})
    levels = level_cells(packed, chosen)
    rows = np.arange(40)
    steps = fit_steps(chosen, levels, rows)
    made = [list(CellBatches(source, rows, rows % 2, batch_size=16, augment=None, steps=steps, seed=0))
            for source in (levels, packed)]
    for one, other in zip(*made, strict=True):
        assert torch.equal(one.images, other.images)
    turned = list(CellBatches(packed, rows, rows % 2, batch_size=16, augment=Augment(rotation=90), steps=steps,
                              seed=0))
    assert not torch.allclose(turned[0].images, made[0][0].images)
    with pytest.raises(ValueError, match="only colours can be augmented"):
        CellBatches(levels, rows, rows % 2, batch_size=16, augment=Augment(rotation=90), steps=steps, seed=0)


def test_steps_are_fitted_alike_on_colours_and_on_their_levels(packed):
    chosen = recipe({**EDGES, "blur": 1.0, "normalise": "channel"}, pca={"components": 5})
    one, other = (fit_steps(chosen, source, np.arange(0, 40, 2)) for source in (packed, level_cells(packed, chosen)))
    assert one.pca is not None
    assert other.pca is not None
    assert (one.mean.tolist(), one.std.tolist()) == (other.mean.tolist(), other.std.tolist())
    assert np.array_equal(one.pca.components, other.pca.components)


def test_stages_go_to_another_process_without_their_tensors(packed):
    chosen = recipe({**EDGES, "normalise": "image"}, pca={"components": 5})
    levels = level_cells(packed, chosen)
    steps = fit_steps(chosen, levels, np.arange(40))
    batch = torch.from_numpy(np.array(levels.pixels[:4]))
    expected = steps.encode(batch)
    other = pickle.loads(pickle.dumps(steps))
    assert not other._on_device
    assert torch.equal(other.encode(batch), expected)


def test_too_many_components_are_refused_with_the_largest_number(packed):
    chosen = recipe(EDGES, pca={"components": 12})
    with pytest.raises(RecipeError, match=r"pca\.components = 12: 10 cells .* at most 9 components; .* to 9 or fewer"):
        fit_steps(chosen, level_cells(packed, chosen), np.arange(10))


def test_a_cache_with_impossible_levels_is_refused(packed, tmp_path):
    chosen = recipe(EDGES, edges={"steps": 3})
    levels = level_cells(packed, chosen)
    path = Path(levels.path)
    whole = bytearray(path.read_bytes())
    whole[200] = 99
    path.write_bytes(whole)
    with pytest.raises(LeukoscopeError, match=r"the file is damaged \(it has levels above 3\); delete it"):
        level_cells(packed, chosen)
