"""The networks: their shapes, their sizes by hand, and what every one of them promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from leukoscope.errors import RecipeError
from leukoscope.models import build_network, network_names, network_options
from leukoscope.recipe import Network

SMALLEST = {"wbcsnet": 8, "wbcsnet2": 8, "lenet5": 16, "alexnet": 63, "resnet31": 32}


def build(name: str, size: int, *, classes: int = 5, channels: int = 3, **options):
    return build_network(Network(name=name, options=options), classes=classes, channels=channels, size=size)


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def narrow(name: str) -> dict[str, Any]:
    return {"width": 0.1} if name.startswith("wbcsnet") else {}


def test_wbcsnet_has_the_parameters_of_the_paper():
    unit1 = 3 * 64 * 25 + 64
    unit2 = 64 * 256 * 25 + 256
    unit3 = 256 * 512 * 9 + 512
    hidden = 512 * 17 * 17 * 512 + 512  # 70 px, halved twice, is 17
    last = 512 * 5 + 5
    with torch.device("meta"):
        assert parameters(build("wbcsnet", 70)) == unit1 + unit2 + unit3 + hidden + last == 77_357_573


def test_wbcsnet2_has_the_parameters_of_the_paper():
    unit1 = 3 * 64 * 25 + 2 * 64 + 2 * (64 * 64 * 25 + 2 * 64)
    unit2 = 64 * 256 * 25 + 2 * 256
    unit3 = 256 * 512 * 9 + 2 * 512
    with torch.device("meta"):
        network = build("wbcsnet2", 70)
    assert parameters(network) == unit1 + unit2 + unit3 + 75_760_128 + 2_565 == 77_563_461
    assert network.units == ("unit1", "unit2", "unit3", "hidden", "last")


@pytest.mark.parametrize(("place", "more"), [("2", 2 * (256 * 256 * 25 + 512)), ("3", 2 * (512 * 512 * 9 + 1024)),
                                             ("1", 2 * (64 * 64 * 25 + 128))])
def test_residual_block_adds_two_convolutions_of_its_units_filters(place, more):
    with torch.device("meta"):
        assert parameters(build("wbcsnet2", 70, residual_unit=place)) \
            - parameters(build("wbcsnet2", 70, residual_unit="none")) == more


def test_lenet5_has_the_parameters_of_1998():
    assert parameters(build("lenet5", 32, classes=10, channels=1)) == 61_706


def test_alexnet_has_the_parameters_that_torchvision_publishes():
    with torch.device("meta"):
        assert parameters(build("alexnet", 224, classes=1000)) == 61_100_840


@pytest.mark.parametrize("place", ["1", "2", "3"])
def test_the_first_convolution_is_added_after_the_third(place):
    """Against the same steps written out with torch's functions."""
    torch.manual_seed(0)
    network = build("wbcsnet2", 12, residual_unit=place, width=0.1).eval()
    weights = network.state_dict()
    for name, value in weights.items():
        if name.endswith("running_mean"):
            value.normal_()

    def convolution(x, name):
        x = functional.conv2d(x, weights[f"{name}.0.weight"], padding=weights[f"{name}.0.weight"].shape[-1] // 2)
        of = {key: weights[f"{name}.1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        return functional.relu(functional.batch_norm(x, **of))

    x = image = torch.randn(2, 3, 12, 12)
    for number in "123":
        if number == place:
            first = convolution(x, f"unit{number}.0.first")
            third = convolution(convolution(first, f"unit{number}.0.second"), f"unit{number}.0.third")
            x = functional.relu(first + third)
        else:
            x = convolution(x, f"unit{number}.0")
        if number != "3":
            x = functional.max_pool2d(x, 2)
    x = functional.linear(x.flatten(1), weights["hidden.1.weight"], weights["hidden.1.bias"])
    expected = functional.linear(x, weights["last.weight"], weights["last.bias"])
    np.testing.assert_allclose(network(image).detach(), expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["wbcsnet", "wbcsnet2"])
def test_feature_maps_are_64_256_and_512(name):
    maps = build(name, 20).eval().unit_maps(torch.zeros(1, 3, 20, 20))
    shapes = {unit: tuple(values.shape) for unit, values in maps.items()}
    assert shapes == {"unit1": (1, 64, 10, 10), "unit2": (1, 256, 5, 5), "unit3": (1, 512, 5, 5)}


@pytest.mark.parametrize("name", network_names())
def test_every_network_keeps_its_promises(name, tmp_path):
    torch.manual_seed(0)
    size = SMALLEST[name]
    network = build(name, size, classes=4, **narrow(name))
    images = torch.randn(3, 3, size, size)
    logits = network(images)
    assert logits.shape == (3, 4)
    functional.cross_entropy(logits, torch.tensor([0, 1, 3])).backward()
    silent = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []
    network.eval()
    with torch.inference_mode():
        once, twice = network(images), network(images)
        assert torch.equal(once, twice)
        last = list(network.unit_maps(images).values())[-1]
        assert last.dim() == 4
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        other = build(name, size, classes=4, **narrow(name)).eval()
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(other(images), once)


@pytest.mark.parametrize("name", network_names())
def test_one_pixel_less_than_the_smallest_is_refused_with_the_range(name):
    with pytest.raises(RecipeError, match=rf"preprocess.size = {SMALLEST[name] - 1}: .* {SMALLEST[name]} to 1024 px"):
        build(name, SMALLEST[name] - 1)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match="no network 'wbcnet2'; the nearest are: wbcsnet2, wbcsnet, "):
        build("wbcnet2", 70)


@pytest.mark.parametrize(("name", "options", "said"), [
    ("wbcsnet2", {"residual_unit": "4"}, "network.options.residual_unit: .* '1', '2', '3' or 'none'"),
    ("wbcsnet2", {"dropout": 1.0}, "network.options.dropout: .*less than 1"),
    ("wbcsnet2", {"widht": 1.0}, "network.options.widht: wbcsnet2 has no such option; its options: width, res"),
    ("wbcsnet", {"dropout": 0.5}, "wbcsnet has no such option; its options: width"),
    ("lenet5", {"width": 1.0}, "lenet5 has no such option; its options: none"),
])
def test_wrong_options_are_named(name, options, said):
    with pytest.raises(RecipeError, match=said):
        build(name, 70, **options)


def test_the_unit_may_be_given_as_a_number():
    assert network_options("wbcsnet2").model_validate({"residual_unit": 2}).residual_unit == "2"  # type: ignore[attr-defined]  # of its own model


def test_pretrained_weights_that_nobody_publishes_are_refused():
    with pytest.raises(RecipeError, match=r"network\.pretrained: nobody .* wbcsnet2; .* these have some: alexnet"):
        build_network(Network(name="wbcsnet2", pretrained=True), classes=5, size=70)


def test_offline_pretrained_weights_are_an_error_with_a_mend(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(RecipeError, match=r"network\.pretrained: https://.* cannot be had .*pretrained = false"):
        build_network(Network(name="alexnet", pretrained=True), classes=5, size=224)
