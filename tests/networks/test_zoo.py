"""Networks of torchvision and timm: theirs to the last number, of any classes, channels and stated sizes."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from command import leukoscope, refusal
from leukoscope.errors import RecipeError
from leukoscope.networks import build_network, input_sizes
from leukoscope.networks.costs import network_cost
from leukoscope.networks.listing import list_networks, network_facts
from leukoscope.networks.zoo import torchvision_names
from leukoscope.recipes import Network

AUXILIARY = {"googlenet": 6_624_904, "inception_v3": 23_834_568}
"""Without their auxiliary classifiers, as torchvision loads them for prediction."""


def build(name: str, size: int, *, classes: int = 3, channels: int = 3, pretrained: bool = False):
    return build_network(Network(name=name, pretrained=pretrained), classes=classes, channels=channels, size=size)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", [name for name in torchvision_names() if name not in ("alexnet", "densenet121")
                                  and "128gf" not in name and "vit_h" not in name])  # too large to build for a count
def test_every_classifier_of_torchvision_has_the_parameters_that_it_publishes(name):
    sizes = input_sizes(name)
    size = 224 if sizes.takes(224) else sizes.near(224)
    with torch.device("meta"):
        network = build(name, size, classes=1000)
    meta = models.get_model_weights(name)["DEFAULT"].meta
    expected = AUXILIARY.get(name, meta["num_params"])
    larger = meta["min_size"][0] if name.startswith(("vit", "maxvit")) else 224
    if larger > 224:  # weights for a larger image have more places
        pytest.skip("published for another size")
    assert parameters(network) == expected


@pytest.mark.parametrize(("name", "operations"), [
    ("resnet50", 4.089), ("resnet101", 7.801), ("resnet152", 11.514), ("googlenet", 1.498), ("vgg16", 15.47),
    ("vgg19", 19.632), ("mobilenet_v3_small", 0.057), ("efficientnet_b0", 0.386), ("densenet121", 2.834)])
def test_operations_are_those_that_torchvision_publishes(name, operations):
    cost = network_cost(Network(name=name), classes=1000, size=224)
    assert cost.operations / 1e9 == pytest.approx(operations, rel=0.01, abs=0.0015)
    assert models.get_model_weights(name)["IMAGENET1K_V1"].meta["_ops"] == operations


def test_costs_of_a_network_by_hand():
    """LeNet-5 at 32 px: two convolutions of 5 x 5 and three dense layers."""
    cost = network_cost(Network(name="lenet5"), classes=10, size=32, channels=1)
    assert cost.operations == 28 * 28 * 6 * 25 + 10 * 10 * 16 * 25 * 6 + 400 * 120 + 120 * 84 + 84 * 10
    assert cost.parameters == 61_706
    assert cost.weights == 4 * 61_706
    twice = network_cost(Network(name="resnet18"), classes=2, size=128).operations / network_cost(
        Network(name="resnet18"), classes=2, size=64).operations
    assert twice == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(("name", "head"), [
    ("resnet50", "fc"), ("googlenet", "fc"), ("vgg16", "classifier.6"), ("squeezenet1_1", "classifier.1"),
    ("mobilenet_v3_small", "classifier.3"), ("convnext_tiny", "classifier.2"), ("vit_b_32", "heads.head"),
    ("swin_t", "head"), ("regnet_y_400mf", "fc")])
def test_units_compute_what_torchvisions_own_network_does(name, head):
    torch.manual_seed(0)
    network = build(name, 64).eval()
    more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    more |= {"image_size": 64} if name.startswith("vit") else {}
    own = models.get_model(name, weights=None, num_classes=3, **more).eval()
    moved = {}
    for key, value in network.state_dict().items():
        unit, _, rest = key.partition(".")
        if name.startswith("squeezenet"):
            moved[f"features.{rest}" if unit == "body" else f"classifier.{rest.removeprefix('0.')}"] = value
        else:
            moved[rest if unit == "body" else f"{head}.{rest}"] = value
    own.load_state_dict(moved)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), own(images), rtol=1e-5, atol=1e-5)


def test_units_compute_what_timms_own_network_does():
    torch.manual_seed(0)
    network = build("convnext_atto", 64).eval()
    own = timm.create_model("convnext_atto", num_classes=3).eval()
    own.load_state_dict({key.replace("body.", "", 1).replace("last.", "head.fc.", 1): value
                         for key, value in network.state_dict().items()})
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), own(images), rtol=1e-5, atol=1e-5)


@pytest.fixture
def published(monkeypatch):
    """Made-up weights in place of those that would be fetched, 1,000 classes and auxiliary classifiers included."""
    weights = {}

    def weights_of(name):
        if name not in weights:
            more = {"init_weights": False} if name == "googlenet" else {}
            weights[name] = models.get_model(name, weights=None, **more).state_dict()
        return weights[name]

    monkeypatch.setattr("leukoscope.networks.zoo.published_weights", weights_of)
    return weights


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_published_weights_are_taken_but_for_the_last_layer(name, published):
    network = build(name, 64, pretrained=True)
    (weights,) = published.values()
    for key, value in network.state_dict().items():
        if key.startswith("body."):
            torch.testing.assert_close(value, weights[key.removeprefix("body.")], rtol=0, atol=0)
    assert network.get_submodule("last").weight.shape == (3, network.get_submodule("last").in_features)


def test_published_weights_of_a_grey_network_give_what_three_equal_channels_give(published):
    torch.manual_seed(0)
    colour, grey = (build("resnet18", 64, channels=channels, pretrained=True).eval() for channels in (3, 1))
    grey.get_submodule("last").load_state_dict(colour.get_submodule("last").state_dict())
    image = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey(image), colour(image.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_a_transformers_places_are_fitted_to_the_size(published):
    network = build("vit_b_16", 96, pretrained=True)
    assert network.state_dict()["body.encoder.pos_embedding"].shape == (1, 1 + 6 * 6, 768)
    assert network.units == ("body", "last")


@pytest.mark.parametrize(("name", "size", "said", "hint"), [
    ("resnet50", 31, "resnet50 needs an input of 32 to 1024 px", "to 32"),
    ("inception_v3", 70, "inception_v3 needs an input of 75 to 1024 px", "to 75"),
    ("vit_b_16", 100, "vit_b_16 needs an input of a multiple of 16 from 16 to 1024 px", "to 96"),
    ("vit_tiny_patch16_224", 90, "a multiple of 16 from 16 to 1024 px", "to 96"),
    ("inception_v4", 50, "inception_v4 needs an input of 75 to 1024 px", "to 75"),
    ("dla34", 50, "dla34 needs an input of a multiple of 32 from 32 to 1024 px", "to 64"),
    ("maxvit_t", 96, "a multiple of 224 from 224 to 896 px", "to 224"),
])
def test_sizes_that_a_network_does_not_take_are_refused_with_those_that_it_does(name, size, said, hint):
    with pytest.raises(RecipeError, match=rf"preprocess\.size = {size}: .*{said} a side; set preprocess\.size {hint}$"):
        build(name, size)


@pytest.mark.parametrize(("name", "near"), [
    ("resnet500", "resnet50"), ("ResNet-50", "resnet50"), ("vgg-16", "vgg16"),
    ("mobilnet_v3_small", "mobilenet_v3_small")])
def test_an_unknown_network_is_answered_with_the_three_nearest(name, near):
    with pytest.raises(RecipeError, match=f"no network '{name}'; the nearest are: ") as caught:
        build(name, 64)
    nearest = caught.value.hint.partition(": ")[2].partition(";")[0].split(", ")
    assert len(set(nearest)) == 3
    assert near in nearest


def test_a_tag_of_weights_that_timm_does_not_have_is_no_network():
    with pytest.raises(RecipeError, match=r"no network 'convnext_atto\.of_mine'"):
        build("convnext_atto.of_mine", 64)
    assert build("convnext_atto.d2_in1k", 64).units[-1] == "last"


def test_timms_network_can_be_told_from_torchvisions():
    ours, theirs = build("resnet50", 64), build("timm.resnet50", 64)
    assert type(ours.get_submodule("body")) is models.ResNet
    assert type(theirs.get_submodule("body")) is timm.models.ResNet


def test_pretrained_weights_without_a_connection_say_what_to_do(monkeypatch, tmp_path):
    for variable in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("resnet50", "convnext_atto"):
        with pytest.raises(RecipeError, match=(
                r"network\.pretrained: .*cannot be downloaded.*; connect to the internet.*= false")):
            build(name, 64, pretrained=True)


def test_batches_of_one_cell_are_kept_from_batch_normalisation():
    assert build("resnet18", 32).least_batch == 2
    assert build("vgg11", 32).least_batch == 1


def test_building_on_the_meta_device_moves_no_generator():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    with torch.device("meta"):
        network = build("regnet_y_400mf", 64)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert next(network.parameters()).is_meta


def test_the_list_tells_the_facts():
    facts = {f.name: f for f in list_networks(("resnet50", "vgg16", "convnext_atto", "resnet31", "vit_b_16"))}
    assert facts["resnet50"].origin == "torchvision"
    assert facts["resnet50"].licence == "BSD-3-Clause"
    assert facts["convnext_atto"].licence == "apache-2.0"
    assert (facts["resnet31"].origin, facts["resnet31"].licence) == ("leukoscope", "none published")
    assert facts["resnet31"].cost.size == 100
    assert facts["vit_b_16"].sizes == "a multiple of 16 from 16 to 1024 px"
    assert "not stated" not in {f.licence for f in facts.values()}
    assert network_facts("vit_h_14").licence.startswith("https://github.com/facebookresearch/SWAG")  # not its own
    small = network_facts("resnet50", 96).cost
    assert small.parameters == facts["resnet50"].cost.parameters
    assert small.operations < 0.2 * facts["resnet50"].cost.operations


def test_the_command_lists_networks():
    command = leukoscope("models", "resnet18", "lenet5", "--size", "64", "--json")
    assert command.code == 0, command.err
    listed = json.loads(command.out)
    assert [entry["name"] for entry in listed] == ["resnet18", "lenet5"]
    assert [entry["cost"]["size"] for entry in listed] == [64, 64]
    assert "resnet18" in leukoscope("models", "resnet18").out
    assert "no network 'resnet500'; the nearest are: " in refusal("models", "resnet500")
    assert "resnet18 needs an input of 32 to 1024 px" in refusal("models", "resnet18", "--size", "16")


def test_feature_maps_of_a_network_are_named_by_its_units():
    network = build("resnet18", 64).eval()
    with torch.inference_mode():
        maps = network.unit_maps(torch.zeros(1, 3, 64, 64))
        after = network.get_submodule("body.bn1")(maps["body.conv1"])
    assert {name: values.shape[1:] for name, values in maps.items()}["body.layer4"] == (512, 2, 2)
    assert set(maps) <= set(network.units)
    torch.testing.assert_close(maps["body.bn1"], after, rtol=0, atol=0)
