"""Weights of a file to start from: read without running code, under the network's names, checked."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from leukoscope.errors import RecipeError
from leukoscope.networks.registry import build_network
from leukoscope.networks.weights_file import LITE0, read_start, weights_path
from leukoscope.recipes.sections import Network
from leukoscope.runs.network import fresh_network
from leukoscope.train.transfer import start_network
from tiny import tiny_recipe


def network(name: str = "resnet18", classes: int = 3):
    return build_network(Network(name=name), classes=classes, size=64)


def published(prefix: str = "") -> dict[str, torch.Tensor]:
    """As torchvision names them, with a last layer of its own."""
    torch.manual_seed(3)
    state = network(classes=7).state_dict()
    names = {name: name.removeprefix("body.").replace("last.", "fc.") for name in state}
    return {prefix + names[name]: torch.rand_like(value) if value.is_floating_point() else value
            for name, value in state.items()}


@pytest.mark.parametrize(("file", "prefix"), [("w.safetensors", ""), ("w.pth", "module."), ("w.pt", "backbone.")])
def test_all_but_the_last_layer_comes_from_the_file(tmp_path, file, prefix):
    weights, path = published(prefix), tmp_path / file
    save_file(weights, path) if file.endswith("safetensors") else torch.save({"state_dict": weights}, path)
    recipe = tiny_recipe(network={"name": "resnet18", "start": str(path)}, preprocess={"size": 64},
                         data={"classes": ["a", "b", "c"]})
    fresh = network()
    last = fresh.state_dict()["last.weight"].clone()
    start_network(recipe, fresh)
    own = fresh.state_dict()
    for name, value in own.items():
        if name.startswith("body."):
            assert torch.equal(value, weights[prefix + name.removeprefix("body.")]), name
    assert torch.equal(own["last.weight"], last)


def test_names_are_mapped_by_their_beginnings(tmp_path):
    renamed = {"layer1.": "stage_one.", "conv1.": "stem."}
    weights = {next((new + name.removeprefix(old) for old, new in renamed.items() if name.startswith(old)), name): value
               for name, value in published().items()}
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(RecipeError, match=r"has no tensor 'conv1\.weight'"):
        read_start(str(tmp_path / "w.safetensors"), network().state_dict(), {})
    found = read_start(str(tmp_path / "w.safetensors"), network().state_dict(),
                       {"stage_one.": "layer1.", "stem.": "conv1."})
    assert torch.equal(found["body.layer1.0.conv1.weight"], published()["layer1.0.conv1.weight"])


def test_a_network_behind_a_microscope_starts_from_weights_for_colours(tmp_path):
    save_file(published(), tmp_path / "w.safetensors")
    recipe = tiny_recipe(network={"name": "resnet18", "start": str(tmp_path / "w.safetensors")},
                         preprocess={"size": 64, "normalise": "none"}, optics={"simulate": True, "pool": 2},
                         data={"classes": ["a", "b", "c"]})
    behind = fresh_network(recipe)
    start_network(recipe, behind)
    first = behind.state_dict()["body.conv1.weight"]
    assert first.shape[1] == 1
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(
        torch.conv2d(images, first), torch.conv2d(images.expand(-1, 3, -1, -1), published()["conv1.weight"]))
    assert torch.equal(behind.state_dict()["body.layer1.0.conv1.weight"],
                       published()["layer1.0.conv1.weight"])


def test_what_does_not_fit_is_named(tmp_path):
    weights = published()
    weights["layer2.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(RecipeError, match=r"layer2.0.conv1.weight is \(1, 2, 3, 3\) in .*, but \(128, 64, 3, 3\)"):
        read_start(str(tmp_path / "w.safetensors"), network().state_dict(), {})
    with pytest.raises(RecipeError, match="no such file"):
        weights_path(str(tmp_path / "none.pth"))


class Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_a_file_that_holds_code_is_refused_without_running_it(tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "w.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": Attack(marker)}))
    torch.save({"conv1.weight": Attack(marker)}, tmp_path / "zip.pth")
    for file in (path, tmp_path / "zip.pth"):
        with pytest.raises(RecipeError) as error:
            read_start(str(file), network().state_dict(), {})
        assert "weights_only" not in f"{error.value} {error.value.hint}"  # no advice to switch the protection off
    assert not marker.exists()
    for content in (b"", b"not weights at all", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"cannot be read|holds more than tensors|not a state dict"):
            read_start(str(path), network().state_dict(), {})


def test_the_weights_of_efficientnet_lite0_are_those_that_were_published():
    fresh = network("tf_efficientnet_lite0")
    found = read_start(LITE0, fresh.state_dict(), {})
    assert len(found) == len([name for name in fresh.state_dict() if not name.startswith("last.")])
    stem = found["body.conv_stem.weight"]
    assert stem.shape == (32, 3, 3, 3)
    assert float(stem.abs().max()) > 0.5  # trained: random weights of this layer stay below 0.4
    assert all(found[name].shape == value.shape for name, value in fresh.state_dict().items() if name in found)
