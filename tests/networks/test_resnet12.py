"""The network that comes with the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leukoscope.networks import build_network
from leukoscope.networks.resnet12 import FilterNorm
from leukoscope.recipes import Network


def test_it_has_eleven_convolutions_beside_shortcuts_and_one_dense_layer():
    network = build_network(Network(name="resnet12"), classes=8, size=96)
    shapes = [m.weight.shape for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len([shape for shape in shapes if shape[-1] > 1]) == 11
    assert len([m for m in network.modules() if isinstance(m, torch.nn.Linear)]) == 1
    assert sum(p.numel() for p in network.parameters()) == 644_064


@pytest.mark.parametrize("norm", ["group", "filter"])
def test_what_a_cell_gives_depends_on_no_other_cell(norm):
    network = build_network(Network(name="resnet12", options={"norm": norm, "width": 0.5}), classes=3, size=32).train()
    cells = torch.randn(6, 3, 32, 32)
    assert torch.allclose(network(cells)[:2], network(cells[:2]), atol=1e-5)


def test_filter_response_normalisation_by_its_definition():
    norm = FilterNorm(2)
    with torch.no_grad():
        norm.gain[:] = 2
        norm.shift[:] = 0.5
        norm.least[:] = -0.25
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype(np.float32)
    power = (x**2).mean((2, 3), keepdims=True)
    assert norm(torch.from_numpy(x)).detach().numpy() == pytest.approx(
        np.maximum(2 * x / np.sqrt(power + 1e-6) + 0.5, -0.25), abs=1e-5)
