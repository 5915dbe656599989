"""The networks: their shapes, their sizes by hand, and what every one of them promises."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import onnxruntime as runtime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from leukoscope.errors import RecipeError
from leukoscope.networks import build_network, input_sizes, network_names, network_options
from leukoscope.networks.listing import WORTH_KNOWING
from leukoscope.recipes import Network

SMALLEST = {"wbcsnet": 8, "wbcsnet2": 8, "lenet5": 16, "alexnet": 63, "resnet31": 32, "densenet121": 29,
            "resnet12": 16}


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


def densenet121_parameters(channels: int, classes: int) -> int:
    """By hand: growth 32, a bottleneck of 128, blocks of 6, 12, 24 and 16 layers, halved by the transitions between.
    No convolution has a bias; each batch normalisation has two numbers a map."""
    total, maps = channels * 64 * 49 + 2 * 64, 64
    for block in (6, 12, 24, 16):
        for _ in range(block):
            total += 2 * maps + maps * 128 + 2 * 128 + 128 * 32 * 9
            maps += 32
        if block != 16:
            total += 2 * maps + maps * (maps // 2)
            maps //= 2
    assert maps == 1024
    return total + 2 * maps + (maps + 1) * classes


@pytest.mark.parametrize(("channels", "classes", "total"), [
    (3, 1000, 7_978_856),  # as torchvision publishes
    (3, 8, 7_978_856 - 1025 * 992),
    (1, 8, 6_947_584 + 1025 * 8),  # 6,947,584 before the dense layer: 2 x 64 x 49 fewer than for three channels
])
def test_densenet121_has_the_parameters_that_torchvision_publishes(channels, classes, total):
    with torch.device("meta"):
        network = build("densenet121", 200, classes=classes, channels=channels)
    assert parameters(network) == densenet121_parameters(channels, classes) == total
    assert network.units == ("stem", "block1", "block2", "block3", "block4", "last")


def test_densenet121_takes_any_side_from_29_px():
    network = build("densenet121", 29, classes=8, channels=1).eval()
    with torch.inference_mode():
        sides = {size: [values.shape[-1] for values in network.unit_maps(torch.zeros(1, 1, size, size)).values()]
                 for size in (29, 33, 200)}
        assert network(torch.zeros(2, 1, 33, 33)).shape == (2, 8)
        with pytest.raises(RuntimeError, match="Output size is too small"):
            network(torch.zeros(1, 1, 28, 28))
    assert sides == {29: [8, 4, 2, 1, 1], 33: [9, 4, 2, 1, 1], 200: [50, 25, 12, 6, 6]}


@pytest.fixture(scope="module")
def published() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A DenseNet-121 of torchvision, no number in it left as it starts, and its weights under the names (and without
    the counters) that the published file has."""
    import torchvision.models

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.densenet121().eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.8, 1.2, generator=generator)
        elif value.dim() == 1 and value.dtype == torch.float32:
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): value.clone()
           for name, value in network.state_dict().items() if "num_batches_tracked" not in name}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    return network, old


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pretrained_densenet121_gives_a_grey_image_what_three_equal_channels_give(channels, published, monkeypatch):
    reference, old = published
    monkeypatch.setattr("leukoscope.networks.imagenet.published_weights", lambda name: dict(old))
    network = build_network(Network(name="densenet121", pretrained=True), classes=1000, channels=channels, size=40)
    network.eval()
    network.get_submodule("last.2").load_state_dict(reference.get_submodule("classifier").state_dict())
    grey = torch.randn(2, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        result = network(grey.expand(-1, channels, -1, -1))
        expected = reference(grey.expand(-1, 3, -1, -1))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)
    weight = network.state_dict()["stem.0.weight"]
    published_weight = old["features.conv0.weight"]
    torch.testing.assert_close(weight, published_weight if channels == 3 else
                               (published_weight.sum(1, keepdim=True) / channels).expand(-1, channels, -1, -1))


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


EVERY = sorted({*network_names(), *WORTH_KNOWING})


@pytest.mark.parametrize("name", EVERY)
def test_every_network_keeps_its_promises(name, tmp_path):
    """Of the least input: it builds, has the right shape, learns with every parameter, repeats itself, tells its units,
    and is saved, loaded and exported to ONNX without a change."""
    torch.manual_seed(0)
    size = input_sizes(name).smallest
    network = build(name, size, classes=4, **narrow(name))
    images = torch.randn(3, 3, size, size)
    logits = network(images)
    assert logits.shape == (3, 4)
    functional.cross_entropy(logits, torch.tensor([0, 1, 3])).backward()
    silent = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []
    units = [network.get_submodule(unit) for unit in network.units]
    of_units = {id(p) for unit in units for p in unit.parameters()}
    assert of_units == {id(p) for p in network.parameters()}
    network.zero_grad()
    network.eval()
    with torch.inference_mode():
        once, twice = network(images), network(images)
        assert torch.equal(once, twice)
        maps = network.unit_maps(images)
        assert all(values.dim() == 4 for values in maps.values())
        assert maps or "vit" in name  # tokens are no maps
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        other = build(name, size, classes=4, **narrow(name)).eval()
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(other(images), once)
    (tmp_path / "weights.safetensors").unlink()
    del other
    file = str(tmp_path / "network.onnx")
    with warnings.catch_warnings():  # the exporter's own
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images[:2],), file, dynamo=True, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("batch")},))
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (there,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(there), once, rtol=1e-3, atol=1e-4)


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
    said = r"network\.pretrained: no weights are published for wbcsnet2; .* weights exist for alexnet, densenet121"
    with pytest.raises(RecipeError, match=said):
        build_network(Network(name="wbcsnet2", pretrained=True), classes=5, size=70)


@pytest.mark.parametrize("name", ["alexnet", "densenet121"])
def test_offline_pretrained_weights_are_an_error_with_a_hint(name, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(RecipeError, match=r"network\.pretrained: https://.* cannot be downloaded .*pretrained = false"):
        build_network(Network(name=name, pretrained=True), classes=5, size=224)
