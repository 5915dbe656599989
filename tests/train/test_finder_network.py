"""The finder's network: what ONNX Runtime computes of its file is what PyTorch computed before it was written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leukoscope.finder.network import INPUT, OUTPUT, STRIDE, open_network
from leukoscope.smear.train_network import Outliner, write_network


@pytest.fixture(scope="module")
def network() -> Outliner:
    """Random weights, and a normalisation that is not the identity."""
    torch.manual_seed(3)
    network = Outliner()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, 64, 64) * 2)
    return network.eval()


def test_the_file_gives_the_probabilities_of_the_network_at_any_size(network, tmp_path):
    write_network(network, tmp_path / "outline.onnx")
    session = open_network((tmp_path / "outline.onnx").read_bytes())
    for number, height, width in ((1, STRIDE, STRIDE), (2, 64, 104), (1, 328, 16)):
        density = torch.rand(number, 3, height, width)
        with torch.inference_mode():
            expected = network(density).sigmoid().numpy()
        maps = np.asarray(session.run([OUTPUT], {INPUT: density.numpy()})[0])
        assert maps.shape == (number, 3, height, width)
        np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_the_file_tells_nothing_of_the_machine(network, tmp_path):
    write_network(network, tmp_path / "outline.onnx")
    content = (tmp_path / "outline.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(tmp_path).encode() not in content
